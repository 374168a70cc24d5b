//! Messages that come back. Without `--rate` each connection keeps `depth` messages under way and sends the next when
//! one returns: that measures throughput, and its latencies are those of a server that is never asked too early. With
//! `--rate` messages are due by a schedule, and one that finds its connection full waits and is late.

use std::collections::VecDeque;
use std::io;

use stentor::MessageKind;

use super::arguments::Echo;
use super::client::{PUSHER_PING, Voice};
use super::clock::{Nanos, Schedule, seconds};
use super::crowd::{Crowd, Part, after};
use super::payload::{Payloads, Stamp};
use super::process::Sample;
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies, Order};
use super::target::Target;

/// One connection's conversation.
#[derive(Default)]
struct Talk {
    sent: u64,
    order: Order,
    /// When the messages under way were due, the oldest first.
    under_way: VecDeque<Nanos>,
    /// Those that are due and find the connection full.
    waiting: VecDeque<Nanos>,
}

/// One thread's conversations.
pub(crate) struct Talks {
    talks: Vec<Talk>,
    payloads: Payloads,
    kind: MessageKind,
    is_pusher: bool,
    /// Messages that may be under way on a connection.
    depth: usize,
    pub(crate) latencies: Latencies,
    /// How late messages went out that did not wait for another: what the generator itself adds.
    pub(crate) lag: Latencies,
    pub(crate) faults: Faults,
    pub(crate) is_measuring: bool,
    /// Whether an echo is answered with the next message.
    goes_on: bool,
    scratch: Vec<u8>,
}

impl Talks {
    pub(crate) fn new(count: usize, size: usize, target: &Target) -> Self {
        Self {
            talks: (0..count).map(|_| Talk::default()).collect(),
            payloads: Payloads::new(size),
            kind: MessageKind::Text,
            is_pusher: target.is_pusher(),
            depth: usize::MAX,
            latencies: Latencies::new(),
            lag: Latencies::new(),
            faults: Faults::default(),
            is_measuring: false,
            goes_on: false,
            scratch: Vec::new(),
        }
    }

    /// Sends the messages whose time has come, the connections in turn, and says when the next one is due.
    pub(crate) fn send_what_is_due(
        &mut self,
        crowd: &mut Crowd,
        schedule: Schedule,
        n: &mut u64,
    ) -> io::Result<Nanos> {
        if self.talks.is_empty() {
            return Ok(Nanos::MAX);
        }
        loop {
            let (now, due) = (crowd.clock.now(), schedule.due(*n));
            if due > now {
                return Ok(due);
            }
            let id = usize::try_from(*n).unwrap_or(0) % self.talks.len();
            *n += 1;
            if self.is_full(id) {
                self.talks[id].waiting.push_back(due);
                continue;
            }
            if self.is_measuring {
                self.lag.record(due, now);
            }
            self.send(crowd, id, due)?;
        }
    }

    /// Writes the next message of a connection.
    fn write(&mut self, id: usize, intended: Nanos) -> &[u8] {
        let talk = &mut self.talks[id];
        let stamp = Stamp { sequence: talk.sent, intended };
        talk.sent += 1;
        talk.under_way.push_back(intended);
        if self.is_pusher {
            return PUSHER_PING;
        }
        self.scratch.clear();
        self.payloads.write(stamp, &mut self.scratch);
        &self.scratch
    }

    fn send(&mut self, crowd: &mut Crowd, id: usize, intended: Nanos) -> io::Result<()> {
        let kind = self.kind;
        crowd.send(id, kind, self.write(id, intended))
    }

    fn is_full(&self, id: usize) -> bool {
        self.talks[id].under_way.len() >= self.depth
    }

    /// Whether all that was sent has come back.
    pub(crate) fn is_silent(&self) -> bool {
        self.talks.iter().all(|talk| talk.under_way.is_empty() && talk.waiting.is_empty())
    }

    /// Looks for what never came.
    pub(crate) fn end(&mut self) {
        for talk in &self.talks {
            talk.order.end(talk.sent, &mut self.faults);
        }
    }
}

impl Part for Talks {
    fn on_message(&mut self, id: usize, message: &[u8], at: Nanos, voice: &mut Voice<'_>) {
        let talk = &mut self.talks[id];
        let Some(intended) = talk.under_way.pop_front() else {
            self.faults.unknown += 1;
            return;
        };
        // A pong carries no number: that there is one for each ping is all one can see.
        let sequence = if self.is_pusher {
            message.starts_with(b"{\"event\":\"pusher:pong\"").then(|| talk.order.seen())
        } else {
            let is_whole = message.len() == self.payloads.size();
            self.payloads.read(message).filter(|_| is_whole).map(|stamp| stamp.sequence)
        };
        match sequence {
            Some(sequence) => talk.order.take(sequence, &mut self.faults),
            None => self.faults.garbled += 1,
        }
        if self.is_measuring {
            self.latencies.record(intended, at);
        }
        let next = if self.goes_on { Some(at) } else { talk.waiting.pop_front() };
        if let Some(intended) = next {
            let kind = self.kind;
            voice.send(kind, self.write(id, intended));
        }
    }

    fn on_gone(&mut self, _id: usize, why: &str) {
        self.faults.lose(why);
    }
}

/// What one thread found.
struct Found {
    latencies: Latencies,
    faults: Faults,
    took: Nanos,
}

pub(crate) fn run(context: &Context, echo: &Echo) -> io::Result<Report> {
    let (mut before, mut done) = (Sample::default(), Sample::default());
    let conduct = || {
        context.stage.gather(|| Ok(()))?;
        before = context.stage.gather(|| context.server.sample())?;
        done = context.stage.gather(|| context.server.sample())?;
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, echo, crowd), conduct)?;
    let mut report = Report::new(title(context, echo));
    let mut latencies = Latencies::new();
    for one in &found {
        report.faults.add(&one.faults);
        latencies.add(&one.latencies);
    }
    let took = found.iter().map(|one| one.took).max().unwrap_or(0);
    report.add("echoes", latencies.count() as f64, Unit::Count);
    report.add("echoes per second", latencies.count() as f64 / seconds(took), Unit::PerSecond);
    if context.server.is_known() {
        let work = Work { count: latencies.count(), what: "echoes", took };
        let effort = done - before;
        report.add_effort(&effort, work);
        report.add_segments(&effort, work);
        report.add_memory("afterwards", done.memory);
    }
    report.add_latencies("latency", &latencies);
    if echo.rate.is_none() {
        let remark = "Closed loop: the next message waits for an echo, so latencies are the server's at its own pace.";
        report.remarks.push(remark.to_owned());
    }
    Ok(report)
}

fn title(context: &Context, echo: &Echo) -> String {
    let Echo { connections, depth, rate, size, .. } = echo;
    let pace =
        rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} a second in all"));
    let what =
        if context.target.is_pusher() { "pusher:ping".to_owned() } else { format!("{size} bytes") };
    format!("echo: {connections} connections, {depth} deep, {what}, {pace}")
}

fn play(context: &Context, echo: &Echo, crowd: &mut Crowd) -> io::Result<Found> {
    let stage = &context.stage;
    let count = crowd.share(echo.connections);
    let mut part = Talks::new(count, echo.size, &context.target);
    part.depth = echo.depth.max(1);
    if echo.binary {
        part.kind = MessageKind::Binary;
    }
    crowd.fill(count, &mut part, &|_| None, &|| stage.goes_on())?;
    stage.meet(crowd, &mut part)?;
    round(context, echo, crowd, &mut part, echo.time.warm_up)?;
    stage.meet(crowd, &mut part)?;
    part.is_measuring = true;
    let start = context.clock.now();
    round(context, echo, crowd, &mut part, echo.time.seconds)?;
    let took = context.clock.now() - start;
    stage.meet(crowd, &mut part)?;
    part.end();
    Ok(Found { latencies: part.latencies, faults: part.faults, took })
}

/// Talks for so long, and hears the last echoes.
fn round(
    context: &Context,
    echo: &Echo,
    crowd: &mut Crowd,
    part: &mut Talks,
    seconds: u64,
) -> io::Result<()> {
    let (clock, stage) = (context.clock, &context.stage);
    let start = clock.now();
    let end = after(start, seconds);
    let mine = |rate: f64| Schedule { start, per_second: rate / context.threads as f64 };
    let schedule = echo.rate.map(mine);
    part.goes_on = schedule.is_none() && seconds > 0;
    if part.goes_on {
        for id in 0..part.talks.len() {
            for _ in 0..part.depth {
                part.send(crowd, id, clock.now())?;
            }
        }
    }
    let mut n = 0;
    while clock.now() < end && stage.goes_on() {
        let next = match schedule {
            Some(schedule) => part.send_what_is_due(crowd, schedule, &mut n)?,
            None => end,
        };
        crowd.turn_until(next.min(end), part)?;
    }
    part.goes_on = false;
    crowd.drain(part, |_, part| part.is_silent())
}

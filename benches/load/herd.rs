//! All clients but a few are cut off in one moment, as when a proxy dies, and all come back in one moment, without the jitter that good
//! clients have: how soon all are subscribed again, how many tries it takes, and what those notice who stayed.
//!
//! ```text
//!             ┌──────────────────────────────── rounds ────────────────────────────┐
//!   calm ──▶ cut all of the herd ──1 s──▶ all begin to connect ──▶ all are subscribed ──▶ an event proves it
//!   those who stayed: ──── events by a schedule, all the time ────────────────────────▶
//! ```
//!
//! A herd lasts for two seconds, which is some forty events to those who stayed: the one that is latest would be all that a p99 of
//! a single herd tells. So there are several, one after the other, and the p99 is that of all of their events.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::arguments::Herd;
use super::client::Voice;
use super::clock::{NANOS_PER_SECOND, Nanos, seconds};
use super::course::{Audience, Course, Pace, Sender};
use super::crowd::{Crowd, Part, after};
use super::pair::Pair;
use super::process::{self, Sample};
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::sleepers::{Sleepers, prove};
use super::tally::{Faults, Latencies};

/// Between the cut and the first try, and between a try that failed and the next.
const AWAY: Nanos = NANOS_PER_SECOND;

/// A try that takes longer has failed; so it is with pusher-js, too.
const TRY_PATIENCE: Nanos = 10 * NANOS_PER_SECOND;

/// So many are cut off, or begin to connect, between two looks at those who stay: each takes a few tens of microseconds, for on
/// loopback the kernel does the other end's part, too.
const AT_ONCE: usize = 4;

/// How often to look for tries that take too long.
const LOOK_EVERY: Nanos = NANOS_PER_SECOND / 10;

/// One client on its way back.
#[derive(Clone, Copy)]
struct Traveller {
    number: usize,
    /// When it tries.
    due: Nanos,
}

/// One thread's share of the herd.
struct Returning {
    sleepers: Sleepers,
    /// Those who are to be cut off have lower numbers than this.
    uncut: usize,
    /// Tries of each client in this round, by its own number.
    tries: Vec<u32>,
    /// Clients that needed a second try and a third one, in rounds that are over.
    needed: [usize; 2],
    /// Those who wait for their next try, the first one first.
    waiting: VecDeque<Traveller>,
    /// Who is on a connection and not subscribed yet, and since when.
    trying: Vec<Option<Traveller>>,
    back: usize,
    /// When they should have come back.
    due: Nanos,
    /// From then until each was subscribed.
    latencies: Latencies,
    failed_tries: u64,
    first_failure: Option<String>,
    /// The time, as of the last turn.
    now: Nanos,
}

impl Returning {
    fn new(count: usize) -> Self {
        Self {
            sleepers: Sleepers::new(count),
            uncut: count,
            tries: vec![0; count],
            needed: [0; 2],
            waiting: VecDeque::new(),
            trying: vec![None; count],
            back: 0,
            due: 0,
            latencies: Latencies::new(),
            failed_tries: 0,
            first_failure: None,
            now: 0,
        }
    }

    fn fail(&mut self, number: usize, why: &str) {
        self.failed_tries += 1;
        self.first_failure.get_or_insert_with(|| why.to_owned());
        self.waiting.push_back(Traveller { number, due: self.now + AWAY });
    }

    fn is_back(&self) -> bool {
        self.back >= self.tries.len()
    }

    /// All are there, and may be cut off again.
    fn end_round(&mut self) {
        for (needed, tries) in self.needed.iter_mut().zip([2, 3]) {
            *needed += self.tries.iter().filter(|tried| **tried >= tries).count();
        }
        self.tries.fill(0);
        (self.back, self.uncut) = (0, self.tries.len());
    }

    /// Cuts a few of those off that are there yet; when none is, all are to come back at one time. Says when to go on.
    fn cut(&mut self, crowd: &mut Crowd) -> io::Result<Nanos> {
        for _ in 0..AT_ONCE {
            let Some(id) = self.uncut.checked_sub(1) else { break };
            crowd.cut(id)?;
            self.uncut = id;
        }
        if self.uncut == 0 {
            self.due = self.now + AWAY;
            let traveller = |number| Traveller { number, due: self.due };
            self.waiting = (0..self.tries.len()).map(traveller).collect();
        }
        Ok(self.now)
    }

    /// Begins a few of the tries whose time has come, and says when the next is due.
    fn try_again(&mut self, crowd: &mut Crowd, channel: &Option<Box<str>>) -> io::Result<Nanos> {
        for _ in 0..AT_ONCE {
            let Some(next) = self.waiting.front().copied() else { return Ok(Nanos::MAX) };
            if next.due > self.now {
                return Ok(next.due);
            }
            self.waiting.pop_front();
            self.tries[next.number] += 1;
            match crowd.open(channel.clone()) {
                Ok(id) => self.trying[id] = Some(Traveller { due: self.now, ..next }),
                Err(error) => self.fail(next.number, &error.to_string()),
            }
        }
        Ok(self.now)
    }

    /// Gives up the tries that take too long.
    fn give_up_late(&mut self, crowd: &mut Crowd) -> io::Result<()> {
        for id in 0..self.trying.len() {
            let is_late = |try_: &mut Traveller| try_.due + TRY_PATIENCE < self.now;
            if let Some(late) = self.trying[id].take_if(is_late) {
                crowd.cut(id)?;
                self.fail(late.number, "it was not subscribed in time");
            }
        }
        Ok(())
    }
}

impl Part for Returning {
    fn on_opened(&mut self, id: usize, at: Nanos) {
        self.sleepers.on_opened(id, at);
    }

    fn on_ready(&mut self, id: usize, at: Nanos, voice: &mut Voice<'_>) {
        if self.trying[id].take().is_some() {
            self.latencies.record(self.due, at);
            self.back += 1;
        } else {
            self.sleepers.on_ready(id, at, voice);
        }
    }

    fn on_message(&mut self, id: usize, message: &[u8], at: Nanos, voice: &mut Voice<'_>) {
        self.sleepers.on_message(id, message, at, voice);
    }

    fn on_gone(&mut self, id: usize, why: &str) {
        match self.trying[id].take() {
            Some(traveller) => self.fail(traveller.number, why),
            None => self.sleepers.on_gone(id, why),
        }
    }

    fn on_answered(&mut self, status: u16) {
        self.sleepers.on_answered(status);
    }
}

/// What one thread found.
struct Found {
    calm: Latencies,
    /// By round.
    herds: Vec<Latencies>,
    lag: Latencies,
    back: Latencies,
    /// Clients that needed a second try and a third one.
    needed: [usize; 2],
    failed_tries: u64,
    first_failure: Option<String>,
    /// From the cut until all of all threads were back, all rounds together.
    took: Nanos,
    faults: Faults,
}

pub(crate) fn run(context: &Context, herd: &Herd) -> io::Result<Report> {
    let (mut before, mut done) = (Sample::default(), Sample::default());
    let mut overflows = 0;
    let stage = &context.stage;
    let conduct = || {
        stage.gather(|| Ok(()))?;
        stage.gather(|| Ok(()))?;
        overflows = process::listen_overflows();
        before = stage.gather(|| context.server.sample())?;
        for _ in 0..herd.rounds {
            done = stage.gather(|| context.server.sample())?;
        }
        overflows = process::listen_overflows().saturating_sub(overflows);
        stage.gather(|| Ok(()))?;
        Ok(())
    };
    let apart = context.other_target("--apart", herd.apart.as_deref())?;
    let play = |crowd: &mut Crowd| {
        crowd.target = Arc::clone(&apart);
        play(context, herd, crowd)
    };
    let found = with_threads(context, play, conduct)?;
    let Herd { connections, stay, rounds, size, rate, .. } = herd;
    let mut report = Report::new(format!(
        "herd: {rounds} times {connections} are cut off and come back at once; {stay} stay, {size} bytes, {rate} events a second"
    ));
    tell(&mut report, &found);
    report.add("listen queue overflows, whole machine", overflows as f64, Unit::Count);
    if context.server.is_known() {
        let took = found.iter().map(|one| one.took).max().unwrap_or(0);
        let count = *connections as u64 * u64::from(*rounds);
        let work = Work { count, what: "connections", took };
        report.add_effort(&(done - before), work);
        report.add_memory("afterwards", done.memory);
    }
    Ok(report)
}

fn tell(report: &mut Report, found: &[Found]) {
    let [mut calm, mut herd, mut lag, mut back] = [(); 4].map(|()| Latencies::new());
    for one in found {
        report.faults.add(&one.faults);
        calm.add(&one.calm);
        one.herds.iter().for_each(|round| herd.add(round));
        lag.add(&one.lag);
        back.add(&one.back);
    }
    let all = seconds(back.max());
    report.add("until all were subscribed again", all, Unit::Seconds);
    report.add_latencies("back to subscribed", &back);
    let failed: u64 = found.iter().map(|one| one.failed_tries).sum();
    report.add("tries that failed", failed as f64, Unit::Count);
    for (at, name) in
        ["clients that needed a second try", "clients that needed a third try"].iter().enumerate()
    {
        let clients: usize = found.iter().map(|one| one.needed[at]).sum();
        report.add(*name, clients as f64, Unit::Count);
    }
    report.add("deliveries to those who stay", herd.count() as f64, Unit::Count);
    report.add_latencies("calm, those who stay", &calm);
    report.add_latencies("herd, those who stay", &herd);
    let ratio = herd.at_percent(99.0) as f64 / calm.at_percent(99.0).max(1) as f64;
    report.add("p99 of those who stay, herd per calm", ratio, Unit::Count);
    let worst = worst_of(found).at_percent(99.0) as f64 / calm.at_percent(99.0).max(1) as f64;
    report.add("p99 of those who stay, worst herd per calm", worst, Unit::Count);
    report.add_latencies("generator's own lag", &lag);
    if let Some(failure) = found.iter().find_map(|one| one.first_failure.clone()) {
        report.remarks.push(format!("The first try that failed: {failure}."));
    }
}

/// What those who stay noticed of the herd that they noticed most.
fn worst_of(found: &[Found]) -> Latencies {
    let rounds = found.first().map_or(0, |one| one.herds.len());
    let herd = |round: usize| {
        let mut of_all = Latencies::new();
        found.iter().filter_map(|one| one.herds.get(round)).for_each(|one| of_all.add(one));
        of_all
    };
    let worst = (0..rounds).map(herd).max_by_key(|herd| herd.at_percent(99.0));
    worst.unwrap_or_else(Latencies::new)
}

fn play(context: &Context, herd: &Herd, crowd: &mut Crowd) -> io::Result<Found> {
    let stage = &context.stage;
    let course = Course {
        context,
        index: crowd.index,
        listeners: herd.stay,
        channels: 1,
        pace: Pace::PerSecond(herd.rate),
        pipeline: herd.pipeline,
        sender: if herd.sender_excluded { Sender::LeftOut } else { Sender::Hears },
    };
    let (many, few) = (crowd.share(herd.connections), crowd.share(herd.stay));
    let channel = channel(context);
    let mut returning = Returning::new(many);
    let mut audience = Audience::new(few, herd.size);
    crowd.fill(many, &mut returning, &|_| channel.clone(), &|| stage.goes_on())?;
    let mut pair = Pair::new(Arc::clone(&context.target), crowd)?;
    pair.first.fill(few, &mut audience, &|id| course.channel_for(id), &|| stage.goes_on())?;
    if course.index == 0 && context.target.is_pusher() {
        pair.first.connect_publisher()?;
    }
    let trip = Trip { course: &course, channel: &channel };
    pair.meet(stage, (&mut audience, &mut returning))?;
    trip.calm(&mut pair, (&mut audience, &mut returning), herd.time.warm_up)?;
    pair.meet(stage, (&mut audience, &mut returning))?;
    audience.is_measuring = true;
    trip.calm(&mut pair, (&mut audience, &mut returning), herd.time.seconds)?;
    let calm = audience.take_latencies();
    pair.meet(stage, (&mut audience, &mut returning))?;
    let (mut herds, mut took) = (Vec::new(), 0);
    for round in 1..=herd.rounds {
        took += trip.cut_and_come_back(&mut pair, (&mut audience, &mut returning))?;
        herds.push(audience.take_latencies());
        returning.end_round();
        if round == herd.rounds {
            course.end(&mut audience);
        }
        pair.meet(stage, (&mut audience, &mut returning))?;
    }
    if context.target.is_pusher() {
        let channel = channel.filter(|_| course.index == 0);
        let is_heard = |returning: &Returning| returning.sleepers.heard >= many;
        prove(context, pair.second, &mut returning, channel.as_slice(), is_heard)?;
        returning.sleepers.end(many);
    }
    pair.meet(stage, (&mut audience, &mut returning))?;
    let mut faults = audience.faults;
    faults.add(&returning.sleepers.faults);
    let Returning { latencies: back, needed, failed_tries, first_failure, .. } = returning;
    let lag = audience.lag;
    Ok(Found { calm, herds, lag, back, needed, failed_tries, first_failure, took, faults })
}

/// The channel of the herd, which each must have signed for.
fn channel(context: &Context) -> Option<Box<str>> {
    let name = || format!("private-load-{}-herd", context.run_id).into();
    context.target.is_pusher().then(name)
}

/// What one thread does in the phases.
struct Trip<'a> {
    course: &'a Course<'a>,
    channel: &'a Option<Box<str>>,
}

impl Trip<'_> {
    /// Events go to those who stay; the herd is there, and silent.
    fn calm(
        &self,
        pair: &mut Pair<'_>,
        (audience, returning): (&mut Audience, &mut Returning),
        seconds: u64,
    ) -> io::Result<()> {
        let clock = self.course.context.clock;
        let start = clock.now();
        let end = after(start, seconds);
        let first = audience.sent;
        while clock.now() < end && self.course.context.stage.goes_on() {
            let due = self.speak(pair, audience, start, first)?;
            pair.turn_until(due.min(end), (&mut *audience, &mut *returning))?;
            self.course.count(audience);
        }
        self.hear_the_last(pair, (audience, returning))
    }

    /// Gives back how long it took from the cut.
    fn cut_and_come_back(
        &self,
        pair: &mut Pair<'_>,
        (audience, returning): (&mut Audience, &mut Returning),
    ) -> io::Result<Nanos> {
        let (clock, stage) = (self.course.context.clock, &self.course.context.stage);
        let start = clock.now();
        let first = audience.sent;
        let (mut look_at, mut is_settled) = (start + LOOK_EVERY, false);
        while !stage.is_settled() && stage.goes_on() {
            returning.now = clock.now();
            let next_try = if returning.uncut > 0 {
                returning.cut(pair.second)?
            } else {
                returning.try_again(pair.second, self.channel)?
            };
            let due = self.speak(pair, audience, start, first)?;
            pair.turn_until(due.min(next_try), (&mut *audience, &mut *returning))?;
            self.course.count(audience);
            if returning.now >= look_at {
                returning.give_up_late(pair.second)?;
                look_at = returning.now + LOOK_EVERY;
            }
            if returning.is_back() && !is_settled {
                is_settled = true;
                stage.settle();
            }
        }
        let took = clock.now() - start;
        self.hear_the_last(pair, (audience, returning))?;
        Ok(took)
    }

    /// Thread 0 sends what is due, and all look for the next time.
    fn speak(
        &self,
        pair: &mut Pair<'_>,
        audience: &mut Audience,
        start: Nanos,
        first: u64,
    ) -> io::Result<Nanos> {
        if self.course.index > 0 {
            return Ok(Nanos::MAX);
        }
        self.course.send_what_is_due(&mut pair.first, audience, start, first)
    }

    fn hear_the_last(
        &self,
        pair: &mut Pair<'_>,
        parts: (&mut Audience, &mut Returning),
    ) -> io::Result<()> {
        let course = self.course;
        let (audience, returning) = parts;
        pair.drain((&mut *audience, &mut *returning), |audience, _| {
            course.count(audience);
            if course.index == 0 && course.is_delivered(audience, 0) {
                course.tell_sent(audience);
            }
            course.context.stage.is_over.load(Ordering::Acquire)
        })?;
        if course.index == 0 {
            course.tell_sent(audience);
        }
        Ok(())
    }
}

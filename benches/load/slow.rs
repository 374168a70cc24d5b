//! Subscribers that do not read, among many that do: whether the many notice, and what the server keeps for the few.
//!
//! ```text
//!   calm: all read ──▶ slow: a share stops reading ──▶ they read on: each hears all, or was closed ──▶ who was closed comes again ─┐
//!     ▲                                                                                                                          │
//!     └──────────────────────────────────────────── `--rounds` times ◀───────────────────────────────────────────────────────────┘
//! ```
//!
//! Both are in one run, in turn. A server may close who does not read, and must not leave out events in silence; nor keep more for the slow ones
//! than its limit for each.

use std::io;
use std::sync::atomic::Ordering;

use super::arguments::Slow;
use super::client::Voice;
use super::clock::Nanos;
use super::course::{Audience, Course, Pace, Sender};
use super::crowd::{Crowd, Part, Pipe};
use super::process::{self, Effort};
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies, Order};

/// What a server may grow by besides what waits for the slow ones: the queues themselves, tables that grow by doubling, and memory that its
/// allocator has got back and keeps.
const SLACK_BYTES: u64 = 4 * 1024 * 1024;

/// One thread's subscribers; the last ones are those that stop reading at times.
struct Readers {
    audience: Audience,
    /// The first of the slow ones.
    slow_from: usize,
    /// Whether the slow ones do not read, or have just begun again.
    are_slow: bool,
    /// Slow ones that the server closed in this round.
    gone: Vec<usize>,
    first_farewell: Option<String>,
}

impl AsMut<Audience> for Readers {
    fn as_mut(&mut self) -> &mut Audience {
        &mut self.audience
    }
}

impl Part for Readers {
    fn on_message(&mut self, id: usize, message: &[u8], at: Nanos, voice: &mut Voice<'_>) {
        if id < self.slow_from {
            self.audience.on_message(id, message, at, voice);
        } else {
            self.audience.check(id, message);
        }
    }

    fn on_gone(&mut self, id: usize, why: &str) {
        if id >= self.slow_from && self.are_slow {
            self.gone.push(id);
            self.first_farewell.get_or_insert_with(|| why.to_owned());
        } else {
            self.audience.on_gone(id, why);
        }
    }

    fn on_answered(&mut self, status: u16) {
        self.audience.on_answered(status);
    }
}

/// What one thread found.
struct Found {
    calm: Latencies,
    slow: Latencies,
    lag: Latencies,
    closed: usize,
    first_farewell: Option<String>,
    took: Nanos,
    faults: Faults,
}

/// The most that was seen of what grows when somebody does not read.
#[derive(Clone, Copy, Default)]
struct Peak {
    resident: u64,
    buffered: u64,
}

impl Peak {
    fn look(&mut self, context: &Context) {
        self.resident = self.resident.max(context.server.resident());
        self.buffered = self.buffered.max(process::buffered());
    }
}

pub(crate) fn run(context: &Context, slow: &Slow) -> io::Result<Report> {
    if slow.slow >= slow.connections {
        return Err(io::Error::other(format!(
            "--slow {} of --connections {}: somebody must read",
            slow.slow, slow.connections
        )));
    }
    let mut effort = Effort::default();
    let (mut first, mut calm, mut peak) = (Peak::default(), Peak::default(), Peak::default());
    let stage = &context.stage;
    let conduct = || {
        stage.gather(|| Ok(()))?;
        stage.gather(|| Ok(()))?;
        for round in 0..slow.rounds {
            let look = &mut || calm.look(context);
            let before = stage.gather_watching(look, || context.server.sample())?;
            if round == 0 {
                first = calm;
            }
            let look = &mut || peak.look(context);
            effort += stage.gather_watching(look, || context.server.sample())? - before;
            stage.gather(|| Ok(()))?;
        }
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, slow, crowd), conduct)?;
    let Slow { connections, size, rate, rounds, outbox_bytes, .. } = slow;
    let mut report = Report::new(format!(
        "slow: {} of {connections} subscribers do not read, {size} bytes, {rate} events a second, {rounds} × {} s each way, outboxes of \
         {outbox_bytes} bytes",
        slow.slow, slow.time.seconds
    ));
    tell(&mut report, context, &found, &effort);
    for (name, calm, slow) in [
        ("most resident", calm.resident, peak.resident),
        ("most in TCP's buffers", calm.buffered, peak.buffered),
    ] {
        report.add(format!("{name}, all read"), calm as f64, Unit::Bytes);
        report.add(format!("{name}, some do not"), slow as f64, Unit::Bytes);
    }
    if context.server.is_known() {
        tell_growth(&mut report, slow, calm.resident.max(peak.resident) - first.resident);
    }
    Ok(report)
}

/// Growth is that of resident memory, of which a look costs the server nothing: what is its own cannot have grown by more. It counts from what the
/// first calm time took, before anybody was slow: later ones have what the slow ones left behind.
fn tell_growth(report: &mut Report, slow: &Slow, growth: u64) {
    let allowed = slow.slow as u64 * slow.outbox_bytes + SLACK_BYTES;
    report.add("growth since some did not read", growth as f64, Unit::Bytes);
    report.add("growth that the limits allow", allowed as f64, Unit::Bytes);
    report.faults.hoarded = growth.saturating_sub(allowed);
    report.remarks.push(format!(
        "The limits allow {} outboxes of {} bytes, and {SLACK_BYTES} bytes for what else grows.",
        slow.slow, slow.outbox_bytes
    ));
}

fn tell(report: &mut Report, context: &Context, found: &[Found], effort: &Effort) {
    let [mut calm, mut slow, mut lag] = [(); 3].map(|()| Latencies::new());
    for one in found {
        report.faults.add(&one.faults);
        calm.add(&one.calm);
        slow.add(&one.slow);
        lag.add(&one.lag);
    }
    report.add("deliveries, all read", calm.count() as f64, Unit::Count);
    report.add("deliveries, some do not", slow.count() as f64, Unit::Count);
    report.add_latencies("all read", &calm);
    report.add_latencies("some do not", &slow);
    let ratio = slow.at_percent(99.0) as f64 / calm.at_percent(99.0).max(1) as f64;
    report.add("p99 when some do not per p99 when all read", ratio, Unit::Count);
    report.add_latencies("generator's own lag", &lag);
    let closed: usize = found.iter().map(|one| one.closed).sum();
    report.add("slow ones that were closed", closed as f64, Unit::Count);
    if let Some(farewell) = found.iter().find_map(|one| one.first_farewell.clone()) {
        report.remarks.push(format!("The first slow one that was closed heard: {farewell}."));
    }
    let took = found.iter().map(|one| one.took).max().unwrap_or(0);
    if context.server.is_known() {
        let work = Work { count: slow.count(), what: "deliveries", took };
        report.add_effort(effort, work);
        report.add_segments(effort, work);
    }
}

fn play(context: &Context, slow: &Slow, crowd: &mut Crowd) -> io::Result<Found> {
    let (stage, clock) = (&context.stage, context.clock);
    let count = crowd.share(slow.connections);
    let slow_from = count - crowd.share(slow.slow).min(count);
    let mut part = Readers {
        audience: Audience::new(count, slow.size),
        slow_from,
        are_slow: false,
        gone: Vec::new(),
        first_farewell: None,
    };
    let course = Course {
        context,
        index: crowd.index,
        listeners: slow.connections - slow.slow,
        channels: 1,
        pace: Pace::PerSecond(slow.rate),
        pipeline: slow.pipeline,
        sender: if slow.sender_excluded { Sender::LeftOut } else { Sender::Hears },
    };
    let channel = |id: usize| course.channel_for(id);
    crowd.fill(slow_from, &mut part, &channel, &|| stage.goes_on())?;
    crowd.pipe = Pipe::Narrow;
    crowd.fill(count, &mut part, &channel, &|| stage.goes_on())?;
    if crowd.index == 0 && context.target.is_pusher() {
        crowd.connect_publisher()?;
    }
    stage.meet(crowd, &mut part)?;
    course.round(crowd, &mut part, slow.time.warm_up)?;
    stage.meet(crowd, &mut part)?;
    let (mut calm_latencies, mut slow_latencies) = (Latencies::new(), Latencies::new());
    let (mut closed, mut took) = (0, 0);
    part.audience.is_measuring = true;
    for _ in 0..slow.rounds {
        course.round(crowd, &mut part, slow.time.seconds)?;
        catch_up(&course, crowd, &mut part)?;
        calm_latencies.add(&part.audience.take_latencies());
        stage.meet(crowd, &mut part)?;
        let start = clock.now();
        part.are_slow = true;
        (slow_from..count).try_for_each(|id| crowd.stop_reading(id))?;
        course.round(crowd, &mut part, slow.time.seconds)?;
        took += clock.now() - start;
        slow_latencies.add(&part.audience.take_latencies());
        stage.meet(crowd, &mut part)?;
        (slow_from..count).try_for_each(|id| crowd.read_on(id))?;
        catch_up(&course, crowd, &mut part)?;
        part.are_slow = false;
        closed += part.gone.len();
        replace(&course, crowd, &mut part)?;
        stage.meet(crowd, &mut part)?;
    }
    course.end(&mut part.audience);
    Ok(Found {
        calm: calm_latencies,
        slow: slow_latencies,
        lag: part.audience.lag,
        closed,
        first_farewell: part.first_farewell,
        took,
        faults: part.audience.faults,
    })
}

/// Waits until each of the slow ones has heard all, or has gone. What one misses that stayed is missing at the end.
fn catch_up(course: &Course<'_>, crowd: &mut Crowd, part: &mut Readers) -> io::Result<()> {
    let sent = course.context.stage.sent.load(Ordering::Acquire);
    crowd.drain(part, |_, part| {
        let mut slow = part.slow_from..part.audience.orders.len();
        slow.all(|id| part.audience.orders[id].seen() >= sent || part.gone.contains(&id))
    })
}

/// Lets those come again that were closed. They begin where the others are: nothing is under way.
fn replace(course: &Course<'_>, crowd: &mut Crowd, part: &mut Readers) -> io::Result<()> {
    let stage = &course.context.stage;
    let sent = stage.sent.load(Ordering::Acquire);
    for id in std::mem::take(&mut part.gone) {
        part.audience.orders[id] = Order::after(sent);
    }
    let count = part.audience.orders.len();
    crowd.fill(count, part, &|id| course.channel_for(id), &|| stage.goes_on())
}

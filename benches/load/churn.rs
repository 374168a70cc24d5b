//! Connections that come by a schedule, subscribe, and go as soon as they are subscribed. What is measured is the time
//! from when a client should have connected until it is subscribed: what a user waits for.

use std::io;

use super::arguments::Churn;
use super::client::Voice;
use super::clock::{Nanos, Schedule, seconds};
use super::crowd::{Crowd, Part, after};
use super::process::Sample;
use super::report::{Report, Unit};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies};

/// Clients come from so many addresses in turn, for a port is not free again at once.
const ADDRESSES: usize = 16;

/// Comers and goers of one thread.
struct Visitors {
    /// When the client of that number should have connected; `None` once it is subscribed.
    due: Vec<Option<Nanos>>,
    latencies: Latencies,
    /// How late clients began to connect: what the generator itself adds.
    lag: Latencies,
    faults: Faults,
    came: u64,
    is_measuring: bool,
}

impl Part for Visitors {
    fn on_ready(&mut self, id: usize, at: Nanos, voice: &mut Voice<'_>) {
        if let Some(due) = self.due.get_mut(id).and_then(Option::take) {
            self.came += 1;
            if self.is_measuring {
                self.latencies.record(due, at);
            }
        }
        voice.close();
    }

    fn on_message(&mut self, _id: usize, _message: &[u8], _at: Nanos, _voice: &mut Voice<'_>) {
        self.faults.unknown += 1;
    }

    fn on_gone(&mut self, id: usize, why: &str) {
        if self.due.get_mut(id).and_then(Option::take).is_some() {
            self.faults.lose(why);
        }
    }
}

/// What one thread found.
struct Found {
    latencies: Latencies,
    lag: Latencies,
    faults: Faults,
    took: Nanos,
}

pub(crate) fn run(context: &Context, churn: &Churn) -> io::Result<Report> {
    let (mut before, mut done) = (Sample::default(), Sample::default());
    let conduct = || {
        before = context.stage.gather(|| context.server.sample())?;
        done = context.stage.gather(|| context.server.sample())?;
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, churn, crowd), conduct)?;
    let mut report = Report::new(format!("churn: {} connections a second", churn.rate));
    let (mut latencies, mut lag) = (Latencies::new(), Latencies::new());
    for one in &found {
        report.faults.add(&one.faults);
        latencies.add(&one.latencies);
        lag.add(&one.lag);
    }
    let took = found.iter().map(|one| one.took).max().unwrap_or(0);
    report.add("connections", latencies.count() as f64, Unit::Count);
    report.add("connections per second", latencies.count() as f64 / seconds(took), Unit::PerSecond);
    if context.server.is_known() {
        report.add_cpu(&(done - before), latencies.count(), "connections");
        report.add_memory("before", before.memory);
        report.add_memory("afterwards", done.memory);
    }
    report.add_latencies("connect to subscribed", &latencies);
    report.add_latencies("generator's own lag", &lag);
    Ok(report)
}

fn play(context: &Context, churn: &Churn, crowd: &mut Crowd) -> io::Result<Found> {
    crowd.least_addresses = ADDRESSES;
    let mut part = Visitors {
        due: Vec::new(),
        latencies: Latencies::new(),
        lag: Latencies::new(),
        faults: Faults::default(),
        came: 0,
        is_measuring: false,
    };
    visit(context, churn, crowd, &mut part, churn.time.warm_up)?;
    context.stage.meet(crowd, &mut part)?;
    part.is_measuring = true;
    let start = context.clock.now();
    visit(context, churn, crowd, &mut part, churn.time.seconds)?;
    let took = context.clock.now() - start;
    context.stage.meet(crowd, &mut part)?;
    Ok(Found { latencies: part.latencies, lag: part.lag, faults: part.faults, took })
}

/// Lets clients come for so long, and waits until the last has gone.
fn visit(
    context: &Context,
    churn: &Churn,
    crowd: &mut Crowd,
    part: &mut Visitors,
    seconds: u64,
) -> io::Result<()> {
    let (clock, stage) = (context.clock, &context.stage);
    let start = clock.now();
    let end = after(start, seconds);
    let schedule = Schedule { start, per_second: churn.rate / context.threads as f64 };
    let most = crowd.share(churn.most_at_once).max(1);
    let channel = || context.target.is_pusher().then(|| format!("load-{}", context.run_id).into());
    let (mut n, before) = (0, part.came + part.faults.lost);
    while schedule.due(n) < end && stage.goes_on() {
        while schedule.due(n) <= clock.now().min(end) && crowd.len() < most {
            let id = crowd.open(channel())?;
            if part.due.len() <= id {
                part.due.resize(id + 1, None);
            }
            part.due[id] = Some(schedule.due(n));
            if part.is_measuring {
                part.lag.record(schedule.due(n), clock.now());
            }
            n += 1;
        }
        crowd.turn_until(schedule.due(n), part)?;
    }
    crowd.drain(part, |crowd, _| crowd.len() == 0)?;
    let settled = part.came + part.faults.lost - before;
    part.faults.missing += n.saturating_sub(settled);
    Ok(())
}

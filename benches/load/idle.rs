//! Connections that wait: what one costs, by the slope between two sizes; and what all of them cost in processor time
//! while nothing happens. At the end an event goes out, to see that they were subscribed and not merely open.

use std::io;
use std::time::Duration;

use super::arguments::{ChannelKind, Idle};
use super::clock::seconds;
use super::crowd::Crowd;
use super::process::Sample;
use super::report::{Report, Unit};
use super::run::{Context, with_threads};
use super::sleepers::{Sleepers, prove};
use super::stage::pause;
use super::tally::Faults;

/// With a channel each, so many are tried: as many as one event may go to on most servers.
const MOST_PROOFS: usize = 100;

/// The samples of one run.
#[derive(Default)]
struct Samples {
    empty: Sample,
    at_from: Sample,
    at_to: Sample,
    after_window: Sample,
    closed: Sample,
}

pub(crate) fn run(context: &Context, idle: &Idle) -> io::Result<Report> {
    let mut samples = Samples { empty: context.server.sample()?, ..Samples::default() };
    let settle = Duration::from_secs(idle.settle);
    let settled = || {
        pause(context.clock, settle);
        context.server.sample()
    };
    let conduct = || {
        samples.at_from = context.stage.gather(settled)?;
        context.stage.gather(|| {
            samples.at_to = settled()?;
            pause(context.clock, Duration::from_secs(idle.window));
            samples.after_window = context.server.sample()?;
            Ok(())
        })?;
        context.stage.gather(|| Ok(()))?;
        samples.closed = context.stage.gather(settled)?;
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, idle, crowd), conduct)?;
    let mut report = Report::new(title(idle));
    for faults in &found {
        report.faults.add(faults);
    }
    tell_costs(&mut report, idle, &samples);
    Ok(report)
}

fn title(idle: &Idle) -> String {
    let channels = match idle.own_channel {
        None => "one channel for all",
        Some(ChannelKind::Public) => "a public channel each",
        Some(ChannelKind::Private) => "a private channel each",
    };
    format!("idle: {} to {} connections, {channels}", idle.from, idle.to)
}

fn play(context: &Context, idle: &Idle, crowd: &mut Crowd) -> io::Result<Faults> {
    let stage = &context.stage;
    let to = crowd.share(idle.to);
    let mut part = Sleepers::new(to);
    let index = crowd.index;
    let channel = |id: usize| channel(context, idle, index, id);
    let go_on = || stage.goes_on();
    crowd.fill(crowd.share(idle.from), &mut part, &channel, &go_on)?;
    stage.meet(crowd, &mut part)?;
    crowd.fill(to, &mut part, &channel, &go_on)?;
    stage.meet(crowd, &mut part)?;
    if context.target.is_pusher() {
        prove_all(context, idle, crowd, &mut part)?;
    }
    stage.meet(crowd, &mut part)?;
    part.is_ending = true;
    crowd.close_all();
    crowd.drain(&mut part, |crowd, _| crowd.len() == 0)?;
    stage.meet(crowd, &mut part)?;
    Ok(part.faults)
}

fn channel(context: &Context, idle: &Idle, thread: usize, id: usize) -> Option<Box<str>> {
    let run = &context.run_id;
    let name = match idle.own_channel {
        None => format!("load-{run}"),
        Some(ChannelKind::Public) => format!("load-{run}-{thread}-{id}"),
        Some(ChannelKind::Private) => format!("private-load-{run}-{thread}-{id}"),
    };
    context.target.is_pusher().then(|| name.into())
}

/// Publishes one event that this thread's clients must hear: all of them on the one channel, or the first ones each on
/// their own.
fn prove_all(
    context: &Context,
    idle: &Idle,
    crowd: &mut Crowd,
    part: &mut Sleepers,
) -> io::Result<()> {
    let count = crowd.len();
    let (channels, listeners) = match idle.own_channel {
        // One event reaches the clients of all threads.
        None => (usize::from(crowd.index == 0), count),
        Some(_) => (count.min(MOST_PROOFS), count.min(MOST_PROOFS)),
    };
    let names: Vec<_> =
        (0..channels).filter_map(|id| channel(context, idle, crowd.index, id)).collect();
    prove(context, crowd, part, &names, |part| part.heard >= listeners)?;
    part.end(listeners);
    Ok(())
}

fn tell_costs(report: &mut Report, idle: &Idle, samples: &Samples) {
    let (from, to) = (samples.at_from.memory, samples.at_to.memory);
    report.add_memory_costs((idle.from, from), (idle.to, to));
    report.add_memory("with no connection", samples.empty.memory);
    report.add_memory(&format!("with {}", idle.from), from);
    report.add_memory(&format!("with {}", idle.to), to);
    report.add_memory("after all are closed", samples.closed.memory);
    let effort = samples.after_window - samples.at_to;
    let of = format!("in {} s of idleness", idle.window);
    report.add(format!("server CPU {of}"), seconds(effort.ran), Unit::Seconds);
    report.add(format!("server waits {of}"), effort.waits as f64, Unit::Count);
}

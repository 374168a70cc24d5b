//! Connections that wait: what one costs, by the slope between two sizes; and what all of them cost in processor time
//! while nothing happens but pings, which are counted. At the end an event goes out, to see that they were subscribed and not merely open.

use std::io;
use std::time::Duration;

use super::arguments::{ChannelKind, Idle};
use super::clock::seconds;
use super::crowd::Crowd;
use super::process::{Effort, Sample};
use super::report::{Report, Unit};
use super::run::{Context, with_threads};
use super::sleepers::{Sleepers, prove};
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
        context.stage.rest(settle)?;
        context.server.sample()
    };
    let conduct = || {
        samples.at_from = context.stage.gather(settled)?;
        samples.at_to = context.stage.gather(settled)?;
        samples.after_window = context.stage.gather(|| {
            context.stage.rest(Duration::from_secs(idle.window))?;
            context.server.sample()
        })?;
        context.stage.gather(|| Ok(()))?;
        samples.closed = context.stage.gather(settled)?;
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, idle, crowd), conduct)?;
    let mut report = Report::new(title(idle));
    for (faults, _) in &found {
        report.faults.add(faults);
    }
    tell_memory(&mut report, idle, &samples);
    let pings = found.iter().map(|(_, pings)| pings).sum();
    tell_idleness(&mut report, idle, samples.after_window - samples.at_to, pings);
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

/// Gives back the faults, and the pings that came in the window.
fn play(context: &Context, idle: &Idle, crowd: &mut Crowd) -> io::Result<(Faults, u64)> {
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
    let before = crowd.pinged;
    stage.meet(crowd, &mut part)?;
    let pings = crowd.pinged - before;
    if context.target.is_pusher() {
        prove_all(context, idle, crowd, &mut part)?;
    }
    stage.meet(crowd, &mut part)?;
    part.is_ending = true;
    crowd.close_all();
    crowd.drain(&mut part, |crowd, _| crowd.len() == 0)?;
    stage.meet(crowd, &mut part)?;
    Ok((part.faults, pings))
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

fn tell_memory(report: &mut Report, idle: &Idle, samples: &Samples) {
    let (from, to) = (samples.at_from.memory, samples.at_to.memory);
    report.add_memory_costs((idle.from, from), (idle.to, to));
    report.add_memory("with no connection", samples.empty.memory);
    report.add_memory(&format!("with {}", idle.from), from);
    report.add_memory(&format!("with {}", idle.to), to);
    report.add_memory("after all are closed", samples.closed.memory);
}

/// What the server did in the window, and whether it had to: a ping that falls into it is work, and answering one wakes the server.
fn tell_idleness(report: &mut Report, idle: &Idle, effort: Effort, pings: u64) {
    let window = idle.window;
    report.add(format!("server CPU in {window} s of idleness"), seconds(effort.ran), Unit::Seconds);
    let share = 100.0 * seconds(effort.ran) / window as f64;
    report.add(format!("share of a core in {window} s of idleness"), share, Unit::Percent);
    report.add(format!("server waits in {window} s of idleness"), effort.waits as f64, Unit::Count);
    report.add(format!("pings in {window} s of idleness"), pings as f64, Unit::Count);
    report.remarks.push(if pings == 0 {
        format!(
            "The server pinged nobody in the {window} s that it was watched: what it takes to ask silent clients whether they are there is \
             not in these figures. A longer --window shows it."
        )
    } else {
        format!("In the {window} s that it was watched the server sent {pings} pings, and clients answered them.")
    });
}

//! Connections that wait: what one costs, by the slope between two sizes; and what all of them cost in processor time
//! while nothing happens. At the end an event goes out, to see that they were subscribed and not merely open.

use std::io;
use std::time::Duration;

use super::arguments::{ChannelKind, Idle};
use super::client::Voice;
use super::clock::Nanos;
use super::crowd::{Crowd, Part};
use super::payload::{LEAST_BYTES, Payloads, Stamp};
use super::process::{Memory, Sample};
use super::report::{Report, Unit};
use super::run::{Context, with_threads};
use super::stage::pause;
use super::tally::{Faults, Order, slope};

/// With a channel each, so many are tried: as many as one event may go to on most servers.
const MOST_PROOFS: usize = 100;

/// One thread's share.
struct Sleepers {
    orders: Vec<Order>,
    payloads: Payloads,
    faults: Faults,
    heard: usize,
    is_ending: bool,
}

impl Part for Sleepers {
    fn on_message(&mut self, id: usize, message: &[u8], _at: Nanos, _voice: &mut Voice<'_>) {
        match (self.payloads.read(message), self.orders.get_mut(id)) {
            (Some(stamp), Some(order)) => {
                order.take(stamp.sequence, &mut self.faults);
                self.heard += 1;
            }
            _ => self.faults.garbled += 1,
        }
    }

    fn on_gone(&mut self, _id: usize, why: &str) {
        if !self.is_ending {
            self.faults.lose(why);
        }
    }

    fn on_answered(&mut self, status: u16) {
        if status != 200 {
            self.faults.refused += 1;
        }
    }
}

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
    let mut part = Sleepers {
        orders: vec![Order::default(); to],
        payloads: Payloads::new(LEAST_BYTES),
        faults: Faults::default(),
        heard: 0,
        is_ending: false,
    };
    let index = crowd.index;
    let channel = |id: usize| channel(context, idle, index, id);
    let go_on = || stage.goes_on();
    crowd.fill(crowd.share(idle.from), &mut part, &channel, &go_on)?;
    stage.meet(crowd, &mut part)?;
    crowd.fill(to, &mut part, &channel, &go_on)?;
    stage.meet(crowd, &mut part)?;
    if context.target.is_pusher() {
        prove(context, idle, crowd, &mut part)?;
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
fn prove(context: &Context, idle: &Idle, crowd: &mut Crowd, part: &mut Sleepers) -> io::Result<()> {
    let (channels, listeners) = match idle.own_channel {
        // One event reaches the clients of all threads.
        None => (usize::from(crowd.index == 0), part.orders.len()),
        Some(_) => (part.orders.len().min(MOST_PROOFS), part.orders.len().min(MOST_PROOFS)),
    };
    let names: Vec<_> =
        (0..channels).filter_map(|id| channel(context, idle, crowd.index, id)).collect();
    if !names.is_empty() {
        crowd.connect_publisher()?;
        let mut data = Vec::new();
        part.payloads.write(Stamp { sequence: 0, intended: context.clock.now() }, &mut data);
        let names: Vec<_> = names.iter().map(|name| &**name).collect();
        let target = &context.target;
        let publisher = crowd.publisher.as_mut();
        publisher.map_or(Ok(()), |publisher| {
            publisher.publish(target, &names, &String::from_utf8_lossy(&data))
        })?;
    }
    crowd.drain(part, |_, part| part.heard >= listeners)?;
    for order in &part.orders[..listeners] {
        order.end(1, &mut part.faults);
    }
    Ok(())
}

fn tell_costs(report: &mut Report, idle: &Idle, samples: &Samples) {
    let (from, to) = (&samples.at_from.memory, &samples.at_to.memory);
    let per_connection = |of: fn(&Memory) -> u64| slope((idle.from, of(from)), (idle.to, of(to)));
    let slopes = [
        ("private per connection", per_connection(|memory| memory.private)),
        ("resident per connection", per_connection(|memory| memory.resident)),
        ("proportional per connection", per_connection(|memory| memory.proportional)),
        ("kernel per connection, both ends", per_connection(|memory| memory.kernel)),
    ];
    for (name, slope) in slopes {
        report.add(name, slope.unwrap_or(f64::NAN), Unit::Bytes);
    }
    report.add_memory("with no connection", samples.empty.memory);
    report.add_memory(&format!("with {}", idle.from), samples.at_from.memory);
    report.add_memory(&format!("with {}", idle.to), samples.at_to.memory);
    report.add_memory("after all are closed", samples.closed.memory);
    let cpu = samples.after_window.cpu - samples.at_to.cpu;
    report.add(format!("server CPU in {} s of idleness", idle.window), cpu.total(), Unit::Seconds);
    report.remarks.push(
        "Kernel memory is that of the whole machine: sockets of the generator and of others are in it.".to_owned(),
    );
}

//! One event to many. Paced, it says how late the last subscriber hears; flat out, how many deliveries a second of the
//! server's processor buys. Who speaks and who hears is in `course`.

use std::io;

use super::arguments::Fanout;
use super::clock::{Nanos, seconds};
use super::course::{Audience, Course, Pace, Sender};
use super::crowd::Crowd;
use super::payload::Payloads;
use super::process::Sample;
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies};

/// What thread 0 alone knows when the load is over.
#[derive(Default)]
struct Found {
    latencies: Option<Latencies>,
    lag: Option<Latencies>,
    faults: Faults,
    events: u64,
    took: Nanos,
    /// Bytes that this thread's subscribers were sent.
    received: u64,
}

/// One round: warming up, or measuring.
#[derive(Clone, Copy)]
struct Round {
    seconds: u64,
    is_measured: bool,
}

pub(crate) fn run(context: &Context, fanout: &Fanout) -> io::Result<Report> {
    let rounds = [
        Round { seconds: fanout.time.warm_up, is_measured: false },
        Round { seconds: fanout.time.seconds, is_measured: true },
    ];
    let (mut before, mut done) = (Sample::default(), Sample::default());
    let conduct = || {
        context.stage.gather(|| Ok(()))?;
        before = context.stage.gather(|| context.server.sample())?;
        done = context.stage.gather(|| context.server.sample())?;
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, fanout, crowd, rounds), conduct)?;
    let mut report = Report::new(title(fanout));
    let (mut latencies, mut lag) = (Latencies::new(), Latencies::new());
    for one in &found {
        report.faults.add(&one.faults);
        one.latencies.iter().for_each(|own| latencies.add(own));
        one.lag.iter().for_each(|own| lag.add(own));
    }
    let (events, took) = found.first().map_or((0, 0), |first| (first.events, first.took));
    report.add("events", events as f64, Unit::Count);
    report.add("events per second", events as f64 / seconds(took), Unit::PerSecond);
    report.add("deliveries", latencies.count() as f64, Unit::Count);
    report.add("deliveries per second", latencies.count() as f64 / seconds(took), Unit::PerSecond);
    let received: u64 = found.iter().map(|one| one.received).sum();
    let bytes = received as f64 / latencies.count().max(1) as f64;
    report.add("bytes per delivery", bytes, Unit::Bytes);
    if context.server.is_known() {
        let work = Work { count: latencies.count(), what: "deliveries", took };
        let effort = done - before;
        report.add_effort(&effort, work);
        report.add_segments(&effort, work);
        report.add_memory("afterwards", done.memory);
    }
    report.add_latencies("latency", &latencies);
    if fanout.flat_out {
        report.remarks.push("Flat out: latencies show queues, not the server.".to_owned());
    } else {
        report.add_latencies("generator's own lag", &lag);
    }
    Ok(report)
}

fn title(fanout: &Fanout) -> String {
    let Fanout { connections, channels, size, rate, flat_out, window, .. } = fanout;
    let what = match (fanout.compress, fanout.json) {
        (true, _) => "bytes, compressed",
        (false, true) => "bytes like JSON",
        (false, false) => "bytes",
    };
    let pace = if *flat_out {
        format!("flat out, at most {window} events' worth of deliveries under way")
    } else {
        format!("{rate} events a second")
    };
    format!("fanout: {connections} subscribers, {channels} channels, {size} {what}, {pace}")
}

fn play(
    context: &Context,
    fanout: &Fanout,
    crowd: &mut Crowd,
    rounds: [Round; 2],
) -> io::Result<Found> {
    let stage = &context.stage;
    let count = crowd.share(fanout.connections);
    let mut part = Audience::new(count, fanout.size);
    if fanout.json || fanout.compress {
        part.payloads = Payloads::like_json(fanout.size);
    }
    crowd.is_compressing = fanout.compress;
    // Flat out, events that wait for each other's answers would reach the server one by one, whatever the window.
    let (pace, pipeline) = if fanout.flat_out {
        (Pace::FlatOut { window: fanout.window }, usize::try_from(fanout.window).unwrap_or(1))
    } else {
        (Pace::PerSecond(fanout.rate), 1)
    };
    let course = Course {
        context,
        index: crowd.index,
        listeners: fanout.connections,
        channels: fanout.channels,
        pace,
        pipeline: fanout.pipeline.unwrap_or(pipeline),
        sender: if fanout.sender_excluded { Sender::LeftOut } else { Sender::Hears },
    };
    crowd.fill(count, &mut part, &|id| course.channel_for(id), &|| stage.goes_on())?;
    if crowd.index == 0 && context.target.is_pusher() {
        crowd.connect_publisher()?;
    }
    let mut found = Found::default();
    stage.meet(crowd, &mut part)?;
    for round in rounds {
        part.is_measuring = round.is_measured;
        let (sent, received) = (part.sent, crowd.received);
        let start = context.clock.now();
        course.round(crowd, &mut part, round.seconds)?;
        (found.events, found.took) = (part.sent - sent, context.clock.now() - start);
        stage.meet(crowd, &mut part)?;
        found.received = crowd.received - received;
    }
    course.end(&mut part);
    found.latencies = Some(part.latencies);
    found.lag = Some(part.lag);
    found.faults = part.faults;
    Ok(found)
}

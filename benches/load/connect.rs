//! Connections that come as fast as the server takes them, and stay: TCP, upgrade, greeting, and on a Pusher server a subscription
//! with its signature. What is measured is processor time from the first that comes to the last that is subscribed. What their
//! end costs is not in it: between rounds all are cut off, and the next round begins when the server has let go of them.

use std::io;

use super::arguments::{ChannelKind, Connect};
use super::clock::{Nanos, seconds};
use super::crowd::Crowd;
use super::process::Effort;
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::sleepers::{Sleepers, prove};
use super::tally::{Faults, Latencies};

/// What one thread found.
struct Found {
    latencies: Latencies,
    faults: Faults,
    took: Nanos,
}

pub(crate) fn run(context: &Context, connect: &Connect) -> io::Result<Report> {
    let mut effort = Effort::default();
    let conduct = || {
        let descriptors = context.server.descriptors();
        for _ in 0..connect.rounds {
            let before = context.stage.gather(|| context.server.sample())?;
            let done = context.stage.gather(|| context.server.sample())?;
            effort += done - before;
            context.stage.gather(|| context.server.await_descriptors(descriptors))?;
        }
        Ok(())
    };
    let found = with_threads(context, |crowd| play(context, connect, crowd), conduct)?;
    let Connect { connections, at_once, .. } = connect;
    let mut report = Report::new(format!(
        "connect: {} times {connections} connections, {at_once} under way",
        connect.rounds
    ));
    let mut latencies = Latencies::new();
    for one in &found {
        report.faults.add(&one.faults);
        latencies.add(&one.latencies);
    }
    let took = found.iter().map(|one| one.took).max().unwrap_or(0);
    report.add("connections", latencies.count() as f64, Unit::Count);
    report.add("connections per second", latencies.count() as f64 / seconds(took), Unit::PerSecond);
    if context.server.is_known() {
        let work = Work { count: latencies.count(), what: "connections", took };
        report.add_effort(&effort, work);
        report.add_segments(&effort, work);
    }
    report.add_latencies("connect to subscribed", &latencies);
    let remark = "Closed loop: a connection begins when another is subscribed, so latencies are the server's at its own pace.";
    report.remarks.push(remark.to_owned());
    if connect.canned {
        report
            .remarks
            .push("Canned answers: nobody proved that the clients were subscribed.".to_owned());
    }
    Ok(report)
}

fn play(context: &Context, connect: &Connect, crowd: &mut Crowd) -> io::Result<Found> {
    let stage = &context.stage;
    let count = crowd.share(connect.connections);
    crowd.most_opening = crowd.share(connect.at_once).max(1);
    let channel = channel(context, connect.channel);
    let mut found = Found { latencies: Latencies::new(), faults: Faults::default(), took: 0 };
    for round in 1..=connect.rounds {
        let mut part = Sleepers::new(count);
        stage.meet(crowd, &mut part)?;
        let start = context.clock.now();
        crowd.fill(count, &mut part, &|_| channel.clone(), &|| stage.goes_on())?;
        found.took += context.clock.now() - start;
        stage.meet(crowd, &mut part)?;
        if round == connect.rounds && !connect.canned && context.target.is_pusher() {
            // One event reaches the clients of all threads.
            let channel = channel.clone().filter(|_| crowd.index == 0);
            prove(context, crowd, &mut part, channel.as_slice(), |part| part.heard >= count)?;
            part.end(count);
        }
        crowd.cut_all()?;
        stage.meet(crowd, &mut part)?;
        found.latencies.add(&part.latencies);
        found.faults.add(&part.faults);
    }
    Ok(found)
}

/// One channel for all, so that one event can prove that all are on it.
fn channel(context: &Context, kind: ChannelKind) -> Option<Box<str>> {
    let run = &context.run_id;
    let name = match kind {
        ChannelKind::Private => format!("private-load-{run}"),
        ChannelKind::Public => format!("load-{run}"),
    };
    context.target.is_pusher().then(|| name.into())
}

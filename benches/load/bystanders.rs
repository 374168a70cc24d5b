//! A few clients that ask and are answered, while the server does something large: whether one event to many makes others wait.
//! The few ask by a schedule, first of a calm server and then while one fan-out follows the other; so each of their questions meets one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::arguments::Bystanders;
use super::clock::{Nanos, Schedule};
use super::course::{Audience, Course, Pace, Sender};
use super::crowd::{Crowd, after};
use super::echo::Talks;
use super::pair::Pair;
use super::process::Sample;
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies};
use super::target::Target;

/// What happens for how long.
#[derive(Clone, Copy)]
struct Phase {
    seconds: u64,
    has_fanouts: bool,
    is_measured: bool,
}

/// What one thread found.
struct Found {
    calm: Latencies,
    busy: Latencies,
    lag: Latencies,
    /// From when an event went out until the last had heard it.
    fanouts: Latencies,
    deliveries: u64,
    took: Nanos,
    faults: Faults,
}

pub(crate) fn run(context: &Context, bystanders: &Bystanders) -> io::Result<Report> {
    let (mut before, mut done) = (Sample::default(), Sample::default());
    let conduct = || {
        context.stage.gather(|| Ok(()))?;
        context.stage.gather(|| Ok(()))?;
        before = context.stage.gather(|| context.server.sample())?;
        done = context.stage.gather(|| context.server.sample())?;
        Ok(())
    };
    let echo = context.other_target("--echo", bystanders.echo.as_deref())?;
    let play = |crowd: &mut Crowd| play(context, bystanders, &echo, crowd);
    let found = with_threads(context, play, conduct)?;
    let Bystanders { connections, few, size, rate, .. } = bystanders;
    let mut report = Report::new(format!(
        "bystanders: {few} ask {rate} times a second, while events of {size} bytes go to {connections} subscribers"
    ));
    let [mut calm, mut busy, mut lag, mut fanouts] = [(); 4].map(|()| Latencies::new());
    for one in &found {
        report.faults.add(&one.faults);
        calm.add(&one.calm);
        busy.add(&one.busy);
        lag.add(&one.lag);
        fanouts.add(&one.fanouts);
    }
    let count = found.iter().map(|one| one.deliveries).sum();
    let took = found.iter().map(|one| one.took).max().unwrap_or(0);
    report.add("questions", busy.count() as f64, Unit::Count);
    report.add("fan-outs", fanouts.count() as f64, Unit::Count);
    report.add_latencies("calm bystanders", &calm);
    report.add_latencies("bystanders", &busy);
    report.add_latencies("fan-out, to the last", &fanouts);
    let share = busy.at_percent(99.0) as f64 / fanouts.at_percent(50.0).max(1) as f64;
    report.add("bystanders p99 per fan-out p50", share, Unit::Count);
    report.add_latencies("generator's own lag", &lag);
    if context.server.is_known() {
        let (effort, work) = (done - before, Work { count, what: "deliveries", took });
        report.add_effort(&effort, work);
        report.add_segments(&effort, work);
    }
    Ok(report)
}

fn play(
    context: &Context,
    bystanders: &Bystanders,
    echo: &Arc<Target>,
    crowd: &mut Crowd,
) -> io::Result<Found> {
    let (stage, clock) = (&context.stage, context.clock);
    let Bystanders { connections, few, size, time, .. } = bystanders;
    let course = Course {
        context,
        index: crowd.index,
        listeners: *connections,
        channels: 1,
        pace: Pace::FlatOut { window: 1 },
        pipeline: 1,
        sender: if bystanders.sender_excluded { Sender::LeftOut } else { Sender::Hears },
    };
    let (few, many) = (crowd.share(*few), crowd.share(*connections));
    let mut talks = Talks::new(few, *size, echo);
    let mut audience = Audience::new(many, *size);
    crowd.fill(many, &mut audience, &|id| course.channel_for(id), &|| stage.goes_on())?;
    if crowd.index == 0 && context.target.is_pusher() {
        crowd.connect_publisher()?;
    }
    let mut pair = Pair::new(Arc::clone(echo), crowd)?;
    pair.first.fill(few, &mut talks, &|_| None, &|| stage.goes_on())?;
    pair.meet(stage, (&mut talks, &mut audience))?;
    let phases = [
        Phase { seconds: time.warm_up, has_fanouts: true, is_measured: false },
        Phase { seconds: time.seconds, has_fanouts: false, is_measured: true },
        Phase { seconds: time.seconds, has_fanouts: true, is_measured: true },
    ];
    let mut fanouts = Latencies::new();
    let (mut calm, mut deliveries, mut took) = (None, 0, 0);
    for phase in phases {
        talks.is_measuring = phase.is_measured;
        audience.is_measuring = phase.is_measured;
        let start = clock.now();
        let found =
            course_with_talks(&course, bystanders, phase, &mut pair, (&mut talks, &mut audience))?;
        if phase.is_measured && !phase.has_fanouts {
            calm = Some(std::mem::replace(&mut talks.latencies, Latencies::new()));
        }
        if phase.is_measured {
            fanouts.add(&found);
        }
        (deliveries, took) = (audience.latencies.count(), clock.now() - start);
        pair.meet(stage, (&mut talks, &mut audience))?;
    }
    course.end(&mut audience);
    talks.end();
    let mut faults = audience.faults;
    faults.add(&talks.faults);
    let (busy, lag) = (talks.latencies, talks.lag);
    let calm = calm.unwrap_or_else(Latencies::new);
    Ok(Found { calm, busy, lag, fanouts, deliveries, took, faults })
}

/// One phase of one thread; gives back how long each fan-out took.
fn course_with_talks(
    course: &Course<'_>,
    bystanders: &Bystanders,
    phase: Phase,
    pair: &mut Pair<'_>,
    (talks, audience): (&mut Talks, &mut Audience),
) -> io::Result<Latencies> {
    let (stage, clock) = (&course.context.stage, course.context.clock);
    let start = clock.now();
    let end = after(start, phase.seconds);
    let per_second = bystanders.rate / course.context.threads as f64;
    let schedule = Schedule { start, per_second };
    let mut fanouts = Latencies::new();
    let (mut asked, mut under_way) = (0, None);
    let is_speaking = course.index == 0 && phase.has_fanouts;
    while clock.now() < end && stage.goes_on() {
        let mut due = talks.send_what_is_due(&mut pair.first, schedule, &mut asked)?;
        if is_speaking {
            if course.is_delivered(audience, 0) {
                let (now, sent) = (clock.now(), audience.sent);
                under_way.take().into_iter().for_each(|at| fanouts.record(at, now));
                course.send_what_is_due(pair.second, audience, start, sent)?;
                under_way = (audience.sent > sent).then_some(now);
            } else if course.context.threads > 1 {
                // The other threads' deliveries wake nobody here.
                due = clock.now();
            }
        }
        pair.turn_until(due.min(end), (&mut *talks, &mut *audience))?;
        course.count(audience);
    }
    pair.drain((&mut *talks, &mut *audience), |talks, audience| {
        course.count(audience);
        if course.index == 0 && course.is_delivered(audience, 0) {
            course.tell_sent(audience);
        }
        talks.is_silent() && stage.is_over.load(Ordering::Acquire)
    })?;
    if course.index == 0 {
        course.tell_sent(audience);
    }
    Ok(fanouts)
}

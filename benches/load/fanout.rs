//! One event to many. Paced, it says how late the last subscriber hears; flat out, how many deliveries a second of the
//! server's processor buys.
//!
//! ```text
//!   thread 0:  Schedule ──due──▶ publish (HTTP, or a client's message) ─▶ server ─▶ all clients of all threads
//!                 ▲                                                                        │
//!                 └──── flat out: not more than `window` events ahead of ── delivered ◀────┘
//! ```

use std::io;
use std::sync::atomic::Ordering;

use stentor::MessageKind;

use super::arguments::Fanout;
use super::client::Voice;
use super::clock::{Nanos, Schedule, seconds};
use super::crowd::{Crowd, LONGEST_WAIT, Part, after};
use super::payload::{Payloads, Stamp};
use super::process::Sample;
use super::report::{Report, Unit, Work};
use super::run::{Context, with_threads};
use super::tally::{Faults, Latencies, Order};

/// How soon to look whether an event may go out that must wait: the other threads' deliveries wake nobody here.
const LOOK_AGAIN: Nanos = 2_500_000;

/// One thread's share of the audience.
struct Audience {
    payloads: Payloads,
    orders: Vec<Order>,
    latencies: Latencies,
    /// How late events went out: what the generator itself adds.
    lag: Latencies,
    faults: Faults,
    /// Received since the last look.
    received: u64,
    /// Events sent, of all channels; thread 0 alone sends.
    sent: u64,
    is_measuring: bool,
}

impl Part for Audience {
    fn on_message(&mut self, id: usize, message: &[u8], at: Nanos, _voice: &mut Voice<'_>) {
        let (Some(stamp), Some(order)) = (self.payloads.read(message), self.orders.get_mut(id))
        else {
            self.faults.garbled += 1;
            return;
        };
        order.take(stamp.sequence, &mut self.faults);
        self.received += 1;
        if self.is_measuring {
            self.latencies.record(stamp.intended, at);
        }
    }

    fn on_gone(&mut self, _id: usize, why: &str) {
        self.faults.lose(why);
    }

    fn on_answered(&mut self, status: u16) {
        if status != 200 {
            self.faults.refused += 1;
        }
    }
}

/// What thread 0 alone knows when the load is over.
#[derive(Default)]
struct Found {
    latencies: Option<Latencies>,
    lag: Option<Latencies>,
    faults: Faults,
    events: u64,
    took: Nanos,
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
        before = context.stage.gather(|| {
            context.stage.is_over.store(false, Ordering::Relaxed);
            context.server.sample()
        })?;
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
    if context.server.is_known() {
        let work = Work { count: latencies.count(), what: "deliveries", took };
        report.add_effort(&(done - before), work);
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
    let pace = if *flat_out {
        format!("flat out, {window} under way")
    } else {
        format!("{rate} events a second")
    };
    format!("fanout: {connections} subscribers, {channels} channels, {size} bytes, {pace}")
}

fn play(
    context: &Context,
    fanout: &Fanout,
    crowd: &mut Crowd,
    rounds: [Round; 2],
) -> io::Result<Found> {
    let stage = &context.stage;
    let count = crowd.share(fanout.connections);
    let mut part = Audience {
        payloads: Payloads::new(fanout.size),
        orders: vec![Order::default(); count],
        latencies: Latencies::new(),
        lag: Latencies::new(),
        faults: Faults::default(),
        received: 0,
        sent: 0,
        is_measuring: false,
    };
    let course = Course { context, fanout, index: crowd.index };
    let name = |id: usize| course.name(course.channel_of(id));
    crowd.fill(count, &mut part, &name, &|| stage.goes_on())?;
    if crowd.index == 0 && context.target.is_pusher() {
        crowd.connect_publisher()?;
    }
    let mut found = Found::default();
    stage.meet(crowd, &mut part)?;
    for round in rounds {
        part.is_measuring = round.is_measured;
        let sent = part.sent;
        let start = context.clock.now();
        course.round(crowd, &mut part, round)?;
        (found.events, found.took) = (part.sent - sent, context.clock.now() - start);
        stage.meet(crowd, &mut part)?;
    }
    course.end(&mut part);
    found.latencies = Some(part.latencies);
    found.lag = Some(part.lag);
    found.faults = part.faults;
    Ok(found)
}

/// The plan, as one thread sees it.
struct Course<'a> {
    context: &'a Context,
    fanout: &'a Fanout,
    index: usize,
}

impl Course<'_> {
    /// A plain server is one room.
    fn channels(&self) -> u64 {
        if self.context.target.is_pusher() { u64::from(self.fanout.channels) } else { 1 }
    }

    /// The channel of this thread's client.
    fn channel_of(&self, id: usize) -> u64 {
        (id * self.context.threads + self.index) as u64 % self.channels()
    }

    fn name(&self, channel: u64) -> Option<Box<str>> {
        let name = || format!("load-{}-{channel}", self.context.run_id).into();
        self.context.target.is_pusher().then(name)
    }

    /// How many hear one event of a channel, on all threads.
    fn listeners(&self, channel: u64) -> u64 {
        let all = self.fanout.connections as u64;
        let is_heard_by_sender = self.context.target.is_pusher() || !self.fanout.sender_excluded;
        all / self.channels() + u64::from(channel < all % self.channels())
            - u64::from(!is_heard_by_sender)
    }

    /// Deliveries that so many events lead to.
    fn deliveries(&self, events: u64) -> u64 {
        (0..self.channels())
            .map(|channel| self.events_of(channel, events) * self.listeners(channel))
            .sum()
    }

    /// How many of so many events go to a channel: they go in turn.
    fn events_of(&self, channel: u64, events: u64) -> u64 {
        events / self.channels() + u64::from(channel < events % self.channels())
    }

    fn round(&self, crowd: &mut Crowd, part: &mut Audience, round: Round) -> io::Result<()> {
        let stage = &self.context.stage;
        if self.index > 0 {
            while !stage.is_over.load(Ordering::Acquire) && stage.goes_on() {
                crowd.turn(LONGEST_WAIT, part)?;
                self.count(part);
            }
            return Ok(());
        }
        let start = self.context.clock.now();
        let end = after(start, round.seconds);
        let schedule = Schedule { start, per_second: self.fanout.rate };
        let first = part.sent;
        while self.context.clock.now() < end && stage.goes_on() {
            let due = self.send_what_is_due(crowd, part, schedule, first)?;
            crowd.turn_until(due.min(end), part)?;
            self.count(part);
        }
        crowd.drain(part, |_, part| {
            self.count(part);
            self.is_delivered(part, 0)
        })?;
        stage.sent.store(part.sent, Ordering::Relaxed);
        stage.is_over.store(true, Ordering::Release);
        Ok(())
    }

    fn count(&self, part: &mut Audience) {
        self.context
            .stage
            .delivered
            .fetch_add(std::mem::take(&mut part.received), Ordering::Relaxed);
    }

    /// Whether all deliveries have come but those of the last few events.
    fn is_delivered(&self, part: &Audience, but: u64) -> bool {
        let delivered = self.context.stage.delivered.load(Ordering::Relaxed);
        delivered >= self.deliveries(part.sent.saturating_sub(but))
    }

    /// Sends the events whose time has come, and says when the next one is due.
    fn send_what_is_due(
        &self,
        crowd: &mut Crowd,
        part: &mut Audience,
        schedule: Schedule,
        first: u64,
    ) -> io::Result<Nanos> {
        loop {
            let now = self.context.clock.now();
            let is_free =
                crowd.publisher.as_ref().is_none_or(|own| own.outstanding < self.fanout.pipeline);
            let due = if self.fanout.flat_out { now } else { schedule.due(part.sent - first) };
            let may_send = !self.fanout.flat_out || self.is_delivered(part, self.fanout.window - 1);
            if due > now {
                return Ok(due);
            }
            if !is_free || !may_send {
                return Ok(now + LOOK_AGAIN);
            }
            self.send(crowd, part, due)?;
            part.lag.record(due, now);
        }
    }

    fn send(&self, crowd: &mut Crowd, part: &mut Audience, intended: Nanos) -> io::Result<()> {
        let channel = part.sent % self.channels();
        let mut data = Vec::with_capacity(part.payloads.size());
        part.payloads.write(Stamp { sequence: part.sent / self.channels(), intended }, &mut data);
        part.sent += 1;
        match (self.name(channel), &mut crowd.publisher) {
            (Some(name), Some(publisher)) => {
                publisher.publish(&self.context.target, &[&*name], &String::from_utf8_lossy(&data))
            }
            _ => crowd.send(0, MessageKind::Text, &data),
        }
    }

    /// Looks for what never came.
    fn end(&self, part: &mut Audience) {
        let sent = self.context.stage.sent.load(Ordering::Acquire);
        for (id, order) in part.orders.iter().enumerate() {
            let is_sender = self.index == 0 && id == 0 && !self.context.target.is_pusher();
            if !(is_sender && self.fanout.sender_excluded) {
                order.end(self.events_of(self.channel_of(id), sent), &mut part.faults);
            }
        }
    }
}

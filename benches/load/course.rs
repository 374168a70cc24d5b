//! Numbered events to an audience that checks them: what all scenarios have in common in which one speaks and many hear.
//!
//! ```text
//!   thread 0:  Schedule ──due──▶ publish (HTTP, or a client's message) ─▶ server ─▶ all clients of all threads
//!                 ▲                                                                        │
//!                 └──── flat out: not more than `window` events ahead of ── delivered ◀────┘
//! ```
//!
//! How far ahead is counted in deliveries, of whichever events they are: `window` events' worth of them may be under way.

use std::io;
use std::sync::atomic::Ordering;

use stentor::MessageKind;

use super::client::Voice;
use super::clock::{Nanos, Schedule};
use super::crowd::{Crowd, LONGEST_WAIT, Part, after};
use super::payload::{Payloads, Stamp};
use super::run::Context;
use super::tally::{Faults, Latencies, Order};

/// How soon to look whether an event may go out that must wait: the other threads' deliveries wake nobody here.
const LOOK_AGAIN: Nanos = 2_500_000;

/// One thread's share of the audience.
pub(crate) struct Audience {
    pub(crate) payloads: Payloads,
    pub(crate) orders: Vec<Order>,
    pub(crate) latencies: Latencies,
    /// How late events went out that did not wait for an answer to another: what the generator itself adds.
    pub(crate) lag: Latencies,
    /// Whether the next event is due and waits for the server's answer to the one before.
    is_held_up: bool,
    pub(crate) faults: Faults,
    /// Received since the last look.
    received: u64,
    /// Events sent, of all channels; thread 0 alone sends.
    pub(crate) sent: u64,
    pub(crate) is_measuring: bool,
}

impl Audience {
    pub(crate) fn new(count: usize, event_bytes: usize) -> Self {
        Self {
            payloads: Payloads::new(event_bytes),
            orders: vec![Order::default(); count],
            latencies: Latencies::new(),
            lag: Latencies::new(),
            is_held_up: false,
            faults: Faults::default(),
            received: 0,
            sent: 0,
            is_measuring: false,
        }
    }

    /// What was measured since the last time.
    pub(crate) fn take_latencies(&mut self) -> Latencies {
        std::mem::replace(&mut self.latencies, Latencies::new())
    }

    /// Checks what one of them heard. `None`: it is not what was sent.
    pub(crate) fn check(&mut self, id: usize, message: &[u8]) -> Option<Stamp> {
        let heard = self.payloads.read(message).zip(self.orders.get_mut(id));
        let Some((stamp, order)) = heard else {
            self.faults.garbled += 1;
            return None;
        };
        order.take(stamp.sequence, &mut self.faults);
        Some(stamp)
    }
}

impl Part for Audience {
    fn on_message(&mut self, id: usize, message: &[u8], at: Nanos, _voice: &mut Voice<'_>) {
        let Some(stamp) = self.check(id, message) else { return };
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

impl AsMut<Self> for Audience {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// When events go out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as no more than so many events' worth of deliveries are then under way.
    FlatOut {
        window: u64,
    },
    PerSecond(f64),
}

/// Who hears, and who does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// On a plain server, the first client, which hears itself.
    Hears,
    /// The same, but left out by the server.
    LeftOut,
}

/// The plan, as one thread sees it.
pub(crate) struct Course<'a> {
    pub(crate) context: &'a Context,
    /// The thread.
    pub(crate) index: usize,
    /// Those who hear, on all threads.
    pub(crate) listeners: usize,
    pub(crate) channels: u32,
    pub(crate) pace: Pace,
    /// Requests that may be unanswered on the publisher's connection.
    pub(crate) pipeline: usize,
    pub(crate) sender: Sender,
}

impl Course<'_> {
    /// A plain server is one room.
    fn channels(&self) -> u64 {
        if self.context.target.is_pusher() { u64::from(self.channels) } else { 1 }
    }

    /// The channel of this thread's client.
    fn channel_of(&self, id: usize) -> u64 {
        (id * self.context.threads + self.index) as u64 % self.channels()
    }

    /// The name of that channel; `None` on a plain server.
    pub(crate) fn channel_for(&self, id: usize) -> Option<Box<str>> {
        self.name(self.channel_of(id))
    }

    fn name(&self, channel: u64) -> Option<Box<str>> {
        let name = || format!("load-{}-{channel}", self.context.run_id).into();
        self.context.target.is_pusher().then(name)
    }

    /// How many hear one event of a channel, on all threads.
    fn listeners(&self, channel: u64) -> u64 {
        let all = self.listeners as u64;
        let is_heard_by_sender = self.context.target.is_pusher() || self.sender == Sender::Hears;
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

    /// Sends for so long, and hears the last deliveries.
    pub(crate) fn round<P: Part + AsMut<Audience>>(
        &self,
        crowd: &mut Crowd,
        part: &mut P,
        seconds: u64,
    ) -> io::Result<()> {
        let stage = &self.context.stage;
        if self.index > 0 {
            while !stage.is_over.load(Ordering::Acquire) && stage.goes_on() {
                crowd.turn(LONGEST_WAIT, part)?;
                self.count(part.as_mut());
            }
            return Ok(());
        }
        let start = self.context.clock.now();
        let end = after(start, seconds);
        let first = part.as_mut().sent;
        while self.context.clock.now() < end && stage.goes_on() {
            let due = self.send_what_is_due(crowd, part.as_mut(), start, first)?;
            crowd.turn_until(due.min(end), part)?;
            self.count(part.as_mut());
        }
        crowd.drain(part, |_, part| {
            self.count(part.as_mut());
            self.is_delivered(part.as_mut(), 0)
        })?;
        self.tell_sent(part.as_mut());
        Ok(())
    }

    /// Tells the other threads that the round is over, and how many events there were.
    pub(crate) fn tell_sent(&self, part: &Audience) {
        self.context.stage.sent.store(part.sent, Ordering::Relaxed);
        self.context.stage.is_over.store(true, Ordering::Release);
    }

    /// Tells all threads what this one received.
    pub(crate) fn count(&self, part: &mut Audience) {
        let received = std::mem::take(&mut part.received);
        self.context.stage.delivered.fetch_add(received, Ordering::Relaxed);
    }

    /// Whether all deliveries have come but those of the last few events.
    pub(crate) fn is_delivered(&self, part: &Audience, but: u64) -> bool {
        let delivered = self.context.stage.delivered.load(Ordering::Relaxed);
        delivered >= self.deliveries(part.sent.saturating_sub(but))
    }

    /// Sends the events whose time has come since the round began, and says when the next one is due.
    pub(crate) fn send_what_is_due(
        &self,
        crowd: &mut Crowd,
        part: &mut Audience,
        start: Nanos,
        first: u64,
    ) -> io::Result<Nanos> {
        loop {
            let now = self.context.clock.now();
            let is_free = crowd.publisher.as_ref().is_none_or(|own| own.is_free(self.pipeline));
            let (due, may_send) = match self.pace {
                Pace::FlatOut { window } => (now, self.is_delivered(part, window - 1)),
                Pace::PerSecond(per_second) => {
                    (Schedule { start, per_second }.due(part.sent - first), true)
                }
            };
            if due > now {
                return Ok(due);
            }
            if !is_free || !may_send {
                part.is_held_up = true;
                return Ok(now + LOOK_AGAIN);
            }
            self.send(crowd, part, due)?;
            if !std::mem::take(&mut part.is_held_up) {
                part.lag.record(due, now);
            }
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

    /// Events that this thread's client should have heard by now; `None`: it is left out.
    pub(crate) fn events_for(&self, id: usize) -> Option<u64> {
        let is_sender = self.index == 0 && id == 0 && !self.context.target.is_pusher();
        let sent = self.context.stage.sent.load(Ordering::Acquire);
        (!(is_sender && self.sender == Sender::LeftOut))
            .then(|| self.events_of(self.channel_of(id), sent))
    }

    /// Looks for what never came.
    pub(crate) fn end(&self, part: &mut Audience) {
        for (id, order) in part.orders.iter().enumerate() {
            if let Some(events) = self.events_for(id) {
                order.end(events, &mut part.faults);
            }
        }
    }
}

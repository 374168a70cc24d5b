//! Clients that wait: they are open and subscribed, and hear nothing until, at the end, one event proves that they were.

use std::io;

use super::client::Voice;
use super::clock::Nanos;
use super::crowd::{Crowd, Part};
use super::payload::{LEAST_BYTES, Payloads, Stamp};
use super::run::Context;
use super::tally::{Faults, Latencies, Order};

/// One thread's share.
pub(crate) struct Sleepers {
    orders: Vec<Order>,
    payloads: Payloads,
    pub(crate) faults: Faults,
    pub(crate) heard: usize,
    /// Whether they may go.
    pub(crate) is_ending: bool,
    /// When each began to connect.
    opened: Vec<Nanos>,
    /// From then until it was subscribed.
    pub(crate) latencies: Latencies,
}

impl Sleepers {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            orders: vec![Order::default(); count],
            payloads: Payloads::new(LEAST_BYTES),
            faults: Faults::default(),
            heard: 0,
            is_ending: false,
            opened: vec![0; count],
            latencies: Latencies::new(),
        }
    }

    /// Looks for what so many of them, the first ones, never heard.
    pub(crate) fn end(&mut self, listeners: usize) {
        for order in &self.orders[..listeners] {
            order.end(1, &mut self.faults);
        }
    }
}

impl Part for Sleepers {
    fn on_opened(&mut self, id: usize, at: Nanos) {
        self.opened[id] = at;
    }

    fn on_ready(&mut self, id: usize, at: Nanos, _voice: &mut Voice<'_>) {
        self.latencies.record(self.opened[id], at);
    }

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

/// Publishes one event to channels, if any are named, and lets this thread's clients hear it.
pub(crate) fn prove<P: Part>(
    context: &Context,
    crowd: &mut Crowd,
    part: &mut P,
    channels: &[Box<str>],
    is_heard: impl Fn(&P) -> bool,
) -> io::Result<()> {
    if !channels.is_empty() {
        crowd.connect_publisher()?;
        let mut data = Vec::new();
        let stamp = Stamp { sequence: 0, intended: context.clock.now() };
        Payloads::new(LEAST_BYTES).write(stamp, &mut data);
        let names: Vec<_> = channels.iter().map(|name| &**name).collect();
        if let Some(publisher) = &mut crowd.publisher {
            publisher.publish(&context.target, &names, &String::from_utf8_lossy(&data))?;
        }
    }
    crowd.drain(part, |_, part| is_heard(part))
}

//! One thread of the generator: its own table of descriptors, its own source address, its own ends.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddrV4;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::super::arguments::ChannelKind;
use super::super::client::Keys;
use super::super::clock::{Clock, Nanos};
use super::super::interrupt::Interrupt;
use super::super::payload::{LEAST_BYTES, Payloads};
use super::super::tally::{Faults, Latencies};
use super::super::target::Target;
use super::bounds::PORTS;
use super::end::{End, Heard, Tools, source};

/// Connections of one thread that may be under way; all threads together must fit the server's queues.
const MOST_OPENING: usize = 48;
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// The longest wait between two looks at what the others do.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What all threads have in common.
pub(crate) struct Plan<'i> {
    pub(crate) target: Target,
    pub(crate) clock: Clock,
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    pub(crate) channels: usize,
    pub(crate) own_channel: Option<ChannelKind>,
    /// When it must be over.
    pub(crate) deadline: Nanos,
    pub(crate) ready: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) has_failed: AtomicBool,
    pub(crate) is_over: AtomicBool,
    pub(crate) interrupt: &'i Interrupt,
    /// How many events each channel got, once all are sent.
    pub(crate) sent: OnceLock<Vec<u16>>,
}

impl Plan<'_> {
    pub(crate) fn goes_on(&self) -> bool {
        self.check().is_ok()
    }

    /// Says why it does not go on.
    pub(crate) fn check(&self) -> Result<(), Cow<'static, str>> {
        if let Some(signal) = self.interrupt.signal() {
            return Err(format!("interrupted by {signal}").into());
        }
        if self.has_failed.load(Ordering::Relaxed) {
            return Err("a thread failed".into());
        }
        if self.clock.now() >= self.deadline {
            return Err("it took longer than --deadline allows".into());
        }
        Ok(())
    }

    /// How many ends a thread has.
    fn share(&self, thread: usize) -> usize {
        self.connections / self.threads + usize::from(thread < self.connections % self.threads)
    }

    /// The channel of an end. Those of one channel are spread over all threads.
    pub(crate) fn channel_of(&self, thread: usize, end: usize) -> usize {
        (end * self.threads + thread) % self.channels
    }

    /// How many hear a channel.
    pub(crate) fn subscribers(&self, channel: usize) -> usize {
        self.connections / self.channels + usize::from(channel < self.connections % self.channels)
    }

    pub(crate) fn name(&self, channel: usize) -> String {
        match self.own_channel {
            Some(ChannelKind::Private) => format!("private-million-{channel}"),
            Some(ChannelKind::Public) | None => format!("million-{channel}"),
        }
    }
}

/// What a thread found.
pub(crate) struct Found {
    pub(crate) faults: Faults,
    pub(crate) latencies: Latencies,
}

/// An event's number: its channel, and which of that channel's events it is.
pub(crate) fn sequence(channel: usize, number: u16) -> u64 {
    (channel as u64) << 16 | u64::from(number)
}

/// Plays one thread's part until all is over.
pub(crate) fn play(plan: &Plan<'_>, thread: usize) -> io::Result<Found> {
    separate()?;
    let mut crew = Crew::new(plan, thread)?;
    let share = plan.share(thread);
    while crew.ready < share && plan.goes_on() {
        while crew.ends.len() < share && crew.ends.len() - crew.ready < MOST_OPENING {
            crew.open()?;
        }
        if crew.turn()?.is_break() {
            break;
        }
    }
    while !plan.is_over.load(Ordering::Acquire) && plan.goes_on() {
        if crew.turn()?.is_break() {
            break;
        }
    }
    crew.conclude()
}

/// The generator's limit of open files holds for each of its threads, too.
#[expect(deprecated, reason = "the safe one; a crew uses no descriptor of another thread")]
fn separate() -> io::Result<()> {
    Ok(rustix::thread::unshare(rustix::thread::UnshareFlags::FILES)?)
}

struct Crew<'p> {
    plan: &'p Plan<'p>,
    thread: usize,
    poll: Poll,
    events: Events,
    ends: Vec<Option<End>>,
    /// Events that each end has heard.
    heard: Vec<u16>,
    ready: usize,
    next_port: u16,
    keys: Keys,
    buffer: Vec<u8>,
    out: Vec<u8>,
    host: String,
    path: String,
    payloads: Payloads,
    found: Found,
}

impl<'p> Crew<'p> {
    fn new(plan: &'p Plan<'p>, thread: usize) -> io::Result<Self> {
        let share = plan.share(thread);
        Ok(Self {
            plan,
            thread,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            ends: Vec::with_capacity(share),
            heard: vec![0; share],
            ready: 0,
            next_port: PORTS.start,
            keys: Keys::new(plan.clock.now() ^ ((thread as u64) << 48)),
            buffer: vec![0; READ_BUFFER_BYTES],
            out: Vec::new(),
            host: plan.target.address.to_string(),
            path: plan.target.path(),
            payloads: Payloads::new(LEAST_BYTES),
            found: Found { faults: Faults::default(), latencies: Latencies::new() },
        })
    }

    fn open(&mut self) -> io::Result<()> {
        while PORTS.contains(&self.next_port) {
            let from = SocketAddrV4::new(source(self.thread), self.next_port);
            self.next_port += 1;
            let Some(mut end) = End::connect(self.plan.target.address, from)? else { continue };
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut end.stream, Token(self.ends.len()), interest)?;
            self.ends.push(Some(end));
            return Ok(());
        }
        Err(io::Error::other(format!("{} has no port left", source(self.thread))))
    }

    /// Hears what came. A connection that is lost ends the run: all figures would be of fewer.
    fn turn(&mut self) -> io::Result<ControlFlow<()>> {
        match self.poll.poll(&mut self.events, Some(LONGEST_WAIT)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let id = event.token().0;
            let Some(end) = self.ends.get_mut(id).and_then(Option::as_mut) else { continue };
            let (plan, channel) = (self.plan, self.plan.channel_of(self.thread, id));
            let (heard, ready) = (&mut self.heard[id], &mut self.ready);
            let (payloads, found) = (&self.payloads, &mut self.found);
            let mut hear = |said: Heard<'_>| match said {
                Heard::Ready => {
                    *ready += 1;
                    plan.ready.fetch_add(1, Ordering::Relaxed);
                }
                Heard::Event(message) => match payloads.read(message) {
                    Some(stamp) if stamp.sequence == sequence(channel, *heard) => {
                        *heard += 1;
                        found.latencies.record(stamp.intended, plan.clock.now());
                        plan.delivered.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(stamp) if stamp.sequence < sequence(channel, *heard) => {
                        found.faults.repeated += 1
                    }
                    Some(_) => found.faults.missing += 1,
                    None => found.faults.garbled += 1,
                },
            };
            let mut tools = Tools {
                target: &plan.target,
                host: &self.host,
                path: &self.path,
                keys: &mut self.keys,
                buffer: &mut self.buffer,
                out: &mut self.out,
                channel: &|| plan.name(channel),
                hear: &mut hear,
            };
            if let Err(error) = end.work(&mut tools) {
                self.found.faults.lose(&error.to_string());
                plan.has_failed.store(true, Ordering::Relaxed);
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Compares what came with what was sent, and ends all.
    fn conclude(mut self) -> io::Result<Found> {
        if let Some(sent) = self.plan.sent.get() {
            for (id, heard) in self.heard.iter().enumerate() {
                let sent = sent[self.plan.channel_of(self.thread, id)];
                self.found.faults.missing += u64::from(sent.saturating_sub(*heard));
            }
        }
        self.ends.into_iter().flatten().for_each(End::cut);
        Ok(self.found)
    }
}

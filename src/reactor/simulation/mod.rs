//! Several cores in one thread, in memory, with a clock that only moves when told: for tests, for the simulation that
//! looks for orders of events that no test thought of, and for benchmarks of a shard without a kernel.
//!
//! It drives the same shards that `turn.rs` drives; what is simulated is the socket and the clock. A core sleeps here as
//! it does there: until an edge, a ring of its bell, or a time that it named. So [`Simulation::settle`], which turns only
//! those who are awake, leaves undone what nobody was woken for. Public for tests and benchmarks of this package, and for
//! tests of a [`Handler`] of your own; not a promise of stability.
//!
//! ```
//! use stentor::reactor::simulation::Simulation;
//! use stentor::{Conn, Handler, Message, Options};
//!
//! struct Echo;
//! impl Handler for Echo {
//!     fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
//!         conn.send(message);
//!     }
//! }
//!
//! let mut simulation = Simulation::new(Options { cores: 2, ..Options::default() }, |_core| (Echo, ()));
//! let client = simulation.connect(1);
//! client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
//!               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
//! simulation.settle();
//! assert!(client.take_received().starts_with(b"HTTP/1.1 101"));
//! ```

mod socket;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::core::{Now, Parts};
use super::entropy::{self, Entropy};
use super::handler::Handler;
use super::options::Options;
use super::shard::Shard;
use super::turn;
use crate::fanout::conn_id::SocketId;
use crate::fanout::directory::{Directory, Keep};
use crate::fanout::mailbox::{Doors, Letter, Letterboxes, Wake, mailboxes};
use crate::metrics::Metrics;
use crate::ws::{MessageKind, Prepared};

pub use socket::Client;
use socket::{Events, Socket};

/// Turns after which `settle` gives up: something goes round in circles.
const MOST_TURNS: usize = 1_000_000;

/// What ends a core's sleep from outside.
#[derive(Clone, Default)]
struct Bell(Arc<AtomicBool>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Bell {
    fn is_rung(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// One core, and what its thread would wait for.
struct Seat<H, D: Directory> {
    /// `None` once it has come to its end: its sockets are closed, and who posts to it is not heard.
    shard: Option<Shard<Socket, H, D>>,
    events: Events,
    bell: Bell,
    /// When it turns again although nobody wakes it.
    look_at: Option<Instant>,
}

/// What there is, on all cores together. All zeros when everybody is gone and all deadlines have passed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Connections of any kind.
    pub connections: usize,
    /// Topics with subscribers, counted once for each core that has some.
    pub topics: usize,
    /// Topics that homes keep.
    pub homes: usize,
    /// Subscriptions that found no place in a slot.
    pub spilled: usize,
    /// Side records.
    pub sides: usize,
    /// Deadlines and reminders, those that were replaced included.
    pub deadlines: usize,
    /// Cores with posts that nobody has read.
    pub mailboxes: usize,
    /// Cores with posts that found no room.
    pub crowded: usize,
    /// The most bytes of events under way to any one core.
    pub bytes_under_way: usize,
    /// Topics whose events are on their way round, counted once for each core.
    pub rounds: usize,
    /// Cores that have something to write and did not get to it.
    pub unflushed: usize,
    /// What the largest outbox of an open WebSocket keeps alive.
    pub largest_outbox: usize,
}

/// A server in memory.
pub struct Simulation<H, D: Directory = ()> {
    seats: Vec<Seat<H, D>>,
    now: Now,
    doors: Doors,
    metrics: Metrics,
    /// Held because a core whose letterbox has no sender left would still be fine, but could not be stopped.
    letterboxes: Letterboxes,
    in_flight_bytes: usize,
}

impl<H, D: Directory> fmt::Debug for Simulation<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("cores", &self.seats.len()).finish_non_exhaustive()
    }
}

impl<D: Directory, H: Handler<D>> Simulation<H, D> {
    /// As many cores as `options` says (at least one); `make` gives each its handler and directory.
    pub fn new(options: Options, mut make: impl FnMut(usize) -> (H, D)) -> Self {
        let cores = options.cores.max(1);
        let now = turn::now();
        let bells: Vec<Bell> = (0..cores).map(|_| Bell::default()).collect();
        let wakers = bells.iter().map(|bell| Box::new(bell.clone()) as Box<dyn Wake>);
        let doors = Doors::new(wakers.collect());
        let (letterboxes, letters) = Letterboxes::new(&doors, options.mailbox_posts);
        let metrics = Metrics::new(cores);
        let boxes = mailboxes::<D>(&doors, options.mailbox_posts);
        let in_flight_bytes = options.in_flight_bytes;
        let options = Rc::new(options);
        let seats = boxes.into_iter().zip(letters).zip(bells).zip(0u8..);
        let seats = seats.map(|((((mailbox, outgoing), letters), bell), number)| {
            let (handler, directory) = make(usize::from(number));
            let entropy = Entropy::new(entropy::kernel);
            let (options, metrics) = (options.clone(), metrics.clone());
            let parts = Parts { number, options, directory, outgoing, metrics, entropy, now };
            let shard = Some(Shard::new(handler, parts, mailbox, letters));
            Seat { shard, events: Events::default(), bell, look_at: Some(now.instant) }
        });
        Self { seats: seats.collect(), now, doors, metrics, letterboxes, in_flight_bytes }
    }

    fn shards(&self) -> impl Iterator<Item = &Shard<Socket, H, D>> {
        self.seats.iter().filter_map(|seat| seat.shard.as_ref())
    }

    /// A new connection to one core.
    ///
    /// # Panics
    ///
    /// If the core has come to its end.
    pub fn connect(&mut self, core: usize) -> Client {
        let seat = &mut self.seats[core];
        let (socket, client) = Socket::pair(core, &seat.events);
        let shard = seat.shard.as_mut().expect("nobody connects to a core that has ended");
        shard.begin_turn(self.now);
        let accepted = shard.accept(socket, |socket, conn| {
            socket.register(conn);
            Ok::<(), std::convert::Infallible>(())
        });
        accepted.unwrap_or_else(|never| match never {});
        // Accepting is a turn, after which the core may have an earlier deadline; registering makes an event.
        client.tell();
        client
    }

    /// Moves the clock.
    pub fn advance(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix_seconds += time.as_secs();
    }

    /// One turn of one core. True if it has more to do.
    pub fn turn(&mut self, core: usize) -> bool {
        let seat = &mut self.seats[core];
        let Some(shard) = &mut seat.shard else { return false };
        shard.begin_turn(self.now);
        seat.bell.clear();
        let mut taken = 0;
        while taken < turn::EVENTS
            && let Some((conn, readiness)) = seat.events.next()
        {
            taken += 1;
            shard.note(conn, readiness);
        }
        shard.note_events(taken, turn::EVENTS);
        let is_more = shard.work();
        seat.look_at = if is_more { Some(self.now.instant) } else { shard.look_again() };
        is_more || self.is_awake(core)
    }

    /// Whether the core turns now: it has more to do, was woken, or a time that it named has come.
    pub fn is_awake(&self, core: usize) -> bool {
        let seat = &self.seats[core];
        let Some(shard) = &seat.shard else { return false };
        // A core whose posts found no room, or that holds reads, looks again after a moment that is too short to be told from none.
        !seat.events.is_empty()
            || seat.bell.is_rung()
            || seat.look_at.is_some_and(|at| at <= self.now.instant)
            || shard.has_waiting_posts()
            || shard.holds_reads()
    }

    /// Turns of all cores that are awake, until all sleep.
    pub fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            let mut is_quiet = true;
            for core in 0..self.seats.len() {
                if self.is_awake(core) {
                    is_quiet = false;
                    self.turn(core);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// How long until some core wakes by itself; `None` if none will.
    pub fn next_wake(&self) -> Option<Duration> {
        let there = self.seats.iter().filter(|seat| seat.shard.is_some());
        let next = there.filter_map(|seat| seat.look_at).min()?;
        Some(next.saturating_duration_since(self.now.instant))
    }

    /// Forgets what would wake a core, as no machine does: for tests of what notices it.
    pub fn forget_events(&mut self, core: usize) {
        self.seats[core].events.forget();
    }

    /// Forgets that a core was rung for, as no machine does: for tests of what notices it.
    pub fn forget_ring(&mut self, core: usize) {
        self.seats[core].bell.clear();
    }

    /// Publishes as a thread does that owns no core. False if too much is under way.
    pub fn publish(&mut self, topic: &str, text: &str, except: Option<SocketId>) -> bool {
        let frame = Prepared::new(MessageKind::Text, text.as_bytes());
        let letter = Letter { topic: topic.into(), frame, except, keep: Keep::Remember };
        self.doors.most_bytes() <= self.in_flight_bytes
            && self.letterboxes.post(self.home_of(topic), letter)
    }

    /// Tells all cores to review their connections.
    pub fn review(&mut self) {
        self.letterboxes.review();
    }

    /// Tells all cores to stop.
    pub fn stop(&mut self) {
        self.letterboxes.stop();
    }

    /// Whether a core accepts: it is not at the last stage of its end.
    pub fn is_accepting(&self, core: usize) -> bool {
        self.seats[core].shard.as_ref().is_some_and(|shard| !shard.is_at_last())
    }

    /// Ends those cores of a stopping server that have come to their end, as their threads would. True if all have.
    pub fn end_done(&mut self) -> bool {
        for seat in &mut self.seats {
            seat.shard.take_if(|shard| shard.is_done());
        }
        self.seats.iter().all(|seat| seat.shard.is_none())
    }

    /// Whether all cores of a stopping server have come to the point where nobody is accepted.
    #[cfg(test)]
    pub(super) fn is_at_last(&self) -> bool {
        self.shards().all(Shard::is_at_last)
    }

    /// Whether all cores have come to their end.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        self.shards().all(Shard::is_done)
    }

    /// The home core of a topic.
    pub fn home_of(&self, topic: &str) -> usize {
        self.doors.home_of(topic)
    }

    /// What the cores count.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Connections on all cores.
    pub fn connections(&self) -> usize {
        self.shards().map(Shard::connections).sum()
    }

    /// Topics that have subscribers, counted once for each core that has some.
    pub fn topics(&self) -> usize {
        self.shards().map(Shard::topics).sum()
    }

    /// Topics that homes keep.
    pub fn homes(&self) -> usize {
        self.shards().map(Shard::homes).sum()
    }

    /// What there is on all cores.
    pub fn census(&self) -> Census {
        let mut census = Census { bytes_under_way: self.doors.most_bytes(), ..Census::default() };
        self.shards().for_each(|shard| shard.count_into(&mut census));
        census
    }

    /// Has each core name no more connections than that.
    #[cfg(test)]
    pub(crate) fn limit_connections(&mut self, most: usize) {
        let shards = self.seats.iter_mut().filter_map(|seat| seat.shard.as_mut());
        shards.for_each(|shard| shard.core.most_connections = most);
    }

    /// The handler and the directory of each core.
    #[cfg(test)]
    pub(crate) fn applications(&mut self) -> impl Iterator<Item = (&H, &mut D)> {
        let shards = self.seats.iter_mut().filter_map(|seat| seat.shard.as_mut());
        shards.map(|shard| (&shard.handler, shard.core.home.directory_mut()))
    }
}

//! Several cores in one thread, in memory, with a clock that only moves when told: for tests, for the simulation that
//! looks for orders of events that no test thought of, and for benchmarks of a shard without a kernel.
//!
//! It drives the same shards that `turn.rs` drives; what is simulated is the socket and the clock. Public for tests
//! and benchmarks of this package, and for tests of a [`Handler`] of your own; not a promise of stability.
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

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::core::{Now, Parts};
use super::entropy::{self, Entropy};
use super::handler::Handler;
use super::options::Options;
use super::shard::{Readiness, Shard};
use super::stream::{Peer, Stream};
use super::turn;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::fanout::mailbox::{Doors, Letterboxes, Wake, mailboxes};
use crate::metrics::Metrics;

/// Turns after which `settle` gives up: something goes round in circles.
const MOST_TURNS: usize = 1_000_000;

/// One connection, seen from both sides.
#[derive(Default)]
struct Pipe {
    conn: Option<ConnId>,
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
    /// What the client's side still takes; `None` is without limit.
    room: Option<usize>,
    /// Bytes are counted and thrown away.
    is_sink: bool,
    is_client_done: bool,
    is_server_done: bool,
    is_dropped: bool,
    is_blocked: bool,
    received: u64,
    writes: u64,
}

impl Pipe {
    fn take(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        let taken = self.room.map_or(wanted, |room| room.min(wanted));
        self.is_blocked = taken < wanted;
        if taken == 0 && wanted > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(room) = &mut self.room {
            *room -= taken;
        }
        self.received += taken as u64;
        let mut rest = if self.is_sink { 0 } else { taken };
        for piece in pieces {
            let part = &piece[..piece.len().min(rest)];
            self.to_client.extend_from_slice(part);
            rest -= part.len();
        }
        Ok(taken)
    }
}

/// The server's side of a connection.
struct Socket(Rc<RefCell<Pipe>>);

impl Stream for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let count = buffer.len().min(pipe.to_server.len());
        if count == 0 {
            return if pipe.is_client_done { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        for (byte, came) in buffer.iter_mut().zip(pipe.to_server.drain(..count)) {
            *byte = came;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().take(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.borrow_mut().take(pieces)
    }

    fn finish(&mut self) {
        self.0.borrow_mut().is_server_done = true;
    }
}

impl Peer for Socket {
    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        (pipe.is_server_done, pipe.is_dropped) = (true, true);
    }
}

/// The client's side of a connection.
#[derive(Clone)]
pub struct Client {
    core: usize,
    pipe: Rc<RefCell<Pipe>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Client {
    /// The core it is connected to.
    pub fn core(&self) -> usize {
        self.core
    }

    /// Bytes to the server; it sees them in its next turn.
    pub fn send(&self, bytes: &[u8]) {
        self.pipe.borrow_mut().to_server.extend(bytes);
    }

    /// What the server has sent since the last call.
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.borrow_mut().to_client)
    }

    /// Bytes received in all, taken or not.
    pub fn received_bytes(&self) -> u64 {
        self.pipe.borrow().received
    }

    /// How often the server has written, as it would by a system call.
    pub fn writes(&self) -> u64 {
        self.pipe.borrow().writes
    }

    /// From here on bytes are counted and not kept.
    pub fn sink(&self) {
        self.pipe.borrow_mut().is_sink = true;
    }

    /// From here on the client takes so many bytes more; `None` is without limit.
    pub fn set_room(&self, room: Option<usize>) {
        self.pipe.borrow_mut().room = room;
    }

    /// What the server has not read.
    pub fn unread_bytes(&self) -> usize {
        self.pipe.borrow().to_server.len()
    }

    /// The client has nothing more to say.
    pub fn finish(&self) {
        self.pipe.borrow_mut().is_client_done = true;
    }

    /// Whether the server has nothing more to say.
    pub fn is_finished(&self) -> bool {
        self.pipe.borrow().is_server_done
    }

    /// Whether the server has closed the socket.
    pub fn is_dropped(&self) -> bool {
        self.pipe.borrow().is_dropped
    }
}

/// Nobody sleeps in a simulation.
struct NoWaker;

impl Wake for NoWaker {
    fn wake(&self) {}
}

/// A server in memory.
pub struct Simulation<H, D: Directory = ()> {
    shards: Vec<Shard<Socket, H, D>>,
    clients: Vec<Client>,
    now: Now,
    doors: Doors,
    metrics: Metrics,
    /// Held because a core whose letterbox has no sender left would still be fine, but could not be stopped.
    letterboxes: Letterboxes,
}

impl<H, D: Directory> fmt::Debug for Simulation<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("cores", &self.shards.len()).finish_non_exhaustive()
    }
}

impl<D: Directory, H: Handler<D>> Simulation<H, D> {
    /// As many cores as `options` says (at least one); `make` gives each its handler and directory.
    pub fn new(options: Options, mut make: impl FnMut(usize) -> (H, D)) -> Self {
        let cores = options.cores.max(1);
        let now = turn::now();
        let doors = Doors::new((0..cores).map(|_| Box::new(NoWaker) as Box<dyn Wake>).collect());
        let (letterboxes, letters) = Letterboxes::new(&doors, options.mailbox_posts);
        let metrics = Metrics::new(cores);
        let boxes = mailboxes::<D>(&doors, options.mailbox_posts);
        let options = Rc::new(options);
        let shards = boxes.into_iter().zip(letters).zip(0u8..);
        let shards = shards.map(|(((mailbox, outgoing), letters), number)| {
            let (handler, directory) = make(usize::from(number));
            let entropy = Entropy::new(entropy::kernel);
            let (options, metrics) = (options.clone(), metrics.clone());
            let parts = Parts { number, options, directory, outgoing, metrics, entropy, now };
            Shard::new(handler, parts, mailbox, letters)
        });
        Self { shards: shards.collect(), clients: Vec::new(), now, doors, metrics, letterboxes }
    }

    /// A new connection to one core.
    pub fn connect(&mut self, core: usize) -> Client {
        let pipe = Rc::new(RefCell::new(Pipe::default()));
        let shard = &mut self.shards[core];
        shard.begin_turn(self.now);
        let accepted = shard.accept(Socket(pipe.clone()), |socket, conn| {
            socket.0.borrow_mut().conn = Some(conn);
            Ok::<(), std::convert::Infallible>(())
        });
        accepted.unwrap_or_else(|never| match never {});
        let client = Client { core, pipe };
        self.clients.push(client.clone());
        client
    }

    /// Moves the clock.
    pub fn advance(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix_seconds += time.as_secs();
    }

    /// One turn of one core. True if it has more to do.
    pub fn turn(&mut self, core: usize) -> bool {
        let shard = &mut self.shards[core];
        shard.begin_turn(self.now);
        self.clients.retain(|client| !client.is_dropped());
        for client in self.clients.iter().filter(|client| client.core == core) {
            let mut pipe = client.pipe.borrow_mut();
            let readiness = Readiness {
                is_readable: !pipe.to_server.is_empty(),
                is_writable: pipe.is_blocked && pipe.room.is_none_or(|room| room > 0),
                is_peer_done: pipe.is_client_done,
            };
            let (Some(conn), true) =
                (pipe.conn, readiness.is_readable || readiness.is_writable || pipe.is_client_done)
            else {
                continue;
            };
            pipe.is_blocked &= !readiness.is_writable;
            drop(pipe);
            shard.note(conn, readiness);
        }
        let mut is_more = shard.read_ready();
        is_more |= shard.take_mail();
        shard.review();
        is_more |= shard.run_timers();
        is_more |= shard.wake_others();
        is_more |= shard.flush();
        is_more |= shard.wake_others();
        is_more || shard.is_busy()
    }

    /// Turns of all cores until none has anything to do.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for turn in 0..MOST_TURNS {
            let before = self.unread_bytes();
            let is_more = self.turn(turn % self.shards.len()) || self.unread_bytes() != before;
            quiet = if is_more { 0 } else { quiet + 1 };
            // Posts of the last busy turn may have gone to any core, and their answers back.
            if quiet > 3 * self.shards.len() {
                return;
            }
        }
    }

    /// What clients have sent and cores have not read.
    fn unread_bytes(&self) -> usize {
        self.clients.iter().map(Client::unread_bytes).sum()
    }

    /// Tells all cores to review their connections.
    pub fn review(&mut self) {
        self.letterboxes.review();
    }

    /// Tells all cores to stop.
    pub fn stop(&mut self) {
        self.letterboxes.stop();
    }

    /// Whether all cores of a stopping server have come to the point where nobody is accepted.
    #[cfg(test)]
    pub(super) fn is_at_last(&self) -> bool {
        self.shards.iter().all(Shard::is_at_last)
    }

    /// Whether all cores have come to their end.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        self.shards.iter().all(Shard::is_done)
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
        self.shards.iter().map(Shard::connections).sum()
    }

    /// Topics that have subscribers, counted once for each core that has some.
    pub fn topics(&self) -> usize {
        self.shards.iter().map(Shard::topics).sum()
    }

    /// Entries in the heaps of deadlines, and side records.
    #[cfg(test)]
    pub(crate) fn leftovers(&self) -> (usize, usize) {
        let each = self.shards.iter().map(|shard| &shard.core);
        each.fold((0, 0), |(heap, sides), core| {
            (heap + core.timers.len(), sides + core.sides.len())
        })
    }

    /// The handler and the directory of each core.
    #[cfg(test)]
    pub(crate) fn applications(&mut self) -> impl Iterator<Item = (&H, &mut D)> {
        self.shards.iter_mut().map(|shard| (&shard.handler, shard.core.home.directory_mut()))
    }

    /// Posts and bytes on their way between cores.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> (usize, usize) {
        (self.shards.iter().filter(|shard| shard.has_mail()).count(), self.doors.most_bytes())
    }

    /// Topics that homes keep.
    pub fn homes(&self) -> usize {
        self.shards.iter().map(Shard::homes).sum()
    }
}

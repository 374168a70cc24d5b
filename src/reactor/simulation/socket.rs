//! A socket in memory, both ends, and what the kernel tells of it: an edge once, and no more until the next.
//!
//! ```text
//!   client            to_server [ … ]  ─▶ read           Socket: the server's end
//!    send, finish ─▶                                      │
//!    set_room     ◀─  to_client [ … ]  ◀─ write, as much as there is room for
//!        │
//!        └─ an edge ─▶ Events: bytes came, the end came, or there is room where a write found too little
//! ```
//!
//! As with epoll, an edge only lists the socket: what is told of it is how it stands when the core looks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, Read as _};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::fanout::conn_id::ConnId;
use crate::reactor::shard::Readiness;
use crate::reactor::stream::{Peer, Stream};

/// One connection, seen from both sides.
#[derive(Default)]
struct Pipe {
    /// `Some` while the server's end is registered.
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
    /// A write found too little room: there will be an edge when there is some.
    is_blocked: bool,
    /// It stands among the events.
    is_listed: bool,
    reset: Reset,
    received: u64,
    writes: u64,
    partial_writes: u64,
}

/// Whether the client has cut the connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Reset {
    #[default]
    No,
    /// Yes; the next call that finds nothing to read says so.
    Untold,
    Told,
}

impl Pipe {
    fn take(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        if self.reset != Reset::No || self.is_server_done {
            let was_told = std::mem::replace(&mut self.reset, Reset::Told) == Reset::Told;
            let is_news = !was_told && !self.is_server_done;
            let kind =
                if is_news { io::ErrorKind::ConnectionReset } else { io::ErrorKind::BrokenPipe };
            return Err(kind.into());
        }
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        let taken = self.room.map_or(wanted, |room| room.min(wanted));
        self.is_blocked = taken < wanted;
        self.partial_writes += u64::from(self.is_blocked);
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

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.to_server.len());
        if count == 0 {
            return match (self.reset, self.is_client_done) {
                (Reset::Untold, _) => {
                    self.reset = Reset::Told;
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                (Reset::Told, _) | (Reset::No, true) => Ok(0),
                (Reset::No, false) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        self.to_server.read_exact(&mut buffer[..count])?;
        Ok(count)
    }

    /// How the socket stands.
    fn readiness(&self) -> Readiness {
        let is_reset = self.reset != Reset::No;
        let is_peer_done = self.is_client_done || is_reset;
        Readiness {
            is_readable: !self.to_server.is_empty() || is_peer_done,
            is_writable: self.has_room() || is_reset,
            is_peer_done,
        }
    }

    fn has_room(&self) -> bool {
        self.room.is_none_or(|room| room > 0)
    }
}

type Shared = Rc<RefCell<Pipe>>;

/// The sockets of one core that have something to tell, in the order in which they had.
#[derive(Clone, Default)]
pub(super) struct Events(Rc<RefCell<VecDeque<Shared>>>);

impl Events {
    fn list(&self, pipe: &Shared) {
        let is_listed = std::mem::replace(&mut pipe.borrow_mut().is_listed, true);
        if !is_listed {
            self.0.borrow_mut().push_back(pipe.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Forgets them all, as no kernel does.
    pub(super) fn forget(&self) {
        while self.next().is_some() {}
    }

    /// The next one, as it stands now.
    pub(super) fn next(&self) -> Option<(ConnId, Readiness)> {
        loop {
            let pipe = self.0.borrow_mut().pop_front()?;
            let mut pipe = pipe.borrow_mut();
            pipe.is_listed = false;
            // Whoever is told that there is no room is told when there is.
            pipe.is_blocked |= !pipe.has_room();
            if let Some(conn) = pipe.conn {
                return Some((conn, pipe.readiness()));
            }
        }
    }
}

/// The server's side of a connection.
pub(super) struct Socket(Shared);

impl Socket {
    /// Both ends of a new connection to a core.
    pub(super) fn pair(core: usize, events: &Events) -> (Self, Client) {
        let pipe = Shared::default();
        (Self(pipe.clone()), Client { core, events: events.clone(), pipe })
    }

    /// From here on what happens is told under that name.
    pub(super) fn register(&self, conn: ConnId) {
        self.0.borrow_mut().conn = Some(conn);
    }
}

impl Stream for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
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
        (pipe.conn, pipe.is_server_done, pipe.is_dropped) = (None, true, true);
    }
}

/// The client's side of a connection.
#[derive(Clone)]
pub struct Client {
    core: usize,
    events: Events,
    pipe: Shared,
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

    /// Something happened that the server's side must hear of.
    pub(super) fn tell(&self) {
        self.events.list(&self.pipe);
    }

    /// Bytes to the server; it sees them in its next turn.
    pub fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pipe.borrow_mut().to_server.extend(bytes);
            self.tell();
        }
    }

    /// What the server has sent since the last call.
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.borrow_mut().to_client)
    }

    /// The first bytes of what the server has sent and nobody took, at most so many.
    pub fn take_some(&self, most: usize) -> Vec<u8> {
        let mut pipe = self.pipe.borrow_mut();
        let count = most.min(pipe.to_client.len());
        pipe.to_client.drain(..count).collect()
    }

    /// What the server has sent and nobody took.
    pub fn untaken_bytes(&self) -> usize {
        self.pipe.borrow().to_client.len()
    }

    /// Bytes received in all, taken or not.
    pub fn received_bytes(&self) -> u64 {
        self.pipe.borrow().received
    }

    /// How often the server has written, as it would by a system call.
    pub fn writes(&self) -> u64 {
        self.pipe.borrow().writes
    }

    /// How often there was no room for all that the server wrote.
    pub fn partial_writes(&self) -> u64 {
        self.pipe.borrow().partial_writes
    }

    /// From here on bytes are counted and not kept.
    pub fn sink(&self) {
        self.pipe.borrow_mut().is_sink = true;
    }

    /// From here on the client takes so many bytes more; `None` is without limit.
    pub fn set_room(&self, room: Option<usize>) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.room = room;
        if pipe.is_blocked && pipe.has_room() {
            pipe.is_blocked = false;
            drop(pipe);
            self.tell();
        }
    }

    /// What the server has not read.
    pub fn unread_bytes(&self) -> usize {
        self.pipe.borrow().to_server.len()
    }

    /// The client has nothing more to say.
    pub fn finish(&self) {
        self.pipe.borrow_mut().is_client_done = true;
        self.tell();
    }

    /// The client cuts the connection: what it has sent may still be read, what it was sent is lost.
    pub fn reset(&self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.reset = Reset::Untold;
        pipe.to_client.clear();
        drop(pipe);
        self.tell();
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

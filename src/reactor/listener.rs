//! ① Accepting: every core has a listener of its own on the same address, and the kernel spreads connections over them.
//!
//! When descriptors or memory run out, accepting backs off and what lives goes on. Those who wait in the kernel's queue
//! cause no further event, because it is edge-triggered; so a deadline looks again, and so does every connection that
//! ends meanwhile. A reserve descriptor, opened to refuse with, would only turn a short wait into a failed attempt,
//! after which a Pusher client stays away for 15 seconds.
//!
//! Whoever bound the sockets keeps them; a core works on a duplicate. With tables of descriptors of their own
//! (`descriptors.rs`) every core's table has every listener in it, so closing one ends nothing: a listener is shut down.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel may keep until we accept them; it takes the lesser of this and `somaxconn`.
const BACKLOG: i32 = 16 * 1024;
/// How long accepting rests when the machine has no room.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Connections the machine had no room for are spoken of in the log at most so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Binds one socket of several on the same address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Events are small and must not wait for each other. Whoever is accepted has this of the listener, without a system
    // call of its own.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether anybody listens on the address already, which `SO_REUSEPORT` would let us share without a word.
pub(crate) fn check_free(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// What accepting came to.
pub(crate) enum Accepted {
    /// A connection.
    Stream(TcpStream),
    /// Nobody waits.
    Nobody,
    /// The machine has no room; accepting rests.
    NoRoom,
}

/// One core's listener.
pub(crate) struct Listener {
    socket: TcpListener,
    is_ready: bool,
    rests_until: Option<Instant>,
    complained: Option<Instant>,
}

impl Listener {
    /// Accepts on a duplicate of the socket.
    pub(crate) fn new(socket: &StdListener, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = TcpListener::from_std(socket.try_clone()?);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket, is_ready: true, rests_until: None, complained: None })
    }

    /// An event came: somebody waits.
    pub(crate) fn note(&mut self) {
        self.is_ready = true;
    }

    /// A connection ended: there may be room again.
    pub(crate) fn note_room(&mut self, now: Instant) {
        // Due at once, not never: if no event comes, the deadline alone makes the next turn.
        self.rests_until = self.rests_until.map(|until| until.min(now));
    }

    /// Whether it is worth trying.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.is_ready && self.rests_until.is_none_or(|until| until <= now)
    }

    /// When to look again although no event will come.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rests_until
    }

    pub(crate) fn accept(&mut self, now: Instant) -> Accepted {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => return Accepted::Stream(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.is_ready, self.rests_until) = (false, None);
                    return Accepted::Nobody;
                }
                // The client went away while it waited, or a signal came: the next one, please.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    self.rest(now, &error);
                    return Accepted::NoRoom;
                }
            }
        }
    }

    /// Accepting rests for a moment.
    pub(crate) fn rest(&mut self, now: Instant, error: &io::Error) {
        self.rests_until = Some(now + BACK_OFF);
        if self.complained.is_none_or(|last| now - last >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::warn!(%error, "no room for new connections; those that wait are tried again every {BACK_OFF:?}");
        }
    }
}

/// Whoever waits in the kernel's queue is told by a reset, and whoever comes goes to the cores that still listen.
impl Drop for Listener {
    fn drop(&mut self) {
        // A system that does not shut listeners down resets them when the last descriptor is closed.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::turn;

    #[test]
    fn whoever_is_accepted_need_not_be_told_that_events_do_not_wait() {
        let poll = mio::Poll::new().unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut listener = Listener::new(&socket, poll.registry(), Token(1)).unwrap();
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let accepted = listener.accept(turn::now().instant);
        assert!(matches!(accepted, Accepted::Stream(stream) if stream.nodelay().unwrap()));
    }

    #[test]
    fn room_while_accepting_rests_is_a_deadline_that_has_come() {
        let poll = mio::Poll::new().unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut listener = Listener::new(&socket, poll.registry(), Token(1)).unwrap();
        let now = turn::now().instant;
        listener.rest(now, &io::ErrorKind::OutOfMemory.into());
        assert!(!listener.is_due(now) && listener.deadline() > Some(now));
        listener.note_room(now);
        assert!(listener.is_due(now) && listener.deadline() == Some(now));
    }
}

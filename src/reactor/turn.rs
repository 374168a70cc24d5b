//! ①–⑨ The loop of one core, and the only reader of the clock.
//!
//! ```text
//!   ┌▶ wait ─▶ ① accept ─▶ ②–⑦ read and handle ─▶ ⑧ mailbox ─▶ review ─▶ timers ─▶ wake others ─▶ ⑨ flush ─┐
//!   └──────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each step does a bounded amount and says whether there is more; then the next wait is a mere look. After a turn that
//! did something the loop looks once more before it sleeps: under load the next event is there already.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::core::Now;
use super::handler::Handler;
use super::listener::{Accepted, Listener};
use super::shard::{Readiness, Shard};
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::fanout::mailbox::Wake;
use crate::metrics::Counter;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Events taken from the kernel in one wait.
pub(crate) const EVENTS: usize = 1024;

/// What a core waits on. Made before the core's thread is, so that others can wake it from the first moment.
#[derive(Debug)]
pub(crate) struct Watch(Poll);

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        Poll::new().map(Self)
    }

    /// Ends its wait.
    pub(crate) fn waker(&self) -> io::Result<Box<dyn Wake>> {
        Ok(Box::new(PollWaker(Waker::new(self.0.registry(), WAKER)?)))
    }
}

/// Wakes a core by its poll's waker.
struct PollWaker(Waker);

impl Wake for PollWaker {
    fn wake(&self) {
        // An eventfd that cannot be written to is full: the core is being woken.
        let _ = self.0.wake();
    }
}

/// Reads the clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock for a core")]
pub(crate) fn now() -> Now {
    let unix_seconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Now { instant: Instant::now(), unix_seconds }
}

/// One core's loop.
pub(crate) struct Turn<'w, H, D: Directory> {
    pub(crate) watch: &'w mut Watch,
    pub(crate) shard: Shard<TcpStream, H, D>,
}

impl<D: Directory, H: Handler<D>> Turn<'_, H, D> {
    /// Turns until the server is stopped and its connections have ended, or their time is up.
    pub(crate) fn run(mut self, socket: &std::net::TcpListener) -> io::Result<()> {
        let mut listener = Some(Listener::new(socket, self.watch.0.registry(), LISTENER)?);
        let mut events = Events::with_capacity(EVENTS);
        let mut wait = Some(Duration::ZERO);
        loop {
            match self.watch.0.poll(&mut events, wait) {
                Ok(()) => {}
                // Nothing was taken, so nothing is known: a process that was stopped goes on here.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    wait = Some(Duration::ZERO);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let now = now();
            let is_more = self.turn(&events, &mut listener, now);
            if self.shard.is_done() {
                self.shard.count_cut();
                return Ok(());
            }
            if self.shard.is_at_last() {
                listener = None;
            }
            wait = if is_more || !events.is_empty() {
                Some(Duration::ZERO)
            } else {
                let listener_deadline = listener.as_ref().and_then(Listener::deadline);
                let next = self.shard.look_again().into_iter().chain(listener_deadline).min();
                next.map(|at| at.saturating_duration_since(now.instant))
            };
        }
    }

    /// One turn. True if there is more to do that no event will tell of.
    fn turn(&mut self, events: &Events, listener: &mut Option<Listener>, now: Now) -> bool {
        self.shard.begin_turn(now);
        let mut taken = 0;
        for event in events {
            taken += 1;
            match event.token() {
                LISTENER => listener.iter_mut().for_each(Listener::note),
                WAKER => {}
                Token(bits) => {
                    let readiness = Readiness {
                        is_readable: event.is_readable() || event.is_error(),
                        is_writable: event.is_writable(),
                        is_peer_done: event.is_read_closed(),
                    };
                    self.shard.note(ConnId::from_bits(bits as u64), readiness);
                }
            }
        }
        self.shard.note_events(taken, EVENTS);
        let before = self.shard.connections();
        let mut is_more = listener.as_mut().is_some_and(|listener| self.accept(listener, now));
        is_more |= self.shard.work();
        if self.shard.connections() < before {
            listener.iter_mut().for_each(|listener| listener.note_room(now.instant));
        }
        is_more
    }

    /// Accepts as many as one turn may. True if there may be more.
    fn accept(&mut self, listener: &mut Listener, now: Now) -> bool {
        if !listener.is_due(now.instant) {
            return false;
        }
        for _ in 0..self.shard.accept_slice() {
            match listener.accept(now.instant) {
                Accepted::Stream(stream) => {
                    let registry = self.watch.0.registry();
                    let registered = self.shard.accept(stream, |stream, conn| {
                        let token =
                            usize::try_from(conn.to_bits()).map(Token).map_err(io::Error::other)?;
                        registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
                    });
                    if let Err(error) = registered {
                        self.shard.count(Counter::AcceptBackOffs);
                        listener.rest(now.instant, &error);
                        return false;
                    }
                }
                Accepted::Nobody => return false,
                Accepted::NoRoom => {
                    self.shard.count(Counter::AcceptBackOffs);
                    return false;
                }
            }
        }
        true
    }
}

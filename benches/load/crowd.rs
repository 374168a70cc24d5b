//! The clients of one thread, and its loop.
//!
//! ```text
//!   scenario ── open, send, close ──▶ Crowd ──▶ sockets
//!      ▲                                │
//!      └──────── Part: ready, message, gone, answered
//! ```
//!
//! Knows no scenario; a [`Part`] is what one thread plays in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use stentor::MessageKind;
use stentor::ws::Inflater;

use super::client::{Client, Heard, Keys, Listen, Voice};
use super::clock::{Clock, NANOS_PER_SECOND, Nanos};
use super::publisher::{PUBLISHER, Publisher};
use super::target::Target;

/// How many connections are under way at once, unless a scenario says otherwise; more would overflow the listen queues of many
/// servers.
const MOST_OPENING: usize = 100;

/// Clients that share a source address. The system's range of ports is more than twice as large, but past its half each search
/// for a free one takes longer than the last.
const CLIENTS_PER_ADDRESS: usize = 12_000;

const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

const READ_BUFFER_BYTES: usize = 256 * 1024;

/// epoll counts in milliseconds and rounds up: so near to the time, the loop spins.
const SPIN: Nanos = 1_500_000;

/// The longest wait between two looks at what the other threads do.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// After so much silence, what has not come will not come.
pub(crate) const PATIENCE: Nanos = 3 * NANOS_PER_SECOND;

/// A narrow pipe holds as much as that of a device at the other end of a real network: the segments of an Ethernet, and a small buffer
/// to receive in. Loopback's would take megabytes before a server notices that nobody reads.
const NARROW_SEGMENT_BYTES: u32 = 1_460;
const NARROW_BUFFER_BYTES: usize = 64 * 1024;

/// What the sockets of clients are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pipe {
    Narrow,
    Wide,
}

/// What one thread plays in a scenario. Clients are known by their number.
pub(crate) trait Part {
    /// A connection has begun, of those that [`Crowd::fill`] opens.
    fn on_opened(&mut self, _id: usize, _at: Nanos) {}
    fn on_ready(&mut self, _id: usize, _at: Nanos, _voice: &mut Voice<'_>) {}
    fn on_message(&mut self, _id: usize, _message: &[u8], _at: Nanos, _voice: &mut Voice<'_>) {}
    fn on_gone(&mut self, id: usize, why: &str);
    /// The publisher got an answer.
    fn on_answered(&mut self, _status: u16) {}
}

/// The clients of one thread.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    clients: Slab<Client>,
    pub(crate) publisher: Option<Publisher>,
    buffer: Vec<u8>,
    keys: Keys,
    inflater: Inflater,
    pub(crate) target: Arc<Target>,
    pub(crate) clock: Clock,
    /// Opened ever; says which source address is next.
    opened: usize,
    /// Open and subscribed now.
    ready: usize,
    /// What was said of the first client that was lost.
    first_loss: Option<String>,
    /// Events of sockets ever.
    heard: u64,
    /// Bytes that came ever.
    pub(crate) received: u64,
    /// Pings that came ever, of WebSocket or of Pusher.
    pub(crate) pinged: u64,
    /// Whether the next ones offer permessage-deflate.
    pub(crate) is_compressing: bool,
    /// How many connections may be under way at once.
    pub(crate) most_opening: usize,
    /// What the next ones' sockets are like.
    pub(crate) pipe: Pipe,
    /// How many addresses clients come from in turn, however few they are.
    pub(crate) least_addresses: usize,
    /// Which thread this is, of how many.
    pub(crate) index: usize,
    pub(crate) threads: usize,
}

impl Crowd {
    pub(crate) fn new(
        target: Arc<Target>,
        clock: Clock,
        index: usize,
        threads: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Slab::new(),
            publisher: None,
            buffer: vec![0; READ_BUFFER_BYTES],
            keys: Keys::new(clock.now() ^ ((index as u64) << 48)),
            inflater: Inflater::default(),
            target,
            clock,
            opened: 0,
            ready: 0,
            first_loss: None,
            heard: 0,
            received: 0,
            pinged: 0,
            is_compressing: false,
            most_opening: MOST_OPENING,
            pipe: Pipe::Wide,
            least_addresses: 1,
            index,
            threads,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Events of sockets ever.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// Hears so few sockets in a turn.
    pub(crate) fn hear_at_most(&mut self, few: usize) {
        self.events = Events::with_capacity(few);
    }

    /// This thread's share of so many.
    pub(crate) fn share(&self, of: usize) -> usize {
        of / self.threads + usize::from(self.index < of % self.threads)
    }

    pub(crate) fn connect_publisher(&mut self) -> io::Result<()> {
        self.publisher = Some(Publisher::connect(&self.target, self.poll.registry())?);
        Ok(())
    }

    /// Begins a connection; the number it gets is the lowest that is free.
    pub(crate) fn open(&mut self, channel: Option<Box<str>>) -> io::Result<usize> {
        let source = self.source();
        let mut stream = connect(self.target.address, source, self.pipe)?;
        let entry = self.clients.vacant_entry();
        let id = entry.key();
        self.poll.registry().register(&mut stream, Token(id), INTEREST)?;
        entry.insert(Client::new(stream, &self.target, channel, self.is_compressing)?);
        self.opened += 1;
        Ok(id)
    }

    /// Where the next client comes from; `None`: wherever the system likes. Each process has addresses of its own: the ports of
    /// those that ended a moment ago are not free yet.
    fn source(&self) -> Option<Ipv4Addr> {
        let number = self.opened * self.threads + self.index;
        let turn = match self.least_addresses {
            1 => number / CLIENTS_PER_ADDRESS,
            addresses => number % addresses,
        };
        let host = u8::try_from(turn + 1).ok()?;
        let [.., net] = std::process::id().to_be_bytes();
        self.target.address.is_ipv4().then(|| Ipv4Addr::new(127, 1, net, host))
    }

    /// Opens clients until there are so many and all are ready. That one is lost meanwhile is an error: no scenario begins with
    /// fewer than it was told.
    pub(crate) fn fill(
        &mut self,
        count: usize,
        part: &mut dyn Part,
        channel: &dyn Fn(usize) -> Option<Box<str>>,
        go_on: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        self.first_loss = None;
        while self.ready < count && go_on() {
            while self.clients.len() < count && self.clients.len() - self.ready < self.most_opening
            {
                let at = self.clock.now();
                let id = self.open(channel(self.clients.len()))?;
                part.on_opened(id, at);
            }
            self.turn(LONGEST_WAIT, part)?;
            if let Some(why) = &self.first_loss {
                return Err(io::Error::other(format!(
                    "a connection was lost before all were there, {} of {count} being subscribed: {why}",
                    self.ready
                )));
            }
        }
        Ok(())
    }

    /// Sends a message now.
    pub(crate) fn send(&mut self, id: usize, kind: MessageKind, payload: &[u8]) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        client.voice(&mut self.keys).send(kind, payload);
        client.flush()
    }

    /// Begins the closing handshake of every client.
    pub(crate) fn close_all(&mut self) {
        for (_, client) in &mut self.clients {
            client.voice(&mut self.keys).close();
            // Who cannot be written to is gone already; the loop will hear of it.
            let _ = client.flush();
        }
    }

    /// From now on nobody reads what this client is sent.
    pub(crate) fn stop_reading(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        self.poll.registry().deregister(&mut client.stream)
    }

    pub(crate) fn read_on(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        self.poll.registry().register(&mut client.stream, Token(id), INTEREST)
    }

    /// Cuts one client off, with a reset. Nobody is told.
    pub(crate) fn cut(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = self.clients.try_remove(id) else { return Ok(()) };
        self.ready -= usize::from(client.was_ready());
        SockRef::from(&client.stream).set_linger(Some(Duration::ZERO))
    }

    /// Cuts every client off, as a proxy does that dies: with a reset, and without a word. Nobody is told. The publisher goes, too.
    pub(crate) fn cut_all(&mut self) -> io::Result<()> {
        for (_, client) in &self.clients {
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO))?;
        }
        self.clients.clear();
        self.ready = 0;
        self.publisher = None;
        Ok(())
    }

    /// Lets the part hear what is still to come, until it has all or nothing comes any more.
    pub(crate) fn drain<P: Part>(
        &mut self,
        part: &mut P,
        is_done: impl Fn(&Self, &mut P) -> bool,
    ) -> io::Result<()> {
        let (mut heard, mut heard_at) = (self.heard, self.clock.now());
        while !is_done(self, part) && self.clock.now() < heard_at + PATIENCE {
            self.turn(LONGEST_WAIT, part)?;
            if self.heard != heard {
                (heard, heard_at) = (self.heard, self.clock.now());
            }
        }
        Ok(())
    }

    /// Waits for sockets until that time at most, and lets the part hear what they say.
    pub(crate) fn turn_until(&mut self, due: Nanos, part: &mut dyn Part) -> io::Result<()> {
        self.turn(wait_until(due, self.clock.now()), part)
    }

    pub(crate) fn turn(&mut self, wait: Duration, part: &mut dyn Part) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            self.heard += 1;
            if event.token() == PUBLISHER {
                if let Some(publisher) = &mut self.publisher {
                    publisher.handle(event, &mut |status| part.on_answered(status))?;
                }
                continue;
            }
            let id = event.token().0;
            let Some(client) = self.clients.get_mut(id) else { continue };
            let at = self.clock.now();
            let mut end = None;
            let (ready, keys) = (&mut self.ready, &mut self.keys);
            let mut hear = |voice: &mut Voice<'_>, heard: Heard<'_>| match heard {
                Heard::Ready => {
                    *ready += 1;
                    part.on_ready(id, at, voice);
                }
                Heard::Message(message) => part.on_message(id, message, at, voice),
                Heard::Gone(why) => end = Some(why),
            };
            let (inflater, target) = (&mut self.inflater, &self.target);
            let (received, pinged) = (&mut self.received, &mut self.pinged);
            let mut listen = Listen { target, keys, inflater, received, pinged, hear: &mut hear };
            let is_ending = event.is_read_closed() || event.is_error();
            let result = if event.is_readable() || is_ending {
                client.read(is_ending, &mut self.buffer, &mut listen)
            } else {
                Ok(())
            };
            let result = result.and_then(|()| client.flush());
            let end = end.or(result.err().map(|error| error.to_string()));
            if let Some(why) = end {
                let gone = self.clients.remove(id);
                self.ready -= usize::from(gone.was_ready());
                part.on_gone(id, &why);
                self.first_loss.get_or_insert(why);
            }
        }
        Ok(())
    }
}

/// Begins to connect, from an address of ours if one is given.
fn connect(to: SocketAddr, from: Option<Ipv4Addr>, pipe: Pipe) -> io::Result<mio::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if pipe == Pipe::Narrow {
        socket.set_tcp_mss(NARROW_SEGMENT_BYTES)?;
        socket.set_recv_buffer_size(NARROW_BUFFER_BYTES)?;
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(mio::net::TcpStream::from_std(socket.into())),
    }
}

/// How long to wait for what is due then.
pub(crate) fn wait_until(due: Nanos, now: Nanos) -> Duration {
    let left = due.saturating_sub(now);
    let wait = if left <= SPIN { Duration::ZERO } else { Duration::from_nanos(left - SPIN) };
    wait.min(LONGEST_WAIT)
}

/// So many seconds from then.
pub(crate) fn after(from: Nanos, seconds: u64) -> Nanos {
    from.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND))
}

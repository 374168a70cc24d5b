//! The bare loops: what the kernel itself costs, with as little as possible above it. No server can be cheaper.
//!
//! ```text
//!   connection: GET ──▶ a canned 101, and for a Pusher client a canned greeting in the same `send`
//!               frame ─▶ fanout   one `send` of its payload to every connection
//!                        echo     one `send` of all that came, back to where it came from
//!                        connect  one `send` of a canned confirmation
//! ```
//!
//! One file descriptor is all that is kept of a connection. Nothing is checked, nothing waits to be written: a socket that
//! does not take all at once ends the loop, and the run that needs more is none.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use clap::ValueEnum;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::load::report::say;

/// What it answers to a frame.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Connect,
    Echo,
    Fanout,
}

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 4096;
const READ_BUFFER_BYTES: usize = 512 * 1024;
const EVENTS: usize = 1024;

/// The answer to the key that every client of the load generator sends: the example of RFC 6455 §1.3.
const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const GREETING: &[u8] =
    br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}"#;
const CONFIRMED: &[u8] =
    br#"{"event":"pusher_internal:subscription_succeeded","channel":"canned","data":"{}"}"#;

const TEXT: u8 = 0x81;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;

/// All connections of one loop.
pub(crate) struct Bare {
    kind: Kind,
    poll: Poll,
    events: Events,
    listener: TcpListener,
    /// By file descriptor.
    connections: Vec<Option<TcpStream>>,
    /// What came of a message that is not whole, by file descriptor. Mostly empty.
    parts: BTreeMap<usize, Vec<u8>>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    greeting: Vec<u8>,
    confirmed: Vec<u8>,
}

/// Answers until it is ended from outside.
pub(crate) fn serve(kind: Kind, port: u16) -> io::Result<()> {
    let mut bare = Bare::bind(kind, port)?;
    say(&format!("listening on {}", bare.address()?));
    loop {
        bare.turn(None)?;
    }
}

impl Bare {
    pub(crate) fn bind(kind: Kind, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Those that are accepted have it from here, without a system call each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut greeting = ACCEPTED.to_vec();
        write_frame(GREETING, &mut greeting);
        let mut confirmed = Vec::new();
        write_frame(CONFIRMED, &mut confirmed);
        Ok(Self {
            kind,
            poll,
            events: Events::with_capacity(EVENTS),
            listener,
            connections: Vec::new(),
            parts: BTreeMap::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            out: Vec::new(),
            greeting,
            confirmed,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER => self.accept()?,
                Token(id) => self.read(id)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let id = usize::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
            self.poll.registry().register(&mut stream, Token(id), Interest::READABLE)?;
            if self.connections.len() <= id {
                self.connections.resize_with(id + 1, || None);
            }
            self.connections[id] = Some(stream);
        }
    }

    /// mio is edge-triggered: a short read is the end of what came.
    fn read(&mut self, id: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(Some(stream)) = self.connections.get_mut(id) {
            match stream.read(&mut buffer) {
                Ok(0) => self.forget(id),
                Ok(count) => {
                    self.take(id, &mut buffer[..count])?;
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.forget(id),
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    fn forget(&mut self, id: usize) {
        self.connections[id] = None;
        self.parts.remove(&id);
    }

    fn take(&mut self, id: usize, bytes: &mut [u8]) -> io::Result<()> {
        let Some(mut whole) = self.parts.remove(&id) else { return self.answer(id, bytes) };
        whole.extend_from_slice(bytes);
        self.answer(id, &mut whole)
    }

    fn answer(&mut self, id: usize, bytes: &mut [u8]) -> io::Result<()> {
        if bytes.starts_with(b"GET ") {
            if !bytes.ends_with(b"\r\n\r\n") {
                self.parts.insert(id, bytes.to_vec());
                return Ok(());
            }
            let answer = if bytes.starts_with(b"GET /app/") { &self.greeting } else { ACCEPTED };
            return send(&mut self.connections[id], answer);
        }
        self.out.clear();
        let mut at = 0;
        while let Some((opcode, payload)) = unmask_frame(&mut bytes[at..]) {
            let (begin, end) = (at + payload.start, at + payload.end);
            at = end;
            if opcode == CLOSE {
                self.forget(id);
                return Ok(());
            }
            match self.kind {
                Kind::Connect => send(&mut self.connections[id], &self.confirmed)?,
                Kind::Echo => write_frame(&bytes[begin..end], &mut self.out),
                Kind::Fanout => {
                    self.out.clear();
                    write_frame(&bytes[begin..end], &mut self.out);
                    self.connections.iter_mut().try_for_each(|to| send(to, &self.out))?;
                }
            }
        }
        if at < bytes.len() {
            self.parts.insert(id, bytes[at..].to_vec());
        }
        if self.kind == Kind::Echo && !self.out.is_empty() {
            send(&mut self.connections[id], &self.out)?;
        }
        Ok(())
    }
}

fn send(to: &mut Option<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    let Some(stream) = to else { return Ok(()) };
    match stream.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::other("a socket is full, and the bare loop keeps nothing back")),
        // Its end is read as an event of its own.
        Err(error)
            if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// An unmasked text frame (RFC 6455 §5.2).
fn write_frame(payload: &[u8], out: &mut Vec<u8>) {
    out.push(TEXT);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Unmasks the first frame of a client in place: its opcode, and where its payload is. `None`: it is not whole.
fn unmask_frame(bytes: &mut [u8]) -> Option<(u8, Range<usize>)> {
    let opcode = bytes.first()? & OPCODE;
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let key: [u8; 4] = *bytes.get(head..)?.first_chunk()?;
    let begin = head + key.len();
    let end = begin.checked_add(length)?;
    // Eight bytes at a time, or 16 KiB would show what unmasking costs and not what the kernel does.
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (chunks, rest) = bytes.get_mut(begin..end)?.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Some((opcode, begin..end))
}

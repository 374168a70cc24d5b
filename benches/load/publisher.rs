//! The back end's part: signed HTTP requests over one kept connection, without waiting. A server that keeps none gets one request at a time,
//! each by a connection of its own: several at once would reach it in any order.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::target::Target;

/// The publisher's name among the clients.
pub(crate) const PUBLISHER: Token = Token(usize::MAX);

const READ_BYTES: usize = 16 * 1024;

/// What became of the connection when the server last answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeping {
    /// It has not answered yet.
    Unknown,
    Kept,
    Ended,
}

/// One connection to the HTTP API.
#[derive(Debug)]
pub(crate) struct Publisher {
    stream: TcpStream,
    registry: Registry,
    keeping: Keeping,
    out: Vec<u8>,
    written: usize,
    /// Responses that are not whole.
    received: Vec<u8>,
    /// Requests that are not answered.
    outstanding: usize,
}

impl Publisher {
    pub(crate) fn connect(target: &Target, registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            stream: open(target, registry)?,
            registry: registry.try_clone()?,
            keeping: Keeping::Unknown,
            out: Vec::new(),
            written: 0,
            received: Vec::new(),
            outstanding: 0,
        })
    }

    /// Whether it may send a request, if so many may be outstanding at a time.
    pub(crate) fn is_free(&self, most: usize) -> bool {
        self.outstanding < if self.keeping == Keeping::Kept { most } else { 1 }
    }

    /// Sends a request. Who calls it minds how many may be outstanding.
    pub(crate) fn publish(
        &mut self,
        target: &Target,
        channels: &[&str],
        data: &str,
    ) -> io::Result<()> {
        if self.keeping == Keeping::Ended {
            self.stream = open(target, &self.registry)?;
            self.received.clear();
            self.keeping = Keeping::Unknown;
        }
        target.publish(channels, data, &mut self.out)?;
        self.outstanding += 1;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Writes and reads what it can; hands out the status of each response.
    pub(crate) fn handle(&mut self, event: &Event, answer: &mut dyn FnMut(u16)) -> io::Result<()> {
        if event.is_writable() {
            self.flush()?;
        }
        let mut buffer = [0; READ_BYTES];
        let mut is_ended = false;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    is_ended = true;
                    break;
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        while let Some(response) = whole_response(&self.received)? {
            self.received.drain(..response.length);
            self.outstanding = self.outstanding.saturating_sub(1);
            self.keeping = if response.is_last { Keeping::Ended } else { Keeping::Kept };
            answer(response.status);
        }
        if is_ended && self.keeping != Keeping::Ended {
            return Err(io::Error::other("the server ended the publisher's connection"));
        }
        Ok(())
    }
}

fn open(target: &Target, registry: &Registry) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(target.address)?;
    stream.set_nodelay(true)?;
    registry.register(&mut stream, PUBLISHER, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// The response at the front of what was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    /// Of head and body, in bytes.
    pub(crate) length: usize,
    /// The server says that it keeps the connection no longer (RFC 9112 §9.6).
    pub(crate) is_last: bool,
}

/// The response at the front; `None`: it is not whole.
pub(crate) fn whole_response(bytes: &[u8]) -> io::Result<Option<Whole>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|error| {
        io::Error::other(format!("what answers the publisher is no HTTP response: {error}"))
    })?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let field = |name: &str| {
        let named = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        named.and_then(|field| str::from_utf8(field.value).ok())
    };
    let is_last = field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let body = match (field("Content-Length"), field("Transfer-Encoding")) {
        (Some(length), _) => length.trim().parse().ok(),
        (None, Some(_)) => whole_chunks(&bytes[head..]),
        (None, None) => Some(0),
    };
    Ok(body.map(|body| head + body).filter(|length| *length <= bytes.len()).map(|length| Whole {
        status,
        length,
        is_last,
    }))
}

/// The length of a chunked body, once all of it is there.
fn whole_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let digits = str::from_utf8(&bytes[at..at + line]).ok()?.split(';').next()?;
        let chunk = usize::from_str_radix(digits.trim(), 16).ok()?;
        at += line + 2 + chunk + 2;
        if at > bytes.len() {
            return None;
        }
        if chunk == 0 {
            return Some(at);
        }
    }
}

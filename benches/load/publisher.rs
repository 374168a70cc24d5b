//! The back end's part: signed HTTP requests over one kept connection, without waiting.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::target::Target;

/// The publisher's name among the clients.
pub(crate) const PUBLISHER: Token = Token(usize::MAX);

const READ_BYTES: usize = 16 * 1024;

/// One connection to the HTTP API.
#[derive(Debug)]
pub(crate) struct Publisher {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    /// Responses that are not whole.
    received: Vec<u8>,
    /// Requests that are not answered.
    pub(crate) outstanding: usize,
}

impl Publisher {
    pub(crate) fn connect(target: &Target, registry: &Registry) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, PUBLISHER, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, out: Vec::new(), written: 0, received: Vec::new(), outstanding: 0 })
    }

    /// Sends a request. Who calls it minds how many may be outstanding.
    pub(crate) fn publish(
        &mut self,
        target: &Target,
        channels: &[&str],
        data: &str,
    ) -> io::Result<()> {
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
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(io::Error::other("the server ended the publisher's connection"));
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
        while let Some((status, length)) = whole_response(&self.received)? {
            self.received.drain(..length);
            self.outstanding = self.outstanding.saturating_sub(1);
            answer(status);
        }
        Ok(())
    }
}

/// Status and length of the response at the front; `None`: it is not whole.
pub(crate) fn whole_response(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
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
    if field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        return Err(io::Error::other(format!(
            "the server answers {status} and keeps no connection"
        )));
    }
    let body = match (field("Content-Length"), field("Transfer-Encoding")) {
        (Some(length), _) => length.trim().parse().ok(),
        (None, Some(_)) => whole_chunks(&bytes[head..]),
        (None, None) => Some(0),
    };
    Ok(body
        .map(|body| head + body)
        .filter(|length| *length <= bytes.len())
        .map(|length| (status, length)))
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

//! The law of one HTTP/1.1 connection, server role: one request at a time, keep-alive, hand-over to ws.
//!
//! ```text
//!             head whole            body whole: handed out           respond
//!     Head ──────────────▶ Body ──────────────────────────▶ InHand ──────────▶ Head (keep-alive)
//!       │                    │                                 │                 or Closed
//!       └─── error ──────────┴──▶ refuse ──▶ Closed            └── into_rest ──▶ ws
//!
//!     buffer:  answered │ head │ body │ (chunk heads) │ pipelined requests
//!              0      start                          end              len
//! ```
//!
//! Any cut of the same bytes gives the same requests and the same error. Requests behind the one in hand wait,
//! unparsed: how many bytes may wait is for the caller to say (`buffered_bytes`). Knows no socket and no clock: who
//! raises [`ProtocolError::Timeout`], and who closes TCP once `is_closing`, is the reactor.

use super::body::{Chunked, Framing, refuse_control};
use super::error::ProtocolError;
use super::request::{Head, Limits, Request, Version};
use super::request_line::{Line, count_while};
use super::response::{Persistence, Response};

/// Empty lines before a request line (RFC 9112 §2.2): some clients end a body with one that is not theirs to send.
const MOST_EMPTY_LINES: u8 = 4;

/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes of answered requests that may lie before those of the next one, before they are moved over.
const ANSWERED_BYTES: usize = 4096;

/// One connection before it is upgraded.
#[derive(Debug)]
pub struct Protocol {
    /// What came and is not answered yet, with what is answered before `start`. No heap while the connection waits.
    buffer: Vec<u8>,
    /// Where the request that is read, or in hand, begins. `start <= buffer.len()`.
    start: usize,
    state: State,
    /// Whether 100 Continue is to be written.
    owes_continue: bool,
}

#[derive(Debug)]
enum State {
    /// A head is arriving.
    Head(Progress),
    /// A head is whole, its body is arriving.
    Body { head: Head, head_end: usize, body: Body },
    /// A request is whole. It ends at `end`, its data at `data_end`.
    InHand { head: Head, head_end: usize, data_end: usize, end: usize },
    /// An error was found; nothing more is read. It is answered without a body if it was found behind a HEAD.
    Failed { error: ProtocolError, is_head: bool },
    /// The last response is written.
    Closed,
}

/// How far a head was looked at.
#[derive(Clone, Copy, Debug)]
struct Progress {
    scanned: usize,
    /// The request line, once it is whole.
    line: Option<Line>,
    /// Lines behind that one, the empty one at the end among them.
    lines: usize,
    empty_lines: u8,
}

#[derive(Debug)]
enum Body {
    Chunked(Chunked),
    /// It ends at this place of the buffer.
    Length {
        end: usize,
    },
}

const WAITING: State = State::Head(Progress { scanned: 0, line: None, lines: 0, empty_lines: 0 });

impl Default for Protocol {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol {
    /// A connection that has said nothing yet.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, state: WAITING, owes_continue: false }
    }

    /// Takes bytes; they are kept until requests are made of them. Once the connection is closing they are dropped.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed { .. } | State::Closed) {
            self.buffer.extend_from_slice(bytes);
        }
        // RFC 9110 §10.1.1: whose body is under way needs no invitation.
        self.owes_continue &= bytes.is_empty();
    }

    /// The next whole request, if it is complete and the one before it is answered. After an error, `refuse` writes
    /// the answer and nothing more is read.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Request<'_>>, ProtocolError> {
        let is_new = self.advance(limits).inspect_err(|error| {
            self.state = State::Failed { error: *error, is_head: self.is_head() };
            self.buffer = Vec::new();
            self.start = 0;
            self.owes_continue = false;
        })?;
        match &self.state {
            State::InHand { head, head_end, data_end, .. } if is_new => {
                let bytes = self.buffer.get(self.start..*head_end).unwrap_or_default();
                let body = self.buffer.get(*head_end..*data_end).unwrap_or_default();
                Ok(Some(Request::new(head, bytes, body)))
            }
            _ => Ok(None),
        }
    }

    /// What must be written now without a request being complete: the interim `100 Continue`.
    pub fn take_output(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.owes_continue).then_some(b"HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// Appends the answer to the request in hand; HEAD, keep-alive and Connection are minded here. A 1xx is interim:
    /// the request stays in hand. Without a request in hand nothing is written.
    pub fn respond(&mut self, response: &Response, out: &mut Vec<u8>) {
        let State::InHand { head, end, .. } = &self.state else { return };
        if matches!(response.status, 100..=199) {
            response.write(Persistence::Default, true, out);
            return;
        }
        let stays = head.keep_alive && !response.is_closing();
        let persistence = match (stays, head.line.version) {
            (false, _) => Persistence::Close,
            (true, Version::Http10) => Persistence::KeepAlive,
            (true, Version::Http11) => Persistence::Default,
        };
        response.write(persistence, head.line.is_head, out);
        let end = *end;
        if persistence == Persistence::Close {
            self.close();
        } else {
            self.state = WAITING;
            self.release(end);
        }
    }

    /// Appends the answer to a protocol error and ends the connection. Nothing is written to a client that speaks TLS,
    /// nor after the last response.
    pub fn refuse(&mut self, error: &ProtocolError, out: &mut Vec<u8>) {
        if !matches!(self.state, State::Closed) && *error != ProtocolError::Tls {
            let response = Response::text(error.status(), format!("{error}\n"));
            response.write(Persistence::Close, self.is_head(), out);
        }
        self.close();
    }

    /// Whether an answer now would be one to HEAD, as far as is known.
    fn is_head(&self) -> bool {
        match &self.state {
            State::Head(progress) => progress.line.is_some_and(|line| line.is_head),
            State::Body { head, .. } | State::InHand { head, .. } => head.line.is_head,
            State::Failed { is_head, .. } => *is_head,
            State::Closed => false,
        }
    }

    /// Whether a request was handed out and not answered yet.
    pub fn is_awaiting_response(&self) -> bool {
        matches!(self.state, State::InHand { .. })
    }

    /// Whether part of a request has come: a deadline runs.
    pub fn is_mid_request(&self) -> bool {
        match self.state {
            State::Head(_) => self.buffered_bytes() > 0,
            State::Body { .. } => true,
            State::InHand { .. } | State::Failed { .. } | State::Closed => false,
        }
    }

    /// Whether the connection ends once the output is written.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// How many bytes are kept: of the request that is read or in hand, and of those behind it.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// Hands over after an upgrade: the bytes that came after the request in hand.
    pub fn into_rest(self) -> Vec<u8> {
        let end = match self.state {
            State::InHand { end, .. } => end,
            _ => self.start,
        };
        self.buffer.get(end..).unwrap_or_default().to_vec()
    }

    /// Reads as far as the bytes go; true if a request became whole.
    fn advance(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        if let State::Head(_) = self.state {
            let Some((line, fields, head_end)) = self.find_head_end(limits)? else {
                return Ok(false);
            };
            let bytes = self.buffer.get(self.start..head_end).unwrap_or_default();
            let head = Head::parse(bytes, line, fields, limits)?;
            let body = match head.framing {
                Framing::None => Body::Length { end: head_end },
                Framing::Length(bytes) => Body::Length { end: head_end.saturating_add(bytes) },
                Framing::Chunked => Body::Chunked(Chunked::new(head_end)),
            };
            self.owes_continue = head.expects_continue
                && head.framing != Framing::None
                && self.buffer.len() == head_end;
            self.state = State::Body { head, head_end, body };
        }
        let State::Body { body, head_end, .. } = &mut self.state else {
            return match self.state {
                State::Failed { error, .. } => Err(error),
                _ => Ok(false),
            };
        };
        let head_end = *head_end;
        let whole = match body {
            Body::Chunked(chunked) => chunked.receive(&mut self.buffer, limits)?,
            Body::Length { end } => (self.buffer.len() >= *end).then_some((*end, *end)),
        };
        let Some((data_end, end)) = whole else { return Ok(false) };
        if let State::Body { head, .. } = std::mem::replace(&mut self.state, State::Closed) {
            self.state = State::InHand { head, head_end, data_end, end };
        }
        Ok(true)
    }

    /// The request line of a head that has come whole, how many fields it has, and where it ends.
    fn find_head_end(
        &mut self,
        limits: &Limits,
    ) -> Result<Option<(Line, usize, usize)>, ProtocolError> {
        let State::Head(mut progress) = self.state else { return Ok(None) };
        let found = self.scan(&mut progress, limits);
        self.state = State::Head(progress);
        let fields = progress.lines.saturating_sub(1);
        Ok(progress.line.zip(found?).map(|(line, end)| (line, fields, end)))
    }

    /// Looks at each byte of a head once, as it comes: for its end, its limits and what no head may contain. A request
    /// line is judged as soon as it is there.
    fn scan(
        &mut self,
        progress: &mut Progress,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        loop {
            let head = self.buffer.get(self.start..).unwrap_or_default();
            let (before, after) = head.split_at_checked(progress.scanned).unwrap_or_default();
            let has_return = before.last() == Some(&b'\r');
            let plain =
                if has_return { 0 } else { count_while(after, |byte| !byte.is_ascii_control()) };
            if plain > 0 {
                progress.scanned += plain;
                check_head_bytes(progress, limits)?;
                continue;
            }
            let Some(&byte) = after.first() else { return Ok(None) };
            if before.is_empty() && byte == TLS_HANDSHAKE {
                return Err(ProtocolError::Tls);
            }
            match byte {
                b'\n' if before == b"\r" => {
                    progress.empty_lines += 1;
                    if progress.empty_lines > MOST_EMPTY_LINES {
                        return Err(ProtocolError::EmptyLines { limit: MOST_EMPTY_LINES });
                    }
                    self.release(self.start + 2);
                    progress.scanned = 0;
                    continue;
                }
                b'\n' if has_return => {}
                _ if has_return => return Err(ProtocolError::ControlCharacter { byte: b'\r' }),
                b'\r' => {}
                _ => refuse_control(byte)?,
            }
            let is_end = byte == b'\n' && before.ends_with(b"\r\n\r");
            progress.scanned += 1;
            check_head_bytes(progress, limits)?;
            match (byte, progress.line) {
                (b'\n', None) => {
                    let line = head.get(..progress.scanned).unwrap_or_default();
                    progress.line = Some(Line::read(line)?);
                }
                (b'\n', Some(_)) => progress.lines += 1,
                _ => {}
            }
            if is_end {
                return Ok(Some(self.start + progress.scanned));
            }
        }
    }

    /// Gives back the bytes before `end`. They are moved over only now and then, or many small pipelined requests
    /// would move the whole buffer each.
    fn release(&mut self, end: usize) {
        self.start = end;
        if end >= self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
        } else if end >= ANSWERED_BYTES && end >= self.buffer.len() / 2 {
            self.buffer = self.buffer.get(end..).unwrap_or_default().to_vec();
            self.start = 0;
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.buffer = Vec::new();
        self.start = 0;
        self.owes_continue = false;
    }
}

fn check_head_bytes(progress: &Progress, limits: &Limits) -> Result<(), ProtocolError> {
    let limit = limits.head_bytes;
    match progress.line {
        _ if progress.scanned <= limit => Ok(()),
        Some(_) => Err(ProtocolError::HeadTooBig { limit }),
        None => Err(ProtocolError::RequestLineTooBig { limit }),
    }
}

/// For any bytes: no panic, and any cut of them gives the same requests, the same answers and the same error. The first
/// two bytes choose the cut.
#[cfg(any(test, fuzzing))]
pub fn fuzz_requests(data: &[u8]) {
    let Some((&[first, second], bytes)) = data.split_first_chunk() else { return };
    let limits = Limits { head_bytes: 256, headers: 8, body_bytes: 64 };
    let whole = Talk::listen([bytes], &limits);
    assert_eq!(whole, Talk::listen(bytes.chunks(1), &limits));
    let (start, rest) = bytes.split_at(bytes.len().min(usize::from(first)));
    assert_eq!(
        whole,
        Talk::listen([start].into_iter().chain(rest.chunks(usize::from(second) + 1)), &limits)
    );
}

/// What came of a client's bytes when every request was answered at once with `ok`.
#[cfg(any(test, fuzzing))]
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Talk {
    /// `POST /path {body}`.
    pub(super) requests: Vec<String>,
    pub(super) error: Option<ProtocolError>,
    /// What was written, interim responses apart: they alone depend on the cut.
    pub(super) out: Vec<u8>,
}

#[cfg(any(test, fuzzing))]
impl Talk {
    pub(super) fn listen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Self {
        let mut talk = Self::default();
        let mut protocol = Protocol::new();
        for piece in pieces {
            protocol.receive(piece);
            while talk.step(&mut protocol, limits) {}
            let _ = protocol.take_output();
            let waits = protocol.buffered_bytes() == 0;
            assert!(
                !waits || protocol.buffer.capacity() == 0,
                "a connection that waits owns no heap"
            );
        }
        talk
    }

    fn step(&mut self, protocol: &mut Protocol, limits: &Limits) -> bool {
        match protocol.next(limits) {
            Ok(None) => return false,
            Ok(Some(request)) => {
                assert!(request.body().len() <= limits.body_bytes, "a body over the limit");
                let body = String::from_utf8_lossy(request.body());
                self.requests.push(format!("{} {} {{{body}}}", request.method(), request.target()));
                protocol.respond(&Response::text(200, "ok"), &mut self.out);
            }
            Err(error) => {
                self.error = Some(error);
                protocol.refuse(&error, &mut self.out);
            }
        }
        true
    }
}

//! ④ The life of a WebSocket connection after the opening handshake.
//!
//! ```text
//!            send close                  receive close
//!     Open ─────────────▶ ClosingUs ──────────────────▶ Closed
//!       │                                                  ▲
//!       └──────────────────────────────────────────────────┘
//!         receive close: we echo the code in the same breath
//! ```
//!
//! A `ProtocolError` anywhere sends its close code and goes straight to Closed. `Protocol::obey` is the law.
//!
//! ```text
//!  Input  ┌─────────┬────────────────┬─────────┬───────
//!         │ header  │ payload        │ header  │ pay…       whole: unmasked where it lies, handed out borrowed
//!         └─────────┴────────────────┴─────────┴───────
//!                                     ╰─ Partial ────╯      cut: a header's beginning is kept; a payload is
//!                                                           unmasked, checked and appended as it comes
//! ```
//!
//! Knows no socket and no clock. Who closes TCP, and when, is `reactor/connection.rs`.

use std::borrow::Cow;
use std::mem;

use super::close::{CloseCode, CloseFrame};
use super::deflate::{Agreement, Deflater, Inflater, Undo, WindowBits};
use super::error::{ProtocolError, SendError};
#[cfg(any(test, fuzzing))]
use super::frame;
use super::frame::{Header, MAX_CONTROL_BYTES, Opcode, Short};
use super::mask::unmask;
use super::message::{Assembly, Limits, Message, MessageKind};
use super::partial::{Heard, Partial};
use super::prepared::Form;

/// Which end we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Sends masked frames, accepts unmasked ones.
    Client,
    /// Sends unmasked frames, accepts masked ones.
    Server,
}

/// Where the connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Messages flow.
    Open,
    /// We sent a close frame and wait for theirs.
    ClosingUs,
    /// Both close frames are sent, or the connection was failed: TCP may end once our output is written.
    Closed,
}

/// The bytes that came, consumed from the front.
#[derive(Debug)]
pub struct Input<'b> {
    /// What is not consumed yet.
    pub bytes: &'b mut [u8],
}

impl<'b> Input<'b> {
    /// Takes up to `count` bytes off the front.
    pub(super) fn take(&mut self, count: usize) -> &'b mut [u8] {
        let bytes = mem::take(&mut self.bytes);
        let count = count.min(bytes.len());
        let (front, rest) = bytes.split_at_mut(count);
        self.bytes = rest;
        front
    }

    pub(super) fn take_all(&mut self) -> &'b mut [u8] {
        mem::take(&mut self.bytes)
    }
}

/// Where automatic answers (pong, close) are written.
#[derive(Debug)]
pub struct Reply<'o> {
    /// Frames are appended here.
    pub bytes: &'o mut Vec<u8>,
    /// A fresh unpredictable key, for the client role; the server role ignores it. One call writes at most one frame,
    /// so a fresh key for each call is a fresh key for each frame (RFC 6455 §5.3).
    pub masking_key: [u8; 4],
}

/// What the peer said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'b> {
    /// A whole message.
    Message(Message<'b>),
    /// A ping; its pong is in the reply already.
    Ping(Cow<'b, [u8]>),
    /// A pong.
    Pong(Cow<'b, [u8]>),
    /// The peer's close frame; ours, if it was still due, is in the reply already. `None`: an empty body (1005).
    Close(Option<CloseFrame<'b>>),
}

/// One connection, either role. 16 bytes; what is incomplete is on the heap only while it is incomplete.
#[derive(Debug)]
pub struct Protocol {
    role: Role,
    state: State,
    deflate: Option<Agreement>,
    /// `Some` only while something is incomplete.
    partial: Option<Box<Partial>>,
}

impl Protocol {
    /// A connection whose opening handshake is done, and has agreed to no extension.
    pub fn new(role: Role) -> Self {
        Self { role, state: State::Open, deflate: None, partial: None }
    }

    /// The same, whose handshake has agreed to permessage-deflate, or not.
    pub fn with_deflate(self, deflate: Option<Agreement>) -> Self {
        Self { deflate, ..self }
    }

    /// Takes bytes up to and including the next event. `None`: all bytes are consumed, no event is complete.
    /// Call until `None`. After an error the close frame it earns is in `reply` (unless one was sent before), the
    /// state is `Closed`, and all further input is ignored.
    pub fn receive<'b>(
        &mut self,
        input: &mut Input<'b>,
        limits: &Limits,
        reply: &mut Reply<'_>,
    ) -> Result<Option<Event<'b>>, ProtocolError> {
        self.receive_with(&mut Inflater::default(), input, limits, reply)
    }

    /// The same with an inflater that is kept: the memory that compressed messages take is set aside once, for any
    /// number of connections.
    pub fn receive_with<'b>(
        &mut self,
        inflater: &mut Inflater,
        input: &mut Input<'b>,
        limits: &Limits,
        reply: &mut Reply<'_>,
    ) -> Result<Option<Event<'b>>, ProtocolError> {
        if let Some(message) = self.take_short(input, limits) {
            return message.map(Some).map_err(|error| self.fail(error, reply));
        }
        let mut undo = Undo { inflater, limit: limits.message_bytes };
        while self.state != State::Closed {
            let heard = self.hear(input, &mut undo);
            // Gives the memory up once nothing is incomplete.
            self.partial.take_if(|partial| partial.is_idle());
            let heard = match heard {
                Ok(Some(heard)) => heard,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.fail(error, reply)),
            };
            match self.obey(heard, reply) {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(error) => return Err(self.fail(error, reply)),
            }
        }
        input.take_all();
        Ok(None)
    }

    /// Appends one unfragmented message.
    pub fn send(
        &self,
        kind: MessageKind,
        payload: &[u8],
        out: &mut Reply<'_>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        self.write(kind.opcode(), payload, out);
        Ok(())
    }

    /// The same, compressed if that is agreed to and makes the message shorter.
    pub fn send_with(
        &self,
        deflater: &mut Deflater,
        kind: MessageKind,
        payload: &[u8],
        out: &mut Reply<'_>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        let compressed = self.deflate.and_then(|agreed| deflater.deflate(agreed.window, payload));
        self.write_frame(kind.opcode(), compressed.is_some(), compressed.unwrap_or(payload), out);
        Ok(())
    }

    /// Appends a ping of at most 125 bytes.
    pub fn send_ping(&self, payload: &[u8], out: &mut Reply<'_>) -> Result<(), SendError> {
        self.check_open()?;
        if payload.len() > MAX_CONTROL_BYTES {
            return Err(SendError::PingTooLong { bytes: payload.len() });
        }
        self.write(Opcode::Ping, payload, out);
        Ok(())
    }

    /// Begins the closing handshake. A reason past 123 bytes is cut at a character border. A code that must not stand
    /// on the wire (1005 and its like, see [`CloseCode::is_sendable`]) sends an empty body.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        out: &mut Reply<'_>,
    ) -> Result<(), SendError> {
        self.check_open()?;
        self.write_close(Some(&CloseFrame { code, reason: Cow::Borrowed(reason) }), out);
        self.state = State::ClosingUs;
        Ok(())
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// What is agreed about compressed messages.
    pub fn deflate(&self) -> Option<Agreement> {
        self.deflate
    }

    /// Which frame of a [`Prepared`](super::Prepared) is for this connection: the compressed one reaches as far back as the
    /// largest window.
    pub(crate) fn form(&self) -> Form {
        match self.deflate {
            Some(Agreement { window: WindowBits::MOST }) => Form::Compressed,
            _ => Form::Plain,
        }
    }

    /// Whether the peer is in the middle of a frame or a message.
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some()
    }

    /// The law: what follows from what the peer says, by where we stand.
    fn obey<'b>(
        &mut self,
        heard: Heard<'b>,
        reply: &mut Reply<'_>,
    ) -> Result<Option<Event<'b>>, ProtocolError> {
        match (self.state, heard) {
            (State::Open, Heard::Message(message)) => Ok(Some(Event::Message(message))),
            (State::Open, Heard::Ping(payload)) => {
                self.write(Opcode::Pong, &payload, reply);
                Ok(Some(Event::Ping(payload)))
            }
            (State::Open, Heard::Pong(payload)) => Ok(Some(Event::Pong(payload))),
            (State::Open, Heard::Close(body)) => {
                let close = parse_close(body)?;
                // RFC 6455 §5.5.1: the echo carries the code that came. The reason was theirs.
                let code = close.as_ref().map(|close| close.code);
                let echo = code.map(|code| CloseFrame { code, reason: Cow::Borrowed("") });
                self.write_close(echo.as_ref(), reply);
                self.end();
                Ok(Some(Event::Close(close)))
            }
            (State::ClosingUs, Heard::Close(body)) => {
                let close = parse_close(body)?;
                self.end();
                Ok(Some(Event::Close(close)))
            }
            // RFC 6455 §5.5.2: a ping is answered until the peer's close frame has come. §5.5.1 forbids only data frames
            // behind our own; and a peer that has not read that far may judge us by its pongs.
            (State::ClosingUs, Heard::Ping(payload)) => {
                self.write(Opcode::Pong, &payload, reply);
                Ok(Some(Event::Ping(payload)))
            }
            // Who said goodbye has stopped listening.
            (State::ClosingUs, Heard::Message(_) | Heard::Pong(_)) | (State::Closed, _) => Ok(None),
        }
    }

    /// Fails the connection (RFC 6455 §7.1.7) with our close frame, if none was sent. The reason tells the developer at
    /// the other end what was wrong.
    pub fn fail(&mut self, error: ProtocolError, reply: &mut Reply<'_>) -> ProtocolError {
        if self.state == State::Open {
            let reason = Cow::Owned(error.to_string());
            self.write_close(Some(&CloseFrame { code: error.close_code(), reason }), reply);
        }
        self.end();
        error
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.partial = None;
    }

    fn check_open(&self) -> Result<(), SendError> {
        if self.state == State::Open { Ok(()) } else { Err(SendError::Closed) }
    }

    fn write(&self, opcode: Opcode, payload: &[u8], out: &mut Reply<'_>) {
        self.write_frame(opcode, false, payload, out);
    }

    fn write_frame(
        &self,
        opcode: Opcode,
        is_compressed: bool,
        payload: &[u8],
        out: &mut Reply<'_>,
    ) {
        let masking_key = match self.role {
            Role::Client => Some(out.masking_key),
            Role::Server => None,
        };
        let payload_bytes = payload.len() as u64;
        let header = Header { is_final: true, is_compressed, opcode, masking_key, payload_bytes };
        header.encode_with(payload, out.bytes);
    }

    fn write_close(&self, close: Option<&CloseFrame<'_>>, out: &mut Reply<'_>) {
        let mut body = Vec::new();
        if let Some(close) = close {
            close.encode(&mut body);
        }
        self.write(Opcode::Close, &body, out);
    }
}

/// Frames out of bytes.
impl Protocol {
    /// Takes bytes until something is said or they are all consumed.
    fn hear<'b>(
        &mut self,
        input: &mut Input<'b>,
        undo: &mut Undo<'_>,
    ) -> Result<Option<Heard<'b>>, ProtocolError> {
        loop {
            if let Some(partial) = &mut self.partial
                && partial.is_mid_frame()
            {
                let heard = partial.go_on(input, undo)?;
                let wants_more = partial.is_mid_frame();
                if heard.is_some() || wants_more {
                    return Ok(heard);
                }
            }
            let Some(header) = self.take_header(input)? else { return Ok(None) };
            self.admit(&header, undo.limit)?;
            if let Some(heard) = self.take_payload(header, input, undo)? {
                return Ok(Some(heard));
            }
        }
    }

    /// A client's short message in one frame, all of it here, while nothing is incomplete: what the rest of this file
    /// would make of it, in a third of the instructions (`benches/instructions.rs`, `echo-16-deep`). `None`: it is something
    /// else, and nothing is consumed.
    fn take_short<'b>(
        &self,
        input: &mut Input<'b>,
        limits: &Limits,
    ) -> Option<Result<Event<'b>, ProtocolError>> {
        if self.role != Role::Server || self.state != State::Open || self.partial.is_some() {
            return None;
        }
        let short = Short::decode(input.bytes)?;
        if short.payload_bytes > limits.message_bytes {
            return None;
        }
        input.take(Short::HEADER_BYTES);
        let payload = input.take(short.payload_bytes);
        unmask(payload, short.masking_key, 0);
        Some(Message::check(short.kind, payload).map(Event::Message))
    }

    fn take_header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, ProtocolError> {
        if let Some(partial) = &mut self.partial
            && !partial.header.bytes().is_empty()
        {
            return partial.header.complete(input, self.role, self.deflate);
        }
        match Header::decode_agreed(input.bytes, self.role, self.deflate)? {
            Some((header, bytes)) => {
                input.take(bytes);
                Ok(Some(header))
            }
            None => {
                let begun = input.take_all();
                if !begun.is_empty() {
                    self.partial().header.extend(begun);
                }
                Ok(None)
            }
        }
    }

    /// Whether this frame may come now, and whether its message stays within the limit: judged by the header alone,
    /// before a byte of the body is kept. What is in a compressed message is judged while it is inflated.
    fn admit(&self, header: &Header, limit: usize) -> Result<(), ProtocolError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let assembled = match (header.opcode, message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) => return Err(ProtocolError::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(ProtocolError::NewMessageInsideMessage);
            }
            (Opcode::Continuation, Some(message)) => message.len() as u64,
            (Opcode::Text | Opcode::Binary, None) => 0,
        };
        let is_compressed = header.is_compressed || message.is_some_and(Assembly::is_compressed);
        let most = if is_compressed { Undo::compressed_limit(limit) } else { limit };
        if assembled.saturating_add(header.payload_bytes) > most as u64 {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
    }

    /// Takes the payload if it is all here; else begins a frame that goes on with the next bytes.
    fn take_payload<'b>(
        &mut self,
        header: Header,
        input: &mut Input<'b>,
        undo: &mut Undo<'_>,
    ) -> Result<Option<Heard<'b>>, ProtocolError> {
        let whole = usize::try_from(header.payload_bytes).ok();
        let Some(bytes) = whole.filter(|bytes| *bytes <= input.bytes.len()) else {
            self.partial().begin(&header);
            return Ok(None);
        };
        let payload = input.take(bytes);
        if let Some(key) = header.masking_key {
            unmask(payload, key, 0);
        }
        let payload: &'b [u8] = payload;
        let message = |kind, undo: &mut Undo<'_>| match header.is_compressed {
            true => undo.message(kind, payload),
            false => Message::check(kind, payload),
        };
        match (header.opcode, header.is_final) {
            (Opcode::Close, _) => Ok(Some(Heard::Close(Cow::Borrowed(payload)))),
            (Opcode::Ping, _) => Ok(Some(Heard::Ping(Cow::Borrowed(payload)))),
            (Opcode::Pong, _) => Ok(Some(Heard::Pong(Cow::Borrowed(payload)))),
            (Opcode::Text, true) => Ok(Some(Heard::Message(message(MessageKind::Text, undo)?))),
            (Opcode::Binary, true) => Ok(Some(Heard::Message(message(MessageKind::Binary, undo)?))),
            (Opcode::Text | Opcode::Binary, false) | (Opcode::Continuation, _) => {
                let partial = self.partial();
                partial.begin_message(&header);
                partial.assemble(payload, header.is_final, undo)
            }
        }
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }
}

fn parse_close(body: Cow<'_, [u8]>) -> Result<Option<CloseFrame<'_>>, ProtocolError> {
    match body {
        Cow::Borrowed(body) => CloseFrame::parse(body),
        Cow::Owned(body) => Ok(CloseFrame::parse(&body)?.map(CloseFrame::into_owned)),
    }
}

/// The limit of a message's length while fuzzing.
#[cfg(any(test, fuzzing))]
const FUZZ_MESSAGE_BYTES: usize = 1000;

/// The key that answers are masked with while fuzzing.
#[cfg(any(test, fuzzing))]
const FUZZ_MASKING_KEY: [u8; 4] = [1, 2, 3, 4];

/// Everything that one stream of bytes leads to: events, answers, error, state. However it is cut, it is the same.
#[cfg(any(test, fuzzing))]
fn transcript(
    new: &dyn Fn() -> Protocol,
    bytes: &[u8],
    cuts: &mut dyn Iterator<Item = usize>,
) -> Vec<String> {
    let limits = Limits { message_bytes: FUZZ_MESSAGE_BYTES };
    let mut protocol = new();
    let mut inflater = Inflater::default();
    let mut answers = Vec::new();
    let mut said = Vec::new();
    let mut bytes = bytes.to_vec();
    let mut rest = &mut *bytes;
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (part, after) = rest.split_at_mut(length);
        rest = after;
        let mut input = Input { bytes: part };
        let mut reply = Reply { bytes: &mut answers, masking_key: FUZZ_MASKING_KEY };
        loop {
            match protocol.receive_with(&mut inflater, &mut input, &limits, &mut reply) {
                Ok(None) => break,
                Ok(Some(event)) => said.push(format!("{event:?}")),
                Err(error) => said.push(format!("{error:?}")),
            }
        }
        assert!(input.bytes.is_empty(), "`None` means that all bytes are consumed");
    }
    said.push(format!("{:?} {answers:02x?}", protocol.state()));
    said.push(format!("mid message: {}", protocol.is_mid_message()));
    said
}

/// For fuzzers: any bytes, either role, with and without permessage-deflate, cut anywhere, lead to the same events and
/// never to a panic. The first byte chooses the role (lowest bit), whether deflate is agreed to (highest), and how many of the
/// following are lengths of parts.
#[cfg(any(test, fuzzing))]
pub fn fuzz_cuts(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let deflate = (first & 0x80 != 0).then_some(Agreement { window: WindowBits::MOST });
    let lengths = usize::from((first & 0x7f) >> 1).min(8).min(rest.len());
    let (lengths, bytes) = rest.split_at(lengths);
    let new = || Protocol::new(role).with_deflate(deflate);
    let whole = transcript(&new, bytes, &mut std::iter::empty());
    let mut cuts = lengths.iter().map(|length| usize::from(*length)).cycle();
    assert_eq!(transcript(&new, bytes, &mut cuts), whole);
    assert_eq!(transcript(&new, bytes, &mut std::iter::repeat(1)), whole);
}

/// For fuzzers: frames made by the rules lead to what the rules say, however they are cut. The first byte chooses the role,
/// the second the length of the parts; then each frame is made of a byte for what it is, one for its length, and its payload.
#[cfg(any(test, fuzzing))]
pub fn fuzz_messages(data: &[u8]) {
    let Some((&[role, part], mut rest)) = data.split_first_chunk() else { return };
    let us = if role & 1 == 0 { Role::Server } else { Role::Client };
    let mut said = Expected::new(us);
    while let Some((&[what, length], after)) = rest.split_first_chunk()
        && !said.is_over
    {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        said.frame(what, payload);
    }
    let stream = mem::take(&mut said.stream);
    let expected = said.finish();
    for length in [usize::MAX, 1, usize::from(part)] {
        assert_eq!(
            transcript(&|| Protocol::new(us), &stream, &mut std::iter::repeat(length)),
            expected
        );
    }
}

/// A stream of frames under construction, and what it must lead to: the rules in a few lines, over whole frames.
#[cfg(any(test, fuzzing))]
struct Expected {
    us: Role,
    stream: Vec<u8>,
    said: Vec<String>,
    answers: Vec<u8>,
    message: Option<(MessageKind, Vec<u8>)>,
    is_over: bool,
}

#[cfg(any(test, fuzzing))]
impl Expected {
    fn new(us: Role) -> Self {
        let (stream, said, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { us, stream, said, answers, message: None, is_over: false }
    }

    fn frame(&mut self, what: u8, payload: &[u8]) {
        let is_final = what & 1 == 0;
        let control = payload.get(..payload.len().min(MAX_CONTROL_BYTES)).unwrap_or_default();
        match (what >> 1) % 8 {
            0 => {
                self.come(true, Opcode::Ping, control);
                self.said.push(format!("{:?}", Event::Ping(Cow::Borrowed(control))));
                self.answer(Opcode::Pong, control);
            }
            1 => {
                self.come(true, Opcode::Pong, control);
                self.said.push(format!("{:?}", Event::Pong(Cow::Borrowed(control))));
            }
            2 => self.close(control),
            choice => self.data(is_final, choice & 1 == 0, payload),
        }
    }

    fn data(&mut self, is_final: bool, is_text: bool, payload: &[u8]) {
        let (opcode, (kind, mut bytes)) = match self.message.take() {
            Some(message) => (Opcode::Continuation, message),
            None if is_text => (Opcode::Text, (MessageKind::Text, Vec::new())),
            None => (Opcode::Binary, (MessageKind::Binary, Vec::new())),
        };
        self.come(is_final, opcode, payload);
        bytes.extend_from_slice(payload);
        if bytes.len() > FUZZ_MESSAGE_BYTES {
            return self.fail(ProtocolError::MessageTooBig { limit: FUZZ_MESSAGE_BYTES });
        }
        if kind == MessageKind::Text
            && let Err(error) = str::from_utf8(&bytes)
            && (is_final || error.error_len().is_some())
        {
            return self.fail(ProtocolError::InvalidUtf8);
        }
        if !is_final {
            self.message = Some((kind, bytes));
            return;
        }
        let message = match kind {
            MessageKind::Text => Message::from_text(String::from_utf8(bytes).unwrap_or_default()),
            MessageKind::Binary => Message::from_bytes(bytes),
        };
        self.said.push(format!("{:?}", Event::Message(message)));
    }

    fn close(&mut self, body: &[u8]) {
        self.come(true, Opcode::Close, body);
        match CloseFrame::parse(body) {
            Err(error) => self.fail(error),
            Ok(close) => {
                let code = body.get(..2).unwrap_or_default().to_vec();
                self.answer(Opcode::Close, &code);
                self.said.push(format!("{:?}", Event::Close(close)));
                self.is_over = true;
            }
        }
    }

    fn fail(&mut self, error: ProtocolError) {
        let mut body = error.close_code().0.to_be_bytes().to_vec();
        body.extend(error.to_string().bytes());
        self.answer(Opcode::Close, &body);
        self.said.push(format!("{error:?}"));
        self.is_over = true;
    }

    /// A frame of the peer's.
    fn come(&mut self, is_final: bool, opcode: Opcode, payload: &[u8]) {
        let masking_key = match self.us {
            Role::Server => Some([0x37, 0xfa, 0x21, 0x3d]),
            Role::Client => None,
        };
        frame::encode(is_final, opcode, masking_key, payload, &mut self.stream);
    }

    /// A frame of ours.
    fn answer(&mut self, opcode: Opcode, payload: &[u8]) {
        let masking_key = match self.us {
            Role::Server => None,
            Role::Client => Some(FUZZ_MASKING_KEY),
        };
        frame::encode(true, opcode, masking_key, payload, &mut self.answers);
    }

    fn finish(mut self) -> Vec<String> {
        let state = if self.is_over { State::Closed } else { State::Open };
        self.said.push(format!("{state:?} {:02x?}", self.answers));
        let is_mid_message = self.message.is_some() && !self.is_over;
        self.said.push(format!("mid message: {is_mid_message}"));
        self.said
    }
}

#[cfg(test)]
#[path = "tests/protocol.rs"]
mod tests;

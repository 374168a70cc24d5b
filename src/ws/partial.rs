//! ④ What of a frame or a message is incomplete between two reads.
//!
//! ```text
//!  header   81 fe 01 │ 00 37 fa …      its beginning is kept, in place
//!  payload  … 7f 9f  │ 4d 51 …         unmasked, checked and appended as it comes; the wire's bytes are not kept
//! ```
//!
//! It lives on the heap and only while there is something incomplete. Knows no state and no answers: `protocol.rs` does.

use std::borrow::Cow;
use std::mem;

use super::deflate::{Agreement, Undo};
use super::error::ProtocolError;
use super::frame::{Header, MAX_HEADER_BYTES, Opcode};
use super::mask::unmask;
use super::message::{Assembly, Message, MessageKind};
use super::protocol::{Input, Role};

/// What a whole frame, or the last one of a message, says; before the law has judged it.
pub(super) enum Heard<'b> {
    Message(Message<'b>),
    Ping(Cow<'b, [u8]>),
    Pong(Cow<'b, [u8]>),
    Close(Cow<'b, [u8]>),
}

/// What is incomplete: a header, or a frame's payload; and around either, a fragmented message.
#[derive(Default, Debug)]
pub(super) struct Partial {
    /// Empty while `frame` is `Some`.
    pub(super) header: PartialHeader,
    /// The frame whose payload is not all here.
    frame: Option<PartialFrame>,
    /// What came of an incomplete control frame's payload; at most 125 bytes.
    control: Vec<u8>,
    /// The message under way, the incomplete frame's payload included.
    pub(super) message: Option<Assembly>,
}

#[derive(Debug)]
struct PartialFrame {
    header: Header,
    /// How much of the payload has come, and by that where in the masking key it goes on.
    taken: usize,
    /// How much is to come.
    left: u64,
}

impl Partial {
    pub(super) fn is_idle(&self) -> bool {
        self.header.bytes().is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Whether the next bytes are payload, not a header.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.frame.is_some()
    }

    pub(super) fn begin(&mut self, header: &Header) {
        self.begin_message(header);
        self.frame = Some(PartialFrame { header: *header, taken: 0, left: header.payload_bytes });
    }

    pub(super) fn begin_message(&mut self, header: &Header) {
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return,
        };
        self.message = Some(Assembly::new(kind, header.is_compressed, header.payload_bytes));
    }

    /// Takes what has come of the incomplete frame's payload.
    pub(super) fn go_on<'b>(
        &mut self,
        input: &mut Input<'_>,
        undo: &mut Undo<'_>,
    ) -> Result<Option<Heard<'b>>, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let part = input.take(usize::try_from(frame.left).unwrap_or(usize::MAX));
        if let Some(key) = frame.header.masking_key {
            unmask(part, key, frame.taken);
        }
        frame.taken += part.len();
        frame.left = frame.left.saturating_sub(part.len() as u64);
        let Header { opcode, is_final, .. } = frame.header;
        let is_complete = frame.left == 0;
        if is_complete {
            self.frame = None;
        }
        if !opcode.is_control() {
            return self.assemble(part, is_final && is_complete, undo);
        }
        self.control.extend_from_slice(part);
        if !is_complete {
            return Ok(None);
        }
        let payload = Cow::Owned(mem::take(&mut self.control));
        Ok(match opcode {
            Opcode::Close => Some(Heard::Close(payload)),
            Opcode::Ping => Some(Heard::Ping(payload)),
            Opcode::Pong => Some(Heard::Pong(payload)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => None,
        })
    }

    /// Appends to the message under way, and ends it if that was the last of it.
    pub(super) fn assemble<'b>(
        &mut self,
        part: &[u8],
        is_last: bool,
        undo: &mut Undo<'_>,
    ) -> Result<Option<Heard<'b>>, ProtocolError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        message.push(part)?;
        if !is_last {
            return Ok(None);
        }
        let message = self.message.take().map(|message| message.finish(undo)).transpose()?;
        Ok(message.map(Heard::Message))
    }
}

/// The beginning of a header whose end has not come.
#[derive(Default, Debug)]
pub(super) struct PartialHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    /// How many of them have come.
    filled: usize,
}

impl PartialHeader {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    pub(super) fn extend(&mut self, begun: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.filled).zip(begun) {
            *place = *byte;
            self.filled += 1;
        }
    }

    /// Takes bytes until the header is whole, and not one more.
    pub(super) fn complete(
        &mut self,
        input: &mut Input<'_>,
        us: Role,
        deflate: Option<Agreement>,
    ) -> Result<Option<Header>, ProtocolError> {
        while !input.bytes.is_empty() {
            self.extend(input.take(1));
            if let Some((header, _)) = Header::decode_agreed(self.bytes(), us, deflate)? {
                self.filled = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

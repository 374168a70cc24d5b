//! ④ Fragments to messages, within limits.
//!
//! ```text
//!  one whole frame      ───────────────────────────────▶ Message, borrowed: no copy, no allocation
//!  a part of a payload  ──▶ Assembly ──▶ … ──▶ Assembly ──▶ Message, owned; its memory goes with it
//!  a compressed one     ──▶ Assembly, as it came ──▶ … ─ inflate ─▶ Message, owned
//! ```
//!
//! A compressed message is inflated when its last byte is here: until then one inflater may serve the other connections of
//! a core, and what waits for a slow peer is the little that it sent. Text is a `str` from the moment it is checked, so it is checked once. Knows no frames.

use std::borrow::Cow;

use super::deflate::Undo;
use super::error::ProtocolError;
use super::utf8;

/// A message's announced length is a stranger's word: at most this much memory is set aside on it. What has
/// come takes what it needs.
const RESERVE_BYTES: usize = 16 * 1024;

/// What one connection may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A message, all its fragments together, after unmasking.
    pub message_bytes: usize,
}

/// Text or binary (RFC 6455 §5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// UTF-8, already checked.
    Text,
    /// Bytes.
    Binary,
}

/// A whole message from the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'b> {
    payload: Payload<'b>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Payload<'b> {
    Text(Cow<'b, str>),
    Binary(Cow<'b, [u8]>),
}

impl<'b> Message<'b> {
    /// A text message.
    pub fn from_text(text: impl Into<Cow<'b, str>>) -> Self {
        Self { payload: Payload::Text(text.into()) }
    }

    /// A binary message.
    pub fn from_bytes(bytes: impl Into<Cow<'b, [u8]>>) -> Self {
        Self { payload: Payload::Binary(bytes.into()) }
    }

    /// A message of one frame's payload.
    pub(super) fn check(kind: MessageKind, payload: &'b [u8]) -> Result<Self, ProtocolError> {
        match kind {
            MessageKind::Text => utf8::check_whole(payload).map(Self::from_text),
            MessageKind::Binary => Ok(Self::from_bytes(payload)),
        }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        match self.payload {
            Payload::Text(_) => MessageKind::Text,
            Payload::Binary(_) => MessageKind::Binary,
        }
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        self.kind() == MessageKind::Text
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// The text, or `None` for a binary message.
    pub fn text(&self) -> Option<&str> {
        match &self.payload {
            Payload::Text(text) => Some(text),
            Payload::Binary(_) => None,
        }
    }

    /// The payload, taken out.
    pub fn into_bytes(self) -> Cow<'b, [u8]> {
        match self.payload {
            Payload::Text(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Payload::Text(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            Payload::Binary(bytes) => bytes,
        }
    }
}

/// A message under way: what has come of it, unmasked and checked.
#[derive(Debug)]
pub(super) enum Assembly {
    Text(utf8::Incremental),
    Binary(Vec<u8>),
    /// What has come of the compressed message, still compressed.
    Compressed(MessageKind, Vec<u8>),
}

impl Assembly {
    /// Begins a message whose first frame announces so many bytes.
    pub(super) fn new(kind: MessageKind, is_compressed: bool, announced: u64) -> Self {
        let bytes = usize::try_from(announced).map_or(RESERVE_BYTES, |n| n.min(RESERVE_BYTES));
        match kind {
            kind if is_compressed => Self::Compressed(kind, Vec::with_capacity(bytes)),
            MessageKind::Text => Self::Text(utf8::Incremental::with_capacity(bytes)),
            MessageKind::Binary => Self::Binary(Vec::with_capacity(bytes)),
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(..))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Compressed(_, bytes) => bytes.len(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => text.push(bytes),
            Self::Binary(all) | Self::Compressed(_, all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    pub(super) fn finish<'b>(self, undo: &mut Undo<'_>) -> Result<Message<'b>, ProtocolError> {
        match self {
            Self::Text(text) => text.finish().map(Message::from_text),
            Self::Binary(bytes) => Ok(Message::from_bytes(bytes)),
            Self::Compressed(kind, bytes) => undo.message(kind, &bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::Inflater;

    fn assembled(kind: MessageKind, parts: &[&[u8]]) -> Result<Message<'static>, ProtocolError> {
        let mut assembly = Assembly::new(kind, false, 0);
        for part in parts {
            assembly.push(part)?;
        }
        assembly.finish(&mut Undo { inflater: &mut Inflater::default(), limit: 100 })
    }

    #[test]
    fn parts_become_one_message() {
        let message = assembled(MessageKind::Text, &[b"\xe2", b"\x82\xac", b"", b"!"]).unwrap();
        assert_eq!(message.text(), Some("€!"));
        assert_eq!(message.into_bytes(), "€!".as_bytes());
        let message = assembled(MessageKind::Binary, &[b"\xff", b"\xfe"]).unwrap();
        assert_eq!((message.kind(), message.bytes()), (MessageKind::Binary, &b"\xff\xfe"[..]));
    }

    #[test]
    fn text_that_ends_inside_a_character_is_refused() {
        assert_eq!(assembled(MessageKind::Text, &[b"\xe2\x82"]), Err(ProtocolError::InvalidUtf8));
    }

    #[test]
    fn binary_message_has_no_text() {
        assert_eq!(Message::from_bytes(&b"abc"[..]).text(), None);
        assert!(Message::from_text("abc").is_text());
    }

    #[test]
    fn whole_payload_is_borrowed() {
        let payload = b"abc";
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let message = Message::check(kind, payload).unwrap();
            assert!(matches!(message.into_bytes(), Cow::Borrowed(b"abc")));
        }
        assert_eq!(Message::check(MessageKind::Text, b"\xff"), Err(ProtocolError::InvalidUtf8));
    }

    #[test]
    fn announced_length_sets_little_memory_aside() {
        for (kind, is_compressed) in
            [(MessageKind::Text, false), (MessageKind::Binary, false), (MessageKind::Text, true)]
        {
            let capacity = match Assembly::new(kind, is_compressed, u64::MAX) {
                Assembly::Text(text) => text.capacity(),
                Assembly::Binary(bytes) | Assembly::Compressed(_, bytes) => bytes.capacity(),
            };
            assert!(capacity <= RESERVE_BYTES, "{capacity}");
        }
    }
}

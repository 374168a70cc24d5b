//! ⑦ One message, encoded once, sent to many.
//!
//! A server's frames carry no masking key, so one frame serves every connection: fan-out copies a pointer, never a
//! payload. Knows no connection.

use std::sync::Arc;

use super::frame::{self, Header, Opcode};
use super::message::MessageKind;
use super::protocol::Role;

/// One message as an unmasked frame of a server, ready for any number of connections. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Always one whole frame, as `frame::encode` writes it.
    frame: Arc<[u8]>,
}

impl Prepared {
    /// Encodes one unfragmented message.
    pub fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        frame::encode(true, kind.opcode(), None, payload, &mut frame);
        Self { frame: frame.into() }
    }

    /// The frame, header and payload.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The payload alone.
    pub fn payload(&self) -> &[u8] {
        let header = self.header().map_or(0, |(_, bytes)| bytes);
        self.frame.get(header..).unwrap_or_default()
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        match self.header() {
            Some((Header { opcode: Opcode::Text, .. }, _)) => MessageKind::Text,
            _ => MessageKind::Binary,
        }
    }

    /// Read back rather than stored: every subscriber's outbox holds one of these.
    fn header(&self) -> Option<(Header, usize)> {
        Header::decode(&self.frame, Role::Client).ok().flatten()
    }
}

impl MessageKind {
    /// The opcode that begins such a message.
    pub(super) const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_prepared_is_read_back() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for length in [0, 1, 125, 126, 65_535, 65_536] {
                let payload = vec![b'x'; length];
                let prepared = Prepared::new(kind, &payload);
                assert_eq!((prepared.kind(), prepared.payload()), (kind, &payload[..]));
                assert!(prepared.frame().ends_with(&payload));
            }
        }
    }

    #[test]
    fn clones_share_their_bytes() {
        let prepared = Prepared::new(MessageKind::Text, b"once");
        assert!(std::ptr::eq(prepared.frame(), prepared.clone().frame()));
        assert!(size_of::<Prepared>() <= 2 * size_of::<usize>());
    }
}

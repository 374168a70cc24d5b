//! ⑦ One message, encoded once, sent to many.
//!
//! ```text
//!  Prepared ─┐
//!  Prepared ─┼─▶ frame                       made with it
//!  Prepared ─┘   compressed frame, or none   made by the first core that has a subscriber for it, for all cores
//! ```
//!
//! A server's frames carry no masking key, and its messages no context, so one frame serves every connection: fan-out
//! copies a pointer, never a payload. Knows no connection.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::deflate::{Deflater, WindowBits};
use super::frame::{self, Header, Opcode};
use super::message::MessageKind;
use super::protocol::Role;

/// Which of a message's frames a connection gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Plain,
    /// Where there is one. To be chosen once somebody has tried to make it: a frame that is sent in parts must not change.
    Compressed,
}

/// One message as an unmasked frame of a server, ready for any number of connections. Cloning copies a pointer.
#[derive(Clone)]
pub struct Prepared(Arc<Frames>);

struct Frames {
    /// Always one whole frame, as `frame::encode` writes it.
    plain: Vec<u8>,
    /// The same message compressed, for the largest window. Set once somebody has tried; `None` if it is not shorter.
    /// Two cores that try at the same moment both do the work, and one of the results is kept: neither waits.
    compressed: OnceLock<Option<Box<[u8]>>>,
}

impl Prepared {
    /// Encodes one unfragmented message.
    pub fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut plain = Vec::new();
        frame::encode(true, kind.opcode(), None, payload, &mut plain);
        Self(Arc::new(Frames { plain, compressed: OnceLock::new() }))
    }

    /// The frame, header and payload.
    pub fn frame(&self) -> &[u8] {
        &self.0.plain
    }

    /// The frame of the compressed message, if one was made.
    pub fn compressed_frame(&self) -> Option<&[u8]> {
        self.0.compressed.get()?.as_deref()
    }

    /// The frame in that form; the plain one where there is no other.
    pub(crate) fn frame_as(&self, form: Form) -> &[u8] {
        match form {
            Form::Plain => self.frame(),
            Form::Compressed => self.compressed_frame().unwrap_or(self.frame()),
        }
    }

    /// The frame of the compressed message, made if nobody has tried. `None`: the message is below the threshold, or would
    /// not be shorter; so it stays.
    pub fn compress(&self, deflater: &mut Deflater) -> Option<&[u8]> {
        if self.0.compressed.get().is_none() {
            let compressed = deflater.deflate(WindowBits::MOST, self.payload());
            let frame = compressed.map(|compressed| encode_compressed(self.kind(), compressed));
            // An error says that another core was faster: its frame is as good.
            let _ = self.0.compressed.set(frame);
        }
        self.compressed_frame()
    }

    /// The frame for a connection, compressed by this call if it is the first that wants it so.
    pub(crate) fn in_form(&self, form: Form, deflater: &mut Deflater) -> &[u8] {
        match form {
            Form::Plain => self.frame(),
            Form::Compressed => self.compress(deflater).unwrap_or(self.frame()),
        }
    }

    /// The payload alone.
    pub fn payload(&self) -> &[u8] {
        let header = self.header().map_or(0, |(_, bytes)| bytes);
        self.frame().get(header..).unwrap_or_default()
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
        Header::decode(self.frame(), Role::Client).ok().flatten()
    }
}

fn encode_compressed(kind: MessageKind, compressed: &[u8]) -> Box<[u8]> {
    let mut frame = Vec::new();
    let header = Header {
        is_final: true,
        is_compressed: true,
        opcode: kind.opcode(),
        masking_key: None,
        payload_bytes: compressed.len() as u64,
    };
    header.encode_with(compressed, &mut frame);
    frame.into()
}

impl PartialEq for Prepared {
    /// The same message; whether somebody has compressed it is no part of it.
    fn eq(&self, other: &Self) -> bool {
        self.frame() == other.frame()
    }
}

impl Eq for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.kind()).field(&self.payload()).finish()
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
    use crate::ws::{Compression, Event, Inflater, Input, Limits, Protocol, Reply};

    fn deflater(threshold_bytes: usize) -> Deflater {
        Deflater::new(Compression { threshold_bytes, ..Compression::default() })
    }

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

    #[test]
    fn message_is_compressed_once_for_all_who_share_it() {
        let prepared = Prepared::new(MessageKind::Text, &[b'x'; 2000]);
        assert_eq!(prepared.compressed_frame(), None);
        let (mut one, mut two) = (deflater(1024), deflater(1024));
        let first = prepared.clone();
        let frame = first.compress(&mut one).unwrap();
        for _ in 0..10 {
            assert!(std::ptr::eq(prepared.clone().compress(&mut two).unwrap(), frame));
        }
        assert_eq!((one.take_runs(), two.take_runs()), (1, 0));
        assert!(frame.len() < 50, "{}", frame.len());
    }

    #[test]
    fn message_that_would_not_be_shorter_is_tried_once() {
        let prepared = Prepared::new(MessageKind::Text, b"short");
        let mut deflater = deflater(0);
        assert_eq!(prepared.compress(&mut deflater), None);
        assert_eq!(prepared.compress(&mut deflater), None);
        assert_eq!(deflater.take_runs(), 1);
    }

    #[test]
    fn message_below_the_threshold_is_not_tried() {
        let prepared = Prepared::new(MessageKind::Text, &[b'x'; 1023]);
        let mut deflater = deflater(1024);
        assert_eq!(prepared.compress(&mut deflater), None);
        assert_eq!(deflater.take_runs(), 0);
    }

    #[test]
    fn both_frames_say_the_same() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let payload = "both say the same, é. ".repeat(300);
            let prepared = Prepared::new(kind, payload.as_bytes());
            let compressed = prepared.compress(&mut deflater(0)).unwrap();
            assert!(compressed.len() < prepared.frame().len() / 10);
            let agreement = crate::ws::Agreement { window: WindowBits::MOST };
            for frame in [prepared.frame(), compressed] {
                let mut us = Protocol::new(Role::Client).with_deflate(Some(agreement));
                let mut bytes = frame.to_vec();
                let mut input = Input { bytes: &mut bytes };
                let mut reply = Reply { bytes: &mut Vec::new(), masking_key: [0; 4] };
                let limits = Limits { message_bytes: 100_000 };
                let mut inflater = Inflater::default();
                let event = us.receive_with(&mut inflater, &mut input, &limits, &mut reply);
                let Ok(Some(Event::Message(message))) = event else { panic!("{event:?}") };
                assert_eq!((message.kind(), message.bytes()), (kind, payload.as_bytes()));
            }
        }
    }

    #[test]
    fn cores_that_compress_at_the_same_moment_end_with_one_frame() {
        let prepared = Prepared::new(MessageKind::Text, &[b'x'; 100_000]);
        let compress = || prepared.compress(&mut deflater(0)).map(|frame| frame.as_ptr() as usize);
        let frames: Vec<_> = std::thread::scope(|scope| {
            let cores: Vec<_> = (0..4).map(|_| scope.spawn(compress)).collect();
            cores.into_iter().map(|core| core.join().unwrap()).collect()
        });
        assert!(frames.iter().all(|frame| frame.is_some() && *frame == frames[0]));
    }
}

//! What compresses and what undoes it (RFC 7692 §7.2): one of each serves a core, message by message.
//!
//! ```text
//!  sent      payload ─▶ deflate, flushed to a byte border ─▶ f2 48 cd c9 c9 07 00 │ 00 00 ff ff
//!            ╰ of the threshold at least                     ╰ the wire's, if it is shorter ╯   ╰ cut off
//!  received  f2 48 cd c9 c9 07 00 ─▶ + 00 00 ff ff ─▶ inflate, as far as the limit ─▶ + 01 00 00 ff ff: nothing may come of it,
//!                                                                                     and it must be read as the end
//! ```
//!
//! The empty last block that is put behind a message is how one that is cut short is told from a whole one: only between two
//! blocks is it what it looks like. Memory is taken on first use, so that whoever never compresses pays nothing.
//! Knows no frames and no connection.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::super::error::ProtocolError;
use super::super::message::{Message, MessageKind};
use super::negotiation::WindowBits;

/// What the sender cuts off and the receiver puts back (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty block that is the last of its stream.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The least window that zlib compresses with; for smaller ones we do not compress, which a sender may always choose.
const LEAST_DEFLATE_BITS: u8 = 9;
/// Windows of 9 to 15 bits.
const WINDOWS: usize = 7;

/// Room for a message's first bytes. Compressed JSON grows by about four.
const LEAST_ROOM_BYTES: usize = 256;

/// Kept of the scratch space after a larger message.
const SCRATCH_KEPT_BYTES: usize = 64 * 1024;

/// When and how hard to compress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compression {
    /// Messages of fewer bytes are sent as they are.
    pub threshold_bytes: usize,
    /// From 1, fast, to 9, small.
    pub level: u32,
}

impl Default for Compression {
    fn default() -> Self {
        Self { threshold_bytes: 1024, level: 6 }
    }
}

/// Compresses messages, each by itself.
#[derive(Debug)]
pub struct Deflater {
    compression: Compression,
    /// By window; most cores only ever need the largest.
    engines: [Option<Compress>; WINDOWS],
    scratch: Vec<u8>,
    runs: u64,
}

impl Deflater {
    /// Nothing is set aside before the first message.
    pub fn new(compression: Compression) -> Self {
        Self { compression, engines: Default::default(), scratch: Vec::new(), runs: 0 }
    }

    /// How often it was set to work since the last call.
    pub fn take_runs(&mut self) -> u64 {
        std::mem::take(&mut self.runs)
    }

    /// The payload of the compressed message, without the tail. `None`: it is shorter as it is, or too short to try, or the
    /// window is too small for us.
    pub(in super::super) fn deflate(
        &mut self,
        window: WindowBits,
        payload: &[u8],
    ) -> Option<&[u8]> {
        if payload.len() < self.compression.threshold_bytes.max(1) {
            return None;
        }
        let place = window.get().checked_sub(LEAST_DEFLATE_BITS)?;
        let engine = self.engines.get_mut(usize::from(place))?;
        let level = flate2::Compression::new(self.compression.level.clamp(1, 9));
        let engine = engine
            .get_or_insert_with(|| Compress::new_with_window_bits(level, false, window.get()));
        self.runs += 1;
        engine.reset();
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_KEPT_BYTES);
        // What does not fit in here is not shorter than the payload.
        let room = payload.len() - 1 + TAIL.len();
        self.scratch.reserve_exact(room);
        engine.compress_vec(payload, &mut self.scratch, FlushCompress::Sync).ok()?;
        let is_whole = engine.total_in() == payload.len() as u64
            // zlib has flushed everything if there is room left.
            && self.scratch.len() < self.scratch.capacity()
            && self.scratch.len() <= room;
        if is_whole { self.scratch.strip_suffix(&TAIL) } else { None }
    }
}

/// Undoes the compression of messages, each by itself.
#[derive(Default, Debug)]
pub struct Inflater {
    /// 32 KiB and more; the largest window suits every sender.
    engine: Option<Decompress>,
}

/// What a connection needs to hear a compressed message.
pub(in super::super) struct Undo<'a> {
    pub(in super::super) inflater: &'a mut Inflater,
    /// The message limit.
    pub(in super::super) limit: usize,
}

impl Undo<'_> {
    /// The message in a compressed payload.
    pub(in super::super) fn message(
        &mut self,
        kind: MessageKind,
        compressed: &[u8],
    ) -> Result<Message<'static>, ProtocolError> {
        let payload = self.inflater.inflate(compressed, self.limit)?;
        match kind {
            // Checked once, as the whole that it is here.
            MessageKind::Text => String::from_utf8(payload)
                .map(Message::from_text)
                .map_err(|_| ProtocolError::InvalidUtf8),
            MessageKind::Binary => Ok(Message::from_bytes(payload)),
        }
    }

    /// How much of a compressed message is kept until its end has come. What cannot be compressed is a little longer
    /// compressed: five bytes for each block of it.
    pub(in super::super) fn compressed_limit(limit: usize) -> usize {
        limit.saturating_add(limit / 16).saturating_add(64)
    }
}

impl Inflater {
    fn inflate(&mut self, compressed: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        let engine = self.engine.get_or_insert_with(|| Decompress::new(false));
        engine.reset(false);
        let room = compressed.len().saturating_mul(4).max(LEAST_ROOM_BYTES);
        let mut out = Vec::with_capacity(room.min(limit.saturating_add(1)));
        feed(engine, compressed, &mut out, limit)?;
        feed(engine, &TAIL, &mut out, limit)?;
        let bytes = out.len();
        let has_ended = feed(engine, &LAST_BLOCK, &mut out, limit)?;
        if has_ended && out.len() == bytes { Ok(out) } else { Err(ProtocolError::InvalidDeflate) }
    }
}

/// Inflates until all of `input` is consumed. True if it ended with the end of a stream.
///
/// A stream may end inside a message (RFC 7692 §7.2.3.4: a block with BFINAL set): what follows is another one.
fn feed(
    engine: &mut Decompress,
    mut input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, ProtocolError> {
    loop {
        if out.len() == out.capacity() {
            // Doubled, but never far past the limit: a byte more is all it takes to know.
            let more = out.len().max(LEAST_ROOM_BYTES);
            out.reserve_exact(more.min(limit.saturating_add(1).saturating_sub(out.len())));
        }
        let before = engine.total_in();
        let status = engine
            .decompress_vec(input, out, FlushDecompress::Sync)
            .map_err(|_| ProtocolError::InvalidDeflate)?;
        let consumed = usize::try_from(engine.total_in() - before).unwrap_or(usize::MAX);
        input = input.get(consumed..).unwrap_or_default();
        if out.len() > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        let is_full = out.len() == out.capacity();
        match status {
            Status::StreamEnd => {
                engine.reset(false);
                if input.is_empty() {
                    return Ok(true);
                }
            }
            Status::Ok | Status::BufError if is_full => {}
            Status::Ok | Status::BufError if input.is_empty() => return Ok(false),
            Status::Ok if consumed > 0 => {}
            Status::Ok | Status::BufError => return Err(ProtocolError::InvalidDeflate),
        }
    }
}

/// For fuzzers: whatever is inflated keeps the limit, and is the same behind another message; and what is deflated, with any
/// window, is shorter, comes back, and is refused by a limit of one byte less. The first two bytes are the limit.
#[cfg(any(test, fuzzing))]
pub fn fuzz_deflate(data: &[u8]) {
    let Some((limit, bytes)) = data.split_first_chunk::<2>() else { return };
    let limit = usize::from(u16::from_be_bytes(*limit));
    let mut inflater = Inflater::default();
    let first = inflater.inflate(bytes, limit);
    assert!(first.as_ref().is_ok_and(|out| out.len() <= limit) || first.is_err());
    let (before, _) = bytes.split_at(bytes.len() / 2);
    let _ = inflater.inflate(before, limit);
    assert_eq!(inflater.inflate(bytes, limit), first, "another message came between");

    let compression =
        Compression { threshold_bytes: 0, level: 1 + u32::from(bytes.len().is_multiple_of(2)) * 8 };
    let mut deflater = Deflater::new(compression);
    for window in ["8", "9", "12", "15"].into_iter().filter_map(WindowBits::parse) {
        let Some(compressed) = deflater.deflate(window, bytes) else { continue };
        assert!(compressed.len() < bytes.len());
        assert_eq!(inflater.inflate(compressed, bytes.len()).as_deref(), Ok(bytes));
        let limit = bytes.len() - 1;
        let refused = Err(ProtocolError::MessageTooBig { limit });
        assert_eq!(inflater.inflate(compressed, limit), refused);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    fn inflated(compressed: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        Inflater::default().inflate(compressed, limit)
    }

    fn check(compressed: &[u8], expected: &[u8]) {
        assert_eq!(inflated(compressed, LIMIT).unwrap(), expected, "{compressed:02x?}");
    }

    fn check_refused(compressed: &[u8]) {
        let refused = Err(ProtocolError::InvalidDeflate);
        assert_eq!(inflated(compressed, LIMIT), refused, "{compressed:02x?}");
    }

    fn deflater(threshold_bytes: usize) -> Deflater {
        Deflater::new(Compression { threshold_bytes, ..Compression::default() })
    }

    fn window(bits: u8) -> WindowBits {
        WindowBits::parse(&bits.to_string()).unwrap()
    }

    #[test]
    fn payloads_of_the_rfc_are_inflated() {
        // RFC 7692 §7.2.3.1 to §7.2.3.6, to the letter.
        check(b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello");
        check(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello");
        check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello");
        check(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello");
        check(b"\x00", b"");
    }

    #[test]
    fn stream_that_ends_inside_a_message_is_followed_by_another() {
        let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        check(&[&hello[..], hello, b"\x00"].concat(), b"HelloHello");
        check(&[&hello[..], b"\xf2\x48\xcd\xc9\xc9\x07\x00"].concat(), b"HelloHello");
        // Without the empty block that RFC 7692 §7.2.3.4 asks for, the tail is no block.
        check_refused(hello);
    }

    #[test]
    fn another_stream_knows_nothing_of_the_one_before() {
        // A copy of three bytes from five back, behind a stream of "Hello" that has ended; and the same without its end.
        let copy = b"\x02\x12\x00\x00";
        check_refused(&[b"\xf3\x48\xcd\xc9\xc9\x07\x00", &copy[..]].concat());
        check(&[b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", &copy[..]].concat(), b"HelloHel");
    }

    #[test]
    fn message_knows_nothing_of_the_one_before() {
        let mut inflater = Inflater::default();
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflater.inflate(hello, LIMIT).unwrap(), b"Hello");
        // RFC 7692 §7.2.3.2: what "Hello" is to an end that has taken the window over.
        let taken_over = b"\xf2\x00\x11\x00\x00";
        assert_eq!(inflater.inflate(taken_over, LIMIT), Err(ProtocolError::InvalidDeflate));
        assert_eq!(inflater.inflate(hello, LIMIT).unwrap(), b"Hello");
    }

    #[test]
    fn what_is_no_deflate_data_is_refused() {
        check_refused(b"");
        check_refused(b"\xff");
        check_refused(b"\x06");
        check_refused(b"Hello");
        // A stored block whose length and its complement disagree.
        check_refused(b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00");
    }

    #[test]
    fn message_that_is_cut_short_is_refused() {
        let payload: Vec<u8> =
            (0..500_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let mut deflater = deflater(0);
        let whole = deflater.deflate(WindowBits::MOST, &payload).unwrap().to_vec();
        assert_eq!(inflated(&whole, 10_000).unwrap(), payload);
        for cut in 0..whole.len() {
            assert!(inflated(&whole[..cut], 10_000).is_err(), "after {cut} of {}", whole.len());
        }
        // A last block that takes the tail, and the block behind it, for its own bytes.
        check_refused(b"\x01\x09\x00\xf6\xff");
    }

    #[test]
    fn inflating_stops_at_the_limit() {
        let zeros = vec![0; 5_000_000];
        let mut deflater = deflater(0);
        let bomb = deflater.deflate(WindowBits::MOST, &zeros).unwrap();
        assert!(bomb.len() < 6_000);
        for limit in [0, 1, 1000, 1_000_000] {
            let mut stopped = Ok(Vec::new());
            let memory = allocation_counter::measure(|| stopped = inflated(bomb, limit));
            assert_eq!(stopped, Err(ProtocolError::MessageTooBig { limit }));
            let most = 2 * limit as u64 + 128 * 1024;
            assert!(memory.bytes_max <= most, "{} for {limit}", memory.bytes_max);
        }
        assert_eq!(inflated(bomb, zeros.len()).unwrap(), zeros);
        let limit = zeros.len() - 1;
        assert_eq!(inflated(bomb, limit), Err(ProtocolError::MessageTooBig { limit }));
    }

    #[test]
    fn message_below_the_threshold_is_not_compressed() {
        let payload = [b'x'; 1024];
        let mut deflater = Deflater::new(Compression::default());
        assert_eq!(deflater.deflate(WindowBits::MOST, &payload[..1023]), None);
        assert_eq!(deflater.take_runs(), 0);
        assert!(deflater.deflate(WindowBits::MOST, &payload).is_some());
        assert_eq!(deflater.take_runs(), 1);
    }

    #[test]
    fn message_that_would_not_be_shorter_is_not_compressed() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        for length in [1, 2, 10, 1000, 100_000] {
            assert_eq!(deflater(0).deflate(WindowBits::MOST, &noise[..length]), None, "{length}");
        }
        assert_eq!(deflater(0).deflate(WindowBits::MOST, b""), None);
    }

    #[test]
    fn agreed_window_is_kept() {
        // The second half repeats the first from 2000 bytes back: a window of 512 bytes does not reach it.
        let half: Vec<u8> =
            (0..500_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let payload = [&half[..], &half].concat();
        let mut deflater = deflater(0);
        assert_eq!(deflater.deflate(window(8), &payload), None);
        let small = deflater.deflate(window(9), &payload).map(<[u8]>::len);
        let large = deflater.deflate(window(12), &payload).map(<[u8]>::len).unwrap();
        assert!(small.is_none_or(|small| small > large + 1000), "{small:?} {large}");
        for bits in 9..=15 {
            let text = "a text of words, and of words again. ".repeat(100);
            let compressed = deflater.deflate(window(bits), text.as_bytes()).unwrap();
            let mut strict = Decompress::new_with_window_bits(false, bits);
            let mut out = Vec::with_capacity(text.len() + 1);
            strict.decompress_vec(compressed, &mut out, FlushDecompress::Sync).unwrap();
            assert_eq!(out, text.as_bytes(), "{bits}");
        }
    }

    proptest! {
        #[test]
        fn what_is_deflated_is_inflated(pieces in vec("[a-f]{0,9}|\\PC{0,30}", 0..60), repeat in 1..9_usize, bits in 9..=15_u8) {
            let payload = pieces.concat().repeat(repeat);
            let mut deflater = deflater(0);
            if let Some(compressed) = deflater.deflate(window(bits), payload.as_bytes()) {
                prop_assert!(compressed.len() < payload.len());
                let inflated = inflated(compressed, payload.len()).unwrap();
                prop_assert_eq!(inflated, payload.as_bytes());
            }
        }

        #[test]
        fn no_bytes_at_all_pass_the_limit_or_panic(bytes in vec(any::<u8>(), 0..200), limit in 0..300_usize) {
            if let Ok(payload) = inflated(&bytes, limit) {
                prop_assert!(payload.len() <= limit);
            }
        }
    }
}

//! ④ Frame headers (RFC 6455 §5.2): decode, encode.
//!
//! ```text
//!  byte 0                    byte 1               0, 2 or 8 bytes     0 or 4 bytes
//! ┌─────┬────────┬─────────┬──────┬────────────┬───────────────────┬─────────────┬─────────┐
//! │ FIN │ RSV1-3 │ opcode  │ MASK │ length, 7b │ length, 16 or 64b │ masking key │ payload │
//! └─────┴────────┴─────────┴──────┴────────────┴───────────────────┴─────────────┴─────────┘
//!                                   126 ──────▶ 16b   127 ──────▶ 64b
//! ```
//!
//! Each byte is judged as soon as it is there, in order; so one stream earns one error, however it is cut.
//! Knows one frame; what may follow what is `protocol.rs`.

use super::deflate::Agreement;
use super::error::ProtocolError;
use super::mask::unmask;
use super::message::MessageKind;
use super::protocol::Role;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1: with permessage-deflate, the message that begins here is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
/// Stands in the seven bits for a length of 16 bits.
const LENGTH_16: u8 = 126;
/// Stands in the seven bits for a length of 64 bits.
const LENGTH_64: u8 = 127;

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// More of the message under way.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Begins or ends the closing handshake.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
}

impl Opcode {
    fn read(bits: u8) -> Result<Self, ProtocolError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            opcode => Err(ProtocolError::ReservedOpcode { opcode }),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Close, ping and pong: short, never fragmented, allowed between the fragments of a message (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// All of a frame but its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether this frame is its message's last.
    pub is_final: bool,
    /// Whether it begins a compressed message (RFC 7692 §6).
    pub is_compressed: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The key, if the payload is masked.
    pub masking_key: Option<[u8; 4]>,
    /// The payload's length.
    pub payload_bytes: u64,
}

impl Header {
    /// Reads a header from the front of `bytes`, and says how long it is. `None`: more bytes are needed, and those that
    /// are here are sound. `us` decides whether frames must be masked or must not (RFC 6455 §5.1). No extension is
    /// agreed to.
    pub fn decode(bytes: &[u8], us: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::decode_agreed(bytes, us, None)
    }

    /// The same, where compressed messages may be agreed to.
    pub fn decode_agreed(
        bytes: &[u8],
        us: Role,
        deflate: Option<Agreement>,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (is_final, is_compressed, opcode) = Self::decode_first(first, deflate)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        Self::check_second(second, us, is_final, opcode)?;
        let Some((payload_bytes, rest)) = decode_length(second & !MASK, rest)? else {
            return Ok(None);
        };
        let (masking_key, rest) = match us {
            Role::Client => (None, rest),
            Role::Server => match rest.split_first_chunk::<4>() {
                Some((key, rest)) => (Some(*key), rest),
                None => return Ok(None),
            },
        };
        let header = Self { is_final, is_compressed, opcode, masking_key, payload_bytes };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    fn decode_first(
        first: u8,
        deflate: Option<Agreement>,
    ) -> Result<(bool, bool, Opcode), ProtocolError> {
        let without_meaning = if deflate.is_some() { RESERVED & !COMPRESSED } else { RESERVED };
        if first & without_meaning != 0 {
            return Err(ProtocolError::ReservedBits { bits: (first & RESERVED) >> 4 });
        }
        let opcode = Opcode::read(first & OPCODE)?;
        let is_compressed = first & COMPRESSED != 0;
        // RFC 7692 §6.1: only the frame that begins a message says what the message is.
        if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(ProtocolError::CompressionMisplaced { opcode });
        }
        Ok((first & FIN != 0, is_compressed, opcode))
    }

    fn check_second(
        second: u8,
        us: Role,
        is_final: bool,
        opcode: Opcode,
    ) -> Result<(), ProtocolError> {
        let length = second & !MASK;
        // RFC 6455 §5.1: fail, never repair. Masking keeps a hostile page's bytes from reading as HTTP to a cache on
        // the way (§10.3).
        match (us, second & MASK != 0) {
            (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
            (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        if opcode.is_control() {
            if !is_final {
                return Err(ProtocolError::ControlFragmented);
            }
            if usize::from(length) > MAX_CONTROL_BYTES {
                return Err(ProtocolError::ControlTooLong { length });
            }
        }
        Ok(())
    }

    /// Appends the header, its length in the shortest form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fin = if self.is_final { FIN } else { 0 };
        let mask = if self.masking_key.is_some() { MASK } else { 0 };
        let compressed = if self.is_compressed { COMPRESSED } else { 0 };
        let first = fin | compressed | self.opcode.bits();
        match (u8::try_from(self.payload_bytes), u16::try_from(self.payload_bytes)) {
            (Ok(length), _) if length < LENGTH_16 => out.extend_from_slice(&[first, mask | length]),
            (_, Ok(length)) => {
                out.extend_from_slice(&[first, mask | LENGTH_16]);
                out.extend_from_slice(&length.to_be_bytes());
            }
            (_, Err(_)) => {
                out.extend_from_slice(&[first, mask | LENGTH_64]);
                out.extend_from_slice(&self.payload_bytes.to_be_bytes());
            }
        }
        if let Some(key) = self.masking_key {
            out.extend(key);
        }
    }
}

impl Header {
    /// Appends the header, and the payload that it announces.
    pub(super) fn encode_with(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(MAX_HEADER_BYTES + payload.len());
        self.encode(out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let (Some(key), Some(copy)) = (self.masking_key, out.get_mut(start..)) {
            unmask(copy, key, 0);
        }
    }
}

/// The header of the frame that clients send most: a short message, whole and not compressed.
pub(super) struct Short {
    pub(super) kind: MessageKind,
    pub(super) masking_key: [u8; 4],
    pub(super) payload_bytes: usize,
}

impl Short {
    pub(super) const HEADER_BYTES: usize = 6;
    const TEXT: u8 = FIN | Opcode::Text.bits();
    const BINARY: u8 = FIN | Opcode::Binary.bits();

    /// `None`: it is another frame, or not all of its payload is here.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[first, second, masking_key @ ..], rest) =
            bytes.split_first_chunk::<{ Self::HEADER_BYTES }>()?;
        let kind = match first {
            Self::TEXT => MessageKind::Text,
            Self::BINARY => MessageKind::Binary,
            _ => return None,
        };
        let length = second.checked_sub(MASK).filter(|length| *length < LENGTH_16)?;
        let payload_bytes = usize::from(length);
        (payload_bytes <= rest.len()).then_some(Self { kind, masking_key, payload_bytes })
    }
}

/// Reads the extended length, if the seven bits call for one.
fn decode_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (bytes, least, rest) = match short {
        LENGTH_16 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => {
                (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_16), rest)
            }
            None => return Ok(None),
        },
        LENGTH_64 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), 1 << 16, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if bytes > i64::MAX.unsigned_abs() {
        return Err(ProtocolError::LengthTopBit { bytes });
    }
    if bytes < least {
        return Err(ProtocolError::LengthNotMinimal { bytes });
    }
    Ok(Some((bytes, rest)))
}

/// Appends a whole frame.
pub fn encode(
    is_final: bool,
    opcode: Opcode,
    masking_key: Option<[u8; 4]>,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let payload_bytes = payload.len() as u64;
    let header = Header { is_final, is_compressed: false, opcode, masking_key, payload_bytes };
    header.encode_with(payload, out);
}

/// For fuzzers: a header has one spelling, so what is read is written back to the byte; and the beginning of a header says
/// "more", or what the whole of it says.
#[cfg(any(test, fuzzing))]
pub fn fuzz_headers(bytes: &[u8]) {
    for us in [Role::Client, Role::Server] {
        let whole = Header::decode(bytes, us);
        let mut end = bytes.len() + 1;
        if let Ok(Some((header, header_bytes))) = whole {
            let mut written = Vec::new();
            header.encode(&mut written);
            assert_eq!(bytes.get(..header_bytes), Some(written.as_slice()));
            assert_eq!(header.masking_key.is_some(), us == Role::Server);
            assert!(header.is_final || !header.opcode.is_control());
            end = header_bytes;
        }
        for cut in 0..bytes.len().min(MAX_HEADER_BYTES) {
            let early = Header::decode(bytes.get(..cut).unwrap_or_default(), us);
            let may_say_more = cut < end && early == Ok(None);
            assert!(may_say_more || early == whole, "{early:?} after {cut} bytes, then {whole:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// Checks what `bytes` decode to, and that every beginning of them says "more", or the same error.
    fn check(bytes: &[u8], us: Role, expected: Result<Header, ProtocolError>) {
        let decoded = Header::decode(bytes, us);
        assert_eq!(decoded, expected.map(|header| Some((header, bytes.len()))), "{bytes:02x?}");
        for cut in 0..bytes.len() {
            let early = Header::decode(&bytes[..cut], us);
            assert!(
                early == Ok(None) || early == expected.map(|_| None),
                "{early:?} after {cut} bytes"
            );
        }
    }

    fn text(payload_bytes: u64) -> Header {
        Header {
            is_final: true,
            is_compressed: false,
            opcode: Opcode::Text,
            masking_key: None,
            payload_bytes,
        }
    }

    fn encoded(header: &Header) -> Vec<u8> {
        let mut out = Vec::new();
        header.encode(&mut out);
        out
    }

    #[test]
    fn a_short_message_is_read_as_any_frame_is() {
        let mut short = 0;
        let mut bytes = [7; Short::HEADER_BYTES + 125];
        for (first, second) in
            (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second)))
        {
            (bytes[0], bytes[1]) = (first, second);
            let Some(read) = Short::decode(&bytes) else { continue };
            short += 1;
            let header = Header {
                is_final: true,
                is_compressed: false,
                opcode: read.kind.opcode(),
                masking_key: Some(read.masking_key),
                payload_bytes: read.payload_bytes as u64,
            };
            assert_eq!(
                Header::decode(&bytes, Role::Server),
                Ok(Some((header, Short::HEADER_BYTES)))
            );
            let end = Short::HEADER_BYTES + read.payload_bytes;
            assert!(Short::decode(&bytes[..end]).is_some());
            assert!(Short::decode(&bytes[..end - 1]).is_none());
        }
        assert_eq!(short, 2 * 126);
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, header_bytes) in
            [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (u64::MAX >> 1, 10)]
        {
            let bytes = encoded(&text(length));
            assert_eq!(bytes.len(), header_bytes, "{length}");
            check(&bytes, Role::Client, Ok(text(length)));
        }
    }

    #[test]
    fn longer_forms_than_needed_are_refused() {
        let refused = |bytes| Err(ProtocolError::LengthNotMinimal { bytes });
        check(&[0x81, 126, 0, 125], Role::Client, refused(125));
        check(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Role::Client, refused(65_535));
        check(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0], Role::Client, refused(0));
    }

    #[test]
    fn length_with_top_bit_is_refused() {
        let bytes = 1 << 63;
        check(
            &[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Role::Client,
            Err(ProtocolError::LengthTopBit { bytes }),
        );
    }

    #[test]
    fn each_reserved_bit_is_refused() {
        for bits in 1..8 {
            check(&[0x81 | bits << 4, 0], Role::Client, Err(ProtocolError::ReservedBits { bits }));
        }
    }

    #[test]
    fn each_reserved_opcode_is_refused() {
        for opcode in (3..8).chain(0xb..=0xf) {
            let expected = Err(ProtocolError::ReservedOpcode { opcode });
            check(&[0x80 | opcode, 0], Role::Client, expected);
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [0x8, 0x9, 0xa] {
            let long = Err(ProtocolError::ControlTooLong { length: 126 });
            check(&[0x80 | opcode, 126, 0, 126], Role::Client, long);
            check(&[opcode, 0], Role::Client, Err(ProtocolError::ControlFragmented));
        }
    }

    #[test]
    fn clients_mask_and_servers_do_not() {
        check(&[0x81, 0x00], Role::Server, Err(ProtocolError::UnmaskedFrame));
        check(&[0x81, 0x80], Role::Client, Err(ProtocolError::MaskedFrame));
        let header = Header { masking_key: Some(KEY), ..text(0) };
        check(&[0x81, 0x80, 1, 2, 3, 4], Role::Server, Ok(header));
    }

    #[test]
    fn frames_of_the_rfc_are_encoded() {
        let mut out = Vec::new();
        encode(true, Opcode::Text, None, b"Hello", &mut out);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        encode(true, Opcode::Text, Some([0x37, 0xfa, 0x21, 0x3d]), b"Hello", &mut out);
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            is_final: bool, opcode in 0..3_u8, key: Option<[u8; 4]>, length in 0..=u64::MAX >> 1, shift in 0..63_u32,
        ) {
            let header = Header {
                is_final,
                is_compressed: false,
                opcode: Opcode::read(opcode).unwrap(),
                masking_key: key,
                payload_bytes: length >> shift,
            };
            let us = if key.is_some() { Role::Server } else { Role::Client };
            check(&encoded(&header), us, Ok(header));
        }
    }
}

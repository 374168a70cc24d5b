//! What a peer can do wrong, and which close code each earns.

use std::error::Error;
use std::fmt;

use super::close::CloseCode;
use super::frame::{MAX_CONTROL_BYTES, Opcode};

/// The peer broke RFC 6455 or 7692. Ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A close frame's body is half a close code (§5.5.1).
    CloseBodyOfOneByte,
    /// A close frame carries a code that must not stand on the wire (§7.4).
    CloseCode {
        /// The code.
        code: u16,
    },
    /// A close frame's reason is not UTF-8 (§5.5.1).
    CloseReasonNotUtf8,
    /// RSV1 is set on a frame that begins no message (RFC 7692 §6.1).
    CompressionMisplaced {
        /// What the frame is.
        opcode: Opcode,
    },
    /// A continuation frame came, and there is no message to continue (§5.4).
    ContinuationWithoutStart,
    /// A control frame is fragmented (§5.5).
    ControlFragmented,
    /// A control frame announces more than 125 bytes (§5.5).
    ControlTooLong {
        /// The seven bits of its length field: 126 and 127 stand for longer ones.
        length: u8,
    },
    /// A compressed message is no deflate data, or is cut short (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// A text message is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A length is written in more bytes than it needs (§5.2).
    LengthNotMinimal {
        /// The length.
        bytes: u64,
    },
    /// A 64-bit length has its top bit set (§5.2).
    LengthTopBit {
        /// The length.
        bytes: u64,
    },
    /// A server masked a frame (§5.1).
    MaskedFrame,
    /// The message would pass the limit.
    MessageTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A new message began inside a fragmented one (§5.4).
    NewMessageInsideMessage,
    /// Reserved bits are set, and no extension gave them a meaning (§5.2).
    ReservedBits {
        /// RSV1 is 4, RSV2 is 2, RSV3 is 1.
        bits: u8,
    },
    /// The opcode is one of those kept for the future (§5.2).
    ReservedOpcode {
        /// The opcode.
        opcode: u8,
    },
    /// A message that had begun did not end in time. Raised by whoever has a clock.
    Timeout,
    /// A client did not mask a frame (§5.1).
    UnmaskedFrame,
}

impl ProtocolError {
    /// The close code this error earns (RFC 6455 §7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            // RFC 7692 names no code for bad deflate data. The frames are sound, so it is no fault of the protocol (1002): the
            // data is not what its message says that it is, which is 1007.
            Self::CloseReasonNotUtf8 | Self::InvalidDeflate | Self::InvalidUtf8 => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::Timeout => CloseCode::POLICY_VIOLATION,
            Self::CloseBodyOfOneByte
            | Self::CloseCode { .. }
            | Self::CompressionMisplaced { .. }
            | Self::ContinuationWithoutStart
            | Self::ControlFragmented
            | Self::ControlTooLong { .. }
            | Self::LengthNotMinimal { .. }
            | Self::LengthTopBit { .. }
            | Self::MaskedFrame
            | Self::NewMessageInsideMessage
            | Self::ReservedBits { .. }
            | Self::ReservedOpcode { .. }
            | Self::UnmaskedFrame => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloseBodyOfOneByte => {
                f.write_str("close body of 1 byte; it is empty or begins with a code of 2")
            }
            Self::CloseCode { code } => write!(
                f,
                "close code {code}; 1000-1003, 1007-1014 and 3000-4999 may stand on the wire"
            ),
            Self::CloseReasonNotUtf8 => f.write_str("close reason is not UTF-8"),
            Self::CompressionMisplaced { opcode } => write!(
                f,
                "RSV1 on a {} frame; it marks the first frame of a message",
                if opcode.is_control() { "control" } else { "continuation" }
            ),
            Self::ContinuationWithoutStart => {
                f.write_str("continuation frame outside a message; text or binary begins one")
            }
            Self::ControlFragmented => {
                f.write_str("control frame without FIN; control frames are never fragmented")
            }
            // 126 and 127 are not lengths but where to find them, so the number itself would mislead.
            Self::ControlTooLong { length } => {
                let width = if *length == 126 { 16 } else { 64 };
                write!(
                    f,
                    "control frame with a {width}-bit length; at most {MAX_CONTROL_BYTES} bytes are allowed"
                )
            }
            Self::InvalidDeflate => {
                f.write_str("compressed message is not deflate data, or is cut short")
            }
            Self::InvalidUtf8 => f.write_str("text message is not UTF-8"),
            Self::LengthNotMinimal { bytes } => {
                write!(f, "length {bytes} takes more bytes than it needs; the shortest form is due")
            }
            Self::LengthTopBit { bytes } => {
                write!(f, "length {bytes}; at most {} is allowed", i64::MAX)
            }
            Self::MaskedFrame => f.write_str("masked frame from a server; only clients mask"),
            Self::MessageTooBig { limit } => {
                write!(f, "message of more than {limit} bytes; {limit} are allowed")
            }
            Self::NewMessageInsideMessage => {
                f.write_str("new message inside a fragmented one; only continuations may follow")
            }
            Self::ReservedBits { bits } => {
                write!(f, "reserved bits {bits:03b}; what no extension agreed to is 0")
            }
            Self::ReservedOpcode { opcode } => {
                write!(f, "opcode {opcode:#x}; 0x0-0x2 and 0x8-0xa are allowed")
            }
            Self::Timeout => f.write_str("the message did not arrive in time"),
            Self::UnmaskedFrame => f.write_str("unmasked frame from a client; clients must mask"),
        }
    }
}

impl Error for ProtocolError {}

/// Our own caller asked for the impossible. The peer never hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The closing handshake has begun; nothing but the close frame may follow.
    Closed,
    /// A ping's payload is over 125 bytes (RFC 6455 §5.5).
    PingTooLong {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the closing handshake has begun"),
            Self::PingTooLong { bytes } => {
                write!(f, "ping of {bytes} bytes; at most {MAX_CONTROL_BYTES} are allowed")
            }
        }
    }
}

impl Error for SendError {}

//! Close codes and the body of a close frame (RFC 6455 §5.5.1 and §7.4).
//!
//! ```text
//! ┌───────────┬──────────────────────────┐
//! │ code, u16 │ reason, UTF-8, 0..=123 B │     or nothing at all, which a peer reports as 1005
//! └───────────┴──────────────────────────┘
//! ```
//!
//! Knows what may stand on the wire; who says it, and when, is `protocol.rs`.

use std::borrow::Cow;
use std::fmt;

use super::error::ProtocolError;
use super::frame::MAX_CONTROL_BYTES;

/// A reason's limit: a control frame less its code.
pub const MAX_REASON_BYTES: usize = MAX_CONTROL_BYTES - 2;

/// A close code as it stands on the wire (RFC 6455 §7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted, as binary where text is wanted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that is not what its message's kind says, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy forbids it, and no other code says more.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: the message is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client cannot do without.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met something unexpected.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts (the registry of RFC 6455 §11.7).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (the registry of RFC 6455 §11.7).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway had a bad answer from behind it (the registry of RFC 6455 §11.7).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Whether the code may stand in a close frame. 1004, 1005, 1006 and 1015 are set aside for talk inside one end
    /// (RFC 6455 §7.4.1); below 1000, 1016–2999 and from 5000 nothing is assigned (§7.4.2).
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The body of a close frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloseFrame<'b> {
    /// Why.
    pub code: CloseCode,
    /// At most 123 bytes of UTF-8.
    pub reason: Cow<'b, str>,
}

impl<'b> CloseFrame<'b> {
    /// Reads the body of a close frame. `None`: it is empty.
    pub fn parse(body: &'b [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((code, reason)) = body.split_first_chunk::<2>() else {
            return if body.is_empty() { Ok(None) } else { Err(ProtocolError::CloseBodyOfOneByte) };
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.is_sendable() {
            return Err(ProtocolError::CloseCode { code: code.0 });
        }
        match str::from_utf8(reason) {
            Ok(reason) => Ok(Some(Self { code, reason: Cow::Borrowed(reason) })),
            Err(_) => Err(ProtocolError::CloseReasonNotUtf8),
        }
    }

    /// Appends the body. A code that must not stand on the wire is left out, and the reason with it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.code.is_sendable() {
            out.extend(self.code.0.to_be_bytes());
            out.extend(cut(&self.reason, MAX_REASON_BYTES).as_bytes());
        }
    }

    /// The same frame, no longer borrowing the bytes it came in.
    pub fn into_owned(self) -> CloseFrame<'static> {
        CloseFrame { code: self.code, reason: Cow::Owned(self.reason.into_owned()) }
    }
}

/// The longest beginning of `text` that has at most `limit` bytes and ends between two characters.
fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: Result<Option<(u16, &str)>, ProtocolError>) {
        let frame = CloseFrame::parse(body);
        let read = frame
            .as_ref()
            .map(|frame| frame.as_ref().map(|frame| (frame.code.0, &*frame.reason)))
            .map_err(|error| *error);
        assert_eq!(read, expected, "{body:02x?}");
    }

    fn encoded(code: u16, reason: &str) -> Vec<u8> {
        let mut out = Vec::new();
        CloseFrame { code: CloseCode(code), reason: reason.into() }.encode(&mut out);
        out
    }

    #[test]
    fn empty_body_has_no_code() {
        check(b"", Ok(None));
    }

    #[test]
    fn body_of_one_byte_is_refused() {
        check(&[3], Err(ProtocolError::CloseBodyOfOneByte));
    }

    #[test]
    fn code_and_reason_are_read() {
        check(b"\x03\xe8", Ok(Some((1000, ""))));
        check(b"\x0f\xa0bye \xc3\xa9", Ok(Some((4000, "bye é"))));
    }

    #[test]
    fn reason_that_is_not_utf8_is_refused() {
        check(b"\x03\xe8\xff", Err(ProtocolError::CloseReasonNotUtf8));
        check(b"\x03\xe8\xe2\x82", Err(ProtocolError::CloseReasonNotUtf8));
    }

    #[test]
    fn exactly_the_assigned_codes_may_stand_on_the_wire() {
        let assigned = [1000..=1003, 1007..=1014, 3000..=4999];
        for code in 0..=u16::MAX {
            let is_assigned = assigned.iter().any(|range| range.contains(&code));
            assert_eq!(CloseCode(code).is_sendable(), is_assigned, "{code}");
            let parsed = CloseFrame::parse(&code.to_be_bytes()).is_ok();
            assert_eq!(parsed, is_assigned, "{code}");
        }
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        check(&encoded(1001, "leaving"), Ok(Some((1001, "leaving"))));
    }

    #[test]
    fn long_reason_is_cut_between_characters() {
        let reason = "é".repeat(100);
        check(&encoded(1000, &reason), Ok(Some((1000, &"é".repeat(61)))));
        let fits = "x".repeat(MAX_REASON_BYTES);
        check(&encoded(1000, &fits), Ok(Some((1000, &fits))));
    }

    #[test]
    fn code_set_aside_becomes_an_empty_body() {
        assert_eq!(encoded(1005, "no status"), b"");
        assert_eq!(encoded(5000, ""), b"");
    }
}

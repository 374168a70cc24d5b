//! ③ The opening handshake, server side (RFC 6455 §4.2): upgrade request to 101 or refusal.
//!
//! ```text
//!  Request ──▶ is_upgrade? ──no──▶ an ordinary request
//!                 │ yes
//!                 ▼
//!            Offer::read ──▶ HandshakeError ──▶ 400, 405 or 426, and why
//!                 │
//!                 ▼
//!            Offer::accept ──▶ 101, and `protocol.rs` takes over
//! ```
//!
//! An HTTP/1.0 request is never an upgrade: RFC 9110 §7.8 has a server ignore its `Upgrade` field, so it is answered as
//! any other request. Not 505, which refuses a major version. Whether the path, the origin or the subprotocol suits is
//! for the application to say. The client's side is `client.rs`.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

use super::deflate::{self, Agreement, Answer};
use super::extensions;
use crate::http::{Request, Response, Version};

/// RFC 6455 §1.3: what is appended to the key, so that only an end that knows the protocol can answer.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Fields of the 101 that the handshake writes itself, or that would promise what we do not do.
const OWN_FIELDS: [&str; 7] = [
    "Connection",
    "Content-Length",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
    "Transfer-Encoding",
    "Upgrade",
];

/// Whether a request asks for a WebSocket at all (`Upgrade: websocket` among its tokens).
pub fn is_upgrade(request: &Request<'_>) -> bool {
    request.version() == Version::Http11 && request.has_token("Upgrade", "websocket")
}

/// A request that may be upgraded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    accept_key: AcceptKey,
    subprotocols: Vec<String>,
    /// What we would answer to the first offer of permessage-deflate that suits us.
    deflate: Option<Answer>,
    is_deflate_agreed: bool,
}

impl Offer {
    /// Checks all of RFC 6455 §4.2.1 but `Host`: there is no [`Request`] of HTTP/1.1 without exactly one.
    pub fn read(request: &Request<'_>) -> Result<Self, HandshakeError> {
        let values = |name| texts(request.header_values(name));
        if request.version() != Version::Http11 {
            return Err(HandshakeError::HttpVersion);
        }
        if request.method() != "GET" {
            return Err(HandshakeError::Method);
        }
        if !request.has_token("Upgrade", "websocket") {
            return Err(HandshakeError::Upgrade);
        }
        if !request.has_token("Connection", "upgrade") {
            return Err(HandshakeError::Connection);
        }
        // Before the key: another version may well have another kind of key.
        if !is_alone(values("Sec-WebSocket-Version"), "13") {
            return Err(HandshakeError::Version);
        }
        let mut keys = values("Sec-WebSocket-Key");
        let (Some(key), None) = (keys.next(), keys.next()) else { return Err(HandshakeError::Key) };
        if !is_key(key) {
            return Err(HandshakeError::Key);
        }
        let mut lines = values("Sec-WebSocket-Protocol").peekable();
        let is_subprotocol_due = lines.peek().is_some();
        let subprotocols: Vec<_> =
            tokens(request.header_values("Sec-WebSocket-Protocol")).map(str::to_owned).collect();
        // RFC 6455 §4.3: the lists have an element at least.
        if is_subprotocol_due && subprotocols.is_empty() {
            return Err(HandshakeError::Subprotocol);
        }
        let offers = extensions::parse(values("Sec-WebSocket-Extensions"))
            .map_err(|_| HandshakeError::Extensions)?;
        Ok(Self {
            accept_key: AcceptKey::of(key),
            subprotocols,
            deflate: deflate::agree(&offers),
            is_deflate_agreed: false,
        })
    }

    /// Agrees to permessage-deflate, if an offer of it suits us: [`Offer::accept`] says so, and the protocol that follows
    /// must be told ([`Protocol::with_deflate`](super::Protocol::with_deflate)).
    pub fn agree_to_deflate(&mut self) -> Option<Agreement> {
        self.is_deflate_agreed = true;
        self.deflate.as_ref().map(Answer::agreement)
    }

    /// The subprotocols that the client offers, the one it likes best first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(String::as_str)
    }

    /// The first of ours, in our order, that the client offers.
    pub fn choose<'s>(&self, ours: &[&'s str]) -> Option<&'s str> {
        ours.iter().copied().find(|subprotocol| self.offers(subprotocol))
    }

    fn offers(&self, subprotocol: &str) -> bool {
        self.subprotocols.iter().any(|offered| offered == subprotocol)
    }

    /// Appends the 101, with the chosen subprotocol (one that the client offered) and further headers. A subprotocol
    /// that was not offered is left out, for the client must fail the connection over it (RFC 6455 §4.1); so are
    /// header fields that are malformed, or that the handshake writes itself.
    pub fn accept(&self, subprotocol: Option<&str>, headers: &[(&str, &str)], out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_field("Upgrade", "websocket", out);
        write_field("Connection", "Upgrade", out);
        write_field("Sec-WebSocket-Accept", self.accept_key.text(), out);
        if let Some(subprotocol) = subprotocol.filter(|subprotocol| self.offers(subprotocol)) {
            write_field("Sec-WebSocket-Protocol", subprotocol, out);
        }
        if let Some(answer) = self.deflate.filter(|_| self.is_deflate_agreed) {
            write_field("Sec-WebSocket-Extensions", &answer.to_string(), out);
        }
        for (name, value) in headers {
            let is_own = OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
            if !is_own && is_field(name, value) {
                write_field(name, value, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Why a request cannot be upgraded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Connection` does not name `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Extensions` is there and does not follow its grammar, or names nothing.
    Extensions,
    /// The request is not HTTP/1.1.
    HttpVersion,
    /// `Sec-WebSocket-Key` is not there once, or is not 16 bytes in base64.
    Key,
    /// The method is not GET.
    Method,
    /// `Sec-WebSocket-Protocol` is there and names nothing.
    Subprotocol,
    /// `Upgrade` does not name `websocket`.
    Upgrade,
    /// `Sec-WebSocket-Version` is not 13.
    Version,
}

impl HandshakeError {
    /// The refusal's status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Connection
            | Self::Extensions
            | Self::HttpVersion
            | Self::Key
            | Self::Subprotocol
            | Self::Upgrade => 400,
            Self::Method => 405,
            Self::Version => 426,
        }
    }

    /// The refusal: its status, its headers (426 names version 13) and one line that says what would be right.
    pub fn response(&self) -> Response {
        let refusal =
            self.headers().iter().fold(
                Response::text(self.status(), format!("{self}\n")),
                |response, (name, value)| response.header(*name, *value),
            );
        // RFC 6455 §9.1: fail the connection, which is to close it (§7.1.7). Whoever got anything else wrong may ask again.
        if *self == Self::Extensions { refusal.closing() } else { refusal }
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Connection
            | Self::Extensions
            | Self::HttpVersion
            | Self::Key
            | Self::Subprotocol
            | Self::Upgrade => &[],
            Self::Method => &[("Allow", "GET")],
            // RFC 6455 §4.4 wants the version, RFC 9110 §15.5.22 the protocol.
            Self::Version => &[("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "a WebSocket handshake needs `Connection: Upgrade`",
            Self::Extensions => {
                "Sec-WebSocket-Extensions is a list of `name; parameter=value`, with one name at least"
            }
            Self::HttpVersion => "a WebSocket handshake needs HTTP/1.1",
            Self::Key => "a WebSocket handshake needs one Sec-WebSocket-Key: 16 bytes in base64",
            Self::Method => "a WebSocket handshake is a GET",
            Self::Subprotocol => "Sec-WebSocket-Protocol is a list of names, with one at least",
            Self::Upgrade => "a WebSocket handshake needs `Upgrade: websocket`",
            Self::Version => "this server speaks version 13 of the WebSocket protocol",
        })
    }
}

impl Error for HandshakeError {}

/// What answers a key (RFC 6455 §4.2.2): SHA-1 in base64.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AcceptKey([u8; 28]);

impl AcceptKey {
    pub(super) fn of(key: &str) -> Self {
        let mut text = [0; 28];
        let hash = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
        // 20 bytes are 28 characters: there is room.
        let _ = STANDARD.encode_slice(hash, &mut text);
        Self(text)
    }

    pub(super) fn text(&self) -> &str {
        // Base64 is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Appends one header field.
pub(super) fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Whether this is one well-formed header field: nothing in it could end the line and begin another.
pub(super) fn is_field(name: &str, value: &str) -> bool {
    is_token(name) && value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

pub(super) fn is_websocket(token: &str) -> bool {
    token.eq_ignore_ascii_case("websocket")
}

/// Values of header fields as text, trimmed; one that is not text counts as empty.
pub(super) fn texts<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a str> {
    values.map(|value| str::from_utf8(value.trim_ascii()).unwrap_or_default())
}

/// All tokens of all fields of one name: a list may be spread over several (RFC 9110 §5.3).
pub(super) fn tokens<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a str> {
    texts(values)
        .flat_map(|value| value.split(','))
        .map(|token| token.trim_ascii())
        .filter(|token| !token.is_empty())
}

fn is_alone<'a>(mut values: impl Iterator<Item = &'a str>, expected: &str) -> bool {
    values.next() == Some(expected) && values.next().is_none()
}

/// Bits past the last byte are as the client likes: the key is never decoded but to be counted, and the 16 bytes that RFC
/// 6455 §4.1 writes for an example have them set.
const ANY_TRAILING_BITS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// 16 bytes in base64: 24 characters, the last two of them padding.
fn is_key(key: &str) -> bool {
    // Room for as much as 24 characters may be.
    key.len() == 24 && ANY_TRAILING_BITS.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// For fuzzers: what is no upgrade is refused with a status of the handshake's own; what is accepted, a client that sent
/// that key and those subprotocols accepts too, with the subprotocol that was chosen.
#[cfg(any(test, fuzzing))]
pub fn fuzz_offers(data: &[u8]) {
    let limits = crate::http::Limits { head_bytes: 2048, headers: 16, body_bytes: 64 };
    let mut http = crate::http::Protocol::new();
    http.receive(data);
    let Ok(Some(request)) = http.next(&limits) else { return };
    let mut offer = match Offer::read(&request) {
        Ok(offer) => offer,
        Err(error) => {
            let asks_for_none =
                matches!(error, HandshakeError::Upgrade | HandshakeError::HttpVersion);
            assert!(!asks_for_none || !is_upgrade(&request), "{error}");
            assert!(matches!(error.status(), 400 | 405 | 426), "{error}");
            return;
        }
    };
    assert!(is_upgrade(&request) && request.method() == "GET");
    let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
    let nonce = ANY_TRAILING_BITS.decode(key).ok().and_then(|key| <[u8; 16]>::try_from(key).ok());
    assert!(nonce.is_some(), "an accepted key is 16 bytes in base64");
    let nonce = nonce.unwrap_or_default();
    if STANDARD.encode(nonce) != key {
        // Its last bits are such as our client never writes.
        return;
    }
    let is_compressed = offer.agree_to_deflate().is_some();
    let subprotocols: Vec<&str> = offer.subprotocols().collect();
    let chosen = subprotocols.last().copied();
    let client = super::client::ClientRequest {
        host: "a",
        path_and_query: "/",
        key: nonce,
        subprotocols: &subprotocols,
        offers_deflate: true,
        headers: &[],
    };
    let mut response = Vec::new();
    offer.accept(chosen, &[("X-More", "1"), ("Upgrade", "h2c")], &mut response);
    response.extend_from_slice(b"first frames");
    let accepted = client.handshake().receive(&response);
    let agreed =
        accepted.map(|accepted| accepted.map(|it| (it.subprotocol, it.deflate.is_some(), it.rest)));
    let expected = (chosen.map(str::to_owned), is_compressed, b"first frames".to_vec());
    assert_eq!(agreed, Ok(Some(expected)));
}

#[cfg(test)]
#[path = "tests/handshake.rs"]
mod tests;

//! The client's side of the opening handshake (RFC 6455 §4.1).
//!
//! ```text
//!  ClientRequest ──encode──▶ bytes out
//!       │ handshake
//!       ▼
//!  ClientHandshake ◀──receive── bytes in ──▶ Accepted: subprotocol, and what came after the head
//!                                                └─▶ Protocol::new(Role::Client).with_deflate(…)
//! ```
//!
//! Knows no socket and makes no key: the caller brings 16 random bytes, and carries bytes over any `Read` and `Write`.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::deflate::{self, Agreement};
use super::extensions;
use super::handshake::{AcceptKey, is_field, is_token, is_websocket, texts, tokens, write_field};

/// The longest head of a response that is read, with the blank line that ends it.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 16 * 1024;

/// Fields of the request that the handshake writes itself: most of them must not come twice (RFC 6455 §11.3).
const OWN_FIELDS: [&str; 6] = [
    "Connection",
    "Host",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Upgrade",
];

/// A request for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// The host, with its port unless that is the scheme's own.
    pub host: &'a str,
    /// Where: `/app/key?protocol=7`. Begins with a slash.
    pub path_and_query: &'a str,
    /// 16 bytes, fresh and random (RFC 6455 §4.1).
    pub key: [u8; 16],
    /// The subprotocols we offer, the best first.
    pub subprotocols: &'a [&'a str],
    /// Whether we offer permessage-deflate.
    pub offers_deflate: bool,
    /// Further header fields.
    pub headers: &'a [(&'a str, &'a str)],
}

impl ClientRequest<'_> {
    /// Appends the request, if none of its parts would break it.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), RequestError> {
        self.check()?;
        for part in ["GET ", self.path_and_query, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_field("Host", self.host, out);
        write_field("Upgrade", "websocket", out);
        write_field("Connection", "Upgrade", out);
        write_field("Sec-WebSocket-Key", &STANDARD.encode(self.key), out);
        write_field("Sec-WebSocket-Version", "13", out);
        if !self.subprotocols.is_empty() {
            write_field("Sec-WebSocket-Protocol", &self.subprotocols.join(", "), out);
        }
        if self.offers_deflate {
            write_field("Sec-WebSocket-Extensions", deflate::OFFER, out);
        }
        for (name, value) in self.headers {
            write_field(name, value, out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), RequestError> {
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if self.host.is_empty() || !self.host.bytes().all(is_visible) {
            return Err(RequestError::Host);
        }
        // RFC 6455 §3: a fragment stays with whoever has the address.
        let is_of_a_path = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !self.path_and_query.starts_with('/') || !self.path_and_query.bytes().all(is_of_a_path) {
            return Err(RequestError::PathAndQuery);
        }
        // RFC 6455 §4.1 (10): tokens, each once.
        let mut subprotocols = self.subprotocols;
        while let Some((subprotocol, others)) = subprotocols.split_first() {
            if !is_token(subprotocol) || others.contains(subprotocol) {
                return Err(RequestError::Subprotocol);
            }
            subprotocols = others;
        }
        let is_ours = |name: &str| OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
        if !self.headers.iter().all(|(name, value)| is_field(name, value) && !is_ours(name)) {
            return Err(RequestError::Header);
        }
        Ok(())
    }

    /// What awaits the response to this request.
    pub fn handshake(&self) -> ClientHandshake {
        ClientHandshake {
            accept_key: AcceptKey::of(&STANDARD.encode(self.key)),
            offered: self.subprotocols.iter().map(|&subprotocol| subprotocol.to_owned()).collect(),
            offers_deflate: self.offers_deflate,
            received: Vec::new(),
        }
    }
}

/// A request would not be well-formed. Nothing of it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// A header's name or value, or one that the handshake writes itself.
    Header,
    /// The host is empty or has blanks or controls in it.
    Host,
    /// The path does not begin with a slash, or has blanks, controls or a fragment in it.
    PathAndQuery,
    /// A subprotocol is not a token, or comes twice.
    Subprotocol,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => {
                "a header's name is not a token, or is one that the handshake writes, or its value has controls in it"
            }
            Self::Host => "the host is empty, or not visible ASCII",
            Self::PathAndQuery => {
                "the path does not begin with a slash, or is not visible ASCII without `#`"
            }
            Self::Subprotocol => "a subprotocol is not a token, or comes twice",
        })
    }
}

impl Error for RequestError {}

/// Awaits the response.
#[derive(Debug)]
pub struct ClientHandshake {
    accept_key: AcceptKey,
    offered: Vec<String>,
    offers_deflate: bool,
    /// At most the head's limit and one part more.
    received: Vec<u8>,
}

/// The server has agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The subprotocol it chose from those we offered.
    pub subprotocol: Option<String>,
    /// What it agreed to about compressed messages.
    pub deflate: Option<Agreement>,
    /// What came after the head: the first frames.
    pub rest: Vec<u8>,
}

impl ClientHandshake {
    /// Takes the next bytes. `None`: the head is not complete.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Accepted>, ResponseError> {
        // The blank line may have begun in what came before.
        let seen = self.received.len().saturating_sub(3);
        self.received.extend_from_slice(bytes);
        let news = self.received.get(seen..).unwrap_or_default();
        let end = news.windows(4).position(|window| window == b"\r\n\r\n").map(|at| seen + at);
        // Without its end the head has one byte more at least; so the verdict is the same however the bytes are cut.
        let least = end.map_or(self.received.len() + 1, |end| end + 4);
        if least > MAX_RESPONSE_HEAD_BYTES {
            return Err(ResponseError::HeadTooBig { limit: MAX_RESPONSE_HEAD_BYTES });
        }
        let Some((head, rest)) = end.and_then(|end| self.received.split_at_checked(end)) else {
            return Ok(None);
        };
        let (subprotocol, deflate) = self.check(head)?;
        let rest = rest.get(4..).unwrap_or_default().to_vec();
        self.received = Vec::new();
        Ok(Some(Accepted { subprotocol, deflate, rest }))
    }

    /// RFC 6455 §4.1, the list for a client.
    fn check(&self, head: &[u8]) -> Result<(Option<String>, Option<Agreement>), ResponseError> {
        let (status, fields) = parse_head(head).ok_or(ResponseError::Malformed)?;
        if status != 101 {
            return Err(ResponseError::Status { status });
        }
        let values = |name| {
            let of_name = fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
            of_name.map(|(_, value)| *value)
        };
        if !tokens(values("Upgrade")).any(is_websocket) {
            return Err(ResponseError::Upgrade);
        }
        if !tokens(values("Connection")).any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Err(ResponseError::Connection);
        }
        let mut accepts = texts(values("Sec-WebSocket-Accept"));
        if accepts.next() != Some(self.accept_key.text()) || accepts.next().is_some() {
            return Err(ResponseError::AcceptKey);
        }
        // RFC 6455 §11.3.2: a request may spread its list over lines, an answer may not.
        if values("Sec-WebSocket-Extensions").count() > 1 {
            return Err(ResponseError::Extension);
        }
        let deflate = extensions::parse(texts(values("Sec-WebSocket-Extensions")))
            .and_then(|answer| deflate::check_answer(&answer))
            .map_err(|_| ResponseError::Extension)?;
        if deflate.is_some() && !self.offers_deflate {
            return Err(ResponseError::Extension);
        }
        let mut chosen = texts(values("Sec-WebSocket-Protocol"));
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok((None, deflate)),
            (Some(one), None) if self.offered.iter().any(|offered| offered == one) => {
                Ok((Some(one.to_owned()), deflate))
            }
            (Some(_), _) => Err(ResponseError::Subprotocol),
        }
    }
}

/// The response cannot be agreed to: the connection must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ResponseError {
    /// `Sec-WebSocket-Accept` does not answer our key.
    AcceptKey,
    /// `Connection` does not name `Upgrade`.
    Connection,
    /// The server uses an extension that we did not offer, or in a way that we did not, or has the field twice.
    Extension,
    /// The head is too long.
    HeadTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The head is not one of HTTP/1.1.
    Malformed,
    /// The server refused.
    Status {
        /// What it answered in place of 101.
        status: u16,
    },
    /// The server chose a subprotocol that we did not offer, or more than one.
    Subprotocol,
    /// `Upgrade` does not name `websocket`.
    Upgrade,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptKey => f.write_str("Sec-WebSocket-Accept does not answer our key"),
            Self::Connection => f.write_str("the answer lacks `Connection: Upgrade`"),
            Self::Extension => f.write_str(
                "the answer has an extension that was not offered so, or Sec-WebSocket-Extensions twice",
            ),
            Self::HeadTooBig { limit } => {
                write!(f, "the answer's head has more than {limit} bytes; {limit} are allowed")
            }
            Self::Malformed => f.write_str("the answer is not HTTP/1.1"),
            Self::Status { status } => write!(f, "the answer is {status}; 101 was asked for"),
            Self::Subprotocol => f.write_str("the answer has a subprotocol that was not offered"),
            Self::Upgrade => f.write_str("the answer lacks `Upgrade: websocket`"),
        }
    }
}

impl Error for ResponseError {}

type Field<'a> = (&'a str, &'a [u8]);

/// Status and fields of a head, without the blank line that ends it.
fn parse_head(head: &[u8]) -> Option<(u16, Vec<Field<'_>>)> {
    let head = str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    let (status, _reason) = status_line.split_once(' ').unwrap_or((status_line, ""));
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        is_field(name, value).then_some((name, value.as_bytes()))
    });
    Some((status.parse().ok()?, fields.collect::<Option<_>>()?))
}

/// For fuzzers: any response, cut anywhere, leads to the same verdict and never to a panic. The first byte says how
/// many of the following are lengths of parts.
#[cfg(any(test, fuzzing))]
pub fn fuzz_response(data: &[u8]) {
    let Some((&lengths, rest)) = data.split_first() else { return };
    let (lengths, bytes) = rest.split_at(usize::from(lengths).min(8).min(rest.len()));
    let request = ClientRequest {
        host: "server.example.com",
        path_and_query: "/chat",
        key: *b"the sample nonce",
        subprotocols: &["chat", "superchat"],
        offers_deflate: true,
        headers: &[],
    };
    let verdict = |cuts: &mut dyn Iterator<Item = usize>| {
        let mut handshake = request.handshake();
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            let (part, after) = rest.split_at(length);
            match handshake.receive(part) {
                Ok(None) => rest = after,
                // What stands behind the head is the rest of this part, and all that was not fed in.
                Ok(Some(accepted)) => {
                    let agreed = (accepted.subprotocol, accepted.deflate);
                    return Ok(Some((agreed, [&accepted.rest, after].concat())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = verdict(&mut std::iter::empty());
    let mut cuts = lengths.iter().map(|length| usize::from(*length)).cycle();
    assert_eq!(verdict(&mut cuts), whole);
    assert_eq!(verdict(&mut std::iter::repeat(1)), whole);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const REQUEST: ClientRequest<'_> = ClientRequest {
        host: "server.example.com",
        path_and_query: "/chat",
        key: *b"the sample nonce",
        subprotocols: &["chat", "superchat"],
        offers_deflate: false,
        headers: &[("Origin", "http://example.com")],
    };

    /// The server's handshake of RFC 6455 §1.2.
    const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\r\n";

    /// Checks what becomes of a response, whole and byte by byte.
    fn check(response: &str, expected: Result<Option<&str>, ResponseError>) {
        for step in [response.len(), 1, 7] {
            let mut handshake = REQUEST.handshake();
            let mut parts = response.as_bytes().chunks(step);
            let outcome = parts.find_map(|part| handshake.receive(part).transpose()).unwrap();
            let subprotocol = outcome.map(|accepted| accepted.subprotocol);
            assert_eq!(subprotocol, expected.map(|chosen| chosen.map(str::to_owned)), "{response}");
        }
    }

    fn check_changed(from: &str, to: &str, expected: Result<Option<&str>, ResponseError>) {
        assert!(RESPONSE.contains(from));
        check(&RESPONSE.replace(from, to), expected);
    }

    #[test]
    fn request_is_that_of_the_rfc() {
        let mut out = Vec::new();
        REQUEST.encode(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /chat HTTP/1.1\r\n\
             Host: server.example.com\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\n\
             Origin: http://example.com\r\n\r\n"
        );
    }

    #[test]
    fn request_that_would_not_be_well_formed_is_not_written() {
        let table = [
            (ClientRequest { host: "a\r\nb", ..REQUEST }, RequestError::Host),
            (ClientRequest { path_and_query: "chat", ..REQUEST }, RequestError::PathAndQuery),
            (ClientRequest { path_and_query: "/a b", ..REQUEST }, RequestError::PathAndQuery),
            (ClientRequest { path_and_query: "/a#b", ..REQUEST }, RequestError::PathAndQuery),
            (ClientRequest { subprotocols: &["a,b"], ..REQUEST }, RequestError::Subprotocol),
            (
                ClientRequest { subprotocols: &["a", "b", "a"], ..REQUEST },
                RequestError::Subprotocol,
            ),
            (
                ClientRequest { headers: &[("sec-websocket-key", "x")], ..REQUEST },
                RequestError::Header,
            ),
            (ClientRequest { headers: &[("a", "b\r\nc: d")], ..REQUEST }, RequestError::Header),
        ];
        for (request, error) in table {
            let mut out = Vec::new();
            assert_eq!(request.encode(&mut out), Err(error));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn response_of_the_rfc_is_agreed_to() {
        check(RESPONSE, Ok(Some("chat")));
        check_changed("Sec-WebSocket-Protocol: chat\r\n", "", Ok(None));
        check_changed("Upgrade: websocket", "upgrade:WebSocket", Ok(Some("chat")));
    }

    #[test]
    fn each_fault_of_a_response_is_named() {
        use ResponseError as E;
        check_changed("101 Switching Protocols", "403 Forbidden", Err(E::Status { status: 403 }));
        check_changed("101 Switching Protocols", "101", Ok(Some("chat")));
        check_changed("HTTP/1.1 101", "HTTP/1.1 +101", Err(E::Malformed));
        check_changed("HTTP/1.1", "HTTP/1.0", Err(E::Malformed));
        check_changed("Connection: Upgrade", "Connection Upgrade", Err(E::Malformed));
        check_changed("Upgrade: websocket", "Upgrade: h2c", Err(E::Upgrade));
        check_changed("Connection: Upgrade", "Connection: close", Err(E::Connection));
        check_changed("s3pP", "S3pP", Err(E::AcceptKey));
        check_changed("Protocol: chat", "Protocol: other", Err(E::Subprotocol));
        check_changed("Protocol: chat", "Protocol: chat, superchat", Err(E::Subprotocol));
        check_changed("Protocol: chat", "Extensions: permessage-deflate", Err(E::Extension));
    }

    #[test]
    fn extension_is_offered_if_we_say_so() {
        let mut out = Vec::new();
        ClientRequest { offers_deflate: true, ..REQUEST }.encode(&mut out).unwrap();
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
            client_no_context_takeover; client_max_window_bits\r\n";
        assert!(String::from_utf8(out).unwrap().contains(offer));
    }

    #[test]
    fn extension_is_agreed_to_only_if_it_was_offered_so() {
        let sound = "permessage-deflate; server_no_context_takeover";
        let table = [
            (true, sound, Ok(true)),
            (
                true,
                "permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
                Ok(true),
            ),
            (false, sound, Err(ResponseError::Extension)),
            (true, "permessage-deflate", Err(ResponseError::Extension)),
            (true, "x-other", Err(ResponseError::Extension)),
            (true, "", Err(ResponseError::Extension)),
            (false, "", Err(ResponseError::Extension)),
            (true, "permessage-deflate;", Err(ResponseError::Extension)),
        ];
        for (offers_deflate, answer, expected) in table {
            let head = format!("Sec-WebSocket-Extensions: {answer}\r\nConnection: Upgrade");
            let response = RESPONSE.replace("Connection: Upgrade", &head);
            let mut handshake = ClientRequest { offers_deflate, ..REQUEST }.handshake();
            let agreed = handshake.receive(response.as_bytes());
            let agreed = agreed.map(|accepted| accepted.unwrap().deflate.is_some());
            assert_eq!(agreed, expected, "{offers_deflate} {answer}");
        }
    }

    #[test]
    fn answer_has_each_of_its_fields_once() {
        let twice = |name: &str, error| {
            let line = RESPONSE.lines().find(|line| line.starts_with(name)).unwrap();
            let line = format!("{line}\r\n");
            check_changed(&line, &line.repeat(2), Err(error));
        };
        twice("Sec-WebSocket-Accept", ResponseError::AcceptKey);
        twice("Sec-WebSocket-Protocol", ResponseError::Subprotocol);
        // Joined to one list these would be a sound answer, for empty elements are passed over.
        let sound = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        for (more, is_agreed) in [("", true), ("Sec-WebSocket-Extensions:\r\n", false)] {
            let head = format!("Connection: Upgrade\r\n{sound}{more}");
            let response = RESPONSE.replace("Connection: Upgrade\r\n", &head);
            let mut handshake = ClientRequest { offers_deflate: true, ..REQUEST }.handshake();
            let answered = handshake.receive(response.as_bytes());
            assert_eq!(answered.is_ok(), is_agreed, "{more}");
            assert!(is_agreed || answered == Err(ResponseError::Extension));
        }
    }

    #[test]
    fn first_frames_behind_the_head_are_handed_over() {
        let bytes = [RESPONSE.as_bytes(), b"\x81\x02hi"].concat();
        let accepted = REQUEST.handshake().receive(&bytes).unwrap().unwrap();
        assert_eq!(accepted.rest, b"\x81\x02hi");
    }

    #[test]
    fn endless_head_is_given_up() {
        let mut handshake = REQUEST.handshake();
        let endless = vec![b'x'; MAX_RESPONSE_HEAD_BYTES - 1];
        assert_eq!(handshake.receive(&endless), Ok(None));
        let limit = MAX_RESPONSE_HEAD_BYTES;
        assert_eq!(handshake.receive(b"x"), Err(ResponseError::HeadTooBig { limit }));
    }

    #[test]
    fn head_of_exactly_the_limit_is_read() {
        for (more, expected) in [
            (0, Ok(Some("chat"))),
            (1, Err(ResponseError::HeadTooBig { limit: MAX_RESPONSE_HEAD_BYTES })),
        ] {
            let room = MAX_RESPONSE_HEAD_BYTES - RESPONSE.len() - "X: \r\n".len() + more;
            let padding = format!("Connection: Upgrade\r\nX: {}\r\n", "x".repeat(room));
            check_changed("Connection: Upgrade\r\n", &padding, expected);
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_a_response_gives_the_same_outcome(
            from in 0..RESPONSE.len(), drop in 0..20_usize, insert in "[ -~\r\n]{0,6}", lengths in vec(1..60_u8, 0..8),
        ) {
            let to = (from + drop).min(RESPONSE.len());
            let response = [&RESPONSE[..from], &insert, &RESPONSE[to..], "\u{1}rest"].concat();
            let mut data = vec![u8::try_from(lengths.len()).unwrap()];
            data.extend(lengths);
            data.extend(response.bytes());
            fuzz_response(&data);
        }
    }
}

//! Writing a response.
//!
//! `Date` (RFC 9110 §6.6.1) is not written: an origin server without a clock must not send it, and this room has none.
//! No header value can end its line: control characters become spaces when it is written, so text from a peer that an
//! application puts into a field cannot split the response.

use std::borrow::Cow;
use std::io::Write;

/// A response: status, headers, body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields besides `Content-Length`, `Connection` and `Transfer-Encoding`, which the protocol decides on;
    /// fields of these names are left out.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// A response with a body.
    pub fn with_body(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let mut response = Self::new(status).header("Content-Type", content_type);
        response.body = body.into();
        response
    }

    /// A line of text.
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::with_body(status, "text/plain; charset=utf-8", bytes_of(text.into()))
    }

    /// JSON.
    pub fn json(status: u16, json: impl Into<Cow<'static, str>>) -> Self {
        Self::with_body(status, "application/json", bytes_of(json.into()))
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Ends the connection after this response, whatever the request asked for.
    #[must_use]
    pub fn closing(self) -> Self {
        self.header("Connection", "close")
    }

    /// Whether `closing` was called.
    pub(super) fn is_closing(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "Connection" && value == "close")
    }

    /// Appends it. `bodiless` answers a HEAD: the length is told, the body kept back (RFC 9110 §9.3.2).
    pub(super) fn write(&self, persistence: Persistence, bodiless: bool, out: &mut Vec<u8>) {
        let status = self.status;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {status:03} {}\r\n", reason(status));
        let mut upgrade = false;
        for (name, value) in &self.headers {
            upgrade |= name.eq_ignore_ascii_case("upgrade");
            if !is_ours(name) {
                write_field(name, value, out);
            }
        }
        // RFC 9110 §8.6: no Content-Length in 1xx and 204. A 304 may have one, but it would be that of the 200.
        let has_body = !matches!(status, 100..=199 | 204 | 304);
        if has_body {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        // RFC 9110 §7.8: whoever sends Upgrade names it in Connection.
        out.extend_from_slice(match (persistence, upgrade) {
            (Persistence::Default, false) => b"".as_slice(),
            (Persistence::Default, true) => b"Connection: Upgrade\r\n",
            (Persistence::KeepAlive, false) => b"Connection: keep-alive\r\n",
            (Persistence::KeepAlive, true) => b"Connection: keep-alive, Upgrade\r\n",
            (Persistence::Close, false) => b"Connection: close\r\n",
            (Persistence::Close, true) => b"Connection: close, Upgrade\r\n",
        });
        out.extend_from_slice(b"\r\n");
        if has_body && !bodiless {
            out.extend_from_slice(&self.body);
        }
    }
}

/// What the response says about the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// It ends after this response.
    Close,
    /// It stays, as HTTP/1.1 has it; nothing is said.
    Default,
    /// It stays, as an HTTP/1.0 client asked.
    KeepAlive,
}

fn bytes_of(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The fields that decide where a message ends: written by the protocol alone.
fn is_ours(name: &str) -> bool {
    ["connection", "content-length", "transfer-encoding"]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
}

fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend(
        name.bytes().map(|byte| if super::request_line::is_token_byte(byte) { byte } else { b'-' }),
    );
    out.extend_from_slice(b": ");
    out.extend(
        value
            .bytes()
            .map(|byte| if byte.is_ascii_control() && byte != b'\t' { b' ' } else { byte }),
    );
    out.extend_from_slice(b"\r\n");
}

/// The standard phrases (RFC 9110 §15). Clients must ignore them; people who read dumps do not.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: Response, persistence: Persistence, expected: &str) {
        let mut out = Vec::new();
        response.write(persistence, false, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn text_has_type_and_length() {
        check(
            Response::text(200, "hi\n"),
            Persistence::Default,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nhi\n",
        );
    }

    #[test]
    fn no_content_has_no_length() {
        check(
            Response::new(204),
            Persistence::Close,
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        );
    }

    #[test]
    fn not_modified_keeps_its_body_back() {
        let mut response = Response::new(304);
        response.body = Cow::Borrowed(b"body");
        check(response, Persistence::Default, "HTTP/1.1 304 Not Modified\r\n\r\n");
    }

    #[test]
    fn upgrade_is_named_in_connection() {
        check(
            Response::new(426).header("Upgrade", "websocket"),
            Persistence::Default,
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n",
        );
    }

    #[test]
    fn control_characters_cannot_split_a_response() {
        check(
            Response::new(200).header("A\r\nB", "x\r\nSet-Cookie: y\0"),
            Persistence::Default,
            "HTTP/1.1 200 OK\r\nA--B: x  Set-Cookie: y \r\nContent-Length: 0\r\n\r\n",
        );
    }

    #[test]
    fn an_application_cannot_contradict_the_framing() {
        check(
            Response::new(200).header("content-length", "9").header("Transfer-Encoding", "chunked"),
            Persistence::KeepAlive,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        );
    }
}

//! One request: its head (over httparse) and its body.
//!
//! ```text
//!   POST /apps/1/events?x=y HTTP/1.1 CR LF Host: a CR LF … CR LF CR LF body
//!   └──┘ └────────────────┘                └──┘  ┘
//!  method       target                     name  value       spans into the connection's buffer
//! ```
//!
//! A `Head` owns no text, only spans; a [`Request`] is a head, the bytes it points into, and the body. The checks that
//! httparse leaves out (it repairs some lines) are made here first. Knows nothing of what is read before or after.

use std::borrow::Cow;

use super::body::Framing;
use super::error::ProtocolError;
use super::request_line::{Line, is_host, is_token_byte};

/// What one request may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The request line and all headers.
    pub head_bytes: usize,
    /// How many header fields.
    pub headers: usize,
    /// The body, after its transfer coding is undone.
    pub body_bytes: usize,
}

/// The versions that are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// One whole request. Made by [`super::Protocol::next`] alone.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// `bytes` begins with the head.
    pub(super) fn new(head: &'a Head, bytes: &'a [u8], body: &'a [u8]) -> Self {
        Self { head, bytes, body }
    }

    /// The method, as sent: `GET`.
    pub fn method(&self) -> &'a str {
        self.head.line.method.text(self.bytes)
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.head.line.version
    }

    /// The target in origin form: `/apps/1/events?auth_key=…`. As it was sent, if it was sent so.
    pub fn target(&self) -> Cow<'a, str> {
        match self.sent_target() {
            // RFC 9112 §3.2.1: an empty path is `/`. `http://host` has one, and `http://host?query`.
            rest if rest.is_empty() || rest.starts_with('?') => Cow::Owned(format!("/{rest}")),
            target => Cow::Borrowed(target),
        }
    }

    /// What was sent, without scheme and authority.
    fn sent_target(&self) -> &'a str {
        self.head.line.target.text(self.bytes)
    }

    /// The host that was asked, with the port if there is one: of a target in absolute form its own, else that of
    /// `Host` (RFC 9112 §3.2.2). Empty if the client has no name for us, `None` if an HTTP/1.0 client said nothing.
    pub fn host(&self) -> Option<&'a str> {
        let of_target = self.head.line.authority.map(|authority| authority.text(self.bytes));
        of_target.or_else(|| self.header("Host"))
    }

    /// The path of the target, not decoded.
    pub fn path(&self) -> &'a str {
        match self.head.line.path.text(self.bytes) {
            "" => "/",
            path => path,
        }
    }

    /// The query of the target, not decoded, without its `?`; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.head.line.query.text(self.bytes)
    }

    /// The pairs of the query in order, not decoded; a key without `=` has an empty value. Empty pairs are left out.
    pub fn query_pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.query().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The first field of that name (case does not matter), trimmed; `None` also if it is not visible ASCII/UTF-8 text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header_values(name).next()?).ok()
    }

    /// The values of all fields of that name (case does not matter), in order, trimmed.
    pub fn header_values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.head.values(self.bytes, name)
    }

    /// Whether the comma-separated list in all fields of that name has the token; case does not matter in either.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.head.has_token(self.bytes, name, token)
    }

    /// All fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.head.fields(self.bytes)
    }

    /// The body, its transfer coding undone.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Where a text stands in the head. 32 bits: a head's limit is kept below 4 GiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part`, a slice of `whole`, stands in it.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
        let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(start.saturating_add(part.len())) }
    }

    /// Where it begins and where it has ended.
    fn places(self) -> (usize, usize) {
        let place = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        (place(self.start), place(self.end))
    }

    fn len(self) -> usize {
        let (start, end) = self.places();
        end - start
    }

    fn bytes(self, whole: &[u8]) -> &[u8] {
        let (start, end) = self.places();
        whole.get(start..end).unwrap_or_default()
    }

    /// For what is known to be ASCII.
    fn text(self, whole: &[u8]) -> &str {
        std::str::from_utf8(self.bytes(whole)).unwrap_or_default()
    }
}

/// A parsed head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) line: Line,
    fields: Vec<Field>,
    /// Where the body ends.
    pub(super) framing: Framing,
    /// Whether the client asked for 100 Continue.
    pub(super) expects_continue: bool,
    /// Whether the connection stays after this request.
    pub(super) keep_alive: bool,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

impl Head {
    /// Parses a whole head, whose first line was read and whose fields are so many: each line ends by CR LF (the caller has
    /// seen to it, and that there are no control characters).
    pub(super) fn parse(
        bytes: &[u8],
        line: Line,
        fields: usize,
        limits: &Limits,
    ) -> Result<Self, ProtocolError> {
        let lines = bytes.get(line.end..).unwrap_or_default();
        if fields > limits.headers {
            check_field_lines(lines)?;
            let (count, limit) = (fields, limits.headers);
            return Err(ProtocolError::HeadersTooMany { count, limit });
        }
        let mut head = Self {
            line,
            fields: read_fields(bytes, lines, fields)?,
            framing: Framing::None,
            expects_continue: false,
            keep_alive: false,
        };
        head.check_host(bytes)?;
        head.framing = head.read_framing(bytes, limits)?;
        head.expects_continue = head.read_expectation(bytes)?;
        head.keep_alive = match line.version {
            Version::Http10 => head.has_token(bytes, "connection", "keep-alive"),
            Version::Http11 => true,
        } && !head.has_token(bytes, "connection", "close");
        Ok(head)
    }

    fn fields<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (field.name.text(bytes), field.value.bytes(bytes)))
    }

    fn values<'a, 'n>(
        &'a self,
        bytes: &'a [u8],
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let is_named = move |field: &&Field| {
            // Most names differ in length already.
            field.name.len() == name.len()
                && field.name.bytes(bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields.iter().filter(is_named).map(|field| field.value.bytes(bytes))
    }

    fn has_token(&self, bytes: &[u8], name: &str, token: &str) -> bool {
        let is_token = |item: &[u8]| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
        // Most often it is there alone.
        self.values(bytes, name)
            .any(|value| is_token(value) || value.split(|&byte| byte == b',').any(is_token))
    }

    /// RFC 9112 §3.2: exactly one in HTTP/1.1, never two.
    fn check_host(&self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut hosts = self.values(bytes, "host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.line.version == Version::Http11 => Err(ProtocolError::HostMissing),
            (None, _) => Ok(()),
            (_, Some(_)) => Err(ProtocolError::HostRepeated),
            // RFC 9112 §3.2: empty where the client knows no name for us.
            (Some(host), None) if host.is_empty() || is_host(host) => Ok(()),
            (Some(_), None) => Err(ProtocolError::HostInvalid),
        }
    }

    /// RFC 9112 §6.3, without its repairs.
    fn read_framing(&self, bytes: &[u8], limits: &Limits) -> Result<Framing, ProtocolError> {
        let mut lengths = self.values(bytes, "content-length");
        let mut codings = self.values(bytes, "transfer-encoding").peekable();
        match (lengths.next(), codings.peek()) {
            (None, None) => Ok(Framing::None),
            (_, Some(_)) if self.line.version == Version::Http10 => {
                Err(ProtocolError::TransferEncodingInHttp10)
            }
            (Some(_), Some(_)) => Err(ProtocolError::ContentLengthWithTransferEncoding),
            (None, Some(_)) => check_codings(codings).map(|()| Framing::Chunked),
            (Some(_), None) if lengths.next().is_some() => {
                Err(ProtocolError::ContentLengthRepeated)
            }
            (Some(length), None) => content_length(length, limits.body_bytes),
        }
    }

    fn read_expectation(&self, bytes: &[u8]) -> Result<bool, ProtocolError> {
        // RFC 9110 §10.1.1: in HTTP/1.0 the field means nothing.
        if self.line.version == Version::Http10 {
            return Ok(false);
        }
        let mut expected = false;
        for value in self.values(bytes, "expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(ProtocolError::ExpectationUnknown);
            }
            expected = true;
        }
        Ok(expected)
    }
}

/// The fields, as httparse reads them, if there is one on each of so many `lines` of the head in `bytes`.
fn read_fields(bytes: &[u8], lines: &[u8], count: usize) -> Result<Vec<Field>, ProtocolError> {
    let mut parsed = vec![httparse::EMPTY_HEADER; count];
    let fields = match httparse::parse_headers(lines, &mut parsed) {
        Ok(httparse::Status::Complete((_, fields))) => fields,
        Ok(httparse::Status::Partial) | Err(_) => &[],
    };
    let field = |field: &httparse::Header<'_>| Field {
        name: Span::of(field.name.as_bytes(), bytes),
        value: Span::of(field.value.trim_ascii(), bytes),
    };
    let fields: Vec<_> = fields.iter().map(field).collect();
    // A name begins its line, and the colon follows it: then there was nothing to repair.
    let is_sound = |field: &Field| {
        let (start, end) = field.name.places();
        start.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'\n')
            && bytes.get(end) == Some(&b':')
    };
    if fields.len() == count && fields.iter().all(is_sound) {
        return Ok(fields);
    }
    check_field_lines(lines)?;
    Err(ProtocolError::HeaderInvalid)
}

/// Says what is wrong with the first line that is no field.
fn check_field_lines(lines: &[u8]) -> Result<(), ProtocolError> {
    lines
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .try_for_each(check_field_line)
}

/// What httparse, or another reader on the way, would repair or misread.
fn check_field_line(line: &[u8]) -> Result<(), ProtocolError> {
    if line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t') {
        return Err(ProtocolError::HeaderFolded);
    }
    let name = line.iter().take_while(|&&byte| is_token_byte(byte)).count();
    if name > 0 && line.get(name) == Some(&b':') {
        return Ok(());
    }
    let before_colon = line.split(|&byte| byte == b':').next().unwrap_or_default();
    if line.contains(&b':') && matches!(before_colon.last(), Some(b' ' | b'\t')) {
        return Err(ProtocolError::HeaderSpaceBeforeColon);
    }
    Err(ProtocolError::HeaderInvalid)
}

/// RFC 9112 §6.1 and §6.3: chunked must be the last coding and there once, or nobody knows where the body ends: 400. Codings
/// before it are 501. An empty member of the list is refused with the first, though RFC 9110 §5.6.1 would skip it:
/// readers that disagree on it are how requests are smuggled.
fn check_codings<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Result<(), ProtocolError> {
    let (mut has_others, mut is_chunked) = (false, false);
    for coding in fields.flat_map(|field| field.split(|&byte| byte == b',')) {
        let coding = coding.trim_ascii();
        if is_chunked || coding.is_empty() {
            return Err(ProtocolError::TransferEncodingInvalid);
        }
        is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        has_others |= !is_chunked;
    }
    match (is_chunked, has_others) {
        (true, false) => Ok(()),
        (true, true) => Err(ProtocolError::TransferEncodingUnknown),
        (false, _) => Err(ProtocolError::TransferEncodingInvalid),
    }
}

fn content_length(value: &[u8], limit: usize) -> Result<Framing, ProtocolError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::ContentLengthInvalid);
    }
    // Digits without end are a number too: one that is over the limit.
    let bytes = value.iter().fold(0u64, |bytes, digit| {
        bytes.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    match usize::try_from(bytes) {
        Ok(0) => Ok(Framing::None),
        Ok(bytes) if bytes <= limit => Ok(Framing::Length(bytes)),
        _ => Err(ProtocolError::BodyTooBig { bytes, limit }),
    }
}

/// For fuzzers: what is read of a request, written again in the plainest form, is read again as the same; and it keeps
/// the limits.
#[cfg(any(test, fuzzing))]
pub fn fuzz_heads(data: &[u8]) {
    let limits = Limits { head_bytes: 1024, headers: 12, body_bytes: 128 };
    let mut protocol = super::Protocol::new();
    protocol.receive(data);
    let Ok(Some(request)) = protocol.next(&limits) else { return };
    assert!(request.headers().count() <= limits.headers);
    assert!(request.head.values(request.bytes, "host").count() <= 1);
    assert!(request.body().len() <= limits.body_bytes);
    let pairs: Vec<_> = request.query_pairs().collect();
    let query = match request.query() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let version = match request.version() {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    };
    let mut again = format!("{} {}{query} {version}\r\n", request.method(), request.path());
    let is_of_the_body = |name: &str| {
        ["content-length", "transfer-encoding"].iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    let own = |request: &Request<'_>| -> Vec<(String, Vec<u8>)> {
        let fields = request.headers().filter(|(name, _)| !is_of_the_body(name));
        fields.map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
    };
    again.push_str(&format!("Content-Length: {}\r\n", request.body().len()));
    let mut again = again.into_bytes();
    for (name, value) in own(&request) {
        again.extend([name.as_bytes(), b":", &value, b"\r\n"].concat());
    }
    again.extend([b"\r\n", request.body()].concat());
    let mut protocol = super::Protocol::new();
    protocol.receive(&again);
    let roomy = Limits { head_bytes: 4096, headers: 14, body_bytes: 128 };
    let second = protocol.next(&roomy);
    assert!(matches!(second, Ok(Some(_))), "{second:?}: {}", String::from_utf8_lossy(&again));
    let Ok(Some(second)) = second else { return };
    assert_eq!((second.method(), second.version()), (request.method(), request.version()));
    assert_eq!((second.path(), second.query()), (request.path(), request.query()));
    assert_eq!(second.query_pairs().collect::<Vec<_>>(), pairs);
    assert_eq!(own(&second), own(&request));
    assert_eq!(second.body(), request.body());
}

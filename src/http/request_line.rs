//! The request line (RFC 9112 §3): method, target, version; and what a host is, in a target or in `Host`.
//!
//! ```text
//!   POST /apps/1/events?x=y HTTP/1.1              origin form
//!   GET http://host:80/path?query HTTP/1.1        absolute form: the host counts, whatever Host says
//!   OPTIONS * HTTP/1.1                            asterisk form
//! ```
//!
//! Read as soon as the line is whole, so that whoever speaks another protocol is not waited for. Knows nothing of
//! header fields.

use std::net::Ipv6Addr;

use super::error::ProtocolError;
use super::percent::hex_value;
use super::request::{Span, Version};

/// A request line, as spans into the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) method: Span,
    /// Without scheme and authority.
    pub(super) target: Span,
    /// The target up to its `?`, and what stands behind it.
    pub(super) path: Span,
    pub(super) query: Span,
    /// The host, and perhaps a port, of a target in absolute form.
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
    /// Whether the response's body is kept back.
    pub(super) is_head: bool,
    /// How long the line is, with its end.
    pub(super) end: usize,
}

impl Line {
    /// Reads the line that `head` begins with, which has its CR LF.
    pub(super) fn read(head: &[u8]) -> Result<Self, ProtocolError> {
        let line = head.strip_suffix(b"\r\n").unwrap_or(head);
        let words = split_word(line).and_then(|(method, rest)| Some((method, split_word(rest)?)));
        let Some((method, (target, version))) =
            words.filter(|(_, (_, version))| !version.contains(&b' '))
        else {
            return Err(ProtocolError::RequestLineInvalid);
        };
        if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
            return Err(ProtocolError::MethodInvalid);
        }
        let version = read_version(version)?;
        if method == b"CONNECT" {
            return Err(ProtocolError::Connect);
        }
        // RFC 3986 has fewer characters than these, but browsers send `|` and `{` as they are, and a `%` that escapes
        // nothing. It can be read in one way only, for nothing is decoded here: whoever decodes hears of a bad escape
        // (`percent.rs`), and whoever does not compares bytes. `%00` is a sound escape like any other. `#` never arrives:
        // a fragment stays with the client.
        if count_while(target, |byte| byte.is_ascii_graphic() && byte != b'#') < target.len() {
            return Err(ProtocolError::TargetInvalid);
        }
        let (authority, target) = split_target(method, target)?;
        let (path, query) = target.split_at(count_while(target, |byte| byte != b'?'));
        Ok(Self {
            method: Span::of(method, head),
            target: Span::of(target, head),
            path: Span::of(path, head),
            query: Span::of(query.strip_prefix(b"?").unwrap_or(query), head),
            authority: authority.map(|authority| Span::of(authority, head)),
            version,
            is_head: method == b"HEAD",
            end: head.len(),
        })
    }
}

/// What stands before the first space, and behind it.
fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = text.split_at(count_while(text, |byte| byte != b' '));
    Some((word, rest.strip_prefix(b" ")?))
}

/// How many bytes there are before the first that is none of those. Sixteen are looked at together as long as all are: the
/// compiler makes vector code of it.
pub(super) fn count_while(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    let (words, _) = bytes.as_chunks::<16>();
    let all = |word: &[u8; 16]| word.iter().fold(true, |all, &byte| all & is_one(byte));
    let count = 16 * words.iter().take_while(|word| all(word)).count();
    let rest = bytes.get(count..).unwrap_or_default();
    count + rest.iter().position(|&byte| !is_one(byte)).unwrap_or(rest.len())
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    let is_mark =
        matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    byte.is_ascii_alphanumeric() || is_mark
}

/// A host and perhaps, behind a colon, a port; no user (RFC 9110 §4.2.4) and no empty host (§4.2.1).
pub(super) fn is_host(text: &[u8]) -> bool {
    let end = match text.first() {
        Some(b'[') => text.iter().position(|&byte| byte == b']').map(|end| end + 1),
        _ => text.iter().position(|&byte| byte == b':').or(Some(text.len())),
    };
    let Some((host, port)) = end.and_then(|end| text.split_at_checked(end)) else { return false };
    let inside = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    inside.map_or_else(|| is_name(host), is_ipv6) && is_port(port)
}

/// A name or an IPv4 address.
fn is_name(mut host: &[u8]) -> bool {
    let is_some = !host.is_empty();
    while let Some((&byte, rest)) = host.split_first() {
        host = match (byte, rest) {
            (b'%', [high, low, rest @ ..]) if hex_value(*high).and(hex_value(*low)).is_some() => {
                rest
            }
            _ if byte.is_ascii_alphanumeric() || is_host_mark(byte) => rest,
            _ => return false,
        };
    }
    is_some
}

/// What a name may have besides letters and digits (RFC 3986 §3.2.2: unreserved and sub-delims).
fn is_host_mark(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=')
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a number that a port may have; or the colon alone, which RFC 3986 §3.2.3 allows.
fn is_port(port: &[u8]) -> bool {
    let Some(digits) = port.strip_prefix(b":") else { return port.is_empty() };
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
    digits.iter().all(u8::is_ascii_digit) && (digits.is_empty() || number.is_some())
}

fn read_version(word: &[u8]) -> Result<Version, ProtocolError> {
    match word.strip_prefix(b"HTTP/") {
        Some(b"1.0") => Ok(Version::Http10),
        // RFC 9110 §2.5: a higher minor version is read as the highest that is known.
        Some([b'1', b'.', minor]) if minor.is_ascii_digit() => Ok(Version::Http11),
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(ProtocolError::VersionUnsupported)
        }
        _ => Err(ProtocolError::RequestLineInvalid),
    }
}

/// RFC 9112 §3.2: origin form as it is; absolute form as its authority and the rest; `*` for OPTIONS alone; and no
/// authority form, for we are no proxy.
fn split_target<'t>(
    method: &[u8],
    target: &'t [u8],
) -> Result<(Option<&'t [u8]>, &'t [u8]), ProtocolError> {
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok((None, target));
    }
    let absolute =
        [b"http://".as_slice(), b"https://", b"ws://", b"wss://"].iter().find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        });
    let absolute = absolute.ok_or(ProtocolError::TargetInvalid)?;
    let end =
        absolute.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(absolute.len());
    match absolute.split_at_checked(end) {
        Some((host, rest)) if is_host(host) => Ok((Some(host), rest)),
        _ => Err(ProtocolError::TargetInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        for host in [
            "a",
            "a.example",
            "a.example.",
            "a_b",
            "127.0.0.1",
            "a:80",
            "a:",
            "a:0",
            "a:65535",
            "a:00080",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "%41",
            "a,b",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":",
            ":80",
            "a:65536",
            "a:x",
            "a:+1",
            "a:-1",
            "a: 80",
            "a:80:80",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]80",
            "[::1]:x",
            "[::g]",
            "[a]",
            "[::1%25lo]",
            "[v1.a]",
            "a@b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a b",
            "%4",
            "%zz",
            "a\"b",
            "<a>",
            "\u{e4}",
            "a[::1]",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}

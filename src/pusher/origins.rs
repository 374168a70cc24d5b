//! Which pages may connect: patterns for the host of a browser's `Origin` (RFC 6454 §7). Pure.
//!
//! ```text
//!   Origin: https://www.example.com:8443 ──▶ www.example.com ──▶ any of `example.com`, `*.example.com`?
//! ```
//!
//! It keeps other people's pages out, for browsers send the field and pages cannot change it. It keeps no program out,
//! which sends what it likes. Scheme and port count for nothing, as with Reverb.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// How many patterns one application may have.
const MOST_PATTERNS: usize = 100;

/// A host's name has no more bytes (RFC 1035 §2.3.4). Longer ones are not looked at, so that no request costs more
/// than that.
const MOST_HOST_BYTES: usize = 255;

/// Stands for any run of characters, dots and nothing included.
const WILDCARD: char = '*';

/// The hosts whose pages may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origins {
    /// In lower case. Empty: everybody, with and without an `Origin`.
    patterns: Box<[Box<str>]>,
}

impl Origins {
    /// Everybody.
    pub fn all() -> Self {
        Self { patterns: Box::default() }
    }

    /// Reads patterns, each a host in which `*` stands for any run of characters. `*` alone lets everybody in.
    pub fn of<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, NoPattern> {
        let read: Result<Vec<Box<str>>, NoPattern> = patterns.into_iter().map(read).collect();
        let read = read?;
        if read.is_empty() || read.len() > MOST_PATTERNS {
            return Err(NoPattern);
        }
        let has_all = read.iter().any(|pattern| **pattern == *"*");
        Ok(if has_all { Self::all() } else { Self { patterns: read.into() } })
    }

    /// Whether a page of that origin may connect. Who sends none is let in only where everybody is: browsers always
    /// send it.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        self.patterns.is_empty()
            || origin.and_then(host_of).is_some_and(|host| {
                let host = host.to_ascii_lowercase();
                self.patterns.iter().any(|pattern| matches(pattern, &host))
            })
    }
}

impl FromStr for Origins {
    type Err = NoPattern;

    /// Patterns with commas between them.
    fn from_str(text: &str) -> Result<Self, NoPattern> {
        Self::of(text.split(','))
    }
}

/// As `from_str` reads it.
impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.patterns.is_empty() {
            f.write_str("*")
        } else {
            f.write_str(&self.patterns.join(", "))
        }
    }
}

/// A text is no list of patterns: one of them has a scheme, a port or a path, or is empty, or there are too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPattern;

impl fmt::Display for NoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hosts without scheme, port and path, such as \"example.com\" or \"*.example.com\", at most {MOST_PATTERNS}; \
             \"*\" for all"
        )
    }
}

impl std::error::Error for NoPattern {}

/// A pattern as it is kept. Browsers write names in lower case and in their `xn--` form, and IPv6 in brackets.
fn read(pattern: &str) -> Result<Box<str>, NoPattern> {
    let pattern = pattern.trim();
    if pattern.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{pattern}]").to_ascii_lowercase().into());
    }
    let inside = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_sound = match inside {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte)),
    };
    let is_sound = is_sound && (1..=MOST_HOST_BYTES).contains(&pattern.len());
    if is_sound { Ok(pattern.to_ascii_lowercase().into()) } else { Err(NoPattern) }
}

/// The host in `scheme://host:port`. `null`, which browsers send for pages without an origin, has none; nor has anything
/// that no browser sends: a user's name, or a host that ends nowhere.
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, rest) = origin.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if scheme.is_empty() || authority.contains('@') {
        return None;
    }
    let host = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let port = &authority[end..];
        (port.is_empty() || port.starts_with(':')).then(|| &authority[..end])?
    } else {
        authority.split(':').next()?
    };
    (1..=MOST_HOST_BYTES).contains(&host.len()).then_some(host)
}

/// Whether the pattern is all of the host. What stands between two wildcards is taken where it comes first: if the rest
/// fits behind a later place, it fits behind the first one.
fn matches(pattern: &str, host: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(WILDCARD) else { return pattern == host };
    let (middle, end) = rest.rsplit_once(WILDCARD).unwrap_or(("", rest));
    let inner = host.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    let mut left = inner;
    for part in middle.split(WILDCARD) {
        left = left.and_then(|text| Some(&text[text.find(part)? + part.len()..]));
    }
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], origin: &str, expected: bool) {
        let origins = Origins::of(patterns.iter().copied()).unwrap();
        assert_eq!(origins.allow(Some(origin)), expected, "{patterns:?} {origin}");
    }

    #[test]
    fn a_host_is_allowed_by_its_name_alone() {
        for (origin, expected) in [
            ("https://example.com", true),
            ("http://example.com", true),
            ("https://example.com:8443", true),
            ("https://example.com:", true),
            ("capacitor://example.com", true),
            ("https://EXAMPLE.com", true),
            ("https://example.com/", true),
            ("https://example.com/path?query#fragment", true),
            ("https://www.example.com", false),
            ("https://example.com.", false),
            ("https://example.com.evil.example", false),
            ("https://evilexample.com", false),
            ("https://example.co", false),
            ("https://user@example.com", false),
            ("https://example.com@evil.example", false),
            ("https://evil.example\\@example.com", false),
            ("https://evil.example/@example.com", false),
            ("https://evil.example#example.com", false),
            ("https://", false),
            ("://example.com", false),
            ("//example.com", false),
            ("example.com", false),
            ("null", false),
            ("", false),
        ] {
            check(&["example.com"], origin, expected);
            check(&["EXAMPLE.com"], origin, expected);
            check(&["elsewhere.example", "example.com"], origin, expected);
        }
    }

    #[test]
    fn a_wildcard_stands_for_any_run_of_characters() {
        for (pattern, host, expected) in [
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", ".example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "www.example.com.evil.example", false),
            ("*.example.com", "wwwexample.com", false),
            ("*example.com", "example.com", true),
            ("example.*", "example.com", true),
            ("example.*", "example.", true),
            ("example.*", "www.example.com", false),
            ("*.example.*", "www.example.co.uk", true),
            ("*.example.*", "example.com", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*b*c", "ac", false),
            ("aba*aba", "aba", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("app-*.example.com", "app-7.example.com", true),
            ("192.168.*.*", "192.168.0.7", true),
            ("192.168.*.*", "192.169.0.7", false),
        ] {
            check(&[pattern], &format!("https://{host}"), expected);
            check(&[pattern], &format!("https://{host}:8080"), expected);
        }
    }

    #[test]
    fn the_matcher_agrees_with_a_naive_one() {
        fn naive(pattern: &[u8], host: &[u8]) -> bool {
            match pattern.split_first() {
                None => host.is_empty(),
                Some((b'*', rest)) => (0..=host.len()).any(|skipped| naive(rest, &host[skipped..])),
                Some((byte, rest)) => host
                    .split_first()
                    .is_some_and(|(first, left)| first == byte && naive(rest, left)),
            }
        }
        let words = |letters: &[char], most: u32| -> Vec<String> {
            let all = (0..=most).flat_map(|length| {
                (0..letters.len().pow(length)).map(move |number| (length, number))
            });
            all.map(|(length, number)| {
                (0..length)
                    .map(|place| letters[number / letters.len().pow(place) % letters.len()])
                    .collect()
            })
            .collect()
        };
        let hosts = words(&['a', 'b'], 5);
        for pattern in words(&['a', 'b', '*'], 5) {
            for host in &hosts {
                assert_eq!(
                    matches(&pattern, host),
                    naive(pattern.as_bytes(), host.as_bytes()),
                    "{pattern} {host}"
                );
            }
        }
    }

    #[test]
    fn addresses_are_hosts_too() {
        check(&["127.0.0.1"], "http://127.0.0.1:3000", true);
        check(&["127.0.0.1"], "http://127.0.0.2", false);
        for pattern in ["::1", "[::1]"] {
            check(&[pattern], "http://[::1]", true);
            check(&[pattern], "http://[::1]:3000", true);
            check(&[pattern], "http://[::2]:3000", false);
            check(&[pattern], "http://[::1]evil.example", false);
            check(&[pattern], "http://[::1", false);
            check(&[pattern], "http://::1", false);
        }
        check(&["2001:DB8::A"], "https://[2001:db8::a]", true);
    }

    #[test]
    fn names_of_other_scripts_are_compared_as_browsers_write_them() {
        check(&["xn--bcher-kva.example"], "https://xn--bcher-kva.example", true);
        check(&["xn--bcher-kva.example"], "https://bücher.example", false);
        check(&["*.example"], "https://bücher.example", true);
    }

    #[test]
    fn everybody_is_let_in_where_the_list_has_a_lone_wildcard() {
        for origins in [Origins::all(), "*".parse().unwrap(), "example.com, *".parse().unwrap()] {
            for origin in [None, Some("null"), Some(""), Some("https://a.example"), Some("rubbish")]
            {
                assert!(origins.allow(origin), "{origin:?}");
            }
        }
    }

    #[test]
    fn who_sends_no_origin_is_refused_where_the_list_is_not_everybody() {
        for patterns in ["example.com", "**", "*.*"] {
            assert!(!patterns.parse::<Origins>().unwrap().allow(None), "{patterns}");
        }
    }

    #[test]
    fn a_host_longer_than_any_is_refused() {
        check(&["*.example"], &format!("https://{}.example", "a".repeat(255 - 8)), true);
        check(&["*.example"], &format!("https://{}.example", "a".repeat(256 - 8)), false);
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            " ",
            "a.example,",
            ",a.example",
            "a.example,,b.example",
            "https://a.example",
            "a.example:443",
            "a.example/path",
            "//a.example",
            "user@a.example",
            "a b",
            "bücher.example",
            "[::1",
            "[::1]:80",
            "[::*]",
            "::1::",
        ] {
            assert_eq!(text.parse::<Origins>(), Err(NoPattern), "{text:?}");
        }
        assert_eq!("a".repeat(256).parse::<Origins>(), Err(NoPattern));
        let many = |count: usize| vec!["a"; count].join(",");
        assert!(many(100).parse::<Origins>().is_ok());
        assert_eq!(many(101).parse::<Origins>(), Err(NoPattern));
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        for (text, written) in [
            ("*", "*"),
            (" B.example ,*.a.example", "b.example, *.a.example"),
            ("a.example,*", "*"),
            ("::1", "[::1]"),
        ] {
            let origins: Origins = text.parse().unwrap();
            assert_eq!(origins.to_string(), written);
            assert_eq!(origins.to_string().parse(), Ok(origins));
        }
    }
}

//! Percent-decoding (RFC 3986 §2.1), for whoever reads a path or a query. Pure.

use std::borrow::Cow;

/// What a `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plus {
    /// Itself, as in a path.
    Literal,
    /// A space, as in a form or a query that a browser's form made.
    Space,
}

/// A `%` that is not followed by two hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEscape {
    /// Where the `%` stands, in bytes.
    pub at: usize,
}

impl std::fmt::Display for BadEscape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the % at byte {} is not followed by two hex digits", self.at)
    }
}

impl std::error::Error for BadEscape {}

/// Undoes percent-encoding; borrows if there is nothing to undo. The result need not be UTF-8.
pub fn decode(text: &str, plus: Plus) -> Result<Cow<'_, [u8]>, BadEscape> {
    let encoded = |byte: u8| byte == b'%' || (byte == b'+' && plus == Plus::Space);
    if !text.bytes().any(encoded) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(|(_, digit)| hex_value(digit));
                let low = bytes.next().and_then(|(_, digit)| hex_value(digit));
                high.zip(low).map(|(high, low)| high << 4 | low).ok_or(BadEscape { at })?
            }
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    Ok(Cow::Owned(decoded))
}

/// The value of a hex digit of either case.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, plus: Plus, expected: Result<&[u8], usize>) {
        let decoded = decode(text, plus);
        assert_eq!(decoded.as_deref().map_err(|error| error.at), expected, "{text}");
    }

    #[test]
    fn escapes_of_either_case_are_undone() {
        check("a%2Fb%2fc", Plus::Literal, Ok(b"a/b/c"));
        check("%C3%A4%ff%00", Plus::Literal, Ok(b"\xc3\xa4\xff\x00"));
    }

    #[test]
    fn plus_is_what_the_caller_says() {
        check("a+b%2B", Plus::Literal, Ok(b"a+b+"));
        check("a+b%2B", Plus::Space, Ok(b"a b+"));
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode("plain", Plus::Space), Ok(Cow::Borrowed(b"plain"))));
    }

    #[test]
    fn cut_or_wrong_escapes_name_their_place() {
        check("ab%", Plus::Literal, Err(2));
        check("ab%4", Plus::Literal, Err(2));
        check("%zz", Plus::Literal, Err(0));
        check("%+1", Plus::Space, Err(0));
    }
}

//! Percent-encoding as back ends meet it: decoding that never fails, and encoding. Pure.

use std::borrow::Cow;

use crate::http::percent;
pub(super) use crate::http::percent::Plus;

/// Undoes percent-encoding. A text with a broken escape, or with bytes that would not be UTF-8, stays as it is: the
/// Node SDK sends values that it never encoded, and if it is a mistake after all, the signature fails to match.
pub(super) fn decode(text: &str, plus: Plus) -> Cow<'_, str> {
    match percent::decode(text, plus) {
        Ok(Cow::Owned(bytes)) => String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned),
        Ok(Cow::Borrowed(_)) | Err(_) => Cow::Borrowed(text),
    }
}

/// Appends a text as one value of a query: all but the unreserved characters of RFC 3986 §2.3 are encoded.
pub(super) fn encode_into(out: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// For fuzzers: every text comes back from its encoding; what is decoded is never longer; a text is left as it is only if
/// it has nothing to decode, or a broken escape, or no text behind its escapes.
#[cfg(any(test, fuzzing))]
pub fn fuzz_percent(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut encoded = String::new();
    encode_into(&mut encoded, text);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    for plus in [Plus::Literal, Plus::Space] {
        assert_eq!(decode(&encoded, plus), text);
        let decoded = percent::decode(text, plus);
        match &decoded {
            Ok(bytes) => {
                let escapes = text.matches('%').count();
                assert_eq!(bytes.len() + 2 * escapes, text.len());
            }
            Err(error) => {
                let escape = text.get(error.at..error.at + 3).unwrap_or("");
                let is_whole = escape.bytes().skip(1).filter(u8::is_ascii_hexdigit).count() == 2;
                assert!(text[error.at..].starts_with('%') && !is_whole, "{error}");
            }
        }
        let is_left = matches!(decode(text, plus), Cow::Borrowed(_));
        let is_changed = decoded
            .is_ok_and(|bytes| matches!(bytes, Cow::Owned(_)) && str::from_utf8(&bytes).is_ok());
        assert_eq!(is_left, !is_changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_escapes_are_decoded_and_broken_texts_stay() {
        for (text, decoded) in [
            ("plain", "plain"),
            ("a%20b", "a b"),
            ("%C3%bc", "ü"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz%41", "%zz%41"),
            ("100%", "100%"),
            ("%ff", "%ff"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(decode(text, Plus::Literal), decoded, "{text}");
        }
        assert_eq!(decode("a+b%2B", Plus::Space), "a b+");
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let mut out = String::new();
        encode_into(&mut out, "a/b c&ü~");
        assert_eq!(out, "a%2Fb%20c%26%C3%BC~");
        assert_eq!(decode(&out, Plus::Literal), "a/b c&ü~");
    }
}

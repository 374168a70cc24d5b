//! UTF-8 across the borders of fragments and reads (RFC 6455 §8.1), failing at the first byte that cannot be right.
//!
//! ```text
//! parts     "h e l l o  e2 | 82 | ac  w o r l d"
//! text      "hello"    "hello"   "hello€ world"
//! held       e2         e2 82     nothing
//! ```
//!
//! What is checked is appended to a `String` at once, so nothing is looked at twice. Knows no frames.

use super::error::ProtocolError;

/// The longest character (RFC 3629 §3).
const MAX_CHARACTER_BYTES: usize = 4;

/// The whole of `bytes` as text. By `benches/wire.rs`, simdutf8 takes half of std's time on ASCII of 64 bytes, a third
/// on 1 KiB, and a twelfth on 1 KiB of mixed text; on short mixed text they are even.
pub fn check_whole(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::InvalidUtf8)
}

/// Text that comes in parts.
#[derive(Clone, Default, Debug)]
pub struct Incremental {
    text: String,
    /// The beginning of a character whose end has not come; `held_bytes` of it count.
    held: [u8; MAX_CHARACTER_BYTES],
    /// Below `MAX_CHARACTER_BYTES`.
    held_bytes: usize,
}

impl Incremental {
    /// Nothing yet, with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// How much has come.
    pub fn len(&self) -> usize {
        self.text.len() + self.held_bytes
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the next part and keeps it. An error is final.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = bytes;
        while self.held_bytes > 0 {
            let Some((&byte, after)) = rest.split_first() else { return Ok(()) };
            self.push_to_held(byte)?;
            rest = after;
        }
        let (whole, begun) = split_begun_character(rest);
        self.text.push_str(check_whole(whole)?);
        for &byte in begun {
            self.push_to_held(byte)?;
        }
        Ok(())
    }

    /// The text, if it does not end inside a character.
    pub fn finish(self) -> Result<String, ProtocolError> {
        if self.held_bytes == 0 { Ok(self.text) } else { Err(ProtocolError::InvalidUtf8) }
    }

    /// The standard library judges a beginning as strictly as the whole: `f4 90` is refused at its second byte.
    fn push_to_held(&mut self, byte: u8) -> Result<(), ProtocolError> {
        if let Some(place) = self.held.get_mut(self.held_bytes) {
            *place = byte;
            self.held_bytes += 1;
        }
        let held = self.held.get(..self.held_bytes).unwrap_or_default();
        match str::from_utf8(held) {
            Ok(character) => {
                self.text.push_str(character);
                self.held_bytes = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(ProtocolError::InvalidUtf8),
        }
    }
}

/// Splits off what may be the beginning of a character whose end is not here. Where it is not, because no character
/// begins so, the check of that part says it.
fn split_begun_character(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut here = 0;
    for &byte in bytes.iter().rev().take(MAX_CHARACTER_BYTES - 1) {
        here += 1;
        let due = match byte {
            0x00..=0x7f => break,
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        if here >= due {
            break;
        }
        return bytes.split_at_checked(bytes.len() - here).unwrap_or((bytes, &[]));
    }
    (bytes, &[])
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// RFC 3629 §4, its grammar as a table: the bytes that may follow one another.
    const CHARACTERS: [&[(u8, u8)]; 9] = [
        &[(0x00, 0x7f)],
        &[(0xc2, 0xdf), (0x80, 0xbf)],
        &[(0xe0, 0xe0), (0xa0, 0xbf), (0x80, 0xbf)],
        &[(0xe1, 0xec), (0x80, 0xbf), (0x80, 0xbf)],
        &[(0xed, 0xed), (0x80, 0x9f), (0x80, 0xbf)],
        &[(0xee, 0xef), (0x80, 0xbf), (0x80, 0xbf)],
        &[(0xf0, 0xf0), (0x90, 0xbf), (0x80, 0xbf), (0x80, 0xbf)],
        &[(0xf1, 0xf3), (0x80, 0xbf), (0x80, 0xbf), (0x80, 0xbf)],
        &[(0xf4, 0xf4), (0x80, 0x8f), (0x80, 0xbf), (0x80, 0xbf)],
    ];

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Verdict {
        Whole,
        /// Ends inside a character.
        Begun,
        /// The byte at this place cannot be right.
        WrongAt(usize),
    }

    /// One byte after the other, over the table.
    fn naive(bytes: &[u8]) -> Verdict {
        let mut begun: Vec<u8> = Vec::new();
        for (place, &byte) in bytes.iter().enumerate() {
            begun.push(byte);
            let fits = |character: &&&[(u8, u8)]| {
                begun.len() <= character.len()
                    && begun
                        .iter()
                        .zip(**character)
                        .all(|(b, (low, high))| (low..=high).contains(&b))
            };
            match CHARACTERS.iter().find(fits) {
                None => return Verdict::WrongAt(place),
                Some(character) if character.len() == begun.len() => begun.clear(),
                Some(_) => {}
            }
        }
        if begun.is_empty() { Verdict::Whole } else { Verdict::Begun }
    }

    /// The verdict of [`Incremental`], fed with parts of the given lengths (in turn, again and again).
    fn fast(bytes: &[u8], lengths: &[usize]) -> Verdict {
        let mut text = Incremental::default();
        let mut rest = bytes;
        for &length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at(length.min(rest.len()));
            if text.push(part).is_err() {
                return Verdict::WrongAt(bytes.len() - rest.len());
            }
            rest = after;
        }
        assert_eq!(text.len(), bytes.len());
        match text.finish() {
            Ok(text) => {
                assert_eq!(text.as_bytes(), bytes);
                Verdict::Whole
            }
            Err(_) => Verdict::Begun,
        }
    }

    fn check(bytes: &[u8], expected: Verdict) {
        assert_eq!(naive(bytes), expected, "naive, {bytes:02x?}");
        assert_eq!(fast(bytes, &[1]), expected, "byte by byte, {bytes:02x?}");
        assert_eq!(check_whole(bytes).is_ok(), expected == Verdict::Whole, "whole, {bytes:02x?}");
    }

    #[test]
    fn text_of_all_lengths_of_characters_is_whole() {
        check("".as_bytes(), Verdict::Whole);
        check("aß€𝄞\u{0}\u{d7ff}\u{e000}\u{10ffff}".as_bytes(), Verdict::Whole);
    }

    #[test]
    fn first_wrong_byte_is_noticed_at_once() {
        check(b"\xf4\x90", Verdict::WrongAt(1));
        check(b"ab\xed\xa0\x80", Verdict::WrongAt(3));
        check(b"\xc0\xaf", Verdict::WrongAt(0));
        check(b"\xc2a", Verdict::WrongAt(1));
        check(b"\xe0\x9f", Verdict::WrongAt(1));
        check(b"\xf0\x9d\x84\xc0", Verdict::WrongAt(3));
        check(b"a\x80", Verdict::WrongAt(1));
        check(b"\xff", Verdict::WrongAt(0));
    }

    #[test]
    fn end_inside_a_character_is_no_end() {
        check(b"\xe2\x82", Verdict::Begun);
        check(b"ok \xf0", Verdict::Begun);
    }

    #[test]
    fn every_pair_of_bytes_is_judged_as_the_table_does() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let pair = [first, second];
                assert_eq!(fast(&pair, &[1]), naive(&pair), "{pair:02x?}");
            }
        }
    }

    fn mostly_text() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop_oneof![
            8 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
            8 => "[ -~]{0,40}".prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 1..4),
        ];
        vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn parts_of_any_length_are_judged_as_the_table_does(
            bytes in mostly_text(), lengths in vec(1..9_usize, 1..5),
        ) {
            let expected = naive(&bytes);
            prop_assert_eq!(fast(&bytes, &[1]), expected);
            prop_assert_eq!(check_whole(&bytes).is_ok(), expected == Verdict::Whole);
            // A longer part is named by its beginning; it must hold the wrong byte.
            match (fast(&bytes, &lengths), expected) {
                (Verdict::WrongAt(part), Verdict::WrongAt(place)) => {
                    prop_assert!(part <= place && place < part + 9, "{part} {place}");
                }
                (verdict, expected) => prop_assert_eq!(verdict, expected),
            }
        }
    }
}

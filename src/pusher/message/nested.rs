//! JSON in a JSON string, written in one pass: what the protocol's own events have as their data. Pure.
//!
//! ```text
//!   {"code":4009,"message":"a \\"b\\""}      as it is written here
//!   "{\\"code\\":4009,\\"message\\":\\"a \\\\\\"b\\\\\\"\\"}"      as it stands in the message
//! ```

use std::fmt::{self, Write as _};
use std::io;

/// What is written into it stands escaped in a JSON string.
pub(super) struct Nested<'o>(&'o mut Vec<u8>);

/// Writes a JSON string that holds the JSON which `write` writes.
pub(super) fn write_nested(out: &mut Vec<u8>, write: impl FnOnce(&mut Nested<'_>)) {
    out.push(b'"');
    write(&mut Nested(out));
    out.push(b'"');
}

/// What may not stand in a JSON string as it is (RFC 8259 §7).
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < b' ' as usize {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

impl Nested<'_> {
    /// JSON, or a piece of it.
    pub(super) fn raw(&mut self, json: &str) {
        self.escape(json.as_bytes());
    }

    /// JSON, or a piece of it, that displays itself.
    pub(super) fn display(&mut self, json: fmt::Arguments<'_>) {
        // Memory takes all that is written.
        let _ = self.write_fmt(json);
    }

    /// A text, as a JSON string of the inner JSON. A list of members has ten thousand of them: one in which nothing needs
    /// an escape is copied.
    pub(super) fn string(&mut self, text: &str) {
        if text.bytes().any(|byte| IS_SPECIAL[usize::from(byte)]) {
            return self.displayed_string(text);
        }
        self.0.extend_from_slice(br#"\""#);
        self.0.extend_from_slice(text.as_bytes());
        self.0.extend_from_slice(br#"\""#);
    }

    /// As `string`, of what displays itself.
    pub(super) fn displayed_string(&mut self, text: impl fmt::Display) {
        serde_json::to_writer(self, &format_args!("{text}"))
            .expect("a string can be written to memory");
    }

    fn escape(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|byte| IS_SPECIAL[usize::from(*byte)]) {
            let (plain, rest) = bytes.split_at(at);
            self.0.extend_from_slice(plain);
            match rest[0] {
                byte @ (b'"' | b'\\') => self.0.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.0.extend_from_slice(b"\\n"),
                b'\r' => self.0.extend_from_slice(b"\\r"),
                b'\t' => self.0.extend_from_slice(b"\\t"),
                byte => {
                    // Memory takes all that is written.
                    let _ = io::Write::write_fmt(self.0, format_args!("\\u{byte:04x}"));
                }
            }
            bytes = &rest[1..];
        }
        self.0.extend_from_slice(bytes);
    }
}

impl fmt::Write for Nested<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.raw(text);
        Ok(())
    }
}

impl io::Write for &mut Nested<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.escape(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_nested_comes_out_again(text in any::<String>(), json in any::<String>()) {
            let mut out = Vec::new();
            write_nested(&mut out, |data| {
                data.raw(&json);
                data.string(&text);
            });
            let mut same = Vec::new();
            write_nested(&mut same, |data| {
                data.display(format_args!("{json}"));
                data.displayed_string(&text);
            });
            prop_assert_eq!(&out, &same);
            let outer: String = serde_json::from_slice(&out).unwrap();
            let inner: String = serde_json::from_str(outer.strip_prefix(json.as_str()).unwrap()).unwrap();
            prop_assert_eq!(inner, text);
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        let all: String = (0..=0x7f_u8).map(char::from).collect();
        let mut out = Vec::new();
        write_nested(&mut out, |data| data.raw(&all));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), all);
    }
}

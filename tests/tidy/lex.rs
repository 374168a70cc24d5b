//! As much of Rust's grammar as the rules need: what is code, what is comment, what is only text; and which paths the
//! code names. Not a parser: macros and raw identifiers go through as they stand.
//!
//! ```text
//!   source    use std::{net, fs as f};  // not mio
//!   code      use std::{net, fs as f};                     comments and literals become spaces
//!   comments                              // not mio       line numbers stay
//!   paths     std::net, std::fs                            groups are spelled out
//! ```

/// One file, taken apart.
pub(crate) struct Lexed {
    pub(crate) code: String,
    pub(crate) comments: String,
    /// Byte ranges of `code` that are compiled for tests alone, as lines.
    test_lines: Vec<(usize, usize)>,
}

/// A path that the code names, its groups spelled out: `std::net::TcpStream`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// `name!`
    pub(crate) is_macro: bool,
}

impl NamedPath {
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }

    pub(crate) fn starts_with(&self, path: &str) -> bool {
        self.segments.iter().map(String::as_str).take(path.split("::").count()).eq(path.split("::"))
    }

    pub(crate) fn ends_with(&self, path: &str) -> bool {
        self.segments
            .iter()
            .rev()
            .map(String::as_str)
            .take(path.split("::").count())
            .eq(path.rsplit("::"))
    }

    pub(crate) fn names(&self, segment: &str) -> bool {
        self.segments.iter().any(|own| own == segment)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Lexed {
    pub(crate) fn new(text: &str) -> Self {
        let kinds = kinds(text.as_bytes());
        let keep = |kind: Kind| -> String {
            let mut bytes = text.as_bytes().to_vec();
            for (byte, own) in bytes.iter_mut().zip(&kinds) {
                if *own != kind && *byte != b'\n' {
                    *byte = b' ';
                }
            }
            String::from_utf8(bytes).expect("a kind begins and ends at ASCII bytes")
        };
        let code = keep(Kind::Code);
        let test_lines = test_lines(&code);
        Self { comments: keep(Kind::Comment), test_lines, code }
    }

    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|(first, last)| (*first..=*last).contains(&line))
    }

    /// Every path of the code, single names included.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let mut scan = Scan { code: self.code.as_bytes(), at: 0, line: 1, paths: Vec::new() };
        while scan.at < scan.code.len() {
            if !scan.path(&[]) {
                scan.step();
            }
        }
        scan.paths
    }
}

/// Walks the code from its first byte to its last.
struct Scan<'c> {
    code: &'c [u8],
    at: usize,
    line: usize,
    paths: Vec<NamedPath>,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.code.get(self.at).copied()
    }

    fn step(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.step();
        }
    }

    fn name(&mut self) -> Option<String> {
        let begin = self.at;
        while self.peek().is_some_and(is_name_byte) {
            self.step();
        }
        let name = &self.code[begin..self.at];
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// Reads a path that begins here, after those segments; false if none does.
    fn path(&mut self, before: &[String]) -> bool {
        let line = self.line;
        let Some(name) = self.name() else { return false };
        let mut segments = before.to_vec();
        segments.push(name);
        while self.code[self.at..].starts_with(b"::") {
            self.at += 2;
            match self.peek() {
                Some(b'{') => return self.group(&segments),
                Some(b'*') => segments.push("*".to_owned()),
                _ => match self.name() {
                    Some(name) => segments.push(name),
                    None => break,
                },
            }
        }
        let is_macro = self.peek() == Some(b'!') && self.code.get(self.at + 1) != Some(&b'=');
        self.paths.push(NamedPath { segments, line, is_macro });
        true
    }

    /// Reads `{a, b::{c, d}, e as f}`; always true.
    fn group(&mut self, before: &[String]) -> bool {
        self.step();
        loop {
            self.skip_space();
            match self.peek() {
                None => return true,
                Some(b'}') => {
                    self.step();
                    return true;
                }
                Some(_) if self.path(before) => self.skip_alias(),
                Some(_) => self.step(),
            }
        }
    }

    fn skip_alias(&mut self) {
        while self.peek().is_some_and(|byte| byte != b',' && byte != b'}') {
            self.step();
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// What each byte is.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while kinds.len() < text.len() {
        let at = kinds.len();
        let is_inside_name = at > 0 && is_name_byte(text[at - 1]);
        let (kind, bytes) = match &text[at..] {
            [b'/', b'/', ..] => (Kind::Comment, line_end(&text[at..])),
            [b'/', b'*', ..] => (Kind::Comment, block_comment(&text[at..])),
            [b'"', ..] => (Kind::Literal, quoted(&text[at..], b'"')),
            [b'r', b'"' | b'#', ..] if !is_inside_name => raw_string(&text[at..]),
            [b'b', b'r', b'"' | b'#', ..] if !is_inside_name => {
                let (kind, bytes) = raw_string(&text[at + 1..]);
                (kind, bytes + 1)
            }
            [b'\'', rest @ ..] if is_character(rest) => (Kind::Literal, quoted(&text[at..], b'\'')),
            _ => (Kind::Code, 1),
        };
        kinds.resize((at + bytes).min(text.len()), kind);
    }
    kinds
}

fn line_end(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len())
}

fn block_comment(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"…"`, `r#"…"#`; or a raw identifier, which is code.
fn raw_string(text: &[u8]) -> (Kind, usize) {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    if text.get(1 + hashes) != Some(&b'"') {
        return (Kind::Code, 1);
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &text[2 + hashes..];
    let bytes = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    (Kind::Literal, 2 + hashes + bytes + end.len())
}

/// Tells `'x'` and `'\n'` from the lifetime `'x`, by what follows the quote.
fn is_character(rest: &[u8]) -> bool {
    match rest {
        [b'\\', ..] => true,
        [first, ..] => {
            let bytes = match first {
                0..0xc0 => 1,
                0xc0..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            rest.get(bytes) == Some(&b'\'')
        }
        [] => false,
    }
}

/// The lines of items under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<(usize, usize)> {
    let line_of =
        |at: usize| 1 + code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    let is_for_tests = |rest: &str| {
        let condition = rest.split(']').next().unwrap_or_default();
        condition.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test")
            && !condition.contains("not(test")
    };
    code.match_indices("#[cfg(")
        .filter(|(at, _)| is_for_tests(&code[*at..]))
        .map(|(at, _)| (line_of(at), line_of(item_end(code, at))))
        .collect()
}

/// The last byte of the item that follows an attribute: its closing brace, or its semicolon if it has no body.
fn item_end(code: &str, attribute: usize) -> usize {
    let body = code[attribute..].find(']').map_or(code.len(), |end| attribute + end);
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(body) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, paths: &[&str]) {
        let found: Vec<_> = Lexed::new(text).paths().iter().map(NamedPath::text).collect();
        assert_eq!(found, paths);
    }

    #[test]
    fn groups_are_spelled_out() {
        check(
            "use std::{net, fs as f, io::{self, Read}};",
            &["use", "std::net", "std::fs", "std::io::self", "std::io::Read"],
        );
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        check("a /* b /* c */ */ \"d\\\"\" // e", &["a"]);
        check("r#\"a\"b\"# 'c' '\\'' d", &["d"]);
        check("b\"x\" br\"y\" z", &["b", "z"]);
    }

    #[test]
    fn a_lifetime_opens_no_literal() {
        check("<'a> mio", &["a", "mio"]);
    }

    #[test]
    fn comments_keep_their_lines() {
        assert_eq!(Lexed::new("a\n// b").comments, " \n// b");
    }

    #[test]
    fn test_modules_are_known_by_line() {
        let lexed = Lexed::new("fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}");
        let lines: Vec<_> = (1..=6).filter(|line| lexed.is_test_line(*line)).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
    }

    #[test]
    fn code_for_anything_but_tests_is_no_test() {
        assert!(!Lexed::new("#[cfg(not(test))]\nfn a() {}").is_test_line(2));
    }
}

//! How a dialogue is written: `tests/transcripts/http/README.md` explains it to people, this reads it.

use std::fmt;
use std::time::Duration;

/// One dialogue, for one of its cases.
pub(super) struct Dialogue {
    /// The section, the fact and, if it has cases, which one.
    pub(super) title: String,
    pub(super) steps: Vec<Step>,
}

pub(super) struct Step {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// `>`, `>>`: the client sends these bytes.
    Send(Vec<u8>),
    /// `< 200 text`: an answer with this content. The newline that ends it is left out.
    Answer { status: u16, content: Vec<u8> },
    /// `<h 200`: an answer to HEAD, of which nothing comes behind the head.
    Head { status: u16 },
    /// `<+ Name: value`: the last answer has exactly this field.
    Has { name: String, value: String },
    /// `<- Name`: it has no such field.
    Lacks { name: String },
    /// `< 100`, `< 101`: an interim answer.
    Interim { status: u16 },
    /// `<? 100`: it may come.
    Perhaps { status: u16 },
    /// `<< bytes`: what follows a 101.
    Bytes(Vec<u8>),
    /// `< close 1002`: behind a 101, a close frame with that code.
    Close(u16),
    /// `< end`: the connection ends, and nothing else comes.
    End,
    /// `< nothing`: the server has said nothing more, and waits for the rest of a request.
    Nothing,
    /// `wait 10`: so many seconds pass. Played only where the clock is ours.
    Wait(Duration),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, content } => write!(f, "{status} {}", content.escape_ascii()),
            Self::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A title, its lines, and its cases.
struct Block<'t> {
    title: &'t str,
    lines: Vec<(usize, &'t str)>,
    cases: Vec<&'t str>,
}

/// All dialogues of a file.
pub(super) fn read(text: &str) -> Vec<Dialogue> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(title) = text.strip_prefix("== ") {
            blocks.push(Block { title, lines: Vec::new(), cases: Vec::new() });
            continue;
        }
        let block = blocks.last_mut().unwrap_or_else(|| panic!("line {line}: a title first"));
        match text.strip_prefix("| ") {
            Some(case) => block.cases.push(case),
            None => block.lines.push((line, text)),
        }
    }
    blocks.iter().flat_map(Block::dialogues).collect()
}

impl Block<'_> {
    fn dialogues(&self) -> Vec<Dialogue> {
        if self.cases.is_empty() {
            return vec![self.dialogue(self.title.to_owned(), "", "")];
        }
        let dialogue = |case: &&str| {
            let (case, then) = case.split_once(" ⇒ ").unwrap_or((case, ""));
            self.dialogue(format!("{}: {case}", self.title), case, then)
        };
        self.cases.iter().map(dialogue).collect()
    }

    fn dialogue(&self, title: String, case: &str, then: &str) -> Dialogue {
        let step = |(line, text): &(usize, &str)| {
            let text = text.replace("‹case›", case).replace("‹then›", then);
            let what = step(&text).unwrap_or_else(|| panic!("line {line} is no step: {text}"));
            Step { line: *line, what }
        };
        Dialogue { title, steps: self.lines.iter().map(step).collect() }
    }
}

fn step(text: &str) -> Option<What> {
    let (mark, text) = text.split_once(' ').unwrap_or((text, ""));
    let status = |text: &str| text.parse::<u16>().ok();
    Some(match (mark, text) {
        (">", _) => What::Send([bytes(text)?.as_slice(), b"\r\n"].concat()),
        (">>", _) => What::Send(bytes(text)?),
        ("<<", _) => What::Bytes(bytes(text)?),
        ("<h", _) => What::Head { status: status(text)? },
        ("<?", _) => What::Perhaps { status: status(text)? },
        ("<+", _) => {
            let (name, value) = text.split_once(": ")?;
            What::Has { name: name.to_owned(), value: value.to_owned() }
        }
        ("<-", _) => What::Lacks { name: text.to_owned() },
        ("<", "end") => What::End,
        ("<", "nothing") => What::Nothing,
        ("<", _) if text.starts_with("close ") => What::Close(status(&text[6..])?),
        ("<", "100" | "101") => What::Interim { status: status(text)? },
        ("<", _) => {
            let (code, content) = text.split_once(' ').unwrap_or((text, ""));
            What::Answer { status: status(code)?, content: bytes(content)? }
        }
        ("wait", _) => What::Wait(Duration::from_secs(text.parse().ok()?)),
        _ => return None,
    })
}

/// Undoes `\r`, `\n`, `\t`, `\\` and `\x00`, and `‹12 × text›`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '‹']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(repeated) = rest.strip_prefix('‹') {
            let (inside, after) = repeated.split_once('›')?;
            let (count, what) = inside.split_once(" × ")?;
            bytes.extend(self::bytes(what)?.repeat(count.parse().ok()?));
            rest = after;
            continue;
        }
        let (length, byte) = match rest.as_bytes().get(1)? {
            b'r' => (2, b'\r'),
            b'n' => (2, b'\n'),
            b't' => (2, b'\t'),
            b'\\' => (2, b'\\'),
            b'x' => (4, u8::from_str_radix(rest.get(2..4)?, 16).ok()?),
            _ => return None,
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[test]
fn lines_are_read_as_they_are_meant() {
    let text = "# no step\n== one\n> a: ‹case›\n>> \\x00\\\\‹2 × \\r\\n›\n< ‹then›\n<+ A: b: c\n< end\n\
                | x ⇒ 200 ok\n| y\\t ⇒ 400 \n== two\n<h 200\n<? 100\nwait 7\n< nothing\n";
    let read: Vec<_> = read(text)
        .into_iter()
        .map(|it| (it.title, it.steps.into_iter().map(|it| it.what).collect::<Vec<_>>()))
        .collect();
    let case = |title: &str, value: &[u8], status, content: &[u8]| {
        let steps = vec![
            What::Send([b"a: ", value, b"\r\n"].concat()),
            What::Send(b"\x00\\\r\n\r\n".to_vec()),
            What::Answer { status, content: content.to_vec() },
            What::Has { name: "A".into(), value: "b: c".into() },
            What::End,
        ];
        (title.to_owned(), steps)
    };
    let wait = What::Wait(Duration::from_secs(7));
    let two = vec![What::Head { status: 200 }, What::Perhaps { status: 100 }, wait, What::Nothing];
    let expected = [
        case("one: x", b"x", 200, b"ok"),
        case("one: y\\t", b"y\t", 400, b""),
        ("two".into(), two),
    ];
    assert_eq!(read, expected);
}

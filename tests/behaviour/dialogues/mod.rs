//! The dialogues of `tests/transcripts/http/`, judged by `http::Protocol` alone, by a core in memory, and by live servers
//! of one core and of four: each whole and byte by byte and, to the protocol alone, cut at every place.
//!
//! ```text
//!   > GET / HTTP/1.1   ──▶ Send ─┐ all of these that follow each other, cut as the judge says ──▶ sent
//!   >                  ──▶ Send ─┘
//!   < 200 GET / {}     ──▶ Answer ──▶ compared with what comes: status, content; `<+` a field
//!                          at the end ──▶ `GET /there` is answered next, and by nothing else
//! ```

mod script;
mod sides;

use std::fs;
use std::path::Path;

use script::{Dialogue, What};
use sides::{Bare, InMemory, Live, Side, Wire};

/// How what a client sends is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Whole,
    Bytes,
    /// In two, behind so many bytes of all.
    At(usize),
}

/// What is sent at the end, where the connection goes on. That the answer to it is the next thing that comes shows
/// that nothing was left over.
const PROBE: &[u8] = b"GET /there HTTP/1.1\r\nHost: a\r\n\r\n";
const PROBED: &[u8] = b"GET /there {}";

/// A dialogue under way.
struct Play<'w> {
    wire: Box<dyn Wire + 'w>,
    cut: Cut,
    sent: usize,
    unread: Vec<u8>,
    /// The last head that came, without its empty line.
    head: String,
}

/// Plays a dialogue to its end, or to the 101 behind which there is nobody.
fn play<S: Side>(dialogue: &Dialogue, side: &S, cut: Cut) -> Result<(), String> {
    let mut play =
        Play { wire: side.connect(), cut, sent: 0, unread: Vec::new(), head: String::new() };
    let mut steps = dialogue.steps.iter().peekable();
    let mut is_open = true;
    while let Some(step) = steps.next() {
        if let What::Send(bytes) = &step.what {
            let mut batch = bytes.clone();
            while let Some(What::Send(more)) = steps.peek().map(|next| &next.what) {
                batch.extend_from_slice(more);
                steps.next();
            }
            play.send(&batch);
            continue;
        }
        let is_as_written = play.check(&step.what);
        is_as_written
            .map_err(|got| format!("line {}: {got} instead of {}", step.line, step.what))?;
        let is_upgraded = step.what == What::Interim { status: 101 };
        if is_upgraded && !S::SPEAKS_WEBSOCKET {
            return Ok(());
        }
        is_open &= !is_upgraded && !matches!(step.what, What::End | What::Nothing);
    }
    if is_open {
        play.send(PROBE);
        let alive = What::Answer { status: 200, content: PROBED.to_vec() };
        play.check(&alive).map_err(|got| format!("at the end: {got} instead of {alive}"))?;
    }
    let is_silent = play.unread.is_empty();
    is_silent.then_some(()).ok_or_else(|| format!("{} is left", play.unread.escape_ascii()))
}

impl Play<'_> {
    fn send(&mut self, bytes: &[u8]) {
        match self.cut {
            Cut::Whole => self.wire.send(bytes),
            Cut::Bytes => bytes.chunks(1).for_each(|byte| self.wire.send(byte)),
            Cut::At(place) => {
                let place = place.saturating_sub(self.sent).min(bytes.len());
                let (first, second) = bytes.split_at(place);
                [first, second]
                    .into_iter()
                    .filter(|piece| !piece.is_empty())
                    .for_each(|piece| self.wire.send(piece));
            }
        }
        self.sent += bytes.len();
    }

    /// Does one step; what came instead is the error.
    fn check(&mut self, what: &What) -> Result<(), String> {
        match what {
            What::Send(_) => Ok(()),
            What::Answer { status, content } => {
                let got = self.head()?;
                let length = self.field("Content-Length").and_then(|length| length.parse().ok());
                let body = self.bytes(length.unwrap_or(0))?;
                let text = body.strip_suffix(b"\n").unwrap_or(&body);
                let is_it = got == *status && text == content;
                is_it.then_some(()).ok_or_else(|| format!("{got} {}", text.escape_ascii()))
            }
            What::Head { status } | What::Interim { status } => {
                let got = self.head()?;
                (got == *status).then_some(()).ok_or_else(|| self.head.clone())
            }
            What::Perhaps { status } => {
                let start = format!("HTTP/1.1 {status} ");
                while self.unread.len() < start.len() && start.as_bytes().starts_with(&self.unread)
                {
                    if !self.read_more() {
                        return Ok(());
                    }
                }
                if self.unread.starts_with(start.as_bytes()) {
                    self.head().map(drop)
                } else {
                    Ok(())
                }
            }
            What::Has { name, value } => {
                let got = self.field(name).map(str::to_owned);
                (got.as_ref() == Some(value)).then_some(()).ok_or_else(|| self.head.clone())
            }
            What::Lacks { name } => {
                self.field(name).is_none().then_some(()).ok_or_else(|| self.head.clone())
            }
            What::Bytes(bytes) => {
                let got = self.bytes(bytes.len())?;
                (got == *bytes).then_some(()).ok_or_else(|| got.escape_ascii().to_string())
            }
            What::Close(code) => {
                let header = self.bytes(2)?;
                let body = self.bytes(usize::from(header[1]))?;
                let is_it = header[0] == 0x88 && body.starts_with(&code.to_be_bytes());
                is_it.then_some(()).ok_or_else(|| body.escape_ascii().to_string())
            }
            What::End => self.check_end(),
            What::Nothing => {
                self.wire.finish();
                self.check_end()
            }
            What::Wait(time) => {
                self.wire.wait(*time);
                Ok(())
            }
        }
    }

    /// Reads one head; its status.
    fn head(&mut self) -> Result<u16, String> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !self.read_more() {
                return Err(format!("{}, and no more,", self.unread.escape_ascii()));
            }
        };
        self.head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let status = self.head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).ok_or_else(|| self.head.clone())
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.unread.len() < count {
            if !self.read_more() {
                return Err(format!("{}, and no more,", self.unread.escape_ascii()));
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// The value of the one field of that name.
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    fn check_end(&mut self) -> Result<(), String> {
        while let Some(bytes) = self.wire.receive() {
            if bytes.is_empty() {
                return Err("silence".to_owned());
            }
            self.unread.extend(bytes);
        }
        let is_all = self.unread.is_empty();
        is_all.then_some(()).ok_or_else(|| self.unread.escape_ascii().to_string())
    }

    /// False if there is no more: in memory, at the moment.
    fn read_more(&mut self) -> bool {
        let bytes = self.wire.receive().unwrap_or_default();
        self.unread.extend_from_slice(&bytes);
        !bytes.is_empty()
    }
}

/// Plays all dialogues to a side, each with these cuts; what failed.
fn judge<S: Side>(side: &S, name: &str, dialogues: &[Dialogue], cuts: &[Cut]) -> Vec<String> {
    let mut faults = Vec::new();
    let needs_clock =
        |dialogue: &&Dialogue| dialogue.steps.iter().any(|step| matches!(step.what, What::Wait(_)));
    for dialogue in dialogues.iter().filter(|it| S::HAS_CLOCK || !needs_clock(it)) {
        let sent = dialogue.steps.iter().map(|step| match &step.what {
            What::Send(bytes) => bytes.len(),
            _ => 0,
        });
        let places = if S::IS_CUT_EVERYWHERE { 1..sent.sum() } else { 0..0 };
        for cut in cuts.iter().copied().chain(places.map(Cut::At)) {
            if let Err(fault) = play(dialogue, side, cut) {
                faults.push(format!("{name}, {cut:?}, {}: {fault}", dialogue.title));
                break;
            }
        }
    }
    faults
}

/// All judges.
fn faults(text: &str) -> Vec<String> {
    let dialogues = script::read(text);
    let cuts = [Cut::Whole, Cut::Bytes];
    let mut faults = judge(&Bare, "the protocol", &dialogues, &cuts);
    faults.extend(judge(&InMemory::new(), "in memory", &dialogues, &cuts));
    for cores in [1, 4] {
        let name = format!("live, {cores} cores");
        faults.extend(judge(&Live::new(cores), &name, &dialogues, &cuts));
    }
    faults
}

/// The files; the tests have their names.
macro_rules! dialogues {
    ($($fact:ident: $file:literal,)*) => {
        const ALL: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../transcripts/http/", $file)))),*];

        $(#[test]
        fn $fact() {
            check($file);
        })*
    };
}

dialogues! {
    chunks_go_as_written: "chunks.txt",
    connections_go_as_written: "connections.txt",
    content_lengths_go_as_written: "content_length.txt",
    deadlines_go_as_written: "deadlines.txt",
    expectations_go_as_written: "expect.txt",
    fields_go_as_written: "fields.txt",
    hosts_go_as_written: "host.txt",
    limits_go_as_written: "limits.txt",
    methods_go_as_written: "methods.txt",
    pipelines_go_as_written: "pipelines.txt",
    request_lines_go_as_written: "request_line.txt",
    targets_go_as_written: "targets.txt",
    trailers_go_as_written: "trailers.txt",
    transfer_codings_go_as_written: "transfer_encoding.txt",
    upgrades_go_as_written: "upgrades.txt",
}

fn check(name: &str) {
    let (_, text) = ALL.iter().find(|(file, _)| *file == name).unwrap();
    let faults = faults(text);
    assert!(faults.is_empty(), "{name}, {} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dialogue_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/http");
    let names =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".txt")).collect();
    names.sort_unstable();
    assert_eq!(names, ALL.iter().map(|(file, _)| *file).collect::<Vec<_>>());
    let all: Vec<_> = ALL.iter().flat_map(|(_, text)| script::read(text)).collect();
    for dialogue in &all {
        let is_said = dialogue.steps.iter().any(|step| matches!(step.what, What::Send(_)));
        let is_heard = dialogue.steps.iter().any(|step| !matches!(step.what, What::Send(_)));
        let has_section = dialogue.title.starts_with(|c: char| c.is_ascii_digit());
        assert!(is_said && is_heard && has_section, "{}", dialogue.title);
    }
    let mut titles: Vec<_> = all.iter().map(|dialogue| &dialogue.title).collect();
    titles.sort_unstable();
    let count = titles.len();
    titles.dedup();
    assert_eq!(titles.len(), count, "two dialogues have one title");
    assert!(count >= 400, "{count} dialogues");
}

/// What the judges say of a dialogue that goes otherwise.
fn check_fault(steps: &str, words: &str) {
    let faults = faults(&format!("== 1 here\n{steps}\n"));
    assert!(faults.len() == 4 && faults.iter().all(|fault| fault.contains(words)), "{faults:?}");
}

#[test]
fn a_dialogue_that_goes_otherwise_is_a_fault_to_every_judge() {
    let get = "> GET / HTTP/1.1\n> Host: a\n>\n";
    check_fault(
        &format!("{get}< 200 GET /other {{}}"),
        "200 GET / {} instead of 200 GET /other {}",
    );
    check_fault(&format!("{get}< 404 GET / {{}}"), "200 GET / {} instead of 404");
    check_fault(&format!("{get}< 200 GET / {{}}\n<+ Connection: close"), "Content-Length: 8");
    check_fault(&format!("{get}< 200 GET / {{}}\n<- Content-Length"), "Content-Length: 8");
    check_fault(&format!("{get}<h 200"), "at the end");
    check_fault(
        "> GET / HTTP/1.1\n> Host: a b\n>\n< 400 Host is not a host with an optional port",
        "at the end",
    );
}

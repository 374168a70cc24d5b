//! The dialogues of `tests/transcripts/`, judged by the protocol's rooms in memory and by the live server: with apps of
//! each `compat`, on one core and on four. The README beside them says how they are written.
//!
//! ```text
//!   C2> GET /app/key        ──▶ Step { who: Client(2), … } ──▶ filled in: ‹socket_id›, ‹signature of …› ──▶ sent
//!   S2< {"event":…}         ──▶ Step { who: Server(2), … } ──▶ compared with what comes, by decoded value
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use stentor::Options;
use stentor::app::unix_seconds;
use stentor::config::{Config, Flag, Sources};
use stentor::pusher::signature::{Credentials, channel_signature, request_signature, signed_query};
use stentor::pusher::{App, Compat};

use crate::backend::{Answer, Backend};
use crate::client::{Client, Heard, decoded};
use crate::server::{CORES, Running, apps};
use crate::wire::{InMemory, Side};

const ALL: [(&str, &str); 13] = [
    ("authentication.txt", include_str!("../transcripts/authentication.txt")),
    ("cache.txt", include_str!("../transcripts/cache.txt")),
    ("channels.txt", include_str!("../transcripts/channels.txt")),
    ("client_events.txt", include_str!("../transcripts/client_events.txt")),
    ("compat.txt", include_str!("../transcripts/compat.txt")),
    ("connecting.txt", include_str!("../transcripts/connecting.txt")),
    ("counting.txt", include_str!("../transcripts/counting.txt")),
    ("envelope.txt", include_str!("../transcripts/envelope.txt")),
    ("liveness.txt", include_str!("../transcripts/liveness.txt")),
    ("origins.txt", include_str!("../transcripts/origins.txt")),
    ("presence.txt", include_str!("../transcripts/presence.txt")),
    ("subscribing.txt", include_str!("../transcripts/subscribing.txt")),
    ("users.txt", include_str!("../transcripts/users.txt")),
];

/// Whose line it is. Clients have numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    /// `C>`: a client speaks.
    Client(u32),
    /// `S<`: the server speaks to that client.
    Server(u32),
    /// `H>`: a back end asks.
    Request,
    /// `H=`: what it signs in place of the target.
    Signed,
    /// `H<`: it is answered.
    Answer,
}

struct Step<'t> {
    line: usize,
    who: Who,
    text: &'t str,
}

struct Dialogue<'t> {
    title: &'t str,
    /// Settings of the apps: `client_events`, `true`.
    settings: Vec<(&'t str, &'t str)>,
    steps: Vec<Step<'t>>,
}

/// The dialogues of a file as they go where apps are of that kind.
fn parse(text: &str, compat: Compat) -> Vec<Dialogue<'_>> {
    let mut dialogues: Vec<Dialogue<'_>> = Vec::new();
    let mut is_of_kind = true;
    for (line, text) in (1..).zip(text.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(title) = text.strip_prefix("== ") {
            let kinds = title.strip_suffix(')').and_then(|title| title.rsplit_once(" ("));
            is_of_kind = kinds.is_none_or(|(_, kinds)| is_among(kinds, compat));
            if is_of_kind {
                dialogues.push(Dialogue { title, settings: Vec::new(), steps: Vec::new() });
            }
            continue;
        }
        let marked = text.strip_prefix('(').and_then(|rest| rest.split_once(") "));
        let is_for_it = marked.is_none_or(|(kinds, _)| is_among(kinds, compat));
        if !is_of_kind || !is_for_it {
            continue;
        }
        let text = marked.map_or(text, |(_, text)| text);
        let dialogue = dialogues.last_mut().expect("a title first");
        if let Some(setting) = text.strip_prefix("with ") {
            dialogue.settings.push(setting.split_once(" = ").expect("a name and a value"));
            continue;
        }
        let (mark, text) = text.split_once(' ').unwrap_or_else(|| panic!("line {line}: {text}"));
        let who = who(mark).unwrap_or_else(|| panic!("line {line} begins with {mark:?}"));
        dialogue.steps.push(Step { line, who, text });
    }
    dialogues
}

/// Whether a list such as `reverb soketi` names a kind.
fn is_among(kinds: &str, compat: Compat) -> bool {
    let of = |word| Compat::of(word).unwrap_or_else(|| panic!("{kinds:?} names no kinds of apps"));
    kinds.split(' ').map(of).any(|kind| kind == compat)
}

/// The apps as whoever sets these settings gets them.
fn apps_with(compat: Compat, settings: &[(&str, &str)]) -> Vec<App> {
    apps().into_iter().map(|app| app_with(app, compat, settings)).collect()
}

fn app_with(app: App, compat: Compat, settings: &[(&str, &str)]) -> App {
    let own = [
        ("id", app.id.as_str()),
        ("key", app.key.as_str()),
        ("secret", &*app.secret),
        ("compat", compat.word()),
    ];
    let all = own.iter().chain(settings);
    let flag = |(name, value): &(&str, &str)| Flag {
        flag: "--set".to_owned(),
        name: format!("apps.{name}"),
        value: (*value).to_owned(),
    };
    let directory = "/nowhere".into();
    let sources = Sources { directory, flags: all.map(flag).collect(), ..Sources::default() };
    let set = Config::load(&sources).unwrap().apps().swap_remove(0);
    App { enabled: app.enabled, max_connections: app.max_connections, ..set }
}

fn who(mark: &str) -> Option<Who> {
    let number = |digits: &str| if digits.is_empty() { Some(1) } else { digits.parse().ok() };
    match mark {
        "H>" => Some(Who::Request),
        "H=" => Some(Who::Signed),
        "H<" => Some(Who::Answer),
        _ => match (mark.strip_prefix('C'), mark.strip_prefix('S')) {
            (Some(rest), _) => number(rest.strip_suffix('>')?).map(Who::Client),
            (_, Some(rest)) => number(rest.strip_suffix('<')?).map(Who::Server),
            _ => None,
        },
    }
}

/// A dialogue under way.
struct Stage<'s, S: Side> {
    server: &'s S,
    clients: BTreeMap<u32, Client<S::Wire>>,
    backend: Option<Backend<S::Wire>>,
    signed: Option<String>,
    answer: Option<Answer>,
}

impl<S: Side> Stage<'_, S> {
    fn play(&mut self, step: &Step<'_>) {
        let text = fill_repeats(step.text);
        match step.who {
            Who::Client(number) => self.speak(number, &text),
            Who::Server(number) => self.hear(number, &text),
            Who::Request => self.ask(&text),
            Who::Signed => self.signed = Some(text),
            Who::Answer => self.check_answer(&text),
        }
    }

    fn speak(&mut self, number: u32, text: &str) {
        if let Some(target) = text.strip_prefix("GET ") {
            let (target, origin) = match target.split_once(" from ") {
                Some((target, origin)) => (target, Some(("Origin", origin))),
                None => (target, None),
            };
            let headers: Vec<_> = origin.into_iter().collect();
            let client = Client::from(self.server.connect(), target, &headers);
            assert!(self.clients.insert(number, client).is_none(), "client {number} is there");
            return;
        }
        let text = self.fill(number, text);
        let client = self.client(number);
        match text.split_once(' ') {
            Some(("binary", text)) => client.say_bytes(text.as_bytes()),
            Some(("close", code)) => client.close(code.parse().unwrap()),
            Some(("text", text)) => client.say(text),
            _ if text == "ping" => client.ping(),
            _ => client.say(&text),
        }
    }

    fn hear(&mut self, number: u32, text: &str) {
        let heard = self.client(number).next();
        match (text.split_once(' '), heard) {
            (Some(("close", expected)), Heard::Close(code, reason)) => {
                let (wanted, wanted_reason) =
                    expected.split_once(' ').unwrap_or((expected, &reason));
                assert_eq!((code.to_string().as_str(), reason.as_str()), (wanted, wanted_reason));
            }
            (_, Heard::Pong) if text == "pong" => {}
            (_, Heard::End) if text == "end" => {
                self.clients.remove(&number);
            }
            (_, Heard::Message(got)) if text.starts_with('{') => {
                self.hear_message(number, text, &got)
            }
            (_, heard) => panic!("{heard:?} instead of {text}"),
        }
    }

    fn hear_message(&mut self, number: u32, text: &str, got: &Value) {
        if let Some(socket_id) = got["data"]["socket_id"].as_str() {
            self.client(number).socket_id = socket_id.to_owned();
        }
        let expected = decoded(&self.fill(number, text));
        assert!(is_like(&expected, got), "{got} instead of {expected}");
    }

    fn client(&mut self, number: u32) -> &mut Client<S::Wire> {
        self.clients.get_mut(&number).unwrap_or_else(|| panic!("there is no client {number}"))
    }

    /// Puts socket ids and signatures in their places.
    fn fill(&self, number: u32, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(client) = self.clients.get(&number) {
            text = text.replace("‹socket_id›", &client.socket_id);
        }
        for (number, client) in &self.clients {
            text = text.replace(&format!("‹socket_id {number}›"), &client.socket_id);
        }
        fill_each(&text, "signature of ", |signed| {
            let (socket_id, rest) = signed.split_once(':').expect("a socket id and a colon");
            channel_signature("secret", socket_id, rest, None)
        })
    }

    fn ask(&mut self, text: &str) {
        let text = self.fill(0, text);
        let (method, text) = text.split_once(' ').expect("a method and a target");
        let body = text.find(" {").map_or(text.len(), |blank| blank + 1);
        let (target, body) = (text[..body].trim_end(), &text[body..]);
        let signed =
            self.signed.take().unwrap_or_else(|| fill_each(target, "auth", |_| String::new()));
        let target =
            fill_each(target, "auth", |changes| signature_query(method, &signed, body, changes));
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let backend = self.backend.get_or_insert_with(|| Backend::over(self.server.connect()));
        self.answer = Some(backend.exchange(&request));
    }

    fn check_answer(&mut self, text: &str) {
        let answer = self.answer.take().expect("a request before its answer");
        let (status, body) = text.split_once(' ').expect("a status and a body");
        let expected: Value = serde_json::from_str(body).unwrap();
        let is_as_written =
            status == answer.status.to_string() && is_like(&expected, &answer.json());
        assert!(is_as_written, "{answer:?} instead of {text}");
    }
}

/// Replaces each `‹name…›` by what `make` gives for the rest of it.
fn fill_each(text: &str, name: &str, make: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, (inside, after))) = rest
        .split_once(&format!("‹{name}"))
        .and_then(|(before, rest)| Some((before, rest.split_once('›')?)))
    {
        filled.push_str(before);
        filled.push_str(&make(inside));
        rest = after;
    }
    filled + rest
}

/// `‹200 × x›`: two hundred x.
fn fill_repeats(text: &str) -> String {
    let mut filled = String::new();
    for (index, part) in text.split('‹').enumerate() {
        let repeated = part.split_once('›').and_then(|(inside, after)| {
            let (count, what) = inside.split_once(" × ")?;
            Some(what.repeat(count.parse().ok()?) + after)
        });
        match repeated {
            Some(repeated) if index > 0 => filled.push_str(&repeated),
            _ if index > 0 => filled.extend(["‹", part]),
            _ => filled.push_str(part),
        }
    }
    filled
}

/// The query of a signed request. `signed` is the path and query that the back end signs beside its own parameters;
/// `changes` are parameters that it sends and signs otherwise, `name=value`, or not at all, `-name`.
fn signature_query(method: &str, signed: &str, body: &str, changes: &str) -> String {
    let App { key, secret, .. } = apps().swap_remove(0);
    let credentials = Credentials { key: &key, secret: &secret };
    let own = signed_query(credentials, method, "", body.as_bytes(), unix_seconds());
    let mut own: Vec<(String, String)> = own
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name != "auth_signature")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut signature = None;
    for change in changes.split(' ').filter(|change| !change.is_empty()) {
        match change.split_once('=') {
            Some(("auth_signature", value)) => signature = Some(value.to_owned()),
            Some((name, value)) => {
                own.retain(|(other, _)| other != name);
                own.push((name.to_owned(), time(value)));
            }
            None => own.retain(|(other, _)| Some(other.as_str()) != change.strip_prefix('-')),
        }
    }
    let (path, query) = signed.split_once('?').unwrap_or((signed, ""));
    let others = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(others);
    let pairs: Vec<_> = pairs.collect();
    let signature = signature.unwrap_or_else(|| request_signature(&secret, method, path, &pairs));
    let own = own.iter().map(|(name, value)| format!("{name}={value}&"));
    own.collect::<String>() + "auth_signature=" + &signature
}

/// `now-700`: seconds since the epoch.
fn time(value: &str) -> String {
    match value.strip_prefix("now") {
        Some(offset) => unix_seconds().saturating_add_signed(offset.parse().unwrap()).to_string(),
        None => value.to_owned(),
    }
}

/// Whether a value is as written. `"‹any with text›"` stands for any string that has the text in it.
fn is_like(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::String(expected), Value::String(got)) => {
            let text = expected.strip_prefix("‹any with ").and_then(|rest| rest.strip_suffix('›'));
            text.map_or(expected == got, |text| got.contains(text))
        }
        (Value::Object(expected), Value::Object(got)) => {
            let has = |(name, value): (&String, &Value)| {
                got.get(name).is_some_and(|got| is_like(value, got))
            };
            expected.len() == got.len() && expected.iter().all(has)
        }
        _ => expected == got,
    }
}

/// Plays a dialogue to one server, which nobody has spoken to before: what the clients of another dialogue have left is
/// on its way to its homes for a moment more.
fn play(file: &str, dialogue: &Dialogue<'_>, server: &impl Side, judge: &str) {
    let mut stage =
        Stage { server, clients: BTreeMap::new(), backend: None, signed: None, answer: None };
    for step in &dialogue.steps {
        // Shown where the test fails.
        eprintln!("{file}:{} {judge}, {}: {}", step.line, dialogue.title, step.text);
        stage.play(step);
    }
    assert!(stage.answer.is_none(), "an answer that nobody reads");
    stage.clients.values_mut().for_each(Client::check_alive);
}

/// Both judges, on that many cores: a server in memory, in which nothing but the protocol can be at fault, and a live one.
fn judge(file: &str, text: &str, compat: Compat, cores: usize) {
    for dialogue in parse(text, compat) {
        let apps = apps_with(compat, &dialogue.settings);
        let options = Options { cores, ..Options::default() };
        let in_memory = InMemory::new(options, apps.clone());
        play(file, &dialogue, &in_memory, &format!("in memory, {cores} cores, {}", compat.word()));
        let live = Running::with(|setup| (setup.engine.cores, setup.apps) = (cores, apps));
        play(file, &dialogue, &live, &format!("live, {cores} cores, {}", compat.word()));
    }
}

const KINDS: [Compat; 3] = [Compat::Reverb, Compat::Pusher, Compat::Soketi];

fn check(name: &str) {
    let (file, text) = ALL.iter().find(|(file, _)| *file == name).unwrap();
    for compat in KINDS {
        for cores in [1, CORES] {
            judge(file, text, compat, cores);
        }
    }
}

#[test]
fn authentication_goes_as_written() {
    check("authentication.txt");
}

#[test]
fn cache_channels_go_as_written() {
    check("cache.txt");
}

#[test]
fn channels_go_as_written() {
    check("channels.txt");
}

#[test]
fn client_events_go_as_written() {
    check("client_events.txt");
}

#[test]
fn kinds_of_apps_go_as_written() {
    check("compat.txt");
}

#[test]
fn counting_goes_as_written() {
    check("counting.txt");
}

#[test]
fn connecting_goes_as_written() {
    check("connecting.txt");
}

#[test]
fn envelopes_go_as_written() {
    check("envelope.txt");
}

#[test]
fn liveness_goes_as_written() {
    check("liveness.txt");
}

#[test]
fn origins_go_as_written() {
    check("origins.txt");
}

#[test]
fn presence_goes_as_written() {
    check("presence.txt");
}

#[test]
fn subscribing_goes_as_written() {
    check("subscribing.txt");
}

#[test]
fn users_go_as_written() {
    check("users.txt");
}

#[test]
fn every_transcript_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".txt")).collect();
    names.sort_unstable();
    assert_eq!(names, ALL.map(|(file, _)| file));
    for (file, text) in ALL {
        for dialogues in KINDS.map(|compat| parse(text, compat)) {
            assert!(!dialogues.is_empty(), "{file}");
            assert!(dialogues.iter().all(|dialogue| dialogue.steps.len() > 1), "{file}");
        }
    }
}

/// A dialogue after a client was greeted.
fn play_greeted(steps: &str) {
    let greeting = r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"‹socket_id›\",\"activity_timeout\":30}"}"#;
    let text = format!("== t\nC> GET /app/key\nS< {greeting}\n{steps}");
    judge("here", &text, Compat::Reverb, 1);
}

#[test]
fn what_is_marked_is_played_where_it_is_meant() {
    let text = "== a (reverb)\nC> ping\n== b (pusher soketi)\nwith max_batch = 3\n(soketi) with vacant_users = empty\n\
                (soketi) C> one\nC> two\n== c (not kinds but) words\nC> ping\n";
    let read = |compat| {
        let steps = |dialogue: &Dialogue<'_>| dialogue.steps.iter().map(|step| step.line).collect();
        let dialogues = parse(text, compat);
        let read = dialogues.iter().map(|dialogue| (dialogue.settings.len(), steps(dialogue)));
        read.collect::<Vec<(usize, Vec<usize>)>>()
    };
    assert_eq!(read(Compat::Reverb), [(0, vec![2]), (0, vec![9])]);
    assert_eq!(read(Compat::Pusher), [(1, vec![7]), (0, vec![9])]);
    assert_eq!(read(Compat::Soketi), [(2, vec![6, 7]), (0, vec![9])]);
    let app = apps_with(Compat::Soketi, &[("max_batch", "3")]).swap_remove(3);
    let expected = App { max_batch: 3, max_connections: Some(1), ..app.clone() };
    assert!(app == expected && app.key == "small");
}

#[test]
#[should_panic(expected = "names no kinds")]
fn a_kind_that_nobody_knows_fails() {
    parse("== a\n(ably) C> ping\n", Compat::Reverb);
}

#[test]
#[should_panic(expected = "instead of")]
fn a_message_that_is_otherwise_fails() {
    play_greeted(
        "C> {\"event\":\"pusher:ping\"}\nS< {\"event\":\"pusher:pong\",\"data\":{\"x\":1}}\n",
    );
}

#[test]
#[should_panic(expected = "left == right")]
fn a_message_that_is_not_written_fails() {
    play_greeted(
        "C> {\"event\":\"x:y\"}\nC> {\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"a\"}}\n",
    );
}

#[test]
#[should_panic(expected = "instead of")]
fn an_answer_that_is_otherwise_fails() {
    play_greeted("H> GET /up\nH< 200 {\"health\":\"no\"}\n");
}

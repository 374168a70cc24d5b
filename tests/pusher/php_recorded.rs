//! What the PHP SDK sends and signs, by recorded fixtures: nothing here runs PHP. `fixtures/php/README.md` says which
//! versions were recorded, and how.
//!
//! ```text
//!   fixtures/php/*.http ──────────────▶ signature::verify at the recorded time, and with one octet changed
//!          └──octet for octet──▶ server on 1 and 4 cores ──▶ the answer that the SDK needs, the event that it meant
//!   fixtures/php/authorizations.json ─▶ signature::verify_channel, verify_user
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};
use stentor::pusher::signature::{
    Clock, Credentials, RequestError, Secret, SignedRequest, verify_channel, verify_user,
};

use crate::backend::Backend;
use crate::client::{Client, event};
use crate::server::Running;
use crate::users::{check_ended, signed_in, user};

/// What the SDK signed with.
fn credentials() -> Credentials<'static> {
    static SECRET: LazyLock<Secret> = LazyLock::new(|| "secret".into());
    Credentials { key: "key", secret: &SECRET }
}

/// The channels on which somebody is when the requests come.
const CHANNELS: [&str; 4] = ["orders", "presence-room", "private-desk", "private-encrypted-desk"];

/// What the SDK has to be answered, by the name of its request. Each answer has the status 200: the PHP SDK takes no
/// other.
const ANSWERS: &[(&str, &str)] = &[
    ("get", r#"{"connections":1}"#),
    ("get_array", r#"{"occupied":true,"user_count":1,"subscription_count":1}"#),
    (
        "get_associative",
        r#"{"channels":{"orders":{"subscription_count":1},"presence-room":{"subscription_count":1},
            "private-desk":{"subscription_count":1},"private-encrypted-desk":{"subscription_count":1}}}"#,
    ),
    ("get_channel_info", r#"{"occupied":true}"#),
    ("get_channel_info_members", r#"{"occupied":true,"user_count":1,"subscription_count":1}"#),
    ("get_channel_info_vacant", r#"{"occupied":false}"#),
    (
        "get_channels",
        r#"{"channels":{"orders":{},"presence-room":{},"private-desk":{},"private-encrypted-desk":{}}}"#,
    ),
    // A list instead of this object would make the SDK's `getChannels()` throw.
    ("get_channels_none", r#"{"channels":{}}"#),
    ("get_channels_odd_prefix", r#"{"channels":{}}"#),
    ("get_channels_prefix", r#"{"channels":{"presence-room":{"user_count":1}}}"#),
    ("get_presence_users", r#"{"users":[{"id":"7"}]}"#),
    ("get_presence_users_vacant", r#"{"users":[]}"#),
    ("make_batch_request", "{}"),
    ("make_request", "{}"),
    ("post", "{}"),
    ("post_async", "{}"),
    ("send_to_user", "{}"),
    ("send_to_user_async", "{}"),
    ("trigger", "{}"),
    ("trigger_already_encoded", "{}"),
    ("trigger_async", "{}"),
    ("trigger_batch", "{}"),
    ("trigger_batch_async", "{}"),
    ("trigger_batch_info", r#"{"batch":[{"subscription_count":1},{}]}"#),
    ("trigger_encrypted", "{}"),
    ("trigger_info", r#"{"channels":{"presence-room":{"user_count":1,"subscription_count":1}}}"#),
    ("trigger_odd_data", "{}"),
    ("trigger_several_channels", "{}"),
    (
        "trigger_several_info",
        r#"{"channels":{"orders":{"subscription_count":1},"nobody":{"subscription_count":0}}}"#,
    ),
    ("trigger_socket_id", "{}"),
    ("trigger_with_prefix", "{}"),
];

/// Whose connections a request ends.
const ENDS: &[(&str, &str)] = &[
    ("terminate_async", "7"),
    ("terminate_colon", "users:7|8"),
    // As other SDKs write the user `a/b`; the two cannot be told apart.
    ("terminate_escape", "a/b"),
    ("terminate_mail", "zoe@example.com"),
    ("terminate_percent", "100%"),
    ("terminate_plus", "a+b"),
    ("terminate_slash", "a/b"),
    ("terminate_space", "a b"),
    ("terminate_unicode", "Zoë-你"),
];

/// Signed for another secret, and for an app that is not there.
const REFUSED: &[(&str, u16)] = &[("refused_wrong_app", 404), ("refused_wrong_secret", 401)];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pusher/fixtures/php")
}

/// One recorded request.
struct Recorded {
    name: String,
    text: String,
}

impl Recorded {
    fn all() -> Vec<Self> {
        let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == "http"));
        let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
        files
            .map(|file| Self { name: name(&file), text: fs::read_to_string(file).unwrap() })
            .collect()
    }

    fn of(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(format!("{name}.http"))).unwrap();
        Self { name: name.to_owned(), text }
    }

    fn method(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    fn target(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").unwrap().1
    }

    fn time(&self) -> u64 {
        let after = self.target().split_once("auth_timestamp=").unwrap().1;
        after.split('&').next().unwrap().parse().unwrap()
    }

    fn verify(&self) -> Result<(), RequestError> {
        self.verify_as(self.target(), self.body().as_bytes())
    }

    /// Whether it would be believed in the second in which it was recorded, had it been this.
    fn verify_as(&self, target: &str, body: &[u8]) -> Result<(), RequestError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let clock = Clock { unix_seconds: self.time(), tolerance_seconds: 0 };
        SignedRequest { method: self.method(), path, query, body }.verify(
            credentials(),
            "/ws",
            clock,
        )
    }

    /// The events that its body publishes: channel, name, data.
    fn events(&self) -> Vec<Value> {
        let Ok(body) = serde_json::from_str::<Value>(self.body()) else { return Vec::new() };
        let events = body["batch"].as_array().cloned().unwrap_or_else(|| vec![body]);
        let mut published = Vec::new();
        for one in &events {
            let several = one["channels"].as_array().map(Vec::as_slice);
            let channels = several.unwrap_or(std::slice::from_ref(&one["channel"]));
            for channel in channels.iter().filter_map(Value::as_str) {
                let text = |field: &str| one[field].as_str().unwrap();
                published.push(event(text("name"), channel, text("data")));
            }
        }
        published
    }
}

/// A server to which the recorded times are not too long ago.
fn server_of(cores: usize) -> Running {
    Running::with(|setup| {
        setup.engine.cores = cores;
        setup.pusher.timestamp_tolerance_seconds = u64::MAX;
    })
}

/// One client on everything that the recorded requests ask about or publish to.
fn audience(server: &Running) -> Client {
    let mut client = Client::join(server, "key");
    for channel in CHANNELS {
        let member = r#"{"user_id":"7"}"#;
        let data = channel.starts_with("presence-").then_some(member);
        client.say(&client.signed(channel, data));
        let answer = client.message();
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
    }
    signed_in(&mut client, &user("7"));
    client.subscribe("#server-to-user-7");
    client
}

/// Waits until every count is what it will stay.
fn settle(backend: &mut Backend) {
    backend.ask_until("connections", &[], r#"{"connections":1}"#);
    for channel in CHANNELS {
        let path = format!("channels/{channel}");
        let info = [("info", "subscription_count")];
        backend.ask_until(&path, &info, r#"{"occupied":true,"subscription_count":1}"#);
    }
}

/// The client hears these and nothing else. Events of different channels have no order among them.
fn check_heard(client: &mut Client, recorded: &Recorded) {
    let is_on = |event: &Value| {
        let channel = event["channel"].as_str().unwrap();
        CHANNELS.contains(&channel) || channel == "#server-to-user-7"
    };
    let expected: Vec<_> = recorded.events().into_iter().filter(is_on).collect();
    let mut heard: Vec<_> = expected.iter().map(|_| client.message()).collect();
    for event in expected {
        let at = heard.iter().position(|other| *other == event);
        let at = at.unwrap_or_else(|| {
            panic!("recorded fixture {}: {event} was not among {heard:?}", recorded.name)
        });
        heard.swap_remove(at);
    }
    client.check_alive();
}

fn check_answers(cores: usize) {
    let server = server_of(cores);
    let mut client = audience(&server);
    let mut backend = Backend::new(&server);
    settle(&mut backend);
    for (name, expected) in ANSWERS {
        let recorded = Recorded::of(name);
        let answer = backend.exchange(&recorded.text);
        assert_eq!(answer.status, 200, "recorded fixture {name}: {answer:?}");
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(answer.json(), expected, "recorded fixture {name}");
        check_heard(&mut client, &recorded);
    }
    for (name, status) in REFUSED {
        let answer = backend.exchange(&Recorded::of(name).text);
        assert_eq!(answer.status, *status, "recorded fixture {name}: {answer:?}");
        client.check_alive();
    }
}

#[test]
fn recorded_requests_of_the_php_sdk_are_answered_as_it_needs_on_one_core() {
    check_answers(1);
}

#[test]
fn recorded_requests_of_the_php_sdk_are_answered_as_it_needs_on_four_cores() {
    check_answers(4);
}

fn check_ends(cores: usize) {
    let server = server_of(cores);
    let mut bystander = Client::join(&server, "key");
    signed_in(&mut bystander, &user("bystander"));
    let mut backend = Backend::new(&server);
    for (name, id) in ENDS {
        let mut client = Client::join(&server, "key");
        signed_in(&mut client, &user(id));
        let answer = backend.exchange(&Recorded::of(name).text);
        let got = (answer.status, answer.body.as_str());
        assert_eq!(got, (200, "{}"), "recorded fixture {name}");
        check_ended(&mut client, 4009);
        bystander.check_alive();
    }
}

#[test]
fn recorded_ends_of_users_by_the_php_sdk_end_those_users_on_one_core() {
    check_ends(1);
}

#[test]
fn recorded_ends_of_users_by_the_php_sdk_end_those_users_on_four_cores() {
    check_ends(4);
}

#[test]
fn every_recorded_request_of_the_php_sdk_is_tried() {
    let recorded: BTreeSet<_> = Recorded::all().into_iter().map(|recorded| recorded.name).collect();
    let answers = ANSWERS.iter().map(|(name, _)| *name);
    let ends = ENDS.iter().map(|(name, _)| *name);
    let refused = REFUSED.iter().map(|(name, _)| *name);
    let tried: BTreeSet<_> = answers.chain(ends).chain(refused).map(str::to_owned).collect();
    assert_eq!(recorded, tried, "recorded fixtures, and those that a test names");
}

#[test]
fn recorded_requests_of_the_php_sdk_are_believed_at_their_time_alone() {
    for recorded in Recorded::all().iter().filter(|recorded| !is_refused(recorded)) {
        let name = &recorded.name;
        assert_eq!(recorded.verify(), Ok(()), "recorded fixture {name}");
        let late = Clock { unix_seconds: recorded.time() + 601, tolerance_seconds: 600 };
        let (path, query) = recorded.target().split_once('?').unwrap();
        let body = recorded.body().as_bytes();
        let request = SignedRequest { method: recorded.method(), path, query, body };
        let refusal = request.verify(credentials(), "/ws", late);
        assert!(matches!(refusal, Err(RequestError::Clocks { .. })), "recorded fixture {name}");
    }
}

fn is_refused(recorded: &Recorded) -> bool {
    REFUSED.iter().any(|(name, _)| *name == recorded.name)
}

/// The text with another octet in one place.
fn changed(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).unwrap()
}

/// Elements of an array are signed in their order, whatever their numbers are.
fn is_index(target: &str, at: usize) -> bool {
    target[..at].ends_with("%5B") && target[at + 1..].starts_with("%5D")
}

#[test]
fn recorded_requests_of_the_php_sdk_are_not_believed_with_any_octet_changed() {
    for recorded in Recorded::all().iter().filter(|recorded| !is_refused(recorded)) {
        let (target, body) = (recorded.target(), recorded.body());
        for at in (0..target.len()).filter(|at| !is_index(target, *at)) {
            let other = changed(target, at);
            let is_believed = recorded.verify_as(&other, body.as_bytes()).is_ok();
            assert!(!is_believed, "recorded fixture {} as {other}", recorded.name);
        }
        for at in 0..body.len() {
            let other = changed(body, at);
            let is_believed = recorded.verify_as(target, other.as_bytes()).is_ok();
            assert!(!is_believed, "recorded fixture {} with {other}", recorded.name);
        }
    }
}

#[test]
fn recorded_requests_of_the_php_sdk_with_one_octet_changed_are_refused_with_401() {
    let server = server_of(4);
    let mut client = audience(&server);
    let mut backend = Backend::new(&server);
    for recorded in Recorded::all().iter().filter(|recorded| recorded.name != "refused_wrong_app") {
        let end_of_target = recorded.text.find(" HTTP/1.1").unwrap();
        let in_body = recorded.text.len() - 1;
        let has_body = !recorded.body().is_empty();
        // The last digit of the signature, and the last octet of the body.
        for at in [end_of_target - 1].into_iter().chain(has_body.then_some(in_body)) {
            let answer = backend.exchange(&changed(&recorded.text, at));
            assert_eq!(answer.status, 401, "recorded fixture {}: {answer:?}", recorded.name);
        }
    }
    client.check_alive();
}

#[test]
fn recorded_signatures_of_the_php_sdk_for_channels_and_users_are_believed() {
    let text = fs::read_to_string(folder().join("authorizations.json")).unwrap();
    let recorded: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut calls = BTreeSet::new();
    for one in &recorded {
        let answer: Value = serde_json::from_str(one["answer"].as_str().unwrap()).unwrap();
        let auth = answer["auth"].as_str().unwrap();
        let socket_id = one["socket_id"].as_str().unwrap();
        let check = |auth: &str, socket_id: &str| match one["channel"].as_str() {
            Some(channel) => verify_channel(
                credentials(),
                auth,
                socket_id,
                channel,
                answer["channel_data"].as_str(),
            ),
            None => {
                verify_user(credentials(), auth, socket_id, answer["user_data"].as_str().unwrap())
            }
        };
        assert_eq!(check(auth, socket_id), Ok(()), "recorded fixture {one}");
        assert!(check(auth, "1234.5679").is_err(), "recorded fixture {one}");
        for at in 0..auth.len() {
            let other = changed(auth, at);
            assert!(check(&other, socket_id).is_err(), "recorded fixture {one} with {other}");
        }
        calls.insert(one["call"].as_str().unwrap());
    }
    let methods = ["authenticateUser", "authorizeChannel", "authorizePresenceChannel"];
    let older = ["presenceAuth", "presence_auth", "socketAuth", "socket_auth"];
    assert_eq!(calls, methods.into_iter().chain(older).collect(), "{}", json!(recorded));
}

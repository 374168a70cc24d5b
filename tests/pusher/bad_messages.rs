//! What a client can do wrong: each is answered, counted, and nobody else's business.

use serde_json::json;
use stentor::metrics::Counter;

use crate::backend::Backend;
use crate::client::{Client, Heard, event, succeeded};
use crate::server::{Running, Setup};

/// The longest message of app 1.
const LIMIT: usize = 10_000;

/// Whoever misbehaves, somebody else, who must not notice, and their server, which outlives them.
struct Scene {
    culprit: Client,
    bystander: Client,
    server: Running,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let server = Running::with(change);
        let (culprit, mut bystander) = (Client::join(&server, "key"), Client::join(&server, "key"));
        bystander.subscribe("news");
        Self { culprit, bystander, server }
    }

    /// A message that is answered with an error, and the connection stays.
    fn check_invalid(&mut self, text: &str) {
        self.check_invalid_frame(text, |client| client.say(text));
    }

    fn check_invalid_frame(&mut self, what: &str, say: impl FnOnce(&mut Client)) {
        let before = self.server.count(Counter::ClientErrors);
        say(&mut self.culprit);
        let what = what.get(..80).unwrap_or(what);
        assert_eq!(self.culprit.check_error(4200), "Invalid message format", "{what}");
        self.culprit.check_alive();
        assert_eq!(self.server.count(Counter::ClientErrors), before + 1, "{what}");
    }

    /// Frames that fail the connection with that code, and are counted there.
    fn check_failed(mut self, frames: &[u8], code: u16, counters: &[Counter]) {
        let before: Vec<_> = counters.iter().map(|&counter| self.server.count(counter)).collect();
        self.culprit.offer(frames);
        match self.culprit.next() {
            Heard::Close(got, _) => assert_eq!(got, code),
            other => panic!("{other:?} instead of close {code}"),
        }
        assert_eq!(self.culprit.next(), Heard::End);
        for (&counter, before) in counters.iter().zip(before) {
            assert_eq!(self.server.count(counter), before + 1, "{}", counter.name());
        }
        self.check_bystander();
    }

    fn check_bystander(mut self) {
        Backend::new(&self.server).publish("news", "still", "there");
        assert_eq!(self.bystander.message(), event("still", "news", "there"));
        self.bystander.check_alive();
    }
}

#[test]
fn what_is_no_message_is_answered_with_an_error() {
    let mut scene = Scene::new();
    for text in [
        "",
        " ",
        "hello",
        "{",
        "{}",
        "[]",
        "null",
        "7",
        "\"text\"",
        r#"["pusher:ping"]"#,
        r#"{"event":"pusher:ping""#,
        r#"{"event":"pusher:ping"}}"#,
        r#"{"event":"pusher:ping"} {}"#,
        r#"{'event':'pusher:ping'}"#,
        r#"{"data":{}}"#,
        r#"{"event":null}"#,
        r#"{"event":7}"#,
        r#"{"event":["pusher:ping"]}"#,
        r#"{"event":{"name":"pusher:ping"}}"#,
        r#"{"event":"pusher:ping","channel":7}"#,
        r#"{"event":"\ud800"}"#,
    ] {
        scene.check_invalid(text);
    }
    scene.check_bystander();
}

#[test]
fn a_message_of_the_protocol_with_the_wrong_data_is_answered_with_an_error() {
    let mut scene = Scene::new();
    for event in ["pusher:subscribe", "pusher:unsubscribe"] {
        for data in [
            "null",
            "7",
            "[]",
            "{}",
            "\"\"",
            "\"x\"",
            r#"["a"]"#,
            r#"{"channel":null}"#,
            r#"{"channel":["a"]}"#,
        ] {
            scene.check_invalid(&format!(r#"{{"event":"{event}","data":{data}}}"#));
        }
        scene.check_invalid(&format!(r#"{{"event":"{event}"}}"#));
    }
    scene.check_invalid(r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":7}}"#);
    scene.check_invalid(r#"{"event":"pusher:subscribe","data":{"channel":"a","channel_data":{}}}"#);
    scene.check_bystander();
}

#[test]
fn unknown_events_of_the_protocol_are_answered_and_others_are_not() {
    let mut scene = Scene::new();
    for name in ["pusher:", "pusher:signout", "pusher:error", "pusher:connection_established"] {
        scene.check_invalid(&format!(r#"{{"event":"{name}","data":{{}}}}"#));
    }
    let before = scene.server.count(Counter::ClientErrors);
    for name in ["", "x", "pusher", "pusher_internal:member_added", "Client-x", "news"] {
        scene.culprit.say(&format!(r#"{{"event":"{name}","channel":"news","data":{{}}}}"#));
    }
    scene.culprit.check_alive();
    assert_eq!(scene.server.count(Counter::ClientErrors), before);
    scene.bystander.check_alive();
}

#[test]
fn deep_nesting_is_answered_with_an_error() {
    let mut scene = Scene::with(|setup| setup.apps[0].max_message_bytes = 1_000_000);
    for deep in [129, 10_000, 100_000] {
        let (open, close) = ("[".repeat(deep), "]".repeat(deep));
        scene.check_invalid(&open);
        scene.check_invalid(&format!(r#"{{"event":"pusher:ping","data":{open}{close}}}"#));
        scene.check_invalid(&format!(r#"{{"event":"pusher:subscribe","data":"{open}{close}"}}"#));
        let objects = r#"{\"a\":"#.repeat(deep);
        scene.check_invalid(&format!(r#"{{"event":"pusher:subscribe","data":"{objects}"}}"#));
    }
    scene.check_bystander();
}

#[test]
fn binary_messages_are_read_as_text_if_they_are() {
    let mut scene = Scene::new();
    scene.culprit.say_bytes(br#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#);
    assert_eq!(scene.culprit.message(), succeeded("a"));
    scene.check_invalid_frame("not UTF-8", |client| client.say_bytes(b"\xff\xfe{}"));
    scene.check_invalid_frame("nothing", |client| client.say_bytes(b""));
    scene.check_bystander();
}

#[test]
fn text_that_is_not_utf_8_closes_with_1007() {
    Scene::new().check_failed(b"\x81\x82\0\0\0\0\xc3\x28", 1007, &[Counter::WsErrors]);
}

#[test]
fn an_unmasked_frame_closes_with_1002() {
    Scene::new().check_failed(b"\x81\x02{}", 1002, &[Counter::WsErrors]);
}

/// So many bytes that are a ping.
fn ping_of(bytes: usize) -> String {
    let (head, tail) = (r#"{"event":"pusher:ping","data":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

fn check_limit(scene: &mut Scene) {
    scene.culprit.say(&ping_of(LIMIT));
    assert_eq!(scene.culprit.message(), json!({"event": "pusher:pong", "data": {}}));
    scene.culprit.say(&ping_of(LIMIT + 1));
    assert_eq!(scene.culprit.check_error(4200), "Maximum message size exceeded");
    assert!(matches!(scene.culprit.next(), Heard::Close(1009, _)));
    assert_eq!(scene.culprit.next(), Heard::End);
    assert_eq!(scene.server.count(Counter::ClientErrors), 1);
}

#[test]
fn a_message_past_the_limit_of_the_app_closes_with_1009() {
    // What another app, or the engine, would allow is nothing to this one.
    let mut scene = Scene::with(|setup| {
        (setup.apps[1].max_message_bytes, setup.engine.ws.message_bytes) = (10 * LIMIT, 10 * LIMIT);
    });
    let mut other = Client::join(&scene.server, "other");
    other.say(&ping_of(10 * LIMIT));
    assert_eq!(other.message(), json!({"event": "pusher:pong", "data": {}}));
    check_limit(&mut scene);
    assert_eq!(scene.server.count(Counter::WsErrors), 1);
    scene.check_bystander();
}

#[test]
fn a_message_as_long_as_its_app_allows_is_none_of_the_engines_business() {
    let mut scene = Scene::with(|setup| setup.engine.ws.message_bytes = 100);
    check_limit(&mut scene);
}

#[test]
fn a_frame_that_announces_too_much_is_refused_before_it_has_come() {
    // One byte more than the app allows, as many as another one does, the longest that RFC 6455 §5.2 lets a frame be, and one
    // bit more.
    for (length, code) in [(70_000, 1009), (100_000, 1009), (u64::MAX >> 1, 1009), (1 << 63, 1002)]
    {
        let mut scene = Scene::with(|setup| {
            (setup.apps[0].max_message_bytes, setup.apps[1].max_message_bytes) = (69_999, 100_000);
        });
        let mut head = vec![0x81, 0xff];
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        scene.culprit.offer(&head);
        if code == 1009 {
            scene.culprit.check_error(4200);
        }
        assert!(matches!(scene.culprit.next(), Heard::Close(got, _) if got == code));
        assert_eq!(scene.culprit.next(), Heard::End);
        assert_eq!(scene.server.count(Counter::WsErrors), 1);
        scene.check_bystander();
    }
}

//! What a back end can do wrong: each request gets a status and a reason, is counted, and publishes nothing.

use serde_json::{Value, json};
use stentor::app::unix_seconds;
use stentor::metrics::Counter;
use stentor::pusher::signature::{Credentials, signed_query};

use crate::backend::{Answer, Backend};
use crate::client::{Client, event};
use crate::server::{Running, apps};

const BODY: &str = r#"{"name":"n","channel":"news","data":"d"}"#;

/// A back end that errs, a client that must hear nothing of it, and their server, which outlives them.
struct Scene {
    backend: Backend,
    client: Client,
    server: Running,
}

impl Scene {
    fn new() -> Self {
        let server = Running::start();
        let (backend, mut client) = (Backend::new(&server), Client::join(&server, "key"));
        client.subscribe("news");
        Self { backend, client, server }
    }

    /// A request that is refused: with that status, for a reason that names each of the words.
    fn check(
        &mut self,
        counter: Counter,
        status: u16,
        words: &[&str],
        ask: impl FnOnce(&mut Backend) -> Answer,
    ) {
        let before = self.server.count(counter);
        let answer = ask(&mut self.backend);
        assert_eq!(answer.status, status, "{answer:?}");
        let error = answer.error();
        for word in words {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
        assert_eq!(self.server.count(counter), before + 1, "{error}");
    }

    fn check_body(&mut self, status: u16, words: &[&str], path: &str, body: &str) {
        self.check(Counter::ApiRefused, status, words, |backend| backend.post_text(path, body));
    }

    fn check_event(&mut self, status: u16, words: &[&str], body: &Value) {
        self.check_body(status, words, "events", &body.to_string());
    }

    /// A request whose query is changed after it was signed.
    fn check_query(&mut self, words: &[&str], change: impl FnOnce(String) -> String) {
        let query = query(unix_seconds());
        let target = format!("/apps/1/events?{}", change(query));
        self.check(Counter::ApiUnauthorized, 401, words, |backend| {
            backend.post_as_it_is(&target, BODY)
        });
    }

    /// Nothing was published, and the same connection publishes.
    fn check_end(mut self) {
        self.client.check_alive();
        self.backend.publish("news", "sound", "");
        assert_eq!(self.client.message(), event("sound", "news", ""));
        assert_eq!(self.server.count(Counter::ApiEvents), 1);
    }
}

fn query(time: u64) -> String {
    let credentials = Credentials { key: "key", secret: &"secret".into() };
    signed_query(credentials, "POST", "/apps/1/events", BODY.as_bytes(), time)
}

/// The query without one of its parameters.
fn without(query: &str, name: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn a_request_that_is_not_signed_right_is_unauthorised() {
    let mut scene = Scene::new();
    for name in ["auth_key", "auth_timestamp", "auth_signature"] {
        scene.check_query(&[name], |query| without(&query, name));
    }
    scene.check_query(&["body_md5"], |query| without(&query, "body_md5"));
    scene.check_query(&["auth_key"], |_| String::new());
    scene.check_query(&["signature"], |query| without(&query, "auth_version"));
    scene.check_query(&["signature"], |query| query + "0");
    scene.check_query(&["signature"], |query| query + "&extra=1");
    scene.check_query(&["auth_version", "2.0"], |query| {
        query.replace("auth_version=1.0", "auth_version=2.0")
    });
    scene.check_query(&["other"], |query| query.replace("auth_key=key", "auth_key=other"));
    scene
        .check_query(&["soon"], |query| without(&query, "auth_timestamp") + "&auth_timestamp=soon");
    scene.check_end();
}

#[test]
fn a_body_that_was_not_signed_is_unauthorised() {
    let mut scene = Scene::new();
    let target = format!("/apps/1/events?{}", query(unix_seconds()));
    let other = BODY.replace("\"d\"", "\"forged\"");
    scene.check(Counter::ApiUnauthorized, 401, &["body_md5"], |backend| {
        backend.post_as_it_is(&target, &other)
    });
    scene.check_end();
}

#[test]
fn a_request_signed_with_another_secret_is_unauthorised() {
    let mut scene = Scene::new();
    scene.backend.app.secret = "guessed".into();
    scene.check(Counter::ApiUnauthorized, 401, &["signature"], |backend| {
        backend.post_text("events", BODY)
    });
    scene.backend.app = apps().swap_remove(1);
    scene.backend.app.id = "1".to_owned();
    scene.check(Counter::ApiUnauthorized, 401, &["other"], |backend| {
        backend.post_text("events", BODY)
    });
    scene.backend.app = apps().swap_remove(0);
    scene.check_end();
}

#[test]
fn a_request_of_another_time_is_unauthorised_and_told_how_far_off_it_is() {
    let mut scene = Scene::new();
    for (time, words) in [
        (unix_seconds() - 700, ["700 seconds behind", "600"]),
        (unix_seconds() + 7_200, ["seconds ahead", "600"]),
        (0, ["seconds behind", "600"]),
        (u64::MAX, ["seconds ahead", "600"]),
    ] {
        scene.check_query(&words[1..], |_| query(time));
    }
    let target = format!("/apps/1/events?{}", query(unix_seconds() - 500));
    assert_eq!(scene.backend.post_as_it_is(&target, BODY).status, 200);
    scene.client.message();
}

#[test]
fn unknown_and_disabled_apps_are_refused() {
    let mut scene = Scene::new();
    scene.backend.app.id = "99".to_owned();
    scene.check_body(404, &["99"], "events", BODY);
    scene.backend.app = apps().swap_remove(2);
    scene.check_body(403, &["not enabled"], "events", BODY);
    scene.backend.app = apps().swap_remove(0);
    scene.check_end();
}

#[test]
fn unknown_routes_and_methods_are_refused() {
    let mut scene = Scene::new();
    for target in ["/apps", "/apps/1", "/apps/1/nothing", "/apps/1/events/x", "/elsewhere"] {
        scene.check(Counter::ApiRefused, 404, &[target], |backend| backend.get(target));
    }
    scene.check(Counter::ApiRefused, 405, &["GET", "POST"], |backend| {
        let answer = backend.get("/apps/1/events");
        assert!(answer.head.contains("Allow: POST\r\n"), "{answer:?}");
        answer
    });
    scene.check_end();
}

#[test]
fn a_body_that_is_no_event_is_refused() {
    let mut scene = Scene::new();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "7",
        r#"["n","news","d"]"#,
        r#"{"name":7,"channel":"news","data":"d"}"#,
        r#"{"name":"n","channel":["news"],"data":"d"}"#,
        r#"{"name":"n","channels":"news","data":"d"}"#,
        r#"{"name":"n","channels":[7],"data":"d"}"#,
        r#"{"name":"n","channel":"news","data":"d","socket_id":7}"#,
        r#"{"name":"n","channel":"news","data":"d"} x"#,
    ] {
        scene.check_body(400, &[], "events", body);
    }
    scene.check_body(400, &["name"], "events", r#"{"channel":"news","data":"d"}"#);
    scene.check_body(400, &["name"], "events", r#"{"name":"","channel":"news","data":"d"}"#);
    scene.check_body(400, &["data"], "events", r#"{"name":"n","channel":"news"}"#);
    scene.check_body(400, &["data"], "events", r#"{"name":"n","channel":"news","data":null}"#);
    scene.check_body(400, &["channel"], "events", r#"{"name":"n","data":"d"}"#);
    scene.check_body(400, &["channel"], "events", r#"{"name":"n","channels":[],"data":"d"}"#);
    scene.check_end();
}

#[test]
fn deep_nesting_is_refused_or_passed_on_and_never_followed() {
    let mut scene = Scene::new();
    let deep = 100_000;
    let (open, close) = ("[".repeat(deep), "]".repeat(deep));
    scene.check_body(400, &[], "events", &open);
    scene.check_body(400, &[], "events", &format!(r#"{{"name":{open}{close}}}"#));
    scene.check_body(400, &[], "batch_events", &format!(r#"{{"batch":{open}{close}}}"#));
    scene.check_body(
        413,
        &["200000", "102400"],
        "events",
        &format!(r#"{{"name":"n","channel":"news","data":{open}{close}}}"#),
    );
    // As deep as the limit of an event lets it be.
    let deep = 51_000;
    let (open, close) = ("[".repeat(deep), "]".repeat(deep));
    let objects = r#"{"a":"#.repeat(deep / 3);
    let body = |data: &str| format!(r#"{{"name":"n","channel":"news","data":{data}}}"#);
    let batch = |data: &str| format!(r#"{{"batch":[{}]}}"#, body(data));
    for data in [&open, &objects, &format!("{open}{}", &close[1..]), &format!("{open}{close}]")] {
        scene.check_body(400, &[], "events", &body(data));
        scene.check_body(400, &[], "batch_events", &batch(data));
    }
    scene.client.check_alive();
    let balanced = format!("{open}{close}");
    for (path, body) in [("events", body(&balanced)), ("batch_events", batch(&balanced))] {
        assert_eq!(scene.backend.post_text(path, &body).status, 200);
        assert_eq!(scene.client.message(), event("n", "news", &balanced));
    }
    scene.client.check_alive();
}

#[test]
fn names_of_channels_and_events_are_checked() {
    let mut scene = Scene::new();
    let body = |name: &str, channel: &str| json!({"name": name, "channel": channel, "data": ""});
    scene.check_event(400, &["201", "200"], &body("n", &"c".repeat(201)));
    scene.check_event(400, &["201", "200"], &body(&"n".repeat(201), "news"));
    scene.check_event(400, &["a:b"], &body("n", "a:b"));
    scene.check_event(400, &["empty"], &body("n", ""));
    scene.check_event(
        400,
        &["a b"],
        &json!({"name": "n", "channels": ["news", "a b"], "data": ""}),
    );
    scene.check_event(
        400,
        &["abc"],
        &json!({"name": "n", "channel": "news", "data": "", "socket_id": "abc"}),
    );
    scene.check_event(
        400,
        &["age"],
        &json!({"name": "n", "channel": "news", "data": "", "info": "age"}),
    );
    scene.check_end();
}

#[test]
fn an_event_for_more_than_100_channels_is_refused() {
    let mut scene = Scene::new();
    let channels =
        |count: usize| (0..count).map(|number| format!("c-{number}")).collect::<Vec<_>>();
    let body = |count: usize| json!({"name": "n", "channels": channels(count), "data": ""});
    scene.check_event(400, &["101", "100"], &body(101));
    assert_eq!(scene.server.count(Counter::ApiEvents), 0);
    assert_eq!(scene.backend.post("events", &body(100)).status, 200);
    assert_eq!(scene.server.count(Counter::ApiEvents), 100);
}

#[test]
fn a_batch_is_refused_whole() {
    let mut scene = Scene::new();
    let sound = json!({"name": "n", "channel": "news", "data": "d"});
    let mut check = |status: u16, words: &[&str], batch: Value| {
        scene.check_body(status, words, "batch_events", &json!({"batch": batch}).to_string());
    };
    check(400, &["11", "10"], json!(vec![sound.clone(); 11]));
    check(400, &[], json!([]));
    check(400, &[], json!(7));
    check(400, &["event 1", "name"], json!([sound, {"channel": "news", "data": ""}]));
    check(400, &["event 2"], json!([sound, sound, 7]));
    check(400, &["event 1"], json!([sound, {"name": "n", "channels": ["a", "b"], "data": ""}]));
    check(
        413,
        &["event 1", "102401"],
        json!([sound, {"name": "n", "channel": "a", "data": "x".repeat(102_401)}]),
    );
    scene.check_end();
}

#[test]
fn data_past_the_limit_of_an_event_is_refused() {
    let mut scene = Scene::new();
    let body = |bytes: usize| json!({"name": "n", "channel": "news", "data": "x".repeat(bytes)});
    scene.check_event(413, &["102401", "102400"], &body(102_401));
    assert_eq!(scene.backend.post("events", &body(102_400)).status, 200);
    assert_eq!(scene.client.message()["data"].as_str().unwrap().len(), 102_400);
    // What counts is the string that clients get, not the escapes it was written with.
    let escaped = format!(r#"{{"name":"n","channel":"news","data":"{}"}}"#, "\\n".repeat(102_400));
    assert_eq!(scene.backend.post_text("events", &escaped).status, 200);
}

#[test]
fn a_body_past_the_limit_of_a_request_is_refused_before_it_has_come() {
    let mut scene = Scene::new();
    let announced = scene
        .backend
        .exchange("POST /apps/1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(announced.status, 413, "{announced:?}");
    assert_eq!(scene.server.count(Counter::HttpErrors), 1);
    scene.backend = Backend::new(&scene.server);
    scene.check_end();
}

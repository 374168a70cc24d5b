//! How a client comes in, and how it is refused: by 101, an error frame, and a close frame with the same code.

use serde_json::json;
use stentor::metrics::Counter;

use crate::backend::Backend;
use crate::client::{Client, Heard, Talk, subscribe};
use crate::server::Running;

fn check_served(server: &Running, target: &str) {
    let greeting = Client::open(server, target).message();
    assert_eq!(greeting["event"], "pusher:connection_established", "{target}: {greeting}");
}

/// Refused and counted; somebody of another app, who is there all the while, hears nothing of it and is served.
fn check_refused(server: &Running, target: &str, code: u16) {
    let mut bystander = Client::join(server, "other");
    let before = server.count(Counter::UpgradesRefused);
    Client::open(server, target).check_refused(code, code);
    assert_eq!(server.count(Counter::UpgradesRefused), before + 1, "{target}");
    bystander.check_alive();
}

#[test]
fn the_first_frame_tells_socket_id_and_activity_timeout() {
    let server = Running::with(|setup| setup.apps[0].activity_timeout_seconds = 17);
    let greeting = Client::open(&server, "/app/key?protocol=7").message();
    let socket_id = greeting["data"]["socket_id"].as_str().unwrap();
    let parts: Vec<_> = socket_id.split('.').collect();
    assert!(
        parts.len() == 2 && parts.iter().all(|part| part.parse::<u64>().is_ok()),
        "{socket_id}"
    );
    let data = json!({"socket_id": socket_id, "activity_timeout": 17});
    assert_eq!(greeting, json!({"event": "pusher:connection_established", "data": data}));
}

#[test]
fn no_two_connections_have_one_socket_id() {
    let server = Running::start();
    let clients: Vec<_> = (0..50).map(|_| Client::join(&server, "key")).collect();
    let mut names: Vec<_> = clients.iter().map(|client| client.socket_id.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 50);
}

#[test]
fn protocols_5_to_7_and_none_are_served() {
    let server = Running::start();
    for query in [
        "?protocol=7&client=js&version=8.6.0&flash=false",
        "?protocol=6",
        "?protocol=5",
        "",
        "?x=y",
    ] {
        check_served(&server, &format!("/app/key{query}"));
    }
    assert_eq!(server.count(Counter::UpgradesRefused), 0);
}

#[test]
fn a_prefix_may_stand_before_every_path() {
    let server = Running::start();
    check_served(&server, "/ws/app/key");
    check_served(&server, "/app/key");
    check_served(&server, "/app/r/a-token/app/key");
    check_served(&server, "/ws/app/r/a-token/app/key");
    let mut backend = Backend::new(&server);
    assert_eq!((backend.get("/up").status, backend.get("/ws/up").status), (200, 200));
}

#[test]
fn protocols_that_are_not_spoken_are_refused() {
    let server = Running::start();
    check_refused(&server, "/app/key?protocol=3", 4007);
    check_refused(&server, "/app/key?protocol=8", 4007);
    check_refused(&server, "/app/key?protocol=x", 4006);
    check_refused(&server, "/app/key?protocol=", 4006);
}

#[test]
fn unknown_and_disabled_apps_are_refused() {
    let server = Running::start();
    check_refused(&server, "/app/nobody?protocol=7", 4001);
    check_refused(&server, "/ws/app/nobody", 4001);
    check_refused(&server, &format!("/app/{}", "k".repeat(2000)), 4001);
    check_refused(&server, "/app/off?protocol=7", 4003);
}

#[test]
fn malformed_paths_are_refused() {
    let server = Running::start();
    for target in [
        "/app",
        "/app/",
        "/app/key/",
        "/app/key/more",
        "/app/r/token",
        "/app/r//app/key",
        "/other/prefix/app/key",
    ] {
        check_refused(&server, target, 4005);
    }
}

#[test]
fn the_connection_past_the_quota_is_refused_until_one_leaves() {
    let server = Running::start();
    let first = Client::join(&server, "small");
    check_refused(&server, "/app/small", 4004);
    check_refused(&server, "/app/small", 4004);
    first.leave();
    check_served(&server, "/app/small");
}

#[test]
fn the_quota_is_counted_on_all_cores() {
    let server = Running::with(|setup| setup.apps[0].max_connections = Some(4));
    let clients: Vec<_> = (0..4).map(|_| Client::join(&server, "key")).collect();
    for _ in 0..20 {
        check_refused(&server, "/app/key", 4004);
    }
    drop(clients);
}

#[test]
fn a_refused_client_is_not_served() {
    let server = Running::start();
    let mut client = Client::open(&server, "/app/nobody");
    client.offer(&Talk::new().text(&subscribe("news")));
    client.check_refused(4001, 4001);
}

#[test]
fn a_plain_request_to_the_clients_path_is_told_to_upgrade() {
    let server = Running::start();
    let answer = Backend::new(&server).get("/app/key?protocol=7");
    assert_eq!(answer.status, 426);
    assert!(answer.head.contains("Upgrade: websocket\r\n"), "{answer:?}");
    assert!(answer.head.contains("Sec-WebSocket-Version: 13\r\n"), "{answer:?}");
}

#[test]
fn an_upgrade_elsewhere_gets_a_status() {
    let server = Running::start();
    let upgrade = |target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    for target in ["/", "/apps/1/events", "/wsx/application/key"] {
        assert_eq!(Backend::new(&server).exchange(&upgrade(target)).status, 404, "{target}");
    }
    assert_eq!(server.count(Counter::UpgradesRefused), 3);
}

#[test]
fn health_needs_no_signature() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    let answer = backend.get("/up");
    assert_eq!((answer.status, answer.json()), (200, json!({"health": "OK"})));
    assert_eq!(backend.post_as_it_is("/up", "").status, 405);
    assert_eq!(server.count(Counter::ApiRefused), 1);
}

#[test]
fn pings_are_answered_of_either_kind() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.ping();
    assert_eq!(client.next(), Heard::Pong);
    let pong = json!({"event": "pusher:pong", "data": {}});
    for ping in [
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event": "pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":"{}"}"#,
        r#"{"data":null,"event":"pusher:ping"}"#,
    ] {
        client.say(ping);
        assert_eq!(client.message(), pong, "{ping}");
    }
}

//! The shapes in which HTTP clients bring a sound request.

use serde_json::json;
use stentor::app::unix_seconds;
use stentor::metrics::Counter;
use stentor::pusher::signature::{Credentials, signed_query};

use crate::backend::Backend;
use crate::client::{Client, event};
use crate::server::Running;

const BODY: &str = r#"{"name":"n","channel":"news","data":"d"}"#;

/// The head of a signed request up to its own fields.
fn head() -> String {
    let credentials = Credentials { key: "key", secret: &"secret".into() };
    let query =
        signed_query(credentials, "POST", "/apps/1/events", BODY.as_bytes(), unix_seconds());
    format!("POST /apps/1/events?{query} HTTP/1.1\r\nHost: a\r\n")
}

fn sized() -> String {
    format!("{}Content-Length: {}\r\n\r\n{BODY}", head(), BODY.len())
}

/// A request that publishes one event.
fn check(request: &str) {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let answer = Backend::new(&server).exchange(request);
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{answer:?}");
    assert_eq!(client.message(), event("n", "news", "d"));
    client.check_alive();
}

#[test]
fn a_body_may_come_in_chunks() {
    let (one, two) = BODY.split_at(9);
    let chunks = format!("9\r\n{one}\r\n{:x};note=1\r\n{two}\r\n0\r\n\r\n", two.len());
    check(&format!("{}Transfer-Encoding: chunked\r\n\r\n{chunks}", head()));
}

#[test]
fn a_target_may_be_absolute() {
    check(&sized().replace("POST /", "POST http://localhost/"));
}

#[test]
fn a_request_hidden_in_another_publishes_nothing() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let hidden = sized();
    let length = hidden.len() + 5;
    for (number, fields) in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
        "Content-Length: 5, 0".to_owned(),
        "Content-Length: +5".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Transfer-Encoding:\r\n chunked".to_owned(),
        "X: y\nTransfer-Encoding: chunked".to_owned(),
        "Expect: tea".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let request =
            format!("POST /apps/1/events HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = Backend::new(&server).exchange(&request);
        assert!(answer.status >= 400 && answer.head.contains("Connection: close"), "{answer:?}");
        assert_eq!(server.count(Counter::HttpErrors), number as u64 + 1, "{fields}");
    }
    client.check_alive();
    assert_eq!((server.count(Counter::ApiEvents), server.count(Counter::HttpRequests)), (0, 1));
}

#[test]
fn a_connection_carries_a_thousand_requests() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let mut backend = Backend::new(&server);
    for number in 0..1_000 {
        backend.publish("news", "n", &number.to_string());
        assert_eq!(client.message(), event("n", "news", &number.to_string()));
    }
    assert_eq!(server.count(Counter::Accepted), 2);
}

#[test]
fn requests_in_one_write_are_answered_in_their_order() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let mut backend = Backend::new(&server);
    let counted = json!({"name": "n", "channel": "news", "data": "", "info": "subscription_count"});
    let counted = counted.to_string();
    let credentials = Credentials { key: "key", secret: &"secret".into() };
    let query =
        signed_query(credentials, "POST", "/apps/1/events", counted.as_bytes(), unix_seconds());
    // The first must wait for another core, and the others for the first.
    let first = format!(
        "POST /apps/1/events?{query} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{counted}",
        counted.len()
    );
    let last = "GET /up HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = [
        backend.exchange(&format!("{first}{}{last}", sized())).body,
        backend.exchange("").body,
        backend.exchange("").body,
    ];
    assert!(answers[0].starts_with(r#"{"channels":{"news":{"#), "{answers:?}");
    assert_eq!(answers[1..], ["{}", r#"{"health":"OK"}"#]);
    assert_eq!(client.message(), event("n", "news", ""));
    assert_eq!(client.message(), event("n", "news", "d"));
}

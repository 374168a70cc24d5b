//! HTTP/1.1 over real sockets: what is served, what is refused, and that a refusal touches nobody else.

use std::sync::mpsc;
use std::time::Duration;

use stentor::http::{self, ProtocolError as E};
use stentor::metrics::Counter;
use stentor::{Conn, ConnError, Handler, Options, Request, Response};

use crate::support::{Client, PATIENCE, Running, options};

const REQUEST_DEADLINE: Duration = Duration::from_millis(500);

const LIMITS: http::Limits = http::Limits { head_bytes: 1024, headers: 16, body_bytes: 4096 };

/// Answers with method, path and body, and tells of errors.
struct Echo {
    errors: mpsc::Sender<E>,
}

impl Handler for Echo {
    fn on_request(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) {
        let body = String::from_utf8_lossy(request.body());
        conn.respond(Response::text(
            200,
            format!("{} {} {body}", request.method(), request.path()),
        ));
    }

    fn on_error(&mut self, _conn: &mut Conn<'_>, error: &ConnError) {
        if let ConnError::Http(error) = error {
            self.errors.send(*error).unwrap();
        }
    }
}

/// A server of echoes, and the errors that its handlers hear of.
fn serve(options: Options) -> (Running, mpsc::Receiver<E>) {
    let (errors, heard) = mpsc::channel();
    (Running::start(options, move |_core| Echo { errors: errors.clone() }), heard)
}

/// For requests that arrive: no deadline that a slow machine could miss.
fn patient() -> Options {
    Options { http: LIMITS, request_deadline: PATIENCE, keep_alive: PATIENCE, ..options() }
}

/// For requests that do not.
fn hasty() -> Options {
    Options { http: LIMITS, request_deadline: REQUEST_DEADLINE, keep_alive: PATIENCE, ..options() }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

fn check_answer(client: &mut Client, expected: &str) {
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{}", answer.head);
}

/// Sends `bytes` on a connection of their own: they are refused with the error's status, and the connection ends.
fn check_refusal(server: &Running, heard: &mpsc::Receiver<E>, bytes: &[u8], expected: E) {
    let mut client = server.connect();
    client.offer(bytes);
    check_refused(&mut client, heard, bytes, expected);
}

/// `bytes` were sent, and are refused.
fn check_refused(client: &mut Client, heard: &mpsc::Receiver<E>, bytes: &[u8], expected: E) {
    let text = String::from_utf8_lossy(bytes);
    let answer = client.read_answer();
    assert_eq!(answer.status, expected.status(), "{text:?}");
    assert_eq!(answer.body, format!("{expected}\n"), "{text:?}");
    assert!(answer.says_close(), "{text:?}: {}", answer.head);
    assert_eq!(client.read_to_end(), b"", "{text:?}");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(expected), "{text:?}");
}

/// Every fault of a request that its bytes show.
fn faults() -> Vec<(String, E)> {
    let limit = LIMITS.head_bytes;
    vec![
        (format!("GET /{}", "x".repeat(limit)), E::RequestLineTooBig { limit }),
        (post(&format!("X: {}", "x".repeat(limit)), ""), E::HeadTooBig { limit }),
        (post(&["X: y"; 16].join("\r\n"), ""), E::HeadersTooMany { count: 17, limit: 16 }),
        (String::from("GET / HTTP/1.1\nHost: a\n\n"), E::BareLineFeed),
        (post("X: a\nY: b", ""), E::BareLineFeed),
        (post("X: a\r\n b", ""), E::HeaderFolded),
        (post("X : a", ""), E::HeaderSpaceBeforeColon),
        (post("X: \0", ""), E::ControlCharacter { byte: 0 }),
        (post("no colon", ""), E::HeaderInvalid),
        (String::from("rubbish\r\n\r\n"), E::RequestLineInvalid),
        (String::from("GE(T / HTTP/1.1\r\n\r\n"), E::MethodInvalid),
        (String::from("CONNECT a:1 HTTP/1.1\r\n\r\n"), E::Connect),
        (String::from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), E::VersionUnsupported),
        (String::from("GET / HTTP/1.1\r\n\r\n"), E::HostMissing),
        (post("Host: b", ""), E::HostRepeated),
        (post("Content-Length: 1\r\nContent-Length: 1", "x"), E::ContentLengthRepeated),
        (post("Content-Length: 1\r\nContent-Length: 2", "x"), E::ContentLengthRepeated),
        (post("Content-Length: 1x", "x"), E::ContentLengthInvalid),
        (
            post("Content-Length: 1\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            E::ContentLengthWithTransferEncoding,
        ),
        (post("Transfer-Encoding: gzip", ""), E::TransferEncodingInvalid),
        (post("Transfer-Encoding: gzip, chunked", ""), E::TransferEncodingUnknown),
        (post("Transfer-Encoding: chunked", "0\r\nHost: a\r\n\r\n"), E::TrailerForbidden),
        (
            String::from("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            E::TransferEncodingInHttp10,
        ),
        (post("Content-Length: 4097", ""), E::BodyTooBig { bytes: 4097, limit: 4096 }),
        (
            post("Transfer-Encoding: chunked", "1001\r\n"),
            E::BodyTooBig { bytes: 4097, limit: 4096 },
        ),
        (post("Transfer-Encoding: chunked", "x\r\n"), E::ChunkInvalid),
        (post("Expect: 200-ok\r\nContent-Length: 1", ""), E::ExpectationUnknown),
    ]
}

#[test]
fn every_fault_is_refused_and_touches_nobody_else() {
    let (server, heard) = serve(patient());
    // Enough of them that both cores have some, whichever way the system deals them out.
    let mut others: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for ((bytes, error), count) in faults().into_iter().zip(1..) {
        check_refusal(&server, &heard, bytes.as_bytes(), error);
        assert_eq!(server.metrics().total(Counter::HttpErrors), count, "{bytes:?}");
        for other in &mut others {
            other.send(get("/other"));
            check_answer(other, "GET /other ");
        }
    }
    assert_eq!(server.metrics().total(Counter::Panics), 0);
}

#[test]
fn a_fault_behind_a_good_request_is_refused_after_its_answer() {
    let (server, heard) = serve(patient());
    let mut client = server.connect();
    client.send(get("/good") + "GET /bad HTTP/1.1\r\n\r\n" + &get("/never"));
    check_answer(&mut client, "GET /good ");
    assert_eq!(client.read_answer().status, 400);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(E::HostMissing));
}

#[test]
fn a_body_refused_while_it_arrives_does_not_cut_off_the_refusal() {
    let (server, heard) = serve(patient());
    let body = "x".repeat(256 * 1024);
    let bytes = post(&format!("Content-Length: {}", body.len()), &body);
    check_refusal(&server, &heard, bytes.as_bytes(), E::BodyTooBig { bytes: 262_144, limit: 4096 });
}

#[test]
fn a_tls_handshake_is_dropped_without_a_word() {
    let (server, heard) = serve(patient());
    let mut client = server.connect();
    client.offer(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(E::Tls));
}

#[test]
fn a_half_sent_request_meets_the_deadline() {
    let (server, heard) = serve(hasty());
    let half_sent = [
        String::from("G"),
        String::from("GET / HTTP/1.1\r\nHost: a\r\n"),
        post("Content-Length: 10", "half"),
        post("Transfer-Encoding: chunked", "a\r\nhalf"),
        post("Expect: 100-continue\r\nTransfer-Encoding: chunked", "0\r\n"),
    ];
    let mut bystander = server.connect();
    bystander.send(get("/before"));
    check_answer(&mut bystander, "GET /before ");
    let mut clients = half_sent.map(|bytes| (server.connect(), bytes));
    for (client, bytes) in &mut clients {
        client.send(&bytes);
    }
    for ((client, bytes), count) in clients.iter_mut().zip(1..) {
        check_refused(client, &heard, bytes.as_bytes(), E::Timeout);
        assert!(server.metrics().total(Counter::RequestsLate) >= count, "{bytes:?}");
        bystander.send(get("/other"));
        check_answer(&mut bystander, "GET /other ");
    }
    assert_eq!(server.metrics().total(Counter::RequestsLate), 5);
}

#[test]
fn a_request_in_drops_meets_the_deadline_all_the_same() {
    let (server, _heard) = serve(hasty());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nX: ");
    for _ in 0..LIMITS.head_bytes / 2 {
        if client.hears_within(REQUEST_DEADLINE / 20) {
            break;
        }
        client.offer("x");
    }
    assert_eq!(client.read_answer().status, 408);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_second_request_has_a_deadline_of_its_own() {
    let (server, _heard) = serve(hasty());
    let mut client = server.connect();
    client.send(get("/1"));
    check_answer(&mut client, "GET /1 ");
    // Between requests the longer keep-alive runs.
    assert!(!client.hears_within(REQUEST_DEADLINE * 2));
    client.send(get("/2") + "GET /3");
    check_answer(&mut client, "GET /2 ");
    assert_eq!(client.read_answer().status, 408);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_connection_without_a_word_is_ended() {
    let (server, _heard) = serve(hasty());
    let bytes = server.connect().read_to_end();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn a_connection_that_rests_too_long_is_ended() {
    let (server, _heard) = serve(Options { keep_alive: REQUEST_DEADLINE, ..patient() });
    let mut client = server.connect();
    client.send(get("/"));
    check_answer(&mut client, "GET / ");
    let bytes = client.read_to_end();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    let paths: Vec<_> = (0..1000).map(|number| format!("/{number}")).collect();
    client.send(paths.iter().map(|path| get(path)).collect::<String>());
    for path in paths {
        check_answer(&mut client, &format!("GET {path} "));
    }
}

#[test]
fn a_thousand_requests_share_one_connection() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    for number in 0..1000 {
        let body = number.to_string();
        client.send(post(&format!("Content-Length: {}", body.len()), &body));
        check_answer(&mut client, &format!("POST /p {number}"));
    }
}

#[test]
fn a_chunked_body_may_be_cut_anywhere() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    let bytes =
        post("Transfer-Encoding: chunked", "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n");
    for byte in bytes.as_bytes() {
        client.send([*byte]);
    }
    check_answer(&mut client, "POST /p hello world");
    client.send(&bytes);
    check_answer(&mut client, "POST /p hello world");
}

#[test]
fn a_body_at_the_limit_is_served() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    let body = "x".repeat(LIMITS.body_bytes);
    client.send(post(&format!("Content-Length: {}", body.len()), &body));
    check_answer(&mut client, &format!("POST /p {body}"));
}

#[test]
fn who_expects_100_continue_hears_it_before_the_body() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(post("Expect: 100-continue\r\nContent-Length: 4", ""));
        assert_eq!(client.read_head().head, "HTTP/1.1 100 Continue");
        client.send("body");
        check_answer(&mut client, "POST /p body");
    }
}

#[test]
fn head_is_answered_without_a_body() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    client.send(String::from("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n") + &get("/g"));
    assert!(client.read_head().head.contains("\r\nContent-Length: 8"));
    check_answer(&mut client, "GET /g ");
}

#[test]
fn the_connection_ends_when_the_client_says_so() {
    let (server, _heard) = serve(patient());
    for request in
        ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    {
        let mut client = server.connect();
        client.send(request);
        let answer = client.read_answer();
        assert!(answer.status == 200 && answer.says_close(), "{}", answer.head);
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn who_finishes_its_side_is_still_answered() {
    let (server, _heard) = serve(patient());
    let mut client = server.connect();
    client.send(get("/1") + &get("/2"));
    client.finish();
    check_answer(&mut client, "GET /1 ");
    check_answer(&mut client, "GET /2 ");
    assert_eq!(client.read_to_end(), b"");
}

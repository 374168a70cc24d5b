//! What a broken or hostile WebSocket peer gets, and that nobody else notices.

use std::time::Duration;

use stentor::metrics::Counter;
use stentor::{Options, Patience, ws};

use super::room::Room;
use super::support::{PATIENCE, Running, options};
use super::ws_client::WsClient;

/// Sends raw bytes after the handshake, and expects the close code; a bystander is served before and after.
fn check(bytes: &[u8], code: u16) {
    let limits = ws::Limits { message_bytes: 1000 };
    let server = Running::start(Options { ws: limits, ..options() }, |_| Room::default());
    let mut bystander = WsClient::open(&server);
    let mut bad = WsClient::open(&server);
    bystander.say("before");
    assert_eq!(bystander.hear(), "before");
    bad.client.offer(bytes);
    let last_words = bad.hear();
    assert!(last_words.starts_with("error: "), "{last_words}");
    assert_eq!((bad.hear(), bad.hear()), (format!("<close {code}>"), "<end>".to_owned()));
    bystander.say("after");
    assert_eq!(bystander.hear(), "after");
    assert_eq!(server.metrics().total(Counter::WsErrors), 1);
    assert_eq!(server.metrics().total(Counter::Panics), 0);
}

#[test]
fn an_unmasked_frame_closes_with_1002() {
    check(&[0x81, 0x01, b'x'], 1002);
}

#[test]
fn a_reserved_bit_closes_with_1002() {
    check(&[0xc1, 0x80, 0, 0, 0, 0], 1002);
}

#[test]
fn a_reserved_opcode_closes_with_1002() {
    check(&[0x83, 0x80, 0, 0, 0, 0], 1002);
}

#[test]
fn a_fragmented_ping_closes_with_1002() {
    check(&[0x09, 0x80, 0, 0, 0, 0], 1002);
}

#[test]
fn a_long_ping_closes_with_1002() {
    check(&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], 1002);
}

#[test]
fn a_length_that_is_not_minimal_closes_with_1002() {
    check(&[0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002);
}

#[test]
fn a_continuation_of_nothing_closes_with_1002() {
    check(&[0x80, 0x80, 0, 0, 0, 0], 1002);
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    check(&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007);
}

#[test]
fn a_frame_that_announces_too_much_closes_with_1009_before_it_has_come() {
    check(&[0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0], 1009);
    check(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], 1009);
}

#[test]
fn a_length_past_63_bits_closes_with_1002() {
    check(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], 1002);
}

#[test]
fn a_close_code_that_may_not_be_sent_closes_with_1002() {
    check(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], 1002);
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let patience = Patience {
        ping_after: Duration::from_millis(300),
        close_after: Duration::from_millis(300),
    };
    let server = Running::start(Options { patience, ..options() }, |_| Room::default());
    let mut silent = server.connect();
    silent.send(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    assert_eq!(silent.read_head().status, 101);
    assert_eq!(silent.read_exactly(2), [0x89, 0]);
    assert_eq!(silent.read_exactly(4)[..1], [0x88], "a close frame");
    assert_eq!(server.metrics().total(Counter::IdleClosed), 1);
    assert!(silent.hears_within(PATIENCE), "the end, since the close is not answered");
}

#[test]
fn a_consumer_that_never_reads_is_closed_and_healthy_ones_hear_everything() {
    let server =
        Running::start(Options { outbox_bytes: 256 * 1024, ..options() }, |_| Room::default());
    let mut healthy = WsClient::open(&server);
    let mut slow = WsClient::open(&server);
    for client in [&mut healthy, &mut slow] {
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    let text = "x".repeat(60_000);
    let mut sent = 0;
    // The kernel's buffers come first; they are some megabytes at most.
    while server.metrics().total(Counter::SlowConsumers) == 0 {
        assert!(sent < 2_000, "the slow one was not closed after {sent} events");
        server.publisher().publish("t", text.as_str(), None).unwrap();
        sent += 1;
        assert_eq!(healthy.hear().len(), text.len());
    }
    healthy.say("still here");
    assert_eq!(healthy.hear(), "still here");
    let mut last = slow.hear();
    loop {
        match slow.hear() {
            end if end == "<end>" => break,
            heard => last = heard,
        }
    }
    assert_eq!(last, "<close 1013>");
}

#[test]
fn a_panic_costs_one_connection() {
    let server = Running::start(Options { cores: 1, ..options() }, |_| Room::default());
    let mut bystander = WsClient::open(&server);
    let mut bad = WsClient::open(&server);
    bad.say("panic");
    assert_eq!((bad.hear(), bad.hear()), ("<close 1011>".to_owned(), "<end>".to_owned()));
    bystander.say("hello");
    assert_eq!(bystander.hear(), "hello");
    assert_eq!(server.metrics().total(Counter::Panics), 1);
}

#[test]
fn a_stop_sends_close_frames_and_ends_in_time() {
    let server = Running::start(options(), |_| Room::default());
    let mut clients: Vec<WsClient> = (0..20).map(|_| WsClient::open(&server)).collect();
    server.stop();
    for client in &mut clients {
        assert_eq!((client.hear(), client.hear()), ("<close 1001>".to_owned(), "<end>".to_owned()));
    }
}

#[test]
fn the_peers_close_code_comes_back_and_the_server_ends_tcp() {
    let server = Running::start(options(), |_| Room::default());
    let mut client = WsClient::open(&server);
    client.close(3456);
    assert_eq!((client.hear(), client.hear()), ("<close 3456>".to_owned(), "<end>".to_owned()));
}

//! What a broken or hostile WebSocket peer gets, and that nobody else notices.

use std::time::Duration;

use stentor::metrics::Counter;
use stentor::{Options, Patience, ws};

use super::room::Room;
use super::support::{PATIENCE, Running, options};
use super::ws_client::WsClient;

/// Sends each of these after a handshake of its own, and expects its close code; a bystander is served before and after.
fn check(faults: &[&[u8]], code: u16) {
    let limits = ws::Limits { message_bytes: 1000 };
    let server = Running::start(Options { ws: limits, ..options() }, |_| Room::default());
    let mut bystander = WsClient::open(&server);
    for (bytes, count) in faults.iter().zip(1..) {
        let mut bad = WsClient::open(&server);
        bystander.say("before");
        assert_eq!(bystander.hear(), "before");
        bad.client.offer(bytes);
        let last_words = bad.hear();
        assert!(last_words.starts_with("error: "), "{last_words}");
        let end = (format!("<close {code}>"), "<end>".to_owned());
        assert_eq!((bad.hear(), bad.hear()), end, "{bytes:02x?}");
        bystander.say("after");
        assert_eq!(bystander.hear(), "after");
        assert_eq!(server.metrics().total(Counter::WsErrors), count, "{bytes:02x?}");
    }
    assert_eq!(server.metrics().total(Counter::Panics), 0);
}

/// A frame without payload, masked with zeroes.
fn empty(first: u8) -> [u8; 6] {
    [first, 0x80, 0, 0, 0, 0]
}

/// A close frame with that code.
fn close(code: u16) -> Vec<u8> {
    [&[0x88, 0x82, 0, 0, 0, 0][..], &code.to_be_bytes()].concat()
}

#[test]
fn an_unmasked_frame_closes_with_1002() {
    check(&[&[0x81, 0x01, b'x'], &[0x89, 0x00], &[0x88, 0x02, 0x03, 0xe8]], 1002);
}

#[test]
fn a_reserved_bit_closes_with_1002() {
    check(&[&empty(0xc1), &empty(0xa1), &empty(0x91), &empty(0xf2), &empty(0x99)], 1002);
}

#[test]
fn a_reserved_opcode_closes_with_1002() {
    let opcodes = (0x3..=0x7).chain(0xb..=0xf);
    let frames: Vec<_> = opcodes.map(|opcode| empty(0x80 | opcode)).collect();
    check(&frames.iter().map(|frame| &frame[..]).collect::<Vec<_>>(), 1002);
}

#[test]
fn a_fragmented_control_frame_closes_with_1002() {
    check(&[&empty(0x08), &empty(0x09), &empty(0x0a)], 1002);
}

#[test]
fn a_long_control_frame_closes_with_1002() {
    let long = |opcode| [opcode, 0xfe, 0, 126, 0, 0, 0, 0];
    let longer = [0x89, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    check(&[&long(0x88), &long(0x89), &long(0x8a), &longer], 1002);
}

#[test]
fn a_length_that_is_not_minimal_closes_with_1002() {
    let in_64_bits = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    check(&[&[0x81, 0xfe, 0, 5, 0, 0, 0, 0], &[0x81, 0xfe, 0, 125, 0, 0, 0, 0], &in_64_bits], 1002);
}

#[test]
fn a_continuation_of_nothing_closes_with_1002() {
    let after_a_message = [empty(0x81), empty(0x00)].concat();
    check(&[&empty(0x80), &empty(0x00)], 1002);
    // The message itself is echoed, so this one is not of the table.
    let server = Running::start(options(), |_| Room::default());
    let mut bystander = WsClient::open(&server);
    let mut bad = WsClient::open(&server);
    bad.client.offer(after_a_message);
    assert_eq!(bad.hear(), "");
    assert!(bad.hear().starts_with("error: "));
    assert_eq!(bad.hear(), "<close 1002>");
    assert_eq!(server.metrics().total(Counter::WsErrors), 1);
    bystander.say("after");
    assert_eq!(bystander.hear(), "after");
}

#[test]
fn a_new_message_inside_a_message_closes_with_1002() {
    let inside = |first| [empty(0x01), empty(first)].concat();
    check(&[&inside(0x81), &inside(0x82), &inside(0x01), &inside(0x02)], 1002);
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    // In one frame; over two fragments; cut at the end of the message; found before the frame has come whole.
    let over_two = [&[0x01, 0x81, 0, 0, 0, 0, 0xe2][..], &[0x80, 0x81, 0, 0, 0, 0, 0x28]].concat();
    let cut = [&[0x01, 0x81, 0, 0, 0, 0, 0xe2][..], &empty(0x80)].concat();
    let surrogate = [0x81, 0x83, 0, 0, 0, 0, 0xed, 0xa0, 0x80];
    let early = [0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0, 0xc3, 0x28];
    check(&[&[0x81, 0x81, 0, 0, 0, 0, 0xff], &over_two, &cut, &surrogate, &early], 1007);
}

#[test]
fn a_frame_that_announces_too_much_closes_with_1009_before_it_has_come() {
    let most = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let second = [0x02, 0x81, 0, 0, 0, 0, b'x', 0x80, 0xfe, 0x03, 0xe8, 0, 0, 0, 0];
    check(&[&[0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0], &most, &second], 1009);
}

#[test]
fn a_length_past_63_bits_closes_with_1002() {
    check(&[&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]], 1002);
}

#[test]
fn a_close_code_that_may_not_be_sent_closes_with_1002() {
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX];
    let frames = codes.map(close);
    check(&frames.each_ref().map(|frame| &frame[..]), 1002);
}

#[test]
fn half_a_close_code_closes_with_1002_and_a_reason_that_is_not_utf8_with_1007() {
    check(&[&[0x88, 0x81, 0, 0, 0, 0, 0x03]], 1002);
    check(&[&[0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff]], 1007);
}

#[test]
fn a_handshake_that_is_not_sound_is_refused_and_counted() {
    let server = Running::start(options(), |_| Room::default());
    let mut bystander = WsClient::open(&server);
    let sound = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let spoilt = [
        (sound.replace("13", "12"), 426),
        (sound.replace("AAAAAAAAAAAAAAAAAAAAAA==", "short"), 400),
        (sound.replace("Sec-WebSocket-Key", "X-Key"), 400),
    ];
    for ((request, status), count) in spoilt.into_iter().zip(1..) {
        let mut bad = server.connect();
        bad.send(&request);
        assert_eq!(bad.read_answer().status, status, "{request}");
        assert_eq!(server.metrics().total(Counter::HandshakesRefused), count);
        bystander.say("still here");
        assert_eq!(bystander.hear(), "still here");
    }
    assert_eq!(server.metrics().total(Counter::WsOpened), 1);
}

#[test]
fn malformed_extensions_are_refused_and_end_the_connection() {
    let server = Running::start(options(), |_| Room::default());
    let mut bad = server.connect();
    bad.send(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate;\r\n\r\n",
    );
    let answer = bad.read_answer();
    assert_eq!((answer.status, answer.says_close()), (400, true), "{}", answer.head);
    assert!(bad.read_to_end().is_empty(), "the end, although the client has not ended its side");
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

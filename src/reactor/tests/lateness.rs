//! Who takes too long, and who only seems to because a core does.

use std::time::Duration;

use super::*;
use crate::metrics::Counter;

/// The masked header of a text frame without FIN and without payload, and of a continuation.
const BEGIN: [u8; 6] = [0x01, 0x80, 0, 0, 0, 0];
const GO_ON: [u8; 6] = [0x00, 0x80, 0, 0, 0, 0];
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

/// Sends a part of something each second, in all longer than a message may take.
fn check_late(parts: &[&[u8]]) {
    let (mut simulation, log) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    for part in parts.iter().copied().chain(std::iter::repeat_n(&b""[..], 31)) {
        ws.client.send(part);
        simulation.advance(Duration::from_secs(1));
        simulation.settle();
    }
    let heard: Vec<_> = ws.heard().into_iter().filter(|text| text != "<pong>").collect();
    assert_eq!(heard, ["last words", "<close Some(1008)>"], "{parts:02x?}");
    assert_eq!(*log.borrow(), ["0:5 open", "0:5 error Ws(Timeout)", "0:5 close None"]);
    assert_eq!(simulation.metrics().total(Counter::MessagesLate), 1);
}

#[test]
fn a_message_that_does_not_end_in_time_closes_with_1008() {
    check_late(&[&[0x81]]);
    check_late(&[&[0x81, 0xfe, 0x03]]);
    check_late(&[&[0x82, 0x85, 0, 0, 0, 0, b'x']]);
    check_late(&[&[0x89, 0x85, 0, 0, 0, 0, b'x']]);
    check_late(&[&BEGIN]);
    let drops: Vec<&[u8]> = [&BEGIN[..]].into_iter().chain([&GO_ON[..]; 40]).collect();
    check_late(&drops);
    let pings: Vec<&[u8]> = [&BEGIN[..]].into_iter().chain([&PING[..]; 40]).collect();
    check_late(&pings);
}

#[test]
fn messages_that_each_end_in_time_may_be_cut_for_ever_and_leave_nothing_behind() {
    let (mut simulation, _) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.client.send(&[0x81, 0x81]);
    for _ in 0..60 {
        // The end of one, and the beginning of the next.
        ws.client.send(&[0, 0, 0, 0, b'x', 0x81, 0x81]);
        simulation.advance(Duration::from_secs(20));
        simulation.settle();
        assert_eq!(ws.heard().last().map(String::as_str), Some("x"));
        let kept = simulation.census();
        assert_eq!((kept.deadlines, kept.sides), (1, 1));
    }
    ws.client.send(&[0, 0, 0, 0, b'x']);
    simulation.settle();
    simulation.advance(Duration::from_secs(31));
    simulation.settle();
    let kept = simulation.census();
    assert_eq!((kept.deadlines, kept.sides, kept.connections), (0, 0, 1));
}

#[test]
fn who_is_not_read_because_it_does_not_read_is_cut_in_time_once_it_was_closed() {
    let (mut simulation, _) = obedient(Options { outbox_bytes: 4_000, ..cores(1) });
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.client.set_room(Some(0));
    ws.say(&"x".repeat(3_000));
    for seconds in [61, 31, 6] {
        simulation.settle();
        assert!(!ws.client.is_dropped());
        simulation.advance(Duration::from_secs(seconds));
    }
    simulation.settle();
    assert!(ws.client.is_dropped());
}

/// Core 0 has a post that core 1, which does not turn, has no room for.
fn hold_up(simulation: &mut Simulation<Obedient>, speaker: &mut Ws) {
    let away = topic_at(simulation, 1);
    for _ in 0..3 {
        speaker.say(&format!("pub {away} x"));
    }
    simulation.turn(0);
}

#[test]
fn nobody_is_late_because_a_core_waits_for_another() {
    let options = Options { mailbox_posts: 1, ..cores(2) };
    let (mut simulation, _) = obedient(options);
    let mut speaker = Ws::open(&mut simulation, 0, 1);
    let mut slow = Ws::open(&mut simulation, 0, 2);
    let half_sent = simulation.connect(0);
    half_sent.send(b"GET / HTTP/1.1\r\n");
    slow.client.send(&[0x81, 0x81, 0, 0]);
    simulation.settle();
    hold_up(&mut simulation, &mut speaker);
    half_sent.send(b"Host: x\r\n\r\n");
    slow.client.send(&[0, 0, b'x']);
    // Longer than any patience and any deadline, a little at a time.
    for _ in 0..300 {
        simulation.advance(Duration::from_secs(1));
        speaker.say("here");
        simulation.turn(0);
    }
    assert!(simulation.metrics().total(Counter::ReadsHeld) > 0);
    simulation.settle();
    assert!(half_sent.take_received().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(slow.heard(), ["x"]);
    assert_eq!(speaker.heard(), vec!["here"; 300]);
    let late = [Counter::MessagesLate, Counter::RequestsLate, Counter::IdleClosed];
    assert_eq!(late.map(|counter| simulation.metrics().total(counter)), [0; 3]);
}

#[test]
fn a_peer_has_all_of_its_time_to_answer_a_ping_that_came_late() {
    let (mut simulation, _) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 1);
    // The machine slept.
    simulation.advance(Duration::from_secs(500));
    simulation.settle();
    simulation.advance(Duration::from_secs(29));
    simulation.settle();
    assert_eq!(ws.heard(), ["<ping>"], "pinged, and not closed");
    simulation.settle();
    simulation.advance(Duration::from_secs(40));
    simulation.settle();
    assert_eq!(simulation.metrics().total(Counter::IdleClosed), 0);
}

#[test]
fn while_too_much_is_under_way_back_ends_are_served_and_websockets_wait() {
    let options = Options { in_flight_bytes: 8_000, ..cores(2) };
    let (mut simulation, _) = obedient(options);
    let mut speaker = Ws::open(&mut simulation, 0, 1);
    let mut listener = Ws::open(&mut simulation, 1, 2);
    let away = topic_at(&simulation, 1);
    listener.say(&format!("sub {away}"));
    simulation.settle();
    let text = "x".repeat(600);
    for number in 'a'..='l' {
        speaker.say(&format!("pub {away} {number}{text}"));
        simulation.turn(0);
    }
    let unread = speaker.client.unread_bytes();
    assert!(unread > 0, "those that no more would have been published of lie where they are");
    let backend = simulation.connect(0);
    backend.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    simulation.turn(0);
    assert!(backend.take_received().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(speaker.client.unread_bytes(), unread);
    assert!(simulation.metrics().total(Counter::ReadsHeld) > 0);
    simulation.settle();
    let heard: Vec<_> = listener.heard().iter().map(|text| text[..1].to_owned()).collect();
    assert_eq!(heard.concat(), "sabcdefghijkl");
    assert_eq!(simulation.metrics().total(Counter::PublishesRefused), 0);
}

/// A peer that asks for more than it reads is not read. Whether it is there after four minutes, in each ten seconds of
/// which it takes so many bytes.
fn is_kept(takes: usize) -> bool {
    let options = Options { outbox_bytes: 64 * 1024, read_buffer_bytes: 16 * 1024, ..cores(1) };
    let (mut simulation, _) = obedient(options);
    let mut ws = Ws::open(&mut simulation, 0, 1);
    ws.client.set_room(Some(0));
    for _ in 0..8 {
        ws.say(&"x".repeat(8 * 1024));
    }
    simulation.settle();
    assert!(ws.client.unread_bytes() > 0, "it is not read");
    for _ in 0..24 {
        ws.client.set_room(Some(takes));
        simulation.advance(Duration::from_secs(10));
        simulation.settle();
    }
    let is_kept = simulation.metrics().total(Counter::IdleClosed) == 0;
    assert_eq!(simulation.metrics().total(Counter::SlowConsumers), 0);
    assert_eq!(simulation.connections(), usize::from(is_kept));
    is_kept
}

#[test]
fn who_is_not_read_lives_for_as_long_as_it_reads() {
    assert!(is_kept(100));
    assert!(!is_kept(0));
}

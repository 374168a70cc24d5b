//! How connections end: in order, by fault, by silence, by slowness, by a stop.

use std::time::Duration;

use super::*;
use crate::metrics::Counter;
use crate::reactor::options::Patience;

#[test]
fn the_peers_close_is_answered_with_its_code_and_told_once() {
    let (mut simulation, log) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.close(4321);
    simulation.settle();
    assert_eq!(ws.heard(), ["<close Some(4321)>"]);
    assert!(ws.client.is_finished());
    ws.client.finish();
    simulation.settle();
    assert!(ws.client.is_dropped());
    assert_eq!(*log.borrow(), ["0:5 open", "0:5 close Some(4321)"]);
}

#[test]
fn our_close_waits_for_the_peers_and_hands_out_nothing_in_between() {
    let (mut simulation, log) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.say("close 4000");
    ws.say("echo?");
    simulation.settle();
    assert_eq!(ws.heard(), ["<close Some(4000)>"]);
    assert!(!ws.client.is_finished(), "the peer's answer is on its way");
    simulation.settle();
    assert!(ws.client.is_finished());
    assert_eq!(*log.borrow(), ["0:5 open", "0:5 close Some(4000)"]);
}

#[test]
fn a_peer_that_never_answers_our_close_is_dropped_in_time() {
    let (mut simulation, log) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.say("close 4000");
    simulation.settle();
    simulation.advance(Duration::from_secs(4));
    simulation.settle();
    assert!(!ws.client.is_dropped());
    simulation.advance(Duration::from_secs(2));
    simulation.settle();
    assert!(ws.client.is_dropped());
    assert_eq!(*log.borrow(), ["0:5 open", "0:5 close None"]);
}

#[test]
fn a_fault_is_told_to_the_handler_first_and_the_peer_hears_its_last_words() {
    let (mut simulation, log) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 5);
    ws.client.send(&[0x81, 0x01, b'x']);
    simulation.settle();
    assert_eq!(ws.heard(), ["last words", "<close Some(1002)>"]);
    assert_eq!(log.borrow().len(), 3, "{log:?}");
    assert!(log.borrow()[1].starts_with("0:5 error Ws("));
    assert_eq!(simulation.metrics().total(Counter::WsErrors), 1);
}

#[test]
fn silence_is_answered_with_a_ping_and_then_with_the_end() {
    let patience =
        Patience { ping_after: Duration::from_secs(60), close_after: Duration::from_secs(30) };
    let (mut simulation, log) = obedient(Options { cores: 1, patience, ..Options::default() });
    let mut silent = Ws::open(&mut simulation, 0, 1);
    let mut alive = Ws::open(&mut simulation, 0, 2);
    for _ in 0..13 {
        simulation.advance(Duration::from_secs(5));
        simulation.settle();
    }
    assert_eq!(
        (silent.client.take_received(), alive.heard()),
        (vec![0x89, 0], vec!["<ping>".to_owned()])
    );
    for _ in 0..6 {
        simulation.advance(Duration::from_secs(5));
        simulation.settle();
    }
    assert_eq!((silent.heard(), alive.heard()), (vec!["<close Some(4201)>".to_owned()], vec![]));
    let log = log.borrow();
    assert!(
        log.contains(&"0:1 idle Expired".to_owned())
            && !log.contains(&"0:2 idle Expired".to_owned()),
        "{log:?}"
    );
    assert_eq!(simulation.metrics().total(Counter::IdleClosed), 1);
}

#[test]
fn a_half_sent_request_meets_its_deadline_with_408() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    client.send(b"GET / HTTP/1.1\r\nHo");
    simulation.settle();
    simulation.advance(Duration::from_secs(11));
    simulation.settle();
    assert!(client.take_received().starts_with(b"HTTP/1.1 408 "));
    assert!(client.is_finished());
}

#[test]
fn a_client_that_half_closes_after_its_request_still_gets_the_answer() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    client.finish();
    simulation.settle();
    assert!(client.take_received().ends_with(b"GET /a\n"));
    assert!(client.is_dropped());
}

#[test]
fn a_consumer_that_does_not_read_is_closed_and_others_hear_everything() {
    let (mut simulation, log) =
        obedient(Options { cores: 2, outbox_bytes: 10_000, ..Options::default() });
    let mut slow = Ws::open(&mut simulation, 0, 1);
    let mut fast = Ws::open(&mut simulation, 0, 2);
    slow.say("sub t");
    fast.say("sub t");
    simulation.settle();
    slow.heard();
    slow.client.set_room(Some(1_234));
    let text = "x".repeat(500);
    for _ in 0..60 {
        fast.say(&format!("pub t {text}"));
        simulation.settle();
    }
    assert_eq!(fast.heard().len(), 61);
    assert!(log.borrow().iter().any(|line| line.starts_with("0:1 error SlowConsumer")), "{log:?}");
    assert_eq!(simulation.metrics().total(Counter::SlowConsumers), 1);
    slow.client.set_room(None);
    simulation.settle();
    let heard = slow.heard();
    // Whole frames, the one that had begun finished, and then the close frame.
    assert!(heard.iter().filter(|it| **it == text).count() >= 2, "{heard:?}");
    assert_eq!(heard.last().unwrap(), "<close Some(1013)>");
}

#[test]
fn a_handler_may_have_more_or_less_wait_for_a_consumer_than_the_options_say() {
    let (mut simulation, log) =
        obedient(Options { cores: 1, outbox_bytes: 10_000, ..Options::default() });
    let mut speaker = Ws::open(&mut simulation, 0, 0);
    let mut all = [5_000, 20_000, 9].map(|tag| Ws::open(&mut simulation, 0, tag));
    for ws in &mut all {
        ws.say("sub t");
        simulation.settle();
        ws.client.set_room(Some(0));
    }
    for number in 1..=30 {
        speaker.say(&format!("pub t {}", "x".repeat(1_000)));
        simulation.settle();
        // Each frame is a little longer than its text, and takes a place in a list.
        let closed = [5, 20, 10].iter().filter(|most| number >= **most).count();
        let told = log.borrow().iter().filter(|line| line.contains("error SlowConsumer")).count();
        assert_eq!(told, closed, "{number}: {log:?}");
    }
    for limit in ["limit: 5000", "limit: 20000", "limit: 10000"] {
        assert!(log.borrow().iter().any(|line| line.contains(limit)), "{limit}: {log:?}");
    }
}

#[test]
fn a_peer_that_asks_without_reading_is_not_heard_until_it_reads() {
    let options =
        Options { cores: 1, outbox_bytes: 10_000, read_buffer_bytes: 5_000, ..Options::default() };
    let (mut simulation, log) = obedient(options);
    let mut ws = Ws::open(&mut simulation, 0, 1);
    ws.client.set_room(Some(0));
    for _ in 0..60 {
        ws.say(&"x".repeat(500));
        simulation.settle();
    }
    assert_eq!(log.borrow().len(), 1, "no fault of anybody: {log:?}");
    let mut heard = 0;
    for _ in 0..60 {
        ws.client.set_room(Some(4_000));
        simulation.settle();
        heard += ws.heard().len();
    }
    assert_eq!(heard, 60);
}

#[test]
fn a_panic_closes_one_connection_and_the_others_live() {
    let (mut simulation, log) = obedient(cores(1));
    let mut bad = Ws::open(&mut simulation, 0, 1);
    let mut good = Ws::open(&mut simulation, 0, 2);
    bad.say("panic");
    good.say("hello");
    simulation.settle();
    assert_eq!(
        (bad.heard(), good.heard()),
        (vec!["<close Some(1011)>".to_owned()], vec!["hello".to_owned()])
    );
    simulation.settle();
    assert!(log.borrow().contains(&"0:1 close Some(1011)".to_owned()));
    assert_eq!(simulation.metrics().total(Counter::Panics), 1);
}

#[test]
fn a_stop_says_good_bye_to_all() {
    let (mut simulation, _) = obedient(cores(3));
    let mut all: Vec<Ws> = (0..6).map(|number| Ws::open(&mut simulation, number % 3, 0)).collect();
    let waiting = simulation.connect(1);
    simulation.stop();
    simulation.settle();
    for ws in &mut all {
        assert_eq!(ws.heard(), ["<close Some(1001)>"]);
    }
    simulation.settle();
    simulation.advance(Duration::from_secs(1));
    simulation.settle();
    assert!(waiting.is_dropped());
    all.iter().for_each(|ws| ws.client.finish());
    simulation.settle();
    assert_eq!(simulation.connections(), 0);
}

/// Stops after two seconds at the latest, and closes ten a second unless that is too slow.
fn unhurried(cores: usize) -> Options {
    let shutdown_deadline = Duration::from_secs(2);
    let shutdown_linger = Duration::from_millis(200);
    Options { cores, shutdown_deadline, shutdown_rate: 10, shutdown_linger, ..Options::default() }
}

/// How many have been told to leave.
fn told(all: &mut [Ws]) -> usize {
    all.iter_mut().map(|ws| usize::from(!ws.heard().is_empty())).sum()
}

#[test]
fn a_stop_closes_so_many_a_second() {
    let (mut simulation, _) = obedient(unhurried(1));
    let mut all: Vec<Ws> = (0..8).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    simulation.stop();
    simulation.settle();
    let mut each = Vec::new();
    for _ in 0..8 {
        simulation.advance(Duration::from_millis(100));
        simulation.settle();
        each.push(told(&mut all));
    }
    assert_eq!(each, [1; 8]);
}

#[test]
fn all_are_told_in_half_of_the_time() {
    let (mut simulation, _) = obedient(unhurried(1));
    let mut all: Vec<Ws> = (0..100).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    simulation.stop();
    simulation.settle();
    simulation.advance(Duration::from_millis(500));
    simulation.settle();
    assert_eq!(told(&mut all), 50);
    simulation.advance(Duration::from_millis(500));
    simulation.settle();
    assert_eq!(told(&mut all), 50);
}

#[test]
fn who_comes_while_others_leave_is_served_and_closed_last() {
    let (mut simulation, _) = obedient(unhurried(2));
    let mut old = [Ws::open(&mut simulation, 0, 1), Ws::open(&mut simulation, 1, 2)];
    let asking = simulation.connect(0);
    simulation.stop();
    simulation.settle();
    let mut new = Ws::open(&mut simulation, 1, 3);
    new.say("hello");
    asking.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    simulation.settle();
    assert_eq!(new.heard(), ["hello"]);
    assert!(asking.take_received().ends_with(b"GET /late\n"));
    assert!(!simulation.is_at_last());
    simulation.advance(Duration::from_millis(100));
    simulation.settle();
    assert_eq!(told(&mut old), 2);
    // One has answered, on the core where nobody came; the other core waits for its own.
    old[0].client.finish();
    simulation.settle();
    old[1].client.finish();
    simulation.settle();
    simulation.advance(Duration::from_millis(199));
    simulation.settle();
    assert!(!simulation.is_at_last(), "who was sent away may come back");
    simulation.advance(Duration::from_millis(1));
    simulation.settle();
    assert!(simulation.is_at_last());
    assert_eq!(new.heard(), ["<close Some(1001)>"]);
    simulation.settle();
    new.client.finish();
    asking.finish();
    simulation.settle();
    assert_eq!((simulation.connections(), simulation.is_done()), (0, true));
}

#[test]
fn who_never_answers_holds_the_end_up_no_longer_than_the_deadline() {
    let (mut simulation, _) = obedient(unhurried(2));
    let silent = Ws::open(&mut simulation, 0, 1);
    simulation.stop();
    simulation.settle();
    let mut new = Ws::open(&mut simulation, 1, 2);
    simulation.advance(Duration::from_millis(1499));
    simulation.settle();
    assert!(new.heard().is_empty());
    simulation.advance(Duration::from_millis(1));
    simulation.settle();
    assert_eq!(new.heard(), ["<close Some(1001)>"]);
    assert!(!simulation.is_done());
    simulation.advance(Duration::from_millis(500));
    simulation.settle();
    assert!(simulation.is_done() && !silent.client.is_dropped());
}

/// The posts that found no room were once counted for ever, and so core 0 read nobody any more.
#[test]
fn what_was_meant_for_a_core_that_has_ended_holds_nobody_up() {
    let options = Options { mailbox_posts: 1, in_flight_bytes: 1_000, ..unhurried(2) };
    let (mut simulation, _) = obedient(options);
    let mut speaker = Ws::open(&mut simulation, 0, 1);
    let away = topic_at(&simulation, 1);
    for _ in 0..3 {
        speaker.say(&format!("pub {away} {}", "x".repeat(250)));
    }
    simulation.turn(0);
    assert!(simulation.census().bytes_under_way > 500);
    // Core 0 sleeps until core 1 has come to its end.
    simulation.stop();
    simulation.turn(1);
    simulation.advance(Duration::from_millis(1_500));
    simulation.turn(1);
    simulation.end_done();
    simulation.settle();
    assert_eq!(simulation.census().bytes_under_way, 0);
    simulation.advance(Duration::from_millis(100));
    simulation.settle();
    assert_eq!(speaker.heard(), ["<close Some(1001)>"]);
    simulation.settle();
    assert!(speaker.client.is_finished(), "its answer was read");
    speaker.client.finish();
    simulation.settle();
    simulation.advance(Duration::from_millis(200));
    simulation.settle();
    assert!(simulation.end_done());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    let requests: String =
        (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(requests.as_bytes());
    simulation.settle();
    let text = String::from_utf8(client.take_received()).unwrap();
    let paths: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("GET /")).collect();
    assert_eq!(paths, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

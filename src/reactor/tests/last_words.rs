//! What a handler may still ask for while its connection ends, and what the peer then sees of it.

use super::*;

/// Does all that it can in every callback about an end.
struct Clinging;

impl Clinging {
    fn cling(conn: &mut Conn<'_>, word: &str) {
        conn.send(word);
        // Refused once the connection has closed, which is what these tests are about.
        let _ = conn.subscribe("t");
    }
}

impl Handler for Clinging {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        match message.text() {
            Some("ask") => {
                conn.ask("t", (), 1);
                conn.close(CloseCode(4000), "");
            }
            _ => conn.publish("t", message).unwrap(),
        }
    }

    fn on_error(&mut self, conn: &mut Conn<'_>, _: &ConnError) {
        Self::cling(conn, "error");
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Option<&CloseFrame<'_>>) {
        Self::cling(conn, "close");
    }
}

/// One core; what the connection hears when it ends by `end`, and then another publishes.
fn check(end: impl FnOnce(&mut Ws), expected: &[&str]) {
    let mut simulation = Simulation::new(cores(1), |_| (Clinging, ()));
    let mut ws = Ws::open(&mut simulation, 0, 1);
    let mut other = Ws::open(&mut simulation, 0, 2);
    end(&mut ws);
    simulation.settle();
    other.say("event");
    simulation.settle();
    assert_eq!(ws.heard(), expected);
    other.say("event");
    simulation.settle();
    assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
}

#[test]
fn nothing_follows_the_close_frame_that_answers_a_fault() {
    check(|ws| ws.client.send(&[0x81, 0x01, b'x']), &["error", "<close Some(1002)>"]);
}

#[test]
fn nothing_follows_the_close_frame_that_answers_the_peers() {
    check(|ws| ws.close(1000), &["<close Some(1000)>"]);
}

#[test]
fn a_connection_that_vanishes_cannot_subscribe_in_its_last_callback() {
    check(|ws| ws.client.finish(), &[]);
}

#[test]
fn an_entry_of_the_heap_that_was_replaced_dies_when_its_time_comes() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    // A back end that sends each request in two parts, for an hour, on one connection.
    for _ in 0..360 {
        client.send(&request[..10]);
        simulation.settle();
        client.send(&request[10..]);
        simulation.settle();
        simulation.advance(std::time::Duration::from_secs(10));
        simulation.settle();
    }
    assert!(!client.is_dropped());
    let entries = simulation.census().deadlines;
    assert!(entries <= 12, "{entries} entries in the heap for one connection");
}

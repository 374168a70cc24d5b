//! A handler is reminded of a connection when it asked to be, and of no connection that is gone.

use std::time::Duration;

use super::*;

/// Reminded after as many seconds as a message says.
struct Forgetful;

impl Handler for Forgetful {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let seconds = message.text().and_then(|text| text.parse().ok()).unwrap();
        conn.remind(Duration::from_secs(seconds));
    }

    fn on_reminder(&mut self, conn: &mut Conn<'_>) {
        conn.send("reminded");
    }
}

/// What the connection hears after each second.
fn check(words: &[&str], seconds: &[&[&str]]) {
    let mut simulation = Simulation::new(cores(1), |_| (Forgetful, ()));
    let mut ws = Ws::open(&mut simulation, 0, 1);
    words.iter().for_each(|word| ws.say(word));
    simulation.settle();
    for expected in seconds {
        assert_eq!(ws.heard(), *expected);
        simulation.advance(Duration::from_secs(1));
        simulation.settle();
    }
}

#[test]
fn a_reminder_comes_once_at_its_time() {
    check(&["2"], &[&[], &[], &["reminded"], &[]]);
}

#[test]
fn each_reminder_comes_earliest_first() {
    check(&["3", "1"], &[&[], &["reminded"], &[], &["reminded"], &[]]);
}

#[test]
fn who_is_gone_or_closing_is_not_spoken_of() {
    let mut simulation = Simulation::new(cores(1), |_| (Forgetful, ()));
    let mut ws = Ws::open(&mut simulation, 0, 1);
    ws.say("1");
    ws.close(1000);
    simulation.settle();
    ws.client.finish();
    simulation.settle();
    assert_eq!(simulation.connections(), 0);
    // Its slot goes to another, who asked for nothing.
    let mut other = Ws::open(&mut simulation, 0, 2);
    simulation.advance(Duration::from_secs(2));
    simulation.settle();
    assert!(other.heard().is_empty());
}

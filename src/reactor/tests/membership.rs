//! Whether a connection is on a topic, as its handler is told.

use super::*;

/// Subscribes, unsubscribes, and says whether it is on a topic.
struct Asked;

impl Handler for Asked {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        for word in message.text().unwrap_or_default().split(' ') {
            match word.split_once(':') {
                Some(("sub", topic)) => conn.subscribe(topic).unwrap(),
                Some(("unsub", topic)) => drop(conn.unsubscribe(topic)),
                Some(("close", _)) => conn.close(CloseCode::NORMAL, ""),
                None if word == "count" => conn.send(format!("count {}", conn.subscriptions())),
                _ => conn.send(format!("{word} {}", conn.is_subscribed(word))),
            }
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _frame: Option<&CloseFrame<'_>>) {
        assert!(!conn.is_subscribed("a"));
    }
}

fn check(said: &str, expected: &[&str]) {
    let mut simulation = Simulation::new(cores(2), |_core| (Asked, ()));
    let mut other = Ws::open(&mut simulation, 0, 0);
    other.say("sub:a sub:b");
    let mut ws = Ws::open(&mut simulation, 0, 0);
    simulation.settle();
    ws.say(said);
    simulation.settle();
    assert_eq!(ws.heard(), expected, "{said}");
    ws.close(1000);
    simulation.settle();
    assert_eq!(simulation.metrics().total(crate::metrics::Counter::Panics), 0);
}

#[test]
fn what_others_are_on_does_not_count() {
    check("a b nowhere", &["a false", "b false", "nowhere false"]);
}

#[test]
fn a_subscription_counts_before_it_is_confirmed() {
    check("sub:c c", &["c true"]);
    check("sub:a a b sub:b a b", &["a true", "b false", "a true", "b true"]);
}

#[test]
fn subscriptions_are_counted_confirmed_or_not() {
    check("count sub:c count sub:d sub:c count", &["count 0", "count 1", "count 2"]);
    check("sub:a sub:b sub:c unsub:b unsub:x count", &["count 2"]);
}

#[test]
fn what_was_left_does_not_count() {
    check("sub:a sub:b unsub:a a b", &["a false", "b true"]);
    check("sub:c unsub:c c", &["c false"]);
}

#[test]
fn a_connection_that_closes_is_on_nothing() {
    let mut simulation = Simulation::new(cores(1), |_core| (Asked, ()));
    let mut ws = Ws::open(&mut simulation, 0, 0);
    ws.say("sub:a a close:now a");
    simulation.settle();
    assert_eq!(ws.heard(), ["a true", "<close Some(1000)>"]);
}

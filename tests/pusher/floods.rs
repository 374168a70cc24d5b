//! Clients and back ends that send as much as they can: each meets a limit, is answered and counted, and nobody else
//! notices.

use serde_json::{Value, json};
use stentor::metrics::Counter;

use crate::backend::Backend;
use crate::client::{Client, event, subscribe, succeeded};
use crate::server::{Gate, PATIENCE, Running, now};

/// Somebody who floods, and somebody on a channel who must not notice.
fn scene(server: &Running) -> (Client, Client) {
    let (flooder, mut bystander) = (Client::join(server, "key"), Client::join(server, "key"));
    bystander.subscribe("news");
    (flooder, bystander)
}

/// The bystander hears what is published, and has heard nothing else.
fn check_undisturbed(server: &Running, bystander: &mut Client) {
    Backend::new(server).publish("news", "still", "there");
    assert_eq!(bystander.message(), event("still", "news", "there"));
    bystander.check_alive();
}

/// The next answer that is an error of the connection; confirmations and errors of channels are passed over.
fn next_error(client: &mut Client) -> u64 {
    loop {
        let message = client.message();
        if message["event"] == "pusher:error" {
            return message["data"]["code"].as_u64().unwrap();
        }
    }
}

#[test]
fn a_flood_of_subscriptions_ends_at_the_limit_and_leaves_nothing_behind() {
    let server = Running::start();
    let (mut flooder, mut bystander) = scene(&server);
    for number in 0..1_500 {
        flooder.say(&subscribe(&format!("c-{number}")));
    }
    for _ in 1_000..1_500 {
        assert_eq!(next_error(&mut flooder), 4100);
    }
    assert_eq!(server.count(Counter::ClientErrors), 500);
    check_undisturbed(&server, &mut bystander);
    let mut backend = Backend::new(&server);
    let count = |answer: Value| answer["channels"].as_object().unwrap().len();
    assert_eq!(count(backend.ask("channels", &[]).json()), 1_001);
    flooder.leave();
    backend.ask_until("channels", &[], r#"{"channels":{"news":{}}}"#);
}

#[test]
fn a_flood_of_channels_that_come_and_go_leaves_nothing_behind() {
    let server = Running::start();
    let (mut flooder, mut bystander) = scene(&server);
    for number in 0..3_000 {
        let channel = format!("{number}-{}", "n".repeat(190));
        flooder.say(&subscribe(&channel));
        flooder
            .say(&json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string());
    }
    flooder.say(&subscribe("last"));
    while flooder.message() != succeeded("last") {}
    check_undisturbed(&server, &mut bystander);
    // Those 3,000, the last one, and the bystander's.
    assert_eq!(server.count(Counter::Subscriptions), 3_002);
    assert_eq!(server.count(Counter::ClientErrors), 0);
    let left = r#"{"channels":{"last":{},"news":{}}}"#;
    Backend::new(&server).ask_until("channels", &[], left);
}

#[test]
fn names_past_the_limit_and_channels_that_nobody_is_on_cost_an_answer_at_most() {
    let server = Running::start();
    let (mut flooder, mut bystander) = scene(&server);
    for number in 0..500 {
        flooder.say(&subscribe(&"n".repeat(201 + 10 * number)));
    }
    for _ in 0..500 {
        assert_eq!(next_error(&mut flooder), 4009);
    }
    for number in 0..5_000 {
        let data = json!({"channel": format!("unknown-{number}")});
        flooder.say(&json!({"event": "pusher:unsubscribe", "data": data}).to_string());
    }
    // Behind the answers to all of them.
    flooder.say(r#"{"event":"pusher:ping","data":{}}"#);
    while flooder.message()["event"] != "pusher:pong" {}
    flooder.check_alive();
    assert_eq!(server.count(Counter::ClientErrors), 500);
    check_undisturbed(&server, &mut bystander);
}

#[test]
fn a_flood_of_client_events_is_thinned_out_to_the_rate_of_the_app() {
    const EVENTS: u64 = 2_000;
    let server = Running::with(|setup| setup.apps[0].client_events_per_second = Some(10));
    let (mut flooder, mut bystander) = scene(&server);
    flooder.subscribe("news");
    for _ in 0..EVENTS {
        flooder.say(r#"{"event":"client-x","channel":"news","data":1}"#);
    }
    Backend::new(&server).publish("news", "marker", "");
    // A pong behind the answers to all of them.
    flooder.say(r#"{"event":"pusher:ping","data":{}}"#);
    let (mut refused, mut heard) = (0, 0);
    let (mut is_answered, mut is_marked) = (false, false);
    while !(is_answered && is_marked) {
        let message = flooder.message();
        match message["event"].as_str().unwrap() {
            "marker" => is_marked = true,
            "pusher:pong" => is_answered = true,
            "pusher:error" => refused += 1,
            _ => {}
        }
        assert!(message["data"]["code"].is_null() || message["data"]["code"] == 4301, "{message}");
    }
    // What was let through is on its way before this: one core ordered both.
    flooder.check_alive();
    Backend::new(&server).publish("news", "end", "");
    loop {
        match bystander.message()["event"].as_str().unwrap() {
            "end" => break,
            "client-x" => heard += 1,
            _ => {}
        }
    }
    assert!(refused > EVENTS / 2, "{refused} of {EVENTS}");
    assert_eq!((refused + heard, server.count(Counter::ClientErrors)), (EVENTS, refused));
    bystander.check_alive();
}

#[test]
fn a_flood_of_what_is_no_message_is_answered_one_by_one() {
    let server = Running::start();
    let (mut flooder, mut bystander) = scene(&server);
    let deep = format!(r#"{{"event":"pusher:ping","data":{}}}"#, "[".repeat(5_000));
    for number in 0..2_000 {
        flooder.say(["{", "[]", "null", r#"{"event":7}"#, &deep][number % 5]);
    }
    for _ in 0..2_000 {
        assert_eq!(flooder.check_error(4200), "Invalid message format");
    }
    assert_eq!(server.count(Counter::ClientErrors), 2_000);
    flooder.check_alive();
    check_undisturbed(&server, &mut bystander);
}

#[test]
fn a_flood_of_connections_past_the_quota_is_refused_in_band() {
    let server = Running::start();
    let mut within = Client::join(&server, "small");
    for _ in 0..200 {
        Client::open(&server, "/app/small").check_refused(4004, 4004);
    }
    assert_eq!(server.count(Counter::UpgradesRefused), 200);
    within.check_alive();
}

/// Events for a channel whose home core is held up, until no more are taken. How many were, and the refusal.
fn publish_until_refused(backend: &mut Backend, channel: &str) -> (usize, crate::backend::Answer) {
    let data = "x".repeat(90_000);
    for number in 0..20 {
        let event = json!({"name": number.to_string(), "channel": channel, "data": data});
        let answer = backend.post("events", &event);
        if answer.status != 200 {
            return (number, answer);
        }
    }
    panic!("20 events are more than may be under way");
}

#[test]
fn past_in_flight_bytes_back_ends_hear_503_and_websockets_wait_and_nothing_is_lost() {
    let (gate, hold) = Gate::new();
    let server = Running::with(|setup| {
        (setup.engine.in_flight_bytes, setup.gate) = (1024 * 1024, Some(gate));
    });
    // Dropped before the server, should a check fail: a core that is held up does not end.
    let hold = hold;
    let mut backends = Backend::on_each_core(&server);
    let mut clients = Client::on_each_core(&server);
    let channel = server.channel_at(3, "flood");
    clients.iter_mut().for_each(|client| client.subscribe(&channel));
    let requests = server.metrics.core(3).get(Counter::HttpRequests);
    backends[3].begin("/wait");
    let deadline = now() + PATIENCE;
    while server.metrics.core(3).get(Counter::HttpRequests) == requests {
        assert!(now() < deadline, "core 3 is held up");
        std::thread::yield_now();
    }
    let (published, refusal) = publish_until_refused(&mut backends[0], &channel);
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.head.contains("\r\nRetry-After: 1"), "{}", refusal.head);
    assert_eq!(server.count(Counter::PublishesRefused), 1);
    // Back ends are served, and what a WebSocket says is not read.
    let messages = server.metrics.core(0).get(Counter::WsMessages);
    clients[0].say(r#"{"event":"pusher:ping","data":{}}"#);
    while server.metrics.core(0).get(Counter::ReadsHeld) == 0 {
        assert_eq!(backends[0].get("/up").status, 200);
        assert!(now() < deadline, "the client is held");
    }
    assert_eq!(backends[0].get("/up").status, 200);
    assert_eq!(server.metrics.core(0).get(Counter::WsMessages), messages);
    drop(hold);
    for client in &mut clients {
        let mut next = 0;
        while next < published {
            let message = client.message();
            if message["event"] != "pusher:pong" {
                assert_eq!(message["event"], next.to_string(), "in order, and none is missing");
                next += 1;
            }
        }
    }
    clients[1..].iter_mut().for_each(Client::check_alive);
    backends[0].publish(&channel, "again", "");
    assert_eq!(server.count(Counter::SlowConsumers), 0);
}

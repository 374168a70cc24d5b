//! What happens on channels, as back ends are told of it by webhooks: real requests to receivers of our own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use stentor::app::unix_seconds;
use stentor::metrics::Counter;
use stentor::pusher::{App, Fact, FactKind, Observer as _};
use stentor::webhooks::Target;

use crate::backend::Backend;
use crate::client::{Client, subscribe, succeeded};
use crate::receiver::Receiver;
use crate::server::{CORES, PATIENCE, Running, Setup, now};

/// Longer than any test: what is not to happen within a test takes as long as this.
const EVER: Duration = Duration::from_secs(3600);

/// A target of app 1. Counts are told in their own time, so only the test that is about them asks for them.
fn target(url: &str) -> Target {
    let mut target = Target::new("1", url).unwrap();
    (target.key, target.secret) = ("key".to_owned(), "secret".to_owned());
    target.events.retain(|kind| *kind != FactKind::SubscriptionCount);
    target
}

/// A server on so many cores that tells these receivers, at once unless the test wants it otherwise.
fn server(cores: usize, targets: Vec<Target>, change: impl FnOnce(&mut Setup)) -> Running {
    Running::with(|setup| {
        setup.engine.cores = cores;
        setup.targets = targets;
        setup.webhooks.window = Duration::ZERO;
        setup.webhooks.grace = Duration::ZERO;
        change(setup);
    })
}

fn attend(client: &mut Client, channel: &str, member: &str) {
    client.say(&client.signed(channel, Some(member)));
    let answer = client.message();
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
}

fn client_event(channel: &str, data: &Value) -> String {
    json!({"event": "client-typing", "data": data, "channel": channel}).to_string()
}

/// Waits until so much is counted.
fn wait_for(server: &Running, counter: Counter, least: u64) {
    let deadline = now() + PATIENCE;
    while server.count(counter) < least {
        assert!(now() < deadline, "{} of {}", server.count(counter), counter.name());
        std::thread::yield_now();
    }
}

fn named(name: &str, channel: &str) -> Value {
    json!({"name": name, "channel": channel})
}

fn every_kind_arrives(cores: usize) {
    let receiver = Receiver::start();
    let server = server(cores, vec![target(&receiver.url())], |_| {});
    let mut ann = Client::join(&server, "key");
    attend(&mut ann, "presence-a", r#"{"user_id":7,"user_info":{"name":"Ann"}}"#);
    let added = |id: &str| json!({"name": "member_added", "channel": "presence-a", "user_id": id});
    let removed =
        |id: &str| json!({"name": "member_removed", "channel": "presence-a", "user_id": id});
    assert_eq!(receiver.events(2), [named("channel_occupied", "presence-a"), added("7")]);
    let mut bob = Client::join(&server, "key");
    attend(&mut bob, "presence-a", r#"{"user_id":"eight"}"#);
    assert_eq!(receiver.events(1), [added("eight")]);

    ann.say(&client_event("presence-a", &json!({"on": true})));
    let event = json!({
        "name": "client_event", "channel": "presence-a", "event": "client-typing", "data": r#"{"on":true}"#,
        "socket_id": ann.socket_id, "user_id": "7",
    });
    assert_eq!(receiver.events(1), [event]);

    bob.say(&subscribe("cache-a"));
    assert_eq!(bob.message()["event"], "client-typing", "what Ann sent");
    assert_eq!(bob.message(), succeeded("cache-a"));
    assert_eq!(bob.message()["event"], "pusher:cache_miss");
    let miss = [named("channel_occupied", "cache-a"), named("cache_miss", "cache-a")];
    assert_eq!(receiver.events(2), miss);
    bob.say(&client_event("cache-a", &json!("text")));
    let event = json!({
        "name": "client_event", "channel": "cache-a", "event": "client-typing", "data": "text",
        "socket_id": bob.socket_id,
    });
    assert_eq!(receiver.events(1), [event]);

    bob.unsubscribe("cache-a");
    assert_eq!(receiver.events(1), [named("channel_vacated", "cache-a")]);
    bob.leave();
    assert_eq!(receiver.events(1), [removed("eight")]);
    ann.leave();
    assert_eq!(receiver.events(2), [removed("7"), named("channel_vacated", "presence-a")]);
    receiver.check_silent();
}

#[test]
fn every_kind_arrives_in_order_from_one_core() {
    every_kind_arrives(1);
}

#[test]
fn every_kind_arrives_in_order_from_four_cores() {
    every_kind_arrives(4);
}

#[test]
fn how_many_subscribers_a_channel_has_is_told_to_who_asks() {
    let receiver = Receiver::start();
    let mut target = target(&receiver.url());
    target.events = vec![FactKind::SubscriptionCount];
    let server = server(1, vec![target], |_| {});
    let fact = Fact::SubscriptionCount { channel: "room", subscription_count: 3 };
    server.webhooks.as_ref().unwrap().note(&App::new("1", "key", "secret"), fact);
    let count = json!({"name": "subscription_count", "channel": "room", "subscription_count": 3});
    assert_eq!(receiver.events(1), [count]);
}

#[test]
fn a_request_says_who_signed_it_and_when_in_exactly_these_headers() {
    let receiver = Receiver::start();
    let mut target = target(&receiver.url());
    target.headers = vec![("X-My-Own".to_owned(), "a b".to_owned())];
    let server = server(1, vec![target], |_| {});
    let before = unix_seconds() * 1_000;
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    let told = receiver.next();
    assert_eq!(told.line, "POST /hooks?from=stentor HTTP/1.1");
    told.check_signed("key", "secret");
    assert_eq!(told.header("X-My-Own"), Some("a b"));
    let types = told.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert_eq!(types.count(), 1);
    let time = told.json()["time_ms"].as_u64().unwrap();
    assert!((before..=(unix_seconds() + 1) * 1_000).contains(&time), "{time}");
    let plain = format!(
        r#"{{"time_ms":{time},"events":[{{"name":"channel_occupied","channel":"room"}}]}}"#
    );
    assert_eq!(told.body, plain);
}

#[test]
fn whoever_answers_an_event_is_told_of_after_it_whatever_the_cores() {
    let receiver = Receiver::start();
    let mut only = target(&receiver.url());
    only.events = vec![FactKind::ClientEvent];
    let server = server(CORES, vec![only], |_| {});
    let mut clients = Client::on_each_core(&server);
    clients.iter_mut().for_each(|client| client.subscribe("room"));
    // Each sends once it has heard the one before it.
    const ROUNDS: usize = 40;
    for number in 0..ROUNDS {
        let sender = number % clients.len();
        clients[sender].say(&client_event("room", &json!(number)));
        for client in clients.iter_mut().enumerate().filter(|(core, _)| *core != sender) {
            assert_eq!(client.1.message()["data"], number);
        }
    }
    let events = receiver.events(ROUNDS);
    let numbers: Vec<_> = events.iter().map(|event| event["data"].as_str().unwrap()).collect();
    assert_eq!(numbers, (0..ROUNDS).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn each_target_is_told_of_its_own_app_by_its_own_filters() {
    let (all, some, other) = (Receiver::start(), Receiver::start(), Receiver::start());
    let mut of_some = target(&some.url());
    of_some.events = vec![FactKind::ChannelOccupied];
    (of_some.channel_prefix, of_some.channel_suffix) = ("a-".to_owned(), "-z".to_owned());
    let mut of_other = Target::new("2", &other.url()).unwrap();
    (of_other.key, of_other.secret) = ("other".to_owned(), "secret-2".to_owned());
    of_other.events = vec![FactKind::ChannelOccupied];
    let server = server(CORES, vec![target(&all.url()), of_some, of_other], |_| {});
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "other"));
    for channel in ["a-1", "a-2-z", "b-3-z", "a-4-z"] {
        one.subscribe(channel);
        two.subscribe(channel);
    }
    let names = |events: &[Value]| {
        let mut names: Vec<_> =
            events.iter().map(|event| event["channel"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&all.events(4)), ["a-1", "a-2-z", "a-4-z", "b-3-z"]);
    assert_eq!(names(&some.events(2)), ["a-2-z", "a-4-z"]);
    let mut of_two = Vec::new();
    while of_two.len() < 4 {
        let told = other.next();
        told.check_signed("other", "secret-2");
        of_two.extend(told.events());
    }
    assert_eq!(names(&of_two), ["a-1", "a-2-z", "a-4-z", "b-3-z"]);
    one.leave();
    all.events(4);
    some.check_silent();
}

#[test]
fn events_that_come_together_go_together() {
    let receiver = Receiver::start();
    let server = server(CORES, vec![target(&receiver.url())], |setup| {
        (setup.webhooks.window, setup.webhooks.batch) = (EVER, 5);
    });
    let mut client = Client::join(&server, "key");
    (0..10).for_each(|number| client.subscribe(&format!("room-{number}")));
    assert_eq!(receiver.next().events().len(), 5);
    assert_eq!(receiver.next().events().len(), 5);
}

/// The first answers are such; then everything is taken.
fn check_retry(answers: &'static [&'static str]) {
    let elsewhere = Receiver::start();
    let location = elsewhere.url();
    let answer = move |number: usize| {
        let status = answers.get(number).copied().unwrap_or("204 No Content");
        Some(format!("{status}\r\nLocation: {location}\r\n"))
    };
    let receiver = Receiver::answering(answer);
    let server = server(CORES, vec![target(&receiver.url())], |_| {});
    let mut client = Client::join(&server, "key");
    client.subscribe("one");
    let first = receiver.next();
    client.subscribe("two");
    let mut before = first.json()["time_ms"].as_u64();
    for _ in answers {
        let again = receiver.next();
        again.check_signed("key", "secret");
        assert_eq!(again.events(), first.events(), "what comes later waits behind");
        let time = again.json()["time_ms"].as_u64();
        assert!(time > before, "a fresh time");
        assert_ne!(again.header("X-Pusher-Signature"), first.header("X-Pusher-Signature"));
        before = time;
    }
    assert_eq!(receiver.events(1), [named("channel_occupied", "two")]);
    elsewhere.check_silent();
    wait_for(&server, Counter::WebhookEvents, 2);
    assert_eq!(server.count(Counter::WebhookFailures), answers.len() as u64);
}

#[test]
fn what_is_answered_with_500_is_sent_again_with_a_fresh_time_and_signature() {
    check_retry(&["500 Internal Server Error"]);
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    check_retry(&["302 Found"]);
}

#[test]
fn what_is_not_answered_in_time_is_sent_again() {
    let receiver = Receiver::answering(|number| (number > 0).then(|| "200 OK\r\n".to_owned()));
    let server = server(1, vec![target(&receiver.url())], |setup| {
        setup.webhooks.timeout = Duration::from_millis(100);
    });
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    let first = receiver.next();
    assert_eq!(receiver.next().events(), first.events());
    wait_for(&server, Counter::WebhookEvents, 1);
}

#[test]
fn what_is_never_taken_is_given_up_after_its_retries_and_counted() {
    let receiver = Receiver::answering(|_| Some("500 Internal Server Error\r\n".to_owned()));
    let server = server(1, vec![target(&receiver.url())], |setup| {
        setup.webhooks.retry_for = Duration::ZERO;
    });
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    drop(receiver.next());
    wait_for(&server, Counter::WebhooksGivenUp, 1);
    assert_eq!(server.count(Counter::WebhookEvents), 0);
    client.check_alive();
}

/// Clients hear each other, and another target hears of it, while one target is of no use. Nothing here would come if
/// anybody waited for that one: its timeout is longer than the patience of the test.
fn check_useless(useless: &str, arrived: impl FnOnce(&Running)) {
    let good = Receiver::start();
    let targets = vec![target(useless), target(&good.url())];
    let server = server(CORES, targets, |setup| {
        (setup.webhooks.timeout, setup.webhooks.lane) = (EVER, 8);
        setup.webhooks.stop_within = Duration::from_millis(10);
        setup.webhooks.threads = 2;
    });
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "key"));
    one.subscribe("room");
    two.subscribe("room");
    assert_eq!(good.events(1), [named("channel_occupied", "room")]);
    arrived(&server);
    for number in 0..100 {
        one.say(&client_event("room", &json!(number)));
        assert_eq!(two.message()["data"], number);
        assert_eq!(good.events(1)[0]["data"], number.to_string());
    }
    // What waits for the useless one is bounded: the rest is counted.
    wait_for(&server, Counter::WebhooksDropped, 80);
}

#[test]
fn a_target_that_hangs_slows_neither_clients_nor_other_targets() {
    let hangs = Receiver::answering(|_| None);
    let url = hangs.url();
    check_useless(&url, |_| drop(hangs.next()));
}

#[test]
fn a_target_that_is_dead_slows_neither_clients_nor_other_targets() {
    // Bound and not listening: nobody else can have the port meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let gone = socket.local_addr().unwrap().as_socket().unwrap();
    let url = format!("http://{gone}/");
    check_useless(&url, |server| wait_for(server, Counter::WebhookFailures, 1));
}

#[test]
fn who_is_back_within_the_grace_was_never_gone() {
    let receiver = Receiver::start();
    let server = server(CORES, vec![target(&receiver.url())], |setup| setup.webhooks.grace = EVER);
    let member = r#"{"user_id":7}"#;
    let mut client = Client::join(&server, "key");
    attend(&mut client, "presence-a", member);
    receiver.events(2);
    client.leave();
    let mut client = Client::join(&server, "key");
    attend(&mut client, "presence-a", member);
    // Whatever else would be told of the return is told before this.
    client.say(&client_event("presence-a", &json!(1)));
    assert_eq!(receiver.events(1)[0]["name"], "client_event");
    client.subscribe("room");
    assert_eq!(receiver.events(1), [named("channel_occupied", "room")]);
}

#[test]
fn who_is_gone_for_longer_than_the_grace_is_told_of() {
    let receiver = Receiver::start();
    let grace = Duration::from_millis(30);
    let server = server(CORES, vec![target(&receiver.url())], |setup| setup.webhooks.grace = grace);
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    client.leave();
    let expected = [named("channel_occupied", "room"), named("channel_vacated", "room")];
    assert_eq!(receiver.events(2), expected);
}

#[test]
fn what_waits_when_the_server_stops_is_tried_once_more() {
    let receiver = Receiver::start();
    let server = server(CORES, vec![target(&receiver.url())], |setup| {
        (setup.webhooks.window, setup.webhooks.grace) = (EVER, EVER);
    });
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    client.leave();
    let vacated = r#"{"occupied":false}"#;
    Backend::new(&server).ask_until("channels/room", &[], vacated);
    drop(server);
    let expected = [named("channel_occupied", "room"), named("channel_vacated", "room")];
    assert_eq!(receiver.events(2), expected);
}

#[test]
fn targets_can_be_replaced_while_the_server_runs() {
    let (before, after) = (Receiver::start(), Receiver::start());
    let server = server(CORES, vec![target(&before.url())], |_| {});
    let mut client = Client::join(&server, "key");
    client.subscribe("one");
    assert_eq!(before.events(1), [named("channel_occupied", "one")]);
    server.webhooks.as_ref().unwrap().replace(vec![target(&after.url())]);
    client.subscribe("two");
    assert_eq!(after.events(1), [named("channel_occupied", "two")]);
    before.check_silent();
}

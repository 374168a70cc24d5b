//! What a back end publishes, and who hears it: on any cores, each event once and in order.

use serde_json::{Value, json};
use stentor::metrics::Counter;

use crate::backend::Backend;
use crate::client::{Client, event};
use crate::server::{CORES, Running, apps};

/// Publishes numbered events, and a last one: whoever heard one twice would hear it before the last.
fn check_heard_once_in_order(publisher: &mut Backend, listener: &mut Client, channel: &str) {
    for number in 0..3 {
        publisher.publish(channel, "count", &number.to_string());
    }
    publisher.publish(channel, "last", "");
    for number in 0..3 {
        assert_eq!(listener.message(), event("count", channel, &number.to_string()));
    }
    assert_eq!(listener.message(), event("last", channel, ""));
}

#[test]
fn events_are_heard_once_and_in_order_from_every_core_over_every_core_on_every_core() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    let mut publishers = Backend::on_each_core(&server);
    for (core, listener) in listeners.iter_mut().enumerate() {
        assert_eq!(listener.core(), core);
        for home in 0..CORES {
            let channel = server.channel_at(home, &format!("from-{home}-to-{core}"));
            listener.subscribe(&channel);
            for publisher in &mut publishers {
                check_heard_once_in_order(publisher, listener, &channel);
            }
        }
        listener.check_alive();
    }
    // 64 combinations of 4 events, and each was ordered by its home.
    assert_eq!(server.count(Counter::ApiEvents), 256);
    for home in 0..CORES {
        assert_eq!(server.metrics.core(home).get(Counter::Published), 64);
    }
}

#[test]
fn all_subscribers_on_all_cores_hear_one_order() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    let mut publishers = Backend::on_each_core(&server);
    listeners.iter_mut().for_each(|listener| listener.subscribe("news"));
    for number in 0..20 {
        publishers[number % CORES].publish("news", "count", &number.to_string());
    }
    let heard = |listener: &mut Client| (0..20).map(|_| listener.message()).collect::<Vec<_>>();
    let first = heard(&mut listeners[0]);
    for listener in &mut listeners[1..] {
        assert_eq!(heard(listener), first);
    }
}

/// The number of an event that was published with numbers as data.
fn number(event: &Value) -> usize {
    event["data"].as_str().and_then(|data| data.parse().ok()).unwrap_or_else(|| panic!("{event}"))
}

/// So many events are published while clients come and go.
const STREAM: usize = 1_500;

#[test]
fn whoever_comes_while_events_flow_misses_none_from_then_on() {
    let server = Running::start();
    let mut publisher = Backend::new(&server);
    let mut clients: Vec<_> = (0..30).map(|_| Client::join(&server, "key")).collect();
    let heard = std::thread::scope(|scope| {
        let stream = scope.spawn(move || {
            (0..STREAM).for_each(|n| publisher.publish("news", "count", &n.to_string()));
        });
        clients.iter_mut().for_each(|client| client.subscribe("news"));
        let mut early = 0;
        for client in &mut clients {
            let first = number(&client.message());
            for expected in first + 1..STREAM {
                assert_eq!(number(&client.message()), expected, "the first was {first}");
            }
            early += usize::from(first < STREAM / 2);
        }
        stream.join().unwrap();
        early
    });
    assert!(heard > 0, "nobody came while events flowed");
    clients.iter_mut().for_each(Client::check_alive);
}

#[test]
fn whoever_leaves_while_events_flow_hears_none_from_then_on() {
    let server = Running::start();
    let mut publisher = Backend::new(&server);
    let mut clients = Client::on_each_core(&server);
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": "news"}}).to_string();
    let pong = json!({"event": "pusher:pong", "data": {}});
    std::thread::scope(|scope| {
        scope.spawn(move || {
            (0..STREAM).for_each(|n| publisher.publish("news", "count", &n.to_string()));
        });
        for client in &mut clients {
            (0..50).for_each(|expected| assert_eq!(number(&client.message()), expected));
            client.say(&leave);
            client.say(r#"{"event":"pusher:ping"}"#);
            let mut expected = 50;
            loop {
                let message = client.message();
                if message == pong {
                    break;
                }
                assert_eq!(number(&message), expected);
                expected += 1;
            }
            (0..20).for_each(|_| client.check_alive());
        }
    });
    clients.iter_mut().for_each(Client::check_alive);
}

#[test]
fn an_event_to_several_channels_is_heard_on_each() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    for (listener, channel) in listeners.iter_mut().zip(["a", "b", "c", "d"]) {
        listener.subscribe(channel);
    }
    let mut backend = Backend::new(&server);
    let body = json!({"name": "n", "channels": ["a", "b", "c", "a"], "data": "{\"x\":1}"});
    assert_eq!(backend.post("events", &body).body, "{}");
    for (listener, channel) in listeners.iter_mut().zip(["a", "b", "c"]) {
        assert_eq!(listener.message(), event("n", channel, "{\"x\":1}"));
    }
    listeners.iter_mut().for_each(Client::check_alive);
    assert_eq!(server.count(Counter::ApiEvents), 3, "a channel named twice gets the event once");
}

#[test]
fn a_batch_is_heard_in_its_order() {
    let server = Running::start();
    let mut listener = Client::join(&server, "key");
    listener.subscribe("a");
    listener.subscribe("b");
    let item = |channel: &str, data: &str| json!({"name": "n", "channel": channel, "data": data});
    let batch = json!({"batch": [item("a", "1"), item("a", "2"), item("a", "3")]});
    let answer = Backend::new(&server).post("batch_events", &batch);
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    for data in ["1", "2", "3"] {
        assert_eq!(listener.message(), event("n", "a", data));
    }
    listener.check_alive();
}

#[test]
fn data_is_passed_on_as_it_was_published() {
    let server = Running::start();
    let mut listener = Client::join(&server, "key");
    listener.subscribe("a");
    let mut backend = Backend::new(&server);
    for (data, heard) in [
        (r#""plain""#, "plain"),
        (r#""\"quoted\" \\ \u00e9 \/""#, "\"quoted\" \\ é /"),
        (r#""""#, ""),
        (r#"{"an": "object"}"#, r#"{"an": "object"}"#),
        ("[1,2]", "[1,2]"),
    ] {
        let answer =
            backend.post_text("events", &format!(r#"{{"name":"n","channel":"a","data":{data}}}"#));
        assert_eq!(answer.status, 200, "{data}: {answer:?}");
        assert_eq!(listener.message(), event("n", "a", heard));
    }
}

#[test]
fn the_excluded_connection_alone_does_not_hear_an_event() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    listeners.iter_mut().for_each(|listener| listener.subscribe("news"));
    let mut backend = Backend::new(&server);
    for excluded in 0..CORES {
        let socket_id = listeners[excluded].socket_id.clone();
        let body = json!({"name": "n", "channel": "news", "data": "d", "socket_id": socket_id});
        assert_eq!(backend.post("events", &body).status, 200);
        backend.publish("news", "all", "");
        for (core, listener) in listeners.iter_mut().enumerate() {
            if core != excluded {
                assert_eq!(listener.message(), event("n", "news", "d"));
            }
            assert_eq!(listener.message(), event("all", "news", ""));
        }
    }
}

#[test]
fn a_socket_id_that_nobody_has_excludes_nobody() {
    let server = Running::start();
    let mut listener = Client::join(&server, "key");
    listener.subscribe("news");
    let (conn, entropy) = listener.socket_id.split_once('.').unwrap();
    let guessed = format!("{conn}.{}", entropy.parse::<u32>().unwrap().wrapping_add(1));
    let mut backend = Backend::new(&server);
    for socket_id in [guessed.as_str(), "1.1", "99999999999999999999999.1"] {
        let body = json!({"name": "n", "channel": "news", "data": "", "socket_id": socket_id});
        assert_eq!(backend.post("events", &body).status, 200, "{socket_id}");
        assert_eq!(listener.message(), event("n", "news", ""));
    }
}

#[test]
fn subscribers_of_all_cores_are_counted() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    let mut backend = Backend::new(&server);
    let mut check = |count: usize| {
        let body =
            json!({"name": "n", "channels": ["a", "b"], "data": "", "info": "subscription_count"});
        let counts = json!({"a": {"subscription_count": count}, "b": {"subscription_count": 0}});
        backend.post_until("events", &body, &json!({"channels": counts}));
    };
    check(0);
    for (core, listener) in listeners.iter_mut().enumerate() {
        listener.subscribe("a");
        check(core + 1);
    }
    listeners.remove(1).leave();
    check(3);
    drop(listeners);
    check(0);
}

#[test]
fn a_channel_that_is_left_is_not_counted() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    let mut backend = Backend::new(&server);
    let body = json!({"name": "n", "channel": "a", "data": "", "info": "subscription_count"});
    let counts = |count: usize| json!({"channels": {"a": {"subscription_count": count}}});
    listeners.iter_mut().for_each(|listener| listener.subscribe("a"));
    backend.post_until("events", &body, &counts(4));
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": "a"}}).to_string();
    listeners.iter_mut().for_each(|listener| listener.say(&leave));
    backend.post_until("events", &body, &counts(0));
}

#[test]
fn a_batch_tells_the_counts_in_its_order() {
    let server = Running::start();
    let mut listeners = Client::on_each_core(&server);
    listeners.iter_mut().for_each(|listener| listener.subscribe("a"));
    let batch = json!({"batch": [
        {"name": "n", "channel": "b", "data": "", "info": "subscription_count"},
        {"name": "n", "channel": "a", "data": ""},
        {"name": "n", "channel": "a", "data": "", "info": "subscription_count,user_count"},
        {"name": "n", "channel": "a", "data": "", "info": "user_count"},
    ]});
    let expected = json!({"batch": [{"subscription_count": 0}, {}, {"subscription_count": 4}, {}]});
    Backend::new(&server).post_until("batch_events", &batch, &expected);
}

#[test]
fn apps_do_not_hear_each_other() {
    let server = Running::start();
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "other"));
    one.subscribe("news");
    two.subscribe("news");
    let mut backend = Backend::new(&server);
    backend.publish("news", "of-one", "");
    backend.app = apps().swap_remove(1);
    backend.publish("news", "of-two", "");
    assert_eq!(one.message(), event("of-one", "news", ""));
    assert_eq!(two.message(), event("of-two", "news", ""));
    one.check_alive();
    two.check_alive();
}

#[test]
fn events_for_nobody_are_taken_and_forgotten() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    backend.publish_in_order("empty", "before");
    let mut listener = Client::join(&server, "key");
    listener.subscribe("empty");
    backend.publish("empty", "after", "");
    assert_eq!(listener.message(), event("after", "empty", ""));
}

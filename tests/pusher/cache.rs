//! Cache channels: whoever comes hears the last event first, and everything after it once.

use serde_json::json;
use stentor::pusher::App;

use crate::backend::Backend;
use crate::client::{Client, event, subscribe, succeeded};
use crate::server::Running;

fn miss(channel: &str) -> serde_json::Value {
    json!({"event": "pusher:cache_miss", "channel": channel})
}

#[test]
fn the_last_event_is_heard_on_every_core_and_after_everybody_left() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    for home in 0..4 {
        let channel = server.channel_at(home, "cache");
        backend.publish(&channel, "n", "first");
        backend.publish_in_order(&channel, "last");
        for _ in 0..2 {
            for mut client in Client::on_each_core(&server) {
                client.subscribe(&channel);
                assert_eq!(client.message(), event("last", &channel, ""));
                client.check_alive();
                client.leave();
            }
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_between_the_last_event_and_the_live_ones() {
    let server = Running::start();
    for home in 0..4 {
        let channel = server.channel_at(home, "cache");
        let mut backend = Backend::new(&server);
        backend.publish_in_order(&channel, "0");
        let mut clients: Vec<Client> = (0..20).map(|_| Client::join(&server, "key")).collect();
        let publisher = {
            let channel = channel.clone();
            std::thread::spawn(move || {
                (1..=200).for_each(|n: u32| backend.publish(&channel, &n.to_string(), ""))
            })
        };
        for client in &mut clients {
            client.say(&subscribe(&channel));
        }
        publisher.join().unwrap();
        for client in &mut clients {
            assert_eq!(client.message(), succeeded(&channel));
            let number = |message: serde_json::Value| {
                message["event"].as_str().unwrap().parse::<u32>().unwrap()
            };
            let first = number(client.message());
            for expected in first + 1..=200 {
                assert_eq!(number(client.message()), expected);
            }
            client.check_alive();
        }
    }
}

#[test]
fn what_clients_send_and_members_do_is_not_kept() {
    let server = Running::start();
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "key"));
    let room = "presence-cache-room";
    one.say(&one.signed(room, Some("{\"user_id\":1}")));
    one.message();
    assert_eq!(one.message(), miss(room));
    one.say(&json!({"event": "client-x", "data": {}, "channel": room}).to_string());
    two.say(&two.signed(room, Some("{\"user_id\":2}")));
    assert_eq!(two.message()["data"]["presence"]["count"], 2);
    // The client's event may be the newest: it was sent before, and heard by nobody.
    assert_eq!(two.message(), miss(room));
}

#[test]
fn an_app_keeps_its_events_for_its_own_time() {
    let server = Running::with(|setup| {
        let App { cache_ttl_seconds, .. } = &mut setup.apps[0];
        *cache_ttl_seconds = 0;
    });
    Backend::new(&server).publish_in_order("cache-a", "n");
    let mut client = Client::join(&server, "key");
    client.subscribe("cache-a");
    assert_eq!(client.message(), miss("cache-a"));
}

#[test]
fn the_oldest_is_forgotten_when_a_core_has_no_room() {
    let server = Running::with(|setup| {
        setup.engine.cores = 1;
        setup.pusher.cache_bytes = 1_024;
    });
    let (mut backend, mut client) = (Backend::new(&server), Client::join(&server, "key"));
    for channel in ["cache-a", "cache-b"] {
        backend.publish(channel, "n", &"x".repeat(400));
    }
    for (channel, is_kept) in [("cache-a", false), ("cache-b", true)] {
        client.subscribe(channel);
        let expected = if is_kept { event("n", channel, &"x".repeat(400)) } else { miss(channel) };
        assert_eq!(client.message(), expected);
    }
}

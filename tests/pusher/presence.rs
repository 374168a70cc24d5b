//! Presence channels on four cores: one member per user, told once of each coming and going.

use serde_json::{Value, json};
use stentor::pusher::App;

use crate::backend::Backend;
use crate::client::Client;
use crate::server::{CORES, Running};

const ROOM: &str = "presence-room";

fn own(event: &str, data: &Value) -> Value {
    json!({"event": format!("pusher_internal:{event}"), "data": data, "channel": ROOM})
}

fn there(ids: &[Value]) -> Value {
    let hash = |id: &Value| (id.as_str().map_or(id.to_string(), str::to_owned), Value::Null);
    let hash: serde_json::Map<_, _> = ids.iter().map(hash).collect();
    let presence = json!({"count": ids.len(), "ids": ids, "hash": hash});
    own("subscription_succeeded", &json!({"presence": presence}))
}

/// Comes into the room as that user; what it is answered comes back.
fn enter(client: &mut Client, channel_data: &Value) -> Value {
    let message = client.signed(ROOM, Some(&channel_data.to_string()));
    client.say(&message);
    client.message()
}

fn check_enters(client: &mut Client, id: &Value, ids: &[Value]) {
    assert_eq!(enter(client, &json!({"user_id": id})), there(ids));
}

fn leave(client: &mut Client) {
    client.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}}).to_string());
}

/// All orders of 0, 1 and 2.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn a_user_on_three_cores_is_added_once_and_removed_once_in_every_order() {
    let server = Running::start();
    let [watcher, mut tabs @ ..] =
        <[Client; CORES]>::try_from(Client::on_each_core(&server)).ok().unwrap();
    let mut watcher = watcher;
    let (watch, user) = (json!("watcher"), json!(7));
    check_enters(&mut watcher, &watch, std::slice::from_ref(&watch));
    for come in ORDERS {
        for go in ORDERS {
            for tab in come {
                check_enters(&mut tabs[tab], &user, &[watch.clone(), user.clone()]);
            }
            assert_eq!(watcher.message(), own("member_added", &json!({"user_id": 7})));
            watcher.check_alive();
            for (left, tab) in go.into_iter().enumerate() {
                leave(&mut tabs[tab]);
                tabs[tab].check_alive();
                if left < 2 {
                    watcher.check_alive();
                }
            }
            assert_eq!(watcher.message(), own("member_removed", &json!({"user_id": 7})));
            watcher.check_alive();
            tabs.iter_mut().for_each(Client::check_alive);
        }
    }
}

#[test]
fn a_connection_that_ends_takes_its_member_along() {
    let server = Running::start();
    let mut watcher = Client::join(&server, "key");
    check_enters(&mut watcher, &json!("w"), &[json!("w")]);
    for client in Client::on_each_core(&server) {
        let mut client = client;
        check_enters(&mut client, &json!("x"), &[json!("w"), json!("x")]);
        assert_eq!(watcher.message(), own("member_added", &json!({"user_id": "x"})));
        drop(client);
        assert_eq!(watcher.message(), own("member_removed", &json!({"user_id": "x"})));
    }
}

#[test]
fn the_oldest_connection_that_remains_shows_its_info() {
    let server = Running::start();
    let mut tabs = Client::on_each_core(&server);
    for (tab, client) in tabs.iter_mut().enumerate() {
        let data = json!({"user_id": 1, "user_info": {"tab": tab}});
        let answer = enter(client, &data);
        assert_eq!(answer["data"]["presence"]["hash"], json!({"1": {"tab": 0}}));
    }
    let mut tabs = tabs.into_iter();
    tabs.next().unwrap().leave();
    let mut second = tabs.next().unwrap();
    let mut other = Client::join(&server, "key");
    // The end of the first has to come to the home before the next one asks.
    loop {
        let answer = enter(&mut other, &json!({"user_id": 2}));
        let info = &answer["data"]["presence"]["hash"]["1"];
        if *info == json!({"tab": 1}) {
            break;
        }
        assert_eq!(*info, json!({"tab": 0}));
    }
    assert_eq!(second.message(), own("member_added", &json!({"user_id": 2})));
}

#[test]
fn the_sender_of_an_event_is_known_by_its_subscription_alone() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    for (id, client) in clients.iter_mut().enumerate() {
        enter(client, &json!({"user_id": id}));
    }
    for (id, client) in clients.iter_mut().enumerate() {
        for later in id + 1..CORES {
            assert_eq!(client.message()["data"]["user_id"], later);
        }
    }
    for sender in 0..CORES {
        let event = json!({"event": "client-x", "data": 1, "channel": ROOM, "user_id": "forged"});
        clients[sender].say(&event.to_string());
        for client in clients.iter_mut().enumerate().filter(|(id, _)| *id != sender) {
            let expected =
                json!({"event": "client-x", "data": 1, "channel": ROOM, "user_id": sender});
            assert_eq!(client.1.message(), expected);
        }
    }
}

#[test]
fn whoever_left_or_was_refused_sends_no_events() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    let event = json!({"event": "client-x", "data": {}, "channel": ROOM}).to_string();
    enter(&mut client, &json!({"user_id": 1}));
    leave(&mut client);
    client.say(&event);
    client.check_error(4009);
    client.say(&client.signed(ROOM, Some("{}")));
    assert_eq!(client.message()["event"], "pusher:subscription_error");
    client.check_error(4009);
    client.say(&event);
    client.check_error(4009);
}

#[test]
fn the_signature_covers_the_data_as_it_was_sent() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    for data in [
        "{\"user_id\": \"1\"}",
        "{\"user_id\":\"1\",\"user_info\":{\"n\":\"é\\/\"}}",
        " {\"user_info\":null, \"user_id\":1 } ",
    ] {
        client.say(&client.signed(ROOM, Some(data)));
        assert_eq!(client.message()["data"]["presence"]["count"], 1, "{data}");
        let forged = client.signed(ROOM, Some(data)).replace("user_id", "user_id ");
        client.say(&forged);
        assert_eq!(client.message()["data"]["type"], "AuthError", "{data}");
        client.check_error(4009);
    }
}

fn refused(client: &mut Client, data: &Value, code: u16) {
    let answer = enter(client, data);
    assert_eq!(answer["event"], "pusher:subscription_error", "{answer}");
    assert_eq!(
        (&answer["data"]["type"], &answer["data"]["status"]),
        (&json!("LimitReached"), &json!(code))
    );
    client.check_error(code);
}

#[test]
fn the_user_past_the_limit_is_refused_and_leaves_no_trace() {
    let server = Running::with(|setup| setup.apps[0].max_presence_members = Some(2));
    let [mut a, mut b, mut c, mut d] =
        <[Client; CORES]>::try_from(Client::on_each_core(&server)).ok().unwrap();
    check_enters(&mut a, &json!(1), &[json!(1)]);
    check_enters(&mut b, &json!(2), &[json!(1), json!(2)]);
    refused(&mut c, &json!({"user_id": 3}), 4100);
    Backend::new(&server).publish(ROOM, "n", "");
    c.check_alive();
    check_enters(&mut d, &json!("1"), &[json!(1), json!(2)]);
    assert_eq!(a.message(), own("member_added", &json!({"user_id": 2})));
    assert_eq!(
        (a.message()["event"].clone(), b.message()["event"].clone()),
        (json!("n"), json!("n"))
    );
    a.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}}).to_string());
    // The answer of the same home to something later shows that it has heard of this.
    let home = server.publisher.home_of(&format!("1/{ROOM}"));
    a.subscribe(&server.channel_at(home, "later"));
    d.leave();
    assert_eq!(b.message(), own("member_removed", &json!({"user_id": "1"})));
    check_enters(&mut c, &json!(3), &[json!(2), json!(3)]);
}

#[test]
fn data_and_ids_past_their_limits_are_refused() {
    let server = Running::with(|setup| {
        let App { max_member_bytes, max_user_id, .. } = &mut setup.apps[0];
        (*max_member_bytes, *max_user_id) = (Some(60), 20);
    });
    let mut client = Client::join(&server, "key");
    let sized = |bytes: usize| json!({"user_id": 1, "user_info": "x".repeat(bytes - 28)});
    assert_eq!(sized(60).to_string().len(), 60);
    refused(&mut client, &sized(61), 4301);
    refused(&mut client, &json!({"user_id": "n".repeat(21)}), 4301);
    assert_eq!(enter(&mut client, &sized(60))["data"]["presence"]["count"], 1);
    let longest = json!("n".repeat(20));
    let answer = enter(&mut client, &json!({"user_id": longest}));
    // Another user on the same connection: the one goes, the other comes, and then the list.
    assert_eq!(answer, own("member_removed", &json!({"user_id": 1})));
    assert_eq!(client.message(), own("member_added", &json!({"user_id": longest})));
    assert_eq!(client.message(), there(&[longest]));
}

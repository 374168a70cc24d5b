//! What back ends ask about presence and cache channels, and the end of a user's connections: members and homes on
//! four cores.

use serde_json::{Value, json};
use stentor::pusher::signature::channel_signature;

use crate::backend::Backend;
use crate::client::{Client, Heard};
use crate::server::{CORES, Running};

const COUNTS: (&str, &str) = ("info", "user_count,subscription_count");

/// Subscribes as that user; what comes next is the answer.
fn enter(client: &mut Client, channel: &str, user: &Value) {
    let user = user.to_string();
    let signature = channel_signature("secret", &client.socket_id, channel, Some(&user));
    let auth = format!("key:{signature}");
    let data = json!({"auth": auth, "channel": channel, "channel_data": user});
    client.say(&json!({"event": "pusher:subscribe", "data": data}).to_string());
    loop {
        let message = client.message();
        if message["event"] == "pusher_internal:subscription_succeeded" {
            return;
        }
        assert_eq!(message["event"], "pusher_internal:member_added", "{message}");
    }
}

fn user(id: impl Into<Value>) -> Value {
    json!({"user_id": id.into()})
}

/// A close frame with that code comes, whatever else comes before it.
fn check_closed(client: &mut Client, code: u16) {
    loop {
        match client.next() {
            Heard::Message(_) => {}
            Heard::Close(got, _) => return assert_eq!(got, code),
            other => panic!("{other:?} instead of a close frame"),
        }
    }
}

#[test]
fn users_are_counted_once_however_many_connections_they_have() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    for (client, id) in clients.iter_mut().zip([json!(1), json!("1"), json!(2), json!("b")]) {
        enter(client, "presence-room", &user(id));
    }
    let counts = r#"{"user_count":3,"subscription_count":4}"#;
    for backend in &mut Backend::on_each_core(&server) {
        let all = format!(r#"{{"channels":{{"presence-room":{counts}}}}}"#);
        backend.ask_until("channels", &[COUNTS], &all);
        let one = format!(r#"{{"occupied":true,{}"#, &counts[1..]);
        backend.ask_until("channels/presence-room", &[COUNTS], &one);
        let event = json!({
            "name": "n", "channel": "presence-room", "data": "", "info": "user_count,subscription_count"
        });
        let channels = serde_json::from_str(&all).unwrap();
        backend.post_until("events", &event, &channels);
    }
}

#[test]
fn users_are_listed_in_the_order_in_which_they_came_with_string_ids() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    let ann = json!({"user_id": 7, "user_info": {"name": "Ann"}});
    enter(&mut clients[3], "presence-room", &ann);
    enter(&mut clients[0], "presence-room", &user("b"));
    enter(&mut clients[1], "presence-room", &ann);
    for backend in &mut Backend::on_each_core(&server) {
        let plain = r#"{"users":[{"id":"7"},{"id":"b"}]}"#;
        assert_eq!(backend.ask("channels/presence-room/users", &[]).body, plain);
        let with_info = [("with_user_info", "1")];
        let told = r#"{"users":[{"id":"7","user_info":{"name":"Ann"}},{"id":"b"}]}"#;
        assert_eq!(backend.ask("channels/presence-room/users", &with_info).body, told);
    }
}

#[test]
fn all_connections_of_a_user_are_ended_with_4009_and_no_others() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    let mut bystander = Client::join(&server, "key");
    for (home, client) in clients.iter_mut().enumerate() {
        // Each on a channel whose home is another core than its own.
        let channel = server.channel_at((home + 1) % CORES, "presence-room");
        enter(client, &channel, &user(7));
    }
    let shared = server.channel_at(0, "presence-hall");
    enter(&mut clients[1], &shared, &user(7));
    enter(&mut bystander, &shared, &user(8));
    let mut backend = Backend::new(&server);
    assert_eq!(backend.post("users/7/terminate_connections", &json!({})).body, "{}");
    for client in &mut clients {
        check_closed(client, 4009);
    }
    let left = bystander.message();
    assert_eq!(left["event"], "pusher_internal:member_removed", "{left}");
    bystander.check_alive();
    let users = format!("channels/{shared}/users");
    backend.ask_until(&users, &[], r#"{"users":[{"id":"8"}]}"#);
}

#[test]
fn a_user_of_another_app_is_another_user() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    enter(&mut client, "presence-room", &user(7));
    let mut backend = Backend::new(&server);
    backend.app = crate::server::apps().swap_remove(1);
    assert_eq!(backend.post("users/7/terminate_connections", &json!({})).body, "{}");
    client.check_alive();
    assert_eq!(backend.ask("channels/presence-room/users", &[]).body, r#"{"users":[]}"#);
}

#[test]
fn the_last_event_of_a_cache_channel_is_told_with_its_time() {
    let server = Running::start();
    for (home, backend) in Backend::on_each_core(&server).iter_mut().enumerate() {
        let channel = server.channel_at(home, "cache-a");
        backend.publish(&channel, "n", "old");
        backend.publish(&channel, "n", r#"{"a": "ü"}"#);
        let answer = backend.ask(&format!("channels/{channel}"), &[("info", "cache")]).json();
        assert_eq!(answer["occupied"], false);
        assert_eq!(answer["cache"]["data"], r#"{"a": "ü"}"#);
        let ttl = answer["cache"]["ttl"].as_u64().unwrap();
        assert!((1_700..=1_800).contains(&ttl), "{ttl}");
    }
}

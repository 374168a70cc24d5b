//! Events that clients send to each other: who hears them, and who may send them.

use serde_json::{Value, json};
use stentor::metrics::Counter;
use stentor::pusher::signature::channel_signature;

use crate::client::{Client, subscribe, succeeded};
use crate::server::Running;

fn whisper(channel: &str, data: &Value) -> Value {
    json!({"event": "client-typing", "data": data, "channel": channel})
}

/// An event that is answered with an error about its channel.
fn check_refused(server: &Running, client: &mut Client, event: &Value, code: u16, says: &str) {
    let before = server.count(Counter::ClientErrors);
    client.say(&event.to_string());
    let error = client.message();
    let data = &error["data"];
    assert_eq!((&error["event"], &data["code"]), (&json!("pusher:error"), &json!(code)), "{error}");
    assert_eq!(error["channel"], event["channel"]);
    assert!(data["message"].as_str().unwrap().contains(says), "{error} lacks {says:?}");
    assert_eq!(server.count(Counter::ClientErrors), before + 1);
}

#[test]
fn all_others_on_all_cores_hear_an_event_and_its_sender_does_not() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    clients.iter_mut().for_each(|client| client.subscribe("room"));
    for sender in 0..clients.len() {
        for number in 0..3 {
            clients[sender].say(&whisper("room", &json!({"n": number})).to_string());
        }
        for (core, client) in clients.iter_mut().enumerate().filter(|(core, _)| *core != sender) {
            for number in 0..3 {
                let expected = whisper("room", &json!({"n": number}));
                assert_eq!(client.message(), expected, "from {sender} to {core}");
            }
        }
    }
    clients.iter_mut().for_each(Client::check_alive);
    assert_eq!(server.count(Counter::ClientErrors), 0);
}

#[test]
fn members_of_a_private_channel_may_send() {
    let server = Running::start();
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "key"));
    for client in [&mut one, &mut two] {
        let signature = channel_signature("secret", &client.socket_id, "private-room", None);
        let data = json!({"auth": format!("key:{signature}"), "channel": "private-room"});
        client.say(&json!({"event": "pusher:subscribe", "data": data}).to_string());
        assert_eq!(client.message(), succeeded("private-room"));
    }
    let event = whisper("private-room", &json!("text"));
    one.say(&event.to_string());
    assert_eq!(two.message(), event);
}

#[test]
fn only_name_data_and_channel_are_passed_on() {
    let server = Running::start();
    let (mut one, mut two) = (Client::join(&server, "key"), Client::join(&server, "key"));
    one.subscribe("room");
    two.subscribe("room");
    for data in [json!({"a": [1, null]}), json!("{\"a\":1}"), json!(7), json!(null)] {
        let event = whisper("room", &data);
        let mut forged = event.clone();
        forged["user_id"] = "admin".into();
        forged["socket_id"] = "1.1".into();
        one.say(&forged.to_string());
        assert_eq!(two.message(), event);
    }
}

#[test]
fn whoever_is_not_on_the_channel_may_not_send() {
    let server = Running::start();
    let (mut client, mut member) = (Client::join(&server, "key"), Client::join(&server, "key"));
    let mut foreigner = Client::join(&server, "other");
    member.subscribe("room");
    foreigner.subscribe("room");
    let event = whisper("room", &json!({}));
    check_refused(&server, &mut client, &event, 4009, "not a member");
    client.subscribe("room");
    client.say(&event.to_string());
    assert_eq!(member.message(), event);
    client.unsubscribe("room");
    check_refused(&server, &mut client, &event, 4009, "not a member");
    for channel in ["", "private-room", "presence-room", &"r".repeat(2_000)] {
        check_refused(&server, &mut client, &whisper(channel, &json!({})), 4009, "not a member");
    }
    member.check_alive();
    foreigner.check_alive();
}

#[test]
fn an_event_right_behind_the_subscription_is_sent() {
    let server = Running::start();
    let mut member = Client::join(&server, "key");
    member.subscribe("room");
    let event = whisper("room", &json!({}));
    for _ in 0..20 {
        let mut client = Client::join(&server, "key");
        client.say(&subscribe("room"));
        client.say(&event.to_string());
        assert_eq!(client.message(), succeeded("room"));
        assert_eq!(member.message(), event);
    }
}

#[test]
fn names_and_data_past_their_limits_are_refused() {
    let server = Running::with(|setup| setup.apps[0].max_event_bytes = 1_000);
    let mut client = Client::join(&server, "key");
    client.subscribe("room");
    let named = |letters: usize| {
        let name = format!("client-{}", "n".repeat(letters - "client-".len()));
        json!({"event": name, "data": {}, "channel": "room"})
    };
    check_refused(&server, &mut client, &named(201), 4301, "201");
    client.say(&named(200).to_string());
    let data = |bytes: usize| whisper("room", &json!("d".repeat(bytes - 2)));
    check_refused(&server, &mut client, &data(1_001), 4301, "1001");
    client.say(&data(1_000).to_string());
    client.check_alive();
}

#[test]
fn an_app_may_have_no_client_events() {
    let server = Running::with(|setup| setup.apps[0].client_events = false);
    let (mut client, mut member) = (Client::join(&server, "key"), Client::join(&server, "key"));
    client.subscribe("room");
    member.subscribe("room");
    let event = whisper("room", &json!({}));
    check_refused(&server, &mut client, &event, 4301, "does not have client messaging enabled");
    member.check_alive();
}

#[test]
fn an_event_without_a_channel_is_no_message() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    for text in [
        r#"{"event":"client-typing","data":{}}"#,
        r#"{"event":"client-typing","data":{},"channel":null}"#,
    ] {
        client.say(text);
        assert_eq!(client.check_error(4200), "Invalid message format");
    }
}

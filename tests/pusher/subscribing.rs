//! Channels: coming onto one, leaving it, and what is refused.

use serde_json::json;
use stentor::metrics::Counter;
use stentor::pusher::signature::channel_signature;

use crate::backend::Backend;
use crate::client::{Client, event, subscribe, succeeded};
use crate::server::Running;

/// A subscription with what is signed of it.
fn signed(client: &Client, channel: &str, secret: &str, channel_data: Option<&str>) -> String {
    let signature = channel_signature(secret, &client.socket_id, channel, channel_data);
    let mut data = json!({"auth": format!("key:{signature}"), "channel": channel});
    if let Some(channel_data) = channel_data {
        data["channel_data"] = channel_data.into();
    }
    json!({"event": "pusher:subscribe", "data": data}).to_string()
}

/// Both frames that tell of a refusal; the connection stays.
fn check_refused(server: &Running, client: &mut Client, message: &str, kind: &str, code: u16) {
    let before = server.count(Counter::ClientErrors);
    client.say(message);
    let error = client.message();
    assert_eq!(error["event"], "pusher:subscription_error", "{error}");
    assert_eq!(error["data"]["type"], kind, "{error}");
    let channel = error["channel"].clone();
    let repeated = client.message();
    assert_eq!(repeated["event"], "pusher:error", "{repeated}");
    assert_eq!((&repeated["data"]["code"], &repeated["channel"]), (&json!(code), &channel));
    assert_eq!(repeated["data"]["message"], error["data"]["error"]);
    client.check_alive();
    assert_eq!(server.count(Counter::ClientErrors), before + 1);
}

#[test]
fn no_event_comes_before_subscribing_or_after_unsubscribing() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    let mut backend = Backend::new(&server);
    backend.publish_in_order("news", "too-early");
    client.subscribe("news");
    backend.publish("news", "heard", "");
    assert_eq!(client.message(), event("heard", "news", ""));
    client.unsubscribe("news");
    backend.publish_in_order("news", "too-late");
    client.subscribe("news");
    backend.publish("news", "heard-again", "");
    assert_eq!(client.message(), event("heard-again", "news", ""));
}

#[test]
fn subscribing_twice_is_confirmed_twice_and_heard_once() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    client.subscribe("news");
    Backend::new(&server).publish("news", "n", "");
    assert_eq!(client.message(), event("n", "news", ""));
    client.check_alive();
}

#[test]
fn leaving_a_channel_that_one_is_not_on_is_silent() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.unsubscribe("news");
    client.unsubscribe("");
    assert_eq!(server.count(Counter::ClientErrors), 0);
}

#[test]
fn data_may_be_an_object_or_a_string_that_holds_one() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.say(r#"{"event":"pusher:subscribe","data":"{\"channel\":\"news\"}"}"#);
    assert_eq!(client.message(), succeeded("news"));
    client.say(r#"{"data":{"extra":[1],"channel":"more"},"event":"pusher:subscribe","x":{}}"#);
    assert_eq!(client.message(), succeeded("more"));
}

#[test]
fn names_that_only_look_like_a_prefix_are_public() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    for name in ["private", "privateer", "presence", "cache", "my-cache-x", "a_-=@,.;Z9"] {
        client.subscribe(name);
    }
}

#[test]
fn signed_channels_are_heard_by_whoever_may() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    let mut backend = Backend::new(&server);
    for channel in ["private-a", "private-encrypted-a"] {
        for channel_data in [None, Some("{\"user_id\": \"7\"}")] {
            let message = signed(&client, channel, "secret", channel_data);
            client.say(&message);
            assert_eq!(client.message(), succeeded(channel));
        }
        backend.publish(channel, "n", "d");
        assert_eq!(client.message(), event("n", channel, "d"));
    }
}

#[test]
fn a_signature_of_anything_else_is_refused_and_leaves_no_trace() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    let mut other = Client::join(&server, "key");
    let message = signed(&other, "private-a", "secret", None);
    other.say(&message);
    assert_eq!(other.message(), succeeded("private-a"));
    let right = channel_signature("secret", &client.socket_id, "private-a", None);
    let auth = |auth: &str| {
        json!({"event": "pusher:subscribe", "data": {"auth": auth, "channel": "private-a"}})
            .to_string()
    };
    for message in [
        signed(&client, "private-a", "secret-2", None),
        signed(&other, "private-a", "secret", None),
        auth(""),
        auth("key:"),
        auth(&right),
        auth(&format!("other:{right}")),
        auth(&format!("key:{}", right.to_uppercase())),
        auth(&format!("key:{}", &right[..63])),
        subscribe("private-a"),
        r#"{"event":"pusher:subscribe","data":{"channel":"private-a"}}"#.to_owned(),
    ] {
        check_refused(&server, &mut client, &message, "AuthError", 4009);
    }
    Backend::new(&server).publish("private-a", "secret", "");
    client.check_alive();
    assert_eq!(other.message(), event("secret", "private-a", ""));
}

#[test]
fn names_that_are_none_are_refused() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    for name in ["", "a:b", "a b", "ü", "#x"] {
        check_refused(&server, &mut client, &subscribe(name), "InvalidName", 4009);
    }
    let longest = "n".repeat(200);
    client.subscribe(&longest);
    check_refused(&server, &mut client, &subscribe(&(longest + "n")), "LimitReached", 4009);
    check_refused(&server, &mut client, &subscribe(&"n".repeat(9_000)), "LimitReached", 4009);
}

#[test]
fn the_channel_past_the_limit_of_a_connection_is_refused() {
    let server = Running::with(|setup| setup.apps[0].max_subscriptions = 3);
    let mut client = Client::join(&server, "key");
    for name in ["a", "b", "c"] {
        client.subscribe(name);
    }
    check_refused(&server, &mut client, &subscribe("d"), "LimitReached", 4100);
    client.subscribe("a");
    client.unsubscribe("b");
    client.subscribe("d");
}

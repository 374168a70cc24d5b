//! Signed-in users on four cores: who is online, who hears a user's channel, whose connections are ended, and how long
//! a client may stay unknown.

use serde_json::{Value, json};
use stentor::Options;
use stentor::metrics::Counter;
use stentor::pusher::App;
use stentor::pusher::signature::user_signature;

use crate::backend::Backend;
use crate::client::{Client, Heard, event, signed, subscribe};
use crate::memory::{Member, in_memory, wait};
use crate::server::Running;

/// What a client says to sign in, with the secret of app 1.
fn sign_in(socket_id: &str, user_data: &Value) -> String {
    let user_data = user_data.to_string();
    let auth = format!("key:{}", user_signature("secret", socket_id, &user_data));
    json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}).to_string()
}

/// Signs in, and waits until it holds.
pub(crate) fn signed_in(client: &mut Client, user_data: &Value) {
    client.say(&sign_in(&client.socket_id, user_data));
    let message = client.message();
    assert_eq!(message["event"], "pusher:signin_success", "{message}");
}

pub(crate) fn user(id: &str) -> Value {
    json!({"id": id})
}

/// The next message says that these are online, and those are not.
fn check_states(client: &mut Client, online: &[&str], offline: &[&str]) {
    let named = [("online", online), ("offline", offline)];
    let events = named.iter().filter(|(_, users)| !users.is_empty());
    let events: Vec<_> =
        events.map(|(name, users)| json!({"name": name, "user_ids": users})).collect();
    let message = client.message();
    assert_eq!(message["event"], "pusher_internal:watchlist_events", "{message}");
    assert_eq!(message["data"], json!({"events": events}));
}

/// An error frame and a close frame with that code, whatever comes before.
pub(crate) fn check_ended(client: &mut Client, code: u16) {
    let mut last = Value::Null;
    loop {
        match client.next() {
            Heard::Message(message) => last = message,
            Heard::Close(got, reason) => {
                assert_eq!((got, &last["data"]["code"]), (code, &json!(code)));
                return assert_eq!(last["data"]["message"], reason);
            }
            other => panic!("{other:?} instead of a close frame"),
        }
    }
}

#[test]
fn a_user_is_online_once_however_many_connections_on_however_many_cores() {
    let server = Running::start();
    let mut watchers = Client::on_each_core(&server);
    for (number, watcher) in watchers.iter_mut().enumerate() {
        let watchlist = json!({"id": format!("watcher {number}"), "watchlist": ["ann", "bob"]});
        signed_in(watcher, &watchlist);
        check_states(watcher, &[], &["ann", "bob"]);
    }
    let mut tabs = Client::on_each_core(&server);
    for tab in &mut tabs {
        signed_in(tab, &user("ann"));
    }
    let last = tabs.pop().unwrap();
    tabs.into_iter().for_each(Client::leave);
    for watcher in &mut watchers {
        check_states(watcher, &["ann"], &[]);
        watcher.check_alive();
    }
    last.leave();
    for watcher in &mut watchers {
        check_states(watcher, &[], &["ann"]);
        watcher.check_alive();
    }
}

#[test]
fn users_of_another_app_are_others() {
    let server = Running::start();
    let mut watcher = Client::join(&server, "key");
    signed_in(&mut watcher, &json!({"id": "7", "watchlist": ["8"]}));
    check_states(&mut watcher, &[], &["8"]);
    let mut other = Client::join(&server, "other");
    let data = user("8").to_string();
    let auth = format!("other:{}", user_signature("secret-2", &other.socket_id, &data));
    other.say(
        &json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}}).to_string(),
    );
    assert_eq!(other.message()["event"], "pusher:signin_success");
    let mut backend = Backend::new(&server);
    assert_eq!(backend.post("users/8/terminate_connections", &json!({})).status, 200);
    other.check_alive();
    watcher.check_alive();
}

#[test]
fn a_watchlist_may_have_as_many_users_as_the_limit() {
    let server = Running::start();
    for (count, is_cut) in [(1, false), (100, false), (101, true), (150, true)] {
        let ids: Vec<_> = (0..count).map(|number| format!("user-{number}")).collect();
        let mut client = Client::join(&server, "key");
        client.say(&sign_in(&client.socket_id, &json!({"id": "7", "watchlist": ids})));
        if is_cut {
            let message = client.check_error(4302);
            let expected = format!("The watchlist has {count} users; the first 100 are watched.");
            assert_eq!(message, expected);
        }
        assert_eq!(client.message()["event"], "pusher:signin_success");
        let watched: Vec<_> = ids.iter().take(100).map(String::as_str).collect();
        check_states(&mut client, &[], &watched);
        client.check_alive();
        // Whoever was cut off is not told of.
        let mut last = Client::join(&server, "key");
        signed_in(&mut last, &user(&format!("user-{}", count - 1)));
        if !is_cut {
            check_states(&mut client, &[&ids[count - 1]], &[]);
        }
        client.check_alive();
        last.leave();
        client.close(1000);
    }
}

#[test]
fn the_id_of_a_user_may_have_as_many_characters_as_the_limit() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.say(&sign_in(&client.socket_id, &user(&"ü".repeat(201))));
    assert!(client.check_error(4009).contains("201 characters; 200 are allowed"));
    signed_in(&mut client, &user(&"ü".repeat(200)));
}

#[test]
fn a_name_too_long_for_a_topic_is_refused_and_never_online() {
    let server = Running::with(|setup| setup.engine.topic_bytes = 256);
    let mut client = Client::join(&server, "key");
    let long = "ü".repeat(150);
    client.say(&sign_in(&client.socket_id, &user(&long)));
    assert!(client.check_error(4009).contains("the limit is 256"));
    signed_in(&mut client, &json!({"id": "7", "watchlist": [long, "7"]}));
    check_states(&mut client, &["7"], &[&long]);
}

#[test]
fn the_channel_of_a_user_reaches_all_its_connections_and_nobody_else() {
    let server = Running::start();
    let mut tabs = Client::on_each_core(&server);
    for tab in &mut tabs {
        signed_in(tab, &user("ann"));
        tab.subscribe("#server-to-user-ann");
    }
    let mut bob = Client::join(&server, "key");
    signed_in(&mut bob, &user("bob"));
    bob.subscribe("#server-to-user-bob");
    let mut backend = Backend::new(&server);
    backend.publish("#server-to-user-ann", "letter", "for Ann");
    for tab in &mut tabs {
        assert_eq!(tab.message(), event("letter", "#server-to-user-ann", "for Ann"));
    }
    backend.publish("#server-to-user-bob", "letter", "for Bob");
    assert_eq!(bob.message(), event("letter", "#server-to-user-bob", "for Bob"));
    // Nobody else may speak there, and it is no channel that the app has.
    let whisper = r##"{"event":"client-x","channel":"#server-to-user-ann","data":{}}"##;
    bob.say(whisper);
    bob.check_error(4009);
    backend.ask_until("channels", &[], r#"{"channels":{}}"#);
}

#[test]
fn ending_a_user_ends_every_connection_that_is_that_user_in_either_way() {
    let server = Running::start();
    let mut signed = Client::on_each_core(&server);
    signed.iter_mut().for_each(|client| signed_in(client, &user("ann/b c")));
    let mut member = Client::join(&server, "key");
    let data = json!({"user_id": "ann/b c"}).to_string();
    member.say(&member.signed("presence-room", Some(&data)));
    assert_eq!(member.message()["event"], "pusher_internal:subscription_succeeded");
    let mut both = Client::join(&server, "key");
    signed_in(&mut both, &user("ann/b c"));
    both.say(&both.signed("presence-room", None));
    assert_eq!(both.message()["event"], "pusher_internal:subscription_succeeded");
    let mut bystander = Client::join(&server, "key");
    signed_in(&mut bystander, &user("ann"));
    let mut watcher = Client::join(&server, "key");
    signed_in(&mut watcher, &json!({"id": "w", "watchlist": ["ann/b c"]}));
    check_states(&mut watcher, &["ann/b c"], &[]);

    let mut backend = Backend::new(&server);
    let answer = backend.post("users/ann%2Fb%20c/terminate_connections", &json!({}));
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    for client in signed.iter_mut().chain([&mut member, &mut both]) {
        check_ended(client, 4009);
    }
    check_states(&mut watcher, &[], &["ann/b c"]);
    bystander.check_alive();
}

#[test]
fn what_a_user_is_told_of_takes_no_room_from_its_channels() {
    let server = Running::with(|setup| {
        setup.apps[0].max_subscriptions = 2;
        setup.engine.subscriptions = setup.apps[0].most_topics();
    });
    let mut client = Client::join(&server, "key");
    client.subscribe("before");
    let watched: Vec<_> = (0..100).map(|number| format!("user-{number}")).collect();
    let watched: Vec<_> = watched.iter().map(String::as_str).collect();
    signed_in(&mut client, &json!({"id": "user-7", "watchlist": watched}));
    let others: Vec<_> = watched.iter().copied().filter(|user| *user != "user-7").collect();
    check_states(&mut client, &["user-7"], &others);
    client.subscribe("after");
    client.say(&subscribe("past"));
    assert_eq!(client.message()["data"]["type"], "LimitReached");
    client.check_error(4100);
}

/// What a client says in each way in which it becomes known, or not.
fn introductions(client: &Member) -> [(&'static str, String, bool); 7] {
    let signed = |channel, data| signed(&client.socket_id, channel, data);
    let data = r#"{"user_id":"7"}"#;
    [
        ("signed in", sign_in(&client.socket_id, &user("7")), true),
        ("private", signed("private-a", None), true),
        ("private and cached", signed("private-cache-a", None), true),
        ("present", signed("presence-a", Some(data)), true),
        ("public", subscribe("news"), false),
        ("public and cached", subscribe("cache-a"), false),
        ("refused", subscribe("private-a"), false),
    ]
}

#[test]
fn a_client_that_stays_unknown_is_closed_in_time_and_others_stay() {
    let mut app = App::new("1", "key", "secret");
    app.authorisation_timeout_seconds = Some(30);
    let mut server = in_memory(Options { cores: 2, ..Options::default() }, vec![app]);
    for number in 0..7 {
        let mut client = Member::join(&mut server, number % 2);
        let (how, text, is_known) = introductions(&client)[number].clone();
        client.say(&mut server, &text);
        client.heard();
        wait(&mut server, 29);
        assert_eq!(client.heard(), [], "{how}");
        wait(&mut server, 1);
        let message = "Connection not authorized within 30 seconds.";
        let data = json!({"code": 4009, "message": message});
        let end = [
            Heard::Message(json!({"event": "pusher:error", "data": data})),
            Heard::Close(4009, message.to_owned()),
        ];
        assert_eq!(client.heard(), if is_known { &[][..] } else { &end[..] }, "{how}");
    }
    let unknown = introductions(&Member::join(&mut server, 0)).iter().filter(|it| !it.2).count();
    assert_eq!(server.metrics().total(Counter::AuthorisationsLate), unknown as u64);
}

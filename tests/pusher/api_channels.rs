//! What back ends ask about channels, and requests that come twice: over four cores, from each of them.

use serde_json::json;
use stentor::Options;
use stentor::pusher::signature::channel_signature;

use crate::backend::Backend;
use crate::client::{Client, event, succeeded};
use crate::server::{CORES, Running, apps};

/// The MD5 of nothing.
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

const COUNTS: (&str, &str) = ("info", "user_count,subscription_count");

fn of_app(server: &Running, number: usize) -> Backend {
    let mut backend = Backend::new(server);
    backend.app = apps().swap_remove(number - 1);
    backend
}

fn subscribe_signed(client: &mut Client, channel: &str) {
    let signature = channel_signature("secret", &client.socket_id, channel, None);
    let data = json!({"auth": format!("key:{signature}"), "channel": channel});
    client.say(&json!({"event": "pusher:subscribe", "data": data}).to_string());
    assert_eq!(client.message(), succeeded(channel));
}

#[test]
fn channels_are_listed_by_name_wherever_their_home_and_subscribers_are() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    let mut names: Vec<_> = (0..CORES).map(|home| server.channel_at(home, "c")).collect();
    for (client, name) in clients.iter_mut().zip(&names) {
        client.subscribe(name);
    }
    names.sort_unstable();
    let expected: Vec<_> = names.iter().map(|name| format!("\"{name}\":{{}}")).collect();
    let expected = format!(r#"{{"channels":{{{}}}}}"#, expected.join(","));
    for backend in &mut Backend::on_each_core(&server) {
        backend.ask_until("channels", &[], &expected);
    }
}

#[test]
fn no_channels_are_an_empty_object_before_and_after() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    assert_eq!(backend.ask("channels", &[]).body, r#"{"channels":{}}"#);
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    backend.ask_until("channels", &[], r#"{"channels":{"news":{}}}"#);
    client.unsubscribe("news");
    backend.ask_until("channels", &[], r#"{"channels":{}}"#);
}

#[test]
fn an_app_sees_its_own_channels_alone() {
    let server = Running::start();
    let (mut one, mut other) = (Client::join(&server, "key"), Client::join(&server, "other"));
    one.subscribe("mine");
    other.subscribe("theirs");
    of_app(&server, 1).ask_until("channels", &[], r#"{"channels":{"mine":{}}}"#);
    of_app(&server, 2).ask_until("channels", &[], r#"{"channels":{"theirs":{}}}"#);
}

#[test]
fn channels_are_chosen_by_prefix_and_counted_if_asked() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    for client in &mut clients {
        client.subscribe("public-a");
    }
    subscribe_signed(&mut clients[1], "private-a");
    let mut backend = Backend::new(&server);
    let counted = r#"{"channels":{"private-a":{"subscription_count":1},"public-a":{"subscription_count":4}}}"#;
    backend.ask_until("channels", &[COUNTS], counted);
    let prefix = ("filter_by_prefix", "private-");
    backend.ask_until(
        "channels",
        &[prefix, COUNTS],
        r#"{"channels":{"private-a":{"subscription_count":1}}}"#,
    );
    let users = ("info", "user_count");
    assert_eq!(backend.ask("channels", &[prefix, users]).body, r#"{"channels":{"private-a":{}}}"#);
    let presence = ("filter_by_prefix", "presence-");
    assert_eq!(backend.ask("channels", &[presence]).body, r#"{"channels":{}}"#);
}

#[test]
fn one_channel_tells_what_is_asked_of_it() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    assert_eq!(backend.ask("channels/a=b", &[]).body, r#"{"occupied":false}"#);
    let mut clients = Client::on_each_core(&server);
    for client in &mut clients {
        client.subscribe("a=b");
    }
    backend.ask_until("channels/a=b", &[COUNTS], r#"{"occupied":true,"subscription_count":4}"#);
    assert_eq!(backend.ask("channels/a=b", &[]).body, r#"{"occupied":true}"#);
    assert_eq!(
        backend.ask("channels/presence-nobody", &[COUNTS]).body,
        r#"{"occupied":false,"user_count":0,"subscription_count":0}"#
    );
    let all = ("info", "user_count,cache");
    assert_eq!(backend.ask("channels/cache-a", &[all]).body, r#"{"occupied":false,"cache":null}"#);
    assert_eq!(backend.ask("channels/my-cache-a", &[all]).body, r#"{"occupied":false}"#);
}

#[test]
fn names_may_be_encoded_and_the_path_signed_either_way() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("a=b");
    let mut backend = Backend::new(&server);
    backend.ask_until("channels/a=b", &[], r#"{"occupied":true}"#);
    for signed_path in ["/apps/1/channels/a%3Db", "/apps/1/channels/a=b"] {
        let target = backend.signed("GET", signed_path, &[]);
        let query = target.split_once('?').unwrap().1;
        let answer = backend.get(&format!("/apps/1/channels/a%3Db?{query}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"occupied":true}"#));
    }
}

#[test]
fn a_channel_without_users_has_no_list_of_them() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    assert_eq!(backend.ask("channels/presence-nobody/users", &[]).body, r#"{"users":[]}"#);
    for channel in ["news", "private-a", "presence"] {
        let answer = backend.ask(&format!("channels/{channel}/users"), &[]);
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains("only presence channels"), "{answer:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_400() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    for (path, info, says) in [
        ("channels", "age", "`age`"),
        ("channels", "cache", "`cache`"),
        ("channels/news", "age", "`age`"),
        ("channels/a:b", "", "channel `a:b`"),
        ("channels/presence-a:b/users", "", "channel `presence-a:b`"),
    ] {
        let answer = backend.ask(path, &[("info", info)]);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.error().contains(says), "{answer:?}");
    }
}

#[test]
fn questions_may_come_in_the_spellings_of_the_sdks() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("a,b=");
    let mut backend = Backend::new(&server);
    let expected = r#"{"channels":{"a,b=":{"subscription_count":1}}}"#;
    let count = ("info", "subscription_count");
    backend.ask_until("channels", &[("filter_by_prefix", "a,b="), count], expected);
    // With the MD5 of the body that a GET does not have, and with lists.
    let answer = backend.ask("channels", &[("body_md5", EMPTY_MD5), count]);
    assert_eq!(answer.body, expected);
    let (one, two) = (("info[]", "subscription_count"), ("info[]", "user_count"));
    let target =
        backend.signed("GET", "/apps/1/channels", &[("info", "subscription_count,user_count")]);
    let both = format!("{}={}&{}={}", one.0, one.1, two.0, two.1);
    let target = target.replace("info=subscription_count,user_count", &both);
    assert_eq!(backend.get(&target).body, expected);
    // Signed decoded, sent encoded.
    let target = backend.signed("GET", "/apps/1/channels", &[("filter_by_prefix", "a,b="), count]);
    let target = target.replace("=a,b=", "=a%2Cb%3D");
    assert_eq!(backend.get(&target).body, expected);
}

#[test]
fn every_question_must_be_signed_by_its_app_and_be_asked_with_get() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    for path in ["channels", "channels/news", "channels/presence-a/users", "connections"] {
        let full = format!("/apps/1/{path}");
        assert_eq!(backend.get(&full).status, 401, "{path}");
        let other = of_app(&server, 2).signed("GET", &full, &[]);
        assert_eq!(backend.get(&other).status, 401, "{path}");
        let posted = backend.post_as_it_is(&full, "");
        assert_eq!(posted.status, 405);
        assert!(posted.head.contains("Allow: GET, HEAD\r\n"), "{posted:?}");
        let prefixed = format!("/ws{}", backend.signed("GET", &full, &[]));
        assert_eq!(backend.get(&prefixed).status, 200, "{path} behind the prefix");
    }
    assert_eq!(of_app(&server, 3).ask("channels", &[]).status, 403);
}

#[test]
fn a_head_is_an_answer_without_its_body() {
    let server = Running::start();
    let backend = Backend::new(&server);
    let target = backend.signed("HEAD", "/apps/1/channels", &[]);
    // Were there a body, the next answer would begin with it.
    let heads = format!(
        "HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\nHEAD /up HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    let all = backend.exchange_to_the_end(&heads);
    assert_eq!(all.matches("HTTP/1.1 200 ").count(), 2, "{all}");
    assert!(all.ends_with("\r\n\r\n") && !all.contains('{'), "{all}");
}

#[test]
fn questions_in_one_write_are_answered_in_their_order() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let mut backend = Backend::new(&server);
    backend.ask_until("channels", &[], r#"{"channels":{"news":{}}}"#);
    let of = |path| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", backend.signed("GET", path, &[]));
    let requests = [
        of("/apps/1/channels"),
        of("/apps/1/connections"),
        of("/apps/1/channels/news"),
        of("/apps/1/channels/presence-a/users"),
        "GET /up HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    let first = backend.exchange(&requests.concat()).body;
    let rest = [(); 4].map(|()| backend.exchange("").body);
    assert_eq!(first, r#"{"channels":{"news":{}}}"#);
    assert_eq!(
        rest,
        [r#"{"connections":1}"#, r#"{"occupied":true}"#, r#"{"users":[]}"#, r#"{"health":"OK"}"#]
    );
}

#[test]
fn a_request_with_the_same_key_is_carried_out_once_on_whichever_core_it_comes() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let body = json!({"name": "n", "channel": "news", "data": "d"});
    for backend in &mut Backend::on_each_core(&server) {
        let answer = backend.post_with_key("k1", &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }
    let mut backend = Backend::new(&server);
    let in_body = json!({"name": "n", "channel": "news", "data": "d", "idempotency_key": "k1"});
    assert_eq!(backend.post("events", &in_body).body, "{}");
    let batch =
        json!({"batch": [{"name": "n", "channel": "news", "data": "d"}], "idempotency_key": "k1"});
    assert_eq!(backend.post("batch_events", &batch).body, "{}");
    assert_eq!(backend.post_with_key("k2", &body).body, "{}");
    backend.publish_in_order("news", "end");
    let heard = [client.message(), client.message(), client.message()];
    assert_eq!(heard, [event("n", "news", "d"), event("n", "news", "d"), event("end", "news", "")]);
}

#[test]
fn a_request_that_comes_again_is_told_what_it_asks() {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    let mut backend = Backend::new(&server);
    let count = ("info", "subscription_count");
    backend.ask_until("channels/news", &[count], r#"{"occupied":true,"subscription_count":1}"#);
    let body = json!({"name": "n", "channel": "news", "data": "", "info": "subscription_count"});
    for _ in 0..2 {
        let answer = backend.post_with_key("k", &body);
        assert_eq!(answer.body, r#"{"channels":{"news":{"subscription_count":1}}}"#);
    }
    assert_eq!(client.message(), event("n", "news", ""));
    client.check_alive();
}

#[test]
fn the_same_key_of_two_apps_is_two_keys() {
    let server = Running::start();
    let (mut one, mut other) = (Client::join(&server, "key"), Client::join(&server, "other"));
    one.subscribe("news");
    other.subscribe("news");
    let body = json!({"name": "n", "channel": "news", "data": "d"});
    for number in [1, 2] {
        assert_eq!(of_app(&server, number).post_with_key("k", &body).body, "{}");
    }
    assert_eq!(one.message(), event("n", "news", "d"));
    assert_eq!(other.message(), event("n", "news", "d"));
}

#[test]
fn a_key_whose_request_failed_may_be_used_again() {
    let server = Running::with(|setup| {
        setup.engine = Options { topic_bytes: 20, ..setup.engine.clone() };
    });
    let mut client = Client::join(&server, "key");
    client.subscribe("short");
    let mut backend = Backend::new(&server);
    let of = |channel: &str| json!({"name": "n", "channel": channel, "data": "d"});
    for body in [of("a:b"), of("longer-than-the-engine-takes")] {
        let answer = backend.post_with_key("k", &body);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(backend.post_with_key("k", &of("short")).body, "{}");
    assert_eq!(client.message(), event("n", "short", "d"));
}

#[test]
fn keys_have_a_length() {
    let server = Running::start();
    let body = json!({"name": "n", "channel": "news", "data": "d"});
    let mut backend = Backend::new(&server);
    assert_eq!(backend.post_with_key(&"k".repeat(256), &body).status, 200);
    let answer = backend.post_with_key(&"k".repeat(257), &body);
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("257 bytes; 256"), "{answer:?}");
}

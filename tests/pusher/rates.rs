//! How many messages a client may send, where an app limits that, by a clock that moves only when told.

use serde_json::{Value, json};
use stentor::Options;
use stentor::pusher::{App, Directory, Pusher};
use stentor::reactor::simulation::Simulation;

use crate::client::Heard;
use crate::memory::{Member, in_memory, wait};

const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;

fn server(change: impl FnOnce(&mut App)) -> Simulation<Pusher, Directory> {
    let mut app = App::new("1", "key", "secret");
    (app.rate_limiting, app.rate_limit_messages, app.rate_limit_window_seconds) = (true, 6, 60);
    change(&mut app);
    in_memory(Options { cores: 1, ..Options::default() }, vec![app])
}

fn pong() -> Value {
    json!({"event": "pusher:pong", "data": {}})
}

fn refusal() -> Value {
    let data = json!({"code": 4301, "message": "Rate limit exceeded"});
    json!({"event": "pusher:error", "data": data})
}

#[test]
fn what_comes_past_the_limit_does_nothing_and_one_comes_back_in_its_share_of_the_time() {
    let mut server = server(|_| {});
    let mut client = Member::join(&mut server, 0);
    let mut other = Member::join(&mut server, 0);
    for _ in 0..7 {
        client.say(&mut server, PING);
    }
    let mut expected = vec![pong(); 6];
    expected.push(refusal());
    assert_eq!(client.messages(), expected);
    other.say(&mut server, PING);
    assert_eq!(other.messages(), [pong()], "everybody has a limit of their own");
    wait(&mut server, 9);
    client.say(&mut server, PING);
    assert_eq!(client.messages(), [refusal()]);
    wait(&mut server, 1);
    client.say(&mut server, PING);
    client.say(&mut server, PING);
    assert_eq!(client.messages(), [pong(), refusal()]);
}

#[test]
fn mistakes_count_and_what_is_refused_changes_nothing() {
    let mut server = server(|app| app.rate_limit_messages = 2);
    let mut client = Member::join(&mut server, 0);
    client.say(&mut server, "no JSON");
    client.say(&mut server, r#"{"event":"pusher:what"}"#);
    let codes: Vec<_> = client.messages().iter().map(|it| it["data"]["code"].clone()).collect();
    assert_eq!(codes, [4200, 4200]);
    client.say(&mut server, r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#);
    assert_eq!(client.messages(), [refusal()]);
    assert_eq!(server.topics(), 0);
}

#[test]
fn who_sends_more_is_closed_where_the_app_says_so_and_may_come_back() {
    let mut server = server(|app| app.rate_limit_close = true);
    let mut client = Member::join(&mut server, 0);
    for _ in 0..9 {
        client.say(&mut server, PING);
    }
    let heard = client.heard();
    let end = [Heard::Message(refusal()), Heard::Close(4100, "Rate limit exceeded".to_owned())];
    assert_eq!((heard.len(), &heard[6..]), (8, &end[..]));
}

#[test]
fn without_the_switch_nothing_is_limited() {
    let mut server = server(|app| app.rate_limiting = false);
    let mut client = Member::join(&mut server, 0);
    for _ in 0..100 {
        client.say(&mut server, PING);
    }
    assert_eq!(client.messages(), vec![pong(); 100]);
}

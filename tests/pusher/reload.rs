//! Other apps while the server runs: who stays notices nothing, who must go is told why, and every core agrees.

use serde_json::json;
use stentor::pusher::App;
use stentor::pusher::signature::channel_signature;

use crate::backend::Backend;
use crate::client::{Client, Heard, event, succeeded};
use crate::server::{CORES, PATIENCE, Running, apps, now};

const ROOM: &str = "presence-room";

fn running(cores: usize) -> Running {
    Running::with(|setup| setup.engine.cores = cores)
}

/// A back end on each core.
fn backends(server: &Running, cores: usize) -> Vec<Backend> {
    if cores == CORES { Backend::on_each_core(server) } else { vec![Backend::new(server)] }
}

/// A client of the app with that key on each core.
fn clients(server: &Running, cores: usize, key: &str) -> Vec<Client> {
    let mut clients: Vec<Option<Client>> = (0..cores).map(|_| None).collect();
    while clients.iter().any(Option::is_none) {
        let client = Client::join(server, key);
        let core = client.core();
        clients[core].get_or_insert(client);
    }
    clients.into_iter().flatten().collect()
}

/// Waits until each of these back ends, and so its core, takes the app for what it is now.
fn await_in_force(backends: &mut [Backend], app: &App) {
    let deadline = now() + PATIENCE;
    for backend in backends {
        backend.app = app.clone();
        while backend.ask("channels", &[]).status != 200 {
            assert!(now() < deadline, "the new apps are in force in time");
        }
    }
}

fn signed(client: &Client, app: &App, channel: &str, data: Option<&str>) -> String {
    let signature = channel_signature(&app.secret, &client.socket_id, channel, data);
    let mut said = json!({"auth": format!("{}:{signature}", app.key), "channel": channel});
    if let Some(data) = data {
        said["channel_data"] = data.into();
    }
    json!({"event": "pusher:subscribe", "data": said}).to_string()
}

/// Comes into the room as that user, and hears who is there.
fn enter(client: &mut Client, app: &App, user: usize, users: usize) {
    let data = json!({"user_id": user.to_string()}).to_string();
    let wish = signed(client, app, ROOM, Some(&data));
    client.say(&wish);
    let heard = client.message();
    assert_eq!(heard["data"]["presence"]["count"], users, "{heard}");
}

#[test]
fn live_connections_of_an_app_that_stays_are_not_touched() {
    for cores in [1, CORES] {
        let mut server = running(cores);
        let mut backends = backends(&server, cores);
        let mut clients = clients(&server, cores, "key");
        let old = apps().swap_remove(0);
        for user in 0..cores {
            clients[user].subscribe("news");
            enter(&mut clients[user], &old, user, user + 1);
            for earlier in &mut clients[..user] {
                assert_eq!(earlier.message()["event"], "pusher_internal:member_added");
            }
        }
        let new = App { secret: "another".into(), max_batch: 3, ..old.clone() };
        server.reload(vec![App::new("9", "nine", "secret-9"), new.clone()]);
        await_in_force(&mut backends, &new);
        for (number, backend) in backends.iter_mut().enumerate() {
            backend.publish("news", "after", &number.to_string());
            for client in &mut clients {
                assert_eq!(client.message(), event("after", "news", &number.to_string()));
            }
            let users: Vec<_> = (0..cores).map(|user| json!({"id": user.to_string()})).collect();
            let mut there = backend.ask(&format!("channels/{ROOM}/users"), &[]).json();
            let list = there["users"].as_array_mut().unwrap();
            list.sort_by_key(ToString::to_string);
            assert_eq!(*list, users);
            // Who has the old secret alone is a stranger.
            backend.app = old.clone();
            assert_eq!(backend.ask("channels", &[]).status, 401);
            let body = json!({"name": "n", "channel": "news", "data": ""});
            assert_eq!(backend.post("events", &body).status, 401);
        }
        for client in &mut clients {
            let wish = signed(client, &old, "private-a", None);
            client.say(&wish);
            assert_eq!(client.message()["event"], "pusher:subscription_error");
            client.check_error(4009);
            let wish = signed(client, &new, "private-a", None);
            client.say(&wish);
            assert_eq!(client.message(), succeeded("private-a"));
            client.check_alive();
        }
        // The connections still come and go among the others.
        let [first, rest @ ..] = clients.as_mut_slice() else { panic!("at least one") };
        first.unsubscribe(ROOM);
        for client in rest {
            assert_eq!(client.message()["event"], "pusher_internal:member_removed");
        }
    }
}

#[test]
fn clients_of_a_removed_app_are_closed_with_4001_and_of_a_disabled_one_with_4003() {
    for cores in [1, CORES] {
        let mut server = running(cores);
        let mut stay = clients(&server, cores, "key");
        for (key, code) in [("key", 4001), ("other", 4003)] {
            let mut go = clients(&server, cores, "other");
            go.iter_mut().for_each(|client| client.subscribe("news"));
            let mut list = apps();
            if key == "key" {
                list.remove(1);
            } else {
                list[1].enabled = false;
            }
            server.reload(list);
            for client in &mut go {
                client.check_refused(code, code);
            }
            // Every core has heard by now: each has closed one.
            Client::open(&server, "/app/other").check_refused(code, code);
            stay.iter_mut().for_each(Client::check_alive);
            server.reload(apps());
            let mut backends = backends(&server, cores);
            await_in_force(&mut backends, &apps()[1]);
            backends[0].ask_until("connections", &[], r#"{"connections":0}"#);
            Client::join(&server, "other").leave();
        }
        stay.iter_mut().for_each(Client::check_alive);
    }
}

#[test]
fn a_key_that_changes_closes_nobody_and_lets_nobody_in() {
    let mut server = Running::start();
    let mut backends = Backend::on_each_core(&server);
    let mut clients = Client::on_each_core(&server);
    clients.iter_mut().for_each(|client| client.subscribe("news"));
    let mut list = apps();
    // The key of one becomes that of another: whose a connection is, its id says.
    list[0].key = "fresh".to_owned();
    list[1].key = "key".to_owned();
    server.reload(list.clone());
    await_in_force(&mut backends, &list[0]);
    let mut newcomer = Client::join(&server, "key");
    newcomer.subscribe("news");
    Client::open(&server, "/app/other").check_refused(4001, 4001);
    Client::join(&server, "fresh").leave();
    backends[2].publish("news", "n", "x");
    for client in &mut clients {
        assert_eq!(client.message(), event("n", "news", "x"));
    }
    newcomer.check_alive();
}

#[test]
fn an_added_app_is_served_on_every_core_at_once() {
    let mut server = Running::start();
    let added = App::new("77", "added", "secret-77");
    let mut list = apps();
    list.push(added.clone());
    let mut backends = Backend::on_each_core(&server);
    Client::open(&server, "/app/added").check_refused(4001, 4001);
    server.reload(list);
    await_in_force(&mut backends[..1], &added);
    // One core knows it. Those that are spoken to by that core know it as well, whether they were rung or not.
    let mut client = loop {
        let mut client = Client::open(&server, "/app/added");
        let heard = client.message();
        if heard["event"] == "pusher:connection_established" {
            client.socket_id = heard["data"]["socket_id"].as_str().unwrap().to_owned();
            break client;
        }
    };
    for number in 0..20 {
        let channel = format!("presence-{number}");
        let wish = signed(&client, &added, &channel, Some(r#"{"user_id":"u"}"#));
        client.say(&wish);
        assert_eq!(client.message()["channel"], channel.as_str());
    }
    await_in_force(&mut backends, &added);
    client.subscribe("news");
    backends[3].publish("news", "n", "x");
    assert_eq!(client.message(), event("n", "news", "x"));
}

#[test]
fn connections_and_quotas_are_counted_on_over_reloads() {
    let mut server = Running::start();
    let mut backends = Backend::on_each_core(&server);
    let with_room = |room: u32, mark: usize| {
        let mut list = apps();
        list[3].max_connections = Some(room);
        list[3].max_batch = mark;
        // Another order, and one less in front of it.
        list.reverse();
        list.remove(2);
        list
    };
    let mut first = Client::join(&server, "small");
    let mut all = |server: &mut Running, room: u32, secret: &str| {
        let mut list = with_room(room, 10);
        list[0].secret = secret.into();
        server.reload(list.clone());
        await_in_force(&mut backends, &list[0]);
    };
    all(&mut server, 2, "a");
    let second = Client::join(&server, "small");
    Client::open(&server, "/app/small").check_refused(4004, 4004);
    // Who is there stays, though there are more than may be now.
    all(&mut server, 1, "b");
    first.check_alive();
    Client::open(&server, "/app/small").check_refused(4004, 4004);
    second.leave();
    Client::open(&server, "/app/small").check_refused(4004, 4004);
    first.leave();
    let mut third = Client::join(&server, "small");
    Client::open(&server, "/app/small").check_refused(4004, 4004);
    third.check_alive();
    assert_eq!(backends[1].ask("connections", &[]).body, r#"{"connections":1}"#);
}

#[test]
fn a_presence_channel_of_an_app_that_was_away_begins_anew() {
    let mut server = Running::start();
    let other = apps().swap_remove(1);
    let mut members = clients(&server, CORES, "other");
    for (user, client) in members.iter_mut().enumerate() {
        enter(client, &other, user, user + 1);
    }
    server.reload(apps().drain(..1).collect());
    for mut client in members {
        // What is heard of the others' going, before one goes oneself, is as it comes.
        while client.message()["event"] != "pusher:error" {}
        assert_eq!(client.next(), Heard::Close(4001, "App key other does not exist.".to_owned()));
        assert_eq!(client.next(), Heard::End);
    }
    server.reload(apps());
    await_in_force(&mut backends(&server, CORES), &other);
    enter(&mut Client::join(&server, "other"), &other, 7, 1);
}

#[test]
fn a_switch_holds_from_the_next_message_on() {
    let mut server = Running::start();
    let mut clients = Client::on_each_core(&server);
    let mut list = apps();
    (list[0].client_events, list[0].secret) = (false, "new".into());
    list[0].max_message_bytes = 200;
    let mut backends = Backend::on_each_core(&server);
    server.reload(list.clone());
    await_in_force(&mut backends, &list[0]);
    for client in &mut clients {
        client.say(r#"{"event":"client-x","channel":"private-a","data":{}}"#);
        client.check_error(4301);
        client.check_alive();
        client.say(&format!(r#"{{"event":"x","data":"{}"}}"#, "x".repeat(200)));
        client.check_error(4200);
        assert!(matches!(client.next(), Heard::Close(1009, _)));
    }
    // More than any app allowed at the start.
    (list[0].max_message_bytes, list[0].secret) = (2 * 1024 * 1024, "newer".into());
    server.reload(list.clone());
    await_in_force(&mut backends, &list[0]);
    for mut client in Client::on_each_core(&server) {
        client.say(&format!(r#"{{"event":"x","data":"{}"}}"#, "x".repeat(1024 * 1024)));
        client.check_alive();
    }
}

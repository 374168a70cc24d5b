//! What those who are on a channel are told of how many they are.

use serde_json::{Value, json};
use stentor::Options;
use stentor::pusher::App;

use crate::client::{Client, subscribe, succeeded};
use crate::memory::{Member, in_memory, wait};
use crate::server::{CORES, Running, apps};

fn count(channel: &str, subscribers: usize) -> Value {
    let data = json!({"subscription_count": subscribers});
    json!({"event": "pusher_internal:subscription_count", "data": data, "channel": channel})
}

fn counting(cores: usize) -> Running {
    Running::with(|setup| {
        setup.engine.cores = cores;
        setup.apps[0].subscription_count = true;
    })
}

/// One comes after the other, and each tells all that are there; then they go.
fn check_everybody_hears(mut clients: Vec<Client>, channel: &str) {
    for newest in 0..clients.len() {
        clients[newest].subscribe(channel);
        for (number, client) in clients[..=newest].iter_mut().enumerate() {
            assert_eq!(client.message(), count(channel, newest + 1), "{number} of {newest}");
        }
    }
    while let Some(client) = clients.pop() {
        client.leave();
        let left = clients.len();
        for client in &mut clients {
            assert_eq!(client.message(), count(channel, left));
        }
    }
}

#[test]
fn a_newcomer_hears_its_own_count_and_so_do_the_others_on_every_core() {
    let server = counting(CORES);
    for home in 0..CORES {
        let channel = server.channel_at(home, "room");
        check_everybody_hears(Client::on_each_core(&server), &channel);
    }
}

#[test]
fn on_one_core_it_is_the_same() {
    let server = counting(1);
    let clients = (0..5).map(|_| Client::join(&server, "key")).collect();
    check_everybody_hears(clients, "room");
}

#[test]
fn on_a_cache_channel_it_follows_what_is_kept() {
    let server = counting(CORES);
    let mut clients = Client::on_each_core(&server);
    for newest in 0..clients.len() {
        clients[newest].subscribe("cache-a");
        let miss = json!({"event": "pusher:cache_miss", "channel": "cache-a"});
        assert_eq!(clients[newest].message(), miss);
        for client in &mut clients[..=newest] {
            assert_eq!(client.message(), count("cache-a", newest + 1));
        }
    }
}

#[test]
fn members_and_apps_that_do_not_ask_for_it_hear_none() {
    let server = counting(CORES);
    let (mut one, mut other) = (Client::join(&server, "key"), Client::join(&server, "other"));
    one.say(&one.signed("presence-room", Some(r#"{"user_id":1}"#)));
    assert_eq!(one.message()["data"]["presence"]["count"], 1);
    other.subscribe("room");
    one.check_alive();
    other.check_alive();
    // By now a count of the others would have been told as well.
    one.subscribe("room");
    assert_eq!(one.message(), count("room", 1));
    one.check_alive();
    other.check_alive();
}

/// As many hear each change at once.
const FEW: usize = 100;

#[test]
fn past_a_hundred_the_latest_count_is_told_after_a_pause() {
    let mut apps = apps();
    apps[0] = App { subscription_count: true, ..apps[0].clone() };
    let options = Options { cores: 2, ..Options::default() };
    let mut simulation = in_memory(options, apps);
    let mut first = Member::join(&mut simulation, 0);
    first.say(&mut simulation, &subscribe("room"));
    assert_eq!(first.messages(), [succeeded("room"), count("room", 1)]);
    let mut others = Vec::new();
    for number in 2..=FEW {
        let mut member = Member::join(&mut simulation, number % 2);
        member.say(&mut simulation, &subscribe("room"));
        assert_eq!(first.messages(), [count("room", number)]);
        others.push(member);
    }
    for number in FEW + 1..=FEW + 5 {
        let mut member = Member::join(&mut simulation, number % 2);
        member.say(&mut simulation, &subscribe("room"));
        assert_eq!(member.messages(), [succeeded("room")]);
        assert_eq!(first.messages(), [Value::Null; 0], "{number}");
        others.push(member);
    }
    wait(&mut simulation, 5);
    assert_eq!(first.messages(), [Value::Null; 0]);
    wait(&mut simulation, 2);
    assert_eq!(first.messages(), [count("room", FEW + 5)]);
    assert_eq!(others.last_mut().unwrap().messages(), [count("room", FEW + 5)]);
    wait(&mut simulation, 10);
    assert_eq!(first.messages(), [Value::Null; 0], "nothing is told twice");
}

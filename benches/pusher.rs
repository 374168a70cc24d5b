//! A Pusher server in memory: what a subscription costs us, apart from what the kernel asks.
//!
//! `cargo bench --bench pusher`. The list that whoever joins a presence channel is sent grows with the members, and so does
//! telling the members of a newcomer; what the tables cost apart from that is counted in `src/pusher/tests/costs.rs`.

use std::sync::Arc;

use divan::Bencher;
use stentor::Options;
use stentor::pusher::signature::channel_signature;
use stentor::pusher::{self, App, Apps, Directory, Pusher};
use stentor::reactor::simulation::{Client, Simulation};

fn main() {
    divan::main();
}

const UPGRADE: &[u8] =
    b"GET /app/key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

const CORES: usize = 4;

type Server = Simulation<Pusher, Directory>;

fn server() -> Server {
    let app = App::new("1", "key", "secret");
    let apps = Arc::new(Apps::new(vec![app]).expect("one app"));
    let settings = Arc::new(pusher::Options::default());
    Simulation::new(Options { cores: CORES, ..Options::default() }, |_core| {
        let directory = Directory::new(Arc::clone(&apps), &settings);
        (Pusher::new(Arc::clone(&apps), Arc::clone(&settings)), directory)
    })
}

/// A masked text frame with the key 0.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short frame");
    let [high, low] = length.to_be_bytes();
    let mut frame = match u8::try_from(length) {
        Ok(length @ ..126) => vec![0x81, 0x80 | length],
        _ => vec![0x81, 0xfe, high, low],
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A client that was told its name.
fn connect(server: &mut Server, core: usize) -> (Client, String) {
    let client = server.connect(core);
    client.send(UPGRADE);
    let mut received = String::new();
    while !received.ends_with('}') {
        server.turn(core);
        received.push_str(&String::from_utf8_lossy(&client.take_received()));
    }
    let (_, rest) = received.split_once(r#"socket_id\":\""#).expect("a name");
    let (socket_id, _) = rest.split_once('\\').expect("the end of the name");
    client.sink();
    (client, socket_id.to_owned())
}

fn subscribe(secret: &str, socket_id: &str, channel: &str, user: Option<usize>) -> Vec<u8> {
    let data =
        user.map(|user| format!(r#"{{"user_id":"{user}","user_info":{{"name":"{user}"}}}}"#));
    let signature = channel_signature(secret, socket_id, channel, data.as_deref());
    let data = data.map(|data| format!(r#","channel_data":"{}""#, data.replace('"', "\\\"")));
    let data = data.unwrap_or_default();
    frame(&format!(
        r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{signature}"{data}}}}}"#
    ))
}

fn unsubscribe(channel: &str) -> Vec<u8> {
    frame(&format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#))
}

/// A presence channel with so many users on all cores, and a client who comes and goes as one of them or as a newcomer, or
/// asks for something in vain.
fn come_and_go(bencher: Bencher<'_, '_>, users: usize, user: Option<usize>) {
    let mut server = server();
    for user in 0..users {
        let core = user % CORES;
        let (client, socket_id) = connect(&mut server, core);
        client.send(&subscribe("secret", &socket_id, "presence-a", Some(user)));
        server.turn(core);
    }
    let (client, socket_id) = connect(&mut server, 0);
    server.settle();
    let come = match user {
        Some(_) => subscribe("secret", &socket_id, "presence-a", user),
        None => unsubscribe("presence-a"),
    };
    let go = unsubscribe("presence-a");
    bencher.bench_local(|| {
        for frame in [&come, &go] {
            client.send(frame);
            server.settle();
        }
    });
}

/// The channel's users hear nothing of it: it is there already.
#[divan::bench(args = [100, 1_000, 10_000])]
fn a_users_second_connection_comes_and_goes(bencher: Bencher<'_, '_>, users: usize) {
    come_and_go(bencher, users, Some(7));
}

/// The channel's users are told twice.
#[divan::bench(args = [100, 1_000, 10_000])]
fn a_newcomer_comes_and_goes(bencher: Bencher<'_, '_>, users: usize) {
    come_and_go(bencher, users, Some(users));
}

/// For comparison: what the simulation takes to look at all its clients, as many turns as above.
#[divan::bench(args = [100, 1_000, 10_000])]
fn nobody_comes_and_goes(bencher: Bencher<'_, '_>, users: usize) {
    come_and_go(bencher, users, None);
}

/// One client, and what it says again and again about a channel that somebody else on its core is on.
fn say(bencher: Bencher<'_, '_>, is_on: bool, secret: Option<&str>, then: Option<&str>) {
    let mut server = server();
    for _ in 0..2 {
        let (client, socket_id) = connect(&mut server, 0);
        client.send(&subscribe("secret", &socket_id, "private-a", None));
    }
    let (client, socket_id) = connect(&mut server, 0);
    if is_on {
        client.send(&subscribe("secret", &socket_id, "private-a", None));
    }
    server.settle();
    let wish = secret.map(|secret| subscribe(secret, &socket_id, "private-a", None));
    let then = then.map(unsubscribe);
    bencher.bench_local(|| {
        for frame in wish.iter().chain(&then) {
            client.send(frame);
            server.turn(0);
        }
    });
}

#[divan::bench]
fn a_private_subscription_is_accepted_and_given_up(bencher: Bencher<'_, '_>) {
    say(bencher, false, Some("secret"), Some("private-a"));
}

/// By a client that is on the channel: the cheapest there is, because no table changes.
#[divan::bench]
fn a_private_subscription_is_confirmed_again(bencher: Bencher<'_, '_>) {
    say(bencher, true, Some("secret"), None);
}

#[divan::bench]
fn a_private_subscription_is_refused(bencher: Bencher<'_, '_>) {
    say(bencher, false, Some("guess!"), None);
}

/// For comparison: nothing is signed and nothing is answered.
#[divan::bench]
fn nothing_is_given_up(bencher: Bencher<'_, '_>) {
    say(bencher, false, None, Some("private-a"));
}

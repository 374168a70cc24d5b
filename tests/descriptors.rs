//! Cores with tables of descriptors of their own: the limit of open files holds for each of them.
//!
//! The server runs in a process of its own with a low limit: this same test binary, told by its environment which part to play.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "other tests use more of what is shared")]

#[path = "behaviour/process.rs"]
mod process;
#[path = "behaviour/room.rs"]
mod room;
#[path = "behaviour/support.rs"]
mod support;
#[path = "behaviour/ws_client.rs"]
mod ws_client;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use stentor::{Options, Server};

use process::ServerProcess;
use room::Room;
use support::Client;
use ws_client::WsClient;

/// Of which each core needs about 30 for what it shares with the others.
const DESCRIPTORS: u64 = 64;
const CORES: usize = 8;
/// More than one table holds. Spread over the cores they are 15 on each, give or take 4.
const CONNECTIONS: usize = 120;

fn options() -> Options {
    Options {
        cores: CORES,
        own_descriptor_tables: true,
        shutdown_linger: Duration::ZERO,
        ..Options::default()
    }
}

/// The part of the server.
#[test]
fn plays_the_server_when_told() {
    if !process::is_told() {
        return;
    }
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    process::play(options(), |_| Box::new(|_| Room::default()));
}

#[test]
fn one_process_holds_more_connections_than_its_limit_of_open_files() {
    let mut server = ServerProcess::start("plays_the_server_when_told");
    let open = |_| WsClient::upgrade(Client::connect(server.address));
    let mut clients: Vec<WsClient> = (0..CONNECTIONS).map(open).collect();
    let mut cores = BTreeSet::new();
    for client in &mut clients {
        client.say("core");
        cores.insert(client.hear());
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    assert!(cores.len() > 1, "connections are spread: {cores:?}");
    // One core wakes all others, each by a descriptor of its own table.
    for number in 0..3 {
        clients[number].say(format!("pub t event-{number}"));
        for client in &mut clients {
            assert_eq!(client.hear(), format!("event-{number}"));
        }
    }
    // Who leaves is gone on both sides, though the table was copied: the next one on that core gets the room.
    for _ in 0..3 {
        clients.truncate(CONNECTIONS / 2);
        clients.extend((CONNECTIONS / 2..CONNECTIONS).map(open));
        for client in &mut clients {
            client.say("still here");
            assert_eq!(client.hear(), "still here");
        }
    }
    server.stop();
    for client in &mut clients {
        assert_eq!(client.hear(), "<close 1001>");
    }
    drop(clients);
    let ended = server.wait();
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_server_that_has_ended_listens_no_longer_though_its_process_lives() {
    let server = Server::bind_with("127.0.0.1:0", options()).unwrap();
    let (address, stopper) = (server.local_addr(), server.stopper());
    let runs = thread::spawn(move || server.run(|_| Room::default()));
    let mut client = WsClient::upgrade(Client::connect(address));
    client.say("hello");
    assert_eq!(client.hear(), "hello");
    stopper.stop();
    assert_eq!(client.hear(), "<close 1001>");
    assert_eq!(client.hear(), "<end>");
    runs.join().unwrap().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // And it may be listened on again.
    Server::bind_with(address, options()).unwrap();
}

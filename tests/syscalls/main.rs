//! What a delivery costs in system calls, counted by `strace` on a server in a process of its own.
//!
//! `cargo test --test syscalls` needs `strace` on the path; `cargo verify` installs it. The same is counted without a
//! kernel in `src/reactor/tests/cost.rs`; here it is the kernel that is asked.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "the behaviour tests use more of what is shared")]

#[path = "../behaviour/process.rs"]
mod process;
#[path = "../behaviour/room.rs"]
mod room;
#[path = "../behaviour/support.rs"]
mod support;
#[path = "../behaviour/ws_client.rs"]
mod ws_client;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use stentor::Options;

use process::ServerProcess;
use room::Room;
use support::Client;
use ws_client::WsClient;

const SUBSCRIBERS: usize = 100;

/// The part of the server.
#[test]
fn plays_the_server_when_told() {
    if process::is_told() {
        let options = Options { cores: 1, ..Options::default() };
        process::play(options, |_| Box::new(|_| Room::default()));
    }
}

/// The system calls of the server, by name, while `act` runs.
fn count(server: &ServerProcess, act: impl FnOnce()) -> BTreeMap<String, usize> {
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=network,writev,write,epoll_ctl", "-e", "signal=none", "-p"])
        .arg(server.id().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is needed here: `cargo verify` installs it, or `apt-get install strace`");
    let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
    let is_attached = lines.by_ref().any(|line| line.contains("attached"));
    assert!(is_attached, "strace may look at a process that we started");
    let mut first = WsClient::upgrade(Client::connect(server.address));
    first.say("begin");
    assert_eq!(first.hear(), "begin");
    let has_begun = lines.by_ref().any(|line| line.contains("begin"));
    assert!(has_begun, "strace sees what the server sends");
    act();
    first.say("finish");
    assert_eq!(first.hear(), "finish");
    let mut counts = BTreeMap::new();
    for line in lines.by_ref().take_while(|line| !line.contains("finish")) {
        // `[pid 42] sendto(9, …` or `sendto(9, …`; what is resumed was counted when it began.
        let call = line
            .rsplit_once("] ")
            .filter(|_| line.starts_with("[pid"))
            .map_or(&*line, |(_, call)| call);
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with("<...")) {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    let _ = strace.kill();
    let _ = strace.wait();
    counts
}

/// Publishes so many events in one go to 100 subscribers, and counts what the server does.
fn check(events: usize, expected_call: &str) {
    let server = ServerProcess::start("plays_the_server_when_told");
    let mut clients: Vec<WsClient> =
        (0..SUBSCRIBERS).map(|_| WsClient::upgrade(Client::connect(server.address))).collect();
    for client in &mut clients {
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    let mut publisher = WsClient::upgrade(Client::connect(server.address));
    let counts = count(&server, || {
        publisher.say_all((0..events).map(|number| format!("pub t event-{number}")));
        for client in &mut clients {
            for number in 0..events {
                assert_eq!(client.hear(), format!("event-{number}"));
            }
        }
    });
    // One more: the answer to "finish", which strace cuts where it names it, is not among them.
    assert_eq!(counts.get(expected_call), Some(&SUBSCRIBERS), "{counts:?}");
    let writes: usize =
        ["sendto", "sendmsg", "writev", "write"].iter().filter_map(|call| counts.get(*call)).sum();
    assert_eq!(writes, SUBSCRIBERS, "{counts:?}");
    assert_eq!(counts.get("epoll_ctl"), None, "{counts:?}");
}

#[test]
fn a_lone_event_is_one_send_for_each_subscriber_and_no_epoll_ctl() {
    check(1, "sendto");
}

#[test]
fn ten_events_of_one_batch_are_one_writev_for_each_subscriber() {
    check(10, "writev");
}

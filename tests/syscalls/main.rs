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

mod command;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use stentor::{Conn, Handler, Message, Options, Request, Response};

use process::ServerProcess;
use room::Room;
use support::{Client, now};
use ws_client::WsClient;

const SUBSCRIBERS: usize = 100;
/// Not more than a slice of a round.
const FEW: usize = 50;
/// How long a server is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(6);

/// A body is an event for the topic that the path names; the rest is as in a room.
#[derive(Default)]
struct Hall(Room);

impl Handler for Hall {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        self.0.on_message(conn, message);
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        self.0.on_subscribed(conn, topic);
    }

    fn on_request(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) {
        let topic = request.path().trim_start_matches('/').to_owned();
        let text = String::from_utf8_lossy(request.body()).into_owned();
        conn.publish(&topic, text).unwrap();
        conn.respond(Response::text(200, "published"));
    }
}

/// The part of the server.
#[test]
fn plays_the_server_when_told() {
    play(1);
}

/// The same, with two cores.
#[test]
fn plays_the_server_with_two_cores_when_told() {
    play(2);
}

fn play(cores: usize) {
    if process::is_told() {
        let options = Options { cores, ..Options::default() };
        process::play(options, |_| Box::new(|_| Hall::default()));
    }
}

/// What an event may cost: all that goes out, and what watches for it.
const SENDING: &str = "trace=network,writev,write,epoll_ctl";

/// The system calls of the server, by name, while `act` runs.
fn count(server: &ServerProcess, act: impl FnOnce()) -> BTreeMap<String, usize> {
    count_of(server, SENDING, act)
}

fn count_of(server: &ServerProcess, which: &str, act: impl FnOnce()) -> BTreeMap<String, usize> {
    let mut first = WsClient::upgrade(Client::connect(server.address));
    let mark = |word: &str| {
        first.say(word);
        assert_eq!(first.hear(), word);
    };
    trace(server.id(), which, mark, act)
}

/// The system calls of a process. `mark` has it send a word, by which beginning and end are known.
fn trace(
    process: u32,
    which: &str,
    mut mark: impl FnMut(&str),
    act: impl FnOnce(),
) -> BTreeMap<String, usize> {
    let mut strace = Command::new("strace")
        // As much of what is sent as the words stand in.
        .args(["-f", "-s", "128", "-e", which, "-e", "signal=none", "-p"])
        .arg(process.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is needed here: `cargo verify` installs it, or `apt-get install strace`");
    let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
    let is_attached = lines.by_ref().any(|line| line.contains("attached"));
    assert!(is_attached, "strace may look at a process that we started");
    mark("begin");
    let has_begun = lines.by_ref().any(|line| line.contains("begin"));
    assert!(has_begun, "strace sees what the server sends");
    act();
    mark("the-end");
    let mut counts = BTreeMap::new();
    // `<unfinished ...>` is what strace says of a call while another thread makes one: no such word.
    for line in lines.by_ref().take_while(|line| !line.contains("the-end")) {
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

/// Publishes so many events in one go to so many subscribers, and counts what the server does.
fn check(events: usize, subscribers: usize, expected_call: &str) {
    let server = ServerProcess::start("plays_the_server_when_told");
    let mut clients: Vec<WsClient> =
        (0..subscribers).map(|_| WsClient::upgrade(Client::connect(server.address))).collect();
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
    // One more: the answer to "the-end", which strace cuts where it names it, is not among them.
    assert_eq!(counts.get(expected_call), Some(&subscribers), "{counts:?}");
    let writes: usize =
        ["sendto", "sendmsg", "writev", "write"].iter().filter_map(|call| counts.get(*call)).sum();
    assert_eq!(writes, subscribers, "{counts:?}");
    assert_eq!(counts.get("epoll_ctl"), None, "{counts:?}");
}

#[test]
fn a_lone_event_is_one_send_for_each_subscriber_and_no_epoll_ctl() {
    check(1, SUBSCRIBERS, "sendto");
    check(1, FEW, "sendto");
}

#[test]
fn ten_events_of_one_batch_are_one_writev_for_each_of_few_and_one_send_for_each_of_many() {
    check(10, FEW, "writev");
    // What goes round is joined once for all of them.
    check(10, SUBSCRIBERS, "sendto");
}

#[test]
fn an_event_that_is_published_over_http_is_a_send_for_each_subscriber_and_one_for_the_answer() {
    let server = ServerProcess::start("plays_the_server_when_told");
    let mut clients: Vec<WsClient> =
        (0..SUBSCRIBERS).map(|_| WsClient::upgrade(Client::connect(server.address))).collect();
    for client in &mut clients {
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    let mut back_end = Client::connect(server.address);
    let mut publish = |number: usize| {
        back_end.send(format!(
            "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nevent-{number}"
        ));
        assert_eq!(back_end.read_answer().status, 200);
        for client in &mut clients {
            assert_eq!(client.hear(), format!("event-{number}"));
        }
    };
    publish(0);
    let counts = count(&server, || (1..=3).for_each(&mut publish));
    // The answer to "the-end", which strace cuts where it names it, is not among them.
    assert_eq!(counts.get("sendto"), Some(&(3 * (SUBSCRIBERS + 1))), "{counts:?}");
    assert_eq!(counts.get("writev").or(counts.get("write")), None, "{counts:?}");
    assert_eq!(counts.get("epoll_ctl"), None, "a kept connection is registered once: {counts:?}");
}

#[test]
fn a_batch_of_events_wakes_each_core_on_its_way_once() {
    let server = ServerProcess::start("plays_the_server_with_two_cores_when_told");
    let mut publisher = WsClient::upgrade(Client::connect(server.address));
    publisher.say("core");
    let core = publisher.hear();
    // The kernel spreads connections by a hash; one of so many comes to the other core.
    let mut others = (0..64).map(|_| WsClient::upgrade(Client::connect(server.address)));
    let mut other = others
        .find_map(|mut client| {
            client.say("core");
            (client.hear() != core).then_some(client)
        })
        .expect("there are two cores");
    other.say("sub t");
    assert_eq!(other.hear(), "subscribed t");
    const BATCHES: usize = 5;
    const EVENTS: usize = 20;
    let counts = count(&server, || {
        for _ in 0..BATCHES {
            publisher.say_all((0..EVENTS).map(|number| format!("pub t event-{number}")));
            for number in 0..EVENTS {
                assert_eq!(other.hear(), format!("event-{number}"));
            }
        }
    });
    // To the topic's home, which is one of the two, and from there to the other: one of these is no way at all, and a core
    // that is awake is not woken. What else is written goes to sockets.
    let wakes = counts.get("write").copied().unwrap_or(0);
    assert!((1..=BATCHES).contains(&wakes), "{wakes} wakes for {BATCHES} batches: {counts:?}");
}

#[test]
fn a_server_whose_connections_wait_makes_no_system_call_but_for_its_sweep() {
    let server = ServerProcess::start("plays_the_server_when_told");
    let mut clients: Vec<WsClient> =
        (0..SUBSCRIBERS).map(|_| WsClient::upgrade(Client::connect(server.address))).collect();
    for client in &mut clients {
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    let begin = now();
    let counts = count_of(&server, "trace=all", pass_time);
    check_idleness(counts, 1, begin.elapsed());
}

fn pass_time() {
    let waits = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut silent = std::net::TcpStream::connect(waits.local_addr().unwrap()).unwrap();
    silent.set_read_timeout(Some(IDLE)).unwrap();
    silent.read(&mut [0]).expect_err("nobody speaks there: time passes");
}

/// Each core sweeps for silence every 5 seconds, and waits again. What else there is comes of the markers: the core that they come to waits
/// once in between, and reads one or answers one.
fn check_idleness(mut counts: BTreeMap<String, usize>, cores: usize, time: Duration) {
    let sweeps = cores * (usize::try_from(time.as_secs()).unwrap() / 5 + 1);
    for (call, most) in [("epoll_wait", sweeps + 1), ("recvfrom", 1), ("sendto", 1)] {
        let times = counts.remove(call).unwrap_or(0);
        assert!(times <= most, "{times} of {call} in {time:?}");
    }
    assert_eq!(counts, BTreeMap::new());
}

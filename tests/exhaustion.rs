//! A machine without room for more connections: what lives goes on, who waits is served as soon as there is room.
//!
//! The server runs in a process of its own with a low limit of descriptors: this same test binary, told by its
//! environment which part to play.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "other tests use more of what is shared")]

#[path = "behaviour/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use stentor::metrics::{Counter, Metrics};
use stentor::{Conn, Handler, Options, Request, Response};

use process::ServerProcess;

const DESCRIPTORS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(20);

struct Count(Metrics);

impl Handler for Count {
    fn on_request(&mut self, conn: &mut Conn<'_>, _: &Request<'_>) {
        conn.respond(Response::text(
            200,
            format!("{:06}\n", self.0.total(Counter::AcceptBackOffs)),
        ));
    }
}

/// The part of the server.
#[test]
fn plays_the_server_when_told() {
    play(false);
}

/// The same, its one core with a table of descriptors of its own.
#[test]
fn plays_the_server_with_a_table_of_its_own_when_told() {
    play(true);
}

fn play(own_descriptor_tables: bool) {
    if !process::is_told() {
        return;
    }
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let options = Options {
        cores: 1,
        own_descriptor_tables,
        request_deadline: 3 * PATIENCE,
        ..Options::default()
    };
    process::play(options, |server| {
        let metrics = server.metrics();
        Box::new(move |_| Count(metrics.clone()))
    });
}

fn connect(server: &ServerProcess) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server.address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
}

/// The number in the body: how often accepting has backed off.
fn answer(stream: &mut TcpStream) -> u32 {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    while !text.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut text).unwrap() > 0, "the end, after {text:?}");
    }
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let mut body = [0; 7];
    reader.read_exact(&mut body).unwrap();
    std::str::from_utf8(&body).unwrap().trim().parse().unwrap()
}

#[test]
fn whoever_finds_no_descriptor_waits_and_is_served_when_others_leave() {
    check("plays_the_server_when_told");
}

#[cfg(target_os = "linux")]
#[test]
fn so_it_is_with_tables_of_their_own() {
    check("plays_the_server_with_a_table_of_its_own_when_told");
}

fn check(role: &str) {
    let server = ServerProcess::start(role);
    let count = usize::try_from(DESCRIPTORS).unwrap() + 20;
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(&server)).collect();
    clients.iter_mut().for_each(ask);
    let mut backed_off = answer(&mut clients[0]);
    // Those who have a descriptor are served while others wait, again and again.
    for _ in 0..100_000 {
        if backed_off >= 3 {
            break;
        }
        ask(&mut clients[0]);
        backed_off = answer(&mut clients[0]);
    }
    assert!(backed_off >= 3, "accepting is tried again, and again finds no room");
    let waiting = clients.pop().unwrap();
    waiting.set_nonblocking(true).unwrap();
    assert!(waiting.peek(&mut [0]).is_err(), "there are fewer descriptors than clients");
    waiting.set_nonblocking(false).unwrap();
    // Half of those who are served leave; then everybody who waited is served.
    let mut rest = clients.split_off(count / 2);
    drop(clients);
    for client in &mut rest {
        answer(client);
    }
    assert!(answer(&mut { waiting }) >= 3);
}

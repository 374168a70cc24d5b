//! Silence, slowness, and the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use stentor::metrics::Counter;
use stentor::pusher::{Directory, Pusher};
use stentor::reactor::simulation::{self, Simulation};
use stentor::{CloseCode, Options};

use crate::backend::Backend;
use crate::client::{Client, Heard, Talk, event, subscribe};
use crate::memory::{Member, in_memory};
use crate::server::{PATIENCE, Running, apps};

/// A server in memory, and one client of it: its clock moves only when told.
struct Memory {
    simulation: Simulation<Pusher, Directory>,
    client: simulation::Client,
    talk: Talk,
}

impl Memory {
    /// The client should ping after 30 seconds of silence, and is asked after 40 more.
    fn new() -> Self {
        let options = Options { cores: 1, ..Options::default() };
        let mut simulation = in_memory(options, apps());
        let Member { client, talk, .. } = Member::join(&mut simulation, 0);
        Self { simulation, client, talk }
    }

    /// Lets seconds pass, one by one, and tells what came.
    fn wait(&mut self, seconds: u32) -> Vec<Heard> {
        let mut heard = Vec::new();
        for _ in 0..seconds {
            self.simulation.advance(Duration::from_secs(1));
            self.simulation.settle();
            let answers = self.talk.take(&mut self.client.take_received());
            self.client.send(&answers);
            self.simulation.settle();
            heard.extend(std::iter::from_fn(|| self.talk.next()));
        }
        heard
    }

    fn say(&mut self, text: &str) {
        let frame = self.talk.text(text);
        self.client.send(&frame);
        self.simulation.settle();
    }
}

fn ping() -> Heard {
    Heard::Message(json!({"event": "pusher:ping", "data": {}}))
}

#[test]
fn a_silent_client_is_pinged_both_ways_and_then_closed_with_4201() {
    let mut memory = Memory::new();
    memory.talk.ignore_pings();
    assert_eq!(memory.wait(69), []);
    assert_eq!(memory.wait(6), [Heard::Ping, ping()]);
    assert_eq!(memory.wait(54), []);
    let message = "Pong reply not received in time".to_owned();
    let error = json!({"event": "pusher:error", "data": {"code": 4201, "message": message}});
    assert_eq!(memory.wait(7), [Heard::Message(error), Heard::Close(4201, message)]);
    assert_eq!(memory.simulation.metrics().total(Counter::IdleClosed), 1);
}

#[test]
fn a_client_that_answers_control_pings_lives_and_is_not_asked_otherwise() {
    let mut memory = Memory::new();
    assert_eq!(memory.wait(75), [Heard::Ping, ping()], "it never answered one before");
    let heard = memory.wait(3_600);
    assert!(heard.len() > 40 && heard.iter().all(|heard| *heard == Heard::Ping), "{heard:?}");
    assert_eq!(memory.simulation.metrics().total(Counter::IdleClosed), 0);
}

#[test]
fn a_client_that_answers_only_the_protocols_own_pings_lives() {
    let mut memory = Memory::new();
    memory.talk.ignore_pings();
    for _ in 0..20 {
        assert_eq!(memory.wait(75), [Heard::Ping, ping()]);
        memory.say(r#"{"event":"pusher:pong","data":{}}"#);
    }
    assert_eq!(memory.simulation.metrics().total(Counter::IdleClosed), 0);
}

#[test]
fn a_client_that_pings_in_time_is_not_asked() {
    let mut memory = Memory::new();
    for _ in 0..20 {
        memory.say(r#"{"event":"pusher:ping","data":{}}"#);
        let pong = Heard::Message(json!({"event": "pusher:pong", "data": {}}));
        assert_eq!(memory.wait(30), [pong]);
    }
}

#[test]
fn all_are_told_to_come_back_when_the_server_stops() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    clients.push(Client::join(&server, "other"));
    clients[0].subscribe("news");
    server.stop();
    for client in &mut clients {
        client.check_refused(4200, 4200);
    }
}

/// A client that reads and says nothing, not even good-bye.
fn mute(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&server.address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let upgrade = "GET /app/key HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).unwrap();
    read_until(&mut stream, "connection_established");
    stream
}

fn read_until(stream: &mut TcpStream, word: &str) {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(word) {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the end instead of {word}");
        all.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn who_comes_while_the_server_stops_is_let_in_and_sent_back_in_a_second() {
    let server = Running::start();
    let mut mute = mute(&server);
    server.stop();
    read_until(&mut mute, "restarting");
    // It does not answer, so the server waits for it. Whoever comes now is not refused, and not greeted.
    let mut late = Client::open(&server, "/app/key?protocol=7");
    let mut nobody = Client::open(&server, "/app/nobody");
    let mut backend = Backend::new(&server);
    assert_eq!(backend.get("/up").status, 200);
    drop(mute);
    for client in [&mut late, &mut nobody] {
        client.check_refused(4100, 4100);
    }
}

/// Enough to fill what the kernel keeps for a socket, several times over.
const FLOOD: usize = 400;

#[test]
fn a_client_that_does_not_read_is_closed_and_no_one_else_notices() {
    let server = Running::with(|setup| {
        setup.apps[0].max_outbox_bytes = 256 * 1024;
        setup.engine.read_buffer_bytes = 64 * 1024;
        setup.engine.slow_consumer_code = CloseCode(4100);
    });
    let mut listeners = Client::on_each_core(&server);
    let mut deaf = Client::join(&server, "key");
    deaf.subscribe("much");
    listeners.iter_mut().for_each(|listener| listener.subscribe("much"));
    let mut backend = Backend::new(&server);
    let data = "x".repeat(100_000);
    for number in 0..FLOOD {
        backend.publish("much", &format!("n-{number}"), &data);
        for listener in &mut listeners {
            assert_eq!(listener.message(), event(&format!("n-{number}"), "much", &data));
        }
    }
    assert_eq!(server.count(Counter::SlowConsumers), 1);
    // It hears the first events whole and in order, and is then told to come back.
    let mut number = 0;
    let end = loop {
        match deaf.next() {
            Heard::Message(message) => {
                assert_eq!(message, event(&format!("n-{number}"), "much", &data));
                number += 1;
            }
            end => break end,
        }
    };
    assert!(matches!(end, Heard::Close(4100, _) | Heard::End), "{end:?}");
    assert!((1..FLOOD).contains(&number), "{number}");
}

#[test]
fn no_more_is_kept_for_a_client_that_does_not_read_than_the_limit_says() {
    const OUTBOX_BYTES: usize = 64 * 1024;
    let mut apps = apps();
    apps[0].max_outbox_bytes = OUTBOX_BYTES;
    let mut simulation = in_memory(Options { cores: 1, ..Options::default() }, apps);
    let mut deaf = Member::join(&mut simulation, 0);
    let mut speaker = Member::join(&mut simulation, 0);
    deaf.say(&mut simulation, &subscribe("room"));
    speaker.say(&mut simulation, &subscribe("room"));
    let deaf = deaf.client;
    // It takes the beginning of what comes, so that what has begun must be kept.
    deaf.set_room(Some(100));
    let before = deaf.received_bytes();
    let data = "x".repeat(1_000);
    let whisper = json!({"event": "client-x", "channel": "room", "data": data}).to_string();
    for _ in 0..1_000 {
        speaker.say(&mut simulation, &whisper);
    }
    deaf.set_room(None);
    simulation.settle();
    let kept = deaf.received_bytes() - before;
    assert!(kept <= OUTBOX_BYTES as u64, "{kept}");
    assert_eq!(simulation.metrics().total(Counter::SlowConsumers), 1);
    assert_eq!(simulation.metrics().total(Counter::ClientErrors), 0);
}

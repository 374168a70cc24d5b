//! A server in memory, its clients made of bytes, and the back end that publishes and asks.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::super::signature::{Credentials, channel_signature, signed_query};
use super::super::{App, Apps, Directory, Options, Pusher};
use crate::reactor::simulation::{Client, Simulation};
use crate::ws::{self, Event, Input, Reply};
use crate::{CloseCode, MessageKind};

const UPGRADE: &[u8] =
    b"GET /app/key?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Turns after which something that must come has not come.
const MOST_TURNS: usize = 100_000;

pub(super) struct Server {
    pub(super) simulation: Simulation<Pusher, Directory>,
    pub(super) apps: Arc<Apps>,
    pub(super) cores: usize,
    /// A back end's connection to each core.
    back_ends: Vec<BackEnd>,
    unix_seconds: u64,
}

impl Server {
    pub(super) fn start(options: crate::Options, app: App) -> Self {
        let cores = options.cores;
        let apps = Arc::new(Apps::new(vec![app]).unwrap());
        let unix_seconds = 1_700_000_000;
        // The simulation's clock is that of the machine when it was made.
        let settings = Options { timestamp_tolerance_seconds: u64::MAX, ..Options::default() };
        let settings = Arc::new(settings);
        let mut simulation = Simulation::new(options, |_core| {
            let directory = Directory::new(Arc::clone(&apps), &settings);
            (Pusher::new(Arc::clone(&apps), Arc::clone(&settings)), directory)
        });
        let connect = |core| BackEnd { client: simulation.connect(core), bytes: Vec::new() };
        let back_ends = (0..cores).map(connect).collect();
        Self { simulation, apps, cores, back_ends, unix_seconds }
    }

    /// The name of a channel whose home is that core. Such names are equally long.
    pub(super) fn channel_at(&self, prefix: &str, home: usize) -> String {
        let mut names = (0..).map(|number| format!("{prefix}{number:04}"));
        let is_there = |name: &String| self.simulation.home_of(&format!("1/{name}")) == home;
        names.find(is_there).unwrap()
    }

    /// Connects a client. Cores turn until it was told its name, and no longer: what is under way stays so.
    pub(super) fn connect(&mut self, core: usize) -> Talk {
        let client = self.simulation.connect(core);
        client.send(UPGRADE);
        let mut bytes = Vec::new();
        let mut talk = Talk {
            client,
            protocol: ws::Protocol::new(ws::Role::Client),
            socket_id: String::new(),
            arrived: VecDeque::new(),
        };
        for core in (0..self.cores).cycle().take(MOST_TURNS) {
            self.simulation.turn(core);
            bytes.extend(talk.client.take_received());
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                assert!(bytes.starts_with(b"HTTP/1.1 101 "));
                talk.receive(bytes.split_off(end + 4));
                bytes.truncate(end + 4);
                if let Some(welcome) = talk.next() {
                    let data: Value =
                        serde_json::from_str(welcome["data"].as_str().unwrap()).unwrap();
                    data["socket_id"].as_str().unwrap().clone_into(&mut talk.socket_id);
                    return talk;
                }
            }
        }
        panic!("the client was told nothing");
    }

    /// Sends a signed request on the back end's connection to that core.
    pub(super) fn request(&self, core: usize, method: &str, path: &str, body: &str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut pairs: Vec<(&str, &str)> =
            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let signed = if pairs.is_empty() {
            let credentials = Credentials { key: "key", secret: &"secret".into() };
            signed_query(credentials, method, path, body.as_bytes(), self.unix_seconds)
        } else {
            let time = self.unix_seconds.to_string();
            pairs.extend([("auth_key", "key"), ("auth_timestamp", &time), ("auth_version", "1.0")]);
            let signature =
                super::super::signature::request_signature("secret", method, path, &pairs);
            pairs.push(("auth_signature", &signature));
            let pairs: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs.join("&")
        };
        let length = body.len();
        let request = format!(
            "{method} {path}?{signed} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.back_ends[core].client.send(request.as_bytes());
    }

    /// Publishes from a back end.
    pub(super) fn publish(&self, core: usize, channel: &str, data: &str, except: Option<&str>) {
        let except = except.map(|except| format!(r#","socket_id":"{except}""#)).unwrap_or_default();
        let body = format!(r#"{{"name":"event","channel":"{channel}","data":"{data}"{except}}}"#);
        self.request(core, "POST", "/apps/1/events", &body);
    }

    /// The answers that have come to the back end on all cores, each a body of JSON with status 200.
    pub(super) fn answers(&mut self) -> Vec<Value> {
        self.back_ends.iter_mut().flat_map(BackEnd::answers).collect()
    }

    /// Asks a question when nothing is under way.
    pub(super) fn ask(&mut self, core: usize, path: &str) -> Value {
        assert_eq!(self.answers(), [] as [Value; 0]);
        self.request(core, "GET", path, "");
        self.simulation.settle();
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{path}");
        answers.remove(0)
    }

    /// The back end goes.
    pub(super) fn dismiss_back_end(&self) {
        self.back_ends.iter().for_each(|back_end| back_end.client.finish());
    }
}

struct BackEnd {
    client: Client,
    bytes: Vec<u8>,
}

impl BackEnd {
    fn answers(&mut self) -> Vec<Value> {
        self.bytes.extend(self.client.take_received());
        let text = String::from_utf8(std::mem::take(&mut self.bytes)).unwrap();
        let mut rest = text.as_str();
        let mut answers = Vec::new();
        while let Some((head, body)) = rest.split_once("\r\n\r\n") {
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            let length = head.to_ascii_lowercase();
            let (_, length) = length.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let Some((answer, next)) = body.split_at_checked(length) else { break };
            answers.push(serde_json::from_str(answer).unwrap());
            rest = next;
        }
        self.bytes = rest.as_bytes().to_vec();
        answers
    }
}

/// A client's side of a WebSocket.
pub(super) struct Talk {
    pub(super) client: Client,
    pub(super) socket_id: String,
    protocol: ws::Protocol,
    arrived: VecDeque<Value>,
}

impl Talk {
    pub(super) fn say(&mut self, text: &str) {
        let mut bytes = Vec::new();
        let mut reply = Reply { bytes: &mut bytes, masking_key: [1, 2, 3, 4] };
        self.protocol.send(MessageKind::Text, text.as_bytes(), &mut reply).unwrap();
        self.client.send(&bytes);
    }

    /// The polite end.
    pub(super) fn close(&mut self) {
        let mut bytes = Vec::new();
        let mut reply = Reply { bytes: &mut bytes, masking_key: [1, 2, 3, 4] };
        self.protocol.close(CloseCode::NORMAL, "", &mut reply).unwrap();
        self.client.send(&bytes);
    }

    pub(super) fn ping(&mut self) {
        self.say(r#"{"event":"pusher:ping","data":{}}"#);
    }

    pub(super) fn unsubscribe(&mut self, channel: &str) {
        self.say(&format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#));
    }

    /// Subscribes; with `channel_data` if it is some.
    pub(super) fn subscribe(&mut self, channel: &str, channel_data: Option<&str>) {
        let message = self.subscription("secret", channel, channel_data);
        self.say(&message);
    }

    /// A subscription, signed with that secret.
    pub(super) fn subscription(
        &self,
        secret: &str,
        channel: &str,
        channel_data: Option<&str>,
    ) -> String {
        let signature = channel_signature(secret, &self.socket_id, channel, channel_data);
        let data = channel_data.map(|data| format!(r#","channel_data":{}"#, Value::from(data)));
        let data = data.unwrap_or_default();
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{signature}"{data}}}}}"#
        )
    }

    /// The next message that has come.
    pub(super) fn next(&mut self) -> Option<Value> {
        let bytes = self.client.take_received();
        self.receive(bytes);
        self.arrived.pop_front()
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        let mut input = Input { bytes: &mut bytes };
        let mut answers = Vec::new();
        let limits = ws::Limits { message_bytes: usize::MAX };
        loop {
            let mut reply = Reply { bytes: &mut answers, masking_key: [9, 8, 7, 6] };
            match self.protocol.receive(&mut input, &limits, &mut reply).unwrap() {
                None => break,
                Some(Event::Message(message)) => {
                    self.arrived.push_back(serde_json::from_slice(message.bytes()).unwrap());
                }
                Some(Event::Ping(_) | Event::Pong(_) | Event::Close(_)) => {}
            }
        }
        self.client.send(&answers);
    }
}

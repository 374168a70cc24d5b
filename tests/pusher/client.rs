//! A WebSocket client that never waits without a deadline: the client role of `stentor::ws`.
//!
//! ```text
//!   TcpStream ──bytes──▶ Talk ──▶ Heard      Talk knows no socket: the tests in memory use it too
//! ```

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;

use serde_json::{Value, json};
use stentor::pusher::signature::channel_signature;
use stentor::ws::client::ClientRequest;
use stentor::ws::{Event, Input, Limits, Protocol, Reply, Role};
use stentor::{CloseCode, MessageKind, SocketId};

use crate::server::{CORES, PATIENCE, Running, left, now};
use crate::wire::{Side as _, Wire};

/// What came from the server.
#[derive(PartialEq, Debug)]
pub(crate) enum Heard {
    Message(Value),
    Ping,
    Pong,
    /// A close frame; 1005 stands for one without a code.
    Close(u16, String),
    /// The end of TCP.
    End,
}

/// The client's half of a connection, in bytes.
pub(crate) struct Talk {
    protocol: Protocol,
    heard: VecDeque<Heard>,
    answers_pings: bool,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self { protocol: Protocol::new(Role::Client), heard: VecDeque::new(), answers_pings: true }
    }

    /// From here on control pings are heard and not answered.
    pub(crate) fn ignore_pings(&mut self) {
        self.answers_pings = false;
    }

    /// Takes what came; what is to be answered at once comes back.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Vec<u8> {
        let mut input = Input { bytes };
        let mut answers = Vec::new();
        let limits = Limits { message_bytes: usize::MAX };
        loop {
            let before = answers.len();
            let mut reply = Reply { bytes: &mut answers, masking_key: MASKING_KEY };
            let Some(event) = self.protocol.receive(&mut input, &limits, &mut reply).unwrap()
            else {
                return answers;
            };
            let heard = heard(event);
            if heard == Heard::Ping && !self.answers_pings {
                answers.truncate(before);
            }
            self.heard.push_back(heard);
        }
    }

    pub(crate) fn next(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    pub(crate) fn frame(&mut self, write: impl FnOnce(&mut Protocol, &mut Reply<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut self.protocol, &mut Reply { bytes: &mut bytes, masking_key: MASKING_KEY });
        bytes
    }

    pub(crate) fn text(&mut self, text: &str) -> Vec<u8> {
        self.frame(|ws, out| ws.send(MessageKind::Text, text.as_bytes(), out).unwrap())
    }
}

const MASKING_KEY: [u8; 4] = [1, 2, 3, 4];

fn heard(event: Event<'_>) -> Heard {
    match event {
        Event::Message(message) => Heard::Message(decoded(message.text().expect("text frames"))),
        Event::Ping(_) => Heard::Ping,
        Event::Pong(_) => Heard::Pong,
        Event::Close(Some(frame)) => Heard::Close(frame.code.0, frame.reason.into_owned()),
        Event::Close(None) => Heard::Close(1005, String::new()),
    }
}

/// A message as a value, compared by which no order of keys and no escape matters. The data of the protocol's own
/// events is JSON in a string; here it is what the string holds.
pub(crate) fn decoded(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    let is_own = value["event"].as_str().is_some_and(|event| event.starts_with("pusher"));
    if let (true, Some(data)) = (is_own, value["data"].as_str()) {
        value["data"] = serde_json::from_str(data).unwrap();
    }
    value
}

/// The request for a WebSocket at that path.
pub(crate) fn upgrade(target: &str) -> ClientRequest<'_> {
    ClientRequest {
        host: "localhost",
        path_and_query: target,
        key: *b"sixteen bytes, !",
        subprotocols: &[],
        offers_deflate: false,
        headers: &[],
    }
}

/// One connection to a server.
pub(crate) struct Client<W: Wire = TcpStream> {
    wire: W,
    talk: Talk,
    pub(crate) socket_id: String,
}

impl Client {
    /// A WebSocket at that path, as a page of that origin opens it.
    pub(crate) fn open_from(server: &Running, target: &str, origin: &str) -> Self {
        Self::from(server.connect(), target, &[("Origin", origin)])
    }

    /// A WebSocket at that path; nothing of what is said on it is read yet.
    pub(crate) fn open(server: &Running, target: &str) -> Self {
        Self::over(server.connect(), target)
    }

    /// A client of the app with that key, which has been greeted.
    pub(crate) fn join(server: &Running, key: &str) -> Self {
        let mut client = Self::open(server, &format!("/app/{key}?protocol=7&client=test"));
        let greeting = client.message();
        assert_eq!(greeting["event"], "pusher:connection_established", "{greeting}");
        client.socket_id = greeting["data"]["socket_id"].as_str().unwrap().to_owned();
        client
    }

    /// One client of app 1 on each core.
    pub(crate) fn on_each_core(server: &Running) -> Vec<Self> {
        let mut clients: [Option<Self>; CORES] = [const { None }; CORES];
        while clients.iter().any(Option::is_none) {
            let client = Self::join(server, "key");
            let core = client.core();
            clients[core].get_or_insert(client);
        }
        clients.into_iter().flatten().collect()
    }
}

impl<W: Wire> Client<W> {
    /// A WebSocket at that path, over a connection that is there.
    pub(crate) fn over(wire: W, target: &str) -> Self {
        Self::from(wire, target, &[])
    }

    /// The same, with further header fields.
    pub(crate) fn from(mut wire: W, target: &str, headers: &[(&str, &str)]) -> Self {
        let request = ClientRequest { headers, ..upgrade(target) };
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        wire.write_all(&bytes).unwrap();
        let mut handshake = request.handshake();
        let mut rest = loop {
            let mut buffer = [0; 4096];
            let count = wire.read_within(&mut buffer, PATIENCE).unwrap();
            assert_ne!(count, 0, "the end instead of a response");
            if let Some(accepted) = handshake.receive(&buffer[..count]).unwrap() {
                break accepted.rest;
            }
        };
        let mut client = Self { wire, talk: Talk::new(), socket_id: String::new() };
        // What came with the response may be the end already.
        let answers = client.talk.take(&mut rest);
        client.offer(&answers);
        client
    }

    /// The core that owns the connection.
    pub(crate) fn core(&self) -> usize {
        self.socket_id.parse::<SocketId>().unwrap().conn.core()
    }

    pub(crate) fn next(&mut self) -> Heard {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(heard) = self.talk.next() {
                return heard;
            }
            let mut buffer = vec![0; 64 * 1024];
            match self.wire.read_within(&mut buffer, left(deadline)) {
                Ok(0) => return Heard::End,
                Ok(count) => {
                    let answers = self.talk.take(&mut buffer[..count]);
                    self.offer(&answers);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::End,
                Err(error) => panic!("{error} instead of a message"),
            }
        }
    }

    pub(crate) fn message(&mut self) -> Value {
        match self.next() {
            Heard::Message(value) => value,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Sends bytes that the server may refuse before they have come whole: that it stops reading is no fault.
    pub(crate) fn offer(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes);
    }

    pub(crate) fn say(&mut self, text: &str) {
        let frame = self.talk.text(text);
        self.wire.write_all(&frame).unwrap();
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        let frame = self.talk.frame(|ws, out| ws.send(MessageKind::Binary, bytes, out).unwrap());
        self.wire.write_all(&frame).unwrap();
    }

    pub(crate) fn ping(&mut self) {
        let frame = self.talk.frame(|ws, out| ws.send_ping(b"beat", out).unwrap());
        self.wire.write_all(&frame).unwrap();
    }

    pub(crate) fn close(&mut self, code: u16) {
        let frame = self.talk.frame(|ws, out| ws.close(CloseCode(code), "", out).unwrap());
        self.wire.write_all(&frame).unwrap();
    }

    /// Says goodbye, and waits until the server has said it too.
    pub(crate) fn leave(mut self) {
        self.close(1000);
        while self.next() != Heard::End {}
    }

    /// Subscribes, and waits until it holds.
    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.say(&subscribe(channel));
        assert_eq!(self.message(), succeeded(channel));
    }

    /// A subscription of this client, signed with the secret of app 1.
    pub(crate) fn signed(&self, channel: &str, channel_data: Option<&str>) -> String {
        signed(&self.socket_id, channel, channel_data)
    }

    /// Leaves a channel, and waits until the server has heard it.
    pub(crate) fn unsubscribe(&mut self, channel: &str) {
        self.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string());
        self.check_alive();
    }

    /// Nothing has come that was not read, and the server answers.
    pub(crate) fn check_alive(&mut self) {
        self.say(r#"{"event":"pusher:ping","data":{}}"#);
        assert_eq!(self.message(), json!({"event": "pusher:pong", "data": {}}));
    }

    /// An error frame and nothing else.
    pub(crate) fn check_error(&mut self, code: u16) -> String {
        let message = self.message();
        assert_eq!(message["event"], "pusher:error", "{message}");
        assert_eq!(message["data"]["code"], code, "{message}");
        message["data"]["message"].as_str().unwrap().to_owned()
    }

    /// An error frame, the close frame that repeats it with that code, and the end.
    pub(crate) fn check_refused(&mut self, code: u16, close_code: u16) {
        let message = self.check_error(code);
        assert_eq!(self.next(), Heard::Close(close_code, message));
        assert_eq!(self.next(), Heard::End);
    }
}

pub(crate) fn subscribe(channel: &str) -> String {
    json!({"event": "pusher:subscribe", "data": {"auth": "", "channel": channel}}).to_string()
}

/// A subscription of the connection of that name, signed with the secret of app 1.
pub(crate) fn signed(socket_id: &str, channel: &str, channel_data: Option<&str>) -> String {
    let signature = channel_signature("secret", socket_id, channel, channel_data);
    let mut data = json!({"auth": format!("key:{signature}"), "channel": channel});
    if let Some(channel_data) = channel_data {
        data["channel_data"] = channel_data.into();
    }
    json!({"event": "pusher:subscribe", "data": data}).to_string()
}

pub(crate) fn succeeded(channel: &str) -> Value {
    json!({"event": "pusher_internal:subscription_succeeded", "data": {}, "channel": channel})
}

pub(crate) fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({"event": name, "channel": channel, "data": data})
}

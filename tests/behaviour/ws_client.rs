//! A WebSocket client over a `Client`: our own client role, which `tests/peers.rs` checks against one of another make.

use stentor::ws::{CloseCode, Event, Input, Limits, MessageKind, Protocol, Reply, Role};

use super::support::{Client, Running};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) struct WsClient {
    pub(crate) client: Client,
    protocol: Protocol,
    heard: std::collections::VecDeque<String>,
}

impl WsClient {
    pub(crate) fn open(server: &Running) -> Self {
        Self::upgrade(server.connect())
    }

    pub(crate) fn upgrade(client: Client) -> Self {
        Self::upgrade_at(client, "/chat")
    }

    pub(crate) fn upgrade_at(mut client: Client, path: &str) -> Self {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: behaviour\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ));
        let head = client.read_head();
        assert_eq!(head.status, 101, "{}", head.head);
        Self {
            client,
            protocol: Protocol::new(Role::Client),
            heard: std::collections::VecDeque::new(),
        }
    }

    fn frame(&mut self, write: impl FnOnce(&mut Protocol, &mut Reply<'_>)) {
        let mut bytes = Vec::new();
        write(&mut self.protocol, &mut Reply { bytes: &mut bytes, masking_key: KEY });
        self.client.offer(bytes);
    }

    pub(crate) fn say(&mut self, text: impl AsRef<str>) {
        self.frame(|ws, out| ws.send(MessageKind::Text, text.as_ref().as_bytes(), out).unwrap());
    }

    /// Several messages in one write.
    pub(crate) fn say_all(&mut self, texts: impl Iterator<Item = String>) {
        self.frame(|ws, out| {
            for text in texts {
                ws.send(MessageKind::Text, text.as_bytes(), out).unwrap();
            }
        });
    }

    pub(crate) fn close(&mut self, code: u16) {
        self.frame(|ws, out| ws.close(CloseCode(code), "", out).unwrap());
    }

    /// The next thing the server says: a text, `<close 1000>`, `<ping>`, or `<end>`.
    pub(crate) fn hear(&mut self) -> String {
        while self.heard.is_empty() {
            let mut bytes = self.client.read_some();
            if bytes.is_empty() {
                return "<end>".to_owned();
            }
            self.receive(&mut bytes);
        }
        self.heard.pop_front().unwrap()
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let limits = Limits { message_bytes: usize::MAX };
        let mut input = Input { bytes };
        loop {
            let mut answer = Vec::new();
            let mut reply = Reply { bytes: &mut answer, masking_key: KEY };
            let event = self.protocol.receive(&mut input, &limits, &mut reply).unwrap();
            let heard = match event {
                None => return,
                Some(Event::Message(message)) => message.text().unwrap_or("<binary>").to_owned(),
                Some(Event::Ping(_)) => "<ping>".to_owned(),
                Some(Event::Pong(_)) => "<pong>".to_owned(),
                Some(Event::Close(frame)) => {
                    format!("<close {}>", frame.map_or(1005, |frame| frame.code.0))
                }
            };
            self.heard.push_back(heard);
            self.client.offer(answer);
        }
    }
}

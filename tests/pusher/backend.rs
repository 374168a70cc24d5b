//! A back end: signed HTTP over one connection that is kept alive.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use stentor::app::unix_seconds;
use stentor::metrics::Counter;
use stentor::pusher::App;
use stentor::pusher::signature::{Credentials, request_signature, signed_query};

use crate::server::{CORES, PATIENCE, Running, apps, left, now};
use crate::wire::{Side as _, Wire};

/// One HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and all fields.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// What an error says.
    pub(crate) fn error(&self) -> String {
        let value = self.json();
        assert_eq!(value["code"], self.status, "{self:?}");
        value["error"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct Backend<W: Wire = TcpStream> {
    wire: W,
    unread: Vec<u8>,
    /// As whom it signs.
    pub(crate) app: App,
}

impl Backend {
    /// A back end of app 1.
    pub(crate) fn new(server: &Running) -> Self {
        Self::over(server.connect())
    }

    /// One on each core. Nobody else may ask that server anything meanwhile: whose count rises serves the connection.
    pub(crate) fn on_each_core(server: &Running) -> Vec<Self> {
        let requests =
            || [0, 1, 2, 3].map(|core| server.metrics.core(core).get(Counter::HttpRequests));
        let mut backends: [Option<Self>; CORES] = [const { None }; CORES];
        while backends.iter().any(Option::is_none) {
            let mut backend = Self::new(server);
            let before = requests();
            assert_eq!(backend.get("/up").status, 200);
            let after = requests();
            let core = (0..CORES).find(|&core| after[core] > before[core]).unwrap();
            backends[core].get_or_insert(backend);
        }
        backends.into_iter().flatten().collect()
    }

    /// Sends requests as they are, and reads until the server ends the connection.
    pub(crate) fn exchange_to_the_end(mut self, requests: &str) -> String {
        self.wire.write_all(requests.as_bytes()).unwrap();
        self.wire.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = String::new();
        self.wire.read_to_string(&mut all).unwrap();
        all
    }
}

impl<W: Wire> Backend<W> {
    /// A back end of app 1, over a connection that is there.
    pub(crate) fn over(wire: W) -> Self {
        Self { wire, unread: Vec::new(), app: apps().swap_remove(0) }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.exchange(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    /// Sends a request whose answer nobody waits for.
    pub(crate) fn begin(&mut self, target: &str) {
        self.wire
            .write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
    }

    /// A signed GET of one of the app's paths: `channels`. Names and values are given as they stand in the query.
    pub(crate) fn ask(&mut self, path: &str, query: &[(&str, &str)]) -> Answer {
        let target = self.signed("GET", &format!("/apps/{}/{path}", self.app.id), query);
        self.get(&target)
    }

    /// Asks until the answer is this one: counts come from other cores, a turn late.
    pub(crate) fn ask_until(&mut self, path: &str, query: &[(&str, &str)], expected: &str) {
        let deadline = now() + PATIENCE;
        loop {
            let answer = self.ask(path, query);
            assert_eq!(answer.status, 200, "{answer:?}");
            if answer.body == expected {
                return;
            }
            assert!(now() < deadline, "{} instead of {expected}", answer.body);
        }
    }

    /// A path and its query, signed.
    pub(crate) fn signed(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        let time = unix_seconds().to_string();
        let mut pairs = vec![
            ("auth_key", self.app.key.as_str()),
            ("auth_timestamp", time.as_str()),
            ("auth_version", "1.0"),
        ];
        pairs.extend_from_slice(query);
        let signature = request_signature(&self.app.secret, method, path, &pairs);
        pairs.push(("auth_signature", signature.as_str()));
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{path}?{}", pairs.join("&"))
    }

    /// A signed POST to one of the app's paths: `events`.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    pub(crate) fn post_text(&mut self, path: &str, body: &str) -> Answer {
        let path = format!("/apps/{}/{path}", self.app.id);
        let credentials = Credentials { key: &self.app.key, secret: &self.app.secret };
        let query = signed_query(credentials, "POST", &path, body.as_bytes(), unix_seconds());
        self.post_as_it_is(&format!("{path}?{query}"), body)
    }

    /// A signed POST of an event that has a key in its head.
    pub(crate) fn post_with_key(&mut self, key: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let path = format!("/apps/{}/events", self.app.id);
        let credentials = Credentials { key: &self.app.key, secret: &self.app.secret };
        let query = signed_query(credentials, "POST", &path, body.as_bytes(), unix_seconds());
        let length = body.len();
        self.exchange(&format!(
            "POST {path}?{query} HTTP/1.1\r\nHost: a\r\nX-Idempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    pub(crate) fn post_as_it_is(&mut self, target: &str, body: &str) -> Answer {
        let length = body.len();
        self.exchange(&format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Publishes one event to one channel.
    pub(crate) fn publish(&mut self, channel: &str, name: &str, data: &str) {
        let answer = self.post("events", &json!({"name": name, "channel": channel, "data": data}));
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }

    /// Publishes one event, and waits until its home core has put it in order: the count is told from there. Without
    /// that, whoever subscribes after the answer may still come first.
    pub(crate) fn publish_in_order(&mut self, channel: &str, name: &str) {
        let info = "subscription_count";
        let body = json!({"name": name, "channel": channel, "data": "", "info": info});
        assert_eq!(self.post("events", &body).status, 200);
    }

    /// Posts until the answer is this one: counts come from other cores, a turn late.
    pub(crate) fn post_until(&mut self, path: &str, body: &Value, expected: &Value) {
        let deadline = now() + PATIENCE;
        loop {
            let answer = self.post(path, body).json();
            if answer == *expected {
                return;
            }
            assert!(now() < deadline, "{answer} instead of {expected}");
        }
    }

    /// Sends a request as it is, and reads one answer. That the server stops reading is no fault.
    pub(crate) fn exchange(&mut self, request: &str) -> Answer {
        let _ = self.wire.write_all(request.as_bytes());
        let deadline = now() + PATIENCE;
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_until(deadline);
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.read_until(deadline);
        }
        let body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        Answer { status, head, body }
    }

    fn read_until(&mut self, deadline: std::time::Instant) {
        let mut buffer = [0; 16 * 1024];
        let count = self.wire.read_within(&mut buffer, left(deadline)).unwrap();
        assert_ne!(count, 0, "the end instead of an answer");
        self.unread.extend_from_slice(&buffer[..count]);
    }
}

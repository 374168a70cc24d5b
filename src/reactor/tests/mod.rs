//! Shards in memory: several cores in one thread, so that every order of events can be forced.

mod answers;
mod attending;
mod bounded;
mod compression;
mod cost;
mod cross_core;
mod ending;
mod last_words;
mod lateness;
mod membership;
mod random;
mod refusing;
mod reminders;
mod reviewing;

use std::cell::RefCell;
use std::rc::Rc;

use super::handler::{Conn, ConnError, Handler, Idle};
use super::options::Options;
use super::simulation::{Census, Client, Simulation};
use crate::fanout::directory::Directory;
use crate::http::{Request, Response};
use crate::ws::{self, CloseCode, CloseFrame, Event, Input, Message, Prepared, Reply};

/// What a test handler saw, on whatever core, in order.
type Log = Rc<RefCell<Vec<String>>>;

/// Obeys its clients: `sub t`, `unsub t`, `pub t text`, `others t text`, `ask t`, `close 4000`, `panic`, and echoes
/// the rest.
struct Obedient {
    core: usize,
    log: Log,
}

impl Obedient {
    fn note(&self, conn: &Conn<'_>, what: &str) {
        self.log.borrow_mut().push(format!("{}:{} {what}", self.core, conn.tag()));
    }
}

impl Handler for Obedient {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let path = conn.upgrade().map(|request| request.path().to_owned()).unwrap_or_default();
        conn.set_tag(path.trim_start_matches('/').parse().unwrap_or(0));
        self.note(conn, "open");
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        let mut words = text.splitn(3, ' ');
        let (verb, topic, rest) = (
            words.next().unwrap(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        match verb {
            "sub" => match conn.subscribe(topic) {
                Ok(()) => {}
                Err(error) => conn.send(format!("{error:?}")),
            },
            "unsub" => {
                let was_on = conn.unsubscribe(topic);
                conn.send(format!("unsub {was_on}"));
            }
            "pub" => conn.publish(topic, rest).unwrap(),
            "others" => conn.publish_except(topic, rest, Some(conn.socket_id())).unwrap(),
            "ask" => conn.ask(topic, (), 7),
            "close" => conn.close(CloseCode(topic.parse().unwrap()), "as told"),
            "panic" => panic!("as told"),
            _ => conn.send(message),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        conn.send(format!("subscribed {topic}"));
    }

    fn on_answer(&mut self, conn: &mut Conn<'_>, ticket: u64, answer: usize) {
        conn.send(format!("answer {ticket} {answer}"));
    }

    fn on_request(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) {
        conn.respond(Response::text(200, format!("{} {}\n", request.method(), request.path())));
    }

    fn on_idle(&mut self, conn: &mut Conn<'_>, idle: Idle) {
        self.note(conn, &format!("idle {idle:?}"));
        if idle == Idle::Expired {
            conn.close(CloseCode(4201), "silent");
        }
    }

    /// A tag of a thousand or more is a limit of its own.
    fn outbox_bytes(&self, tag: u32) -> Option<usize> {
        usize::try_from(tag).ok().filter(|bytes| *bytes >= 1_000)
    }

    fn on_error(&mut self, conn: &mut Conn<'_>, error: &ConnError) {
        self.note(conn, &format!("error {error:?}"));
        conn.send("last words");
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, frame: Option<&CloseFrame<'_>>) {
        self.note(conn, &format!("close {:?}", frame.map(|frame| frame.code.0)));
    }
}

/// Cores with obedient handlers, and what they saw.
fn obedient(options: Options) -> (Simulation<Obedient>, Log) {
    let log = Log::default();
    let simulation = Simulation::new(options, |core| (Obedient { core, log: log.clone() }, ()));
    (simulation, log)
}

fn cores(cores: usize) -> Options {
    Options { cores, ..Options::default() }
}

/// A WebSocket client in memory.
struct Ws {
    client: Client,
    protocol: ws::Protocol,
}

impl Ws {
    /// Connects to a core and upgrades at `/{tag}`.
    fn open<H: Handler<D>, D: Directory>(
        simulation: &mut Simulation<H, D>,
        core: usize,
        tag: u32,
    ) -> Self {
        let client = simulation.connect(core);
        client.send(upgrade(tag).as_bytes());
        simulation.settle();
        let head = client.take_received();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self { client, protocol: ws::Protocol::new(ws::Role::Client) }
    }

    fn frame(&mut self, write: impl FnOnce(&mut ws::Protocol, &mut Reply<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut self.protocol, &mut Reply { bytes: &mut bytes, masking_key: [1, 2, 3, 4] });
        bytes
    }

    fn say(&mut self, text: &str) {
        let frame =
            self.frame(|ws, out| ws.send(ws::MessageKind::Text, text.as_bytes(), out).unwrap());
        self.client.send(&frame);
    }

    fn close(&mut self, code: u16) {
        let frame = self.frame(|ws, out| ws.close(CloseCode(code), "", out).unwrap());
        self.client.send(&frame);
    }

    /// What has come since, one word or text an event; answers are sent back.
    fn heard(&mut self) -> Vec<String> {
        let mut bytes = self.client.take_received();
        let mut input = Input { bytes: &mut bytes };
        let mut answers = Vec::new();
        let mut heard = Vec::new();
        let limits = ws::Limits { message_bytes: usize::MAX };
        loop {
            let mut reply = Reply { bytes: &mut answers, masking_key: [9, 8, 7, 6] };
            match self.protocol.receive(&mut input, &limits, &mut reply).unwrap() {
                None => break,
                Some(Event::Message(message)) => {
                    heard.push(message.text().unwrap_or("<binary>").to_owned())
                }
                Some(Event::Ping(_)) => heard.push("<ping>".to_owned()),
                Some(Event::Pong(_)) => heard.push("<pong>".to_owned()),
                Some(Event::Close(frame)) => {
                    heard.push(format!("<close {:?}>", frame.map(|frame| frame.code.0)))
                }
            }
        }
        self.client.send(&answers);
        heard
    }
}

fn upgrade(tag: u32) -> String {
    format!(
        "GET /{tag} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A topic whose home is the given core.
fn topic_at<H: Handler<D>, D: Directory>(simulation: &Simulation<H, D>, home: usize) -> String {
    (0..)
        .map(|number| format!("topic-{number}"))
        .find(|topic| simulation.home_of(topic) == home)
        .unwrap()
}

fn prepared(text: &str) -> Prepared {
    Prepared::new(ws::MessageKind::Text, text.as_bytes())
}

//! The application that the simulated server runs: it does what guests say, and notes what the engine told it.
//!
//! ```text
//!   WebSocket  7 sub 2 · 8 unsub 2 · 9 pub 2 31 · 10 echo 500 · 11 ask 2 · 12 close     each answered in order: ok 7
//!              on 2 · event 2 31 aaaa · answer 11                                      when it is so
//!   HTTP       POST /pub/5/31 · GET /get/6/500 · GET /ask/7/2                           the first word is the request
//! ```
//!
//! With a [`Flaw`] it does one thing wrong, and some law must notice.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use stentor::http::{Request, Response};
use stentor::{
    Announcer, CloseCode, CloseFrame, Conn, ConnId, Directory, Handler, Idle, Message, Patience,
    Prepared, PublishError, SocketId,
};

use super::history::{Book, EventId, GuestId, padding};

/// The close code of a guest that was silent for too long.
pub(crate) const SILENT: u16 = 4201;
/// The close code of a guest that asked for it.
pub(crate) const ASKED: u16 = 4000;
/// Whoever wants to be on this topic asks its home.
const ATTENDED: usize = 3;
/// Marks the ticket of a question that came by HTTP.
const BY_HTTP: u64 = 1 << 32;

/// What may be broken, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// The host confirms a subscription when it is asked for, not when it is so.
    ConfirmsTooEarly,
    /// The host forgets every third answer.
    ForgetsAnswers,
    /// The host never answers a request of a back end's that asks for a count.
    ForgetsRequests,
    /// The host gives whoever does not read more than the limit.
    IsGenerous,
    /// The host waits for silent guests for an hour.
    IsPatient,
    /// The host leaves something behind when a guest goes.
    LeavesThings,
    /// The server lets publishers pass, however much is under way.
    LetsAllPass,
    /// The machine loses what would wake a core.
    LosesEdges,
    /// The machine loses the ring of a core's bell.
    LosesRings,
    /// The host publishes an event twice.
    RepeatsEvents,
    /// The host says that a guest is off a topic and leaves it on.
    StaysOn,
    /// The server waits for the end of requests for an hour.
    WaitsForRequests,
    /// The server, told to stop, waits for an hour for those who do not answer.
    WaitsForTheLast,
    /// The host publishes to those, too, who are not to hear it.
    TellsEverybody,
}

/// What all hosts know.
#[derive(Clone)]
pub(crate) struct House {
    /// Of the topics. Found once there is a server, so that each has the home that it shall have.
    pub(crate) names: Rc<OnceCell<Vec<String>>>,
    pub(crate) book: Book,
    socket_ids: Rc<RefCell<HashMap<GuestId, SocketId>>>,
    pub(crate) flaw: Option<Flaw>,
}

impl House {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let (names, book, socket_ids) = (Rc::default(), Book::default(), Rc::default());
        Self { names, book, socket_ids, flaw }
    }

    pub(crate) fn name(&self, topic: usize) -> &str {
        self.names.get().map_or("", |names| names[topic].as_str())
    }

    fn topic_of(&self, name: &str) -> usize {
        let mut names = self.names.get().into_iter().flatten();
        names.position(|known| known == name).expect("only these are used")
    }

    /// An event's topic, what it says, and whom it is not for.
    pub(crate) fn prepare(&self, event: EventId) -> (usize, String, Option<SocketId>) {
        let mut book = self.book.borrow_mut();
        let except = book.events[event].except;
        let except = except.and_then(|guest| self.socket_ids.borrow().get(&guest).copied());
        if except.is_none() {
            // Nobody can name a guest that has not been welcomed.
            book.events[event].except = None;
        }
        let except = except.filter(|_| !self.has(Flaw::TellsEverybody));
        (book.events[event].topic, book.text(event), except)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// One core's handler.
pub(crate) struct Host {
    pub(crate) house: House,
    answers: usize,
}

impl Host {
    pub(crate) fn new(house: House) -> Self {
        Self { house, answers: 0 }
    }

    fn answer(&mut self, conn: &mut Conn<'_, Ledger>, text: String) {
        self.answers += 1;
        if !(self.house.has(Flaw::ForgetsAnswers) && self.answers.is_multiple_of(3)) {
            conn.send(text);
        }
    }

    fn publish(&self, conn: &mut Conn<'_, Ledger>, event: EventId) -> Result<(), PublishError> {
        let (topic, text, except) = self.house.prepare(event);
        let name = self.house.name(topic);
        conn.publish_except(name, text.clone(), except)?;
        self.house.book.borrow_mut().accept(event);
        if self.house.has(Flaw::RepeatsEvents) {
            let _ = conn.publish_except(name, text, except);
        }
        Ok(())
    }

    fn subscribe(&mut self, conn: &mut Conn<'_, Ledger>, topic: usize) -> &'static str {
        let name = self.house.name(topic);
        let subscribed =
            if topic == ATTENDED { conn.attend(name, ()) } else { conn.subscribe(name) };
        match subscribed {
            Ok(()) => {
                if self.house.has(Flaw::ConfirmsTooEarly) {
                    self.confirm(conn, topic);
                }
                "ok"
            }
            Err(_) => "no",
        }
    }

    fn confirm(&self, conn: &mut Conn<'_, Ledger>, topic: usize) {
        self.house.book.borrow_mut().admit(conn.tag() as usize, topic);
        conn.send(format!("on {topic}"));
    }
}

impl Handler<Ledger> for Host {
    fn on_open(&mut self, conn: &mut Conn<'_, Ledger>) {
        let path = conn.upgrade().map(|request| request.path().to_owned()).unwrap_or_default();
        let tag = path.trim_start_matches('/').parse().unwrap_or(u32::MAX);
        conn.set_tag(tag);
        self.house.socket_ids.borrow_mut().insert(tag as usize, conn.socket_id());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Ledger>, message: Message<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        let mut words = text.split(' ');
        let serial = words.next().unwrap_or_default();
        let verb = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0_usize);
        let (first, second) = (number(), number());
        let word = match verb {
            "sub" => self.subscribe(conn, first),
            "unsub" => {
                if !self.house.has(Flaw::StaysOn) {
                    conn.unsubscribe(self.house.name(first));
                }
                "ok"
            }
            "pub" => match self.publish(conn, second) {
                Ok(()) => "ok",
                Err(_) => "busy",
            },
            "echo" => {
                return self.answer(conn, format!("ok {serial} {}", padding(first, first)));
            }
            "ask" => {
                let ticket = serial.parse().unwrap_or(0);
                conn.ask(self.house.name(first), (), ticket);
                "ok"
            }
            "close" => return conn.close(CloseCode(ASKED), "as asked"),
            _ => "what?",
        };
        self.answer(conn, format!("{word} {serial}"));
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_, Ledger>, topic: &str) {
        if !self.house.has(Flaw::ConfirmsTooEarly) {
            self.confirm(conn, self.house.topic_of(topic));
        }
    }

    fn on_welcome(&mut self, conn: &mut Conn<'_, Ledger>, topic: &str, (): ()) {
        self.on_subscribed(conn, topic);
    }

    fn on_answer(&mut self, conn: &mut Conn<'_, Ledger>, ticket: u64, answer: usize) {
        match ticket.checked_sub(BY_HTTP) {
            Some(request) => conn.respond(Response::text(200, format!("{request} {answer}"))),
            None => conn.send(format!("answer {ticket}")),
        }
    }

    fn on_request(&mut self, conn: &mut Conn<'_, Ledger>, request: &Request<'_>) {
        let path = request.path().to_owned();
        let words: Vec<&str> = path.split('/').collect();
        let (verb, number, last) = match words[..] {
            ["", verb, number, last] => (verb, number, last.parse().unwrap_or(0)),
            _ => ("", "", 0),
        };
        match verb {
            "pub" => {
                let (status, word) = match self.publish(conn, last) {
                    Ok(()) => (200, "ok"),
                    Err(_) => (503, "busy"),
                };
                conn.respond(Response::text(status, format!("{number} {word}")));
            }
            "get" => {
                conn.respond(Response::text(200, format!("{number} {}", padding(last, last))));
            }
            "ask" if self.house.has(Flaw::ForgetsRequests) => {}
            "ask" => {
                let ticket = BY_HTTP + number.parse().unwrap_or(0);
                conn.ask(self.house.name(last), (), ticket);
            }
            _ => conn.respond(Response::text(404, "no such thing")),
        }
    }

    fn on_idle(&mut self, conn: &mut Conn<'_, Ledger>, idle: Idle) {
        if idle == Idle::Expired {
            conn.close(CloseCode(SILENT), "silent");
        }
    }

    fn patience(&self, _: u32) -> Option<Patience> {
        let hour = Duration::from_secs(3_600);
        let patience = Patience { ping_after: hour, close_after: hour };
        self.house.has(Flaw::IsPatient).then_some(patience)
    }

    fn outbox_bytes(&self, _: u32) -> Option<usize> {
        self.house.has(Flaw::IsGenerous).then_some(1 << 20)
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Ledger>, _: Option<&CloseFrame<'_>>) {
        if self.house.has(Flaw::LeavesThings) {
            conn.remind(Duration::from_secs(86_400));
        }
    }
}

/// One home: it notes the order of its topics' events.
pub(crate) struct Ledger(pub(crate) House);

impl Directory for Ledger {
    type Note = ();
    type Welcome = ();
    type Refusal = std::convert::Infallible;
    type Question = ();
    type Answer = usize;
    type Word = ();

    fn on_publish(&mut self, topic: &str, _: u64, event: &Prepared, _: &mut Announcer<'_, Self>) {
        let text = String::from_utf8_lossy(event.payload());
        let event = text.split(' ').nth(2).and_then(|word| word.parse().ok());
        let event = event.expect("handlers publish nothing else");
        self.0.book.borrow_mut().order(self.0.topic_of(topic), event);
    }

    fn on_attend(
        &mut self,
        _: &str,
        _: ConnId,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> Result<(), Self::Refusal> {
        Ok(())
    }

    fn answer(
        &mut self,
        _: &str,
        subscribers: usize,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> usize {
        subscribers
    }

    fn answer_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> usize {
        topics.count()
    }
}

//! A WebSocket guest: what it says, what it may hear, and what it was promised. It knows only what came to it.
//!
//! Each message is answered in order, pings too, so one list says what must come next. On a topic it is from an `on`
//! to the answer to its `unsub`; an `on` must have been asked for since the last one.

use std::collections::VecDeque;

use stentor::ws::client::{ClientHandshake, ClientRequest, ResponseError};
use stentor::ws::frame::{self, Header, Opcode};
use stentor::ws::{self, CloseCode, Event, Input, Reply};

use super::choices::Choices;
use super::history::{Book, EventId, GuestId, Stay, TOPICS, padding};
use super::host::{ASKED, SILENT};
use super::line::Line;

const MASK: [u8; 4] = [7, 77, 177, 27];

/// A compressed message of one block without compression (RFC 7692 §7.2.3.3), as short as what guests say.
fn stored(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let head = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
    [&head, text.as_bytes(), &[0]].concat()
}

/// The status for a request that did not come in time.
const LATE: u16 = 408;

/// What must come next.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Expected {
    Echo { serial: usize, bytes: usize },
    Ok { serial: usize, verb: Verb },
    Pong(Vec<u8>),
}

/// What a message asked for, and on which topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Ask(usize),
    Publish,
    Subscribe(usize),
    Unsubscribe(usize),
}

#[derive(Debug)]
enum Stage {
    Opening(ClientHandshake),
    Open,
    /// The server's close frame was read, with its code.
    Closed(Option<u16>),
}

/// What a guest has to do with one topic.
#[derive(Default)]
struct On {
    /// In the history, while it is on.
    stay: Option<usize>,
    /// Subscriptions asked for, since the beginning and since each `unsub` that was said.
    asked: VecDeque<usize>,
    /// How many of the first of those were confirmed.
    confirmed: usize,
    /// How many were ever confirmed.
    confirmed_in_all: usize,
}

/// How a guest misbehaves, and the close code that it earns.
const BAD: [(&[u8], u16); 8] = [
    // The beginning of a message, and no end: what it answers to pings becomes a part of it.
    (&[0x82, 0xfe, 0x0f, 0xa0, 1, 2, 3, 4, b'a'], 1008),
    (&[0x81, 0x01, b'x'], 1002),
    (&[0x83, 0x80, 1, 2, 3, 4], 1002),
    (&[0x80, 0x80, 1, 2, 3, 4], 1002),
    (&[0xa1, 0x80, 1, 2, 3, 4], 1002),
    (&[0x89, 0xfe, 0, 126, 1, 2, 3, 4], 1002),
    (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
    (&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4], 1009),
];

/// How one guest differs from another.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    /// It does not answer pings.
    pub(crate) is_mute: bool,
    /// It takes compressed messages.
    pub(crate) deflates: bool,
}

/// A WebSocket guest.
pub(crate) struct Guest {
    id: GuestId,
    book: Book,
    stage: Stage,
    protocol: ws::Protocol,
    expected: VecDeque<Expected>,
    /// By topic: questions whose answers must come in this order.
    questions: [VecDeque<usize>; TOPICS],
    on: [On; TOPICS],
    serial: usize,
    /// Read behind the server's close frame, and not whole.
    behind: Vec<u8>,
    manners: Manners,
    inflater: ws::Inflater,
    /// The frame that is read, or was read last, is compressed.
    is_inflating: bool,
    /// It has said good-bye, or asked to be closed.
    pub(crate) is_leaving: bool,
    /// It broke the rules, and shall be closed with this.
    earned: Option<u16>,
}

impl Guest {
    pub(crate) fn new(id: GuestId, book: Book, manners: Manners, line: &mut Line) -> Self {
        let path = format!("/{id}");
        let request = ClientRequest {
            host: "hall",
            path_and_query: &path,
            key: [7; 16],
            subprotocols: &[],
            offers_deflate: manners.deflates,
            headers: &[],
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        line.say(&bytes);
        let on = || On { asked: VecDeque::from([0]), ..On::default() };
        Self {
            id,
            book,
            stage: Stage::Opening(request.handshake()),
            protocol: ws::Protocol::new(ws::Role::Client),
            expected: VecDeque::new(),
            questions: Default::default(),
            on: std::array::from_fn(|_| on()),
            serial: 0,
            behind: Vec::new(),
            manners,
            inflater: ws::Inflater::default(),
            is_inflating: false,
            is_leaving: false,
            earned: None,
        }
    }

    fn fault(&self, fault: &str) {
        self.book.borrow_mut().fault(format!("guest {}: {fault}", self.id));
    }

    // ── what it says ──

    /// Says a message, in one frame or in several with pings in between.
    fn say(&mut self, text: &str, choices: &mut Choices<'_>, line: &mut Line) {
        let mut bytes = Vec::new();
        let is_compressed = self.is_deflating() && choices.percent(50);
        let body = if is_compressed { stored(text) } else { text.as_bytes().to_vec() };
        let mut rest = body.as_slice();
        let mut opcode = Opcode::Text;
        while choices.percent(20) {
            let (part, after) = rest.split_at(choices.below(rest.len() + 1));
            frame::encode(false, opcode, Some(MASK), part, &mut bytes);
            (rest, opcode) = (after, Opcode::Continuation);
            if choices.percent(30) {
                self.ping_into(&mut bytes, choices);
            }
        }
        frame::encode(true, opcode, Some(MASK), rest, &mut bytes);
        // RSV1 marks the first frame of a compressed message (RFC 7692 §7.2.1).
        bytes[0] |= if is_compressed { 0x40 } else { 0 };
        line.say(&bytes);
    }

    fn ask(&mut self, verb: Verb, text: &str, choices: &mut Choices<'_>, line: &mut Line) {
        self.serial += 1;
        let serial = self.serial;
        self.say(&format!("{serial} {text}"), choices, line);
        self.expected.push_back(Expected::Ok { serial, verb });
    }

    pub(crate) fn subscribe(&mut self, topic: usize, choices: &mut Choices<'_>, line: &mut Line) {
        *self.on[topic].asked.back_mut().unwrap() += 1;
        self.ask(Verb::Subscribe(topic), &format!("sub {topic}"), choices, line);
    }

    pub(crate) fn unsubscribe(&mut self, topic: usize, choices: &mut Choices<'_>, line: &mut Line) {
        self.on[topic].asked.push_back(0);
        self.ask(Verb::Unsubscribe(topic), &format!("unsub {topic}"), choices, line);
    }

    pub(crate) fn publish(&mut self, event: EventId, choices: &mut Choices<'_>, line: &mut Line) {
        let topic = self.book.borrow().events[event].topic;
        self.ask(Verb::Publish, &format!("pub {topic} {event}"), choices, line);
    }

    pub(crate) fn question(&mut self, topic: usize, choices: &mut Choices<'_>, line: &mut Line) {
        self.questions[topic].push_back(self.serial + 1);
        self.ask(Verb::Ask(topic), &format!("ask {topic}"), choices, line);
    }

    pub(crate) fn echo(&mut self, bytes: usize, choices: &mut Choices<'_>, line: &mut Line) {
        self.serial += 1;
        let serial = self.serial;
        self.say(&format!("{serial} echo {bytes}"), choices, line);
        self.expected.push_back(Expected::Echo { serial, bytes });
    }

    pub(crate) fn ping(&mut self, choices: &mut Choices<'_>, line: &mut Line) {
        let mut bytes = Vec::new();
        self.ping_into(&mut bytes, choices);
        line.say(&bytes);
    }

    fn ping_into(&mut self, bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
        let payload = padding(self.serial, choices.below(20)).into_bytes();
        frame::encode(true, Opcode::Ping, Some(MASK), &payload, bytes);
        self.expected.push_back(Expected::Pong(payload));
    }

    pub(crate) fn ask_to_be_closed(&mut self, choices: &mut Choices<'_>, line: &mut Line) {
        self.serial += 1;
        self.say(&format!("{} close", self.serial), choices, line);
        self.is_leaving = true;
    }

    /// The polite end.
    pub(crate) fn close(&mut self, line: &mut Line) {
        let mut bytes = Vec::new();
        let mut reply = Reply { bytes: &mut bytes, masking_key: MASK };
        // One that is closed already has nothing to say.
        if self.protocol.close(CloseCode(4321), "", &mut reply).is_ok() {
            line.say(&bytes);
        }
        self.is_leaving = true;
    }

    pub(crate) fn misbehave(&mut self, choices: &mut Choices<'_>, line: &mut Line) {
        let (bytes, code) = BAD[choices.below(BAD.len())];
        line.say(bytes);
        self.earned = Some(code);
    }

    fn is_deflating(&self) -> bool {
        self.protocol.deflate().is_some()
    }

    /// Whether it says anything more.
    pub(crate) fn is_speaking(&self) -> bool {
        !self.is_leaving && self.earned.is_none() && !matches!(self.stage, Stage::Closed(_))
    }

    // ── what it hears ──

    pub(crate) fn hear(&mut self, mut bytes: Vec<u8>, line: &mut Line) {
        if let Stage::Opening(handshake) = &mut self.stage {
            match handshake.receive(&bytes) {
                Ok(None) => return,
                Ok(Some(accepted)) => {
                    self.stage = Stage::Open;
                    if accepted.deflate.is_some() != self.manners.deflates {
                        self.fault("compression was offered and not agreed to");
                    }
                    self.protocol =
                        ws::Protocol::new(ws::Role::Client).with_deflate(accepted.deflate);
                    bytes = accepted.rest;
                }
                // Its request did not come in time.
                Err(ResponseError::Status { status: LATE }) if line.was_slow => {
                    self.stage = Stage::Closed(Some(LATE));
                    return;
                }
                Err(error) => return self.fault(&format!("no WebSocket: {error}")),
            }
        }
        if matches!(self.stage, Stage::Closed(Some(LATE))) {
            return;
        }
        if matches!(self.stage, Stage::Closed(_)) {
            return self.hear_pongs(&bytes);
        }
        let mut input = Input { bytes: &mut bytes };
        let limits = ws::Limits { message_bytes: usize::MAX };
        let mut answers = Vec::new();
        loop {
            let mut reply = Reply { bytes: &mut answers, masking_key: MASK };
            let had = reply.bytes.len();
            // Between two frames the next byte begins one (RFC 7692 §7: its RSV1).
            if let Some(first) = input.bytes.first().filter(|_| !self.protocol.is_mid_message()) {
                self.is_inflating = first & 0x40 != 0;
            }
            let (inflater, protocol) = (&mut self.inflater, &mut self.protocol);
            let event = match protocol.receive_with(inflater, &mut input, &limits, &mut reply) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return self.fault(&format!("the server broke RFC 6455: {error}")),
            };
            match event {
                Event::Message(message) => {
                    let text = message.text().unwrap_or("<binary>").to_owned();
                    self.hear_text(&text);
                }
                Event::Ping(_) if self.manners.is_mute => answers.truncate(had),
                Event::Ping(_) => {}
                Event::Pong(payload) => {
                    let pong = Expected::Pong(payload.into_owned());
                    self.hear_next(&pong);
                }
                Event::Close(frame) => {
                    self.stage = Stage::Closed(frame.map(|frame| frame.code.0));
                    let behind = std::mem::take(&mut input.bytes).to_vec();
                    self.hear_pongs(&behind);
                    break;
                }
            }
        }
        line.say(&answers);
    }

    /// Behind the server's close frame nothing may come but answers to pings that crossed it (RFC 6455 §5.5.1, §5.5.2).
    fn hear_pongs(&mut self, bytes: &[u8]) {
        self.behind.extend_from_slice(bytes);
        let mut rest = self.behind.as_slice();
        while let Ok(Some((header, bytes))) = Header::decode(rest, ws::Role::Client) {
            let end = bytes + usize::try_from(header.payload_bytes).unwrap();
            if header.opcode != Opcode::Pong {
                return self.fault("more than pongs behind the close frame");
            }
            let Some(next) = rest.get(end..) else { break };
            rest = next;
        }
        self.behind = rest.to_vec();
    }

    fn hear_next(&mut self, heard: &Expected) {
        let next = self.expected.pop_front();
        if next.as_ref() != Some(heard) {
            self.fault(&format!("heard {heard:?} where {next:?} must come"));
        }
    }

    fn hear_text(&mut self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        match (words[0], number(1)) {
            ("on", Some(topic)) if topic < TOPICS => self.confirm(topic),
            ("event", Some(topic)) if topic < TOPICS => self.hear_event(topic, number(2), text),
            ("answer", Some(serial)) => {
                let queue = self.questions.iter_mut().find(|it| it.front() == Some(&serial));
                if queue.and_then(VecDeque::pop_front).is_none() {
                    self.fault(&format!("an answer that was not the next: {text}"));
                }
            }
            (word @ ("ok" | "no" | "busy"), Some(serial)) => {
                self.hear_answer(word, serial, words.get(2).copied());
            }
            _ => self.fault(&format!("heard {text}")),
        }
    }

    fn hear_answer(&mut self, word: &str, serial: usize, rest: Option<&str>) {
        if let Some(rest) = rest {
            let bytes = rest.len();
            if rest != padding(bytes, bytes) {
                self.fault("an echo of other bytes");
            }
            return self.hear_next(&Expected::Echo { serial, bytes });
        }
        match self.expected.pop_front() {
            Some(Expected::Ok { serial: expected, verb }) if serial == expected => {
                match (verb, word) {
                    (Verb::Subscribe(topic), "no") => self.on[topic].asked[0] -= 1,
                    (Verb::Unsubscribe(topic), "ok") => self.end_stay(topic),
                    (Verb::Publish, "busy") | (_, "ok") => {}
                    _ => self.fault(&format!("{word} is no answer to {verb:?}")),
                }
            }
            next => self.fault(&format!("heard {word} {serial} where {next:?} must come")),
        }
    }

    fn confirm(&mut self, topic: usize) {
        let on = &mut self.on[topic];
        on.confirmed += 1;
        on.confirmed_in_all += 1;
        let is_asked = on.confirmed <= on.asked[0];
        let mut book = self.book.borrow_mut();
        let admissions = book.admissions.get(&(self.id, topic));
        let admitted = admissions.and_then(|all| all.get(on.confirmed_in_all - 1)).copied();
        let Some(admitted) = admitted.filter(|_| is_asked) else {
            let id = self.id;
            return book.fault(format!("guest {id}: on topic {topic} without having asked"));
        };
        // A second confirmation of a stay that goes on changes nothing.
        if on.stay.is_none() {
            on.stay = Some(book.stays.len());
            let stay = Stay { guest: self.id, topic, admitted, heard: Vec::new(), is_open: true };
            book.stays.push(stay);
        }
    }

    /// The server has said that the guest is off the topic.
    fn end_stay(&mut self, topic: usize) {
        let on = &mut self.on[topic];
        on.asked.pop_front();
        on.confirmed = 0;
        if let Some(stay) = on.stay.take() {
            self.book.borrow_mut().stays[stay].is_open = false;
        }
    }

    fn hear_event(&mut self, topic: usize, event: Option<EventId>, text: &str) {
        let Some(stay) = self.on[topic].stay else {
            return self.fault(&format!("not on topic {topic}, and heard {text:.40}"));
        };
        let mut book = self.book.borrow_mut();
        match event.filter(|event| *event < book.events.len()) {
            Some(event) if book.text(event) == text => {
                book.stays[stay].heard.push(event);
                book.inflated += u64::from(self.is_inflating);
            }
            _ => book.fault(format!("guest {}: nobody published {text:.40}", self.id)),
        }
    }

    // ── what it was promised ──

    /// What it still hears is no longer all that there is.
    pub(crate) fn end_all_stays(&self) {
        let mut book = self.book.borrow_mut();
        let stays = self.on.iter().filter_map(|on| on.stay);
        stays.for_each(|stay| book.stays[stay].is_open = false);
    }

    /// The server has ended the connection. What was wrong with that, if anything.
    pub(crate) fn judge_end(&self, line: &Line) -> Option<String> {
        if line.left.is_some() {
            return None;
        }
        let is_slow = line.was_slow || self.manners.is_mute;
        let code = match self.stage {
            Stage::Closed(code) => code.unwrap_or(1005),
            // It may have been cut before it could be told why.
            _ if is_slow || line.was_narrow => return None,
            _ => 1006,
        };
        let is_earned = match code {
            SILENT | LATE | 1008 if is_slow => true,
            1013 => line.was_narrow,
            ASKED => self.is_leaving,
            4321 => self.is_leaving,
            code => self.earned == Some(code),
        };
        (!is_earned).then(|| format!("guest {}: closed with {code}, without a reason", self.id))
    }

    /// When nothing is under way: what it still waits for.
    pub(crate) fn judge_rest(&self) -> Option<String> {
        let id = self.id;
        if let Some(next) = self.expected.front() {
            return Some(format!("guest {id} never heard {next:?}"));
        }
        if let Some(serial) = self.questions.iter().find_map(VecDeque::front) {
            return Some(format!("guest {id} was not answered question {serial}"));
        }
        let is_wrong = |on: &&On| (on.asked[0] > 0) != on.stay.is_some();
        let topic = self.on.iter().position(|on| is_wrong(&on))?;
        Some(format!("guest {id}, topic {topic}: asked for {} times", self.on[topic].asked[0]))
    }
}

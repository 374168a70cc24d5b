//! A guest that speaks HTTP: a back end that publishes and asks, several requests at a time; and one that never finishes
//! a request. It knows only what came to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::choices::Choices;
use super::history::{Book, EventId, GuestId};
use super::line::Line;

/// A back end.
pub(crate) struct BackEnd {
    id: GuestId,
    book: Book,
    /// Requests whose answers must come in this order.
    expected: VecDeque<usize>,
    requests: usize,
    received: Vec<u8>,
    /// It asked for the end of the connection, or broke HTTP.
    is_leaving: bool,
    /// When the last answer came, or the connection was made.
    answered: Duration,
}

impl BackEnd {
    pub(crate) fn new(id: GuestId, book: Book, now: Duration) -> Self {
        Self {
            id,
            book,
            expected: VecDeque::new(),
            requests: 0,
            received: Vec::new(),
            is_leaving: false,
            answered: now,
        }
    }

    fn fault(&self, fault: &str) {
        self.book.borrow_mut().fault(format!("back end {}: {fault}", self.id));
    }

    pub(crate) fn is_speaking(&self) -> bool {
        !self.is_leaving
    }

    fn request(
        &mut self,
        method: &str,
        verb: &str,
        last: usize,
        choices: &mut Choices<'_>,
    ) -> Vec<u8> {
        self.requests += 1;
        let number = self.requests;
        self.expected.push_back(number);
        self.is_leaving = choices.percent(3);
        let connection = if self.is_leaving { "Connection: close\r\n" } else { "" };
        let mut bytes =
            format!("{method} /{verb}/{number}/{last} HTTP/1.1\r\nHost: hall\r\n{connection}");
        let body = "b".repeat(choices.below(60));
        if method == "GET" {
            bytes.push_str("\r\n");
        } else if choices.percent(50) {
            bytes.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            bytes.push_str("Transfer-Encoding: chunked\r\n\r\n");
            if !body.is_empty() {
                bytes.push_str(&format!("{:x}\r\n{body}\r\n", body.len()));
            }
            bytes.push_str("0\r\n\r\n");
        }
        bytes.into_bytes()
    }

    pub(crate) fn publish(&mut self, event: EventId, choices: &mut Choices<'_>, line: &mut Line) {
        let bytes = self.request("POST", "pub", event, choices);
        line.say(&bytes);
    }

    pub(crate) fn fetch(&mut self, size: usize, choices: &mut Choices<'_>, line: &mut Line) {
        let bytes = self.request("GET", "get", size, choices);
        line.say(&bytes);
    }

    pub(crate) fn ask(&mut self, topic: usize, choices: &mut Choices<'_>, line: &mut Line) {
        let bytes = self.request("GET", "ask", topic, choices);
        line.say(&bytes);
    }

    pub(crate) fn misbehave(&mut self, line: &mut Line) {
        line.say(b"GET / HTTP/1.1\r\nHost : hall\r\n\r\n");
        self.is_leaving = true;
    }

    pub(crate) fn hear(&mut self, bytes: &[u8], now: Duration) {
        self.received.extend_from_slice(bytes);
        while let Some((status, body, length)) = next_response(&self.received) {
            self.received.drain(..length);
            self.answered = now;
            // A request that did not come in time, or was none.
            if matches!(status, 400 | 408) {
                self.is_leaving = true;
                self.expected.clear();
                continue;
            }
            let number = body.split(' ').next().and_then(|word| word.parse().ok());
            let next = self.expected.pop_front();
            if next.is_none() || number != next {
                self.fault(&format!("heard {status} {body:.20} where request {next:?} is next"));
            }
        }
    }

    /// The server has ended the connection. What was wrong with that, if anything.
    pub(crate) fn judge_end(
        &self,
        line: &Line,
        now: Duration,
        keep_alive: Duration,
    ) -> Option<String> {
        let is_excused = line.left.is_some() || line.was_slow || line.was_narrow || self.is_leaving;
        // A request that crosses the end of a long silence is not answered; its sender knows that it may be so.
        let was_silent = now.saturating_sub(self.answered) >= keep_alive;
        let next = self.expected.front().filter(|_| !is_excused && !was_silent)?;
        Some(format!("back end {}: ended with request {next} unanswered", self.id))
    }

    /// When nothing is under way: what it still waits for.
    pub(crate) fn judge_rest(&self) -> Option<String> {
        let next = self.expected.front()?;
        Some(format!("back end {}: request {next} was never answered", self.id))
    }
}

/// The first response: its status, its body, and its length in all; `None` if it is not whole.
fn next_response(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let body = bytes.get(head..head + length)?;
    Some((status, String::from_utf8_lossy(body).into_owned(), head + length))
}

/// The beginning of a request that never ends.
pub(crate) fn begin_loitering(line: &mut Line) {
    line.say(b"GET /n");
}

/// A little more of it.
pub(crate) fn loiter(line: &mut Line) {
    line.say(b"n");
}

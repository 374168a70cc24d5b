//! ⑤ All that an application may ask of us, and all that we tell it.
//!
//! A [`Handler`] is one value per core, called by that core's thread alone; so it needs no lock, and a slow callback
//! delays the connections of its core. What it asks through [`Conn`] is noted and happens in order after the callback
//! returns: nothing here calls back into the handler, writes to a socket, or waits.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::core::Core;
use super::options::Patience;
use super::stream::Peer;
use crate::fanout::conn_id::{ConnId, SocketId};
use crate::fanout::directory::{Directory, Keep};
use crate::http::{self, Request, Response};
use crate::metrics::Counter;
use crate::ws::{self, CloseCode, CloseFrame, Message, MessageKind, Prepared};

/// An application. Every method has a default; Ratchet's four are `on_open`, `on_message`, `on_close`, `on_error`.
///
/// `D` is what the application's home cores remember; most applications leave it out.
///
/// A panic in a callback closes that one connection with 1011; a second one on the same core within a minute ends the
/// process.
pub trait Handler<D: Directory = ()>: 'static {
    /// A client asks for a WebSocket. The request is a sound one by RFC 6455 §4.2.1.
    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade {
        Upgrade::accept()
    }

    /// The WebSocket is open. [`Conn::upgrade`] is the request that opened it.
    fn on_open(&mut self, _conn: &mut Conn<'_, D>) {}

    /// A whole message came.
    fn on_message(&mut self, _conn: &mut Conn<'_, D>, _message: Message<'_>) {}

    /// The WebSocket is gone: with the peer's close frame or, if `None`, without one. Called once for every `on_open`.
    /// The connection is off its topics; sending does nothing.
    fn on_close(&mut self, _conn: &mut Conn<'_, D>, _frame: Option<&CloseFrame<'_>>) {}

    /// The connection is about to be closed because of this. What is sent now still goes out before the close frame.
    fn on_error(&mut self, _conn: &mut Conn<'_, D>, _error: &ConnError) {}

    /// The connection hears the topic from here on: every event ordered after this call, each once.
    fn on_subscribed(&mut self, _conn: &mut Conn<'_, D>, _topic: &str) {}

    /// The connection was silent for as long as its [`Patience`] says.
    fn on_idle(&mut self, conn: &mut Conn<'_, D>, idle: Idle) {
        if idle == Idle::Expired {
            conn.close(CloseCode::GOING_AWAY, "no sign of life");
        }
    }

    /// The time that a [`Conn::remind`] asked for has come, and the WebSocket is still open.
    fn on_reminder(&mut self, _conn: &mut Conn<'_, D>) {}

    /// How long a WebSocket may be silent, by its tag; 50 minutes at most. `None`: as the options say. Asked after
    /// `on_open`, and again when the connection has been silent.
    fn patience(&self, _tag: u32) -> Option<Patience> {
        None
    }

    /// How long a message of a WebSocket may be, in bytes, by its tag. `None`: as the options say. Asked before what was read
    /// is looked at; a longer message is refused by its header, before a byte of it is kept.
    fn message_bytes(&self, _tag: u32) -> Option<usize> {
        None
    }

    /// What may wait for a WebSocket that reads slowly, in bytes, by its tag. `None`: as the options say. Asked only
    /// when a socket did not take all that was sent.
    fn outbox_bytes(&self, _tag: u32) -> Option<usize> {
        None
    }

    /// The server stops. Must close the connection. Those that were open when it began to are called first, so many a
    /// second; those that came meanwhile last, when the former are gone.
    fn on_shutdown(&mut self, conn: &mut Conn<'_, D>) {
        conn.close(CloseCode::GOING_AWAY, "the server stops");
    }

    /// [`crate::Reviewer::review`] was called: something outside of the server has changed. Called once on each core
    /// for one or several of those calls, with the core's part of the directory; what is to be known from here on is
    /// taken over here. What a peer sends after the call, and what another core says once it was told, finds it done.
    ///
    /// No connection can pay for a panic in here: it ends the server, as one in a [`Directory`] does.
    fn on_notice(&mut self, _directory: &mut D) {}

    /// After [`Handler::on_notice`], for each WebSocket of the core that was open then and is open still. Those of one
    /// core are spread over as many turns as it takes.
    fn on_review(&mut self, _conn: &mut Conn<'_, D>) {}

    /// An HTTP request that asks for no upgrade. It must be answered with [`Conn::respond`], here or later (in
    /// `on_answer`); requests behind it on the same connection wait.
    fn on_request(&mut self, conn: &mut Conn<'_, D>, _request: &Request<'_>) {
        conn.respond(
            Response::text(426, "this server speaks WebSocket\n")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13"),
        );
    }

    /// The home has admitted the connection, which hears the topic from here on: the answer to a [`Conn::attend`].
    fn on_welcome(&mut self, _conn: &mut Conn<'_, D>, _topic: &str, _welcome: D::Welcome) {}

    /// The home has not admitted the connection: nothing of the subscription remains.
    fn on_refused(&mut self, _conn: &mut Conn<'_, D>, _topic: &str, _refusal: D::Refusal) {}

    /// A home has something to say to this connection.
    fn on_word(&mut self, _conn: &mut Conn<'_, D>, _word: D::Word) {}

    /// The answer to a [`Conn::ask`], or one of those to a [`Conn::ask_all`]. Not called if the connection is gone by then.
    fn on_answer(&mut self, _conn: &mut Conn<'_, D>, _ticket: u64, _answer: D::Answer) {}
}

/// What to do with a request for a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upgrade {
    /// Answer 101.
    Accept {
        /// The chosen subprotocol, one of those the client offered.
        subprotocol: Option<String>,
        /// Further header fields of the 101.
        headers: Vec<(String, String)>,
    },
    /// Answer this instead.
    Refuse(Response),
}

impl Upgrade {
    /// Answer 101, without a subprotocol.
    pub fn accept() -> Self {
        Self::Accept { subprotocol: None, headers: Vec::new() }
    }
}

/// How far a silence has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// `ping_after` has passed; a ping (RFC 6455 §5.5.2) is on its way. `answers_pings` tells whether this peer ever
    /// answered one.
    Silent {
        /// Whether a pong ever came from this peer.
        answers_pings: bool,
    },
    /// `close_after` has passed since. Must close the connection.
    Expired,
}

/// Why a connection is about to be closed.
#[derive(Debug)]
pub enum ConnError {
    /// The client broke HTTP; it is answered with the error's status.
    Http(http::ProtocolError),
    /// The socket failed.
    Io(io::Error),
    /// The peer does not read.
    SlowConsumer {
        /// What was queued for it, in bytes.
        queued: usize,
        /// The limit it passed.
        limit: usize,
    },
    /// The peer broke RFC 6455; it is closed with the error's code.
    Ws(ws::ProtocolError),
}

impl fmt::Display for ConnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => write!(f, "{error}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::SlowConsumer { queued, limit } => {
                write!(f, "{queued} bytes wait for a peer that does not read; the limit is {limit}")
            }
            Self::Ws(error) => write!(f, "{error}"),
        }
    }
}

/// What can be sent or published: text, bytes, a [`Message`] that came, or a [`Prepared`] one.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// A message to encode.
    Message(MessageKind, Cow<'a, [u8]>),
    /// A message that is encoded already.
    Prepared(Prepared),
}

impl Outgoing<'_> {
    /// Encoded once, for any number of connections.
    pub(crate) fn prepare(self) -> Prepared {
        match self {
            Self::Message(kind, payload) => Prepared::new(kind, &payload),
            Self::Prepared(prepared) => prepared,
        }
    }
}

impl std::error::Error for ConnError {}

impl<'a> From<&'a str> for Outgoing<'a> {
    fn from(text: &'a str) -> Self {
        Self::Message(MessageKind::Text, Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Outgoing<'_> {
    fn from(text: String) -> Self {
        Self::Message(MessageKind::Text, Cow::Owned(text.into_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Outgoing<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Message(MessageKind::Binary, Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Message<'_>> for Outgoing<'a> {
    fn from(message: &'a Message<'_>) -> Self {
        Self::Message(message.kind(), Cow::Borrowed(message.bytes()))
    }
}

impl<'a> From<Message<'a>> for Outgoing<'a> {
    fn from(message: Message<'a>) -> Self {
        let kind = message.kind();
        Self::Message(kind, message.into_bytes())
    }
}

impl From<Prepared> for Outgoing<'_> {
    fn from(prepared: Prepared) -> Self {
        Self::Prepared(prepared)
    }
}

/// Why an event was not published. Nothing of it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishError {
    /// Too many bytes are under way to the topic's home core; try again soon.
    Busy {
        /// Bytes under way.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The topic's name is too long.
    TopicTooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { queued, limit } => {
                write!(
                    f,
                    "{queued} bytes are under way to one core, the limit is {limit}; try again soon"
                )
            }
            Self::TopicTooLong { bytes, limit } => {
                write!(f, "the topic's name is {bytes} bytes long, the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// Why a subscription was refused. Nothing of it remains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscribeError {
    /// The connection is not an open WebSocket.
    Closed,
    /// The connection is on as many topics as it may be.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The topic's name is too long.
    TopicTooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is not an open WebSocket"),
            Self::TooMany { limit } => {
                write!(f, "the connection is on {limit} topics, which is the limit")
            }
            Self::TopicTooLong { bytes, limit } => {
                write!(f, "the topic's name is {bytes} bytes long, the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for SubscribeError {}

/// One connection, for the length of one callback.
pub struct Conn<'a, D: Directory = ()> {
    pub(super) core: &'a mut Core<D>,
    pub(super) id: ConnId,
    pub(super) peer: &'a dyn Peer,
    pub(super) upgrade: Option<&'a Request<'a>>,
}

impl<D: Directory> fmt::Debug for Conn<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<D: Directory> Conn<'_, D> {
    /// The connection's name; valid on every core, never used again once it is gone.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The connection's public name.
    pub fn socket_id(&self) -> SocketId {
        // The shard keeps the slot until the last callback about it has returned.
        self.core
            .slot(self.id)
            .map_or(SocketId { conn: self.id, entropy: 0 }, |slot| slot.socket_id(self.id))
    }

    /// The number of this core, beginning at 0.
    pub fn core(&self) -> usize {
        self.id.core()
    }

    /// The peer's address; `None` if the socket is gone. Costs a system call.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// The request that opened this WebSocket; in `on_open` alone.
    pub fn upgrade(&self) -> Option<&Request<'_>> {
        self.upgrade
    }

    /// A number of the application's own, 0 at first.
    pub fn tag(&self) -> u32 {
        self.core.slot(self.id).map_or(0, |slot| slot.tag)
    }

    /// Keeps a number with the connection.
    pub fn set_tag(&mut self, tag: u32) {
        if let Some(slot) = self.core.slot_mut(self.id) {
            slot.tag = tag;
        }
    }

    /// Whether the server was told to stop. A connection that opens now is one of the last, and short.
    pub fn is_stopping(&self) -> bool {
        self.core.is_stopping
    }

    /// Seconds since the Unix epoch, as of this turn.
    pub fn unix_seconds(&self) -> u64 {
        self.core.now.unix_seconds
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.core.now.instant
    }

    /// Counts something, in this core's counters.
    pub fn count(&self, counter: Counter) {
        self.core.count(counter);
    }

    /// Calls `on_reminder` after that time, if the WebSocket is open then. Asked twice, it is called twice. Costs 16
    /// bytes until it is called, whether the connection lives that long or not.
    pub fn remind(&mut self, after: Duration) {
        let at = self.core.now.instant + after;
        self.core.timers.remind(at, self.id);
    }

    /// Sends a message. Once the closing handshake has begun it does nothing.
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) {
        self.core.send(self.id, message.into());
    }

    /// Begins the closing handshake, after all that was sent before: the connection leaves its topics, and no more
    /// messages of the peer are handed out. A reason past 123 bytes is cut. `on_close` follows when the peer has
    /// answered, or is gone, or [`Options::closing_deadline`](crate::Options::closing_deadline) has passed.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.core.close(self.id, code, reason);
    }

    /// Subscribes to a topic; `on_subscribed` follows. Subscribing again is confirmed again and changes nothing.
    pub fn subscribe(&mut self, topic: &str) -> Result<(), SubscribeError> {
        self.core.subscribe(self.id, topic)
    }

    /// Subscribes to a topic whose home is told of each subscriber, with what this one brings; `on_welcome` or
    /// `on_refused` follows. Attending again brings a new note. A topic is either attended by all its subscribers or
    /// by none.
    pub fn attend(&mut self, topic: &str, note: D::Note) -> Result<(), SubscribeError> {
        self.core.attend(self.id, topic, note)
    }

    /// Whether the connection is subscribed to a topic, confirmed or not yet.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.core.is_subscribed(self.id, topic)
    }

    /// How many topics the connection is subscribed to, confirmed or not yet.
    pub fn subscriptions(&self) -> usize {
        self.core.slot(self.id).map_or(0, |slot| slot.held.len())
    }

    /// Ends a subscription; true if there was one. No event of the topic follows that was not sent before.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.core.unsubscribe(self.id, topic)
    }

    /// Publishes to all subscribers of a topic on all cores, in the topic's order.
    pub fn publish<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Outgoing<'m>>,
    ) -> Result<(), PublishError> {
        self.publish_except(topic, message, None)
    }

    /// Publishes to all subscribers but one.
    pub fn publish_except<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Outgoing<'m>>,
        except: Option<SocketId>,
    ) -> Result<(), PublishError> {
        self.core.publish(topic, message.into(), except, Keep::Remember)
    }

    /// Publishes to all subscribers but one, and says whether the directory is to be told.
    pub fn publish_as<'m>(
        &mut self,
        keep: Keep,
        topic: &str,
        message: impl Into<Outgoing<'m>>,
        except: Option<SocketId>,
    ) -> Result<(), PublishError> {
        self.core.publish(topic, message.into(), except, keep)
    }

    /// Asks a topic's home core; `on_answer` follows with the same ticket. Answers about one topic come in the order
    /// of the questions and see every event published by this connection before.
    pub fn ask(&mut self, topic: &str, question: D::Question, ticket: u64) {
        self.core.ask(self.id, topic, question, ticket);
    }

    /// Asks every core about the topics whose home it is; so many answers follow as there are cores, each with the same
    /// ticket.
    pub fn ask_all(&mut self, question: &D::Question, ticket: u64) {
        self.core.ask_all(self.id, question, ticket);
    }

    /// How many cores the server has.
    pub fn cores(&self) -> usize {
        self.core.cores()
    }

    /// Answers the HTTP request in hand. A second answer to one request is dropped.
    pub fn respond(&mut self, response: Response) {
        self.core.respond(self.id, response);
    }
}

//! One connection to the server, from its first byte to its last.
//!
//! ```text
//!   Upgrading ──101──▶ Greeting ──connection_established──▶ Subscribing ──subscription_succeeded──▶ Ready
//!        │             (Pusher)                                                                       ▲
//!        └──101──────────────────────────────────────────(plain WebSocket)────────────────────────────┘
//! ```
//!
//! Knows no scenario: what is heard goes to whoever drives it.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;
use stentor::ws::client::{ClientHandshake, ClientRequest};
use stentor::ws::{Event, Inflater, Input, Limits, MessageKind, Protocol, Reply, Role};

use super::target::{Target, Word};

/// The server is the one under test; what it sends us is bounded by what we asked for.
const LIMITS: Limits = Limits { message_bytes: 64 * 1024 * 1024 };

/// The key of every upgrade request, which is RFC 6455's own example (§1.3). Nothing caches on this machine, so it need not be
/// random; and a bare loop that answers all with one canned 101 can be measured with the same clients.
const KEY: [u8; 16] = *b"the sample nonce";

/// The text of a client's ping in the Pusher protocol.
pub(crate) const PUSHER_PING: &[u8] = br#"{"event":"pusher:ping","data":{}}"#;
pub(crate) const PUSHER_PONG: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

/// What a client keeps for its next message; a crowd of them stays small, and echoes of 16 KiB allocate nothing.
const MOST_KEPT_BYTES: usize = 32 * 1024;

/// The longest message that may be a word of the protocol rather than an event; longer ones are not looked into.
const LONGEST_WORD_BYTES: usize = 48;

/// Masking keys. They protect nothing on this machine, so they need to be cheap, not secret.
#[derive(Debug)]
pub(crate) struct Keys {
    state: u64,
}

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// The high half of a multiplicative sequence with full period over the odd numbers.
    pub(crate) fn next_key(&mut self) -> [u8; 4] {
        self.state = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let [.., a, b, c, d] = self.state.to_le_bytes();
        [a, b, c, d]
    }
}

/// What a connection has to say.
#[derive(Debug)]
pub(crate) enum Heard<'m> {
    /// It is open and subscribed.
    Ready,
    Message(&'m [u8]),
    /// It ended; nothing follows.
    Gone(String),
}

/// The half of a client that speaks, lent out while it listens.
#[derive(Debug)]
pub(crate) struct Voice<'a> {
    ws: &'a mut Protocol,
    out: &'a mut Vec<u8>,
    keys: &'a mut Keys,
}

impl Voice<'_> {
    /// Once the closing handshake has begun it does nothing.
    pub(crate) fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        let mut reply = Reply { bytes: self.out, masking_key: self.keys.next_key() };
        let _ = self.ws.send(kind, payload, &mut reply);
    }

    pub(crate) fn close(&mut self) {
        let mut reply = Reply { bytes: self.out, masking_key: self.keys.next_key() };
        let _ = self.ws.close(stentor::CloseCode::NORMAL, "", &mut reply);
    }
}

#[derive(Debug)]
enum Stage {
    Upgrading(Box<ClientHandshake>),
    Greeting,
    Subscribing,
    Ready,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    stage: Stage,
    ws: Protocol,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    /// The channel it is to subscribe to.
    channel: Option<Box<str>>,
    /// What the server's close frame said. It closes TCP, too (RFC 6455 §7.1.1), and until then we wait.
    farewell: Option<String>,
    /// Whether it offers permessage-deflate; then a server that does not agree is an error.
    is_compressing: bool,
}

impl Client {
    /// A connection under way; its request waits to be written.
    pub(crate) fn new(
        stream: TcpStream,
        target: &Target,
        channel: Option<Box<str>>,
        is_compressing: bool,
    ) -> io::Result<Self> {
        let request = ClientRequest {
            host: &target.address.to_string(),
            path_and_query: &target.path(),
            key: KEY,
            subprotocols: &[],
            offers_deflate: is_compressing,
            headers: &[],
        };
        let mut out = Vec::new();
        request.encode(&mut out).map_err(io::Error::other)?;
        let stage = Stage::Upgrading(Box::new(request.handshake()));
        Ok(Self {
            stream,
            stage,
            ws: Protocol::new(Role::Client),
            out,
            written: 0,
            channel,
            farewell: None,
            is_compressing,
        })
    }

    pub(crate) fn was_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    pub(crate) fn voice<'a>(&'a mut self, keys: &'a mut Keys) -> Voice<'a> {
        Voice { ws: &mut self.ws, out: &mut self.out, keys }
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                // Not connected is not connected yet: the socket says so when it is.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        if self.out.capacity() > MOST_KEPT_BYTES {
            self.out = Vec::new();
        }
        self.out.clear();
        Ok(())
    }

    /// Reads all that came. mio is edge-triggered: a short read is the end of it, unless the peer's end is behind it.
    pub(crate) fn read(
        &mut self,
        is_ending: bool,
        buffer: &mut [u8],
        listen: &mut Listen<'_>,
    ) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    let why = self.farewell.take();
                    let why = why.unwrap_or_else(|| "ended without a close frame".to_owned());
                    (listen.hear)(&mut self.voice(listen.keys), Heard::Gone(why));
                    return Ok(());
                }
                Ok(count) => {
                    *listen.received += count as u64;
                    self.take(&mut buffer[..count], listen)?;
                    if count < buffer.len() && !is_ending {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &mut [u8], listen: &mut Listen<'_>) -> io::Result<()> {
        let Stage::Upgrading(handshake) = &mut self.stage else {
            return self.take_frames(bytes, listen);
        };
        let Some(mut accepted) = handshake.receive(bytes).map_err(io::Error::other)? else {
            return Ok(());
        };
        if self.is_compressing && accepted.deflate.is_none() {
            return Err(io::Error::other("the server does not agree to permessage-deflate"));
        }
        self.ws = Protocol::new(Role::Client).with_deflate(accepted.deflate);
        self.stage = Stage::Greeting;
        if !listen.target.is_pusher() {
            self.become_ready(listen);
        }
        self.take_frames(&mut accepted.rest, listen)
    }

    fn become_ready(&mut self, listen: &mut Listen<'_>) {
        self.stage = Stage::Ready;
        (listen.hear)(&mut self.voice(listen.keys), Heard::Ready);
    }

    fn take_frames(&mut self, bytes: &mut [u8], listen: &mut Listen<'_>) -> io::Result<()> {
        let mut input = Input { bytes };
        loop {
            let masking_key = listen.keys.next_key();
            let mut reply = Reply { bytes: &mut self.out, masking_key };
            let inflater = &mut *listen.inflater;
            let event = self.ws.receive_with(inflater, &mut input, &LIMITS, &mut reply);
            match event.map_err(io::Error::other)? {
                None => return Ok(()),
                Some(Event::Message(message)) => self.take_message(message.bytes(), listen)?,
                Some(Event::Ping(_)) => *listen.pinged += 1,
                Some(Event::Pong(_)) => {}
                Some(Event::Close(Some(close))) => {
                    self.farewell = Some(format!("closed with {} {}", close.code.0, close.reason));
                }
                Some(Event::Close(None)) => {
                    self.farewell = Some("closed without a code".to_owned())
                }
            }
        }
    }

    fn take_message(&mut self, message: &[u8], listen: &mut Listen<'_>) -> io::Result<()> {
        if matches!(self.stage, Stage::Ready) {
            let is_ping = listen.target.is_pusher()
                && message.len() <= LONGEST_WORD_BYTES
                && Word::read(message) == Some(Word::Ping);
            if is_ping {
                self.answer_ping(listen);
            } else {
                (listen.hear)(&mut self.voice(listen.keys), Heard::Message(message));
            }
            return Ok(());
        }
        match (&self.stage, Word::read(message)) {
            (Stage::Greeting, Some(Word::Established { socket_id })) => {
                let Some(channel) = self.channel.take() else {
                    self.become_ready(listen);
                    return Ok(());
                };
                let mut subscribe = Vec::new();
                listen.target.subscribe(&channel, &socket_id, &mut subscribe);
                self.voice(listen.keys).send(MessageKind::Text, &subscribe);
                self.stage = Stage::Subscribing;
            }
            (Stage::Subscribing, Some(Word::Subscribed)) => self.become_ready(listen),
            (_, Some(Word::Ping)) => self.answer_ping(listen),
            (_, Some(Word::Failed { why })) => return Err(io::Error::other(why)),
            (stage, _) => {
                let message = String::from_utf8_lossy(message);
                return Err(io::Error::other(format!("unexpected while {stage:?}: {message}")));
            }
        }
        Ok(())
    }

    fn answer_ping(&mut self, listen: &mut Listen<'_>) {
        *listen.pinged += 1;
        self.voice(listen.keys).send(MessageKind::Text, PUSHER_PONG);
    }
}

/// Who listens, and what is needed to answer.
pub(crate) struct Listen<'a> {
    pub(crate) target: &'a Target,
    pub(crate) keys: &'a mut Keys,
    pub(crate) inflater: &'a mut Inflater,
    /// Bytes that came.
    pub(crate) received: &'a mut u64,
    /// Pings that came, of WebSocket or of Pusher; each is answered.
    pub(crate) pinged: &'a mut u64,
    pub(crate) hear: &'a mut dyn FnMut(&mut Voice<'_>, Heard<'_>),
}

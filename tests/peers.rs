//! Our client role against a server of another make: tungstenite, over loopback.
//!
//! Each test is a dialogue: what the server does on its thread, and what our side says and hears. The other direction
//! is `peers_server.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use stentor::ws::client::{ClientRequest, ResponseError};
use stentor::ws::{CloseCode, Event, Input, Limits, MessageKind, Protocol, Reply, Role, State};
use tungstenite::WebSocket;
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};

/// No socket waits longer than this for the other end.
const PATIENCE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits { message_bytes: 2 << 20 };

type Theirs = WebSocket<TcpStream>;

/// What our side heard, no longer borrowed.
#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Error(CloseCode),
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => match message.text() {
                Some(text) => Self::Text(text.to_owned()),
                None => Self::Binary(message.bytes().to_vec()),
            },
            Event::Ping(payload) => Self::Ping(payload.into_owned()),
            Event::Pong(payload) => Self::Pong(payload.into_owned()),
            Event::Close(close) => {
                Self::Close(close.map(|close| (close.code.0, close.reason.into_owned())))
            }
        }
    }
}

/// Carries bytes between a [`Protocol`] in the client role and a socket.
struct Driver {
    stream: TcpStream,
    protocol: Protocol,
    heard: VecDeque<Heard>,
    keys: u32,
}

impl Driver {
    /// Sends the request and reads the answer.
    fn open(
        mut stream: TcpStream,
        subprotocols: &[&str],
    ) -> Result<(Self, Option<String>), ResponseError> {
        let request = ClientRequest {
            host: "localhost",
            path_and_query: "/chat?x=1",
            key: *b"sixteen bytes it",
            subprotocols,
            offers_deflate: false,
            headers: &[("Origin", "http://localhost")],
        };
        let mut out = Vec::new();
        request.encode(&mut out).unwrap();
        stream.write_all(&out).unwrap();
        let mut handshake = request.handshake();
        let mut buffer = [0; 64];
        let accepted = loop {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server hung up inside the handshake");
            if let Some(accepted) = handshake.receive(&buffer[..count])? {
                break accepted;
            }
        };
        let protocol = Protocol::new(Role::Client);
        let mut driver = Self { stream, protocol, heard: VecDeque::new(), keys: 0 };
        driver.take(&mut accepted.rest.clone());
        Ok((driver, accepted.subprotocol))
    }

    /// Unlike any before it; that it can be guessed does no harm on loopback.
    fn next_key(&mut self) -> [u8; 4] {
        self.keys += 1;
        self.keys.wrapping_mul(0x9e37_79b9).to_be_bytes()
    }

    /// Lets the protocol say something, and sends it.
    fn say(&mut self, act: impl FnOnce(&mut Protocol, &mut Reply<'_>)) {
        let mut out = Vec::new();
        let masking_key = self.next_key();
        act(&mut self.protocol, &mut Reply { bytes: &mut out, masking_key });
        self.stream.write_all(&out).unwrap();
    }

    fn send_text(&mut self, text: &str) {
        self.say(|us, out| us.send(MessageKind::Text, text.as_bytes(), out).unwrap());
    }

    fn take(&mut self, bytes: &mut [u8]) {
        let mut input = Input { bytes };
        loop {
            let mut answers = Vec::new();
            let masking_key = self.next_key();
            let mut reply = Reply { bytes: &mut answers, masking_key };
            let event = self.protocol.receive(&mut input, &LIMITS, &mut reply);
            self.stream.write_all(&answers).unwrap();
            match event {
                Ok(None) => break,
                Ok(Some(event)) => self.heard.push_back(event.into()),
                Err(error) => self.heard.push_back(Heard::Error(error.close_code())),
            }
        }
    }

    /// The next thing that is heard.
    fn hear(&mut self) -> Heard {
        let mut buffer = vec![0; 8192];
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server hung up");
            self.take(&mut buffer[..count]);
        }
    }

    /// Waits for the end of the connection, which the server makes (RFC 6455 §7.1.1).
    fn hear_the_end(&mut self) {
        assert_eq!(self.protocol.state(), State::Closed);
        let rest = self.stream.read_to_end(&mut Vec::new());
        assert_eq!(rest.unwrap(), 0, "bytes after the close frame");
    }
}

/// Both ends of one connection on loopback.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    for socket in [&ours, &theirs] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    (ours, theirs)
}

/// Runs one dialogue: their part on a thread of its own, ours here.
fn talk(theirs: impl FnOnce(&mut Theirs) + Send + 'static, ours: impl FnOnce(&mut Driver)) {
    let (our_socket, their_socket) = sockets();
    let server = thread::spawn(move || theirs(&mut tungstenite::accept(their_socket).unwrap()));
    let (mut driver, _) = Driver::open(our_socket, &[]).unwrap();
    ours(&mut driver);
    drop(driver);
    server.join().unwrap();
}

/// Echoes messages until the closing handshake is done.
fn echo(theirs: &mut Theirs) {
    loop {
        match theirs.read() {
            Ok(message) if message.is_text() || message.is_binary() => {
                theirs.send(message).unwrap();
            }
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until the closing handshake is done; the close frame that came.
fn their_close(theirs: &mut Theirs) -> Option<(u16, String)> {
    let mut frame = None;
    loop {
        match theirs.read() {
            Ok(tungstenite::Message::Close(close)) => {
                frame = close.map(|close| (close.code.into(), close.reason.to_string()));
            }
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return frame,
            Err(error) => panic!("{error}"),
        }
    }
}

fn part(data: Data, payload: &'static [u8], is_final: bool) -> tungstenite::Message {
    tungstenite::Message::Frame(Frame::message(payload, OpCode::Data(data), is_final))
}

#[test]
fn messages_of_all_lengths_come_back() {
    talk(echo, |us| {
        for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let text = "é".repeat(length / 2);
            us.send_text(&text);
            assert!(us.hear() == Heard::Text(text), "text of {length} bytes");
            let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
            us.say(|us, out| us.send(MessageKind::Binary, &bytes, out).unwrap());
            assert!(us.hear() == Heard::Binary(bytes), "{length} bytes");
        }
        us.say(|us, out| us.close(CloseCode::NORMAL, "", out).unwrap());
        assert_eq!(us.hear(), Heard::Close(Some((1000, String::new()))));
        us.hear_the_end();
    });
}

#[test]
fn fragments_of_the_other_make_become_one_message() {
    talk(
        |theirs| {
            theirs.send(part(Data::Text, b"h\xc3", false)).unwrap();
            theirs.send(tungstenite::Message::Ping("between".into())).unwrap();
            theirs.send(part(Data::Continue, b"\xa9", false)).unwrap();
            theirs.send(part(Data::Continue, b"!", true)).unwrap();
            assert_eq!(theirs.read().unwrap(), tungstenite::Message::Pong("between".into()));
            echo(theirs);
        },
        |us| {
            assert_eq!(us.hear(), Heard::Ping(b"between".to_vec()));
            assert_eq!(us.hear(), Heard::Text("hé!".to_owned()));
            us.say(|us, out| us.close(CloseCode::NORMAL, "", out).unwrap());
            assert_eq!(us.hear(), Heard::Close(Some((1000, String::new()))));
        },
    );
}

#[test]
fn our_ping_is_answered() {
    talk(echo, |us| {
        us.say(|us, out| us.send_ping(&[7; 125], out).unwrap());
        assert_eq!(us.hear(), Heard::Pong(vec![7; 125]));
        us.say(|us, out| us.close(CloseCode::NORMAL, "", out).unwrap());
        assert_eq!(us.hear(), Heard::Close(Some((1000, String::new()))));
    });
}

#[test]
fn our_close_code_and_reason_arrive() {
    for code in [1000, 1001, 3000, 4999] {
        let theirs = move |theirs: &mut Theirs| {
            assert_eq!(their_close(theirs), Some((code, "çava".to_owned())));
        };
        talk(theirs, |us| {
            us.say(|us, out| us.close(CloseCode(code), "çava", out).unwrap());
            assert!(matches!(us.hear(), Heard::Close(Some((echoed, _))) if echoed == code));
            us.hear_the_end();
        });
    }
}

#[test]
fn close_without_a_code_arrives_without_one() {
    talk(
        |theirs| assert_eq!(their_close(theirs), None),
        |us| {
            us.say(|us, out| us.close(CloseCode(1005), "", out).unwrap());
            assert_eq!(us.hear(), Heard::Close(None));
            us.hear_the_end();
        },
    );
}

#[test]
fn their_close_is_heard_and_echoed() {
    talk(
        |theirs| {
            let reason = "later".into();
            theirs.close(Some(CloseFrame { code: TheirCode::Again, reason })).unwrap();
            let echoed = their_close(theirs).map(|(code, _)| code);
            assert_eq!(echoed, Some(1013));
        },
        |us| {
            assert_eq!(us.hear(), Heard::Close(Some((1013, "later".to_owned()))));
            us.hear_the_end();
        },
    );
}

#[test]
fn server_that_breaks_the_protocol_is_told_the_code() {
    for (bytes, code) in [
        (&b"\x81\x02\xc3\x28"[..], CloseCode::INVALID_PAYLOAD),
        (b"\xc1\x00", CloseCode::PROTOCOL_ERROR),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x20\x00\x01", CloseCode::MESSAGE_TOO_BIG),
    ] {
        talk(
            move |theirs| {
                theirs.get_mut().write_all(bytes).unwrap();
                assert_eq!(their_close(theirs).map(|(code, _)| code), Some(code.0));
            },
            |us| {
                assert_eq!(us.hear(), Heard::Error(code));
                assert_eq!(us.protocol.state(), State::Closed);
                // Their closing handshake needs no more of us than the close frame that is sent.
                us.stream.read_to_end(&mut Vec::new()).unwrap();
            },
        );
    }
}

/// What the server says to the request.
enum Doorman {
    Chooses(&'static str),
    Refuses,
}

impl Callback for Doorman {
    fn on_request(
        self,
        request: &Request,
        mut response: Response,
    ) -> Result<Response, ErrorResponse> {
        match self {
            Self::Chooses(subprotocol) => {
                assert_eq!(request.headers()["Sec-WebSocket-Protocol"], "pusher, chat");
                assert_eq!(request.uri(), "/chat?x=1");
                response
                    .headers_mut()
                    .insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
                Ok(response)
            }
            Self::Refuses => {
                let mut refusal = ErrorResponse::new(Some("no".to_owned()));
                *refusal.status_mut() = tungstenite::http::StatusCode::FORBIDDEN;
                Err(refusal)
            }
        }
    }
}

#[test]
fn subprotocol_is_agreed_on() {
    let (our_socket, their_socket) = sockets();
    let server = thread::spawn(move || {
        echo(&mut tungstenite::accept_hdr(their_socket, Doorman::Chooses("chat")).unwrap());
    });
    let (mut us, subprotocol) = Driver::open(our_socket, &["pusher", "chat"]).unwrap();
    assert_eq!(subprotocol.as_deref(), Some("chat"));
    us.say(|us, out| us.close(CloseCode::NORMAL, "", out).unwrap());
    assert_eq!(us.hear(), Heard::Close(Some((1000, String::new()))));
    server.join().unwrap();
}

#[test]
fn subprotocol_that_was_not_offered_fails_the_handshake() {
    let (our_socket, their_socket) = sockets();
    let server = thread::spawn(move || {
        // Their end may or may not see ours go; only what we make of the answer matters.
        let _ = tungstenite::accept_hdr(their_socket, Doorman::Chooses("other"));
    });
    let failed = Driver::open(our_socket, &["pusher", "chat"]).err();
    assert_eq!(failed, Some(ResponseError::Subprotocol));
    server.join().unwrap();
}

#[test]
fn refusal_is_heard_with_its_status() {
    let (our_socket, their_socket) = sockets();
    let server = thread::spawn(move || {
        assert!(tungstenite::accept_hdr(their_socket, Doorman::Refuses).is_err());
    });
    let refused = Driver::open(our_socket, &[]).err();
    assert_eq!(refused, Some(ResponseError::Status { status: 403 }));
    server.join().unwrap();
}

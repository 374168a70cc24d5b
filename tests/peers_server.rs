//! Our server against a client of another make: tungstenite, over loopback. The other direction is `peers.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use stentor::{
    CloseCode, Conn, Handler, Message, Options, Request, Response, Server, Stopper, Upgrade, ws,
};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};
use tungstenite::{Error, HandshakeError, WebSocket};

/// Nobody waits longer than this for the other end.
const PATIENCE: Duration = Duration::from_secs(20);

const LIMITS: ws::Limits = ws::Limits { message_bytes: 2 << 20 };

/// Echoes messages. `close CODE REASON` closes. Pages of elsewhere.example may not connect.
struct Echo;

impl Handler for Echo {
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade {
        if request.header("Origin") == Some("https://elsewhere.example") {
            return Upgrade::Refuse(Response::text(403, "not from there\n"));
        }
        let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default();
        let subprotocol = offered.split(", ").find(|offered| *offered == "chat");
        Upgrade::Accept { subprotocol: subprotocol.map(str::to_owned), headers: Vec::new() }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let Some(order) = message.text().and_then(|text| text.strip_prefix("close ")) else {
            return conn.send(message);
        };
        let (code, reason) = order.split_once(' ').unwrap_or((order, ""));
        conn.close(CloseCode(code.parse().unwrap_or(1011)), reason);
    }
}

/// A server on two cores, stopped and awaited when it goes out of scope.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    ended: mpsc::Receiver<std::io::Result<()>>,
}

impl Running {
    fn start() -> Self {
        let options =
            Options { cores: 2, ws: LIMITS, shutdown_linger: Duration::ZERO, ..Options::default() };
        let server = Server::bind_with("127.0.0.1:0", options).unwrap();
        let (address, stopper) = (server.local_addr(), server.stopper());
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(server.run(|_core| Echo)));
        Self { address, stopper, ended }
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn connect(&self) -> WebSocket<TcpStream> {
        let url = format!("ws://{}/", self.address);
        tungstenite::client(url, self.socket()).unwrap().0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.ended.recv_timeout(PATIENCE);
        if !thread::panicking() {
            ended.expect("the server ends in time").expect("the server ran well");
        }
    }
}

fn part(data: Data, payload: &'static [u8], is_final: bool) -> tungstenite::Message {
    tungstenite::Message::Frame(Frame::message(payload, OpCode::Data(data), is_final))
}

/// The code and the reason of the close frame that comes next; then the end of the connection.
fn closed_with(client: &mut WebSocket<TcpStream>) -> Option<(u16, String)> {
    let tungstenite::Message::Close(close) = client.read().unwrap() else {
        panic!("something else than a close frame");
    };
    // RFC 6455 §7.1.1: the server ends the TCP connection, and the client waits for that.
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    close.map(|close| (close.code.into(), close.reason.to_string()))
}

/// Checks what code a client hears after it sent these bytes.
fn check_fails(bytes: &[u8], code: CloseCode) {
    let server = Running::start();
    let mut bystander = server.connect();
    let mut client = server.connect();
    client.get_mut().write_all(bytes).unwrap();
    assert_eq!(closed_with(&mut client).map(|(code, _)| code), Some(code.0), "{bytes:02x?}");
    bystander.send("still here".into()).unwrap();
    assert_eq!(bystander.read().unwrap(), "still here".into());
}

#[test]
fn messages_of_all_lengths_come_back() {
    let server = Running::start();
    let mut client = server.connect();
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        for message in [
            tungstenite::Message::text("é".repeat(length / 2)),
            tungstenite::Message::binary(vec![0xa5; length]),
        ] {
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{length} bytes");
        }
    }
}

#[test]
fn fragments_come_back_as_one_message() {
    let server = Running::start();
    let mut client = server.connect();
    client.send(part(Data::Text, b"h\xc3", false)).unwrap();
    client.send(tungstenite::Message::Ping("between".into())).unwrap();
    client.send(part(Data::Continue, b"\xa9", false)).unwrap();
    client.send(part(Data::Continue, b"!", true)).unwrap();
    assert_eq!(client.read().unwrap(), tungstenite::Message::Pong("between".into()));
    assert_eq!(client.read().unwrap(), "hé!".into());
}

#[test]
fn close_of_the_client_is_echoed() {
    let server = Running::start();
    for code in [1000, 1001, 3000, 4999] {
        let mut client = server.connect();
        let close = CloseFrame { code: TheirCode::from(code), reason: "bye".into() };
        client.close(Some(close)).unwrap();
        assert_eq!(closed_with(&mut client).map(|(code, _)| code), Some(code));
    }
    let mut client = server.connect();
    client.close(None).unwrap();
    assert_eq!(closed_with(&mut client), None);
}

#[test]
fn close_of_the_server_arrives_with_code_and_reason() {
    let server = Running::start();
    let mut client = server.connect();
    client.send("close 4001 go away".into()).unwrap();
    assert_eq!(closed_with(&mut client), Some((4001, "go away".to_owned())));
}

#[test]
fn stopping_closes_with_going_away() {
    let server = Running::start();
    let mut client = server.connect();
    client.send("here".into()).unwrap();
    assert_eq!(client.read().unwrap(), "here".into());
    server.stopper.stop();
    assert_eq!(closed_with(&mut client).map(|(code, _)| code), Some(1001));
}

#[test]
fn broken_frames_close_with_their_code_and_nobody_else_notices() {
    check_fails(b"\x81\x02hi", CloseCode::PROTOCOL_ERROR);
    check_fails(b"\xc1\x80\0\0\0\0", CloseCode::PROTOCOL_ERROR);
    check_fails(b"\x81\x81\0\0\0\0\xff", CloseCode::INVALID_PAYLOAD);
    check_fails(b"\x82\xff\0\0\0\0\0\x20\0\x01\0\0\0\0", CloseCode::MESSAGE_TOO_BIG);
}

#[test]
fn subprotocol_is_agreed_on() {
    let server = Running::start();
    let mut request = format!("ws://{}/", server.address).into_client_request().unwrap();
    let offer = "pusher, chat".parse().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let (_, response) = tungstenite::client(request, server.socket()).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "chat");
}

#[test]
fn other_version_is_refused_with_426_and_ours() {
    let server = Running::start();
    let mut socket = server.socket();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
    assert!(
        response.to_ascii_lowercase().contains("\r\nsec-websocket-version: 13\r\n"),
        "{response}"
    );
}

#[test]
fn origin_that_is_not_accepted_is_refused_with_403() {
    let server = Running::start();
    let mut request = format!("ws://{}/", server.address).into_client_request().unwrap();
    request.headers_mut().insert("Origin", "https://elsewhere.example".parse().unwrap());
    let refused = tungstenite::client(request.clone(), server.socket());
    let Err(HandshakeError::Failure(Error::Http(response))) = refused else {
        panic!("not refused over HTTP");
    };
    assert_eq!(response.status(), 403);
    request.headers_mut().insert("Origin", "https://here.example".parse().unwrap());
    tungstenite::client(request, server.socket()).unwrap();
}

//! A WebSocket to a server, for one thread that waits: the client role of [`crate::ws`] over TCP or TLS.
//!
//! ```text
//!  server ──▶ TcpStream ──▶ (TLS) ──▶ ws::Protocol ──▶ Received
//!         ◀──           ◀──       ◀── pongs, close frame, send()
//! ```

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::trust::Trust;
use crate::ws::client::{Accepted, ClientRequest};
use crate::ws::{CloseCode, Event, Inflater, Input, Limits, MessageKind, Protocol, Reply, Role};

/// How long a server may take to accept, and to answer the opening handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server may send in one message; servers of the protocol send far less.
const LIMITS: Limits = Limits { message_bytes: 64 * 1024 * 1024 };

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message.
    Text(String),
    /// A sign of life, and nothing more.
    Life,
    /// The server's close frame, or the end of TCP without one.
    Closed(Option<(u16, String)>),
    /// Nothing, for as long as was to be waited.
    Silence,
}

/// An open WebSocket.
pub(super) struct Socket {
    stream: Stream,
    protocol: Protocol,
    inflater: Inflater,
    received: VecDeque<Received>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Others may hold the same socket, to wake whoever waits on it: TCP ends all the same.
impl Drop for Socket {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.tcp().shutdown(Shutdown::Both);
    }
}

impl Socket {
    /// Connects and shakes hands. `target` is the path and query, `origin` the page to come from; `guard` is shown the
    /// TCP socket once there is one.
    pub(super) fn open(
        address: &Address,
        trust: &Trust,
        target: &str,
        origin: Option<&str>,
        guard: impl FnOnce(&TcpStream) -> io::Result<()>,
    ) -> io::Result<Self> {
        let tcp = connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        guard(&tcp)?;
        let mut stream =
            if address.is_tls { secure(tcp, &address.host, trust)? } else { Stream::Plain(tcp) };
        let accepted = shake_hands(&mut stream, address, target, origin)?;
        let protocol = Protocol::new(Role::Client).with_deflate(accepted.deflate);
        let (inflater, received) = (Inflater::default(), VecDeque::new());
        let mut socket = Self { stream, protocol, inflater, received };
        socket.take(accepted.rest)?;
        Ok(socket)
    }

    /// The next thing that comes within `patience`.
    pub(super) fn receive(&mut self, patience: Duration) -> io::Result<Received> {
        self.tcp().set_read_timeout(Some(patience))?;
        loop {
            if let Some(received) = self.received.pop_front() {
                return Ok(received);
            }
            let mut bytes = vec![0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Received::Closed(None)),
                Ok(length) => {
                    bytes.truncate(length);
                    self.take(bytes)?;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(Received::Silence),
                    ErrorKind::Interrupted => {}
                    // TLS that ends without its own goodbye, and TCP that is reset, are ends like any other.
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                        return Ok(Received::Closed(None));
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    pub(super) fn send(&mut self, text: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        let sent = self.protocol.send(MessageKind::Text, text, &mut reply(&mut out)?);
        // Refused only once the closing handshake has begun, and then the next `receive` says so.
        if sent.is_ok() { self.write(&out) } else { Ok(()) }
    }

    /// Says goodbye, and does not wait for the answer.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        let closed = self.protocol.close(CloseCode::NORMAL, "", &mut reply(&mut out)?);
        if closed.is_ok() { self.write(&out) } else { Ok(()) }
    }

    fn take(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        let mut input = Input { bytes: &mut bytes };
        let mut out = Vec::new();
        let result = loop {
            let mut reply = reply(&mut out)?;
            match self.protocol.receive_with(&mut self.inflater, &mut input, &LIMITS, &mut reply) {
                Ok(Some(event)) => self.received.push_back(received(event)),
                Ok(None) => break Ok(()),
                Err(error) => {
                    break Err(io::Error::new(ErrorKind::InvalidData, error));
                }
            }
        };
        self.write(&out)?;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

fn received(event: Event<'_>) -> Received {
    match event {
        Event::Message(message) => {
            Received::Text(String::from_utf8_lossy(message.bytes()).into_owned())
        }
        Event::Ping(_) | Event::Pong(_) => Received::Life,
        Event::Close(frame) => {
            Received::Closed(frame.map(|frame| (frame.code.0, frame.reason.into_owned())))
        }
    }
}

/// Tries each address of the host, as browsers do.
fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for candidate in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, PATIENCE) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn secure(tcp: TcpStream, host: &str, trust: &Trust) -> io::Result<Stream> {
    let config = ClientConfig::builder().with_root_certificates(trust.roots());
    let config = config.with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(session, tcp))))
}

/// RFC 6455 §5.3: a masking key must not be guessed, and each frame has its own.
fn reply(bytes: &mut Vec<u8>) -> io::Result<Reply<'_>> {
    Ok(Reply { bytes, masking_key: random()? })
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Gives back what came after the head of the answer.
fn shake_hands(
    stream: &mut Stream,
    address: &Address,
    target: &str,
    origin: Option<&str>,
) -> io::Result<Accepted> {
    let authority = address.authority();
    let agent = ("User-Agent", concat!("stentor/", env!("CARGO_PKG_VERSION")));
    let headers: Vec<_> =
        origin.map(|origin| ("Origin", origin)).into_iter().chain([agent]).collect();
    let request = ClientRequest {
        host: &authority,
        path_and_query: target,
        key: random()?,
        subprotocols: &[],
        offers_deflate: true,
        headers: &headers,
    };
    let mut bytes = Vec::new();
    request.encode(&mut bytes).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut handshake = request.handshake();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the server hung up before it answered",
            ));
        }
        let answered = handshake.receive(&chunk[..length]);
        if let Some(accepted) =
            answered.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?
        {
            return Ok(accepted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use tungstenite::protocol::CloseFrame;
    use tungstenite::{Message, WebSocket};

    use super::*;

    type Peer = WebSocket<TcpStream>;

    /// A server of another make, and our client connected to it.
    fn with_server(serve: impl FnOnce(&mut Peer) + Send + 'static) -> (Socket, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let server = thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            serve(&mut tungstenite::accept(tcp).unwrap());
        });
        let socket = Socket::open(&address, &Trust::Public, "/app/key", None, |_| Ok(())).unwrap();
        (socket, server)
    }

    #[test]
    fn messages_pass_both_ways() {
        let (mut socket, server) = with_server(|peer| {
            peer.send(Message::text("héllo")).unwrap();
            assert_eq!(peer.read().unwrap(), Message::text("{}"));
        });
        assert_eq!(socket.receive(PATIENCE).unwrap(), Received::Text("héllo".to_owned()));
        socket.send(b"{}").unwrap();
        server.join().unwrap();
    }

    #[test]
    fn pings_are_answered() {
        let (mut socket, server) = with_server(|peer| {
            peer.send(Message::Ping("abc".into())).unwrap();
            assert_eq!(peer.read().unwrap(), Message::Pong("abc".into()));
        });
        assert_eq!(socket.receive(PATIENCE).unwrap(), Received::Life);
        server.join().unwrap();
    }

    #[test]
    fn the_close_code_and_its_reason_are_told() {
        let (mut socket, server) = with_server(|peer| {
            let frame = CloseFrame { code: 4200.into(), reason: "later".into() };
            peer.close(Some(frame)).unwrap();
            assert!(peer.read().unwrap().is_close());
        });
        let expected = Received::Closed(Some((4200, "later".to_owned())));
        assert_eq!(socket.receive(PATIENCE).unwrap(), expected);
        server.join().unwrap();
    }

    #[test]
    fn an_end_without_a_close_frame_is_an_end() {
        let (mut socket, server) = with_server(|_| {});
        server.join().unwrap();
        assert_eq!(socket.receive(PATIENCE).unwrap(), Received::Closed(None));
    }

    #[test]
    fn silence_is_told_after_its_time() {
        let (mut socket, server) = with_server(|peer| {
            assert!(peer.read().unwrap().is_close());
        });
        assert_eq!(socket.receive(Duration::from_millis(1)).unwrap(), Received::Silence);
        socket.close().unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_refuses_says_with_what() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let server = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            assert!(tcp.read(&mut head).unwrap() > 0);
            tcp.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
        });
        let error = Socket::open(&address, &Trust::Public, "/", None, |_| Ok(())).err().unwrap();
        assert!(error.to_string().contains("404"), "{error}");
        server.join().unwrap();
    }
}

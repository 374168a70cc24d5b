//! One end of a connection, in as few bytes as it goes: a socket, how far it is, and a pointer to what is incomplete. Buffers are its
//! thread's. Its first bytes fit into any socket's buffer, so nothing waits to be written.
//!
//! ```text
//!   Connecting ─▶ Upgrading ──101──▶ Greeting ──established──▶ Subscribing ──succeeded──▶ Ready
//! ```

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol as Transport, SockRef, Socket, Type};
use stentor::ws::client::{ClientHandshake, ClientRequest};
use stentor::ws::{Event, Input, Limits, MessageKind, Protocol, Reply, Role};

use super::super::client::{Keys, PUSHER_PONG};
use super::super::target::{Target, Word};

const LIMITS: Limits = Limits { message_bytes: 64 * 1024 };

/// What an end has to say.
pub(crate) enum Heard<'m> {
    /// It is subscribed.
    Ready,
    /// An event.
    Event(&'m [u8]),
}

/// What an end needs of its thread while it works.
pub(crate) struct Tools<'a> {
    pub(crate) target: &'a Target,
    /// The server's address as a client names it.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) keys: &'a mut Keys,
    pub(crate) buffer: &'a mut [u8],
    pub(crate) out: &'a mut Vec<u8>,
    /// The channel of this end.
    pub(crate) channel: &'a dyn Fn() -> String,
    pub(crate) hear: &'a mut dyn FnMut(Heard<'_>),
}

enum Stage {
    Connecting,
    Upgrading(Box<ClientHandshake>),
    Greeting,
    Subscribing,
    Ready,
}

/// One connection, seen from its client.
pub(crate) struct End {
    pub(crate) stream: TcpStream,
    stage: Stage,
    ws: Protocol,
}

impl End {
    /// Begins to connect from this address and port. To name the port spares the kernel its search for a free one, which grows linear
    /// when half of them are taken. `None`: somebody has that port.
    pub(crate) fn connect(to: SocketAddr, from: SocketAddrV4) -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Transport::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.bind(&SocketAddr::V4(from).into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(None),
            result => result?,
        }
        match socket.connect(&to.into()) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                Err(error)
            }
            _ => {
                let stream = TcpStream::from_std(socket.into());
                Ok(Some(Self { stream, stage: Stage::Connecting, ws: Protocol::new(Role::Client) }))
            }
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// Ends it by a reset, so that neither side has to remember it.
    pub(crate) fn cut(self) {
        // Where that is refused, closing will do.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Something came, or there is room to write.
    pub(crate) fn work(&mut self, tools: &mut Tools<'_>) -> io::Result<()> {
        if matches!(self.stage, Stage::Connecting) {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            self.ask(tools)?;
        }
        loop {
            match self.stream.read(tools.buffer) {
                Ok(0) => return Err(io::Error::other("the server ended it")),
                Ok(count) => {
                    let is_all = count < tools.buffer.len();
                    self.take(count, tools)?;
                    if is_all {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(&mut self, tools: &mut Tools<'_>) -> io::Result<()> {
        let mut key = [0; 16];
        key.chunks_mut(4).for_each(|part| part.copy_from_slice(&tools.keys.next_key()));
        let (host, path_and_query) = (tools.host, tools.path);
        let request = ClientRequest {
            host,
            path_and_query,
            key,
            subprotocols: &[],
            headers: &[],
            offers_deflate: false,
        };
        tools.out.clear();
        request.encode(tools.out).map_err(io::Error::other)?;
        self.stage = Stage::Upgrading(Box::new(request.handshake()));
        self.write(tools.out)
    }

    fn take(&mut self, count: usize, tools: &mut Tools<'_>) -> io::Result<()> {
        let buffer = std::mem::take(&mut tools.buffer);
        let result = match &mut self.stage {
            Stage::Upgrading(handshake) => match handshake.receive(&buffer[..count]) {
                Ok(None) => Ok(()),
                Ok(Some(mut accepted)) => {
                    self.stage = Stage::Greeting;
                    self.take_frames(&mut accepted.rest, tools)
                }
                Err(error) => Err(io::Error::other(error)),
            },
            _ => self.take_frames(&mut buffer[..count], tools),
        };
        tools.buffer = buffer;
        result
    }

    fn take_frames(&mut self, bytes: &mut [u8], tools: &mut Tools<'_>) -> io::Result<()> {
        let mut input = Input { bytes };
        loop {
            tools.out.clear();
            let mut reply = Reply { bytes: tools.out, masking_key: tools.keys.next_key() };
            match self.ws.receive(&mut input, &LIMITS, &mut reply).map_err(io::Error::other)? {
                None => return self.write(tools.out),
                Some(Event::Message(message)) => {
                    let message = message.bytes().to_vec();
                    self.take_message(&message, tools)?;
                }
                Some(Event::Ping(_) | Event::Pong(_)) => self.write(tools.out)?,
                Some(Event::Close(close)) => {
                    return Err(io::Error::other(format!("the server closed it: {close:?}")));
                }
            }
        }
    }

    fn take_message(&mut self, message: &[u8], tools: &mut Tools<'_>) -> io::Result<()> {
        // Of an event that came when it is ready nothing is read but its payload.
        let word = if self.is_ready() && !message.starts_with(br#"{"event":"pusher:"#) {
            None
        } else {
            Word::read(message)
        };
        match (&self.stage, word) {
            (_, Some(Word::Ping)) => self.say(PUSHER_PONG, tools),
            (Stage::Ready, None) => {
                (tools.hear)(Heard::Event(message));
                Ok(())
            }
            (Stage::Greeting, Some(Word::Established { socket_id })) => {
                let mut subscribe = Vec::new();
                tools.target.subscribe(&(tools.channel)(), &socket_id, &mut subscribe);
                self.stage = Stage::Subscribing;
                self.say(&subscribe, tools)
            }
            (Stage::Subscribing, Some(Word::Subscribed)) => {
                self.stage = Stage::Ready;
                (tools.hear)(Heard::Ready);
                Ok(())
            }
            _ => Err(io::Error::other(format!("unexpected: {}", String::from_utf8_lossy(message)))),
        }
    }

    fn say(&mut self, text: &[u8], tools: &mut Tools<'_>) -> io::Result<()> {
        tools.out.clear();
        let mut reply = Reply { bytes: tools.out, masking_key: tools.keys.next_key() };
        self.ws.send(MessageKind::Text, text, &mut reply).map_err(io::Error::other)?;
        self.write(tools.out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.stream.write(bytes)? {
            count if count == bytes.len() => Ok(()),
            count => {
                Err(io::Error::other(format!("the socket took {count} of {} bytes", bytes.len())))
            }
        }
    }
}

/// Where the ends of a thread come from: an address of this machine for each thread, so that no two ends ask for one port.
pub(crate) fn source(thread: usize) -> Ipv4Addr {
    let [.., high, low] = thread.to_be_bytes();
    Ipv4Addr::new(127, 64, high, low)
}

//! The client role under the Autobahn test suite: each case of its fuzzing server, one connection after the other.
//!
//! ```text
//!   /getCaseCount ──▶ N          /runCase?case=1 … N: what comes goes back          /updateReports: the suite writes its reports
//! ```
//!
//! Must not know what a case is about: the suite judges, and `cargo verify autobahn-client` reads its verdicts. By hand:
//! `cargo run --release --example autobahn_client -- 127.0.0.1:9001 stentor`

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use stentor::ws::client::{Accepted, ClientRequest};
use stentor::ws::{
    Compression, Deflater, Event, Inflater, Input, Limits, Message, Protocol, Reply, Role,
};

/// How long the suite may neither send nor take a byte, before a case is broken off. It bounds each case itself, in 1 to 480 s; its own
/// pauses last 2 s at most, but for the moment in which it writes a thousand reports.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest message of the suite.
const LIMITS: Limits = Limits { message_bytes: 16 * 1024 * 1024 };
/// Everything is compressed if the suite agrees to it, the shortest message too.
const COMPRESSION: Compression = Compression { threshold_bytes: 0, level: 6 };
const READ_BYTES: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, agent] = &*arguments else {
        return Err(io::Error::other("usage: autobahn_client HOST:PORT AGENT"));
    };
    let mut client = Client::new(address);
    let mut count = String::new();
    client.talk("/getCaseCount", &mut |message| {
        count = message.text().unwrap_or_default().to_owned();
        Then::Listen
    })?;
    let count: usize = count
        .parse()
        .map_err(|_| io::Error::other(format!("there are `{count}` cases: not a number")))?;
    let mut broken = 0;
    for case in 1..=count {
        let path = format!("/runCase?case={case}&agent={agent}");
        if let Err(error) = client.talk(&path, &mut |_| Then::Echo) {
            broken += 1;
            writeln!(io::stderr(), "the {case}th case of {count} broke off: {error}")?;
        }
    }
    client.talk(&format!("/updateReports?agent={agent}"), &mut |_| Then::Listen)?;
    match broken {
        0 => writeln!(io::stdout(), "{count} cases"),
        _ => Err(io::Error::other(format!("{broken} of {count} cases broke off"))),
    }
}

/// What becomes of a message that was heard.
enum Then {
    Echo,
    Listen,
}

/// What all connections share.
struct Client<'a> {
    address: &'a str,
    inflater: Inflater,
    deflater: Deflater,
    buffer: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(address: &'a str) -> Self {
        Self {
            address,
            inflater: Inflater::default(),
            deflater: Deflater::new(COMPRESSION),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// One connection, from the request until the server ends TCP (RFC 6455 §7.1.1): also after we failed it.
    fn talk(&mut self, path: &str, hear: &mut dyn FnMut(&Message<'_>) -> Then) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut accepted = self.open(&mut stream, path)?;
        let mut protocol = Protocol::new(Role::Client).with_deflate(accepted.deflate);
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut ended = self.take(&mut accepted.rest, &mut protocol, &mut stream, hear);
        while ended.is_ok() {
            ended = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.take(&mut buffer[..count], &mut protocol, &mut stream, hear),
                Err(error) => Err(error),
            };
        }
        self.buffer = buffer;
        match ended {
            // The suite may vanish with our bytes unread: its verdict stands.
            Err(error) if has_vanished(&error) => Ok(()),
            ended => ended,
        }
    }

    fn open(&self, stream: &mut TcpStream, path: &str) -> io::Result<Accepted> {
        let request = ClientRequest {
            host: self.address,
            path_and_query: path,
            key: random()?,
            subprotocols: &[],
            offers_deflate: true,
            headers: &[],
        };
        let mut head = Vec::new();
        request.encode(&mut head).map_err(io::Error::other)?;
        stream.write_all(&head)?;
        let mut handshake = request.handshake();
        let mut part = [0; 1024];
        loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Err(io::Error::other("the server ended the opening handshake"));
            }
            if let Some(accepted) = handshake.receive(&part[..count]).map_err(io::Error::other)? {
                return Ok(accepted);
            }
        }
    }

    /// Takes what came, and writes what it leads to: echoes, pongs, a close frame.
    fn take(
        &mut self,
        bytes: &mut [u8],
        protocol: &mut Protocol,
        stream: &mut TcpStream,
        hear: &mut dyn FnMut(&Message<'_>) -> Then,
    ) -> io::Result<()> {
        let mut input = Input { bytes };
        let mut out = Vec::new();
        loop {
            let mut reply = Reply { bytes: &mut out, masking_key: random()? };
            match protocol.receive_with(&mut self.inflater, &mut input, &LIMITS, &mut reply) {
                Ok(Some(Event::Message(message))) => {
                    if let Then::Echo = hear(&message) {
                        let (kind, payload) = (message.kind(), message.bytes());
                        protocol
                            .send_with(&mut self.deflater, kind, payload, &mut reply)
                            .map_err(io::Error::other)?;
                    }
                }
                // What an error or a close frame earns is in the reply, and the suite looks at it.
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => return Ok(()),
            }
            stream.write_all(&out)?;
            out.clear();
        }
    }
}

fn has_vanished(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Fresh for each frame and each handshake, and not to be guessed (RFC 6455 §4.1, §5.3).
fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

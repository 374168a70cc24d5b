//! A server in a thread, and a client that never waits without a deadline.
//!
//! Knows bytes and HTTP answers, no WebSocket frames: those who speak them bring a `ws::Protocol`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use stentor::metrics::Metrics;
use stentor::{Handler, Options, Publisher, Reviewer, Server, Stopper};

/// Far longer than anything here takes: whoever waits this long has found a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Two cores whatever the machine has, and everything else as it comes.
pub(crate) fn options() -> Options {
    Options { cores: 2, shutdown_linger: Duration::ZERO, ..Options::default() }
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    address: SocketAddr,
    stopper: Stopper,
    publisher: Publisher,
    reviewer: Reviewer,
    metrics: Metrics,
    ended: mpsc::Receiver<io::Result<()>>,
}

impl Running {
    /// Starts a server on a free port.
    pub(crate) fn start<H: Handler>(
        options: Options,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Self {
        let server = Server::bind_with("127.0.0.1:0", options).unwrap();
        let (address, stopper) = (server.local_addr(), server.stopper());
        let (publisher, metrics) = (server.publisher(), server.metrics());
        let reviewer = server.reviewer();
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(server.run(make)));
        Self { address, stopper, publisher, reviewer, metrics, ended }
    }

    /// Publishes from this thread.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Has all connections reviewed.
    pub(crate) fn review(&self) {
        self.reviewer.review();
    }

    /// What the cores count.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begins to stop it.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let end = self.ended.recv_timeout(PATIENCE);
        // A test that fails already has more to say than this.
        if !thread::panicking() {
            end.expect("the server ends when it is stopped").unwrap();
        }
    }
}

/// One connection to a server.
pub(crate) struct Client {
    /// For those who read or write in another thread, too.
    pub(crate) stream: TcpStream,
    /// What was read past the last answer.
    unread: Vec<u8>,
}

/// One HTTP response.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and all fields, without the empty line.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Whether the server said that the connection ends.
    pub(crate) fn says_close(&self) -> bool {
        self.head.lines().any(|line| line == "Connection: close")
    }
}

impl Client {
    /// A new connection.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Our own end.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what the server may refuse before it has come whole: that it stops reading is no fault.
    pub(crate) fn offer(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether bytes or the end come within the time. None are taken.
    pub(crate) fn hears_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        !self.unread.is_empty() || self.stream.peek(&mut [0]).is_ok()
    }

    /// Some bytes; none at the end of the server's side.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.read_more(deadline());
        }
        std::mem::take(&mut self.unread)
    }

    /// One response with its body.
    pub(crate) fn read_answer(&mut self) -> Answer {
        let mut answer = self.read_head();
        let length = answer.head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        answer.body = String::from_utf8(self.read_exactly(length)).unwrap();
        answer
    }

    /// One response without a body: the answer to HEAD, or an interim one.
    pub(crate) fn read_head(&mut self) -> Answer {
        let deadline = deadline();
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            assert!(self.read_more(deadline), "the end, after {:?}", self.text());
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).take(end).collect()).unwrap();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Answer { status: status.expect("a status line"), head, body: String::new() }
    }

    /// So many bytes.
    pub(crate) fn read_exactly(&mut self, bytes: usize) -> Vec<u8> {
        let deadline = deadline();
        while self.unread.len() < bytes {
            assert!(self.read_more(deadline), "the end, after {:?}", self.text());
        }
        self.unread.drain(..bytes).collect()
    }

    /// All that comes before the server finishes its side.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let deadline = deadline();
        while self.read_more(deadline) {}
        std::mem::take(&mut self.unread)
    }

    /// False at the end of the server's side.
    fn read_more(&mut self, deadline: Instant) -> bool {
        let left = deadline.checked_duration_since(now()).filter(|left| !left.is_zero());
        let left = left.unwrap_or_else(|| panic!("{PATIENCE:?} passed, after {:?}", self.text()));
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 16 * 1024];
        let bytes = match self.stream.read(&mut buffer) {
            Ok(bytes) => bytes,
            Err(error) => panic!("{error}, after {:?}", self.text()),
        };
        self.unread.extend_from_slice(&buffer[..bytes]);
        bytes > 0
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

fn deadline() -> Instant {
    now() + PATIENCE
}

#[expect(clippy::disallowed_methods, reason = "a test on real sockets waits in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

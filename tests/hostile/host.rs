//! The server of these tests, where they find what it counts and what memory it takes, and the bystander.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stentor::metrics::{Counter, Metrics};
use stentor::{CloseCode, Conn, Handler, Message, Options, Request, Response};

use crate::process::ServerProcess;
use crate::support::{Answer, Client, PATIENCE, Running, options};
use crate::ws_client::WsClient;

/// The longest that an echo takes, whatever others do, on a machine that has much else to do. One that waits its turn among
/// the others takes milliseconds.
const LONGEST: Duration = Duration::from_secs(2);

/// What an echo may take beside a flood in any case: the machine may have had something better to do.
const NOTHING: Duration = Duration::from_millis(500);

/// One core: peers and bystanders cannot be apart.
pub(crate) fn one_core() -> Options {
    Options { cores: 1, ..options() }
}

/// Does what its clients say: `sub t`, `pub t text`, `close`; the rest is echoed. Over HTTP it tells its counters.
pub(crate) struct Host {
    /// Where over HTTP it is asked what it counts.
    metrics: Option<Metrics>,
}

impl Host {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { metrics: Some(metrics.clone()) }
    }

    /// In threads of this process.
    pub(crate) fn start(options: Options) -> Running {
        Running::start(options, |_| Self { metrics: None })
    }
}

impl Handler for Host {
    fn on_request(&mut self, conn: &mut Conn<'_>, _: &Request<'_>) {
        let lines = self.metrics.iter().flat_map(|metrics| {
            Counter::ALL.iter().map(|it| format!("{} {}\n", it.name(), metrics.total(*it)))
        });
        conn.respond(Response::text(200, lines.collect::<String>()));
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let text = message.text().unwrap_or_default();
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "sub" => conn.subscribe(rest).unwrap(),
            "pub" => {
                let (topic, event) = rest.split_once(' ').unwrap();
                conn.publish(topic, event).unwrap();
            }
            "close" => conn.close(CloseCode::NORMAL, ""),
            _ => conn.send(message),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        conn.send(format!("subscribed {topic}"));
    }
}

/// A server in a process of its own.
pub(crate) struct Child(pub(crate) ServerProcess);

impl Child {
    /// Starts the test of that name as a server.
    pub(crate) fn start(test: &str) -> Self {
        Self(ServerProcess::start(test))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn open(&self) -> WsClient {
        WsClient::upgrade(self.connect())
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let mut client = self.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = client.read_answer();
        counted(&answer, counter)
    }

    /// Stops the process as it stands, lets `act` happen, and has it go on.
    pub(crate) fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP).unwrap();
        while !self.is_stopped() {
            std::thread::yield_now();
        }
        let outcome = act();
        self.signal(Signal::CONT).unwrap();
        outcome
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Whether each thread of the process has come to a stop.
    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        threads.map(|thread| thread.unwrap().path().join("stat")).all(|path| {
            let stat = std::fs::read_to_string(path).unwrap();
            // The state stands behind the name, which may contain anything.
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        })
    }

    /// The most memory that the process ever had, in bytes.
    pub(crate) fn peak_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

/// What an answer says of a counter.
pub(crate) fn counted(answer: &Answer, counter: Counter) -> u64 {
    let mut words = answer.body.lines().filter_map(|line| line.split_once(' '));
    words.find(|(name, _)| *name == counter.name()).unwrap().1.parse().unwrap()
}

/// Somebody who must not notice.
pub(crate) struct Bystander {
    client: WsClient,
    said: u32,
    longest: Duration,
}

impl Bystander {
    pub(crate) fn new(client: WsClient) -> Self {
        let mut bystander = Self { client, said: 0, longest: Duration::ZERO };
        bystander.check();
        bystander
    }

    /// What it says comes back, and soon.
    pub(crate) fn check(&mut self) {
        self.said += 1;
        let text = format!("still here {}", self.said);
        let begun = now();
        self.client.say(&text);
        assert_eq!(self.client.hear(), text);
        let took = now() - begun;
        assert!(took < LONGEST, "{took:?} for an echo");
        self.longest = self.longest.max(took);
    }

    /// Checks again and again while something lasts. Whoever had to wait until it was over waited too long.
    pub(crate) fn check_while<T: Send>(&mut self, act: impl FnOnce() -> T + Send) -> T {
        let (begun, before) = (now(), std::mem::take(&mut self.longest));
        let outcome = std::thread::scope(|scope| {
            let acting = scope.spawn(act);
            while !acting.is_finished() {
                self.check();
                self.rest(Duration::from_millis(1));
            }
            acting.join()
        });
        let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (lasted, longest) = (now() - begun, self.longest);
        assert!(longest < NOTHING.max(lasted / 4), "{longest:?} for an echo, of {lasted:?}");
        self.longest = before.max(longest);
        outcome
    }

    /// An echo takes microseconds: leaves the machine to others for a moment.
    fn rest(&mut self, time: Duration) {
        self.client.client.hears_within(time);
    }

    /// Checks again and again until something is so.
    pub(crate) fn check_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = now() + 3 * PATIENCE;
        loop {
            self.check();
            if is_so() {
                return self.check();
            }
            assert!(now() < deadline, "waiting until {what}");
            self.rest(Duration::from_millis(20));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test on real sockets waits in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

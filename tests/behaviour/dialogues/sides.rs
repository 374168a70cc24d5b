//! Whom a dialogue is played to: `http::Protocol` alone, a core in memory whose clock is ours, a live server. All run one
//! application.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use stentor::http::{Limits, Protocol, percent};
use stentor::reactor::simulation::{self, Simulation};
use stentor::ws::handshake::{self, Offer};
use stentor::{Conn, Handler, Message, Options, Request, Response, Upgrade};

use crate::support::{PATIENCE, Running};

/// Small, so that what passes a limit is quickly sent byte by byte.
pub(super) const LIMITS: Limits = Limits { head_bytes: 512, headers: 16, body_bytes: 64 };

/// As the settings have them, but for the limits. Only the simulation waits for these.
fn options(cores: usize) -> Options {
    Options {
        cores,
        http: LIMITS,
        ws: stentor::ws::Limits { message_bytes: 64 },
        ..Options::default()
    }
}

/// Says what it was asked, and echoes on WebSockets.
pub(super) struct Application;

impl Handler for Application {
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade {
        upgrade(request)
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        conn.send(message);
    }

    fn on_request(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) {
        conn.respond(answer(request));
    }
}

fn upgrade(request: &Request<'_>) -> Upgrade {
    match request.path() {
        "/ws" => Upgrade::accept(),
        _ => Upgrade::Refuse(Response::text(404, "no WebSocket here")),
    }
}

fn answer(request: &Request<'_>) -> Response {
    match request.path() {
        "/204" => Response::new(204),
        "/304" => Response::new(304),
        "/426" => Response::text(426, "upgrade").header("Upgrade", "websocket"),
        "/closing" => Response::text(200, "bye").closing(),
        "/fields" => Response::text(200, fields(request)),
        "/host" => Response::text(200, format!("host {:?}", request.host())),
        path if path.starts_with("/decoded/") => Response::text(200, decoded(request)),
        _ => {
            let (method, target) = (request.method(), request.target());
            Response::text(200, format!("{method} {target} {{{}}}", request.body().escape_ascii()))
        }
    }
}

fn fields(request: &Request<'_>) -> String {
    let field = |(name, value): (&str, &[u8])| format!("{name}={}; ", value.escape_ascii());
    request.headers().map(field).collect()
}

/// The path and the pairs of the query as whoever decodes them reads them.
fn decoded(request: &Request<'_>) -> String {
    let shown = |text: &str, plus| match percent::decode(text, plus) {
        Ok(bytes) => bytes.escape_ascii().to_string(),
        Err(error) => error.to_string(),
    };
    let pair = |(name, value): (&str, &str)| {
        format!(" {}={}", shown(name, percent::Plus::Space), shown(value, percent::Plus::Space))
    };
    let pairs: String = request.query_pairs().map(pair).collect();
    shown(request.path(), percent::Plus::Literal) + &pairs
}

/// One connection.
pub(super) trait Wire {
    fn send(&mut self, bytes: &[u8]);

    /// What came; `None` once the server has nothing more to say. A live one is waited for.
    fn receive(&mut self) -> Option<Vec<u8>>;

    /// The client has nothing more to say.
    fn finish(&mut self);

    /// Lets that time pass, where that can be.
    fn wait(&mut self, _time: Duration) {
        panic!("only the simulation's clock is ours");
    }
}

/// What can be connected to.
pub(super) trait Side {
    /// Whether what is sent is cut at every place, too: where that costs little.
    const IS_CUT_EVERYWHERE: bool = false;
    /// Whether time passes when a dialogue says so.
    const HAS_CLOCK: bool = false;
    /// Whether there is somebody behind a 101.
    const SPEAKS_WEBSOCKET: bool = true;

    fn connect(&self) -> Box<dyn Wire + '_>;
}

// ── the protocol alone ──

pub(super) struct Bare;

impl Side for Bare {
    const IS_CUT_EVERYWHERE: bool = true;
    const SPEAKS_WEBSOCKET: bool = false;

    fn connect(&self) -> Box<dyn Wire> {
        Box::new(BareWire { protocol: Some(Protocol::new()), out: Vec::new(), is_done: false })
    }
}

struct BareWire {
    /// `None` after an upgrade.
    protocol: Option<Protocol>,
    out: Vec<u8>,
    is_done: bool,
}

impl BareWire {
    /// Serves one request. False if there is none.
    fn step(&mut self) -> bool {
        let Some(protocol) = &mut self.protocol else { return false };
        let accepted = match protocol.next(&LIMITS) {
            Ok(None) => return false,
            Ok(Some(request)) if handshake::is_upgrade(&request) => {
                match (Offer::read(&request), upgrade(&request)) {
                    (Ok(offer), Upgrade::Accept { .. }) => Ok(offer),
                    (Ok(_), Upgrade::Refuse(response)) => Err(response),
                    (Err(error), _) => Err(error.response()),
                }
            }
            Ok(Some(request)) => Err(answer(&request)),
            Err(error) => {
                protocol.refuse(&error, &mut self.out);
                return !protocol.is_closing();
            }
        };
        match accepted {
            Ok(offer) => {
                offer.accept(None, &[], &mut self.out);
                self.protocol = None;
            }
            Err(response) => protocol.respond(&response, &mut self.out),
        }
        true
    }
}

impl Wire for BareWire {
    fn send(&mut self, bytes: &[u8]) {
        if let Some(protocol) = &mut self.protocol {
            protocol.receive(bytes);
        }
        while self.step() {}
        let interim = self.protocol.as_mut().and_then(Protocol::take_output);
        self.out.extend_from_slice(interim.unwrap_or_default());
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let is_over = self.is_done || self.protocol.as_ref().is_some_and(Protocol::is_closing);
        let out = std::mem::take(&mut self.out);
        (!is_over || !out.is_empty()).then_some(out)
    }

    fn finish(&mut self) {
        let is_half = self.protocol.as_ref().is_some_and(Protocol::is_mid_request);
        assert!(is_half, "the protocol is not in the middle of a request");
        self.is_done = true;
    }
}

// ── cores in memory ──

pub(super) struct InMemory(RefCell<Simulation<Application>>);

impl InMemory {
    pub(super) fn new() -> Self {
        Self(RefCell::new(Simulation::new(options(1), |_core| (Application, ()))))
    }
}

impl Side for InMemory {
    const HAS_CLOCK: bool = true;

    fn connect(&self) -> Box<dyn Wire + '_> {
        Box::new(MemoryWire { client: self.0.borrow_mut().connect(0), simulation: &self.0 })
    }
}

struct MemoryWire<'s> {
    simulation: &'s RefCell<Simulation<Application>>,
    client: simulation::Client,
}

impl Wire for MemoryWire<'_> {
    fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes);
        self.simulation.borrow_mut().settle();
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let received = self.client.take_received();
        let is_over = self.client.is_finished() || self.client.is_dropped();
        (!is_over || !received.is_empty()).then_some(received)
    }

    fn finish(&mut self) {
        self.client.finish();
        self.simulation.borrow_mut().settle();
    }

    fn wait(&mut self, time: Duration) {
        let mut simulation = self.simulation.borrow_mut();
        simulation.advance(time);
        simulation.settle();
    }
}

impl Drop for MemoryWire<'_> {
    fn drop(&mut self) {
        self.client.finish();
        self.simulation.borrow_mut().settle();
    }
}

// ── a live server ──

pub(super) struct Live {
    address: SocketAddr,
    _server: Running,
}

impl Live {
    pub(super) fn new(cores: usize) -> Self {
        // No deadline that a slow machine could miss.
        let patient =
            Options { request_deadline: PATIENCE, keep_alive: PATIENCE, ..options(cores) };
        let patient = Options { shutdown_linger: Duration::ZERO, ..patient };
        let server = Running::start(patient, |_core| Application);
        Self { address: server.address(), _server: server }
    }
}

impl Side for Live {
    fn connect(&self) -> Box<dyn Wire> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Box::new(LiveWire(stream))
    }
}

struct LiveWire(TcpStream);

impl Wire for LiveWire {
    /// A server that has refused what came before may not take it; that is for the answers to show.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        let count = self.0.read(&mut buffer).expect("an answer or the end in time");
        buffer.truncate(count);
        (count > 0).then_some(buffer)
    }

    fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

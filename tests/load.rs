//! The load generator's own honesty: that its bookkeeping finds what is wrong, and that a server that drops, repeats,
//! reorders or refuses cannot pass. Needs the feature `pusher`.
#![cfg(feature = "pusher")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../benches/load/main.rs"]
#[expect(dead_code, reason = "its `main` and what only that prints belong to `cargo bench`")]
mod load;

#[cfg(target_os = "linux")]
#[path = "load/interrupted.rs"]
mod interrupted;
#[cfg(target_os = "linux")]
#[path = "load/million.rs"]
mod million;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser as _;
use stentor::pusher::{App, Apps, Directory, Options, Pusher};
use stentor::{Conn, Handler, Message, Request, Response, Server, Stopper, Upgrade};

use load::arguments::Arguments;
use load::clock::{Clock, Schedule, date};
use load::payload::{LEAST_BYTES, Payloads, Stamp};
use load::report::Report;
use load::server::Server as Started;
use load::tally::{Faults, Latencies, Order, slope};
use load::target::Target;
use load::{machine, process, publisher, report, run, sockets, version};

/// A server on a thread of its own; it ends with the test.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn plain<H: Handler>(make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        Self::start(|server| server.run(move |_core| make()).unwrap())
    }

    fn pusher() -> Self {
        Self::pusher_of(App::new("1", "app-key", "app-secret"))
    }

    fn pusher_of(app: App) -> Self {
        let apps = Arc::new(Apps::new(vec![app]).unwrap());
        let options = Arc::new(Options::default());
        Self::start(|server| {
            let make = move |_core| {
                let directory = Directory::new(Arc::clone(&apps), &options);
                (Pusher::new(Arc::clone(&apps), Arc::clone(&options)), directory)
            };
            server.run_with(make).unwrap();
        })
    }

    fn start(run: impl FnOnce(Server) + Send + 'static) -> Self {
        Self::start_with(options(), run)
    }

    fn start_with(options: stentor::Options, run: impl FnOnce(Server) + Send + 'static) -> Self {
        let server = Server::bind_with((Ipv4Addr::LOCALHOST, 0), options).unwrap();
        let (address, stopper) = (server.local_addr(), server.stopper());
        Self { address, stopper, thread: Some(thread::spawn(move || run(server))) }
    }

    fn load(&self, scenario: &str, kind: &str, more: &str) -> Report {
        load_at(self.address, scenario, kind, more).unwrap()
    }
}

fn options() -> stentor::Options {
    stentor::Options { cores: 1, shutdown_linger: Duration::ZERO, ..stentor::Options::default() }
}

fn load_at(address: SocketAddr, scenario: &str, kind: &str, more: &str) -> io::Result<Report> {
    let line = format!("load {scenario} --{kind} ws://{address} --deadline 60 {more}");
    run::run(&Arguments::parse_from(line.split_whitespace()))
}

/// The same with the command as a process of its own, so that nothing else is in it.
fn load_stentor(scenario: &str, settings: &str, more: &str) -> Report {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let stentor = env!("CARGO_BIN_EXE_stentor");
    let server = format!("{stentor} --port {} --cores 1 --log warn {settings}", free.port());
    let line = format!("load {scenario} --pusher ws://{free} --deadline 120 {more}");
    let arguments = line.split_whitespace().chain(["--spawn", &server]);
    run::run(&Arguments::parse_from(arguments)).unwrap()
}

fn figure(report: &Report, name: &str) -> f64 {
    let figure = report.figures.iter().find(|figure| figure.name == name);
    figure.unwrap_or_else(|| panic!("no {name:?} in\n{}", report.table())).value
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Echoes, but does with every tenth message as it was told.
struct Echo {
    count: usize,
    kept: Option<String>,
    tenth: Tenth,
}

#[derive(Clone, Copy)]
enum Tenth {
    Dropped,
    Garbled,
    Kept,
    Late,
    Twice,
}

impl Echo {
    fn new(tenth: Tenth) -> Self {
        Self { count: 0, kept: None, tenth }
    }
}

impl Handler for Echo {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        self.count += 1;
        let text = message.text().unwrap_or_default().to_owned();
        match self.tenth {
            Tenth::Dropped if self.count.is_multiple_of(10) => return,
            Tenth::Garbled if self.count.is_multiple_of(10) => {
                return conn.send(text.replace('x', "y"));
            }
            Tenth::Late if self.count.is_multiple_of(10) => return self.kept = Some(text),
            Tenth::Twice if self.count.is_multiple_of(10) => conn.send(text.clone()),
            _ => {}
        }
        conn.send(text);
        if let Some(kept) = self.kept.take() {
            conn.send(kept);
        }
    }
}

/// All hear what one says.
struct Room;

impl Handler for Room {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        conn.subscribe("room").unwrap();
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        conn.publish("room", message).unwrap();
    }
}

/// A room for all, and another path where each hears only itself; it is unfair as it was told.
struct House {
    unfair: Unfair,
    came: usize,
    spoken: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Unfair {
    Not,
    /// Every seventh who comes is refused once thirty have come.
    Refuses,
    /// Every fifth in the room misses every tenth message.
    LeavesOut,
}

/// Who came by the other path.
const ECHO: u32 = 1;

impl House {
    fn new(unfair: Unfair) -> Self {
        Self { unfair, came: 0, spoken: 0 }
    }
}

impl Handler for House {
    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade {
        self.came += 1;
        let is_refused = self.came > 30 && self.came.is_multiple_of(7);
        if self.unfair == Unfair::Refuses && is_refused {
            return Upgrade::Refuse(Response::text(503, "full"));
        }
        Upgrade::accept()
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if conn.upgrade().is_some_and(|request| request.path() == "/echo") {
            return conn.set_tag(ECHO);
        }
        let is_fifth = self.unfair == Unfair::LeavesOut && self.came.is_multiple_of(5);
        conn.subscribe(if is_fifth { "fifth" } else { "room" }).unwrap();
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        if conn.tag() == ECHO {
            return conn.send(text);
        }
        self.spoken += 1;
        if !self.spoken.is_multiple_of(10) {
            conn.publish("fifth", text.clone()).unwrap();
        }
        conn.publish("room", text).unwrap();
    }
}

fn check_echo(tenth: Tenth) -> Faults {
    let server = Running::plain(move || Echo::new(tenth));
    server
        .load("echo", "plain", "--connections 1 --depth 4 --rate 200 --seconds 1 --warm-up 0")
        .faults
}

#[test]
fn honest_servers_pass_every_scenario() {
    let brief = "--seconds 1 --warm-up 1";
    let echo = Running::plain(|| Echo::new(Tenth::Kept));
    assert_eq!(echo.load("echo", "plain", brief).faults, Faults::default());
    let room = Running::plain(|| Room);
    let fanout = format!("--connections 30 --rate 50 --threads 2 {brief}");
    assert_eq!(room.load("fanout", "plain", &fanout).faults, Faults::default());
    let pusher = Running::pusher();
    for more in ["--channels 3", "--flat-out"] {
        let report = pusher.load("fanout", "pusher", &format!("{fanout} {more}"));
        assert_eq!(report.faults, Faults::default());
        assert!(figure(&report, "deliveries") >= 30.0 * 10.0, "{}", report.table());
    }
    assert_eq!(pusher.load("echo", "pusher", brief).faults, Faults::default());
    for (server, kind) in [(&pusher, "pusher"), (&echo, "plain")] {
        let report = server.load("churn", kind, &format!("--rate 100 {brief}"));
        assert_eq!(report.faults, Faults::default(), "{kind}");
        assert_eq!(figure(&report, "connections"), 100.0, "{}", report.table());
    }
    let idle = "--from 20 --to 50 --settle 0 --window 1 --own-channel private";
    assert_eq!(pusher.load("idle", "pusher", idle).faults, Faults::default());
    let connect = "--connections 50 --rounds 2 --at-once 10 --threads 2";
    for (server, kind) in [(&pusher, "pusher"), (&echo, "plain")] {
        let report = server.load("connect", kind, connect);
        assert_eq!(report.faults, Faults::default());
        assert_eq!(figure(&report, "connections"), 100.0, "{}", report.table());
    }
}

#[test]
fn pings_in_the_window_of_idleness_are_counted() {
    let idle = "--from 2 --to 5 --settle 0 --window 1 --threads 2";
    let pings = |ping_after| {
        let mut options = options();
        options.patience.ping_after = ping_after;
        let server = Running::start_with(options, |server| server.run(|_core| Room).unwrap());
        let report = server.load("idle", "plain", idle);
        assert_eq!(report.faults, Faults::default(), "{}", report.table());
        let is_remarked = report.remarks.iter().any(|remark| remark.contains("pinged nobody"));
        (figure(&report, "pings in 1 s of idleness"), is_remarked)
    };
    let (many, is_remarked) = pings(Duration::from_millis(300));
    assert!((5.0..=20.0).contains(&many) && !is_remarked, "{many}");
    assert_eq!(pings(Duration::from_secs(60)), (0.0, true));
}

#[test]
fn bystanders_are_answered_while_fanouts_run() {
    let house = Running::plain(|| House::new(Unfair::LeavesOut));
    let brief = "--connections 30 --few 4 --rate 100 --seconds 1 --warm-up 1";
    let echo = format!("{brief} --echo ws://{}/echo", house.address);
    for (server, kind, more) in [
        (&Running::plain(|| House::new(Unfair::Not)), "plain", true),
        (&Running::pusher(), "pusher", false),
    ] {
        let echo = format!("{brief} --threads 2 --echo ws://{}/echo", server.address);
        let more = if more { &echo } else { brief };
        let report = server.load("bystanders", kind, more);
        assert_eq!(report.faults, Faults::default(), "{}", report.table());
        assert!(figure(&report, "questions") >= 90.0, "{}", report.table());
        assert!(figure(&report, "fan-outs") >= 10.0, "{}", report.table());
        assert!(figure(&report, "fan-out, to the last p50") > 0.0, "{}", report.table());
    }
    assert!(house.load("bystanders", "plain", &echo).faults.missing > 0);
    let error = load_at(house.address, "bystanders", "plain", brief).unwrap_err().to_string();
    assert!(error.contains("--echo URL"), "{error}");
}

#[test]
fn slow_ones_are_closed_or_hear_all() {
    let brief =
        "--connections 10 --slow 2 --rounds 1 --rate 100 --pipeline 9 --seconds 3 --warm-up 0";
    let mut app = App::new("1", "app-key", "app-secret");
    app.max_outbox_bytes = 128 * 1024;
    let server = Running::pusher_of(app);
    // How many the kernel's own buffers keep alive is its own business.
    for (size, closed) in [(128, 0.0..=0.0), (16_384, 1.0..=2.0)] {
        let report = server.load("slow", "pusher", &format!("{brief} --size {size}"));
        assert_eq!(report.faults, Faults::default(), "{}", report.table());
        let were_closed = figure(&report, "slow ones that were closed");
        assert!(closed.contains(&were_closed), "{}", report.table());
    }
    let house = Running::plain(|| House::new(Unfair::Not));
    let report = house.load("slow", "plain", &format!("{brief} --threads 2"));
    assert_eq!(report.faults, Faults::default(), "{}", report.table());
    let house = Running::plain(|| House::new(Unfair::LeavesOut));
    assert!(house.load("slow", "plain", brief).faults.missing > 0);
}

/// The command itself, told one limit and measured by another.
#[cfg(target_os = "linux")]
#[test]
fn server_that_keeps_more_for_slow_ones_than_its_limits_allow_fails() {
    let slow = |outbox_bytes: &str| {
        let sizes = "--connections 3 --slow 2 --size 65536 --rate 60 --rounds 1 --seconds 3";
        let more = format!("{sizes} --warm-up 0 --pipeline 9 --outbox-bytes {outbox_bytes}");
        load_stentor("slow", "--set limits.outbox_bytes=16MiB", &more)
    };
    // Both slow ones wait for the same events, of which the server keeps one copy.
    let honest = slow("16777216");
    assert_eq!(honest.faults, Faults::default(), "{}", honest.table());
    let hoarding = slow("65536");
    assert!(hoarding.faults.hoarded > 0, "{}", hoarding.table());
}

#[test]
fn herd_comes_back_and_those_who_are_refused_try_again() {
    let brief = "--connections 50 --stay 5 --rate 50 --seconds 1 --warm-up 0 --rounds 1";
    let twice = brief.replace("--rounds 1", "--rounds 2 --threads 2");
    let report = Running::pusher().load("herd", "pusher", &twice);
    assert_eq!(report.faults, Faults::default(), "{}", report.table());
    assert!(figure(&report, "deliveries to those who stay") >= 500.0, "{}", report.table());
    assert_eq!(figure(&report, "tries that failed"), 0.0, "{}", report.table());
    assert!(figure(&report, "until all were subscribed again") > 0.0);
    let house = Running::plain(|| House::new(Unfair::Refuses));
    let apart = |house: &Running| format!("--apart ws://{}/echo", house.address);
    let more =
        format!("--connections 25 --stay 5 --rate 50 --seconds 1 --rounds 1 {}", apart(&house));
    let report = house.load("herd", "plain", &more);
    assert_eq!(report.faults, Faults::default(), "{}", report.table());
    // Numbers 35, 42, 49 of 25 who come again; then 56 of those three.
    assert_eq!(figure(&report, "tries that failed"), 4.0, "{}", report.table());
    assert_eq!(figure(&report, "clients that needed a second try"), 3.0, "{}", report.table());
    assert_eq!(figure(&report, "clients that needed a third try"), 1.0, "{}", report.table());
    let house = Running::plain(|| House::new(Unfair::LeavesOut));
    let more = format!("{brief} {}", apart(&house));
    assert!(house.load("herd", "plain", &more).faults.missing > 0);
    let error = load_at(house.address, "herd", "plain", brief).unwrap_err().to_string();
    assert!(error.contains("--apart URL"), "{error}");
}

/// Passes on what comes, and asks the server to end the connection after each request to its API, as some servers do by themselves.
fn before_one_that_keeps_no_connection(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let pass = move |mut client: TcpStream| -> io::Result<()> {
        let mut server = TcpStream::connect(server)?;
        let mut head = [0; 2048];
        let count = client.read(&mut head)?;
        let line = head[..count].windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
        server.write_all(&head[..line])?;
        if head.starts_with(b"POST ") {
            server.write_all(b"Connection: close\r\n")?;
        }
        server.write_all(&head[line..count])?;
        let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut answers, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        io::copy(&mut client, &mut server)?;
        server.shutdown(Shutdown::Write)
    };
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            thread::spawn(move || pass(client));
        }
    });
    address
}

#[test]
fn back_end_connects_anew_to_a_server_that_keeps_no_connection() {
    let server = Running::pusher();
    let address = before_one_that_keeps_no_connection(server.address);
    for pace in ["--rate 50", "--flat-out --window 4"] {
        let more = format!("--connections 3 --seconds 1 --warm-up 0 {pace}");
        let report = load_at(address, "fanout", "pusher", &more).unwrap();
        assert_eq!(report.faults, Faults::default(), "{pace}");
        assert!(figure(&report, "events") > 3.0, "{}", report.table());
    }
}

/// Answers every connection with the same octets, as a bare loop does, one client after the other.
fn canned(clients: usize) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let frame = |text: &str| [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let data = r#""{\"socket_id\":\"1.1\",\"activity_timeout\":120}""#;
    let established = format!(r#"{{"event":"pusher:connection_established","data":{data}}}"#);
    let welcome = [upgrade.as_bytes(), &frame(&established)].concat();
    let succeeded = frame(r#"{"event":"pusher_internal:subscription_succeeded","data":"{}"}"#);
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().take(clients) {
            let mut stream = stream.unwrap();
            // Each of both arrives in one piece: loopback does not cut what is written at once.
            assert!(stream.read(&mut [0; 2048]).unwrap() > 0);
            stream.write_all(&welcome).unwrap();
            assert!(stream.read(&mut [0; 2048]).unwrap() > 0);
            stream.write_all(&succeeded).unwrap();
            kept.push(stream);
        }
        for mut stream in kept {
            // Until the client goes, one way or the other.
            while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        }
    });
    address
}

#[test]
fn canned_answers_are_measured_but_prove_nothing() {
    let connect = "--connections 5 --rounds 1 --at-once 1";
    let report = load_at(canned(5), "connect", "pusher", &format!("{connect} --canned")).unwrap();
    assert_eq!(report.faults, Faults::default());
    assert_eq!(figure(&report, "connections"), 5.0);
    let error = load_at(canned(6), "connect", "pusher", connect).unwrap_err().to_string();
    assert!(error.contains("no HTTP response"), "{error}");
}

#[test]
fn refused_subscriptions_fail_connect() {
    let server = Running::pusher();
    let more = "--connections 5 --rounds 1 --secret no";
    let error = load_at(server.address, "connect", "pusher", more).unwrap_err().to_string();
    assert!(error.contains("0 of 5 being subscribed") && error.contains("unauthorized"), "{error}");
}

#[test]
fn segments_of_a_servers_sockets_are_counted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    for _ in 0..3 {
        served.write_all(b"one segment").unwrap();
        client.read_exact(&mut [0; 11]).unwrap();
        client.write_all(b"not counted").unwrap();
    }
    assert_eq!(sockets::segments_sent(address.port()).unwrap(), 3);
}

#[test]
fn server_that_drops_messages_fails() {
    assert!(check_echo(Tenth::Dropped).missing > 0);
}

#[test]
fn server_that_garbles_messages_fails() {
    assert!(check_echo(Tenth::Garbled).garbled > 0);
}

#[test]
fn server_that_swaps_messages_fails() {
    assert!(check_echo(Tenth::Late).repeated > 0);
}

#[test]
fn server_that_repeats_messages_fails() {
    assert!(check_echo(Tenth::Twice).repeated + check_echo(Tenth::Twice).unknown > 0);
}

#[test]
fn publisher_whose_secret_is_wrong_fails() {
    let server = Running::pusher();
    let faults = server
        .load("fanout", "pusher", "--connections 2 --secret no --seconds 1 --warm-up 0")
        .faults;
    assert!(faults.refused > 0, "{faults}");
}

#[test]
fn unknown_app_fails() {
    let server = Running::pusher();
    let faults =
        server.load("churn", "pusher", "--key no --rate 20 --seconds 1 --warm-up 0").faults;
    assert!(faults.lost > 0 && faults.first_loss.as_ref().unwrap().contains("4001"), "{faults}");
}

#[test]
fn records_are_written_only_of_runs_without_faults() {
    let folder = std::env::temp_dir().join(format!("stentor-load-{}", std::process::id()));
    let more = format!(
        "--connections 2 --seconds 1 --warm-up 0 --record try --records {}",
        folder.display()
    );
    let good = Running::plain(|| Echo::new(Tenth::Kept)).load("echo", "plain", &more);
    assert!(good.recorded.is_some());
    let files = std::fs::read_dir(&folder).unwrap().count();
    let bad = Running::plain(|| Echo::new(Tenth::Garbled)).load("echo", "plain", &more);
    assert_eq!((files, bad.recorded), (2, None));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn records_name_what_was_started_by_what_it_says_of_itself() {
    let folder = std::env::temp_dir().join(format!("stentor-load-named-{}", std::process::id()));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let stentor = env!("CARGO_BIN_EXE_stentor");
    let server = format!("{stentor} --port {} --cores 1 --log warn", free.port());
    let records = folder.to_str().unwrap();
    let line = format!("load churn --pusher ws://{free} --rate 20 --seconds 1 --warm-up 0");
    let recorded_server = |more: &[&str]| {
        let words = line.split_whitespace().chain(["--spawn", &server]);
        let words = words.chain(["--record", "try", "--records", records]).chain(more.to_vec());
        let recorded = run::run(&Arguments::parse_from(words)).unwrap().recorded.unwrap();
        let json = std::fs::read(recorded.replace(" and .md", "")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json["server"].as_str().unwrap().to_owned()
    };
    let told = concat!("stentor ", env!("CARGO_PKG_VERSION")).to_owned();
    assert_eq!(recorded_server(&[]), told + &version::commit());
    assert_eq!(recorded_server(&["--server-name", "ours"]), "ours");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn programs_that_do_not_say_their_version_well_and_soon_stay_unnamed() {
    let said = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        version::said_within(command, Duration::from_secs(1))
    };
    assert_eq!(said("echo complaint >&2; echo ' 1.2.3 '; echo more").as_deref(), Some("1.2.3"));
    assert_eq!(said("echo nginx/1.2 >&2").as_deref(), Some("nginx/1.2"));
    assert_eq!(said("echo 1.2.3; exit 1"), None);
    assert_eq!(said("echo 1.2.3; exec sleep 60"), None);
    assert_eq!(said("while :; do echo 1.2.3; done"), None);
    assert_eq!(version::of_program("/nowhere/at/all".as_ref()), None);
}

fn check_order(sequences: &[u64], sent: u64) -> Faults {
    let (mut order, mut faults) = (Order::default(), Faults::default());
    sequences.iter().for_each(|sequence| order.take(*sequence, &mut faults));
    order.end(sent, &mut faults);
    faults
}

#[test]
fn order_counts_what_is_missing_repeated_and_unknown() {
    assert!(check_order(&[0, 1, 2], 3).is_none());
    assert_eq!(check_order(&[0, 2, 3], 4).missing, 1);
    assert_eq!(check_order(&[0, 1], 4).missing, 2);
    assert_eq!(check_order(&[], 2).missing, 2);
    assert_eq!(check_order(&[0, 1, 1], 2).repeated, 1);
    assert_eq!(check_order(&[0, 2, 1], 3).repeated, 1);
    assert_eq!(check_order(&[0, 1, 2], 2).unknown, 1);
}

#[test]
fn payloads_carry_their_numbers_through_any_envelope() {
    for payloads in [Payloads::new(LEAST_BYTES + 7), Payloads::like_json(300)] {
        check_payloads(&payloads);
    }
}

fn check_payloads(payloads: &Payloads) {
    let stamp = Stamp { sequence: 0xfeed, intended: u64::MAX };
    let mut out = b"{\"data\":\"".to_vec();
    payloads.write(stamp, &mut out);
    out.extend_from_slice(b"\"}");
    assert_eq!(payloads.read(&out), Some(stamp));
    for at in 9..out.len() - 2 {
        let mut bad = out.clone();
        bad[at] ^= 1;
        assert_ne!(payloads.read(&bad), Some(stamp), "byte {at}");
    }
    assert_eq!(payloads.read(&out[..out.len() - 3]), None);
}

#[test]
fn compressing_subscribers_are_sent_fewer_bytes_and_hear_the_same() {
    let server = Running::pusher();
    let bytes = |more: &str| {
        let brief = "--connections 10 --size 1024 --rate 50 --threads 2 --seconds 1 --warm-up 0";
        let report = server.load("fanout", "pusher", &format!("{brief} {more}"));
        assert_eq!(report.faults, Faults::default(), "{}", report.table());
        figure(&report, "bytes per delivery")
    };
    let (plain, compressed) = (bytes("--json"), bytes("--compress"));
    // The event's envelope and the frame's header come with the data.
    assert!((1_024.0..1_200.0).contains(&plain), "{plain}");
    assert!((200.0..700.0).contains(&compressed), "{compressed}");
}

#[test]
fn server_that_does_not_compress_fails_those_who_ask_for_it() {
    let server =
        Running::start_with(stentor::Options { compression: None, ..options() }, |server| {
            server.run(|_core| Room).unwrap()
        });
    let more = "--connections 2 --compress --seconds 1";
    let error = load_at(server.address, "fanout", "plain", more).unwrap_err().to_string();
    assert!(error.contains("does not agree to permessage-deflate"), "{error}");
}

#[test]
fn latencies_count_from_when_things_were_due() {
    let schedule = Schedule { start: 1_000, per_second: 1_000.0 };
    assert_eq!(schedule.due(3), 3_001_000);
    // A server that stalls for a second delays a thousand events: each is late by what is left of the second.
    let mut latencies = Latencies::new();
    (0..1_000).for_each(|n| latencies.record(schedule.due(n), 1_000_001_000));
    let half = latencies.at_percent(50.0);
    assert!((495_000_000..505_000_000).contains(&half), "{half}");
    assert!((999_000_000..1_001_000_000).contains(&latencies.max()));
}

#[test]
fn latencies_of_threads_add_up() {
    let (mut one, mut other) = (Latencies::new(), Latencies::new());
    (0..99).for_each(|_| one.record(0, 1_000));
    other.record(0, 1_000_000);
    one.add(&other);
    assert_eq!((one.count(), one.at_percent(99.0)), (100, 1_000));
    assert!(one.max() >= 1_000_000);
}

#[test]
fn slope_leaves_out_what_both_sizes_have_in_common() {
    assert_eq!(slope((1_000, 5_000_000), (3_000, 5_200_000)), Some(100.0));
    assert_eq!(slope((5, 1), (5, 2)), None);
    assert_eq!(slope((0, 500), (100, 300)), Some(-2.0));
}

#[test]
fn only_this_machine_is_loaded() {
    for url in [
        "ws://192.0.2.1:80",
        "ws://example.com:80",
        "wss://127.0.0.1:1",
        "ws://127.0.0.1",
        "ws://[2001:db8::1]:1",
    ] {
        assert!(Target::parse(url, None).is_err(), "{url}");
    }
    assert_eq!(Target::parse("ws://127.9.9.9:80/a/b/", None).unwrap().path(), "/a/b");
    assert_eq!(Target::parse("ws://[::1]:80", None).unwrap().path(), "/");
}

#[test]
fn process_accounts_are_read_past_any_name() {
    let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
    let cpu = process::cpu_of(stat).unwrap();
    assert_eq!((cpu.user, cpu.system), (2.5, 0.5));
    assert!(process::cpu_of("42 (a) S 1 2").is_none());
    assert_eq!(process::bytes_of("Rss:  12 kB\nPss: 3 kB\n", "Pss:"), 3 * 1024);
    let sockets = "TCP: inuse 4 orphan 0 tw 3 alloc 4 mem 2\n";
    assert_eq!(process::kernel_bytes("Slab:  10 kB\n", sockets), 10 * 1024 + 2 * 4096);
}

#[test]
fn what_onlookers_leave_in_the_kernel_is_known() {
    let head = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab>\n";
    let rows = "proc_inode_cache 10 23 696 20 4 : tunables 0 0 0 : slabdata 1 1 0\n\
                dentry 590742 595266 192 16 1 : tunables 0 0 0 : slabdata 28346 28346 0\n";
    let security = "lsm_inode_cache 344565 347776 32 128 1 : tunables 0 0 0 : slabdata 1 1 0\n";
    let inode_and_dentry = 4 * 4096 / 20 + 4096 / 16;
    assert_eq!(process::onlookers_bytes(&format!("{head}{rows}")), 10 * inode_and_dentry);
    let all = process::onlookers_bytes(&format!("{head}{rows}{security}"));
    assert_eq!(all, 10 * (inode_and_dentry + 4096 / 128));
    assert_eq!(process::onlookers_bytes(""), 0);
}

/// By slope, so that what the command needs anyway falls out. The sizes lie where the tables of names are about as full as on average.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_waits_costs_no_more_than_is_promised() {
    // Without optimisation mio keeps more than a descriptor for each socket.
    let more = size_of::<mio::net::TcpStream>() - size_of::<std::os::fd::RawFd>();
    for (own, most) in [("", 100), ("--own-channel private", 300)] {
        let idle = format!("--from 2000 --to 8000 --window 1 {own}");
        let report = load_stentor("idle", "", &idle);
        assert_eq!(report.faults, Faults::default(), "{}", report.table());
        let each = figure(&report, "private per connection");
        assert!(each > 0.0 && each <= (most + more) as f64, "{}", report.table());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn code_that_was_linked_just_now_is_not_memory_of_the_server() {
    let name = format!("stentor-linked-{}", std::process::id());
    let program = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::copy(env!("CARGO_BIN_EXE_stentor"), &program).unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let command = format!("{} --port {} --cores 1 --log warn", program.display(), free.port());
    let server = Started::spawn(&command, None, free, Clock::start()).unwrap();
    let private = server.sample().unwrap().memory.private;
    let rollup = format!("/proc/{}/smaps_rollup", server.pid().unwrap());
    let rollup = std::fs::read_to_string(rollup).unwrap();
    std::fs::remove_file(&program).unwrap();
    assert!(
        private > 0 && private <= process::bytes_of(&rollup, "Anonymous:"),
        "{private}: {rollup}"
    );
}

#[test]
fn own_process_can_be_sampled() {
    let sample = process::sample(std::process::id()).unwrap();
    assert!(sample.memory.private > 0 && sample.memory.resident >= sample.memory.private);
}

#[test]
fn responses_are_taken_one_by_one() {
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let length = one.len();
    let check = |bytes: &[u8]| publisher::whole_response(bytes).unwrap();
    let whole = |status, length, is_last| Some(publisher::Whole { status, length, is_last });
    assert_eq!(check(&[&one[..], b"HTTP"].concat()), whole(200, length, false));
    assert_eq!(check(&one[..length - 1]), None);
    let chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(check(chunked), whole(503, chunked.len(), false));
    assert_eq!(check(&chunked[..chunked.len() - 2]), None);
    let last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(check(last), whole(200, last.len(), true));
}

#[test]
fn recorded_commands_keep_secrets() {
    let words =
        ["fanout", "--secret", "s3", "--note", "n", "--spawn", "a b", "--bench"].map(str::to_owned);
    assert_eq!(
        run::command(words.into_iter()),
        "cargo bench --bench load -- fanout --secret … --spawn 'a b'"
    );
}

#[test]
fn figures_are_written_for_people() {
    assert_eq!(
        [0.0, 12.0, 12.345, 0.01234, 1_234_567.8, -1_234.0].map(report::grouped),
        ["0", "12", "12.35", "0.0123", "1 234 568", "-1 234"]
    );
    assert_eq!(
        [0, 951_782_400, 1_709_164_800, 1_735_689_599].map(date),
        ["1970-01-01", "2000-02-29", "2024-02-29", "2024-12-31"]
    );
    assert_eq!(machine::read_cores("0,2-3"), Ok(vec![0, 2, 3]));
    assert!(machine::read_cores("a").is_err());
}

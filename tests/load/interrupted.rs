//! Runs that a signal ends: that they end what they started, soon, and say so.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::load::arguments::Arguments;
use crate::load::clock::{Clock, nanos};
use crate::load::interrupt::is_ignored;
use crate::load::stage::pause;
use crate::load::{perform, sockets};
use crate::million::SMALL;

/// Whoever waits for a connection, an answer, rest or a schedule does not wait to the end; a server may take 30 s to start.
const PATIENCE: Duration = Duration::from_secs(50);

/// Says in the environment of a child what it is to do, a word a line.
const WORDS: &str = "STENTOR_TEST_LOAD";

/// The part of `cargo bench --bench load`, in a process of its own: all that its `main` does.
#[test]
fn plays_the_generator_when_told() -> ExitCode {
    match std::env::var_os(WORDS) {
        Some(words) => perform(&Arguments::parse_from(words.into_string().unwrap().lines())),
        None => ExitCode::SUCCESS,
    }
}

/// The generator, ended with the test.
struct Generator {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Generator {
    fn start<'w>(words: impl Iterator<Item = &'w str>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "interrupted::plays_the_generator_when_told", "--nocapture"])
            .env(WORDS, words.collect::<Vec<_>>().join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { child, said }
    }

    /// Reads until it says that; it has a deadline of its own.
    fn hear(&mut self, part: &str) -> String {
        let mut all = String::new();
        while self.said.read_line(&mut all).unwrap() > 0 {
            let line = all.lines().last().unwrap_or_default();
            if line.contains(part) {
                return line.to_owned();
            }
        }
        panic!("nothing of {part:?} in {all}");
    }

    /// Sends it a signal, and looks whether it ends as it should, with its server.
    fn check_ended_by(mut self, signal: Signal, name: &str, server: SocketAddr, when: &str) {
        assert!(TcpStream::connect(server).is_ok() || when.is_empty(), "no server {when:?}");
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let clock = Clock::start();
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(rest.contains(&format!("load: interrupted by {name}; ")), "{when:?}: {rest}");
        // The test runner's own, for what is no success.
        assert_eq!(status.code(), Some(101), "{when:?}: {rest}");
        assert!(clock.now() < nanos(PATIENCE), "{when:?}: {rest}");
        assert!(TcpStream::connect(server).is_err(), "the server still runs, {when:?}: {rest}");
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a million a signal when it says that, or at once.
fn check_million(when: &str, signal: Signal, name: &str) {
    let line = format!("{SMALL} --events 60000");
    let mut generator = Generator::start(line.split_whitespace());
    let started = generator.hear("threads connect to");
    let port = started.split_once("--port ").unwrap().1.split(' ').next().unwrap();
    let server = format!("127.0.0.1:{port}").parse().unwrap();
    if !when.is_empty() {
        generator.hear(when);
    }
    generator.check_ended_by(signal, name, server, when);
}

#[test]
fn whatever_ends_a_million_early_ends_its_server_and_says_so() {
    // While the server starts; while they come; while memory comes to rest; while events go out.
    check_million("", Signal::INT, "SIGINT");
    check_million(" connections, ", Signal::HUP, "SIGHUP");
    check_million("all are subscribed", Signal::TERM, "SIGTERM");
    check_million(" events, ", Signal::TERM, "SIGTERM");
}

/// Sends a run of this scenario a signal when its server has sent so much.
fn check_scenario(scenario: &str, segments: u64, signal: Signal, name: &str) {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let stentor = env!("CARGO_BIN_EXE_stentor");
    let spawn = format!("{stentor} --port {} --cores 1 --log warn", server.port());
    let url = format!("ws://{server}");
    let more = ["--deadline", "600", "--pusher", &url, "--spawn", &spawn];
    let mut generator = Generator::start(scenario.split_whitespace().chain(more));
    let clock = Clock::start();
    while sockets::segments_sent(server.port()).unwrap() < segments {
        if generator.child.try_wait().unwrap().is_some() || clock.now() > nanos(PATIENCE) {
            panic!("{scenario}: it does not come so far: {}", generator.hear(""));
        }
        pause(clock, Duration::from_millis(20));
    }
    generator.check_ended_by(signal, name, server, scenario);
}

#[test]
fn whatever_ends_a_run_early_ends_the_server_that_it_started() {
    // While it rests, for far longer than the test waits; and while events go out. Each client has two segments before any event.
    let idle = "load idle --from 10 --to 20 --settle 60";
    check_scenario(idle, 20, Signal::TERM, "SIGTERM");
    let fanout = "load fanout --connections 20 --rate 50 --seconds 300 --threads 2";
    check_scenario(fanout, 400, Signal::INT, "SIGINT");
}

#[test]
fn what_nohup_ignores_stays_ignored() {
    let status = "Name:\tload\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
    assert_eq!([1, 2, 13, 15].map(|signal| is_ignored(status, signal)), [true, false, true, false]);
    assert!(!is_ignored("", 1));
}

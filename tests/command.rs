//! The `stentor` command from outside: what it prints, how it ends. Needs the feature `pusher`.
#![cfg(feature = "pusher")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long anything here may take. Nothing waits this long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A working directory with its own files, and no variable that could reach the command from outside.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("stentor-command-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command.env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[track_caller]
fn check(place: &Place, arguments: &[&str], code: i32, out: &str, err: &str) {
    let ran = place.run(arguments);
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert!(ran.out.contains(out) && ran.err.contains(err), "{ran:#?}");
}

/// A running command. Ended at the latest when the test is.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command and hands its lines on as they come, so that a test can wait for one with a deadline.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let errors = child.stderr.take().unwrap();
        let output = child.stdout.take().unwrap();
        let to_errors = sender.clone();
        thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        thread::spawn(move || {
            BufReader::new(errors)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(to_errors.send(line)))
        });
        Self { child, lines }
    }

    /// Waits for a line with this in it.
    #[track_caller]
    fn expect(&self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("no line with `{part}`"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end: once all lines are read, it has closed its outputs and is ending.
    #[track_caller]
    fn end(mut self) -> Option<i32> {
        while let Ok(_line) = self.lines.recv_timeout(PATIENCE) {}
        match self.child.try_wait().unwrap() {
            Some(status) => status.code(),
            None => self.child.wait().unwrap().code(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on a free port, and its port.
fn serve(place: &Place) -> (Running, String) {
    let running = Running::start(place.command(&["serve", "--port", "0", "--cores", "2"]));
    let line = running.expect("listens on http://127.0.0.1:");
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (running, port)
}

#[test]
fn version_is_printed() {
    check(&Place::new(), &["version"], 0, &format!("stentor {}\n", env!("CARGO_PKG_VERSION")), "");
}

#[test]
fn help_shows_examples() {
    check(&Place::new(), &["--help"], 0, "stentor trigger news greeting", "");
    check(&Place::new(), &["listen", "--help"], 0, "stentor listen news --json --count 1", "");
}

#[test]
fn a_flag_nobody_knows_ends_with_2() {
    check(&Place::new(), &["--prot", "1"], 2, "", "unexpected argument '--prot'");
    check(&Place::new(), &["listen"], 2, "", "<CHANNELS>...");
}

#[test]
fn check_says_what_is_in_force_and_from_where() {
    let place = Place::new().with(".env", "REVERB_SERVER_PORT=6001\nREVERB_HOST=example.com\n");
    let ran = place.run(&["check", "--cores", "3"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(
        line("server.port").contains("6001") && line("server.port").ends_with(".env:1"),
        "{ran:#?}"
    );
    assert!(line("server.cores").ends_with("flag --cores"), "{ran:#?}");
    assert!(line("apps.secret").contains("(hidden)"), "{ran:#?}");
    assert!(ran.out.contains("tells your application where to publish"), "{ran:#?}");
}

#[test]
fn an_unknown_key_names_the_nearest_with_its_line() {
    let place = Place::new().with("stentor.toml", "[server]\nprot = 1\n");
    check(
        &place,
        &["check"],
        2,
        "",
        "stentor.toml:2: unknown key `prot` in [server]; did you mean `port`?",
    );
}

#[test]
fn the_file_of_a_flag_is_read_and_must_be_there() {
    let place = Place::new().with("other.toml", "[server]\nport = 7\n");
    check(&place, &["check", "--config", "other.toml"], 0, "other.toml:2", "");
    check(&place, &["check", "--config", "none.toml"], 2, "", "none.toml: cannot be read");
}

#[test]
fn two_apps_with_one_key_are_refused() {
    let app = |id| format!("[[apps]]\nid = \"{id}\"\nkey = \"k\"\nsecret = \"s\"\n");
    let place = Place::new().with("stentor.toml", &(app(1) + &app(2)));
    check(&place, &["check"], 2, "", "two apps have the key `k`");
}

#[test]
fn a_public_address_with_the_development_secret_is_refused() {
    for command in ["serve", "check"] {
        check(&Place::new(), &[command, "--host", "0.0.0.0"], 2, "", "run `stentor secret`");
    }
}

#[test]
fn a_fresh_secret_makes_a_sound_file_for_a_public_address() {
    let fresh = Place::new().run(&["secret"]);
    let file = fresh.out.split("\n\n").next().unwrap();
    let place = Place::new().with("stentor.toml", file);
    check(&place, &["check", "--host", "0.0.0.0"], 0, "The settings are sound.", "");
}

#[test]
fn nobody_there_is_said_and_ends_with_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    check(
        &Place::new(),
        &["trigger", "a", "b", "c", "--url", &free],
        1,
        "",
        "nothing listens on http://127.0.0.1:",
    );
    check(
        &Place::new(),
        &["listen", "a", "--url", &free],
        1,
        "",
        "nothing listens on http://127.0.0.1:",
    );
}

/// Answers one HTTP request, whatever it is.
fn answer_once(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = read_request(&mut tcp);
        tcp.write_all(answer.as_bytes()).unwrap();
        request
    });
    (address, served)
}

fn read_request(tcp: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = tcp.read(&mut chunk).unwrap();
        request.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced = head.to_ascii_lowercase();
        let announced =
            announced.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if length == 0 || body.len() >= announced.unwrap_or(0) {
            return text.into_owned();
        }
    }
}

#[test]
fn trigger_signs_and_prints_the_answer() {
    let (address, served) =
        answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    check(
        &Place::new(),
        &["trigger", "news", "hi", "{}", "--url", &address, "--app-id", "7"],
        0,
        "{}\n",
        "",
    );
    let request = served.join().unwrap();
    assert!(
        request.starts_with("POST /apps/7/events?auth_key=app-key&auth_timestamp="),
        "{request}"
    );
    assert!(
        request.contains("&auth_signature=")
            && request.ends_with(r#"{"name":"hi","channels":["news"],"data":"{}"}"#)
    );
}

#[test]
fn trigger_shows_a_refusal_and_ends_with_1() {
    let answer =
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\nConnection: close\r\n\r\nwrong key";
    let (address, served) = answer_once(answer);
    check(
        &Place::new(),
        &["trigger", "a", "b", "c", "--url", &address],
        1,
        "",
        "answered 401: wrong key",
    );
    served.join().unwrap();
}

#[test]
fn serve_greets_and_ends_in_order_on_a_signal() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::INT] {
        let (running, _) = serve(&Place::new());
        running.expect("REVERB_APP_SECRET=app-secret");
        running.signal(signal);
        assert_eq!(running.end(), Some(0));
    }
}

#[test]
fn serve_says_which_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    check(&Place::new(), &["serve", "--port", &port], 1, "", "another program listens there");
}

#[test]
fn an_event_that_is_triggered_is_heard() {
    let place = Place::new();
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener =
        Running::start(place.command(&["listen", "news", "--json", "--count", "1", "--url", &url]));
    listener.expect("subscribed to news");
    check(&place, &["trigger", "news", "hi", "{\"n\":1}", "--url", &url], 0, "{}", "");
    let heard = listener.expect("\"event\"");
    assert!(heard.ends_with(r#""channel":"news","event":"hi","data":"{\"n\":1}"}"#), "{heard}");
    assert_eq!(listener.end(), Some(0));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn listen_with_a_wrong_key_gives_up() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    check(
        &place,
        &["listen", "news", "--key", "nobody", "--url", &url],
        1,
        "",
        "the server closed with 4001",
    );
}

#[test]
fn listen_ends_in_order_on_a_signal() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener = Running::start(place.command(&["listen", "news", "--url", &url]));
    listener.expect("subscribed to news");
    listener.signal(rustix::process::Signal::INT);
    assert_eq!(listener.end(), Some(0));
}

#[test]
fn listen_comes_back_when_the_server_does() {
    let place = Place::new();
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener =
        Running::start(place.command(&["listen", "news", "--count", "1", "--url", &url]));
    listener.expect("subscribed to news");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
    let _again = Running::start(place.command(&["serve", "--port", &port, "--cores", "2"]));
    listener.expect("connecting again");
    listener.expect("subscribed to news");
    check(&place, &["trigger", "news", "hi", "{}", "--url", &url], 0, "{}", "");
    assert_eq!(listener.end(), Some(0));
}

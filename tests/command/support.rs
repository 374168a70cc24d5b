//! What every test of the command stands on: a place of its own, commands that run and end, servers of another make.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tungstenite::{Message, WebSocket};

/// How long anything here may take. Nothing waits this long unless it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A working directory with its own files, and no variable that could reach the command from outside.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("stentor-command-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command.env_clear();
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
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
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[track_caller]
pub(crate) fn check(place: &Place, arguments: &[&str], code: i32, out: &str, err: &str) {
    let ran = place.run(arguments);
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert!(ran.out.contains(out) && ran.err.contains(err), "{ran:#?}");
}

/// A running command. Ended at the latest when the test is.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command and hands its lines on as they come, so that a test can wait for one with a deadline.
    pub(crate) fn start(mut command: Command) -> Self {
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
    pub(crate) fn expect(&self, part: &str) -> String {
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

    pub(crate) fn signal(&self, which: Signal) {
        signal(&self.child, which);
    }

    /// Waits for its end: once all lines are read, it has closed its outputs and is ending.
    #[track_caller]
    pub(crate) fn end(mut self) -> Option<i32> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_line) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for the end of a command whose outputs are not read, and ends it if it is late.
#[track_caller]
pub(crate) fn end_of(mut child: Child) -> Option<i32> {
    let pid = Pid::from_child(&child);
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait().unwrap().code()));
    ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = kill_process(pid, Signal::KILL);
        panic!("it does not end");
    })
}

/// A server on a free port, and its port.
pub(crate) fn serve(place: &Place) -> (Running, String) {
    serve_with(place, &[])
}

pub(crate) fn serve_with(place: &Place, flags: &[&str]) -> (Running, String) {
    let serve = [&["serve", "--port", "0", "--cores", "2"], flags].concat();
    let running = Running::start(place.command(&serve));
    let line = running.expect("listens on http://127.0.0.1:");
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (running, port)
}

/// Answers one HTTP request, whatever it is.
pub(crate) fn answer_once(answer: &'static str) -> (String, thread::JoinHandle<String>) {
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

pub(crate) fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "the request ends too early: {}", String::from_utf8_lossy(&request));
        request.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced = head.to_ascii_lowercase();
        let announced =
            announced.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= announced.unwrap_or(0) {
            return text.into_owned();
        }
    }
}

/// A server of another make: greets, confirms one subscription to `news` and publishes one event there.
pub(crate) fn greet_and_publish<S: Read + Write>(stream: S, data: &str) -> WebSocket<S> {
    let mut peer = tungstenite::accept(stream).map_err(|error| error.to_string()).unwrap();
    let send = |peer: &mut WebSocket<S>, event: &str, data: &str| {
        let message = json!({ "event": event, "channel": "news", "data": data });
        peer.send(Message::text(message.to_string())).unwrap();
    };
    let greeting = r#"{"socket_id":"1.2","activity_timeout":30}"#;
    send(&mut peer, "pusher:connection_established", greeting);
    let request = peer.read().unwrap();
    assert!(request.to_text().unwrap().contains("pusher:subscribe"), "{request}");
    send(&mut peer, "pusher_internal:subscription_succeeded", "{}");
    send(&mut peer, "hi", data);
    peer
}

/// A file of apps: id, key and secret of each, and further lines.
pub(crate) fn apps_file(apps: &[(&str, &str, &str)], more: &str) -> String {
    let app = |(id, key, secret): &(&str, &str, &str)| {
        format!("[[apps]]\nid = \"{id}\"\nkey = \"{key}\"\nsecret = \"{secret}\"\n")
    };
    let apps: String = apps.iter().map(app).collect();
    format!("{more}{apps}")
}

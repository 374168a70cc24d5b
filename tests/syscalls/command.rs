//! The `stentor` command itself under `strace`: what a batch over its HTTP API costs the kernel, and a system that forbids
//! it the call `unshare`, as the sandboxes of containers do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stentor::app::unix_seconds;
use stentor::pusher::signature::{Credentials, signed_query};

use crate::support::{Client, now};
use crate::ws_client::WsClient;
use crate::{FEW, SENDING, SUBSCRIBERS, check_idleness, pass_time, trace};

const STENTOR: &str = env!("CARGO_BIN_EXE_stentor");
const SERVE: [&str; 3] = ["serve", "--port", "0"];

/// The most events that a batch may have.
const BATCH: usize = 10;

/// A served development app. It ends at the latest when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Open for as long as the server may print.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listens on http://")?;
            rest.split(' ').next()?.parse().ok()
        });
        let address = address.expect("the server says where it listens");
        Self { child, address, _output: output }
    }

    /// A client that has been greeted.
    fn join(&self) -> WsClient {
        let mut client = WsClient::upgrade_at(Client::connect(self.address), "/app/app-key");
        assert_eq!(heard(&mut client)["event"], "pusher:connection_established");
        client
    }

    fn subscribers(&self, count: usize) -> Vec<WsClient> {
        let mut clients: Vec<_> = (0..count).map(|_| self.join()).collect();
        clients.iter_mut().for_each(|client| subscribe(client, "news"));
        clients
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command without settings from outside.
fn stentor(more: &[&str]) -> Command {
    let mut command = Command::new(STENTOR);
    command.args(SERVE).args(more).env_clear();
    in_an_empty_place(command)
}

/// The same, where each thread that wants a table of descriptors of its own is told that it may not. With `-D` it is the
/// server that is our child, and `strace` that of the server.
fn stentor_without_unshare(more: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
    command.args(["-e", "trace=unshare", "-e", "inject=unshare:error=EPERM"]);
    command.args(["env", "-i", STENTOR]).args(SERVE).args(more);
    in_an_empty_place(command)
}

fn in_an_empty_place(mut command: Command) -> Command {
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

fn heard(client: &mut WsClient) -> Value {
    let text = client.hear();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

fn subscribe(client: &mut WsClient, channel: &str) {
    client.say(json!({"event": "pusher:subscribe", "data": {"channel": channel}}).to_string());
    let answer = heard(client);
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
    assert_eq!(answer["channel"], channel, "{answer}");
}

/// Posts a whole batch, which all of them hear in order.
fn publish_batch(back_end: &mut Client, clients: &mut [WsClient]) {
    let event = |number: usize| json!({"name": "n", "channel": "news", "data": number.to_string()});
    let body = json!({"batch": (0..BATCH).map(event).collect::<Vec<_>>()}).to_string();
    let (path, length) = ("/apps/1/batch_events", body.len());
    let credentials = Credentials { key: "app-key", secret: &"app-secret".into() };
    let query = signed_query(credentials, "POST", path, body.as_bytes(), unix_seconds());
    back_end.send(format!(
        "POST {path}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let answer = back_end.read_answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    for client in clients {
        for number in 0..BATCH {
            let expected = json!({"event": "n", "channel": "news", "data": number.to_string()});
            assert_eq!(heard(client), expected);
        }
    }
}

fn check_batch(subscribers: usize) {
    let server = Server::start(stentor(&["--cores", "1"]));
    let mut clients = server.subscribers(subscribers);
    let mut back_end = Client::connect(server.address);
    publish_batch(&mut back_end, &mut clients);
    let mut marker = server.join();
    let mark = |channel: &str| subscribe(&mut marker, channel);
    let counts = trace(server.child.id(), SENDING, mark, || {
        publish_batch(&mut back_end, &mut clients);
    });
    let sends = ["sendto", "sendmsg", "writev", "write"].iter().filter_map(|it| counts.get(*it));
    // Each of them heard something and so did the back end: so nobody was sent to twice.
    assert_eq!(sends.sum::<usize>(), subscribers + 1, "{counts:?}");
    assert_eq!(counts.get("epoll_ctl"), None, "{counts:?}");
}

#[test]
fn a_batch_of_ten_over_the_api_is_one_send_for_each_subscriber_and_one_for_the_answer() {
    check_batch(FEW);
    check_batch(SUBSCRIBERS);
}

#[test]
fn two_cores_whose_clients_wait_make_no_system_call_but_for_their_sweeps() {
    let server = Server::start(stentor(&["--cores", "2"]));
    let _clients = server.subscribers(SUBSCRIBERS);
    let mut marker = Client::connect(server.address);
    let begin = now();
    // strace sees the word as it comes in. Who asks for a path that is none is answered without the other core.
    let mark = |word: &str| {
        marker.send(format!("GET /{word} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(marker.read_answer().status, 404);
    };
    let counts = trace(server.child.id(), "trace=all", mark, pass_time);
    check_idleness(counts, 2, begin.elapsed());
}

#[test]
fn where_unshare_is_forbidden_the_server_shares_one_table_says_so_once_and_serves() {
    let mut command = stentor_without_unshare(&["--cores", "2"]);
    command.stderr(Stdio::piped());
    let mut server = Server::start(command);
    let mut clients = server.subscribers(4);
    publish_batch(&mut Client::connect(server.address), &mut clients);
    drop(clients);
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let says =
        log.lines().filter(|line| line.contains("unshare") && line.contains("for the process"));
    assert_eq!(says.count(), 1, "{log}");
    assert!(server.child.wait().unwrap().success(), "{log}");
}

#[test]
fn where_unshare_is_forbidden_who_insists_on_tables_is_told_and_does_not_start() {
    let ran = stentor_without_unshare(&["--own-descriptor-tables=true"]).output().unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert!(!ran.status.success(), "{error}");
    assert!(
        error.contains("own_descriptor_tables is true") && error.contains("unshare"),
        "{error}"
    );
}

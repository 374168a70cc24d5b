//! Two panics in callbacks of one core within a minute end the process: never half a server that still accepts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "other tests use more of what is shared")]

#[path = "behaviour/process.rs"]
mod process;
#[path = "behaviour/room.rs"]
mod room;
#[path = "behaviour/support.rs"]
mod support;
#[path = "behaviour/ws_client.rs"]
mod ws_client;

use std::os::unix::process::ExitStatusExt;

use stentor::Options;

use process::ServerProcess;
use room::Room;
use support::Client;
use ws_client::WsClient;

/// What `std::process::abort` raises.
const SIGABRT: i32 = 6;

/// The part of the server.
#[test]
fn plays_the_server_when_told() {
    if process::is_told() {
        let options = Options { cores: 1, ..Options::default() };
        process::play(options, |_| Box::new(|_| Room::default()));
    }
}

#[test]
fn one_panic_costs_a_connection_and_a_second_one_the_process() {
    let mut server = ServerProcess::start("plays_the_server_when_told");
    let open = || WsClient::upgrade(Client::connect(server.address));
    let mut bystander = open();
    let mut first = open();
    first.say("panic");
    assert_eq!(first.hear(), "<close 1011>");
    bystander.say("still here");
    assert_eq!(bystander.hear(), "still here");
    let mut second = open();
    second.say("panic");
    assert_eq!(server.wait().signal(), Some(SIGABRT));
}

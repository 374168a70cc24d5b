//! A server that is late itself: it was stopped, or its machine slept. What its peers sent meanwhile was in time.

use std::time::Duration;

use stentor::metrics::Counter;
use stentor::{Options, Patience};

use crate::host::Child;
use crate::process;
use crate::resets::raise_descriptors;

/// Of each kind: more than a core reads in one turn.
const PEERS: usize = 600;

/// What peers have for everything.
const DEADLINE: Duration = Duration::from_secs(4);

/// For how long the server is stopped.
const STOPPED: Duration = Duration::from_secs(10);

/// The part of that server.
#[test]
fn plays_a_hasty_server_when_told() {
    if process::is_told() {
        raise_descriptors();
        let patience = Patience { ping_after: DEADLINE, close_after: DEADLINE };
        let (request_deadline, message_deadline) = (DEADLINE, DEADLINE);
        crate::play(Options {
            cores: 2,
            patience,
            request_deadline,
            message_deadline,
            ..Options::default()
        });
    }
}

#[test]
fn a_server_that_was_stopped_ends_nobody_for_what_it_did_not_read() {
    raise_descriptors();
    let server = Child::start("late::plays_a_hasty_server_when_told");
    let mut silent: Vec<_> = (0..PEERS).map(|_| server.open()).collect();
    let mut halves: Vec<_> = (0..PEERS).map(|_| server.open()).collect();
    let mut requests: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    halves.iter_mut().for_each(|peer| peer.client.send([0x81, 0x82, 0, 0, 0, 0, b'o']));
    requests.iter_mut().for_each(|peer| peer.send("GET / HTTP/1.1\r\n"));
    // They were read: each core has answered somebody who came later.
    silent.iter_mut().for_each(|peer| peer.say("hello"));
    silent.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "hello"));
    server.while_stopped(|| {
        silent.iter_mut().for_each(|peer| peer.say("still here"));
        halves.iter_mut().for_each(|peer| peer.client.send(b"k"));
        requests.iter_mut().for_each(|peer| peer.send("Host: x\r\n\r\n"));
        assert!(!silent[0].client.hears_within(STOPPED), "nobody hears a server that is stopped");
    });
    silent.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "still here"));
    halves.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "ok"));
    requests.iter_mut().for_each(|peer| assert_eq!(peer.read_answer().status, 200));
    let late = [Counter::IdleClosed, Counter::MessagesLate, Counter::RequestsLate];
    assert_eq!(late.map(|counter| server.count(counter)), [0; 3]);
}

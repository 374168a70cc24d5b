//! Thousands of connections that vanish in one moment, with a reset and without a word.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use stentor::metrics::Counter;

use crate::host::{Bystander, Child};

const PEERS: usize = 5_000;

/// As many descriptors as the system lets this process have.
pub(crate) fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn five_thousand_resets_at_once_free_every_slot_and_nobody_else_notices() {
    raise_descriptors();
    let server = Child::start("plays_the_server_when_told");
    let mut bystander = Bystander::new(server.open());
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.open()).collect();
    peers.iter_mut().for_each(|peer| peer.say("sub t"));
    peers.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "subscribed t"));
    let before = server.count(Counter::Closed);
    // All of them wait before the server sees the first one.
    server.while_stopped(|| {
        for peer in peers {
            let stream = peer.client.stream.try_clone().unwrap();
            // Closed with this, a connection is reset: the peer says no good-bye.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    let all = PEERS as u64;
    bystander.check_until("all are gone", || server.count(Counter::Closed) >= before + all);
    assert_eq!(server.count(Counter::SocketErrors), all);
    // The topic has one subscriber now, not 5,001.
    let mut listener = server.open();
    listener.say("sub t");
    assert_eq!(listener.hear(), "subscribed t");
    let delivered = server.count(Counter::Deliveries);
    listener.say("pub t once");
    assert_eq!(listener.hear(), "once");
    assert_eq!(server.count(Counter::Deliveries), delivered + 1);
}

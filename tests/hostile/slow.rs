//! Peers that take their time: each has a deadline, two hundred at once cost nobody else anything.

use std::time::Duration;

use stentor::Options;
use stentor::metrics::Counter;

use crate::host::{Bystander, Host, one_core};
use crate::support::{Client, Running};
use crate::ws_client::WsClient;

const PEERS: usize = 200;

/// Long enough for two hundred peers to begin on a machine that has better to do.
const DEADLINE: Duration = Duration::from_secs(3);

/// A server whose peers have that long for everything, and somebody who must not notice.
fn hasty() -> (Running, Bystander) {
    let server = Host::start(Options {
        request_deadline: DEADLINE,
        keep_alive: DEADLINE,
        message_deadline: DEADLINE,
        closing_deadline: DEADLINE,
        ..one_core()
    });
    let bystander = Bystander::new(WsClient::open(&server));
    (server, bystander)
}

/// The bystander is served until all peers are counted there.
fn check_counted(server: &Running, bystander: &mut Bystander, counter: Counter) {
    let all = PEERS as u64;
    bystander.check_until(counter.name(), || server.metrics().total(counter) >= all);
    assert_eq!(server.metrics().total(counter), all);
    assert_eq!(server.metrics().total(Counter::Panics), 0);
}

/// Whether something has come, without waiting for it. None is taken.
fn has_heard(client: &Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let has_heard = client.stream.peek(&mut [0]).is_ok();
    client.stream.set_nonblocking(false).unwrap();
    has_heard
}

/// Sends one byte more of each peer's text, again and again, while the bystander is served, until all are counted.
fn drip(
    peers: &mut [(Client, String)],
    server: &Running,
    bystander: &mut Bystander,
    counter: Counter,
) {
    let all = PEERS as u64;
    let mut at = 0;
    bystander.check_until(counter.name(), || {
        for (client, text) in &mut *peers {
            // Whoever was answered stops: bytes behind the end would reset the connection.
            if let Some(byte) = text.as_bytes().get(at)
                && !has_heard(client)
            {
                client.offer([*byte]);
            }
        }
        at += 1;
        server.metrics().total(counter) >= all
    });
    assert_eq!(server.metrics().total(counter), all);
}

#[test]
fn heads_and_bodies_in_drops_meet_the_deadline() {
    let (server, mut bystander) = hasty();
    let endless = "x".repeat(10_000);
    let head = |_| (server.connect(), format!("GET / HTTP/1.1\r\nX: {endless}"));
    let body = |_| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n");
        (client, endless.clone())
    };
    let mut peers: Vec<_> = (0..PEERS / 2).map(head).chain((0..PEERS / 2).map(body)).collect();
    peers.iter_mut().for_each(|(client, text)| client.offer(text.remove(0).to_string()));
    drip(&mut peers, &server, &mut bystander, Counter::RequestsLate);
    for (client, _) in &mut peers {
        assert_eq!(client.read_answer().status, 408);
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn frames_and_messages_in_drops_meet_the_deadline() {
    let (server, mut bystander) = hasty();
    // Part of a header; a payload that takes for ever; fragments of which none is the last.
    let begun: [&[u8]; 3] =
        [&[0x81], &[0x82, 0xfe, 0x27, 0x10, 0, 0, 0, 0], &[0x01, 0x80, 0, 0, 0, 0]];
    let mut peers: Vec<_> = (0..PEERS).map(|_| WsClient::open(&server)).collect();
    for (peer, bytes) in peers.iter_mut().zip(begun.iter().cycle()) {
        peer.client.send(bytes);
    }
    let all = PEERS as u64;
    let is_over = |server: &Running| server.metrics().total(Counter::MessagesLate) >= all;
    bystander.check_until("all are late", || {
        // Only the second and the third kind may go on for ever.
        for (peer, kind) in peers.iter_mut().zip([0, 1, 2].iter().cycle()) {
            let more: &[u8] = [&b""[..], b"x", &[0x00, 0x80, 0, 0, 0, 0]][*kind];
            if !has_heard(&peer.client) {
                peer.client.offer(more);
            }
        }
        is_over(&server)
    });
    for mut peer in peers {
        assert_eq!((peer.hear(), peer.hear()), ("<close 1008>".to_owned(), "<end>".to_owned()));
    }
    let metrics = server.metrics();
    assert_eq!(metrics.total(Counter::MessagesLate), all);
    assert_eq!(metrics.total(Counter::WsErrors), all);
}

#[test]
fn who_connects_and_says_nothing_is_ended() {
    let (server, mut bystander) = hasty();
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    check_counted(&server, &mut bystander, Counter::HttpIdleClosed);
    for peer in &mut peers {
        assert_eq!(peer.read_to_end(), b"");
    }
}

#[test]
fn who_speaks_tls_to_a_plain_port_is_ended_without_a_word() {
    let (server, mut bystander) = hasty();
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.offer(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    check_counted(&server, &mut bystander, Counter::HttpErrors);
    for peer in &mut peers {
        assert_eq!(peer.read_to_end(), b"");
    }
}

#[test]
fn who_never_answers_a_close_frame_is_cut() {
    let (server, mut bystander) = hasty();
    let mut peers: Vec<_> = (0..PEERS).map(|_| WsClient::open(&server)).collect();
    // It is not read, so our client does not answer it.
    peers.iter_mut().for_each(|peer| peer.say("close"));
    check_counted(&server, &mut bystander, Counter::ClosesLate);
    for peer in &mut peers {
        assert_eq!((peer.hear(), peer.hear()), ("<close 1000>".to_owned(), "<end>".to_owned()));
    }
}

#[test]
fn who_rests_between_requests_for_too_long_is_ended() {
    let (server, mut bystander) = hasty();
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for peer in &mut peers {
        assert_eq!(peer.read_answer().status, 200);
    }
    check_counted(&server, &mut bystander, Counter::HttpIdleClosed);
    for peer in &mut peers {
        assert_eq!(peer.read_to_end(), b"");
    }
}

#[test]
fn who_is_left_when_the_end_is_due_is_cut_and_counted() {
    let shutdown_deadline = Duration::from_millis(500);
    let server = Host::start(Options { shutdown_deadline, ..one_core() });
    let mut silent = WsClient::open(&server);
    let metrics = server.metrics().clone();
    // Our client does not read, so it does not answer the close frame. Dropping the server waits for its end.
    drop(server);
    assert_eq!(metrics.total(Counter::CutAtEnd), 1);
    assert_eq!((silent.hear(), silent.hear()), ("<close 1001>".to_owned(), "<end>".to_owned()));
}

//! Peers that send as much as they can: the work of a turn is bounded, memory is, and everybody else is served.

use std::io::Write as _;
use std::thread;

use flate2::{Compress, Compression, FlushCompress};
use stentor::metrics::Counter;
use stentor::{Options, http, ws};

use crate::host::{Bystander, Child, Host, counted, now, one_core};
use crate::resets::raise_descriptors;
use crate::support::PATIENCE;
use crate::ws_client::WsClient;

/// What a server may take more for one flood: a read buffer, an outbox, and what a turn makes of them.
const ROOM_BYTES: usize = 8 * 1024 * 1024;

/// One peer floods a server of its own; a bystander on the same core is served meanwhile, and memory stays where it was.
fn check_bounded(flood: impl FnOnce(&Child) + Send) {
    let server = Child::start("plays_the_server_when_told");
    let mut bystander = Bystander::new(server.open());
    let before = server.peak_bytes();
    bystander.check_while(|| flood(&server));
    bystander.check();
    let more = server.peak_bytes() - before;
    assert!(more < ROOM_BYTES, "{more} bytes more than before");
    assert_eq!(server.count(Counter::Panics), 0);
}

/// The server's counters are asked for again and again.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_so() {
        assert!(now() < deadline, "waiting until {what}");
        thread::yield_now();
    }
}

/// Header fields past the limit, and heads without an end.
#[test]
fn floods_of_headers_and_endless_heads_are_refused() {
    let limits = http::Limits { head_bytes: 4096, headers: 16, body_bytes: 4096 };
    let server = Host::start(Options { http: limits, ..one_core() });
    let mut bystander = Bystander::new(WsClient::open(&server));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(400));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024));
    let longer = format!("GET /{}", "x".repeat(64 * 1024));
    let mut refused = 0;
    for _ in 0..50 {
        let kinds = [(&many, 431), (&long, 431), (&longer, 414)];
        let mut peers = kinds.map(|(bytes, status)| (server.connect(), bytes, status));
        peers.iter_mut().for_each(|(peer, bytes, _)| peer.offer(bytes.as_bytes()));
        for (peer, _, status) in &mut peers {
            assert_eq!(peer.read_answer().status, *status);
            refused += 1;
        }
        bystander.check();
    }
    assert_eq!(server.metrics().total(Counter::HttpErrors), refused);
}

#[test]
fn a_message_that_announces_too_much_is_refused_before_a_byte_of_it() {
    let limits = ws::Limits { message_bytes: 1000 };
    let server = Host::start(Options { ws: limits, ..one_core() });
    let mut bystander = Bystander::new(WsClient::open(&server));
    for number in 1..=50 {
        let mut peer = WsClient::open(&server);
        // By one frame; or by the second of two.
        if number % 2 == 0 {
            peer.client.offer([0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0]);
        } else {
            peer.client.offer([0x02, 0x81, 0, 0, 0, 0, b'x', 0x80, 0xfe, 0x03, 0xe8, 0, 0, 0, 0]);
        }
        assert_eq!((peer.hear(), peer.hear()), ("<close 1009>".to_owned(), "<end>".to_owned()));
        assert_eq!(server.metrics().total(Counter::WsErrors), number);
        bystander.check();
    }
}

#[test]
fn pings_of_a_peer_that_never_reads_are_answered_in_order_once_it_does() {
    /// More than the buffers of the kernel take: the server must wait with its answers, and so with its reading.
    const PINGS: u32 = 600_000;
    let payload = |number: u32| [&number.to_be_bytes()[..], &[b'x'; 121]].concat();
    check_bounded(|server| {
        let mut peer = server.open();
        let mut writer = peer.client.stream.try_clone().unwrap();
        let ping = move |number| [&[0x89, 0xfd, 0, 0, 0, 0][..], &payload(number)].concat();
        let writing = thread::spawn(move || {
            (0..PINGS).for_each(|number| writer.write_all(&ping(number)).unwrap());
        });
        wait_until("the flooder is not read", || server.count(Counter::ReadsPaused) > 0);
        let taken = server.count(Counter::PingsReceived);
        assert!(taken < u64::from(PINGS), "{taken} of {PINGS} were read before a pong was");
        for number in 0..PINGS {
            let pong = [&[0x8a, 125][..], &payload(number)].concat();
            assert_eq!(peer.client.read_exactly(pong.len()), pong);
        }
        writing.join().unwrap();
        assert_eq!(server.count(Counter::PingsReceived), u64::from(PINGS));
        assert_eq!(server.count(Counter::SlowConsumers), 0);
    });
}

#[test]
fn a_million_empty_fragments_cost_no_memory_and_full_ones_meet_the_limit() {
    check_bounded(|server| {
        let mut peer = server.open();
        peer.client.send([0x01, 0x80, 0, 0, 0, 0]);
        let thousand = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
        for _ in 0..1000 {
            peer.client.send(&thousand);
        }
        // They were all taken: the last one is answered.
        peer.client.send([0x80, 0x82, 0, 0, 0, 0, b'o', b'k']);
        assert_eq!(peer.hear(), "ok");
        let mut peer = server.open();
        peer.client.send([0x02, 0x80, 0, 0, 0, 0]);
        let thousand = [0x00, 0x81, 0, 0, 0, 0, b'x'].repeat(1000);
        // The limit of a message is 1 MiB; past it nothing more is taken.
        for _ in 0..1100 {
            peer.client.offer(&thousand);
        }
        assert_eq!(peer.hear(), "<close 1009>");
        assert_eq!(server.count(Counter::WsErrors), 1);
    });
}

#[test]
fn pipelined_requests_of_a_peer_that_never_reads_wait_and_are_answered_once_it_does() {
    const REQUESTS: usize = 20_000;
    check_bounded(|server| {
        let mut peer = server.connect();
        let mut writer = peer.stream.try_clone().unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS);
        let writing = thread::spawn(move || writer.write_all(&request).unwrap());
        wait_until("the flooder is not read", || server.count(Counter::ReadsPaused) > 0);
        let mut last = 0;
        for _ in 0..REQUESTS {
            let number = counted(&peer.read_answer(), Counter::HttpRequests);
            assert!(number > last, "in order");
            last = number;
        }
        writing.join().unwrap();
    });
}

/// 64 MiB of zeroes as one compressed message, without what RFC 7692 §7.2.1 leaves out.
fn bomb() -> Vec<u8> {
    let zeroes = vec![0; 1024 * 1024];
    let mut compress = Compress::new(Compression::best(), false);
    let mut bomb = Vec::with_capacity(zeroes.len());
    for _ in 0..63 {
        compress.compress_vec(&zeroes, &mut bomb, FlushCompress::None).unwrap();
    }
    compress.compress_vec(&zeroes, &mut bomb, FlushCompress::Sync).unwrap();
    assert_eq!(bomb.split_off(bomb.len() - 4), [0, 0, 0xff, 0xff]);
    bomb
}

/// A client's frame, masked with zeroes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    let header = if payload.len() > 65_535 {
        [&[first, 0xff][..], &length].concat()
    } else {
        [&[first, 0xfe][..], &length[6..]].concat()
    };
    [&header[..], &[0; 4], payload].concat()
}

#[test]
fn inflate_bombs_close_with_1009_and_are_never_unpacked() {
    let bomb = bomb();
    assert!(bomb.len() < 100_000, "a thousandth of what it unpacks to");
    let whole = frame(0xc2, &bomb);
    let (first, second) = bomb.split_at(bomb.len() / 2);
    let halves = [frame(0x42, first), frame(0x80, second)].concat();
    check_bounded(|server| {
        for count in 1..=150 {
            let mut peer = server.connect();
            peer.send(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            );
            let head = peer.read_head().head;
            assert!(head.contains("permessage-deflate"), "{head}");
            peer.offer(if count % 2 == 0 { &whole } else { &halves });
            let close = peer.read_exactly(4);
            assert_eq!((close[0], &close[2..]), (0x88, &1009_u16.to_be_bytes()[..]));
            assert_eq!(server.count(Counter::WsErrors), count);
        }
    });
}

#[test]
fn who_connect_at_once_are_accepted_in_slices_and_others_are_served_in_between() {
    raise_descriptors();
    let slice = Options::default().accept_slice as u64;
    let server = Child::start("plays_the_server_when_told");
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut asking = server.connect();
    asking.send(request);
    let before = counted(&asking.read_answer(), Counter::Accepted);
    // All of them wait before the server sees the first one, and so does a request.
    let _peers = server.while_stopped(|| {
        let peers: Vec<_> = (0..4 * slice).map(|_| server.connect()).collect();
        asking.send(request);
        peers
    });
    let accepted = counted(&asking.read_answer(), Counter::Accepted) - before;
    assert!((1..=slice).contains(&accepted), "{accepted} were accepted first");
    wait_until("all are accepted", || server.count(Counter::Accepted) > before + 4 * slice);
}

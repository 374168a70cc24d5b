//! How much one turn does, for one connection and for all: whoever has more to say waits for the next turn like the others.

use super::*;
use crate::metrics::Counter;

/// A ping as a client sends it, masked with zeroes: 8 bytes.
const PING: [u8; 8] = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];

#[test]
fn a_turn_reads_one_buffer_of_a_flood_and_serves_the_others() {
    const PINGS: usize = 512;
    const TURNS: usize = 10;
    let options = Options { cores: 1, read_buffer_bytes: PINGS * PING.len(), ..Options::default() };
    let (mut simulation, _) = obedient(options);
    let flooder = Ws::open(&mut simulation, 0, 0);
    let mut bystander = Ws::open(&mut simulation, 0, 1);
    flooder.client.send(&PING.repeat(PINGS * TURNS));
    for turn in 1..=TURNS {
        bystander.say("hello");
        assert!(simulation.turn(0), "there is more to read");
        let answered = simulation.metrics().total(Counter::PingsReceived);
        assert_eq!(answered, (turn * PINGS) as u64);
        assert_eq!(flooder.client.take_received(), [0x8a, 2, b'h', b'i'].repeat(PINGS));
        assert_eq!(bystander.heard(), ["hello"], "in turn {turn}");
    }
    simulation.settle();
    assert!(flooder.client.take_received().is_empty());
}

#[test]
fn a_turn_reads_512_connections_and_the_next_one_the_others() {
    let (mut simulation, _) = obedient(cores(1));
    let mut all: Vec<Ws> = (0..513).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    let before = simulation.metrics().total(Counter::WsMessages);
    all.iter_mut().for_each(|ws| ws.say("hello"));
    for heard in [512, 513] {
        simulation.turn(0);
        assert_eq!(simulation.metrics().total(Counter::WsMessages) - before, heard);
    }
}

#[test]
fn who_is_here_is_read_before_hundreds_who_have_just_come_and_lets_some_of_them_in() {
    let (mut simulation, _) = obedient(cores(1));
    let mut all: Vec<Ws> = (0..600).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    let newcomers: Vec<_> = (0..600).map(|_| simulation.connect(0)).collect();
    simulation.settle();
    let served = |simulation: &Simulation<_>| {
        let total = |counter| simulation.metrics().total(counter);
        (total(Counter::WsMessages), total(Counter::HttpRequests) - 600)
    };
    newcomers.iter().for_each(|client| client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    all[599].say("hello");
    simulation.turn(0);
    assert_eq!(served(&simulation), (1, 511), "one who is here does not wait for any of them");
    assert_eq!(all[599].heard(), ["hello"]);
    simulation.settle();
    let later: Vec<_> = (0..600).map(|_| simulation.connect(0)).collect();
    simulation.settle();
    later.iter().for_each(|client| client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    all.iter_mut().for_each(|ws| ws.say("hello"));
    let before = served(&simulation);
    simulation.turn(0);
    let after = served(&simulation);
    assert_eq!((after.0 - before.0, after.1 - before.1), (384, 128), "one of four has just come");
}

#[test]
fn a_turn_serves_64_requests_of_one_connection() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    simulation.settle();
    client.send(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(150));
    for served in [64, 128, 150] {
        simulation.turn(0);
        assert_eq!(simulation.metrics().total(Counter::HttpRequests), served);
    }
}

#[test]
fn who_does_not_take_its_pongs_is_paused_and_counted_once_each_time() {
    let options = Options { cores: 1, outbox_bytes: 10_000, ..Options::default() };
    let (mut simulation, _) = obedient(options);
    let flooder = Ws::open(&mut simulation, 0, 0);
    for times in 1..=3 {
        flooder.client.set_room(Some(0));
        for _ in 0..20 {
            // Pongs of 400 bytes: half of the limit is passed by the 13th, and no more are read.
            flooder.client.send(&PING.repeat(100));
            simulation.settle();
        }
        assert_eq!(simulation.metrics().total(Counter::ReadsPaused), times);
        assert!(simulation.metrics().total(Counter::PingsReceived) < times * 2_000);
        flooder.client.set_room(None);
        simulation.settle();
        assert_eq!(simulation.metrics().total(Counter::PingsReceived), times * 2_000);
    }
    assert_eq!(simulation.metrics().total(Counter::SlowConsumers), 0);
}

//! Fan-out of a shard in memory: what an event costs us, apart from what the kernel asks for its `send`.
//!
//! `cargo bench --bench fanout`. One iteration is one event, from the publisher's frame to the last subscriber's
//! socket; divide by the number of subscribers for a delivery.

use divan::Bencher;
use divan::counter::ItemsCount;
use stentor::reactor::simulation::{Client, Simulation};
use stentor::{Conn, Handler, Message, Options};

fn main() {
    divan::main();
}

/// `+` subscribes; anything else is published.
struct Room;

impl Handler for Room {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let done = match message.bytes() {
            b"+" => conn.subscribe("room").is_ok(),
            _ => conn.publish("room", message).is_ok(),
        };
        assert!(done, "within all limits");
    }
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A masked text frame of at most 125 bytes, with the key 0.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length <= 125);
    let length = length.expect("a short frame");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// So many subscribers, spread over the cores, and a publisher on core 0.
fn room(cores: usize, subscribers: usize) -> (Simulation<Room>, Client) {
    let options = Options { cores, ..Options::default() };
    let mut simulation = Simulation::new(options, |_| (Room, ()));
    for number in 0..subscribers {
        let client = simulation.connect(number % cores);
        client.sink();
        client.send(UPGRADE);
        client.send(&frame("+"));
    }
    let publisher = simulation.connect(0);
    publisher.send(UPGRADE);
    simulation.settle();
    (simulation, publisher)
}

#[divan::bench(args = [1, 100, 1_000, 10_000])]
fn event_on_one_core(bencher: Bencher<'_, '_>, subscribers: usize) {
    let (mut simulation, publisher) = room(1, subscribers);
    let event = frame(&"x".repeat(100));
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        publisher.send(&event);
        simulation.settle();
    });
}

#[divan::bench(args = [1, 100, 1_000, 10_000])]
fn ten_events_of_one_turn(bencher: Bencher<'_, '_>, subscribers: usize) {
    let (mut simulation, publisher) = room(1, subscribers);
    let events = frame(&"x".repeat(100)).repeat(10);
    bencher.counter(ItemsCount::new(10 * subscribers)).bench_local(|| {
        publisher.send(&events);
        simulation.settle();
    });
}

#[divan::bench(args = [4, 1_000])]
fn event_on_four_cores_in_one_thread(bencher: Bencher<'_, '_>, subscribers: usize) {
    let (mut simulation, publisher) = room(4, subscribers);
    let event = frame(&"x".repeat(100));
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        publisher.send(&event);
        simulation.settle();
    });
}

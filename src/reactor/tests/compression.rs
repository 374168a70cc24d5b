//! permessage-deflate in the fan-out: who gets which bytes, and what it costs.

use super::*;
use crate::metrics::Counter;

/// Longer than the threshold, and different each time.
fn long(number: usize) -> String {
    format!("{number} {}", "a word of it, and another. ".repeat(60))
}

/// A WebSocket client that offers `extensions`, and what the server answered to that.
fn open(
    simulation: &mut Simulation<Obedient>,
    core: usize,
    extensions: &str,
) -> (Ws, Option<String>) {
    let client = simulation.connect(core);
    let offer = format!("\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n");
    client.send(upgrade(0).replace("\r\n\r\n", &offer).as_bytes());
    simulation.settle();
    let head = String::from_utf8(client.take_received()).unwrap();
    let named = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let window = ws::deflate::WindowBits::MOST;
    let agreed = named.map(|_| ws::Agreement { window });
    let protocol = ws::Protocol::new(ws::Role::Client).with_deflate(agreed);
    (Ws { client, protocol }, named.map(str::to_owned))
}

fn deflating(simulation: &mut Simulation<Obedient>, core: usize) -> Ws {
    let (ws, answer) = open(simulation, core, "permessage-deflate; client_max_window_bits");
    assert!(answer.is_some());
    ws
}

/// So many subscribers of a topic, every other one of which takes compressed messages, over three cores.
fn mixed(count: usize) -> (Simulation<Obedient>, Vec<Ws>) {
    let (mut simulation, _) = obedient(cores(3));
    let mut all: Vec<Ws> = (0..count)
        .map(|number| match number % 2 {
            0 => deflating(&mut simulation, number % 3),
            _ => Ws::open(&mut simulation, number % 3, 0),
        })
        .collect();
    all.iter_mut().for_each(|ws| ws.say("sub t"));
    simulation.settle();
    all.iter_mut().for_each(|ws| assert_eq!(ws.heard(), ["subscribed t"]));
    (simulation, all)
}

fn compressed(simulation: &Simulation<Obedient>) -> u64 {
    simulation.metrics().total(Counter::Compressed)
}

#[test]
fn compressed_and_plain_subscribers_hear_the_same_events_in_the_same_order() {
    // The audience of a core is below the slice of a fan-out, and above it.
    for count in [12, 300] {
        let (mut simulation, mut all) = mixed(count);
        let mut published = Vec::new();
        for number in 0..20 {
            let text = if number % 3 == 0 { number.to_string() } else { long(number) };
            all[number % 7].say(&format!("pub t {text}"));
            published.push(text);
            if number % 4 == 0 {
                simulation.settle();
            }
        }
        simulation.settle();
        let first = all[0].heard();
        let mut sorted = first.clone();
        sorted.sort();
        published.sort();
        assert_eq!(sorted, published);
        for ws in &mut all[1..] {
            assert_eq!(ws.heard(), first);
        }
    }
}

#[test]
fn event_is_compressed_once_however_many_subscribers_and_cores() {
    for count in [12, 300] {
        let (mut simulation, mut all) = mixed(count);
        for number in 0..10 {
            all[0].say(&format!("pub t {}", long(number)));
            all[0].say("pub t short");
            simulation.settle();
        }
        assert_eq!(compressed(&simulation), 10, "{count}");
    }
}

#[test]
fn event_that_nobody_takes_compressed_is_not_compressed() {
    let (mut simulation, mut all) = mixed(2);
    all[0].say("unsub t");
    simulation.settle();
    all[1].say(&format!("pub t {}", long(1)));
    simulation.settle();
    assert_eq!(compressed(&simulation), 0);
}

#[test]
fn compressed_subscriber_gets_fewer_bytes() {
    let (mut simulation, mut all) = mixed(2);
    let before = [0, 1].map(|ws: usize| all[ws].client.received_bytes());
    all[0].say(&format!("pub t {}", long(1)));
    simulation.settle();
    let after = [0, 1].map(|ws: usize| all[ws].client.received_bytes());
    let plain = prepared(&long(1)).frame().len() as u64;
    assert_eq!(after[1] - before[1], plain);
    assert!(after[0] - before[0] < plain / 10);
}

#[test]
fn nothing_is_allocated_for_a_compressed_delivery() {
    let counted = |count: usize| {
        let (mut simulation, _) = obedient(cores(2));
        // An event that crosses to another core costs one allocation more.
        let topic = topic_at(&simulation, 1);
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut ws = deflating(&mut simulation, 1);
            ws.say(&format!("sub {topic}"));
            ws.client.sink();
            clients.push(ws.client);
        }
        let mut speaks = Ws::open(&mut simulation, 0, 0);
        let text = format!("pub {topic} {}", long(1));
        let mut publish = || {
            speaks.say(&text);
            simulation.settle();
        };
        (0..3).for_each(|_| publish());
        let before: u64 = clients.iter().map(Client::received_bytes).sum();
        let info = allocation_counter::measure(|| (0..10).for_each(|_| publish()));
        let after: u64 = clients.iter().map(Client::received_bytes).sum();
        assert!(after - before < 10 * count as u64 * 200);
        info.count_total
    };
    // What an event costs is the same whether one hears it or five hundred do.
    assert_eq!(counted(1), counted(500));
}

#[test]
fn small_window_gets_plain_events_and_compressed_answers() {
    let (mut simulation, _) = obedient(cores(1));
    let (mut ws, answer) = open(&mut simulation, 0, "permessage-deflate; server_max_window_bits=9");
    assert!(answer.unwrap().contains("server_max_window_bits=9"));
    ws.say("sub t");
    simulation.settle();
    let bytes = |ws: &Ws| ws.client.received_bytes();
    let before = bytes(&ws);
    ws.say(&format!("pub t {}", long(1)));
    simulation.settle();
    let event = bytes(&ws) - before;
    assert_eq!(event, prepared(&long(1)).frame().len() as u64);
    ws.say(&long(2));
    simulation.settle();
    assert!(bytes(&ws) - before - event < event / 4);
    assert_eq!(ws.heard(), ["subscribed t".to_owned(), long(1), long(2)]);
}

#[test]
fn what_a_slow_reader_waits_for_stays_compressed() {
    let (mut simulation, _) = obedient(cores(1));
    let mut slow = deflating(&mut simulation, 0);
    let mut speaks = Ws::open(&mut simulation, 0, 0);
    slow.say("sub t");
    simulation.settle();
    assert_eq!(slow.heard(), ["subscribed t"]);
    let mut heard = Vec::new();
    slow.client.set_room(Some(7));
    for number in 0..5 {
        speaks.say(&format!("pub t {}", long(number)));
        simulation.settle();
    }
    for _ in 0..1000 {
        slow.client.set_room(Some(7));
        simulation.settle();
        heard.extend(slow.heard());
    }
    assert_eq!(heard, (0..5).map(long).collect::<Vec<_>>());
    assert!(slow.client.received_bytes() < 2000);
}

#[test]
fn no_offer_is_agreed_to_when_compression_is_off() {
    let options = Options { compression: None, ..cores(1) };
    let (mut simulation, _) = obedient(options);
    let (mut ws, answer) = open(&mut simulation, 0, "permessage-deflate");
    assert_eq!(answer, None);
    ws.say(&long(1));
    simulation.settle();
    assert_eq!((ws.heard(), compressed(&simulation)), (vec![long(1)], 0));
}

#[test]
fn message_that_inflates_past_the_limit_ends_its_connection_alone() {
    let options = Options { ws: ws::Limits { message_bytes: 10_000 }, ..cores(1) };
    let (mut simulation, log) = obedient(options);
    let (mut bomber, mut other) = (deflating(&mut simulation, 0), deflating(&mut simulation, 0));
    let mut deflater = ws::Deflater::new(ws::Compression::default());
    let bomb = bomber.frame(|ws, out| {
        let payload = [b'x'; 1_000_000];
        ws.send_with(&mut deflater, ws::MessageKind::Text, &payload, out).unwrap();
    });
    assert!(bomb.len() < 2000);
    bomber.client.send(&bomb);
    simulation.settle();
    assert_eq!(bomber.heard(), ["last words", "<close Some(1009)>"]);
    assert!(log.borrow().iter().any(|line| line.contains("MessageTooBig { limit: 10000 }")));
    let text = long(1);
    let echoed = other.frame(|ws, out| {
        ws.send_with(&mut deflater, ws::MessageKind::Text, text.as_bytes(), out).unwrap();
    });
    other.client.send(&echoed);
    simulation.settle();
    assert_eq!(other.heard(), [text]);
}

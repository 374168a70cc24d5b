//! HTTP answers on their way: large ones, many at once, and those that a stop finds unsent.

use super::*;

/// Requests `GET /{name}`, whose answers end in their paths.
fn requests(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().map(|name| format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n")).collect()
}

/// Reads everything, in pieces of so many bytes.
fn read_slowly(simulation: &mut Simulation<Obedient>, client: &Client, piece: usize) -> String {
    let mut text = String::new();
    loop {
        client.set_room(Some(piece));
        simulation.settle();
        let came = client.take_received();
        if came.is_empty() {
            return text;
        }
        text.push_str(std::str::from_utf8(&came).unwrap());
    }
}

#[test]
fn an_answer_larger_than_the_outbox_reaches_a_slow_reader_whole() {
    let (mut simulation, _) =
        obedient(Options { cores: 1, outbox_bytes: 1_000, ..Options::default() });
    let client = simulation.connect(0);
    let long = "x".repeat(5_000);
    client.set_room(Some(10));
    client.send(requests([long.clone(), "next".to_owned()]).as_bytes());
    let text = read_slowly(&mut simulation, &client, 100);
    assert!(text.contains(&format!("GET /{long}\n")) && text.ends_with("GET /next\n"));
    assert!(!client.is_finished());
}

#[test]
fn many_pipelined_requests_are_answered_in_slices() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    client.send(requests((0..1_000).map(|number| number.to_string())).as_bytes());
    simulation.turn(0);
    let first = client.take_received();
    assert_eq!(String::from_utf8(first).unwrap().matches("GET /").count(), 64);
    client.finish();
    simulation.settle();
    let rest = String::from_utf8(client.take_received()).unwrap();
    assert_eq!(rest.matches("GET /").count(), 1_000 - 64);
    assert!(client.is_dropped());
}

#[test]
fn who_asks_without_reading_is_answered_no_further_than_its_outbox() {
    let (mut simulation, _) =
        obedient(Options { cores: 1, outbox_bytes: 100_000, ..Options::default() });
    let client = simulation.connect(0);
    client.set_room(Some(0));
    client.send(
        requests((0..5_000).map(|number| format!("{number}/{}", "x".repeat(900)))).as_bytes(),
    );
    simulation.settle();
    let text = read_slowly(&mut simulation, &client, 10_000);
    assert_eq!(text.matches("GET /").count(), 5_000);
}

#[test]
fn a_socket_is_closed_only_after_all_of_it_was_read() {
    let (mut simulation, _) =
        obedient(Options { cores: 1, read_buffer_bytes: 100, ..Options::default() });
    let client = simulation.connect(0);
    client.send(b"NOT HTTP\r\n\r\n");
    client.send(&[b'x'; 10_000]);
    client.finish();
    simulation.settle();
    assert!(client.take_received().starts_with(b"HTTP/1.1 400 "));
    assert!(client.is_dropped());
    assert_eq!(
        client.unread_bytes(),
        0,
        "unread bytes make a reset, which may overtake the answer"
    );
}

#[test]
fn a_stop_in_the_turn_of_an_answer_does_not_lose_it() {
    let (mut simulation, _) = obedient(cores(1));
    let client = simulation.connect(0);
    client.send(requests(["last".to_owned()]).as_bytes());
    simulation.stop();
    simulation.settle();
    assert!(client.take_received().ends_with(b"GET /last\n"));
    client.finish();
    simulation.settle();
    assert_eq!(simulation.connections(), 0);
}

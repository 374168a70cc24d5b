//! What a delivery costs, counted: system calls and allocations.

use super::*;

/// Core 0 publishes, core 1 is the home, and so many on core 2 hear it.
fn subscribers(count: usize) -> (Simulation<Obedient>, Vec<Client>, Ws, String) {
    let (mut simulation, _) = obedient(cores(3));
    let topic = topic_at(&simulation, 1);
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut ws = Ws::open(&mut simulation, 2, 0);
        ws.say(&format!("sub {topic}"));
        ws.client.sink();
        clients.push(ws.client);
    }
    let speaks = Ws::open(&mut simulation, 0, 0);
    simulation.settle();
    (simulation, clients, speaks, topic)
}

fn writes(clients: &[Client]) -> u64 {
    clients.iter().map(Client::writes).sum()
}

#[test]
fn a_lone_event_is_one_write_for_each_subscriber() {
    let (mut simulation, clients, mut speaks, topic) = subscribers(100);
    let before = writes(&clients);
    speaks.say(&format!("pub {topic} hello"));
    simulation.settle();
    assert_eq!(writes(&clients) - before, 100);
}

#[test]
fn ten_events_of_one_turn_are_one_write_for_each_subscriber() {
    let (mut simulation, clients, mut speaks, topic) = subscribers(100);
    let (before, bytes) = (writes(&clients), clients[0].received_bytes());
    for number in 0..10 {
        speaks.say(&format!("pub {topic} {number}"));
    }
    simulation.settle();
    assert_eq!(writes(&clients) - before, 100);
    assert_eq!(clients[0].received_bytes() - bytes, 10 * prepared("0").frame().len() as u64);
}

#[test]
fn a_flood_to_many_is_flushed_before_it_fills_the_memory() {
    let (mut simulation, _) = obedient(cores(1));
    let mut all: Vec<Ws> = (0..500).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    for ws in &mut all {
        ws.say("sub t");
        ws.client.sink();
    }
    simulation.settle();
    let before = all[1].client.received_bytes();
    // One read: 10 million links of 8 bytes, were they all made before the first is flushed.
    for _ in 0..20_000 {
        all[0].say("pub t x");
    }
    let info = allocation_counter::measure(|| simulation.settle());
    let bytes = 20_000 * prepared("x").frame().len() as u64;
    assert_eq!(all[1].client.received_bytes() - before, bytes);
    assert!(info.bytes_max < 150_000_000, "{} bytes", info.bytes_max);
}

/// A subscriber waits for as many turns as there are slices before its own: none of them may be long.
#[test]
fn while_an_event_goes_round_a_turn_reads_few() {
    let options = cores(1);
    let slice = options.fanout_slice;
    let (mut simulation, _) = obedient(options);
    let mut all: Vec<Ws> = (0..600).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    let (on_it, others) = all.split_at_mut(4 * slice);
    on_it.iter_mut().for_each(|ws| ws.say("sub t"));
    simulation.settle();
    on_it.iter().for_each(|ws| ws.client.sink());
    let (before, before_others) = (written(on_it), written(others));
    on_it[0].say("pub t x");
    others.iter_mut().for_each(|ws| ws.say("hello"));
    for turn in 1..=4 {
        simulation.turn(0);
        assert_eq!(written(on_it) - before, turn * slice as u64);
        let answered = written(others) - before_others;
        assert!(answered > 0 && answered <= turn * slice as u64 / 4, "{answered} after {turn}");
    }
    simulation.settle();
    assert_eq!(written(others) - before_others, others.len() as u64);
}

fn written(those: &[Ws]) -> u64 {
    those.iter().map(|ws| ws.client.writes()).sum()
}

#[test]
fn nothing_is_allocated_for_a_delivery() {
    let counted = |count: usize| {
        let (mut simulation, clients, mut speaks, topic) = subscribers(count);
        let publish = |simulation: &mut Simulation<Obedient>, speaks: &mut Ws| {
            speaks.say(&format!("pub {topic} hello"));
            simulation.settle();
        };
        for _ in 0..3 {
            publish(&mut simulation, &mut speaks);
        }
        let before: u64 = clients.iter().map(Client::received_bytes).sum();
        let info = allocation_counter::measure(|| {
            (0..10).for_each(|_| publish(&mut simulation, &mut speaks))
        });
        let after: u64 = clients.iter().map(Client::received_bytes).sum();
        assert_eq!(after - before, 10 * count as u64 * prepared("hello").frame().len() as u64);
        info.count_total
    };
    // What an event costs is the same whether one hears it or five hundred do.
    assert_eq!(counted(1), counted(500));
}

#[test]
fn nothing_is_allocated_for_a_ping_that_is_answered() {
    let (mut simulation, _) = obedient(cores(1));
    let mut ws = Ws::open(&mut simulation, 0, 0);
    let ping = ws.frame(|ws, out| ws.send_ping(b"beat", out).unwrap());
    ws.client.sink();
    let mut beat = || {
        ws.client.send(&ping);
        simulation.settle();
    };
    (0..3).for_each(|_| beat());
    let info = allocation_counter::measure(|| (0..100).for_each(|_| beat()));
    assert_eq!(info.count_total, 0);
    assert_eq!(ws.client.writes(), 1 + 103);
}

#[test]
fn deadlines_of_requests_are_not_kept_for_all_who_were_upgraded() {
    let (mut simulation, _) = obedient(cores(1));
    let before = simulation.census().deadlines;
    let open: Vec<Ws> = (0..1_500).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    let kept = simulation.census().deadlines - before;
    assert!(kept <= 1_024, "{kept} for {} connections that wait for nothing", open.len());
    // Whoever has not asked yet is not forgotten.
    let silent = simulation.connect(0);
    simulation.settle();
    simulation.advance(Options::default().request_deadline);
    simulation.settle();
    assert!(silent.is_finished());
}

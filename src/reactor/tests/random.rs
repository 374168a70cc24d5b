//! Random operations on one to four cores, against a model of what each client must and must not hear.
//!
//! Every event is a number of its own. The model knows no cores: who is confirmed on a topic hears, from the
//! confirmation on, every event that the topic's order puts behind those it has heard, until it takes itself off.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::*;

const SEEDS: u64 = 4_000;
const STEPS: usize = 120;
const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

/// Numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

/// One stay on a topic, from a confirmation to `unsub` or the end.
#[derive(Default)]
struct Stay {
    heard: Vec<u32>,
    /// Ended by `unsub`.
    is_over: bool,
}

struct Guest {
    ws: Ws,
    /// By topic, in order; the last one may go on.
    stays: HashMap<&'static str, Vec<Stay>>,
    is_gone: bool,
    is_stalled: bool,
}

impl Guest {
    fn listen(&mut self) {
        for text in self.ws.heard() {
            self.hear(&text);
        }
        // One that reads nothing is dropped in the end, without having read why.
        self.is_gone |= self.ws.client.is_dropped();
    }

    fn hear(&mut self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["subscribed", topic] => self.confirm(topic),
            ["left", topic] => {
                let topic = known(topic);
                if let Some(stay) = self.stays.get_mut(topic).and_then(|stays| stays.last_mut()) {
                    stay.is_over = true;
                }
            }
            ["event", topic, number] => {
                let stay = self.stays.get_mut(topic).and_then(|stays| stays.last_mut());
                let stay = stay.unwrap_or_else(|| panic!("{text} before any confirmation"));
                assert!(!stay.is_over, "{text} after leaving");
                stay.heard.push(number.parse().unwrap());
            }
            _ if text.starts_with("<close") => {
                self.is_gone = true;
            }
            ["<ping>"] => {}
            _ => panic!("unexpected: {text}"),
        }
    }

    /// A second confirmation of a stay that goes on changes nothing.
    fn confirm(&mut self, topic: &str) {
        let stays = self.stays.entry(known(topic)).or_default();
        if stays.last().is_none_or(|stay| stay.is_over) {
            stays.push(Stay::default());
        }
    }
}

fn known(topic: &str) -> &'static str {
    TOPICS.into_iter().find(|known| *known == topic).unwrap()
}

/// Subscribes, leaves and publishes as it is told.
struct Host;

impl Handler for Host {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["sub", topic] => conn.subscribe(topic).unwrap(),
            ["unsub", topic] => {
                conn.unsubscribe(topic);
                conn.send(format!("left {topic}"));
            }
            ["again", topic] => {
                conn.unsubscribe(topic);
                conn.send(format!("left {topic}"));
                conn.subscribe(topic).unwrap();
            }
            ["pub", topic, number] => {
                conn.publish(topic, format!("event {topic} {number}")).unwrap();
            }
            ["close"] => conn.close(CloseCode(4000), ""),
            _ => panic!("unexpected: {text}"),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        conn.send(format!("subscribed {topic}"));
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Option<&CloseFrame<'_>>) {
        // An end is an event too, as presence will have it; and nothing else is possible any more.
        conn.publish("a", "event a 0").unwrap();
        conn.send("after the end");
        assert!(conn.subscribe("b").is_err());
    }
}

struct Party {
    simulation: Simulation<Host>,
    cores: usize,
    guests: Vec<Guest>,
    published: u32,
}

impl Party {
    fn new(random: &mut Random) -> Self {
        let cores = 1 + random.below(4);
        let options = Options {
            cores,
            outbox_bytes: 2_000,
            flush_slice: 1 + random.below(3),
            fanout_slice: 1 + random.below(3),
            mailbox_posts: 1 + random.below(6),
            read_buffer_bytes: 16 + random.below(100),
            ..Options::default()
        };
        Self {
            simulation: Simulation::new(options, |_| (Host, ())),
            cores,
            guests: Vec::new(),
            published: 0,
        }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0 if self.guests.len() < 12 => self.enter(random),
            1 => {
                self.simulation.advance(Duration::from_millis(500));
            }
            2 => self.simulation.settle(),
            3..=6 => {
                self.simulation.turn(random.below(self.cores));
            }
            _ if !self.guests.is_empty() => {
                let guest = random.below(self.guests.len());
                self.act(guest, random);
            }
            _ => {}
        }
    }

    fn enter(&mut self, random: &mut Random) {
        // Not by `Ws::open`, which would settle everything.
        let client = self.simulation.connect(random.below(self.cores));
        client.send(upgrade(0).as_bytes());
        for core in (0..self.cores).cycle().take(100_000) {
            // A core whose posts wait for another reads nobody: all of them must turn.
            self.simulation.turn(core);
            if client.received_bytes() > 0 {
                break;
            }
        }
        let head = client.take_received();
        assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
        self.guests.push(Guest {
            ws: Ws { client, protocol: ws::Protocol::new(ws::Role::Client) },
            stays: HashMap::new(),
            is_gone: false,
            is_stalled: false,
        });
    }

    fn act(&mut self, guest: usize, random: &mut Random) {
        let guest = &mut self.guests[guest];
        if guest.is_gone {
            return;
        }
        let topic = TOPICS[random.below(TOPICS.len())];
        match random.below(24) {
            0..6 => guest.ws.say(&format!("sub {topic}")),
            6..8 => guest.ws.say(&format!("unsub {topic}")),
            8 => guest.ws.say(&format!("again {topic}")),
            9 => {
                guest.is_stalled = !guest.is_stalled;
                guest.ws.client.set_room(guest.is_stalled.then_some(random.below(50)));
            }
            10 => guest.listen(),
            11 => guest.ws.say("close"),
            12 => {
                guest.listen();
                guest.ws.client.finish();
                guest.is_gone = true;
            }
            _ => {
                self.published += 1;
                guest.ws.say(&format!("pub {topic} {}", self.published));
            }
        }
    }

    /// Everybody reads to the end; one more event on each topic must reach whoever is still on it.
    fn check(&mut self) {
        for guest in &mut self.guests {
            guest.ws.client.set_room(None);
        }
        self.listen();
        self.check_orders();
        let last = self.published + 1;
        let publisher = self.guests.iter_mut().find(|guest| !guest.is_gone);
        if let Some(publisher) = publisher {
            TOPICS.iter().for_each(|topic| publisher.ws.say(&format!("pub {topic} {last}")));
            self.listen();
            for guest in self.guests.iter().filter(|guest| !guest.is_gone) {
                for stay in guest.stays.values().filter_map(|stays| stays.last()) {
                    let count = stay.heard.iter().filter(|number| **number == last).count();
                    assert_eq!(
                        count,
                        usize::from(!stay.is_over),
                        "the last event: {:?}",
                        stay.heard
                    );
                }
            }
        }
        self.check_orders();
    }

    fn listen(&mut self) {
        for _ in 0..3 {
            self.simulation.settle();
            self.guests.iter_mut().for_each(Guest::listen);
        }
    }

    /// All stays on a topic are stretches of one order without gaps. The order is what the stays together say: each
    /// event is followed by the same one wherever it is followed by any.
    fn check_orders(&self) {
        for topic in TOPICS {
            let mut next: HashMap<u32, u32> = HashMap::new();
            for stay in self.guests.iter().filter_map(|guest| guest.stays.get(topic)).flatten() {
                // Number 0 is the end of a connection, and stands for many.
                let heard: Vec<u32> =
                    stay.heard.iter().copied().filter(|number| *number > 0).collect();
                let distinct: HashSet<&u32> = heard.iter().collect();
                assert_eq!(distinct.len(), heard.len(), "{topic}: heard twice: {heard:?}");
                for pair in heard.windows(2) {
                    let known = next.insert(pair[0], pair[1]);
                    assert!(
                        known.is_none_or(|known| known == pair[1]),
                        "{topic}: {} is followed by {} and by {known:?}",
                        pair[0],
                        pair[1]
                    );
                }
            }
        }
    }

    fn end(mut self) {
        self.guests.iter().for_each(|guest| guest.ws.client.finish());
        self.simulation.settle();
        self.simulation.advance(Duration::from_secs(40));
        self.simulation.settle();
        assert_eq!(self.simulation.census(), Census::default());
    }
}

/// Tells which seed it was when a check fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

#[test]
fn nobody_misses_or_hears_what_they_should_not_whatever_happens() {
    for seed in 1..=SEEDS {
        let _seed = Seed(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut party = Party::new(&mut random);
        for _ in 0..STEPS {
            party.step(&mut random);
        }
        party.check();
        party.end();
    }
}

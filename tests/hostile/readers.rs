//! Readers that stop while a channel carries 200 MB: what waits for them is bounded, and who reads notices nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use stentor::metrics::Counter;

use crate::host::{Child, now};
use crate::support::PATIENCE;

const EVENT_BYTES: usize = 50_000;
/// 200 MB.
const EVENTS: usize = 4_000;
/// Sent before anybody stops, to have something to compare with.
const CALM: usize = 1_000;
const STOPPED: usize = 10;
const HEALTHY: usize = 2;
/// Events that may be under way to those who read: half of what may wait for one of them.
const WINDOW: usize = 8;

/// Reads events, checks their order, and tells when each came.
fn read(mut stream: TcpStream, came: &mpsc::Sender<Instant>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frame = vec![0; 4 + EVENT_BYTES];
    for number in 0..CALM + EVENTS {
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..2], [0x81, 126], "a text of some length");
        assert_eq!(std::str::from_utf8(&frame[4..12]).unwrap(), format!("{number:08}"));
        came.send(now()).unwrap();
    }
}

fn percentile_99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn readers_that_stop_while_200_mb_pass_cost_their_outboxes_and_nobody_else_waits() {
    let server = Child::start("plays_the_server_when_told");
    let subscribe = || {
        let mut client = server.open();
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
        client
    };
    let (came, arrivals): (Vec<_>, Vec<_>) = (0..HEALTHY).map(|_| mpsc::channel()).unzip();
    let readers: Vec<_> = came
        .into_iter()
        .map(|came| {
            let stream = subscribe().client.stream.try_clone().unwrap();
            thread::spawn(move || read(stream, &came))
        })
        .collect();
    let mut publisher = server.open().client.stream.try_clone().unwrap();
    publisher.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut sent = Vec::new();
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    let mut stopped = Vec::new();
    let mut before = 0;
    for number in 0..CALM + EVENTS + WINDOW {
        if number == CALM {
            before = server.peak_bytes();
            stopped = (0..STOPPED).map(|_| subscribe()).collect();
        }
        if let Some(arrived) = number.checked_sub(WINDOW) {
            for arrivals in &arrivals {
                let at = arrivals.recv_timeout(PATIENCE).expect("who reads hears everything");
                times[usize::from(arrived >= CALM)].push(at - sent[arrived]);
            }
        }
        if number < CALM + EVENTS {
            sent.push(now());
            publisher.write_all(&event(number)).unwrap();
        }
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(server.count(Counter::SlowConsumers), STOPPED as u64);
    let more = server.peak_bytes() - before;
    // What their outboxes may hold; in fact they hold the same frames.
    let limit = STOPPED * 1024 * 1024;
    assert!(more < limit, "{more} bytes more for readers that stopped, {limit} are allowed");
    let [calm, busy] = times.map(percentile_99);
    assert!(busy < 3 * calm + Duration::from_millis(50), "p99 {busy:?}, before {calm:?}");
    drop(stopped);
}

/// `pub t 00000042xxx…` as a client's frame, masked with zeroes.
fn event(number: usize) -> Vec<u8> {
    let head = format!("pub t {number:08}");
    let bytes = 6 + EVENT_BYTES;
    let mut frame = vec![0x81, 0xfe];
    frame.extend_from_slice(&u16::try_from(bytes).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(head.as_bytes());
    frame.resize(8 + bytes, b'x');
    frame
}

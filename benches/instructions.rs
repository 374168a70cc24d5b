//! Instructions, counted by callgrind over shards in memory: what a delivery, an echo and a subscription cost, the same on a busy machine
//! as on a quiet one. A gate: more than 2 % above what is recorded fails, and so does more than 2 % below. A record that nobody renews would let the
//! next change spend in silence what the last one won.
//!
//! `cargo bench --bench instructions` compares, `cargo bench --bench instructions -- --record` writes
//! `benches/records/instructions.txt` anew. It needs `valgrind` on the path; `cargo verify` installs it.
//!
//! The program starts itself under callgrind, each case twice, with few and with many repetitions: what both have in common, setting up
//! above all, falls out of the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use stentor::pusher::signature::channel_signature;
use stentor::pusher::{self, App, Apps, Directory, Pusher};
use stentor::reactor::simulation::{Client, Simulation};
use stentor::{Conn, Handler, Message, Options};

/// How far from its record a figure may be, in percent, either way. The same program repeats itself to a tenth of a percent: of the host's
/// processor callgrind shows it no more than whether there is AVX2. Another compiler or C library moves figures, and is a reason to record.
const SLACK: f64 = 2.0;
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/records/instructions.txt");
const ANEW: &str = "cargo bench --bench instructions -- --record";
const HEAD: &str = "# Instructions, as callgrind counts them over a shard in memory, simulated sockets included.\n\
                    # Written by `cargo bench --bench instructions -- --record`; compared by `cargo verify instructions`.\n";

/// What is counted.
struct Case {
    name: &'static str,
    /// Units of work in one repetition: a figure is instructions for one of them.
    units: u64,
    /// Few repetitions, and many.
    times: (u64, u64),
    play: fn(u64),
}

const SUBSCRIBERS: usize = 1_000;

const CASES: &[Case] = &[
    Case {
        name: "delivery-to-1000",
        units: SUBSCRIBERS as u64,
        times: (20, 120),
        play: |times| fan_out(SUBSCRIBERS, 1, times),
    },
    Case {
        name: "delivery-to-1000-ten-in-a-turn",
        units: 10 * SUBSCRIBERS as u64,
        times: (5, 25),
        play: |times| fan_out(SUBSCRIBERS, 10, times),
    },
    Case { name: "event-to-4", units: 1, times: (500, 5_500), play: |times| fan_out(4, 1, times) },
    Case { name: "echo-one-deep", units: 1, times: (500, 5_500), play: |times| echo(1, times) },
    Case { name: "echo-16-deep", units: 16, times: (100, 1_100), play: |times| echo(16, times) },
    Case { name: "private-subscription", units: 1, times: (100, 600), play: subscribe },
];

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *words {
        [] => compare(),
        ["--record"] => record(),
        ["--play", name, times] => play(name, times),
        _ => Err("it takes nothing, or --record".to_owned()),
    };
    match result {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(text) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

/// The part of the program that is counted.
fn play(name: &str, times: &str) -> Result<String, String> {
    let case = CASES.iter().find(|case| case.name == name).ok_or("there is no such case")?;
    (case.play)(times.parse().map_err(|_| "no number of repetitions")?);
    Ok(String::new())
}

fn say(text: &str) {
    // Who closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Counts all cases and holds them against the record.
fn compare() -> Result<String, String> {
    let text = std::fs::read_to_string(RECORD).map_err(|error| format!("{RECORD}: {error}"))?;
    let recorded = read_record(&text)?;
    let (mut out, mut faults) = (String::new(), String::new());
    for case in CASES {
        let now = count(case)?;
        let before =
            *recorded.get(case.name).ok_or_else(|| format!("{RECORD} has no {}", case.name))?;
        let more = (now / before - 1.0) * 100.0;
        let _ =
            writeln!(out, "{:<32} {now:>10.1}  recorded {before:>10.1}  {more:+.1} %", case.name);
        if let Some(fault) = judge(case.name, before, now) {
            let _ = writeln!(faults, "{fault}");
        }
    }
    if faults.is_empty() { Ok(out) } else { Err(format!("{out}\n{faults}")) }
}

/// What is wrong with a figure beside its record.
fn judge(name: &str, before: f64, now: f64) -> Option<String> {
    let more = (now / before - 1.0) * 100.0;
    if more > SLACK {
        Some(format!(
            "{name} takes {now:.1} instructions, {more:.1} % more than recorded; {SLACK} % are allowed. A change that is worth it is \
             recorded by `{ANEW}`, and its commit says why."
        ))
    } else if more < -SLACK {
        Some(format!(
            "{name} takes {now:.1} instructions, {:.1} % less than recorded: it is cheaper, and the record allows it to grow again by as \
             much. Record it by `{ANEW}`.",
            -more
        ))
    } else {
        None
    }
}

fn record() -> Result<String, String> {
    let mut text = HEAD.to_owned();
    for case in CASES {
        let _ = writeln!(text, "{:<32} {:>10.1}", case.name, count(case)?);
    }
    std::fs::write(RECORD, &text).map_err(|error| format!("{RECORD}: {error}"))?;
    Ok(text)
}

fn read_record(text: &str) -> Result<BTreeMap<&str, f64>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let entry = |line: &'_ str| -> Option<(usize, f64)> {
        let at = line.find(' ')?;
        Some((at, line[at..].trim().parse().ok().filter(|figure| *figure > 0.0)?))
    };
    lines
        .map(|line| {
            let (at, figure) =
                entry(line).ok_or_else(|| format!("{RECORD}: {line:?} is no name and number"))?;
            Ok((&line[..at], figure))
        })
        .collect()
}

/// Instructions for one unit of a case.
fn count(case: &Case) -> Result<f64, String> {
    let (few, many) = case.times;
    let more = instructions(case.name, many)?.saturating_sub(instructions(case.name, few)?);
    Ok(more as f64 / ((many - few) * case.units) as f64)
}

/// Runs one case under callgrind.
fn instructions(name: &str, times: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--play", name, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!("valgrind: {error}; `cargo verify` installs it, or `apt-get install valgrind`")
        })?;
    let text = String::from_utf8_lossy(&ran.stderr);
    // `==42== Collected : 123456`
    let collected =
        text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected
        .filter(|_| ran.status.success())
        .ok_or_else(|| format!("{name} under callgrind: {}\n{text}", ran.status))
}

/// `+` subscribes, `!…` is published, anything else comes back.
struct Room;

impl Handler for Room {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        match message.bytes() {
            b"+" => conn.subscribe("room").expect("within all limits"),
            [b'!', ..] => conn.publish("room", message).expect("within all limits"),
            _ => conn.send(message),
        }
    }
}

const UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short frame");
    let mut frame = match u8::try_from(length) {
        Ok(length @ ..126) => vec![0x81, 0x80 | length],
        _ => [&[0x81, 0xfe][..], &length.to_be_bytes()].concat(),
    };
    let key = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&key);
    frame.extend(text.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn room(subscribers: usize) -> (Simulation<Room>, Client) {
    let options = Options { cores: 1, ..Options::default() };
    let mut simulation = Simulation::new(options, |_| (Room, ()));
    let connect = |simulation: &mut Simulation<Room>| {
        let client = simulation.connect(0);
        client.sink();
        client.send(format!("GET / HTTP/1.1\r\n{UPGRADE}").as_bytes());
        client
    };
    for _ in 0..subscribers {
        connect(&mut simulation).send(&frame("+"));
    }
    let speaks = connect(&mut simulation);
    simulation.settle();
    (simulation, speaks)
}

/// Events of 100 bytes, so many in one turn.
fn fan_out(subscribers: usize, at_once: usize, times: u64) {
    let (mut simulation, speaks) = room(subscribers);
    let events = frame(&format!("!{}", "x".repeat(99))).repeat(at_once);
    for _ in 0..times {
        speaks.send(&events);
        simulation.settle();
    }
}

/// Messages of 64 bytes, so many under way.
fn echo(deep: usize, times: u64) {
    let (mut simulation, speaks) = room(0);
    let messages = frame(&"x".repeat(64)).repeat(deep);
    for _ in 0..times {
        speaks.send(&messages);
        simulation.turn(0);
    }
}

/// A private channel that others are on: its signature, its welcome, and leaving it.
fn subscribe(times: u64) {
    let apps = Arc::new(Apps::new(vec![App::new("1", "key", "secret")]).expect("one app"));
    let settings = Arc::new(pusher::Options::default());
    let options = Options { cores: 1, ..Options::default() };
    let mut simulation = Simulation::new(options, |_core| {
        let directory = Directory::new(Arc::clone(&apps), &settings);
        (Pusher::new(Arc::clone(&apps), Arc::clone(&settings)), directory)
    });
    let wish = |simulation: &mut Simulation<Pusher, Directory>| {
        let client = simulation.connect(0);
        client.send(format!("GET /app/key HTTP/1.1\r\n{UPGRADE}").as_bytes());
        simulation.settle();
        let received = String::from_utf8_lossy(&client.take_received()).into_owned();
        let (_, rest) = received.split_once(r#"socket_id\":\""#).expect("a name");
        let (socket_id, _) = rest.split_once('\\').expect("the end of the name");
        client.sink();
        let auth = channel_signature("secret", socket_id, "private-a", None);
        let text = format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"private-a","auth":"key:{auth}"}}}}"#
        );
        (client, frame(&text))
    };
    let (stays, come) = wish(&mut simulation);
    stays.send(&come);
    let (client, come) = wish(&mut simulation);
    let go = frame(r#"{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}"#);
    for _ in 0..times {
        for frame in [&come, &go] {
            client.send(frame);
            simulation.turn(0);
        }
    }
}

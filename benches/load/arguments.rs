//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::payload::LEAST_BYTES;

const EXAMPLES: &str = "\
Examples (after `cargo bench --bench load --`):
  idle   --pusher ws://127.0.0.1:8080 --spawn 'target/release/stentor --cores 1' --from 5000 --to 19000
  fanout --pusher ws://127.0.0.1:8080 --pid 4711 --connections 1000 --rate 50 --seconds 10
  fanout --pusher ws://127.0.0.1:8080 --pid 4711 --size 1024 --rate 20 --compress
  fanout --plain ws://127.0.0.1:9002 --connections 1000 --flat-out
  echo   --plain ws://127.0.0.1:9001 --connections 100 --depth 16
  churn  --pusher ws://127.0.0.1:8080 --rate 500 --seconds 10 --record churn
  connect --pusher ws://127.0.0.1:8080 --pid 4711 --connections 10000 --rounds 3
  bystanders --pusher ws://127.0.0.1:8080 --pid 4711
  slow   --pusher ws://127.0.0.1:8080 --pid 4711 --connections 10000 --slow 100 --outbox-bytes 1048576
  herd   --pusher ws://127.0.0.1:8080 --pid 4711 --connections 15000 --stay 1000
  million --connections 200000

Latencies count from the moment an event was due, not from when there was time to send it. Every delivery is checked: one
that is missing, repeated, out of order or garbled fails the run with exit code 1, and nothing is recorded.";

/// A load generator for WebSocket servers of this machine
#[derive(Parser, Clone, Debug)]
#[command(name = "load", after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Scenario {
    /// Open connections and let them be: what one costs in memory, and all of them in processor time
    Idle(Idle),
    /// One event to many subscribers: how soon, and how many deliveries a processor second buys
    Fanout(Fanout),
    /// Messages that come back: `pusher:ping` on a Pusher server, any message on a plain one
    Echo(Echo),
    /// Connections that come, subscribe and go: how long until they are subscribed
    Churn(Churn),
    /// Connections that come as fast as they are taken, and stay: how many a processor second subscribes
    Connect(Connect),
    /// A few that ask while one event goes to many: how long they wait for it
    Bystanders(Bystanders),
    /// Subscribers of whom some do not read: what the others notice, and what the server keeps
    Slow(Slow),
    /// All are cut off and come back at once: how soon they are subscribed, and what those notice who stayed
    Herd(Herd),
    /// As many connections as this machine bears, held by one server that is started for it; then events to a sample
    Million(Million),
}

impl Scenario {
    /// The most connections at a time.
    pub(crate) fn connections(&self) -> usize {
        match self {
            Self::Idle(idle) => idle.from.max(idle.to),
            Self::Fanout(fanout) => fanout.connections + 1,
            Self::Echo(echo) => echo.connections,
            Self::Churn(churn) => churn.most_at_once,
            Self::Connect(connect) => connect.connections + 1,
            Self::Bystanders(bystanders) => bystanders.connections + bystanders.few + 1,
            Self::Slow(slow) => slow.connections + 1,
            Self::Herd(herd) => herd.connections + herd.stay + 2,
            Self::Million(million) => million.connections,
        }
    }

    /// What becomes of the figures.
    pub(crate) fn recording(&self) -> &Recording {
        match self {
            Self::Idle(idle) => &idle.shared.recording,
            Self::Fanout(fanout) => &fanout.shared.recording,
            Self::Echo(echo) => &echo.shared.recording,
            Self::Churn(churn) => &churn.shared.recording,
            Self::Connect(connect) => &connect.shared.recording,
            Self::Bystanders(bystanders) => &bystanders.shared.recording,
            Self::Slow(slow) => &slow.shared.recording,
            Self::Herd(herd) => &herd.shared.recording,
            Self::Million(million) => &million.recording,
        }
    }
}

/// Whom, how, and what becomes of the figures.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Shared {
    /// A Pusher server, as ws://127.0.0.1:PORT with the path prefix if it has one
    #[arg(long, value_name = "URL", required_unless_present = "plain", conflicts_with = "plain")]
    pub(crate) pusher: Option<String>,
    /// A plain WebSocket server, as ws://127.0.0.1:PORT/PATH
    #[arg(long, value_name = "URL")]
    pub(crate) plain: Option<String>,
    #[arg(long, value_name = "ID", default_value = "1")]
    pub(crate) app_id: String,
    #[arg(long, value_name = "KEY", default_value = "app-key")]
    pub(crate) key: String,
    #[arg(long, value_name = "SECRET", default_value = "app-secret", hide_default_value = true)]
    pub(crate) secret: String,
    /// Start this command (split at blanks), measure it, and end it afterwards
    #[arg(long, value_name = "COMMAND", conflicts_with = "pid")]
    pub(crate) spawn: Option<String>,
    /// Measure this process, which runs already
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The name and version of the server, for the record [default: what the program of --spawn answers to --version]
    #[arg(long, value_name = "TEXT")]
    pub(crate) server_name: Option<String>,
    /// Keep the server to these cores, as 0 or 0,2 or 0-3
    #[arg(long, value_name = "CORES", help_heading = "Generator")]
    pub(crate) server_core: Option<String>,
    /// Keep the generator to these cores
    #[arg(long, value_name = "CORES", help_heading = "Generator")]
    pub(crate) client_core: Option<String>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Generator")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, help_heading = "Generator")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) deadline: u64,
    #[command(flatten)]
    pub(crate) recording: Recording,
}

/// Whether and where figures are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Record")]
pub(crate) struct Recording {
    /// Write the figures to benches/records/DATE-NAME.json and .md
    #[arg(long, value_name = "NAME")]
    pub(crate) record: Option<String>,
    /// Where records go
    #[arg(long, value_name = "FOLDER", default_value = "benches/records")]
    pub(crate) records: PathBuf,
    /// A remark for the record, on noise for instance
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    pub(crate) bench: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Idle {
    /// The first size
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub(crate) from: usize,
    /// The second size
    #[arg(long, value_name = "N", default_value_t = 19_000)]
    pub(crate) to: usize,
    /// Give each connection a channel of its own, instead of one for all
    #[arg(long, value_name = "KIND")]
    pub(crate) own_channel: Option<ChannelKind>,
    /// How long the idle server is watched, in seconds; pings of silent clients may come more rarely
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) window: u64,
    /// How long to wait before memory is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=60))]
    pub(crate) settle: u64,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChannelKind {
    Public,
    Private,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Fanout {
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) connections: usize,
    /// Channels; each subscriber is on one of them, events go to them in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) channels: u32,
    /// Events per second
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// As many events as are delivered, instead of a rate; then latencies say nothing
    #[arg(long)]
    pub(crate) flat_out: bool,
    /// Flat out: how many events' worth of deliveries may be under way, of whichever events they are
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) window: u64,
    /// Requests that may be unanswered on the publisher's connection [default: flat out as many as the window, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) pipeline: Option<usize>,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = size)]
    pub(crate) size: usize,
    /// Data like JSON, which compresses as that does, instead of one letter over and over
    #[arg(long)]
    pub(crate) json: bool,
    /// The same data, and subscribers that offer permessage-deflate: a server that does not agree fails
    #[arg(long)]
    pub(crate) compress: bool,
    /// A plain server that does not send a message back to its sender
    #[arg(long)]
    pub(crate) sender_excluded: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Echo {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) connections: usize,
    /// Messages under way on one connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) depth: usize,
    /// Messages per second on all connections together [default: as many as come back]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Bytes of a message; a Pusher server gets `pusher:ping` whatever this is
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
    /// Binary messages instead of text
    #[arg(long)]
    pub(crate) binary: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Churn {
    /// Connections per second
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Connections at a time; those that are due later wait, and their wait counts
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(crate) most_at_once: usize,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Connect {
    /// Connections of a round
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// How often they come; in between all are cut off, which is not measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Connections that are under way at a time
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) at_once: usize,
    /// The channel that all subscribe to; a private one is signed for by each
    #[arg(long, value_name = "KIND", default_value = "private")]
    pub(crate) channel: ChannelKind,
    /// The server answers all with the same octets, and publishes nothing: do not ask it to prove that it subscribed anyone
    #[arg(long)]
    pub(crate) canned: bool,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Bystanders {
    /// Subscribers, to whom one fan-out follows the other
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub(crate) connections: usize,
    /// Bystanders: they send `pusher:ping`, or to a plain server messages that come back
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) few: usize,
    /// What they send per second, all together
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    pub(crate) rate: f64,
    /// Bytes of an event's data, and of a plain server's echoes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = size)]
    pub(crate) size: usize,
    /// Where a plain server sends messages back to their sender, as ws://127.0.0.1:PORT/PATH
    #[arg(long, value_name = "URL")]
    pub(crate) echo: Option<String>,
    /// A plain server that does not send a message back to its sender
    #[arg(long)]
    pub(crate) sender_excluded: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Slow {
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// How many of them stop reading for a part of the time
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) slow: usize,
    /// How often first all read and then some do not, for the measured time each
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Events per second
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    pub(crate) rate: f64,
    /// Requests that may be unanswered on the publisher's connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) pipeline: usize,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 8_192, value_parser = size)]
    pub(crate) size: usize,
    /// What the server is told to keep at most for one client, in bytes: it fails if it keeps more than that for each slow one
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(value_parser = clap::value_parser!(u64).range(1024..=1024 * 1024 * 1024))]
    pub(crate) outbox_bytes: u64,
    /// A plain server that does not send a message back to its sender
    #[arg(long)]
    pub(crate) sender_excluded: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Herd {
    /// Clients that are cut off and come back; on a Pusher server to a private channel
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub(crate) connections: usize,
    /// Subscribers that stay
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) stay: usize,
    /// How many times the herd is cut off and comes back
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Events per second to those who stay
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// Requests that may be unanswered on the publisher's connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) pipeline: usize,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = size)]
    pub(crate) size: usize,
    /// Where the herd connects to a plain server, as ws://127.0.0.1:PORT/PATH: who comes there is not in the room of those who stay
    #[arg(long, value_name = "URL")]
    pub(crate) apart: Option<String>,
    /// A plain server that does not send a message back to its sender
    #[arg(long)]
    pub(crate) sender_excluded: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Time {
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How long to run before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) warm_up: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Million {
    /// Connections; as many of them as the machine bears
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = connections)]
    pub(crate) connections: usize,
    /// Connections that share a channel
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = connections)]
    pub(crate) per_channel: usize,
    /// Give each connection a channel of its own instead
    #[arg(long, value_name = "KIND")]
    pub(crate) own_channel: Option<ChannelKind>,
    /// Events, each to the channel of a random connection
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) events: u32,
    /// Cores of the server [default: as many as have descriptors enough]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) cores: Option<u16>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1200)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=36_000))]
    pub(crate) deadline: u64,
    #[command(flatten)]
    pub(crate) recording: Recording,
}

/// As many as 256 addresses have ports here.
fn connections(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|_| format!("{text:?} is no number of connections"))?;
    if (1..=5_000_000).contains(&count) {
        Ok(count)
    } else {
        Err(format!("{count} connections; 1 to 5000000 are possible"))
    }
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = text.parse().map_err(|_| format!("{text:?} is no number of bytes"))?;
    if (LEAST_BYTES..=1024 * 1024).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!(
            "{bytes} bytes; {LEAST_BYTES} to 1048576 are possible, for each carries its number and time"
        ))
    }
}

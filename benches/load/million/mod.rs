//! As many connections as the machine bears, held by one process, each subscribed; then events to a random sample of them, every delivery
//! checked. `cargo bench --bench load -- million`, and nothing else: it starts the server and all clients itself, on loopback alone.
//!
//! ```text
//!   bounds   what the machine bears; raises the kernel's limits, puts them back
//!   crew     one thread: a table of descriptors, an address in 127.64.0.0/16, its ends ──▶ end
//!   here     raise ▶ start the server ▶ fill ▶ look ▶ publish ▶ all heard? ▶ look ▶ cut ▶ look
//!   progress a bar
//! ```

pub(crate) mod bounds;
pub(crate) mod crew;
pub(crate) mod end;
pub(crate) mod progress;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::arguments::{ChannelKind, Million};
use super::client::Keys;
use super::clock::{self, Clock, NANOS_PER_SECOND, Nanos, nanos, seconds};
use super::crowd::after;
use super::interrupt::Interrupt;
use super::machine;
use super::payload::{LEAST_BYTES, Payloads, Stamp};
use super::process::{Cpu, Sample};
use super::publisher::whole_response;
use super::report::{Report, Setting, Unit, grouped, tell};
use super::server::Server;
use super::stage::pause;
use super::tally::{Faults, Latencies, slope};
use super::target::{App, Target};
use super::version;
use bounds::{Raised, Tables};
use crew::{Found, Plan};
use progress::Progress;

/// After so much silence, what has not come will not come.
const PATIENCE: Nanos = 20 * NANOS_PER_SECOND;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Before a look at memory, so that what is under way has come to rest.
const SETTLE: Duration = Duration::from_secs(3);
/// A server that has lost so many connections at once takes a while to say so.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

const SERVER: &str = env!("CARGO_BIN_EXE_stentor");

/// One look at everything.
#[derive(Clone, Copy, Default)]
struct Look {
    server: Sample,
    tcp_sockets: u64,
    at: Nanos,
}

/// What was seen, in order.
#[derive(Default)]
struct Looks {
    empty: Look,
    half: Option<(u64, Look)>,
    full: Look,
    delivered: Look,
    closed: Look,
}

pub(crate) fn run(million: &Million, interrupt: &Interrupt) -> io::Result<(Report, Setting)> {
    let clock = Clock::start();
    let limit = machine::raise_descriptors()?;
    let (mut raised, mut remarks) = (Raised::below(bounds::SYSCTLS), Vec::new());
    let by_kernel = raised.for_connections(million.connections, &mut remarks);
    let connections = bounds::by_memory(by_kernel, &mut remarks).max(1);
    let cpus = thread::available_parallelism()?.get();
    let cores = million.cores.map(usize::from);
    let (connections, tables) = bounds::tables(connections, limit, cpus, cores, &mut remarks)?;
    if connections < million.connections {
        tell(&format!(
            "this machine bears {} connections, not {}",
            grouped(connections as f64),
            grouped(million.connections as f64)
        ));
    }
    let address = free_address()?;
    let command = server_command(address, tables.cores);
    let (setting, line) = (setting(), line_of(&command));
    remarks.iter().for_each(|remark| tell(remark));
    tell(&format!("{} threads connect to {}", tables.threads, line));
    let server = Server::start(command, None, address, clock)?;
    let plan = plan(million, (connections, tables), address, clock, interrupt)?;
    let mut looks = Looks::default();
    let found = conduct(&plan, &server, million, &mut looks)?;
    drop(server);
    drop(raised);
    let mut report = report(million, &plan, tables, &looks, found);
    report.remarks.append(&mut remarks);
    report.remarks.push(bounds::surroundings(limit));
    report.remarks.push(format!("The server was started as `{line}`."));
    Ok((report, setting))
}

/// A port that nobody has at the moment.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn server_command(address: SocketAddr, cores: usize) -> Command {
    let mut command = Command::new(SERVER);
    command.args(["serve", "--host", "127.0.0.1", "--log", "warn", "--dashboard=false"]);
    command.arg("--port").arg(address.port().to_string());
    command.arg("--cores").arg(cores.to_string()).arg("--own-descriptor-tables");
    // Nobody is pinged while the run lasts, and nobody is told to ping: it is about connections that wait.
    command.args(["--set", "apps.activity_timeout=3600", "--set", "limits.mailbox_posts=1024"]);
    // Nothing of whoever runs this, and no `.env` or `stentor.toml` of theirs.
    command.env_clear().current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn line_of(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once("stentor".into()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn setting() -> Setting {
    Setting {
        unix_seconds: clock::unix_seconds(),
        machine: machine::describe(),
        load_average: machine::load_average(),
        server: version::of_program(Path::new(SERVER)).unwrap_or_else(|| "not named".to_owned()),
        command: super::run::command(std::env::args().skip(1)),
    }
}

pub(crate) fn plan<'i>(
    million: &Million,
    (connections, tables): (usize, Tables),
    address: SocketAddr,
    clock: Clock,
    interrupt: &'i Interrupt,
) -> io::Result<Plan<'i>> {
    let app = App { id: "1".to_owned(), key: "app-key".to_owned(), secret: "app-secret".into() };
    let channels = match million.own_channel {
        Some(_) => connections,
        None => connections.div_ceil(million.per_channel),
    };
    Ok(Plan {
        target: Target::parse(&format!("ws://{address}"), Some(app))?,
        clock,
        threads: tables.threads,
        connections,
        channels,
        own_channel: million.own_channel,
        deadline: after(clock.now(), million.deadline),
        ready: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        has_failed: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        interrupt,
        sent: std::sync::OnceLock::new(),
    })
}

/// Runs the threads, and looks at the server at the right moments.
fn conduct(
    plan: &Plan<'_>,
    server: &Server,
    million: &Million,
    looks: &mut Looks,
) -> io::Result<Vec<Found>> {
    looks.empty = look(plan, server)?;
    let play = &|thread: usize| {
        let found = crew::play(plan, thread);
        if found.is_err() {
            plan.has_failed.store(true, Ordering::Relaxed);
        }
        found
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|thread| {
                // Little stands on it, and there are many.
                thread::Builder::new()
                    .stack_size(256 * 1024)
                    .spawn_scoped(scope, move || play(thread))
            })
            .collect();
        let conducted = lead(plan, server, million, looks);
        plan.has_failed.fetch_or(conducted.is_err(), Ordering::Relaxed);
        plan.is_over.store(true, Ordering::Release);
        let joined = threads.into_iter().map(|thread| {
            thread?
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread of the generator panicked")))
        });
        // What a thread says of its failure tells more than that one failed.
        let found = joined.collect::<io::Result<Vec<_>>>()?;
        let lost = found.iter().find_map(|found| found.faults.first_loss.clone());
        match (conducted, lost) {
            (Err(_), Some(lost)) => {
                return Err(io::Error::other(format!("a connection was lost: {lost}")));
            }
            (conducted, _) => conducted?,
        }
        settle(plan, "all are cut");
        looks.closed = look(plan, server)?;
        Ok(found)
    })
}

fn look(plan: &Plan<'_>, server: &Server) -> io::Result<Look> {
    let (server, tcp_sockets) = (server.sample()?, bounds::tcp_sockets());
    Ok(Look { server, tcp_sockets, at: plan.clock.now() })
}

/// Lets what is under way come to rest before a look at memory; shorter if the run does not go on.
fn settle(plan: &Plan<'_>, what: &str) {
    tell(&format!("{what}; memory is looked at when {} s have passed", SETTLE.as_secs()));
    let end = plan.clock.now() + nanos(SETTLE);
    while plan.clock.now() < end && plan.goes_on() {
        pause(plan.clock, LOOK_EVERY);
    }
}

/// The error that says why a run does not go on, and how far it came.
fn check(plan: &Plan<'_>, done: u64, all: u64, what: &str) -> io::Result<()> {
    plan.check()
        .map_err(|why| io::Error::other(format!("{why}: given up with {done} of {all} {what}")))
}

/// The main thread's part while the others hold their connections.
fn lead(plan: &Plan<'_>, server: &Server, million: &Million, looks: &mut Looks) -> io::Result<()> {
    let all = plan.connections as u64;
    let mut progress = Progress::start(plan.clock, "connections", all);
    loop {
        let ready = plan.ready.load(Ordering::Relaxed);
        if ready >= all {
            break;
        }
        check(plan, ready, all, "connections")?;
        if looks.half.is_none() && ready >= all / 2 {
            let half = look(plan, server)?;
            looks.half = Some((plan.ready.load(Ordering::Relaxed), half));
        }
        progress.show(ready);
        pause(plan.clock, LOOK_EVERY);
    }
    progress.end(all);
    let at = plan.clock.now();
    settle(plan, "all are subscribed");
    looks.full = Look { at, ..look(plan, server)? };
    let expected = publish(plan, million.events)?;
    let mut progress = Progress::start(plan.clock, "deliveries", expected);
    let (mut seen, mut seen_at) = (0, plan.clock.now());
    while seen < expected && plan.clock.now() < seen_at + PATIENCE {
        check(plan, seen, expected, "deliveries")?;
        pause(plan.clock, LOOK_EVERY);
        let delivered = plan.delivered.load(Ordering::Relaxed);
        if delivered > seen {
            (seen, seen_at) = (delivered, plan.clock.now());
        }
        progress.show(seen);
    }
    progress.end(seen);
    looks.delivered = look(plan, server)?;
    Ok(())
}

/// One event after the other, each to the channel of a random subscriber; gives how many deliveries that must be.
pub(crate) fn publish(plan: &Plan<'_>, events: u32) -> io::Result<u64> {
    let payloads = Payloads::new(LEAST_BYTES);
    let mut sent = vec![0_u16; plan.channels];
    let mut expected = 0;
    let mut dice = Keys::new(clock::unix_seconds());
    let mut stream = TcpStream::connect_timeout(&plan.target.address, ANSWER_PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK_EVERY))?;
    let mut progress = Progress::start(plan.clock, "events", u64::from(events));
    for event in 0..events {
        check(plan, u64::from(event), u64::from(events), "events")?;
        // The channel of a random end: a channel of many is likelier than one of few.
        let end = u32::from_le_bytes(dice.next_key()) as usize % plan.connections;
        let channel = end % plan.channels;
        let sequence = crew::sequence(channel, sent[channel]);
        sent[channel] += 1;
        expected += plan.subscribers(channel) as u64;
        let (mut data, mut request) = (Vec::new(), Vec::new());
        payloads.write(Stamp { sequence, intended: plan.clock.now() }, &mut data);
        let name = plan.name(channel);
        plan.target.publish(&[&name], &String::from_utf8_lossy(&data), &mut request)?;
        stream.write_all(&request)?;
        let status = answer(plan, &mut stream)
            .map_err(|error| io::Error::other(format!("event {event}: {error}")))?;
        if status != 200 {
            return Err(io::Error::other(format!("event {event} was answered {status}")));
        }
        progress.show(u64::from(event));
    }
    progress.end(u64::from(events));
    // Nobody else sets it.
    let _ = plan.sent.set(sent);
    Ok(expected)
}

fn answer(plan: &Plan<'_>, stream: &mut TcpStream) -> io::Result<u16> {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    let end = plan.clock.now() + nanos(ANSWER_PATIENCE);
    loop {
        if let Some(response) = whole_response(&received)? {
            return Ok(response.status);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server ended the publisher's connection")),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                plan.check().map_err(io::Error::other)?;
                if plan.clock.now() > end {
                    let text = format!("no answer within {} s", ANSWER_PATIENCE.as_secs());
                    return Err(io::Error::other(text));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn report(
    million: &Million,
    plan: &Plan<'_>,
    tables: Tables,
    looks: &Looks,
    found: Vec<Found>,
) -> Report {
    let channels = match plan.own_channel {
        None => format!("{} channels", grouped(plan.channels as f64)),
        Some(ChannelKind::Public) => "a public channel each".to_owned(),
        Some(ChannelKind::Private) => "a private channel each".to_owned(),
    };
    let mut report = Report::new(format!(
        "million: {} connections of one process, {channels}, {} server cores, {} threads of clients",
        grouped(plan.connections as f64),
        tables.cores,
        tables.threads
    ));
    let (mut faults, mut latencies) = (Faults::default(), Latencies::new());
    for one in found {
        faults.add(&one.faults);
        latencies.add(&one.latencies);
    }
    report.faults = faults;
    report.add("connections", plan.connections as f64, Unit::Count);
    let fill = seconds(looks.full.at - looks.empty.at);
    report.add("until all were subscribed", fill, Unit::Seconds);
    report.add("subscribed", plan.connections as f64 / fill.max(0.001), Unit::PerSecond);
    let cpu = |from: &Look, to: &Look| -> Cpu { to.server.cpu - from.server.cpu };
    report.add("server CPU while they came", cpu(&looks.empty, &looks.full).total(), Unit::Seconds);
    add_memory(&mut report, plan.connections, looks);
    report.add("events", f64::from(million.events), Unit::Count);
    report.add("deliveries", latencies.count() as f64, Unit::Count);
    report.add(
        "server CPU while they were delivered",
        cpu(&looks.full, &looks.delivered).total(),
        Unit::Seconds,
    );
    report.add_latencies("from publish to delivery", &latencies);
    report
}

fn add_memory(report: &mut Report, count: usize, looks: &Looks) {
    let memory = |look: &Look| look.server.memory;
    report.add_memory_costs((0, memory(&looks.empty)), (count, memory(&looks.full)));
    // On a busy machine a look may take so long that it is no half any more.
    let half = looks.half.as_ref().filter(|(ready, _)| *ready <= count as u64 / 4 * 3);
    if let Some((ready, half)) = half {
        let ready = usize::try_from(*ready).unwrap_or(count);
        let (from, to) = (memory(half).private, memory(&looks.full).private);
        let each = slope((ready, from), (count, to)).unwrap_or(f64::NAN);
        report.add("private per connection of the second half", each, Unit::Bytes);
    }
    report.add_memory("with no connection", memory(&looks.empty));
    report.add_memory("with all", memory(&looks.full));
    report.add_memory("after all are cut", memory(&looks.closed));
    report.add("TCP sockets with all", looks.full.tcp_sockets as f64, Unit::Count);
}

//! A whole server of one to four cores, the network around it, and its guests, in one thread and with virtual time. One
//! source of decisions makes all of it: who comes, what they say, where bytes are cut, which core turns, how time passes.
//!
//! ```text
//!   choices ─▶ steps: a core turns · a guest speaks · bytes are carried · somebody comes · time passes · lines fail
//!                │                                                              after each: what no witness may see
//!                ▼
//!   the end: all lines flow ─▶ nothing more need happen for all to be heard ─▶ one more event each ─▶ time passes, and
//!            who vanished is gone, who is sound is there ─▶ all go home, and nothing is left
//! ```
//!
//! `history.rs` is what was witnessed, `laws.rs` judges it; this file judges time and memory.

mod back_end;
mod choices;
mod ending;
mod guest;
mod history;
pub(crate) mod host;
mod laws;
mod line;
mod visits;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use stentor::metrics::Counter;
use stentor::reactor::simulation::{Census, Simulation};
use stentor::ws::Compression;
use stentor::{Options, Patience, http, ws};

use self::back_end::BackEnd;
pub(crate) use self::choices::Choices;
use self::guest::Guest;
use self::history::{GuestId, TOPICS};
use self::host::{Flaw, Host, House, Ledger};
use self::line::{Leave, Line};

/// Guests that are there at a time.
const MOST_GUESTS: usize = 10;
/// The longest event or answer that guests ask for.
const MOST_BYTES: usize = 1_500;
/// Turns after which cores that do not come to rest never will.
const MOST_TURNS: usize = 200_000;
/// A core that is awake turns at least so often, so that who is sound is never taken for silent.
const MOST_LATE: Duration = Duration::from_millis(300);
/// What deadlines may be late by: a sweep is a quarter of the least patience, and silence is told in ticks.
const SLACK: Duration = Duration::from_secs(3);

/// Who somebody is.
enum Talk {
    BackEnd(BackEnd),
    Guest(Box<Guest>),
    /// It never finishes its request.
    Loiterer,
}

struct Visitor {
    line: Line,
    talk: Talk,
    came: Duration,
    /// When bytes last moved, either way.
    stirred: Duration,
    /// The server has ended the connection, and that was judged.
    is_ended: bool,
}

/// How often what is worth a test happened, so that a simulation in which nothing does is noticed.
#[derive(Clone, Default, Debug)]
pub(crate) struct Sights {
    pub(crate) counters: HashMap<&'static str, u64>,
    pub(crate) partial_writes: u64,
    pub(crate) resets: u64,
    pub(crate) half_closes: u64,
    pub(crate) full_mailboxes: u64,
    pub(crate) full_letterboxes: u64,
    pub(crate) heard: u64,
    /// Turns that left an event on its way round a large audience.
    pub(crate) rounds: u64,
    /// Events that came compressed.
    pub(crate) inflated: u64,
    pub(crate) stops: u64,
    pub(crate) turns: u64,
}

impl Sights {
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, number) in &other.counters {
            *self.counters.entry(name).or_default() += number;
        }
        self.partial_writes += other.partial_writes;
        self.resets += other.resets;
        self.half_closes += other.half_closes;
        self.full_mailboxes += other.full_mailboxes;
        self.full_letterboxes += other.full_letterboxes;
        self.heard += other.heard;
        self.rounds += other.rounds;
        self.inflated += other.inflated;
        self.stops += other.stops;
        self.turns += other.turns;
    }

    /// Everything that laws speak of has happened.
    pub(crate) fn assert_met(&self) {
        let counters = [
            Counter::ClosesLate,
            Counter::HttpErrors,
            Counter::HttpIdleClosed,
            Counter::IdleClosed,
            Counter::MessagesLate,
            Counter::PublishesRefused,
            Counter::ReadsHeld,
            Counter::RequestsLate,
            Counter::SlowConsumers,
            Counter::SocketErrors,
            Counter::WsErrors,
        ];
        for counter in counters.map(Counter::name) {
            assert!(self.counters[counter] > 0, "{counter}: {self:?}");
        }
        let crowds = [self.full_mailboxes, self.full_letterboxes, self.partial_writes];
        let ends = [self.resets, self.half_closes, self.stops];
        let news = [self.heard, self.rounds, self.inflated];
        assert!(news.iter().chain(&crowds).chain(&ends).all(|it| *it > 0), "{self:?}");
    }
}

/// A server and all around it.
pub(crate) struct World<'c> {
    simulation: Simulation<Host, Ledger>,
    choices: Choices<'c>,
    options: Options,
    house: House,
    visitors: Vec<Visitor>,
    now: Duration,
    /// When each core last turned.
    turned: Vec<Duration>,
    stopped: Option<Duration>,
    may_stop: bool,
    flaw: Option<Flaw>,
    sights: Sights,
    /// What happened, if somebody wants to read it.
    trace: Option<String>,
}

/// What became of a world.
pub(crate) struct Outcome {
    pub(crate) fault: Option<String>,
    pub(crate) sights: Sights,
    pub(crate) trace: String,
}

/// Everything that one source of decisions leads to.
pub(crate) fn run(
    choices: Choices<'_>,
    steps: usize,
    flaw: Option<Flaw>,
    is_traced: bool,
) -> Outcome {
    let mut world = World::new(choices, flaw, is_traced);
    let fault = world.live(steps).err();
    let mut sights = std::mem::take(&mut world.sights);
    for counter in Counter::ALL {
        sights.counters.insert(counter.name(), world.simulation.metrics().total(*counter));
    }
    let lines = world.visitors.iter().map(|visitor| &visitor.line);
    sights.partial_writes = lines.map(|line| line.client.partial_writes()).sum();
    let book = world.house.book.borrow();
    sights.heard = book.stays.iter().map(|stay| stay.heard.len() as u64).sum();
    sights.inflated = book.inflated;
    drop(book);
    Outcome { fault, sights, trace: world.trace.unwrap_or_default() }
}

/// For fuzzers: whatever a server is made to do, it breaks no law. Gives what it met.
pub(crate) fn fuzz_shard(data: &[u8]) -> Sights {
    let outcome = run(Choices::Bytes(data), data.len(), None, false);
    assert_eq!(outcome.fault, None);
    outcome.sights
}

/// The limits of one world: small, so that all of them are met.
fn options(choices: &mut Choices<'_>) -> Options {
    let millis = |number: usize| Duration::from_millis(number as u64);
    Options {
        cores: choices.between(1, 4),
        outbox_bytes: choices.between(1_500, 4_000),
        flush_slice: choices.between(1, 4),
        fanout_slice: if choices.percent(60) { choices.between(1, 3) } else { 64 },
        mailbox_posts: choices.between(1, 8),
        read_buffer_bytes: choices.between(16, 300),
        in_flight_bytes: if choices.percent(50) { 600 } else { 1 << 20 },
        subscriptions: choices.between(2, TOPICS),
        accept_slice: 4,
        request_deadline: millis(choices.between(1_000, 4_000)),
        message_deadline: millis(choices.between(1_000, 3_500)),
        keep_alive: millis(choices.between(2_000, 6_000)),
        closing_deadline: millis(choices.between(500, 2_000)),
        shutdown_deadline: millis(choices.between(2_000, 5_000)),
        shutdown_rate: choices.between(1, 20),
        shutdown_linger: millis(choices.between(0, 1_000)),
        patience: Patience {
            ping_after: millis(choices.between(2_000, 5_000)),
            close_after: millis(choices.between(2_000, 4_000)),
        },
        compression: Some(Compression { threshold_bytes: choices.between(30, 80), level: 1 }),
        http: http::Limits { head_bytes: 1_024, headers: 16, body_bytes: 2_000 },
        ws: ws::Limits { message_bytes: 4_096 },
        ..Options::default()
    }
}

/// What a server is given that does not keep the limits.
fn flawed(options: Options, flaw: Option<Flaw>) -> Options {
    let hour = Duration::from_secs(3_600);
    match flaw {
        Some(Flaw::LetsAllPass) => Options { in_flight_bytes: usize::MAX, ..options },
        Some(Flaw::WaitsForRequests) => Options { request_deadline: hour, ..options },
        Some(Flaw::WaitsForTheLast) => {
            Options { shutdown_deadline: hour, closing_deadline: hour, ..options }
        }
        _ => options,
    }
}

impl<'c> World<'c> {
    fn new(mut choices: Choices<'c>, flaw: Option<Flaw>, is_traced: bool) -> Self {
        let options = options(&mut choices);
        let cores = options.cores;
        let house = House::new(flaw);
        let simulation = Simulation::new(flawed(options.clone(), flaw), |_| {
            (Host::new(house.clone()), Ledger(house.clone()))
        });
        let names = (0..TOPICS).map(|topic| {
            let home = choices.below(cores);
            // The hash of names is another one each time; the homes must not be.
            let mut names = (0..).map(|number| format!("{topic}-{number}"));
            names.find(|name| simulation.home_of(name) == home).unwrap()
        });
        house.names.set(names.collect()).unwrap();
        Self {
            simulation,
            turned: vec![Duration::ZERO; cores],
            may_stop: choices.percent(20),
            choices,
            options,
            house,
            visitors: Vec::new(),
            now: Duration::ZERO,
            stopped: None,
            flaw,
            sights: Sights::default(),
            trace: is_traced.then(String::new),
        }
    }

    fn live(&mut self, steps: usize) -> Result<(), String> {
        (0..4).for_each(|_| self.welcome());
        for _ in 0..steps {
            if self.choices.is_over() {
                break;
            }
            self.step();
            self.flow();
            self.check()?;
        }
        self.end()
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let millis = self.now.as_millis();
            let _ = writeln!(trace, "{:>6}.{:03} s  {}", millis / 1000, millis % 1000, what());
        }
    }

    fn fault(&self, fault: String) {
        self.house.book.borrow_mut().fault(fault);
    }

    fn check(&self) -> Result<(), String> {
        self.house.book.borrow().faults.first().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    fn step(&mut self) {
        match self.choices.below(100) {
            0..36 => self.turn_some(),
            36..64 => self.speak(),
            64..66 => self.publish_from_outside(),
            66..84 => self.carry_some(),
            84..90 => self.welcome(),
            90..94 => self.wait(),
            94..99 => self.fail_a_line(),
            _ => self.stop(),
        }
    }

    // ── cores ──

    fn awake(&self) -> Vec<usize> {
        (0..self.options.cores).filter(|core| self.simulation.is_awake(*core)).collect()
    }

    fn turn_some(&mut self) {
        let awake = self.awake();
        if !awake.is_empty() {
            let core = awake[self.choices.below(awake.len())];
            self.turn(core);
        }
    }

    fn turn(&mut self, core: usize) {
        let is_unlucky = self.flaw.is_some() && self.choices.percent(5);
        match self.flaw.filter(|_| is_unlucky) {
            Some(Flaw::LosesEdges) => self.simulation.forget_events(core),
            // And what it was rung for waits for another reason to turn.
            Some(Flaw::LosesRings) => return self.simulation.forget_ring(core),
            _ => {}
        }
        self.note(|| format!("core {core} turns"));
        self.simulation.turn(core);
        self.turned[core] = self.now;
        self.sights.turns += 1;
        let census = self.simulation.census();
        self.sights.rounds += u64::from(census.rounds > 0);
        self.sights.full_mailboxes += u64::from(census.crowded > 0);
        self.judge_memory(&census);
        if self.stopped.is_some() {
            self.simulation.end_done();
        }
    }

    /// Nothing waits for anybody beyond the limits.
    fn judge_memory(&self, census: &Census) {
        let Options { cores, outbox_bytes, in_flight_bytes, .. } = self.options;
        let largest = census.largest_outbox;
        if largest > outbox_bytes {
            self.fault(format!("an outbox holds {largest} bytes, the limit is {outbox_bytes}"));
        }
        // A publisher is refused past the limit; what all cores had let pass by then may come to one of them.
        let most = cores * (in_flight_bytes + MOST_BYTES + 100);
        let under_way = census.bytes_under_way;
        if under_way > most {
            self.fault(format!("{under_way} bytes are under way to a core, at most {most} may be"));
        }
        let connections = census.connections;
        if census.sides > connections || census.topics > TOPICS * cores || census.homes > TOPICS {
            self.fault(format!("more of something than there can be: {census:?}"));
        }
    }

    /// Turns until nobody has anything to do, while lines that flow do.
    fn rest(&mut self) {
        for _ in 0..MOST_TURNS {
            self.flow();
            let awake = self.awake();
            if awake.is_empty() {
                return;
            }
            awake.into_iter().for_each(|core| self.turn(core));
        }
        self.fault("the cores never come to rest".to_owned());
    }

    // ── time ──

    fn advance(&mut self, time: Duration) {
        self.simulation.advance(time);
        self.now += time;
    }

    fn wait(&mut self) {
        let is_late = |core: &usize| self.now - self.turned[*core] > MOST_LATE;
        if self.awake().iter().any(is_late) {
            self.rest();
        }
        match self.choices.below(8) {
            0..5 => {
                let time = Duration::from_millis(self.choices.between(1, 100) as u64);
                self.note(|| format!("{time:?} pass, and nobody turns"));
                self.advance(time);
            }
            5..7 => self.pass(Duration::from_millis(200)),
            _ => {
                let time = Duration::from_millis(self.choices.between(500, 4_000) as u64);
                self.pass(time);
            }
        }
    }

    /// Time passes, and cores wake when they said they would.
    fn pass(&mut self, time: Duration) {
        self.note(|| format!("{time:?} pass"));
        let until = self.now + time;
        self.rest();
        while self.now < until {
            let next = self.simulation.next_wake().unwrap_or(time).max(Duration::from_micros(1));
            self.advance(next.min(until - self.now));
            self.rest();
            if self.check().is_err() {
                return;
            }
        }
        self.judge_time();
    }

    /// How long a connection may last on which nothing moves.
    fn longest_silence(&self) -> Duration {
        let Options { patience, keep_alive, request_deadline, closing_deadline, .. } = self.options;
        let silence = patience.ping_after + patience.close_after;
        silence.max(keep_alive + request_deadline) + 2 * closing_deadline + SLACK
    }

    /// Whoever says nothing, or does not come to the end of a request, is gone in time.
    fn judge_time(&self) {
        let request = self.options.request_deadline + self.options.closing_deadline + SLACK;
        for (id, visitor) in self.visitors.iter().enumerate() {
            if visitor.line.client.is_dropped() {
                continue;
            }
            let silence = self.now - visitor.stirred;
            if silence > self.longest_silence() {
                self.fault(format!("guest {id} is there, and nothing moved for {silence:?}"));
            }
            let time = self.now - visitor.came;
            if matches!(visitor.talk, Talk::Loiterer) && time > request {
                self.fault(format!("guest {id} has been saying one request for {time:?}"));
            }
        }
    }

    fn stop(&mut self) {
        if self.may_stop && self.stopped.is_none() && self.visitors.len() > 4 {
            self.note(|| "the server is told to stop".to_owned());
            self.sights.stops += 1;
            self.stopped = Some(self.now);
            self.simulation.stop();
        }
    }

    // ── lines ──

    /// Carries and takes all there is on lines that flow, and notes who has come to an end.
    fn flow(&mut self) {
        for id in 0..self.visitors.len() {
            let Visitor { line, is_ended, .. } = &self.visitors[id];
            if *is_ended && line.client.is_dropped() && line.left.is_some() {
                continue;
            }
            if line.is_prompt {
                self.carry(id, usize::MAX);
                self.take(id, usize::MAX);
            }
            self.visitors[id].line.answer_for_the_gone();
            self.note_end(id);
        }
    }

    fn carry(&mut self, id: GuestId, most: usize) {
        let visitor = &mut self.visitors[id];
        let bytes = visitor.line.carry(most);
        if bytes > 0 {
            visitor.stirred = self.now;
            self.note(|| format!("{bytes} bytes reach the server from guest {id}"));
        }
    }

    fn take(&mut self, id: GuestId, most: usize) {
        let Visitor { line, talk, stirred, .. } = &mut self.visitors[id];
        let bytes = line.take(most);
        if bytes.is_empty() {
            return;
        }
        *stirred = self.now;
        let count = bytes.len();
        match talk {
            Talk::BackEnd(back_end) => back_end.hear(&bytes, self.now),
            Talk::Guest(guest) => guest.hear(bytes, line),
            Talk::Loiterer => {}
        }
        self.note(|| format!("guest {id} reads {count} bytes"));
        // What it answers to what it heard goes the same way.
        if self.visitors[id].line.is_prompt {
            self.carry(id, usize::MAX);
        }
    }

    /// The server has ended a connection, and its guest has read all that came before.
    fn note_end(&mut self, id: GuestId) {
        let Visitor { line, talk, is_ended, .. } = &mut self.visitors[id];
        let is_read = line.client.untaken_bytes() == 0 || line.left.is_some();
        if *is_ended || !line.client.is_finished() || !is_read {
            return;
        }
        *is_ended = true;
        let fault = match talk {
            Talk::Guest(guest) => {
                guest.end_all_stays();
                guest.judge_end(line)
            }
            Talk::BackEnd(back_end) => back_end.judge_end(line, self.now, self.options.keep_alive),
            Talk::Loiterer => None,
        };
        // Most close their side, too; some leave that to the server.
        if line.left.is_none() && (line.is_prompt || self.choices.percent(70)) {
            line.leave(Leave::Finish);
        }
        self.note(|| format!("guest {id} finds the end"));
        if let Some(fault) = fault.filter(|_| self.stopped.is_none()) {
            self.fault(fault);
        }
    }

    fn carry_some(&mut self) {
        let slow = |it: &Visitor| !it.line.is_prompt && !it.line.is_quiet();
        let Some(id) = self.some_visitor(slow) else { return };
        let most = self.choices.between(1, 700);
        self.carry(id, most);
        let most = self.choices.between(1, 700);
        self.take(id, most);
    }

    fn fail_a_line(&mut self) {
        let Some(id) = self.some_visitor(|it| !it.line.is_prompt && !it.is_ended) else { return };
        let line = &mut self.visitors[id].line;
        let what = if self.choices.percent(50) {
            line.is_held = !line.is_held;
            if line.is_held { "is held up" } else { "flows again" }
        } else {
            line.is_stalled = !line.is_stalled;
            if line.is_stalled { "is not read" } else { "is read again" }
        };
        self.note(|| format!("the line of guest {id} {what}"));
    }

    fn some_visitor(&mut self, is_meant: impl Fn(&Visitor) -> bool) -> Option<GuestId> {
        let meant = |id: &GuestId| is_meant(&self.visitors[*id]);
        let ids: Vec<GuestId> = (0..self.visitors.len()).filter(meant).collect();
        (!ids.is_empty()).then(|| ids[self.choices.below(ids.len())])
    }
}

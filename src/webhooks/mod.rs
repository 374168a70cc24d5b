//! Webhooks: what happens on the channels of an app, told to its back ends by signed HTTP requests.
//!
//! ```text
//!  a core's thread │ the webhooks thread                                          │ up to `threads` others
//!                  │                                                              │
//!  fact ─▶ note ───┼▶ queue ─▶ grace ─▶ batch: a lane for each app and target ────┼▶ deliver: sign, POST, wait
//!       (not wanted│  (full:     who left and is        ▲  batches, retries       │      │
//!        or no room│   counted)  back was never gone    └──── 2xx, or not ◀───────┼──────┘
//!        : nothing)│                                                              │
//! ```
//!
//! A core only builds the event and offers it to the queue; it never waits. The webhooks thread never waits for a target,
//! and a target is waited for by one of the other threads, one request of each lane at a time: who hangs holds up its own
//! lane. Threads and clocks are in `deliver.rs` alone; all other files take the time as an argument. The Pusher room does not know this one: it calls out through its `Observer`.

mod batch;
mod deliver;
mod drops;
mod event;
mod grace;
mod sign;
mod target;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metrics::{Counter, Metrics};
use crate::pusher::{App, Fact, FactKind, Observer};

pub use target::{HeaderError, Target, Url, UrlError, check_header};

use deliver::{Collector, Order};
use event::{Event, Room};

/// What the room can be told, besides its targets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// How many events may wait between the cores and the webhooks thread, and how many departures may wait for their
    /// grace to pass.
    pub queue: usize,
    /// How many bytes of events may wait, wherever they wait.
    pub bytes: usize,
    /// How many events may wait for one target.
    pub lane: usize,
    /// How many events one request may have.
    pub batch: usize,
    /// How long an event waits for others to go with it.
    pub window: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long after the first attempt a request is tried again.
    pub retry_for: Duration,
    /// How long a departure waits for a return that undoes it.
    pub grace: Duration,
    /// How many requests may be under way at once, each in a thread of its own.
    pub threads: usize,
    /// How long the end of the server waits for what is left.
    pub stop_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: 10_000,
            bytes: 64 * 1024 * 1024,
            lane: 10_000,
            batch: 100,
            window: Duration::from_millis(50),
            timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(300),
            grace: Duration::from_secs(3),
            threads: 16,
            stop_within: Duration::from_secs(5),
        }
    }
}

/// The running webhooks. Cheap to clone: each core observes through a clone. They end when the last one is gone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
    events: Sender<Event>,
    orders: Sender<Order>,
    /// Disconnected once the webhooks thread has ended.
    ended: Receiver<()>,
    stop_within: Duration,
}

impl Webhooks {
    /// Starts the webhooks thread.
    ///
    /// # Errors
    ///
    /// What the system says if there can be no thread.
    pub fn start(options: Options, targets: Vec<Target>, metrics: Metrics) -> io::Result<Self> {
        let (events, queue) = bounded(options.queue);
        let (orders, control) = bounded(MOST_ORDERS);
        let (end, ended) = bounded(0);
        let shared = Arc::new(Shared {
            wanted: Wanted::default(),
            room: Room::new(options.bytes),
            dropped: AtomicU64::new(0),
            metrics,
        });
        shared.wanted.set(&targets);
        let stop_within = options.stop_within;
        Collector::new(options, targets, Arc::clone(&shared)).start(queue, control, end)?;
        Ok(Self { shared, events, orders, ended, stop_within })
    }

    /// These are the targets from here on. A target that goes to the same address for the same app keeps what waits for
    /// it. Waits for no target.
    pub fn replace(&self, targets: Vec<Target>) {
        self.shared.wanted.set(&targets);
        // The thread is gone only once the webhooks are stopped.
        let _ = self.orders.send(Order::Replace(targets));
    }

    /// Tries all that waits once more, as long as [`Options::stop_within`] allows, and ends the webhooks. To be called
    /// when the cores have ended.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::End);
        let _ = self.ended.recv_timeout(self.stop_within + SLACK);
    }
}

/// What the webhooks thread is told from outside waits no longer than it takes it to look.
const MOST_ORDERS: usize = 8;

/// For the webhooks thread to end after its last look at the time.
const SLACK: Duration = Duration::from_secs(1);

impl Observer for Webhooks {
    fn wants(&self, app: &App) -> bool {
        self.shared.wanted.mask(&app.id) != 0
    }

    fn note(&self, app: &App, fact: Fact<'_>) {
        if self.shared.wanted.mask(&app.id) & bit(fact.kind()) == 0 {
            return;
        }
        let event = Event::new(&app.id, &fact, &self.shared.room);
        if event.is_none_or(|event| self.events.try_send(event).is_err()) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.add(Counter::WebhooksDropped, 1);
        }
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhooks")
    }
}

/// What the cores and the webhooks thread both see.
#[derive(Debug)]
struct Shared {
    wanted: Wanted,
    room: Room,
    /// Events that found no place, since the webhooks thread last looked.
    dropped: AtomicU64,
    metrics: Metrics,
}

/// Which kinds of facts of which apps are wanted, at a glance. Apps may share a cell: then too much is told, and the
/// lanes, which know each target, leave it out.
#[derive(Debug)]
struct Wanted(Box<[AtomicU8]>);

/// More than most servers have apps.
const CELLS: usize = 1024;

impl Default for Wanted {
    fn default() -> Self {
        Self((0..CELLS).map(|_| AtomicU8::new(0)).collect())
    }
}

impl Wanted {
    fn set(&self, targets: &[Target]) {
        let mut masks = vec![0; self.0.len()];
        for target in targets {
            masks[self.cell(&target.app)] |= mask(&target.events);
        }
        for (cell, mask) in self.0.iter().zip(masks) {
            cell.store(mask, Ordering::Relaxed);
        }
    }

    fn mask(&self, app: &str) -> u8 {
        self.0[self.cell(app)].load(Ordering::Relaxed)
    }

    /// FNV-1a: ids are short, and not chosen by strangers.
    fn cell(&self, app: &str) -> usize {
        let hash = app
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash as usize % self.0.len()
    }
}

fn bit(kind: FactKind) -> u8 {
    1 << kind as u8
}

/// A return is looked at by whoever wants to hear of departures, and the other way round: see `grace.rs`.
fn mask(kinds: &[FactKind]) -> u8 {
    let channels = bit(FactKind::ChannelOccupied) | bit(FactKind::ChannelVacated);
    let members = bit(FactKind::MemberAdded) | bit(FactKind::MemberRemoved);
    let mask = kinds.iter().fold(0, |mask, kind| mask | bit(*kind));
    let pair = |pair: u8| if mask & pair == 0 { 0 } else { pair };
    mask | pair(channels) | pair(members)
}

#[cfg(test)]
mod tests;

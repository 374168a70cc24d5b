//! Lanes: what waits for each target of each app, when the next request of it is due, and what a failure means. Pure.
//!
//! ```text
//!                ┌─ lane: app 1, https://a/ ── waiting … ─▶ batch ─▶ one request under way ──2xx──▶ the next batch
//!   event ──wants┤                                            ▲                  └──else──▶ rests 1, 2, 4 … 60 s
//!                └─ lane: app 1, https://b/ ── waiting …      └───────────────────────────────────────┘
//! ```
//!
//! A request has events of one lane alone, and a lane has one request under way at most: so the order of a channel is
//! kept, and a target that fails delays nobody but itself. Lanes whose last attempt failed may hold half of the threads,
//! so that those which work always find one. Times are counted from any one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::event::Event;
use super::target::Target;

/// How long a lane rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What a request may have in events, besides the first one.
const MOST_BODY_BYTES: usize = 256 * 1024;

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    options: Arc<Options>,
    lanes: BTreeMap<u64, Lane>,
    of_app: HashMap<String, Vec<u64>>,
    /// When a lane has something to be sent. None of those that are under way is in it.
    due: BTreeSet<(Duration, u64)>,
    /// The lanes with a request under way, and whether their last attempt failed. One may be gone meanwhile.
    under_way: HashMap<u64, bool>,
    next_number: u64,
    dropped: u64,
    is_ending: bool,
}

#[derive(Debug)]
struct Lane {
    target: Arc<Target>,
    /// With the times at which they came.
    waiting: VecDeque<(Duration, Arc<Event>)>,
    /// What is tried, or rests before it is tried again.
    batch: Option<Batch>,
    /// Nothing is due before: the end of the last attempt, or of the rest after it.
    not_before: Duration,
    /// The last attempt failed.
    is_suspect: bool,
    due: Option<Duration>,
}

#[derive(Debug)]
struct Batch {
    events: Arc<[Arc<Event>]>,
    attempts: u32,
    first_attempt: Duration,
}

/// One request to be made.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) lane: u64,
    pub(super) target: Arc<Target>,
    pub(super) events: Arc<[Arc<Event>]>,
}

/// What the end of an attempt means.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The target has taken so many events.
    Delivered { events: usize },
    /// The target is none any more.
    Gone,
    /// They are told no more.
    GivenUp { target: Arc<Target>, attempts: u32, events: usize },
    /// They are tried again.
    Rests { target: Arc<Target>, attempts: u32, rest: Duration },
}

impl Lanes {
    pub(super) fn new(options: Arc<Options>, targets: Vec<Target>) -> Self {
        let mut lanes = Self {
            options,
            lanes: BTreeMap::new(),
            of_app: HashMap::new(),
            due: BTreeSet::new(),
            under_way: HashMap::new(),
            next_number: 0,
            dropped: 0,
            is_ending: false,
        };
        lanes.replace(targets);
        lanes
    }

    /// These are the targets from here on. One that goes to the same address for the same app keeps its lane and what
    /// waits there. How many events were lost with those that are gone.
    pub(super) fn replace(&mut self, targets: Vec<Target>) -> usize {
        let mut before = std::mem::take(&mut self.lanes);
        self.of_app.clear();
        for target in targets {
            let is_same =
                |lane: &Lane| lane.target.app == target.app && lane.target.url == target.url;
            let number = before.iter().find(|(_, lane)| is_same(lane)).map(|(number, _)| *number);
            let known = number.and_then(|number| Some((number, before.remove(&number)?)));
            let target = Arc::new(target);
            let (number, lane) = match known {
                Some((number, lane)) => (number, Lane { target, ..lane }),
                None => {
                    self.next_number += 1;
                    (self.next_number, Lane::new(target))
                }
            };
            self.of_app.entry(lane.target.app.clone()).or_default().push(number);
            self.lanes.insert(number, lane);
        }
        for (number, lane) in &before {
            lane.due.map(|due| self.due.remove(&(due, *number)));
        }
        before.values().map(Lane::len).sum()
    }

    /// An event for whoever wants it. The newest is lost where a lane is full: what waits keeps its order, whole.
    pub(super) fn add(&mut self, event: &Arc<Event>, now: Duration) {
        let Some(numbers) = self.of_app.get(&*event.app).cloned() else { return };
        for number in numbers {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            if !lane.target.wants(event.kind, &event.channel) {
                continue;
            }
            if lane.waiting.len() >= self.options.lane {
                self.dropped += 1;
                continue;
            }
            lane.waiting.push_back((now, Arc::clone(event)));
            // Only the first and the one that fills a batch can change when it is due.
            if lane.waiting.len() == 1 || lane.waiting.len() == self.options.batch {
                self.schedule(number);
            }
        }
    }

    /// The next request to be made now, if there is one and a thread for it.
    pub(super) fn next_job(&mut self, now: Duration) -> Option<Job> {
        let (_, number) = self.first_due().filter(|(due, _)| *due <= now)?;
        let lane = self.lanes.get_mut(&number)?;
        let batch = lane.batch.get_or_insert_with(|| Batch {
            events: cut(&mut lane.waiting, self.options.batch),
            attempts: 0,
            first_attempt: now,
        });
        batch.attempts += 1;
        let job = Job {
            lane: number,
            target: Arc::clone(&lane.target),
            events: Arc::clone(&batch.events),
        };
        self.under_way.insert(number, lane.is_suspect);
        self.schedule(number);
        Some(job)
    }

    /// When the next request is due for which there is a thread.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.first_due().map(|(due, _)| due)
    }

    /// An attempt has ended.
    pub(super) fn report(&mut self, number: u64, is_delivered: bool, now: Duration) -> Verdict {
        self.under_way.remove(&number);
        let Some(lane) = self.lanes.get_mut(&number) else { return Verdict::Gone };
        let Some(batch) = lane.batch.take() else { return Verdict::Gone };
        (lane.is_suspect, lane.not_before) = (!is_delivered, now);
        let (target, attempts, events) =
            (Arc::clone(&lane.target), batch.attempts, batch.events.len());
        let rest = rest_after(attempts);
        let is_over = self.is_ending || now + rest > batch.first_attempt + self.options.retry_for;
        let verdict = match (is_delivered, is_over) {
            (true, _) => Verdict::Delivered { events },
            (false, true) => Verdict::GivenUp { target, attempts, events },
            (false, false) => {
                (lane.not_before, lane.batch) = (now + rest, Some(batch));
                Verdict::Rests { target, attempts, rest }
            }
        };
        self.schedule(number);
        verdict
    }

    /// The server ends: all that waits is due now, and tried once.
    pub(super) fn end(&mut self, now: Duration) {
        self.is_ending = true;
        let numbers: Vec<_> = self.lanes.keys().copied().collect();
        for number in numbers {
            if let Some(lane) = self.lanes.get_mut(&number) {
                lane.not_before = lane.not_before.min(now);
            }
            self.schedule(number);
        }
    }

    /// How many events wait or are under way, for all targets together.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(Lane::len).sum()
    }

    /// How many were lost because a lane was full, since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The first that is due and may have a thread.
    fn first_due(&self) -> Option<(Duration, u64)> {
        if self.under_way.len() >= self.options.threads {
            return None;
        }
        let suspects = self.under_way.values().filter(|is_suspect| **is_suspect).count();
        let has_room = suspects < (self.options.threads / 2).max(1);
        let is_suspect = |number: &u64| self.lanes.get(number).is_some_and(|lane| lane.is_suspect);
        self.due.iter().find(|(_, number)| has_room || !is_suspect(number)).copied()
    }

    /// Notes when a lane is due now that something of it has changed.
    fn schedule(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let due = match (self.under_way.contains_key(&number), &lane.batch, lane.waiting.front()) {
            (true, ..) | (false, None, None) => None,
            (false, Some(_), _) => Some(lane.not_before),
            (false, None, Some((since, _))) => {
                let is_full = self.is_ending || lane.waiting.len() >= self.options.batch;
                let since = if is_full { *since } else { *since + self.options.window };
                Some(since.max(lane.not_before))
            }
        };
        let before = std::mem::replace(&mut lane.due, due);
        before.map(|before| self.due.remove(&(before, number)));
        due.map(|due| self.due.insert((due, number)));
    }
}

impl Lane {
    fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            waiting: VecDeque::new(),
            batch: None,
            not_before: Duration::ZERO,
            is_suspect: false,
            due: None,
        }
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.batch.as_ref().map_or(0, |batch| batch.events.len())
    }
}

/// Takes what one request may have.
fn cut(waiting: &mut VecDeque<(Duration, Arc<Event>)>, most: usize) -> Arc<[Arc<Event>]> {
    let mut bytes = 0;
    let fits = |(_, event): &&(Duration, Arc<Event>)| {
        bytes += event.json.len();
        bytes <= MOST_BODY_BYTES
    };
    let count = waiting.iter().take(most).take_while(fits).count().max(1).min(waiting.len());
    waiting.drain(..count).map(|(_, event)| event).collect()
}

/// 1, 2, 4 … 60 seconds.
fn rest_after(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST)
}

#[cfg(test)]
mod tests;

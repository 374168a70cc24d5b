//! Time without a timer object for each connection: a sweep over a 2-byte column for silence, a heap for the few real
//! deadlines and reminders.
//!
//! ```text
//! activity  [ 712 | 698 | 715 | … ]   tick of the last byte, by slot      now 716: slot 1 is silent for 18 ticks
//!                    ▲ cursor: a sweep looks at so many slots a turn
//! ```
//!
//! The clock is read elsewhere: time comes as an argument.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::options::Patience;
use crate::fanout::conn_id::ConnId;

/// One tick of the activity column. 65,536 of them are 109 minutes.
const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 100;
const TICKS_PER_SECOND: u64 = 1000 / TICK_MILLIS;
/// The longest silence that the column can tell.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(6_000);
/// Slots looked at in one turn.
const SWEEP_SLICE: usize = 8 * 1024;
/// So many deadlines are not worth a look.
const FEW_DEADLINES: usize = 1024;
const SHORTEST_SWEEP: Duration = Duration::from_millis(50);
const LONGEST_SWEEP: Duration = Duration::from_secs(5);

/// A number of ticks.
pub(crate) type Ticks = u16;

/// So many whole ticks; as many as there are, if it is longer.
pub(crate) fn ticks(time: Duration) -> Ticks {
    Ticks::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(Ticks::MAX)
}

/// The activity column and the heap of deadlines of one core.
pub(crate) struct Timers {
    start: Instant,
    tick: Ticks,
    activity: Vec<Ticks>,
    /// The shortest silence that means something to any connection.
    least: Duration,
    sweep_every: Duration,
    sweep_at: Instant,
    /// Where the sweep under way stands.
    cursor: Option<usize>,
    deadlines: Heap,
    /// With so many entries the heap is looked through for those that nobody waits for: of a connection that was upgraded, the one
    /// that `accept` made.
    overgrown: usize,
    /// What handlers asked to be reminded of. An entry stays until its time, whether its connection does or not.
    reminders: Heap,
}

impl Timers {
    pub(crate) fn new(now: Instant, patience: Patience) -> Self {
        let mut timers = Self {
            start: now,
            tick: 0,
            activity: Vec::new(),
            least: LONGEST_SILENCE,
            sweep_every: LONGEST_SWEEP,
            sweep_at: now + LONGEST_SWEEP,
            cursor: None,
            deadlines: BinaryHeap::new(),
            overgrown: FEW_DEADLINES,
            reminders: BinaryHeap::new(),
        };
        timers.learn(now, patience);
        timers
    }

    /// Some connection is looked at with this patience: the sweep must be as fine as the least of them asks.
    pub(crate) fn learn(&mut self, now: Instant, patience: Patience) {
        let every = patience.ping_after.min(patience.close_after) / 4;
        self.least = self.least.min(patience.ping_after);
        self.sweep_every = self.sweep_every.min(every.max(SHORTEST_SWEEP));
        self.sweep_at = self.sweep_at.min(now + self.sweep_every);
    }

    /// A turn begins.
    pub(crate) fn advance(&mut self, now: Instant) {
        // In 64 bits: this is done once a turn, and division in 128 is long.
        let elapsed = now - self.start;
        let ticks =
            elapsed.as_secs() * TICKS_PER_SECOND + u64::from(elapsed.subsec_millis()) / TICK_MILLIS;
        // The column wraps; differences do not mind.
        self.tick = Ticks::try_from(ticks & u64::from(Ticks::MAX)).unwrap_or(Ticks::MAX);
    }

    /// The connection gave a sign of life.
    pub(crate) fn touch(&mut self, slot: u32) {
        let slot = slot as usize;
        if slot >= self.activity.len() {
            self.activity.resize(slot + 1, self.tick);
        }
        self.activity[slot] = self.tick;
    }

    /// From here on the slot counts as silent for so long.
    pub(crate) fn backdate(&mut self, slot: u32, silence: Ticks) {
        self.touch(slot);
        self.activity[slot as usize] = self.tick.wrapping_sub(silence);
    }

    /// How long the slot has been silent.
    pub(crate) fn silence(&self, slot: u32) -> Ticks {
        self.tick.wrapping_sub(self.activity.get(slot as usize).copied().unwrap_or(self.tick))
    }

    /// Adds a deadline. What it is about, and whether it still holds, is the connection's to know.
    pub(crate) fn add(&mut self, deadline: Instant, conn: ConnId) {
        self.deadlines.push(Reverse((deadline, conn)));
    }

    /// Whether it is time to look for entries that nobody waits for.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.deadlines.len() >= self.overgrown
    }

    /// Keeps the deadlines that somebody waits for. Not to be called again before as many have come as there are now.
    pub(crate) fn retain(&mut self, mut is_awaited: impl FnMut(Instant, ConnId) -> bool) {
        self.deadlines.retain(|Reverse((deadline, conn))| is_awaited(*deadline, *conn));
        self.overgrown = (2 * self.deadlines.len()).max(FEW_DEADLINES);
        self.deadlines.shrink_to(self.overgrown);
    }

    /// An entry whose time has come, with that time.
    pub(crate) fn next_passed(&mut self, now: Instant) -> Option<(Instant, ConnId)> {
        pop_passed(&mut self.deadlines, now)
    }

    /// The handler wants to be called about the connection then.
    pub(crate) fn remind(&mut self, at: Instant, conn: ConnId) {
        self.reminders.push(Reverse((at, conn)));
    }

    /// Whom the handler wants to be called about now.
    pub(crate) fn next_reminder(&mut self, now: Instant) -> Option<ConnId> {
        pop_passed(&mut self.reminders, now).map(|(_, conn)| conn)
    }

    /// Deadlines and reminders, those that were replaced included.
    pub(crate) fn len(&self) -> usize {
        self.deadlines.len() + self.reminders.len()
    }

    /// Finds slots whose silence may mean something. True if there is more to look at.
    pub(crate) fn sweep(&mut self, now: Instant, silent: &mut Vec<u32>) -> bool {
        let at_least = ticks(self.least).max(1);
        let from = match self.cursor {
            Some(cursor) => cursor,
            None if now >= self.sweep_at => 0,
            None => return false,
        };
        let to = self.activity.len().min(from + SWEEP_SLICE);
        for (slot, active) in (from..).zip(&self.activity[from..to]) {
            if self.tick.wrapping_sub(*active) >= at_least {
                silent.push(u32::try_from(slot).unwrap_or(u32::MAX));
            }
        }
        self.cursor = (to < self.activity.len()).then_some(to);
        if self.cursor.is_none() {
            self.sweep_at = now + self.sweep_every;
        }
        self.cursor.is_some()
    }

    /// The end of the tick that this is in. Deadlines are kept to a tick, so that those of many connections, which were
    /// accepted one after the other, do not wake the core for each.
    fn end_of_tick(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.start);
        let into = since.subsec_nanos() % TICK.subsec_nanos();
        if into == 0 { at } else { at + TICK - Duration::from_nanos(u64::from(into)) }
    }

    /// When the core must look again; `None` if nothing can happen by itself.
    pub(crate) fn next(&self, has_connections: bool) -> Option<Instant> {
        let first = |heap: &Heap| heap.peek().map(|Reverse((at, _))| *at);
        let deadline = first(&self.deadlines).map(|at| self.end_of_tick(at));
        let reminder = first(&self.reminders);
        let sweep = has_connections.then_some(self.sweep_at);
        deadline.into_iter().chain(reminder).chain(sweep).min()
    }
}

type Heap = BinaryHeap<Reverse<(Instant, ConnId)>>;

fn pop_passed(heap: &mut Heap, now: Instant) -> Option<(Instant, ConnId)> {
    let Reverse(entry) = *heap.peek()?;
    if entry.0 > now {
        return None;
    }
    heap.pop();
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { ping_after: Duration::from_secs(60), close_after: Duration::from_secs(30) };

    fn timers() -> (Timers, Instant) {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Instant::now();
        (Timers::new(start, PATIENCE), start)
    }

    #[test]
    fn silence_is_told_across_the_wrap_of_the_column() {
        let (mut timers, start) = timers();
        let late = start + Duration::from_millis(100 * 65_530);
        timers.advance(late);
        timers.touch(0);
        timers.advance(late + Duration::from_secs(2));
        assert_eq!(timers.silence(0), 20);
    }

    #[test]
    fn a_sweep_finds_each_silent_slot_once_in_slices() {
        let (mut timers, start) = timers();
        let slots = 20_000;
        (0..slots).for_each(|slot| timers.touch(slot));
        let later = start + Duration::from_secs(100);
        timers.advance(later);
        timers.touch(17);
        let (mut silent, mut turns) = (Vec::new(), 1);
        while timers.sweep(later, &mut silent) {
            turns += 1;
        }
        assert_eq!((silent.len(), turns), (19_999, 3));
        assert!(!silent.contains(&17));
        assert!(!timers.sweep(later, &mut silent), "the next sweep is not due");
        assert_eq!(silent.len(), 19_999);
    }

    #[test]
    fn deadlines_of_one_tick_wake_the_core_once() {
        let (mut timers, start) = timers();
        let at = |millis| start + Duration::from_millis(millis);
        for millis in [1_001, 1_050, 1_100] {
            timers.add(at(millis), ConnId::new(0, 1, 1));
        }
        assert_eq!(timers.next(false), Some(at(1_100)));
        assert_eq!(std::iter::from_fn(|| timers.next_passed(at(1_100))).count(), 3);
        timers.remind(at(1_101), ConnId::new(0, 1, 1));
        assert_eq!(timers.next(false), Some(at(1_101)), "a reminder is kept to the moment");
    }

    #[test]
    fn deadlines_pass_in_order() {
        let (mut timers, start) = timers();
        let conn = |slot| ConnId::new(0, slot, 1);
        timers.add(start + Duration::from_secs(2), conn(2));
        timers.add(start + Duration::from_secs(1), conn(1));
        assert_eq!(timers.next(false), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.next_passed(start), None);
        assert_eq!(
            timers.next_passed(start + Duration::from_secs(1)),
            Some((start + Duration::from_secs(1), conn(1)))
        );
        assert_eq!(timers.next_passed(start + Duration::from_secs(1)), None);
        assert_eq!(
            timers.next_passed(start + Duration::from_secs(9)),
            Some((start + Duration::from_secs(2), conn(2)))
        );
        assert_eq!(timers.next(false), None);
        assert!(timers.next(true).is_some());
    }
}

//! How a core ends when the server is told to stop: in order, and so that who is sent away can come back.
//!
//! ```text
//!   stop ─▶ Closing ─────────────────▶ Lingering ──────▶ Waiting ──────────▶ Last ──────▶ done
//!           those who were there are    who comes back    until all cores     the rest is
//!           closed, so many a second    is on the way     have come so far    closed
//!           ◀── who comes is accepted and served ───────────────────────────▶ ◀ nobody is
//! ```
//!
//! The listener stays until the last moment, because a Pusher client that is refused stays away for 15 seconds, while
//! one that is closed comes back. Closing all at once would have all of them back in one moment. Whether who comes
//! meanwhile is spoken to is the handler's affair ([`Conn::is_stopping`](super::handler::Conn::is_stopping)).

use std::time::{Duration, Instant};

use super::handler::Handler;
use super::shard::Shard;
use super::slots::{Phase, Slot, Standing};
use super::stream::Stream;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::metrics::Counter;
use crate::ws::CloseCode;

/// Closing goes on in steps of so long.
const STEP: Duration = Duration::from_millis(5);

/// Where a core stands on its way to the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Closing,
    /// Until then.
    Lingering(Instant),
    Waiting,
    Last,
}

/// A core's way to the end.
#[derive(Debug)]
pub(crate) struct Ending {
    stage: Stage,
    begun: Instant,
    /// In which time those who were there are told to leave.
    window: Duration,
    /// When the last stage begins at the latest, so that there is time for it.
    last_at: Instant,
    /// When what is left is cut.
    deadline: Instant,
    /// The next slot to look at, and how many slots there were.
    cursor: usize,
    slots: usize,
    /// WebSockets there were, how many of them were told to leave, and how many are not gone.
    all: usize,
    told: usize,
    left: usize,
    /// When to look again.
    next: Instant,
}

impl Ending {
    fn new(now: Instant, all: usize, slots: usize, time: Duration, rate: usize) -> Self {
        let rate = u32::try_from(rate).unwrap_or(u32::MAX).max(1);
        let at_rate = Duration::from_secs(all as u64) / rate;
        let window = if at_rate <= STEP { Duration::ZERO } else { at_rate.min(time / 2) };
        Self {
            stage: Stage::Closing,
            begun: now,
            window,
            last_at: now + time / 4 * 3,
            deadline: now + time,
            cursor: 0,
            slots,
            all,
            told: 0,
            left: all,
            next: now,
        }
    }

    /// How many should have been told to leave by now.
    fn due(&self, now: Instant) -> usize {
        let elapsed = (now - self.begun).as_micros();
        let window = self.window.as_micros();
        if elapsed >= window {
            return self.all;
        }
        // No more than `all`, which is a usize.
        usize::try_from(self.all as u128 * elapsed / window).unwrap_or(self.all)
    }

    /// When the core must look again by itself.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(match self.stage {
            Stage::Closing if self.told < self.all => self.next,
            Stage::Lingering(until) => until.min(self.last_at),
            Stage::Closing | Stage::Waiting => self.last_at,
            Stage::Last => self.deadline,
        })
    }
}

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    /// Whether nobody is to be accepted any more.
    pub(crate) fn is_at_last(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.stage == Stage::Last)
    }

    /// Whether the core has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        let is_late = |ending: &Ending| self.core.now.instant >= ending.deadline;
        (self.is_at_last() && self.connections() == 0) || self.ending.as_ref().is_some_and(is_late)
    }

    /// Whoever is left now is cut.
    pub(crate) fn count_cut(&self) {
        self.core.counters().add(Counter::CutAtEnd, self.connections() as u64);
    }

    /// The server was told to stop. Called again, it changes nothing.
    pub(super) fn begin_ending(&mut self) {
        if self.ending.is_some() {
            return;
        }
        self.core.is_stopping = true;
        let mut all = 0;
        for (_, slot) in self.core.slots.iter_mut().filter(|(_, slot)| slot.is_open()) {
            slot.standing = Standing::Leaving;
            all += 1;
        }
        let options = &self.core.options;
        let (time, rate) = (options.shutdown_deadline, options.shutdown_rate);
        let (now, slots) = (self.core.now.instant, self.streams.len());
        self.ending = Some(Ending::new(now, all, slots, time, rate));
        self.go_on_ending();
    }

    /// One of those who were there is gone.
    pub(super) fn note_left(&mut self) {
        if let Some(ending) = &mut self.ending {
            ending.left -= 1;
        }
    }

    /// Goes on as far as the time has come.
    pub(super) fn go_on_ending(&mut self) {
        let Some(ending) = &self.ending else { return };
        let now = self.core.now.instant;
        if ending.stage == Stage::Last {
            return;
        }
        let is_late = now >= ending.last_at;
        if ending.stage == Stage::Closing {
            self.tell_leaving(now);
            self.linger_if_closed(now);
        }
        self.wait_if_over(now);
        if is_late || self.letters.are_all_closed() {
            self.begin_last();
        }
    }

    /// Tells those whose turn it is to leave.
    fn tell_leaving(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else { return };
        let due = ending.due(now);
        ending.next = now + STEP;
        while let Some(ending) = self.ending.as_mut().filter(|it| it.told < due) {
            // Some have gone by themselves.
            if ending.cursor == ending.slots {
                ending.told = ending.all;
                return;
            }
            let slot = u32::try_from(ending.cursor).unwrap_or(u32::MAX);
            ending.cursor += 1;
            let is_leaving = |slot: &Slot| slot.standing == Standing::Leaving;
            let conn = self.core.id_of(slot);
            if let Some(conn) = conn.filter(|conn| self.core.slot(*conn).is_some_and(is_leaving)) {
                ending.told += 1;
                self.say_good_bye(conn);
            }
        }
    }

    /// Whoever was sent away may come back at once, and takes a moment for it.
    fn linger_if_closed(&mut self, now: Instant) {
        let linger = self.core.options.shutdown_linger;
        if let Some(ending) = self.ending.as_mut().filter(|ending| ending.left == 0) {
            let linger = if ending.all > 0 { linger } else { Duration::ZERO };
            ending.stage = Stage::Lingering(now + linger);
        }
    }

    fn wait_if_over(&mut self, now: Instant) {
        let is_over = |stage| matches!(stage, Stage::Lingering(until) if until <= now);
        if let Some(ending) = self.ending.as_mut().filter(|ending| is_over(ending.stage)) {
            ending.stage = Stage::Waiting;
            self.letters.note_closed();
        }
    }

    /// Closes what is left: who came meanwhile, and HTTP connections between requests.
    fn begin_last(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        ending.stage = Stage::Last;
        for slot in 0..self.streams.len() {
            let conn = u32::try_from(slot).ok().and_then(|slot| self.core.id_of(slot));
            let Some(conn) = conn else { continue };
            let phase = self.core.slot(conn).map(|slot| slot.phase);
            if phase == Some(Phase::Http) && !self.is_awaiting_response(conn) {
                self.end_http(conn);
            } else {
                self.say_good_bye(conn);
            }
        }
    }

    fn say_good_bye(&mut self, conn: ConnId) {
        if self.core.slot(conn).is_some_and(Slot::is_sendable) {
            self.call(conn, None, |handler, conn| handler.on_shutdown(conn));
            // It must be closed; a handler that forgot does not keep it.
            self.core.close(conn, CloseCode::GOING_AWAY, "");
        }
    }
}

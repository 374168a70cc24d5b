//! Who takes too long: deadlines that have passed, silence, and a core's own lateness, which is nobody else's.
//!
//! ```text
//!   deadline passed ─┐                      ┌─ yes ─▶ looked at again soon
//!   silence found ───┴─▶ anything unread? ──┤
//!                                           └─ no ──▶ Http: 408 in a request, else ended · Ws: 1008 in a message,
//!                                                     pinged, then closed · saying good-bye: cut
//! ```
//!
//! What lies unread is not lateness. A core that was held up (a slow callback, a machine that slept, a mailbox without
//! room) finds deadlines passed and the bytes that kept them in the sockets. So time is judged as of the last moment
//! up to which everything that had come was taken notice of ([`Hearing`]), and never of a connection that is still to
//! be read.

use std::time::{Duration, Instant};

use super::handler::{Handler, Idle};
use super::options::Patience;
use super::shard::Shard;
use super::slots::{Phase, Slot};
use super::stream::Stream;
use super::timers::{LONGEST_SILENCE, ticks};
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::http;
use crate::metrics::Counter;
use crate::ws::{self, CloseCode, Reply};

/// How soon a deadline that could not be judged is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Up to when a core has taken notice of all that sockets had to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    until: Instant,
    /// The kernel had more events than were taken; since then, and so many times.
    full_since: Instant,
    full_waits: usize,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now, full_since: now, full_waits: 0 }
    }

    /// Events were taken at `now`: all there were, or as many as one wait takes.
    fn note(&mut self, now: Instant, is_all: bool, waits_for_all: usize) {
        if is_all {
            (self.until, self.full_waits) = (now, 0);
            return;
        }
        if self.full_waits == 0 {
            self.full_since = now;
        }
        self.full_waits += 1;
        // The kernel hands events out in the order in which sockets got ready, each socket once: under a load that never
        // ends, whoever was ready at the first of these waits has had its turn by now.
        if self.full_waits > waits_for_all {
            (self.until, self.full_waits) = (self.full_since, 0);
        }
    }
}

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    /// So many events were taken from the kernel in this turn, which takes `most`.
    pub(crate) fn note_events(&mut self, taken: usize, most: usize) {
        let waits_for_all = self.connections() / most.max(1) + 1;
        self.hearing.note(self.core.now.instant, taken < most, waits_for_all);
    }

    /// A message that has begun must end in time. One deadline serves for all its fragments; a new one is set only if
    /// something ended since, `is_new`.
    pub(super) fn mind_message_deadline(&mut self, conn: ConnId, is_new: bool) {
        let Some(slot) = self.core.slot(conn).filter(|slot| slot.is_sendable()) else { return };
        let is_begun = slot.ws.is_mid_message();
        let side = self.core.side(conn.slot());
        let is_set = side.as_ref().is_some_and(|side| side.deadline.is_some());
        if is_begun && (is_new || !is_set) {
            let deadline = self.core.now.instant + self.core.options.message_deadline;
            self.core.set_deadline(conn, deadline);
        } else if !is_begun && let Some(side) = side {
            side.deadline = None;
            self.core.drop_idle_side(conn.slot());
        }
    }

    pub(super) fn look_at_deadline(&mut self, conn: ConnId, entry: Instant, now: Instant) {
        let is_unread = self.is_unread(conn);
        let heard_until = self.hearing.until;
        let Some(side) = self.core.side(conn.slot()) else { return };
        // An earlier entry took the place of this one. Put back too, it would stay for as long as the connection does.
        if side.in_heap != Some(entry) {
            return;
        }
        side.in_heap = None;
        match side.deadline {
            Some(deadline) if deadline <= now && (is_unread || deadline > heard_until) => {
                side.in_heap = Some(now + LOOK_AGAIN);
                self.core.timers.add(now + LOOK_AGAIN, conn);
            }
            Some(deadline) if deadline <= now => {
                side.deadline = None;
                self.expire(conn);
            }
            Some(deadline) => self.core.set_deadline(conn, deadline),
            None => self.core.drop_idle_side(conn.slot()),
        }
    }

    /// Whether the connection may have said something that nobody has read. Who is not read because it does not read
    /// either is given up for its silence, if it is an open WebSocket, and else by its deadline.
    fn is_unread(&self, conn: ConnId) -> bool {
        self.core
            .slot(conn)
            .is_some_and(|slot| slot.is_ready || (slot.is_paused && slot.is_sendable()))
    }

    /// The connection took some of what waits for it. While it is not read for having more than that, this is the one
    /// sign of life that it can give.
    pub(super) fn note_reader(&mut self, conn: ConnId) {
        if let Some(slot) = self.core.slot_mut(conn).filter(|slot| slot.is_paused) {
            slot.is_pinged = false;
            self.core.timers.touch(conn.slot());
        }
    }

    fn expire(&mut self, conn: ConnId) {
        let is_mid_request = self.core.side(conn.slot()).is_some_and(|side| side.is_request_begun);
        let Some(slot) = self.core.slot(conn) else { return };
        match slot.phase {
            Phase::Http if is_mid_request => {
                self.core.count(Counter::RequestsLate);
                self.fail_http(conn, http::ProtocolError::Timeout);
            }
            Phase::Http => self.cut(conn, Counter::HttpIdleClosed),
            Phase::Ws if slot.is_sendable() => self.fail_late_message(conn),
            Phase::Ws | Phase::Ending | Phase::Finished => self.cut(conn, Counter::ClosesLate),
        }
    }

    fn cut(&mut self, conn: ConnId, why: Counter) {
        self.core.count(why);
        self.drop_connection(conn, None);
    }

    fn fail_late_message(&mut self, conn: ConnId) {
        self.core.count(Counter::MessagesLate);
        self.scratch.clear();
        let mut reply = Reply { bytes: &mut self.scratch, masking_key: [0; 4] };
        let Some(slot) = self.core.slot_mut(conn) else { return };
        let error = slot.ws.fail(ws::ProtocolError::Timeout, &mut reply);
        self.fail_ws(conn, error, true);
    }

    /// How long this WebSocket may be silent: never longer than the activity column can tell.
    fn patience(&mut self, conn: ConnId) -> Patience {
        let tag = self.core.slot(conn).map_or(0, |slot| slot.tag);
        let mut patience = None;
        self.call_only(conn, None, |handler, _| patience = handler.patience(tag));
        let Patience { ping_after, close_after } = patience.unwrap_or(self.core.options.patience);
        let ping_after = ping_after.min(LONGEST_SILENCE / 2);
        Patience { ping_after, close_after: close_after.min(LONGEST_SILENCE / 2) }
    }

    /// A WebSocket was opened: its patience may be the least of all.
    pub(super) fn learn_patience(&mut self, conn: ConnId) {
        let patience = self.patience(conn);
        self.core.timers.learn(self.core.now.instant, patience);
    }

    pub(super) fn look_at_silence(&mut self, slot: u32) {
        let Some(conn) = self.core.id_of(slot) else { return };
        let is_judged = |slot: &&Slot| slot.is_sendable() && !slot.is_ready;
        let Some(kept) = self.core.slot(conn).filter(is_judged) else { return };
        let (is_pinged, answers_pings) = (kept.is_pinged, kept.answers_pings);
        let patience = self.patience(conn);
        let unheard = self.core.now.instant - self.hearing.until;
        let silence = self.core.timers.silence(slot).saturating_sub(ticks(unheard));
        if silence >= ticks(patience.ping_after + patience.close_after) && is_pinged {
            self.core.count(Counter::IdleClosed);
            self.call(conn, None, |handler, conn| handler.on_idle(conn, Idle::Expired));
            // It must be closed; a handler that forgot does not keep it.
            self.core.close(conn, CloseCode::GOING_AWAY, "");
        } else if silence >= ticks(patience.ping_after) && !is_pinged {
            self.core.slots[slot as usize].is_pinged = true;
            // However late this core finds out, the peer has all of `close_after` for its answer.
            self.core.timers.backdate(slot, ticks(patience.ping_after));
            self.core.ping(slot);
            self.call(conn, None, |handler, conn| {
                handler.on_idle(conn, Idle::Silent { answers_pings })
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::turn;

    #[test]
    fn what_was_heard_is_told_by_a_wait_that_took_all_or_by_enough_that_did_not() {
        let start = turn::now().instant;
        let at = |second| start + Duration::from_secs(second);
        let mut hearing = Hearing::new(start);
        hearing.note(at(1), true, 3);
        assert_eq!(hearing.until, at(1));
        for second in 2..5 {
            hearing.note(at(second), false, 3);
            assert_eq!(hearing.until, at(1));
        }
        hearing.note(at(5), false, 3);
        assert_eq!(hearing.until, at(2), "all who were ready then have been heard");
        hearing.note(at(6), false, 3);
        hearing.note(at(7), true, 3);
        assert_eq!(hearing.until, at(7));
    }
}

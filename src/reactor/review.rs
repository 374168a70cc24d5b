//! A review: every core's handler takes notice of something new, then looks at each open WebSocket.
//!
//! ```text
//!   Reviewer::review ─▶ a count, and all bells ─▶ on_notice ─▶ on_review, on_review, … a slice of the slots each turn
//!                                                    ▲              │ ordered again meanwhile: notice at once, and
//!                                                    └──────────────┘ once round all slots from where it stands
//! ```
//!
//! Notice is taken after bytes or posts have come and before they are handled. So what a peer sends after the order was
//! given finds it carried out, and what one core knows, every core knows that is spoken to by it.

use super::handler::Handler;
use super::shard::Shard;
use super::slots::Slot;
use super::stream::Stream;
use crate::fanout::directory::Directory;

/// Slots looked at in one turn.
pub(super) const REVIEW_SLICE: usize = 1024;

/// Where a core's review stands.
#[derive(Default)]
pub(super) struct Review {
    /// So many orders were taken notice of.
    noticed: usize,
    /// The slot to be looked at next; below `slots`, if that is not 0.
    next: usize,
    /// How many slots there were at the last notice: who is behind them has come since.
    slots: usize,
    /// How many of them are to be looked at. Going round from where it stands, an order that comes too soon after
    /// another one costs nobody its turn.
    left: usize,
}

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    /// Tells the handler, if something new was announced.
    pub(super) fn take_notice(&mut self) {
        let ordered = self.letters.reviews();
        if ordered == self.review.noticed {
            return;
        }
        let slots = self.streams.len();
        let next = self.review.next % slots.max(1);
        self.review = Review { noticed: ordered, next, slots, left: slots };
        self.handler.on_notice(self.core.home.directory_mut());
    }

    /// Looks at as many connections as one turn may.
    pub(crate) fn review(&mut self) {
        self.take_notice();
        for _ in 0..REVIEW_SLICE.min(self.review.left) {
            // What is said to each may be long; and whoever must go leaves its topics, whose homes must have room to
            // hear it.
            if self.core.is_heavy() || self.core.outgoing.is_waiting() {
                break;
            }
            let slot = self.review.next;
            self.review.next = (slot + 1) % self.review.slots;
            self.review.left -= 1;
            self.review_slot(slot);
        }
    }

    /// Whether there are connections left to be looked at.
    pub(super) fn is_reviewing(&self) -> bool {
        self.review.left > 0
    }

    fn review_slot(&mut self, slot: usize) {
        let conn = u32::try_from(slot).ok().and_then(|slot| self.core.id_of(slot));
        let Some(conn) = conn else { return };
        if !self.core.slot(conn).is_some_and(Slot::is_sendable) {
            return;
        }
        self.call(conn, None, |handler, conn| handler.on_review(conn));
        if self.core.slot(conn).is_some_and(Slot::is_sendable) {
            // The sweep for silence may have to be finer than it was for this connection.
            self.learn_patience(conn);
        }
    }
}

//! ⑨ The only place that writes. Each chain of the turn becomes one `send`, or one `writev`; then the rounds go on by
//! a slice, one `send` for each subscriber.
//!
//! ```text
//! chain A → B → own ──▶ socket takes all                       done, nothing on the heap
//!                   └─▶ socket takes part ─▶ rest to outbox ─▶ written when the socket says that it takes more
//!                                              └─▶ over the limit: a slow consumer, closed
//! ```

use std::io::{self, IoSlice};

use super::chains::{Chain, Chains, Frame};
use super::handler::Handler;
use super::outbox::{MOST_PIECES, Outbox};
use super::rounds::Visit;
use super::shard::Shard;
use super::slots::Phase;
use super::stream::Stream;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::metrics::Counter;

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    /// Writes to as many connections as one turn may. True if there are more.
    pub(crate) fn flush(&mut self) -> bool {
        let mut budget = self.slice(self.core.options.flush_slice, 1);
        while budget > 0 || self.core.chains.is_heavy() {
            let Some(slot) = self.core.chains.next_due() else { break };
            budget = budget.saturating_sub(1);
            if let Some(conn) = self.core.id_of(slot) {
                self.flush_chain(conn);
            }
        }
        self.flush_rounds();
        self.core.has_unsent()
    }

    /// Goes on with the rounds, by one slice.
    fn flush_rounds(&mut self) {
        let mut budget = self.core.options.fanout_slice.max(1);
        self.warm_up(budget);
        while budget > 0 || self.core.rounds.is_heavy() {
            let Some(visit) = self.core.rounds.next() else { return };
            budget = budget.saturating_sub(1);
            self.visit(visit);
        }
        self.core.rounds.rotate();
    }

    /// Looks at the slots of the subscribers whose turns come next. Between two `send`s each would be waited for alone, for
    /// the kernel leaves little of ours in the cache; so the processor fetches many at a time.
    fn warm_up(&self, most: usize) {
        let Some((topic, positions)) = self.core.rounds.upcoming(most) else { return };
        let entries = self.core.topics.subscribers(topic).get(positions).unwrap_or_default();
        let slot = |entry| self.core.slots.get(self.core.subscriptions.slot(entry) as usize);
        let with_outbox =
            entries.iter().filter(|entry| slot(**entry).is_some_and(|slot| slot.has_outbox));
        std::hint::black_box(with_outbox.count());
    }

    /// Sends a subscriber what it lacks: in one piece, unless its socket or something of its own is in the way.
    fn visit(&mut self, visit: Visit) {
        let entry = self.core.topics.subscribers(visit.topic)[visit.position];
        let slot = self.core.subscriptions.slot(entry);
        let numbers = self.core.rounds.take(visit);
        let Some(conn) = self.core.id_of(slot) else { return };
        let Some(Some(stream)) = self.streams.get_mut(slot as usize) else { return };
        let kept = &self.core.slots[slot as usize];
        let (form, deflater) = (kept.ws.form(), &mut self.core.deflater);
        let mut begun = None;
        if kept.chain.is_empty()
            && !kept.has_outbox
            && let Some(bytes) = self.core.rounds.joined(visit, &numbers, slot, (form, deflater))
        {
            match retry(|| stream.write(bytes)) {
                Ok(written) if written == bytes.len() => {
                    return self.core.count_deliveries(numbers.end.wrapping_sub(numbers.start));
                }
                Ok(written) => begun = Some(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => begun = Some(0),
                Err(error) => return self.fail_io(conn, error),
            }
        }
        self.core.append_round(visit, &numbers, slot);
        match begun {
            None => self.flush_chain(conn),
            Some(written) => {
                let chain = std::mem::take(&mut self.core.slots[slot as usize].chain);
                self.queue_rest(conn, chain, written);
            }
        }
    }

    fn flush_chain(&mut self, conn: ConnId) {
        let slot = &mut self.core.slots[conn.slot() as usize];
        let chain = std::mem::take(&mut slot.chain);
        let has_outbox = slot.has_outbox;
        let Some(Some(stream)) = self.streams.get_mut(conn.slot() as usize) else { return };
        if chain.is_empty() {
            return;
        }
        let written =
            if has_outbox { Ok(Some(0)) } else { write_chain(stream, &self.core.chains, chain) };
        match written {
            Ok(None) => self.on_written(conn),
            Ok(Some(written)) => self.queue_rest(conn, chain, written),
            Err(error) => self.fail_io(conn, error),
        }
    }

    /// Queues what the socket did not take.
    fn queue_rest(&mut self, conn: ConnId, chain: Chain, written: usize) {
        self.core.make_side(conn.slot());
        let slot = &mut self.core.slots[conn.slot() as usize];
        slot.has_outbox = true;
        let (phase, side) = (slot.phase, slot.side);
        let outbox = &mut self.core.sides[side as usize].outbox;
        push_rest(outbox, &self.core.chains, chain, written);
        let queued = outbox.held_bytes();
        let limit = self.outbox_bytes(conn);
        // An answer is what the peer asked for, however large; it only must not ask on.
        if queued > limit && phase == Phase::Ws {
            self.fail_slow(conn, limit);
        } else if queued > limit / 2 && phase != Phase::Ending {
            // Whoever asks faster than it reads the answers is not heard until it has read some.
            let was_paused = &mut self.core.slots[conn.slot() as usize].is_paused;
            if !std::mem::replace(was_paused, true) {
                self.core.count(Counter::ReadsPaused);
            }
        }
    }

    /// What may wait for this connection. What is no WebSocket has no tag.
    fn outbox_bytes(&mut self, conn: ConnId) -> usize {
        let tag = self.core.slot(conn).filter(|slot| slot.phase == Phase::Ws).map(|slot| slot.tag);
        let mut bytes = None;
        if let Some(tag) = tag {
            self.call_only(conn, None, |handler, _| bytes = handler.outbox_bytes(tag));
        }
        bytes.unwrap_or(self.core.options.outbox_bytes)
    }

    /// The socket takes more.
    pub(super) fn flush_outbox(&mut self, conn: ConnId) {
        let limit = self.outbox_bytes(conn);
        let Some(Some(stream)) = self.streams.get_mut(conn.slot() as usize) else { return };
        let Some(side) = self.core.slot(conn).map(|slot| slot.side) else { return };
        let Some(side) = self.core.sides.get_mut(side as usize) else { return };
        let before = side.outbox.held_bytes();
        let written = side.outbox.write_to(stream);
        let has_taken = side.outbox.held_bytes() < before;
        let is_small = side.outbox.held_bytes() <= limit / 4;
        let is_http_waiting = side.http.as_ref().is_some_and(|http| http.is_awaiting_response());
        match written {
            Ok(is_done) => {
                if has_taken {
                    self.note_reader(conn);
                }
                if is_small && !is_http_waiting {
                    self.core.unpause(conn.slot());
                }
                if is_done {
                    self.core.slots[conn.slot() as usize].has_outbox = false;
                    self.core.drop_idle_side(conn.slot());
                    self.on_written(conn);
                }
            }
            Err(error) => self.fail_io(conn, error),
        }
    }

    fn on_written(&mut self, conn: ConnId) {
        if self
            .core
            .slot(conn)
            .is_some_and(|slot| slot.phase == Phase::Ending && slot.chain.is_empty())
        {
            self.finish(conn);
        }
    }
}

/// `None` if all is written, else how many bytes of the chain are.
fn write_chain(
    stream: &mut impl Stream,
    chains: &Chains,
    chain: Chain,
) -> io::Result<Option<usize>> {
    let mut pieces = chains.pieces(chain).map(|piece| chains.bytes(piece)).peekable();
    let mut written = 0;
    while let Some(first) = pieces.next() {
        let (wanted, result) = if pieces.peek().is_none() {
            (first.len(), retry(|| stream.write(first)))
        } else {
            let mut batch = [IoSlice::new(&[]); MOST_PIECES];
            batch[0] = IoSlice::new(first);
            let mut count = 1;
            while count < MOST_PIECES
                && let Some(piece) = pieces.next()
            {
                batch[count] = IoSlice::new(piece);
                count += 1;
            }
            let wanted = batch[..count].iter().map(|piece| piece.len()).sum();
            (wanted, retry(|| stream.write_vectored(&batch[..count])))
        };
        match result {
            Ok(bytes) => {
                written += bytes;
                if bytes < wanted {
                    return Ok(Some(written));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(written)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A signal is no reason to believe that the socket is full: no event would say when it is not.
fn retry(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Queues a chain without its first `written` bytes.
fn push_rest(outbox: &mut Outbox, chains: &Chains, chain: Chain, mut written: usize) {
    for piece in chains.pieces(chain) {
        let bytes = chains.bytes(piece);
        if written >= bytes.len() {
            written -= bytes.len();
            continue;
        }
        match piece {
            Frame::Shared(prepared, form) => outbox.push_shared(prepared, *form, written),
            Frame::Own { .. } => outbox.push_own(bytes, written),
        }
        written = 0;
    }
}

//! What a handler may touch of its core: everything but the sockets.
//!
//! Nothing here calls the handler. What a callback asks for is done at once where only this core's tables are touched
//! (a link in a chain, an entry in a list), and otherwise queued in `local`, which the shard works off when the
//! callback has returned: posts to topics whose home is this core stand there in line with everything else, so that
//! they keep the order that posts between cores keep.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use super::audience::Lacking;
use super::chains::Chains;
use super::entropy::Entropy;
use super::handler::Outgoing;
use super::options::Options;
use super::rounds::Rounds;
use super::slots::{NO_SIDE, Phase, Side, Slot};
use super::subscriptions::Subscriptions;
use super::timers::Timers;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::fanout::home::Home;
use crate::fanout::mailbox::{self, Post};
use crate::fanout::topics::{TopicId, Topics};
use crate::http::Response;
use crate::metrics::{Counter, Counters, Metrics};
use crate::ws::{CloseCode, Deflater, Reply};

/// What is to be done when the callback has returned, in order.
pub(crate) enum Local<D: Directory> {
    /// A subscription to a topic that this core listens to becomes active.
    Activate { topic: TopicId, conn: ConnId },
    /// A post to this core by itself.
    Post(Post<D>),
    /// The answer to an HTTP request.
    Respond { conn: ConnId, response: Response },
}

/// The time of a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix_seconds: u64,
}

/// Everything of one core that is not a socket.
pub(crate) struct Core<D: Directory> {
    pub(crate) number: u8,
    /// The core's own copy: cloning the pointer must not write to a cache line that other cores read.
    pub(crate) options: Rc<Options>,
    pub(crate) now: Now,
    pub(crate) slots: Slab<Slot>,
    pub(crate) sides: Slab<Side>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) chains: Chains,
    pub(crate) rounds: Rounds,
    pub(crate) deflater: Deflater,
    pub(crate) topics: Topics,
    pub(crate) home: Home<D>,
    pub(crate) outgoing: mailbox::Outgoing<D>,
    pub(crate) local: VecDeque<Local<D>>,
    pub(crate) timers: Timers,
    /// Connections to be read although no event says so: paused ones that may go on, and those whose turn was short.
    pub(crate) ready: VecDeque<u32>,
    /// The same, of whom no request was served yet: when very many come at once, those who are here do not wait behind them.
    pub(crate) newcomers: VecDeque<u32>,
    /// The server was told to stop.
    pub(crate) is_stopping: bool,
    /// As many as can be named. Fewer in tests: so many slots take a gigabyte.
    pub(crate) most_connections: usize,
    metrics: Metrics,
    entropy: Entropy,
    generation: u32,
}

/// What a core is made of.
pub(crate) struct Parts<D: Directory> {
    pub(crate) number: u8,
    pub(crate) options: Rc<Options>,
    pub(crate) directory: D,
    pub(crate) outgoing: mailbox::Outgoing<D>,
    pub(crate) metrics: Metrics,
    pub(crate) entropy: Entropy,
    pub(crate) now: Now,
}

impl<D: Directory> Core<D> {
    pub(crate) fn new(parts: Parts<D>) -> Self {
        let timers = Timers::new(parts.now.instant, parts.options.patience);
        let deflater = Deflater::new(parts.options.compression.unwrap_or_default());
        Self {
            number: parts.number,
            options: parts.options,
            now: parts.now,
            slots: Slab::new(),
            sides: Slab::new(),
            subscriptions: Subscriptions::default(),
            chains: Chains::default(),
            rounds: Rounds::default(),
            deflater,
            topics: Topics::default(),
            home: Home::new(parts.directory),
            outgoing: parts.outgoing,
            local: VecDeque::new(),
            timers,
            ready: VecDeque::new(),
            newcomers: VecDeque::new(),
            is_stopping: false,
            most_connections: ConnId::MOST_SLOTS,
            metrics: parts.metrics,
            entropy: parts.entropy,
            generation: 0,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.metrics.core(usize::from(self.number))
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.counters().add(counter, 1);
    }

    /// Whether so much is under way to some core that WebSockets wait: they go on where publishing would be refused soon.
    pub(crate) fn is_crowded(&self) -> bool {
        self.outgoing.doors().most_bytes() > self.options.in_flight_bytes / 2
    }

    // ── connections ──

    /// A slot for a new connection; `None` if the core has as many as it can name.
    pub(crate) fn insert(&mut self) -> Option<ConnId> {
        if self.slots.len() == self.most_connections {
            return None;
        }
        self.generation =
            if self.generation == ConnId::LAST_GENERATION { 1 } else { self.generation + 1 };
        let slot = self.slots.insert(Slot::new(self.generation, self.entropy.next()));
        let slot = u32::try_from(slot).ok()?;
        self.timers.touch(slot);
        Some(ConnId::new(self.number, slot, self.generation))
    }

    /// The name of whoever is in a slot now.
    pub(crate) fn id_of(&self, slot: u32) -> Option<ConnId> {
        self.slots.get(slot as usize).map(|it| ConnId::new(self.number, slot, it.generation))
    }

    /// The connection of that name, if it still is.
    pub(crate) fn slot(&self, conn: ConnId) -> Option<&Slot> {
        let slot = self.slots.get(conn.slot() as usize)?;
        (conn.core() == usize::from(self.number) && slot.generation == conn.generation())
            .then_some(slot)
    }

    pub(crate) fn slot_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(conn.slot() as usize)?;
        (conn.core() == usize::from(self.number) && slot.generation == conn.generation())
            .then_some(slot)
    }

    /// The side record, if there is one.
    pub(crate) fn side(&mut self, slot: u32) -> Option<&mut Side> {
        let side = self.slots.get(slot as usize)?.side;
        self.sides.get_mut(side as usize)
    }

    /// The side record, made if there is none.
    pub(crate) fn make_side(&mut self, slot: u32) -> &mut Side {
        let kept = &mut self.slots[slot as usize];
        if kept.side == NO_SIDE {
            let side = self.sides.insert(Side::default());
            kept.side =
                u32::try_from(side).expect("at most one for each connection, numbered in 24 bits");
        }
        &mut self.sides[kept.side as usize]
    }

    /// Gives the side record up if nothing needs it.
    pub(crate) fn drop_idle_side(&mut self, slot: u32) {
        let kept = &mut self.slots[slot as usize];
        if kept.side != NO_SIDE && !self.sides[kept.side as usize].is_needed() {
            self.sides.remove(kept.side as usize);
            kept.side = NO_SIDE;
        }
    }

    /// Sets when the connection's time is up.
    pub(crate) fn set_deadline(&mut self, conn: ConnId, deadline: Instant) {
        let side = self.make_side(conn.slot());
        side.deadline = Some(deadline);
        // One entry in the heap serves while the deadline only moves away: when it is reached, it is put back.
        if side.in_heap.is_none_or(|entry| deadline < entry) {
            side.in_heap = Some(deadline);
            self.timers.add(deadline, conn);
            if self.timers.is_overgrown() {
                let (slots, sides) = (&self.slots, &self.sides);
                self.timers.retain(|entry, conn| {
                    let slot = slots.get(conn.slot() as usize);
                    let slot = slot.filter(|slot| slot.generation == conn.generation());
                    let side = slot.and_then(|slot| sides.get(slot.side as usize));
                    side.is_some_and(|side| side.in_heap == Some(entry))
                });
            }
        }
    }

    /// The connection will be read in this turn or the next.
    pub(crate) fn make_ready(&mut self, slot: u32) {
        if let Some(kept) = self.slots.get_mut(slot as usize)
            && !kept.is_ready
        {
            kept.is_ready = true;
            let side = self.sides.get(kept.side as usize);
            let is_new = kept.phase == Phase::Http && side.is_none_or(|side| !side.has_asked);
            if is_new { &mut self.newcomers } else { &mut self.ready }.push_back(slot);
        }
    }

    /// Whether somebody is to be read.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.newcomers.is_empty()
    }

    /// The connection may be read again, if it was not for a while.
    pub(crate) fn unpause(&mut self, slot: u32) {
        if let Some(kept) = self.slots.get_mut(slot as usize)
            && kept.is_paused
        {
            kept.is_paused = false;
            self.make_ready(slot);
        }
    }

    // ── sending ──

    /// Whether so much is to be sent that it should be before more comes.
    pub(crate) fn is_heavy(&self) -> bool {
        self.chains.is_heavy() || self.rounds.is_heavy()
    }

    /// Whether anything is still to be sent that no event will tell of.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.chains.is_empty() || !self.rounds.is_empty()
    }

    /// Appends bytes to the connection's chain, as they are.
    pub(crate) fn append(&mut self, slot: u32, bytes: &[u8]) {
        let kept = &mut self.slots[slot as usize];
        self.chains.append_own(slot, &mut kept.chain, |out| out.extend_from_slice(bytes));
    }

    pub(crate) fn send(&mut self, conn: ConnId, message: Outgoing<'_>) {
        let slot = conn.slot();
        let Some(kept) =
            self.slots.get_mut(slot as usize).filter(|it| it.generation == conn.generation())
        else {
            return;
        };
        if !kept.is_sendable() {
            return;
        }
        match message {
            Outgoing::Prepared(prepared) => {
                let form = kept.ws.form();
                let frame = self.chains.share(&prepared, form, &mut self.deflater);
                self.chains.append(slot, &mut kept.chain, frame);
            }
            Outgoing::Message(kind, payload) => {
                let (ws, deflater) = (&kept.ws, &mut self.deflater);
                self.chains.append_own(slot, &mut kept.chain, |bytes| {
                    let mut reply = Reply { bytes, masking_key: [0; 4] };
                    // It is sendable, so it is open: the one error there is cannot come.
                    let _ = ws.send_with(deflater, kind, &payload, &mut reply);
                });
            }
        }
    }

    pub(crate) fn ping(&mut self, slot: u32) {
        let kept = &mut self.slots[slot as usize];
        let ws = &kept.ws;
        self.chains.append_own(slot, &mut kept.chain, |bytes| {
            // A connection that is closing is not pinged, and need not be.
            let _ = ws.send_ping(&[], &mut Reply { bytes, masking_key: [0; 4] });
        });
    }

    /// Begins the closing handshake: the connection leaves its topics, and no message follows the close frame.
    pub(crate) fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        let slot = conn.slot();
        if !self.slot(conn).is_some_and(Slot::is_sendable) {
            return;
        }
        self.leave_all(conn, Lacking::Sent);
        let kept = &mut self.slots[slot as usize];
        let ws = &mut kept.ws;
        self.chains.append_own(slot, &mut kept.chain, |bytes| {
            let _ = ws.close(code, reason, &mut Reply { bytes, masking_key: [0; 4] });
        });
        self.set_deadline(conn, self.now.instant + self.options.closing_deadline);
    }

    pub(crate) fn respond(&mut self, conn: ConnId, response: Response) {
        if self.slot(conn).is_some_and(|slot| slot.phase == Phase::Http) {
            self.local.push_back(Local::Respond { conn, response });
        }
    }
}

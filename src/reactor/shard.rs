//! All that one core owns, as a value: its connections and their sockets, its tables, its handler.
//!
//! Generic over its byte streams and told the time, so that a test can run several cores in one thread, in memory.
//! Who polls, accepts and reads the clock is `turn.rs`; this file knows no mio.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::audience::Lacking;
use super::core::{Core, Local, Now, Parts};
use super::ending::Ending;
use super::handler::{Conn, Handler};
use super::lateness::Hearing;
use super::review::Review;
use super::simulation::Census;
use super::slots::{Phase, Slot, Standing};
use super::stream::Stream;
use super::subscriptions::PENDING;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::fanout::mailbox::{Letters, Mailbox, Post};
use crate::http::{self, Request, Response};
use crate::metrics::Counter;
use crate::ws::{CloseCode, Inflater};

/// Two panics in callbacks of one core within this time end the process.
const PANIC_WINDOW: Duration = Duration::from_secs(60);
/// How often a directory is told that time passes, while it wants to know.
const TICK: Duration = Duration::from_secs(1);
/// How soon posts that found no room are offered again, if nothing else happens.
const OFFER_AGAIN: Duration = Duration::from_millis(1);
/// Posts taken from the mailbox in one turn.
const MAIL_SLICE: usize = 4096;

/// As many `send`s of an event to one more subscriber take about as long as to accept a connection, or to read a request
/// and do what it asks for.
pub(super) const REQUEST_WORTH: usize = 4;

/// What an event says of a socket.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Readiness {
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    pub(crate) is_peer_done: bool,
}

/// One core.
pub(crate) struct Shard<S, H, D: Directory> {
    pub(super) handler: H,
    pub(super) core: Core<D>,
    /// The sockets, by slot.
    pub(super) streams: Vec<Option<S>>,
    /// One receive buffer for all connections: an idle one costs nothing here.
    pub(super) buffer: Vec<u8>,
    /// Automatic answers (pong, close) on their way from the protocol to a chain.
    pub(super) scratch: Vec<u8>,
    pub(super) inflater: Inflater,
    mailbox: Mailbox<D>,
    /// Something may be in the mailbox or among the letters: somebody rang, or a turn has left some of it.
    has_mail: bool,
    pub(super) letters: Letters,
    pub(super) review: Review,
    silent: Vec<u32>,
    /// Connections that are not read while too much is under way, each of them `is_ready`.
    pub(super) held: Vec<u32>,
    pub(super) hearing: Hearing,
    last_panic: Option<Instant>,
    /// How far the end is, once the server was told to stop.
    pub(super) ending: Option<Ending>,
    /// The directory is not told of time before.
    tick_at: Instant,
}

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    pub(crate) fn new(handler: H, parts: Parts<D>, mailbox: Mailbox<D>, letters: Letters) -> Self {
        let buffer = vec![0; parts.options.read_buffer_bytes.max(1)];
        let now = parts.now.instant;
        let tick_at = now + TICK;
        Self {
            handler,
            core: Core::new(parts),
            streams: Vec::new(),
            buffer,
            scratch: Vec::new(),
            inflater: Inflater::default(),
            mailbox,
            has_mail: true,
            letters,
            review: Review::default(),
            silent: Vec::new(),
            held: Vec::new(),
            hearing: Hearing::new(now),
            last_panic: None,
            ending: None,
            tick_at,
        }
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, now: Now) {
        self.core.now = now;
        self.core.timers.advance(now.instant);
        // Before the mailbox is read: a post that comes later rings again.
        let core = usize::from(self.core.number);
        self.has_mail |= self.core.outgoing.doors().clear(core);
    }

    /// How many connections this turn accepts.
    pub(crate) fn accept_slice(&self) -> usize {
        self.slice(self.core.options.accept_slice, REQUEST_WORTH)
    }

    /// How many things of a kind a turn does, given what it may at most and how many `send`s one of them is worth. While
    /// events are on their way round none takes longer than their slice: each subscriber waits for as many turns as there
    /// are slices before its own.
    pub(super) fn slice(&self, most: usize, worth: usize) -> usize {
        let beside_rounds = self.core.options.fanout_slice / worth;
        if self.core.rounds.is_empty() { most.max(1) } else { most.min(beside_rounds).max(1) }
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.core.count(counter);
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.core.slots.len()
    }

    /// Topics that have subscribers here.
    pub(crate) fn topics(&self) -> usize {
        self.core.topics.len()
    }

    /// Whether posts to other cores found no room.
    pub(crate) fn has_waiting_posts(&self) -> bool {
        self.core.outgoing.is_waiting()
    }

    /// Adds what is here.
    pub(crate) fn count_into(&self, census: &mut Census) {
        let core = &self.core;
        let has_mail = !self.mailbox.is_empty() || !core.local.is_empty();
        census.connections += core.slots.len();
        census.topics += core.topics.len();
        census.homes += core.home.len();
        census.spilled += core.subscriptions.spilled();
        census.sides += core.sides.len();
        census.deadlines += core.timers.len();
        census.mailboxes += usize::from(has_mail);
        census.crowded += usize::from(core.outgoing.is_waiting());
        census.rounds += core.rounds.len();
        census.unflushed += usize::from(!core.chains.is_empty());
        let open = core.slots.iter().filter(|(_, slot)| slot.phase == Phase::Ws);
        let outboxes = open.filter_map(|(_, slot)| core.sides.get(slot.side as usize));
        let largest = outboxes.map(|side| side.outbox.held_bytes()).max().unwrap_or(0);
        census.largest_outbox = census.largest_outbox.max(largest);
    }

    /// Topics whose home is here.
    pub(crate) fn homes(&self) -> usize {
        self.core.home.len()
    }

    /// A turn but for its beginning, once what events tell is noted and who came is accepted. True if there is more to do
    /// that no event will tell of.
    pub(crate) fn work(&mut self) -> bool {
        let mut is_more = self.read_ready();
        is_more |= self.take_mail();
        self.review();
        is_more |= self.run_timers();
        self.wake_others();
        is_more |= self.flush();
        // Flush ends connections that failed: their topics' homes must hear of it.
        self.wake_others();
        is_more || self.is_busy()
    }

    /// When to turn again if nobody wakes the core, after a turn that left nothing to do; `None`: never.
    pub(crate) fn look_again(&mut self) -> Option<Instant> {
        let now = self.core.now.instant;
        let is_resting = self.wake_others() || self.holds_reads();
        let offer_again = is_resting.then_some(now + OFFER_AGAIN);
        // What rested while a mailbox was full may go on: it has just taken the last of it.
        let at_once = self.is_busy().then_some(now);
        self.next_deadline().into_iter().chain(offer_again).chain(at_once).min()
    }

    /// Takes a new connection in. `register` arms the socket for the name that it got.
    pub(crate) fn accept<E>(
        &mut self,
        mut stream: S,
        register: impl FnOnce(&mut S, ConnId) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(conn) = self.core.insert() else {
            self.core.count(Counter::ConnectionsRefused);
            return Ok(());
        };
        let slot = conn.slot();
        if let Err(error) = register(&mut stream, conn) {
            self.core.slots.remove(slot as usize);
            return Err(error);
        }
        if self.streams.len() <= slot as usize {
            self.streams.resize_with(slot as usize + 1, || None);
        }
        self.streams[slot as usize] = Some(stream);
        self.core.make_side(slot).http = Some(Box::new(http::Protocol::new()));
        self.core.set_deadline(conn, self.core.now.instant + self.core.options.request_deadline);
        self.core.count(Counter::Accepted);
        Ok(())
    }

    /// An event on a socket: it may be read, or takes more bytes.
    pub(crate) fn note(&mut self, conn: ConnId, readiness: Readiness) {
        let Some(slot) = self.core.slot_mut(conn) else { return };
        slot.is_peer_done |= readiness.is_peer_done;
        let has_outbox = slot.has_outbox;
        if readiness.is_readable || readiness.is_peer_done {
            self.core.make_ready(conn.slot());
        }
        if readiness.is_writable && has_outbox {
            self.flush_outbox(conn);
        }
    }

    /// Calls the handler about one connection, then does all that it asked for.
    pub(super) fn call(
        &mut self,
        conn: ConnId,
        upgrade: Option<&Request<'_>>,
        callback: impl FnOnce(&mut H, &mut Conn<'_, D>),
    ) {
        self.call_only(conn, upgrade, callback);
        self.settle();
    }

    /// Calls the handler; what it asked for stays queued.
    pub(super) fn call_only(
        &mut self,
        id: ConnId,
        upgrade: Option<&Request<'_>>,
        callback: impl FnOnce(&mut H, &mut Conn<'_, D>),
    ) {
        if self.core.slot(id).is_none() {
            return;
        }
        let Some(Some(peer)) = self.streams.get(id.slot() as usize) else { return };
        let mut conn = Conn { core: &mut self.core, id, peer, upgrade };
        let handler = &mut self.handler;
        // Whatever state the handler is left in, it is its own; ours is behind `Conn`, whose methods do not call back.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(handler, &mut conn))) {
            self.on_panic(id, panic.as_ref());
        }
    }

    /// Works off what callbacks and homes of this core have asked for, in order.
    pub(super) fn settle(&mut self) {
        while let Some(local) = self.core.local.pop_front() {
            match local {
                Local::Activate { topic, conn } => self.activate(topic, conn),
                Local::Post(post) => self.receive_post(post),
                Local::Respond { conn, response } => self.answer_request(conn, &response),
            }
        }
    }

    fn activate(&mut self, topic: u32, conn: ConnId) {
        if self.core.activate(topic, conn, PENDING) {
            let name = self.core.topics.name(topic).clone();
            self.call_only(conn, None, |handler, conn| handler.on_subscribed(conn, &name));
        }
    }

    /// The home has answered an attendance; the topic is held until it has. The handler hears of it if the connection
    /// still waits for that answer.
    fn welcome(
        &mut self,
        name: &str,
        (conn, attendance): (ConnId, u32),
        welcome: Result<D::Welcome, D::Refusal>,
    ) {
        let Some(topic) = self.core.topics.find(name) else { return };
        match welcome {
            Ok(welcome) => {
                if self.core.activate(topic, conn, attendance) {
                    self.call_only(conn, None, |handler, conn| {
                        handler.on_welcome(conn, name, welcome);
                    });
                }
            }
            Err(refusal) => {
                if self.core.refuse(topic, conn, attendance) {
                    self.call_if_there(conn, |handler, conn| {
                        handler.on_refused(conn, name, refusal);
                    });
                }
            }
        }
    }

    /// Calls the handler about a connection that another core spoke of: a WebSocket whose end was told is gone for the
    /// handler, although its socket may still be.
    fn call_if_there(&mut self, conn: ConnId, callback: impl FnOnce(&mut H, &mut Conn<'_, D>)) {
        let is_there = |slot: &Slot| slot.phase == Phase::Http || slot.is_open();
        if self.core.slot(conn).is_some_and(is_there) {
            self.call_only(conn, None, callback);
        }
    }

    fn receive_post(&mut self, post: Post<D>) {
        match self.core.at_home(post) {
            None => {}
            Some(Post::Answer { asker, ticket, answer }) => {
                self.call_if_there(asker, |handler, conn| handler.on_answer(conn, ticket, answer));
            }
            Some(Post::Deliver { topic, frame, except }) => {
                self.core.deliver(&topic, frame, except)
            }
            Some(Post::Joined { topic }) => {
                if let Some((topic, waiting)) = self.core.topics.joined(&topic) {
                    waiting.into_iter().for_each(|conn| self.activate(topic, conn));
                }
            }
            Some(Post::Welcome { topic, conn, attendance, welcome }) => {
                self.welcome(&topic, (conn, attendance), welcome);
            }
            Some(Post::Word { conn, word }) => {
                self.call_if_there(conn, |handler, conn| handler.on_word(conn, word));
            }
            Some(_) => unreachable!("at_home keeps what is for a home"),
        }
    }

    /// Reads the mailbox and the letters, as much as one turn may. True if there is more.
    pub(crate) fn take_mail(&mut self) -> bool {
        if !self.has_mail {
            return false;
        }
        self.take_posts();
        if self.letters.is_stopped() {
            self.begin_ending();
        }
        self.has_mail = !self.mailbox.is_empty() || !self.letters.is_empty();
        self.has_mail
    }

    fn take_posts(&mut self) {
        for _ in 0..MAIL_SLICE {
            // Each post may be an event for everybody here.
            if self.core.is_heavy() {
                return;
            }
            let Some(post) = self.mailbox.next() else { break };
            // Whoever sent it may have taken notice of something that it speaks of.
            self.take_notice();
            self.receive_post(post);
            self.settle();
        }
        for _ in 0..MAIL_SLICE {
            if self.core.is_heavy() {
                return;
            }
            let Some(event) = self.letters.next() else { break };
            self.take_notice();
            self.core.order(&event);
            self.settle();
        }
    }

    /// Passes on what this turn has for other cores. True if some of it found no room.
    pub(crate) fn wake_others(&mut self) -> bool {
        self.core.report_counts();
        self.core.count_compressed();
        self.settle();
        self.core.outgoing.wake_others()
    }

    /// Ends what has taken too long. True if there is more to look at.
    pub(crate) fn run_timers(&mut self) -> bool {
        let now = self.core.now.instant;
        while let Some((entry, conn)) = self.core.timers.next_passed(now) {
            if self.core.slot(conn).is_some() {
                self.look_at_deadline(conn, entry, now);
            }
        }
        while let Some(conn) = self.core.timers.next_reminder(now) {
            if self.core.slot(conn).is_some_and(Slot::is_open) {
                self.call(conn, None, |handler, conn| handler.on_reminder(conn));
            }
        }
        let mut silent = std::mem::take(&mut self.silent);
        let is_more = self.core.timers.sweep(now, &mut silent);
        for slot in silent.drain(..) {
            self.look_at_silence(slot);
        }
        self.silent = silent;
        self.tick(now);
        self.go_on_ending();
        is_more
    }

    /// Tells the directory about once a second that time passes, while it wants to know.
    fn tick(&mut self, now: Instant) {
        if self.core.home.wants_tick() && now >= self.tick_at {
            self.tick_at = now + TICK;
            self.core.tick();
            self.settle();
        }
    }

    /// Whether the next turn has something to do that no event will tell of.
    pub(crate) fn is_busy(&self) -> bool {
        // While a post finds no room, nobody is read or reviewed: that would only add to it.
        let is_resting = self.core.outgoing.is_waiting();
        let has_work = self.core.has_ready() || self.is_reviewing();
        self.core.has_unsent() || (has_work && !is_resting)
    }

    /// When the core must look again by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.core.home.wants_tick().then_some(self.tick_at);
        let ending = self.ending.as_ref().and_then(Ending::next);
        let timer = self.core.timers.next(!self.core.slots.is_empty());
        timer.into_iter().chain(tick).chain(ending).min()
    }

    pub(super) fn is_awaiting_response(&mut self, conn: ConnId) -> bool {
        let http = self.core.side(conn.slot()).and_then(|side| side.http.as_ref());
        http.is_some_and(|http| http.is_awaiting_response())
    }

    /// One connection pays for a panic in its callback; two within a minute mean that something is broken for good,
    /// and half a server that still accepts would be worse than none.
    fn on_panic(&mut self, conn: ConnId, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(
            core = self.core.number,
            panic = text,
            "a callback panicked; its connection is closed"
        );
        self.core.count(Counter::Panics);
        let now = self.core.now.instant;
        if self.last_panic.replace(now).is_some_and(|last| now - last < PANIC_WINDOW) {
            tracing::error!(
                "second panic on this core within {} s; the process ends",
                PANIC_WINDOW.as_secs()
            );
            std::process::abort();
        }
        let phase = self.core.slot(conn).map(|slot| slot.phase);
        match phase {
            Some(Phase::Ws) => self.core.close(conn, CloseCode::INTERNAL_ERROR, ""),
            Some(Phase::Http) => {
                self.core.respond(conn, Response::text(500, "internal error\n").closing())
            }
            _ => {}
        }
    }

    /// Forgets a connection and closes its socket.
    pub(super) fn drop_connection(
        &mut self,
        conn: ConnId,
        frame: Option<&crate::ws::CloseFrame<'_>>,
    ) {
        if self.core.slot(conn).is_none() {
            return;
        }
        self.tell_closed(conn, frame);
        let slot = conn.slot() as usize;
        let Slot { side, .. } = self.core.slots.remove(slot);
        if self.core.sides.contains(side as usize) {
            self.core.sides.remove(side as usize);
        }
        self.streams[slot] = None;
        self.core.count(Counter::Closed);
    }

    /// Takes a WebSocket off its topics and tells the handler, once, that it is gone. It is past sending and subscribing
    /// by then, whatever its protocol thinks: what it said now would follow our close frame, and what it heard would
    /// outlive it.
    pub(super) fn tell_closed(&mut self, conn: ConnId, frame: Option<&crate::ws::CloseFrame<'_>>) {
        let Some(slot) = self.core.slot_mut(conn).filter(|slot| slot.is_open()) else { return };
        let standing = std::mem::replace(&mut slot.standing, Standing::Out);
        slot.phase = Phase::Ending;
        self.core.leave_all(conn, Lacking::Dropped);
        self.call(conn, None, |handler, conn| handler.on_close(conn, frame));
        if standing == Standing::Leaving {
            self.note_left();
        }
    }
}

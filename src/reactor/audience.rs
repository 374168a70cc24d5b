//! A core's part of the fan-out: which topics its connections are on, and its posts to the topics' homes.
//!
//! The state machine of joining and leaving is `fanout/topics.rs`, what a home does `fanout/home.rs`; here the two meet
//! the connections. Nothing here calls the handler.

use std::collections::VecDeque;

use super::core::{Core, Local};
use super::handler::{Outgoing, PublishError, SubscribeError};
use super::rounds::{Numbers, Visit};
use super::subscriptions::is_active;
use crate::fanout::conn_id::{ConnId, SocketId};
use crate::fanout::directory::{Directory, Keep};
use crate::fanout::home::{Home, Outbound};
use crate::fanout::mailbox::{self, Asked, Event, Post, TopicName};
use crate::fanout::topics::{Entry, Subscribed, TopicId};
use crate::metrics::Counter;
use crate::ws::{Form, Prepared};

/// What becomes of the events that a connection lacks when it leaves their topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lacking {
    /// Nothing may follow what it was sent: it is gone, or its close frame is written, or it has missed something.
    Dropped,
    /// They were published while it was on the topic: it is sent them first.
    Sent,
}

/// Where posts of this core go: to itself, or to another.
struct Route<'c, D: Directory> {
    number: u8,
    unix_seconds: u64,
    local: &'c mut VecDeque<Local<D>>,
    outgoing: &'c mut mailbox::Outgoing<D>,
}

impl<D: Directory> Outbound<D> for Route<'_, D> {
    fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    fn post(&mut self, core: usize, post: Post<D>) {
        if core == usize::from(self.number) {
            self.local.push_back(Local::Post(post));
        } else {
            self.outgoing.post(core, post);
        }
    }
}

/// Subscribers looked at for one who takes compressed messages, before an event goes to the others of a large audience.
const FORM_SAMPLE: usize = 8;

impl<D: Directory> Core<D> {
    fn post(&mut self, core: usize, post: Post<D>) {
        self.route().1.post(core, post);
    }

    /// The homes of this core, and the way for what they send.
    fn route(&mut self) -> (&mut Home<D>, Route<'_, D>) {
        let (number, unix_seconds) = (self.number, self.now.unix_seconds);
        let (local, outgoing) = (&mut self.local, &mut self.outgoing);
        (&mut self.home, Route { number, unix_seconds, local, outgoing })
    }

    fn post_home(&mut self, topic: &TopicName, post: impl FnOnce(TopicName, u8) -> Post<D>) {
        let home = self.outgoing.doors().home_of(topic);
        let post = post(topic.clone(), self.number);
        self.post(home, post);
    }

    /// The name as some table of this core keeps it, or a new one.
    fn shared_name(&self, topic: &str) -> TopicName {
        match self.topics.find(topic) {
            Some(known) => self.topics.name(known).clone(),
            None => self.home.name(topic).unwrap_or_else(|| topic.into()),
        }
    }

    /// Whether the connection may be on the topic; and the subscription, if it is.
    fn check_topic(
        &self,
        conn: ConnId,
        topic: &str,
    ) -> Result<Option<(Entry, u32)>, SubscribeError> {
        let Some(slot) = self.slot(conn).filter(|slot| slot.is_sendable()) else {
            return Err(SubscribeError::Closed);
        };
        let (bytes, limit) = (topic.len(), self.options.topic_bytes);
        if bytes > limit {
            return Err(SubscribeError::TopicTooLong { bytes, limit });
        }
        let known = self.topics.find(topic);
        let known = known.and_then(|topic| self.subscriptions.find(conn.slot(), slot.held, topic));
        if known.is_none() && slot.held.len() >= self.options.subscriptions {
            return Err(SubscribeError::TooMany { limit: self.options.subscriptions });
        }
        Ok(known)
    }

    /// Notes a subscription that is not active yet.
    fn hold(&mut self, conn: ConnId, topic: TopicId) {
        self.count(Counter::Subscriptions);
        let held = &mut self.slots[conn.slot() as usize].held;
        self.subscriptions.add(conn.slot(), held, topic);
    }

    pub(crate) fn subscribe(&mut self, conn: ConnId, topic: &str) -> Result<(), SubscribeError> {
        let known = self.check_topic(conn, topic)?;
        if known.is_some_and(|(_, position)| !is_active(position)) {
            return Ok(());
        }
        let (id, next) = self.topics.subscribe(topic, conn);
        if known.is_none() {
            self.hold(conn, id);
        }
        match next {
            Subscribed::Listening => self.local.push_back(Local::Activate { topic: id, conn }),
            Subscribed::MustJoin => self.join(id),
            Subscribed::Waits => {}
        }
        Ok(())
    }

    pub(crate) fn attend(
        &mut self,
        conn: ConnId,
        topic: &str,
        note: D::Note,
    ) -> Result<(), SubscribeError> {
        self.check_topic(conn, topic)?;
        let (id, must_join) = self.topics.attend(topic);
        let attendance = self.subscriptions.begin_attendance();
        self.await_welcome(conn, id, attendance);
        if must_join {
            self.join(id);
        }
        let name = self.topics.name(id).clone();
        self.post_home(&name, |topic, _| Post::Attend { topic, conn, attendance, note });
        Ok(())
    }

    /// Whoever attends waits for the answer to that attendance alone, be it the first one or not: what is still on its
    /// way belongs to an earlier one. Whoever is active stays so, and is welcomed again.
    fn await_welcome(&mut self, conn: ConnId, topic: TopicId, attendance: u32) {
        if self.subscription(conn, topic).is_none() {
            self.hold(conn, topic);
        }
        if let Some((entry, position)) = self.subscription(conn, topic)
            && !is_active(position)
        {
            self.subscriptions.place(&mut self.slots, entry, attendance);
        }
    }

    fn join(&mut self, topic: TopicId) {
        let name = self.topics.name(topic).clone();
        self.post_home(&name, |topic, from| Post::Join { topic, from });
    }

    pub(crate) fn is_subscribed(&self, conn: ConnId, topic: &str) -> bool {
        let held = self.slot(conn).map(|slot| slot.held);
        let known = held.zip(self.topics.find(topic));
        known.is_some_and(|(held, topic)| {
            self.subscriptions.find(conn.slot(), held, topic).is_some()
        })
    }

    /// The home does not admit a connection that wanted to attend: nothing of it remains. True if its connection still
    /// waits for this answer, or is on the topic: whoever was, and only asked to be welcomed again, stays.
    pub(crate) fn refuse(&mut self, topic: TopicId, conn: ConnId, attendance: u32) -> bool {
        self.topics.settle(topic);
        let position = self.subscription(conn, topic).map(|(_, position)| position);
        if position == Some(attendance) {
            self.subscriptions.remove(&mut self.slots[conn.slot() as usize].held, topic);
            // An earlier attendance, whose answer nobody waited for, may have been admitted.
            let name = self.topics.name(topic).clone();
            self.post_home(&name, |topic, _| Post::Depart { topic, conn });
        }
        self.abandon_if_empty(topic);
        position.is_some_and(|position| position == attendance || is_active(position))
    }

    /// The connection's subscription to a topic: its entry and its position.
    fn subscription(&self, conn: ConnId, topic: TopicId) -> Option<(Entry, u32)> {
        let held = self.slot(conn)?.held;
        self.subscriptions.find(conn.slot(), held, topic)
    }

    fn abandon_if_empty(&mut self, topic: TopicId) {
        if let Some(name) = self.topics.abandon_if_empty(topic) {
            self.post_home(&name, |topic, from| Post::Leave { topic, from });
        }
    }

    /// What a subscription waited for has come: the core's queue to it (`PENDING`), or the answer to an attendance. True
    /// if its connection still wants it: then it is active.
    pub(crate) fn activate(&mut self, topic: TopicId, conn: ConnId, awaited: u32) -> bool {
        self.topics.settle(topic);
        match self.subscription(conn, topic) {
            Some((entry, position)) if position == awaited => {
                let position = self.topics.activate(topic, entry);
                self.rounds.join(topic);
                self.subscriptions.place(&mut self.slots, entry, position);
                true
            }
            Some((entry, position)) if is_active(position) => {
                // What it is told now speaks of what it must have heard by then.
                self.catch_up(topic, entry, position);
                true
            }
            // It waits for something else: it left and came back, or attended again.
            Some(_) => false,
            None => {
                self.abandon_if_empty(topic);
                false
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, conn: ConnId, topic: &str) -> bool {
        let Some(topic) = self.topics.find(topic) else { return false };
        if self.slot(conn).is_none() {
            return false;
        }
        let held = &mut self.slots[conn.slot() as usize].held;
        let Some(position) = self.subscriptions.remove(held, topic) else { return false };
        self.leave(conn, topic, position, Lacking::Sent);
        true
    }

    /// Takes the connection off all its topics.
    pub(crate) fn leave_all(&mut self, conn: ConnId, lacking: Lacking) {
        while let Some(slot) = self.slots.get_mut(conn.slot() as usize)
            && let Some((topic, position)) = self.subscriptions.pop(&mut slot.held)
        {
            self.leave(conn, topic, position, lacking);
        }
    }

    fn leave(&mut self, conn: ConnId, topic: TopicId, position: u32, lacking: Lacking) {
        let name = self.topics.name(topic).clone();
        if self.topics.is_attended(topic) {
            self.post_home(&name, |topic, _| Post::Depart { topic, conn });
        }
        let must_leave = if is_active(position) {
            if lacking == Lacking::Sent {
                self.catch_up(topic, conn.slot(), position);
            }
            let left = self.topics.leave(topic, position);
            self.rounds.leave(topic, position as usize);
            if let Some(moved) = left.moved {
                self.subscriptions.place(&mut self.slots, moved, position);
                // The round may have passed its new place already.
                self.catch_up(topic, moved, position);
            }
            left.must_leave
        } else {
            self.topics.give_up(topic, conn)
        };
        if must_leave {
            self.post_home(&name, |topic, from| Post::Leave { topic, from });
        }
    }

    pub(crate) fn publish(
        &mut self,
        topic: &str,
        message: Outgoing<'_>,
        except: Option<SocketId>,
        keep: Keep,
    ) -> Result<(), PublishError> {
        if topic.len() > self.options.topic_bytes {
            return Err(PublishError::TopicTooLong {
                bytes: topic.len(),
                limit: self.options.topic_bytes,
            });
        }
        let (queued, limit) = (self.outgoing.doors().most_bytes(), self.options.in_flight_bytes);
        if queued > limit {
            self.count(Counter::PublishesRefused);
            return Err(PublishError::Busy { queued, limit });
        }
        let frame = message.prepare();
        let name = self.shared_name(topic);
        self.post_home(&name, |topic, _| Post::Publish(Event { topic, frame, except, keep }));
        Ok(())
    }

    pub(crate) fn ask(&mut self, asker: ConnId, topic: &str, question: D::Question, ticket: u64) {
        let name = self.shared_name(topic);
        self.post_home(&name, |topic, _| {
            Post::Ask(Asked { topic: Some(topic), asker, ticket, question })
        });
    }

    pub(crate) fn cores(&self) -> usize {
        self.outgoing.doors().cores()
    }

    pub(crate) fn ask_all(&mut self, asker: ConnId, question: &D::Question, ticket: u64) {
        for core in 0..self.cores() {
            let question = question.clone();
            self.post(core, Post::Ask(Asked { topic: None, asker, ticket, question }));
        }
    }

    /// Orders an event whose home is this core.
    pub(crate) fn order(&mut self, event: &Event) {
        self.count(Counter::Published);
        let (home, mut route) = self.route();
        home.publish(event, &mut route);
    }

    /// Tells the directory that time passes.
    pub(crate) fn tick(&mut self) {
        let (home, mut route) = self.route();
        home.tick(&mut route);
    }

    /// Handles a post to this core as a home. What is not for a home comes back.
    pub(crate) fn at_home(&mut self, post: Post<D>) -> Option<Post<D>> {
        let (home, mut route) = self.route();
        match post {
            Post::Ask(asked) => home.ask(asked, &mut route),
            Post::Attend { topic, conn, attendance, note } => {
                home.attend(topic, (conn, attendance), note, &mut route);
            }
            Post::Counted { topic, from, subscribers } => {
                home.count(&topic, from, subscribers, &mut route);
            }
            Post::Depart { topic, conn } => home.depart(&topic, conn, &mut route),
            Post::Join { topic, from } => home.join(topic, from, &mut route),
            Post::Leave { topic, from } => home.leave(&topic, from, &mut route),
            Post::Publish(event) => self.order(&event),
            post @ (Post::Answer { .. }
            | Post::Deliver { .. }
            | Post::Joined { .. }
            | Post::Welcome { .. }
            | Post::Word { .. }) => return Some(post),
        }
        None
    }

    /// Sends an event to every subscriber on this core: into the chains of few, on its round to many.
    pub(crate) fn deliver(&mut self, topic: &str, frame: Prepared, except: Option<SocketId>) {
        let Some(topic) = self.topics.find(topic) else { return };
        let except = except.and_then(|except| {
            let slot = self.slot(except.conn).filter(|slot| slot.entropy == except.entropy);
            slot.map(|_| except.conn.slot())
        });
        let entries = self.topics.subscribers(topic);
        if entries.is_empty() {
            return;
        }
        if entries.len() > self.options.fanout_slice || self.rounds.has(topic) {
            // Compressed here if some will want it so, not only when their turn comes: other cores are not awake yet, and
            // find it done.
            let form =
                |entry: &Entry| self.slots[self.subscriptions.slot(*entry) as usize].ws.form();
            if entries.iter().take(FORM_SAMPLE).any(|entry| form(entry) == Form::Compressed) {
                frame.compress(&mut self.deflater);
            }
            self.rounds.publish(topic, entries.len(), frame, except);
            return;
        }
        let mut shared = [None; 2];
        let mut deliveries = 0;
        for entry in entries {
            let slot = self.subscriptions.slot(*entry);
            if Some(slot) != except {
                let kept = &mut self.slots[slot as usize];
                let form = kept.ws.form();
                let frame = *shared[form as usize]
                    .get_or_insert_with(|| self.chains.share(&frame, form, &mut self.deflater));
                self.chains.append(slot, &mut kept.chain, frame);
                deliveries += 1;
            }
        }
        self.count_deliveries(deliveries);
    }

    /// Puts what the subscriber at that position still lacks of the topic's round into its chain.
    fn catch_up(&mut self, topic: TopicId, entry: Entry, position: u32) {
        if !self.rounds.has(topic) {
            return;
        }
        let slot = self.subscriptions.slot(entry);
        let Some((visit, numbers)) = self.rounds.catch_up(topic, position as usize) else { return };
        self.append_round(visit, &numbers, slot);
    }

    /// Puts events of a round into a connection's chain, one by one.
    pub(crate) fn append_round(&mut self, visit: Visit, numbers: &Numbers, slot: u32) {
        let (chains, kept) = (&mut self.chains, &mut self.slots[slot as usize]);
        let (form, chain) = (kept.ws.form(), &mut kept.chain);
        let mut deliveries = 0;
        for frame in self.rounds.frames(visit, numbers, slot) {
            let frame = chains.share(frame, form, &mut self.deflater);
            chains.append(slot, chain, frame);
            deliveries += 1;
        }
        self.count_deliveries(deliveries);
    }

    pub(crate) fn count_deliveries(&self, deliveries: u32) {
        self.counters().add(Counter::Deliveries, u64::from(deliveries));
    }

    /// Counts what was compressed in this turn.
    pub(crate) fn count_compressed(&mut self) {
        let runs = self.deflater.take_runs();
        self.counters().add(Counter::Compressed, runs);
    }

    /// Tells the homes how many subscribers the topics have here, where that has changed in this turn.
    pub(crate) fn report_counts(&mut self) {
        if !self.topics.has_counts() {
            return;
        }
        let (number, unix_seconds) = (self.number, self.now.unix_seconds);
        let (local, outgoing) = (&mut self.local, &mut self.outgoing);
        let mut route = Route { number, unix_seconds, local, outgoing };
        let doors = route.outgoing.doors().clone();
        self.topics.take_counts(|topic, subscribers| {
            let post = Post::Counted { topic: topic.clone(), from: self.number, subscribers };
            route.post(doors.home_of(topic), post);
        });
    }
}

//! What a topic's home core remembers beyond who listens: the door through which an application's own facts
//! (presence members, a channel's last event, who is signed in) come to live where the engine orders and counts.
//!
//! ```text
//!  subscriber's core                       home core
//!  Conn::attend(topic, note)  ── Attend ─▶ on_attend ─┬─▶ what it announces goes to all who are on the topic already
//!  on_welcome / on_refused  ◀─ Welcome ───────────────┘   then the welcome: from here on the subscriber hears
//!  unsubscribe, or the end    ── Depart ─▶ on_depart
//! ```

use super::conn_id::ConnId;
use super::mailbox::TopicName;
use crate::ws::Prepared;

/// The application's part of a home core. One value per core; it is told of the topics whose home that core is, in
/// the order in which things happened to them, and is never called by two threads.
pub trait Directory: Sized + 'static {
    /// What a subscriber brings with [`crate::Conn::attend`].
    type Note: Send + 'static;
    /// What an admitted subscriber is told.
    type Welcome: Send + 'static;
    /// Why a subscriber is not admitted.
    type Refusal: Send + 'static;
    /// What may be asked about a topic, or about all of them. Travels from the asking core to the home.
    type Question: Clone + Send + 'static;
    /// What the home answers. Travels back.
    type Answer: Send + 'static;
    /// What a home may say to one connection's handler.
    type Word: Send + 'static;

    /// The topic has its first listening core.
    fn on_occupied(&mut self, _topic: &str, _out: &mut Announcer<'_, Self>) {}

    /// The topic lost its last listening core; the engine forgets it after this call.
    fn on_vacated(&mut self, _topic: &str, _out: &mut Announcer<'_, Self>) {}

    /// The topic has so many subscribers on all cores, which may be as many as before. Told at most once a turn of
    /// each core that has some, and of a newcomer only once it hears what is announced here.
    fn on_count(&mut self, _topic: &str, _subscribers: usize, _out: &mut Announcer<'_, Self>) {}

    /// An event was published on the topic, whether anybody listens or not. `number` is its place in the topic's
    /// order since the topic was occupied, beginning at 1; 0 for an event that nobody heard. Not called for events
    /// that are published as [`Keep::Forget`].
    fn on_publish(
        &mut self,
        _topic: &str,
        _number: u64,
        _event: &Prepared,
        _out: &mut Announcer<'_, Self>,
    ) {
    }

    /// A connection wants to be on the topic. What is announced here reaches those who are on it already, and not the
    /// newcomer; what is announced later reaches both.
    fn on_attend(
        &mut self,
        topic: &str,
        conn: ConnId,
        note: Self::Note,
        out: &mut Announcer<'_, Self>,
    ) -> Result<Self::Welcome, Self::Refusal>;

    /// A connection that attended has left the topic, or has ended. Also told of one that was refused or never heard
    /// its welcome.
    fn on_depart(&mut self, _topic: &str, _conn: ConnId, _out: &mut Announcer<'_, Self>) {}

    /// Answers a question about a topic; `subscribers` counts those of all cores, 0 for a topic nobody is on.
    fn answer(
        &mut self,
        topic: &str,
        subscribers: usize,
        question: Self::Question,
        out: &mut Announcer<'_, Self>,
    ) -> Self::Answer;

    /// Answers a question about all topics whose home this core is, each with its subscribers.
    fn answer_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        question: Self::Question,
        out: &mut Announcer<'_, Self>,
    ) -> Self::Answer;

    /// Whether `on_tick` is wanted now; an idle server with nothing to wait for is not woken.
    fn wants_tick(&self) -> bool {
        false
    }

    /// About once a second while `wants_tick`.
    fn on_tick(&mut self, _out: &mut Announcer<'_, Self>) {}
}

/// Whether the directory is told of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// It is only passed on.
    Forget,
    /// [`Directory::on_publish`] sees it.
    #[default]
    Remember,
}

/// What a directory may cause.
#[derive(Debug)]
pub struct Announcer<'a, D: Directory> {
    pub(super) unix_seconds: u64,
    pub(super) events: &'a mut Vec<(TopicName, Prepared)>,
    pub(super) words: &'a mut Vec<(ConnId, D::Word)>,
}

impl<D: Directory> Announcer<'_, D> {
    /// Seconds since the Unix epoch, as of this turn.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// An event to all who are on a topic whose home this core is, ordered with the topic's other events.
    pub fn publish(&mut self, topic: &str, event: Prepared) {
        self.events.push((topic.into(), event));
    }

    /// A word to one connection's handler, wherever it is: [`crate::Handler::on_word`]. Lost if it is gone by then.
    pub fn tell(&mut self, conn: ConnId, word: D::Word) {
        self.words.push((conn, word));
    }
}

/// No memory of its own: whoever attends is admitted, and asked about a topic it answers with the number of
/// subscribers; asked about all, with the number of topics.
impl Directory for () {
    type Note = ();
    type Welcome = ();
    type Refusal = std::convert::Infallible;
    type Question = ();
    type Answer = usize;
    type Word = ();

    fn on_attend(
        &mut self,
        _: &str,
        _: ConnId,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> Result<(), Self::Refusal> {
        Ok(())
    }

    fn answer(
        &mut self,
        _: &str,
        subscribers: usize,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> usize {
        subscribers
    }

    fn answer_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> usize {
        topics.count()
    }
}

//! What a channel's home core knows beyond who listens: presence members, the last event of a cache channel.
//!
//! One value per core, which hears of the channels whose home that core is, in their one order; so everything here is
//! a plain value. What clients bring and are told is here; what the API asks is in `questions.rs`.

mod claims;
mod questions;

use std::collections::HashMap;

pub use questions::{Answer, Question};
pub use questions::{Claim, Facts, User};

use self::claims::Claims;

use super::cache::Cache;
use super::presence::Members;
use crate::{Announcer, ConnId, Directory as Home};

/// The Pusher part of one home core.
#[derive(Debug, Default)]
pub struct Directory {
    /// The presence channels that somebody is on, by topic.
    pub(super) presence: HashMap<String, Members>,
    /// The last events of cache channels.
    pub(super) cache: Cache,
    /// The idempotency keys of API requests.
    claims: Claims,
}

impl Directory {
    /// A home core that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What a subscriber brings to a channel whose home must know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {}

/// What an admitted subscriber is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Welcome {}

/// Why a subscriber is not admitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {}

/// What a home says to one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// The application ended this user's connections (`terminate_connections`).
    Terminate,
}

impl Home for Directory {
    type Note = Note;
    type Welcome = Welcome;
    type Refusal = Refusal;
    type Question = Question;
    type Answer = Answer;
    type Word = Word;

    fn on_attend(
        &mut self,
        _topic: &str,
        _conn: ConnId,
        note: Note,
        _out: &mut Announcer<'_, Self>,
    ) -> Result<Welcome, Refusal> {
        match note {}
    }

    fn answer(
        &mut self,
        topic: &str,
        subscribers: usize,
        question: Question,
        out: &mut Announcer<'_, Self>,
    ) -> Answer {
        self.about(topic, subscribers, question, out)
    }

    fn answer_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        question: Question,
        out: &mut Announcer<'_, Self>,
    ) -> Answer {
        self.about_all(topics, question, out)
    }
}

//! What a channel's home core knows beyond who listens: presence members, the last event of a cache channel; and what
//! a user's home knows: who is signed in, who watches.
//!
//! One value per core, which hears of the channels whose home that core is, in their one order; so everything here is
//! a plain value. What clients bring and are told is here; what the API asks is in `questions.rs`.
//!
//! ```text
//!   Note::Cached ──────▶ cache ─▶ Welcome::Cached, with the last event
//!   Note::Member ─▶ presence[topic] ─▶ member_added to the others ─▶ Welcome::Member, with all members
//!   Note::SignIn, Watch ─▶ users ─▶ Word::Watched to the watchers ─▶ Welcome::SignedIn, Watching
//!   published event ──▶ cache          (what clients and homes publish is not told here, so it is never kept)
//!   count ─▶ counts ─▶ subscription_count, now or with a tick
//!   leave ─▶ member_removed now, or after the delay of the app: departures ─ tick ─▶ member_removed, unless back
//! ```

mod claims;
mod counts;
mod departures;
mod members;
mod questions;
mod users;

use std::collections::HashMap;
use std::sync::Arc;

pub use questions::{Answer, Question};
pub use questions::{Claim, Facts, User};

use self::claims::Claims;
use self::counts::Counts;
use self::departures::Departures;
use super::apps::{App, Apps};
use super::cache::Cache;
use super::channel::Kind;
use super::conversation::Options;
use super::message;
use super::presence::{Member, Members};
use super::users::Users;
use crate::{Announcer, ConnId, Directory as Home, Prepared};

/// The Pusher part of one home core.
#[derive(Debug)]
pub struct Directory {
    /// The presence channels that somebody is on, by topic.
    pub(super) presence: HashMap<String, Members>,
    /// The last events of cache channels.
    pub(super) cache: Cache,
    /// Who is signed in, and who watches whom.
    users: Users,
    /// The idempotency keys of API requests.
    claims: Claims,
    /// How many are on each channel, as far as it was told them. Empty where no app wants it told.
    counts: Counts,
    /// Users who are gone and still listed.
    departures: Departures,
    /// Whose limits hold.
    apps: Arc<Apps>,
}

impl Directory {
    /// A home core that remembers nothing yet.
    pub fn new(apps: Arc<Apps>, options: &Options) -> Self {
        let cache = Cache::new(options.cache_bytes);
        Self {
            presence: HashMap::new(),
            cache,
            users: Users::default(),
            claims: Claims::default(),
            counts: Counts::default(),
            departures: Departures::default(),
            apps,
        }
    }

    /// From here on these limits hold.
    pub(super) fn replace_apps(&mut self, apps: Arc<Apps>) {
        self.apps = apps;
    }

    /// The application and the channel behind a topic.
    fn channel_of<'d, 't>(&'d self, topic: &'t str) -> Option<(&'d App, &'t str)> {
        let (id, channel) = topic.split_once('/')?;
        Some((self.apps.by_id(id)?, channel))
    }

    /// How many are on a channel has changed, perhaps.
    fn tell_count(&mut self, topic: &str, subscribers: usize, out: &mut Announcer<'_, Self>) {
        let Some((app, channel)) = self.channel_of(topic) else { return };
        // Topics with `#` are the server's own. Members of presence channels count each other.
        if !app.subscription_count || channel.starts_with('#') || Kind::of(channel).has_members() {
            return;
        }
        if self.counts.counted(topic, subscribers, out.unix_seconds()) {
            announce_count(topic, subscribers, out);
        }
    }

    fn tell_due_counts(&mut self, out: &mut Announcer<'_, Self>) {
        for (topic, subscribers) in self.counts.due(out.unix_seconds()) {
            announce_count(&topic, subscribers, out);
        }
    }

    /// The event that whoever comes onto a channel hears first.
    fn last_event(&self, topic: &str, unix_seconds: u64) -> Option<Prepared> {
        self.cache.get(topic, unix_seconds).map(|(event, _)| event.clone())
    }
}

/// The one place where a count is told: whoever else is to hear of it hears it here.
fn announce_count(topic: &str, subscribers: usize, out: &mut Announcer<'_, Directory>) {
    let Some((_, channel)) = topic.split_once('/') else { return };
    let count = members::prepared(|json| {
        message::write_subscription_count(json, channel, subscribers);
    });
    out.publish(topic, count);
}

/// What a subscriber brings to a channel, or to a user, whose home must know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// Nothing: it wants the last event.
    Cached,
    /// Who it is.
    Member(Member),
    /// It is signed in as that user.
    SignIn {
        /// Its `user_data`, to be repeated to it.
        user_data: Box<str>,
    },
    /// It wants to be told when that user comes and goes.
    Watch,
}

/// What an admitted subscriber is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Welcome {
    /// To a cache channel.
    Cached {
        /// The channel's last event, if one is kept.
        last: Option<Prepared>,
    },
    /// To a presence channel.
    Member {
        /// The message that says so, with all members.
        succeeded: Prepared,
        /// The subscriber's `user_id`, as JSON.
        user_id: Box<str>,
        /// The channel's last event, if it is a cache channel and one is kept.
        last: Option<Prepared>,
    },
    /// To a user: from here on the connection is ended with the user's others, and seen by who watches.
    SignedIn {
        /// The `user_data` that it brought.
        user_data: Box<str>,
    },
    /// To one who watches a user.
    Watching {
        /// Whether the user is online.
        is_online: bool,
    },
}

/// Why a subscriber is not admitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The presence channel has as many users as it may have.
    Full {
        /// The limit.
        limit: usize,
    },
}

/// What a home says to one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// The application ended this user's connections (`terminate_connections`).
    Terminate,
    /// A user that the connection watches has come or gone.
    Watched {
        /// The user's id.
        user: Box<str>,
        /// Whether it has come.
        is_online: bool,
    },
}

impl Home for Directory {
    type Note = Note;
    type Welcome = Welcome;
    type Refusal = Refusal;
    type Question = Question;
    type Answer = Answer;
    type Word = Word;

    fn on_publish(&mut self, topic: &str, _: u64, event: &Prepared, out: &mut Announcer<'_, Self>) {
        let Some((app, channel)) = self.channel_of(topic) else { return };
        if Kind::of(channel).is_cached() {
            let seconds = app.cache_ttl_seconds.into();
            self.cache.put(topic, event.clone(), out.unix_seconds(), seconds);
        }
    }

    fn on_attend(
        &mut self,
        topic: &str,
        conn: ConnId,
        note: Note,
        out: &mut Announcer<'_, Self>,
    ) -> Result<Welcome, Refusal> {
        match note {
            Note::Cached => {
                Ok(Welcome::Cached { last: self.last_event(topic, out.unix_seconds()) })
            }
            Note::Member(member) => self.join(topic, conn, member, out),
            Note::SignIn { user_data } => Ok(self.sign_in(topic, conn, user_data, out)),
            Note::Watch => Ok(Welcome::Watching { is_online: self.users.watch(topic, conn) }),
        }
    }

    fn on_vacated(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
        self.counts.forget(topic);
        // Only users who are gone are listed still, and nobody is there to be told.
        self.presence.remove(topic);
    }

    fn on_count(&mut self, topic: &str, subscribers: usize, out: &mut Announcer<'_, Self>) {
        self.tell_count(topic, subscribers, out);
    }

    fn wants_tick(&self) -> bool {
        self.counts.is_waiting() || self.departures.is_waiting()
    }

    fn on_tick(&mut self, out: &mut Announcer<'_, Self>) {
        self.tell_due_counts(out);
        self.end_due_departures(out);
    }

    fn on_depart(&mut self, topic: &str, conn: ConnId, out: &mut Announcer<'_, Self>) {
        self.leave(topic, conn, out);
        self.forget(topic, conn, out);
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

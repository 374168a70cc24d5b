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
use super::hooks::{Fact, Observer};
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
    /// Who is told what happens here.
    observer: Option<Box<dyn Observer>>,
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
            observer: None,
        }
    }

    /// Tells an observer what happens on the channels whose home this core is.
    #[must_use]
    pub fn with_observer(self, observer: Box<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
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
            self.announce_count(topic, subscribers, out);
        }
    }

    fn announce_count(&self, topic: &str, subscribers: usize, out: &mut Announcer<'_, Self>) {
        let Some((_, channel)) = topic.split_once('/') else { return };
        let count = members::prepared(|json| {
            message::write_subscription_count(json, channel, subscribers);
        });
        out.publish(topic, count);
        let subscription_count = subscribers;
        self.note(topic, |channel| Fact::SubscriptionCount { channel, subscription_count });
    }

    fn tell_due_counts(&mut self, out: &mut Announcer<'_, Self>) {
        for (topic, subscribers) in self.counts.due(out.unix_seconds()) {
            // The app may have been told otherwise since.
            if self.channel_of(&topic).is_some_and(|(app, _)| app.subscription_count) {
                self.announce_count(&topic, subscribers, out);
            }
        }
    }

    /// Tells the observer, if there is one and the topic is a channel of an app. Names with `#` are the server's own.
    fn note<'t>(&self, topic: &'t str, fact: impl FnOnce(&'t str) -> Fact<'t>) {
        let Some(observer) = &self.observer else { return };
        let channel = self.channel_of(topic).filter(|(_, channel)| !channel.starts_with('#'));
        let Some((app, channel)) = channel else { return };
        if observer.wants(app) {
            observer.note(app, fact(channel));
        }
    }

    /// Tells the observer of a newcomer to a cache channel that has no last event.
    fn note_miss(&self, topic: &str, welcome: &Welcome) {
        let (Welcome::Cached { last } | Welcome::Member { last, .. }) = welcome else { return };
        if self.observer.is_some() && last.is_none() {
            let is_cached = |(_, channel)| Kind::of(channel).is_cached();
            if self.channel_of(topic).is_some_and(is_cached) {
                self.note(topic, |channel| Fact::CacheMiss { channel });
            }
        }
    }

    /// The event that whoever comes onto a channel hears first.
    fn last_event(&self, topic: &str, unix_seconds: u64) -> Option<Prepared> {
        self.cache.get(topic, unix_seconds).map(|(event, _)| event.clone())
    }
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

    fn on_occupied(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
        self.note(topic, |channel| Fact::ChannelOccupied { channel });
    }

    fn on_vacated(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
        self.counts.forget(topic);
        // Only users who are gone are listed still, and nobody on the channel is there to be told.
        let gone = self.presence.remove(topic);
        for user_id in gone.iter().flat_map(Members::ids) {
            self.note(topic, |channel| Fact::MemberRemoved { channel, user_id });
        }
        self.note(topic, |channel| Fact::ChannelVacated { channel });
    }

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
        let welcome = match note {
            Note::Cached => Welcome::Cached { last: self.last_event(topic, out.unix_seconds()) },
            Note::Member(member) => self.join(topic, conn, member, out)?,
            Note::SignIn { user_data } => self.sign_in(topic, conn, user_data, out),
            Note::Watch => Welcome::Watching { is_online: self.users.watch(topic, conn) },
        };
        self.note_miss(topic, &welcome);
        Ok(welcome)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Wants to hear of app 1 alone.
    struct Ears(Rc<RefCell<Vec<String>>>);

    impl Observer for Ears {
        fn wants(&self, app: &App) -> bool {
            app.id == "1"
        }

        fn note(&self, app: &App, fact: Fact<'_>) {
            self.0.borrow_mut().push(format!("{} {}", app.id, fact.channel()));
        }
    }

    fn check(topic: &str, expected: &[&str]) {
        let apps = vec![App::new("1", "k1", "s1"), App::new("2", "k2", "s2")];
        let heard = Rc::default();
        let directory = Directory::new(Arc::new(Apps::new(apps).unwrap()), &Options::default())
            .with_observer(Box::new(Ears(Rc::clone(&heard))));
        directory.note(topic, |channel| Fact::ChannelOccupied { channel });
        assert_eq!(*heard.borrow(), expected, "{topic}");
    }

    #[test]
    fn an_observer_hears_of_the_channels_of_apps_that_it_wants() {
        check("1/room", &["1 room"]);
        check("1/room/of#one", &["1 room/of#one"]);
        check("2/room", &[]);
    }

    #[test]
    fn what_is_no_channel_of_an_app_is_not_told() {
        check("1/#server-to-user-7", &[]);
        check("1/#idempotency/key", &[]);
        check("9/room", &[]);
        check("room", &[]);
    }
}

//! What the API may ask a channel's home core, and what that answers. A topic is `{app id}/{channel}`.

use super::super::presence::Members;
use super::Directory;
use crate::{Announcer, Prepared};

/// What may be asked about one topic, or about all topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// About one channel: who is on it and, if wanted, its last event.
    Channel {
        /// Whether the last event is wanted: it may be long.
        wants_cache: bool,
    },
    /// About all: the channels of one app that somebody is on.
    Channels {
        /// The app's id.
        app: String,
        /// What their names begin with.
        prefix: String,
    },
    /// About an idempotency key, which has a topic of its own: may this request be carried out?
    Claim,
    /// About an idempotency key: its request was carried out, or failed and may come again.
    Settle {
        /// When the key was granted to it.
        granted_at: u64,
        /// Whether it was carried out.
        is_done: bool,
    },
    /// About all: ends the connections that are signed in as a user of one app, or through which that user is on
    /// presence channels.
    Terminate {
        /// The app's id.
        app: String,
        /// The user's id.
        user: String,
    },
    /// About one presence channel: its members.
    Users,
}

/// What the home core answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Question::Channel`].
    Channel(Facts),
    /// To [`Question::Channels`]: each by its name, in no order.
    Channels(Vec<(String, Facts)>),
    /// To [`Question::Claim`].
    Claim(Claim),
    /// To a question that tells more than it asks, or that cannot be asked so.
    Done,
    /// To [`Question::Users`], in the order in which they joined.
    Users(Vec<User>),
}

/// What is known of one channel, over all cores.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Connections subscribed.
    pub subscribers: usize,
    /// Distinct users; of presence channels alone.
    pub users: usize,
    /// The last event, and the seconds that it has left.
    pub cached: Option<(Prepared, u64)>,
}

/// Whether a request with an idempotency key may be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It was carried out before.
    Done,
    /// It may, and whoever asked will say how it ended.
    Granted {
        /// When, in seconds since the Unix epoch: it tells this grant from a later one.
        at: u64,
    },
    /// Another one with that key is under way.
    Pending,
}

/// One user of a presence channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The user's id, as a string whatever it was.
    pub id: String,
    /// The JSON that came with it.
    pub info: Option<String>,
}

impl Directory {
    /// About one topic.
    pub(super) fn about(
        &mut self,
        topic: &str,
        subscribers: usize,
        question: Question,
        out: &mut Announcer<'_, Self>,
    ) -> Answer {
        let now = out.unix_seconds();
        match question {
            Question::Channel { wants_cache } => {
                let cached = self.cache.get(topic, now).filter(|_| wants_cache);
                let cached = cached.map(|(event, seconds)| (event.clone(), seconds));
                Answer::Channel(Facts { cached, ..self.facts(topic, subscribers) })
            }
            Question::Claim => Answer::Claim(self.claims.claim(topic, now)),
            Question::Settle { granted_at, is_done } => {
                self.claims.settle(topic, granted_at, is_done);
                Answer::Done
            }
            Question::Users => Answer::Users(self.presence.get(topic).map_or_else(Vec::new, list)),
            Question::Channels { .. } | Question::Terminate { .. } => Answer::Done,
        }
    }

    /// About all topics whose home this core is.
    pub(super) fn about_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        question: Question,
        out: &mut Announcer<'_, Self>,
    ) -> Answer {
        match question {
            Question::Channels { app, prefix } => {
                let fact = |(topic, subscribers)| {
                    let channel = channel_of(topic, &app)?;
                    let facts = self.facts(topic, subscribers);
                    // Names with `#` are the server's own, and no channels of the app.
                    let is_listed = channel.starts_with(prefix.as_str())
                        && !channel.starts_with('#')
                        && facts.is_occupied();
                    is_listed.then(|| (channel.to_owned(), facts))
                };
                Answer::Channels(topics.filter_map(fact).collect())
            }
            Question::Terminate { app, user } => {
                let of_app = |(topic, _): &(&String, &Members)| channel_of(topic, &app).is_some();
                for (_, members) in self.presence.iter().filter(of_app) {
                    members
                        .connections_of(&user)
                        .for_each(|conn| out.tell(conn, super::Word::Terminate));
                }
                self.terminate_signed_in(&app, &user, out);
                Answer::Done
            }
            Question::Channel { .. }
            | Question::Claim
            | Question::Settle { .. }
            | Question::Users => Answer::Done,
        }
    }

    fn facts(&self, topic: &str, subscribers: usize) -> Facts {
        let users = self.presence.get(topic).map_or(0, Members::users);
        Facts { subscribers, users, cached: None }
    }
}

impl Facts {
    /// Members are known a turn before the count of their connections is.
    pub(in super::super) fn is_occupied(&self) -> bool {
        self.subscribers > 0 || self.users > 0
    }
}

fn list(members: &Members) -> Vec<User> {
    let member = |(id, info): (&str, Option<&str>)| User {
        id: id.to_owned(),
        info: info.map(str::to_owned),
    };
    members.ids().zip(members.infos()).map(member).collect()
}

fn channel_of<'t>(topic: &'t str, app: &str) -> Option<&'t str> {
    topic.strip_prefix(app)?.strip_prefix('/')
}

//! Signed-in users: what a sign-in says, and what a user's home core knows: who is signed in, and who watches. Pure.
//!
//! ```text
//!   topic "/user/1/7"      connections  { A, B }     online while there is one
//!                          watchers     { C }        told when that changes
//! ```
//!
//! No app's id is empty, so such a topic is never the topic of a channel.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::value::RawValue;

use super::message::{self, Text};
use crate::ConnId;

/// Who signs in, as the application wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SignIn {
    /// The user's id.
    pub(super) id: Box<str>,
    /// The `user_info`, as the JSON that came.
    pub(super) info: Option<Box<str>>,
    /// The users that it wants to be told of, each once, in their order.
    pub(super) watchlist: Vec<Box<str>>,
    /// How many ids the watchlist had, if that was too many: those past the limit are left out.
    pub(super) too_long: Option<usize>,
}

/// How big a `user_data` may be. Its bytes are bounded by the message that brings it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UserLimits {
    pub(super) id_characters: usize,
    pub(super) watchlist: usize,
}

impl SignIn {
    /// Reads a `user_data`.
    pub(super) fn read(user_data: &str, limits: UserLimits) -> Result<Self, UserError> {
        if !message::nests_at_most(user_data.as_bytes(), message::MOST_NESTED) {
            return Err(UserError::NotJson);
        }
        let data: UserData<'_> =
            message::parse_object(user_data).map_err(|_| UserError::NotJson)?;
        let id = data.id.ok_or(UserError::NoId)?.get();
        // pusher-js drops a sign-in whose id is anything else.
        let id: String = serde_json::from_str(id).map_err(|_| UserError::IdKind)?;
        if id.is_empty() {
            return Err(UserError::IdKind);
        }
        let (characters, limit) = (id.chars().count(), limits.id_characters);
        if characters > limit {
            return Err(UserError::IdTooLong { characters, limit });
        }
        let ids = data.watchlist.unwrap_or_default();
        let too_long = (ids.len() > limits.watchlist).then_some(ids.len());
        let mut seen = HashSet::new();
        let watchlist = ids.iter().take(limits.watchlist).filter(|id| seen.insert(&*id.0));
        let watchlist = watchlist.map(|id| (*id.0).into()).collect();
        let info = data.user_info.map(|info| info.get().into());
        Ok(Self { id: id.into(), info, watchlist, too_long })
    }
}

#[derive(serde::Deserialize)]
struct UserData<'d> {
    #[serde(borrow, default)]
    id: Option<&'d RawValue>,
    #[serde(borrow, default)]
    user_info: Option<&'d RawValue>,
    #[serde(borrow, default)]
    watchlist: Option<Vec<Text<'d>>>,
}

/// Why a `user_data` names no user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserError {
    /// Its `id` is not a string with something in it.
    IdKind,
    /// Its `id` is too long.
    IdTooLong {
        /// Its length, in characters.
        characters: usize,
        /// The limit.
        limit: usize,
    },
    /// It has no `id`.
    NoId,
    /// It is not a JSON object, or its `watchlist` is not a list of strings.
    NotJson,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdKind => f.write_str("the id of user_data must be a string, and not an empty one"),
            Self::IdTooLong { characters, limit } => {
                write!(f, "the id of user_data has {characters} characters; {limit} are allowed")
            }
            Self::NoId => f.write_str("user_data has no id"),
            Self::NotJson => f.write_str(
                "user_data is not a JSON object whose watchlist, if it has one, is a list of strings",
            ),
        }
    }
}

impl std::error::Error for UserError {}

/// Writes the engine's name of one of an application's users.
pub(super) fn write_topic(app: &str, user: &str, topic: &mut String) {
    topic.clear();
    topic.extend(["/user/", app, "/", user]);
}

/// The user behind a topic, of whatever application.
pub(super) fn user_of(topic: &str) -> Option<&str> {
    topic.strip_prefix("/user/")?.split_once('/').map(|(_, user)| user)
}

/// The users whose home is one core, by topic. Each is signed in or watched.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_topic: HashMap<Box<str>, User>,
}

#[derive(Debug, Default)]
struct User {
    connections: HashSet<ConnId>,
    watchers: HashSet<ConnId>,
}

impl User {
    fn is_nobody(&self) -> bool {
        self.connections.is_empty() && self.watchers.is_empty()
    }
}

/// That a user is online now and was not, or the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Changed;

impl Users {
    /// A connection is signed in as the user.
    pub(super) fn sign_in(&mut self, topic: &str, conn: ConnId) -> Option<Changed> {
        let user = self.user(topic);
        let was_offline = user.connections.is_empty();
        user.connections.insert(conn);
        was_offline.then_some(Changed)
    }

    /// A connection wants to be told of the user. Whether the user is online now.
    pub(super) fn watch(&mut self, topic: &str, conn: ConnId) -> bool {
        let user = self.user(topic);
        user.watchers.insert(conn);
        !user.connections.is_empty()
    }

    /// A connection is gone, whatever it was to the user.
    pub(super) fn depart(&mut self, topic: &str, conn: ConnId) -> Option<Changed> {
        let user = self.by_topic.get_mut(topic)?;
        user.watchers.remove(&conn);
        let was_last = user.connections.remove(&conn) && user.connections.is_empty();
        if user.is_nobody() {
            self.by_topic.remove(topic);
        }
        was_last.then_some(Changed)
    }

    /// The connections that are signed in as the user.
    pub(super) fn connections(&self, topic: &str) -> impl Iterator<Item = ConnId> {
        self.by_topic.get(topic).into_iter().flat_map(|user| user.connections.iter().copied())
    }

    /// The connections that want to be told of the user.
    pub(super) fn watchers(&self, topic: &str) -> impl Iterator<Item = ConnId> {
        self.by_topic.get(topic).into_iter().flat_map(|user| user.watchers.iter().copied())
    }

    fn user(&mut self, topic: &str) -> &mut User {
        self.by_topic.entry(topic.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: UserLimits = UserLimits { id_characters: 3, watchlist: 2 };

    fn check_error(user_data: &str, expected: UserError) {
        assert_eq!(SignIn::read(user_data, LIMITS), Err(expected), "{user_data}");
    }

    fn conn(slot: u32) -> ConnId {
        ConnId::new(0, slot, 1)
    }

    #[test]
    fn a_user_has_an_id_and_may_have_more() {
        let expected = SignIn { id: "7".into(), info: None, watchlist: Vec::new(), too_long: None };
        assert_eq!(SignIn::read(r#"{"id":"7","name":1}"#, LIMITS), Ok(expected.clone()));
        let text = r#"{"id": "ü7", "user_info": {"a": 1}, "watchlist": ["8", "\u0039"]}"#;
        let info = Some(r#"{"a": 1}"#.into());
        let watchlist = vec!["8".into(), "9".into()];
        assert_eq!(
            SignIn::read(text, LIMITS),
            Ok(SignIn { id: "ü7".into(), info, watchlist, ..expected })
        );
    }

    #[test]
    fn what_names_no_user_is_told_apart() {
        for text in ["", "[]", "7", r#"{"id":"7"#, r#"{"id":"7","watchlist":"8"}"#] {
            check_error(text, UserError::NotJson);
        }
        check_error(r#"{"id":"7","watchlist":[8]}"#, UserError::NotJson);
        check_error(
            &format!(r#"{{"id":"7","x":{}1{}}}"#, "[".repeat(999), "]".repeat(999)),
            UserError::NotJson,
        );
        for text in ["{}", r#"{"id":null}"#] {
            check_error(text, UserError::NoId);
        }
        for id in ["7", "true", r#""""#, "[]"] {
            check_error(&format!(r#"{{"id":{id}}}"#), UserError::IdKind);
        }
    }

    #[test]
    fn an_id_may_be_as_long_as_the_limit() {
        assert!(SignIn::read(r#"{"id":"üüü"}"#, LIMITS).is_ok());
        check_error(r#"{"id":"üüüü"}"#, UserError::IdTooLong { characters: 4, limit: 3 });
    }

    #[test]
    fn of_a_long_watchlist_the_first_ids_are_used() {
        let read = |list: &str| {
            let read =
                SignIn::read(&format!(r#"{{"id":"7","watchlist":{list}}}"#), LIMITS).unwrap();
            (read.watchlist.join(" "), read.too_long)
        };
        assert_eq!(read("[]"), (String::new(), None));
        assert_eq!(read(r#"["a","b"]"#), ("a b".into(), None));
        assert_eq!(read(r#"["a","b","c"]"#), ("a b".into(), Some(3)));
        assert_eq!(read(r#"["a","a"]"#), ("a".into(), None), "nobody is watched twice");
    }

    #[test]
    fn topics_of_users_are_no_topics_of_channels() {
        let mut topic = String::new();
        write_topic("1", "a/b", &mut topic);
        assert_eq!(topic, "/user/1/a/b");
        assert_eq!(user_of(&topic), Some("a/b"));
        assert_eq!(user_of("1/user/1/7"), None);
    }

    #[test]
    fn a_user_is_online_while_one_connection_is_signed_in() {
        let mut users = Users::default();
        assert!(!users.watch("t", conn(9)));
        assert_eq!(users.sign_in("t", conn(1)), Some(Changed));
        assert_eq!(users.sign_in("t", conn(1)), None, "it was signed in already");
        assert_eq!(users.sign_in("t", conn(2)), None);
        assert!(users.watch("t", conn(8)));
        assert_eq!(users.connections("t").count(), 2);
        assert_eq!(users.watchers("t").count(), 2);
        assert_eq!(users.depart("t", conn(1)), None);
        assert_eq!(users.depart("t", conn(2)), Some(Changed));
        assert_eq!(users.depart("t", conn(2)), None);
    }

    #[test]
    fn who_watches_itself_departs_as_both_and_nothing_remains() {
        let mut users = Users::default();
        users.sign_in("t", conn(1));
        assert!(users.watch("t", conn(1)));
        users.watch("t", conn(2));
        assert_eq!(users.depart("t", conn(1)), Some(Changed));
        assert_eq!(users.watchers("t").collect::<Vec<_>>(), [conn(2)]);
        assert_eq!(users.depart("t", conn(2)), None);
        assert!(users.by_topic.is_empty());
        assert_eq!(users.depart("t", conn(2)), None);
    }
}

//! What `info` asks of a channel, and how the answer to it is written. Pure.

use super::super::apps::App;
use super::super::channel::Kind;
use super::super::compat::UserCountElsewhere;
use super::super::directory::Facts;
use super::super::message;
use super::error::ApiError;

/// What is wanted of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Info {
    /// The last event. Only cache channels have one.
    pub(super) cache: bool,
    /// How many connections are subscribed.
    pub(super) subscribers: bool,
    /// How many users there are. Only presence channels have users; of others nothing is told.
    pub(super) users: bool,
}

impl Info {
    /// Reads a list with commas of what may be asked of several channels at once.
    pub(super) fn read(list: &str) -> Result<Self, ApiError> {
        let info = Self::read_of_one(list)?;
        if info.cache { Err(ApiError::Info { got: "cache".to_owned() }) } else { Ok(info) }
    }

    /// Reads a list of what may be asked of a single channel.
    pub(super) fn read_of_one(list: &str) -> Result<Self, ApiError> {
        let mut info = Self::default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item {
                "cache" => info.cache = true,
                "subscription_count" => info.subscribers = true,
                "user_count" => info.users = true,
                got => return Err(ApiError::Info { got: got.to_owned() }),
            }
        }
        Ok(info)
    }

    /// Whether an app lets that be asked of channels whose name begins so.
    pub(super) fn check(self, app: &App, name: &str) -> Result<(), ApiError> {
        let is_refused = app.user_count_elsewhere == UserCountElsewhere::Refuse;
        if self.users && is_refused && !Kind::of(name).has_members() {
            return Err(ApiError::UserCount { got: name.to_owned() });
        }
        Ok(())
    }

    /// Whether nothing is asked at all: the answer then does not name the channel.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Whether the channel's home must be asked.
    pub(super) fn needs_home(self, channel: &str) -> bool {
        let kind = Kind::of(channel);
        self.subscribers || (self.users && kind.has_members()) || (self.cache && kind.is_cached())
    }

    /// Writes an object of what is asked and known.
    pub(super) fn write(self, out: &mut Vec<u8>, channel: &str, facts: Option<&Facts>) {
        out.push(b'{');
        if let Some(facts) = facts {
            let start = out.len();
            self.write_members(out, channel, facts);
            // Each member begins with a comma.
            if out.len() > start {
                out.remove(start);
            }
        }
        out.push(b'}');
    }

    /// Writes what is known of a single channel.
    pub(super) fn write_of_one(self, out: &mut Vec<u8>, channel: &str, facts: &Facts) {
        out.extend_from_slice(format!(r#"{{"occupied":{}"#, facts.is_occupied()).as_bytes());
        self.write_members(out, channel, facts);
        out.push(b'}');
    }

    fn write_members(self, out: &mut Vec<u8>, channel: &str, facts: &Facts) {
        let kind = Kind::of(channel);
        if self.users && kind.has_members() {
            out.extend_from_slice(format!(r#","user_count":{}"#, facts.users).as_bytes());
        }
        if self.subscribers {
            let count = facts.subscribers;
            out.extend_from_slice(format!(r#","subscription_count":{count}"#).as_bytes());
        }
        if self.cache && kind.is_cached() {
            out.extend_from_slice(br#","cache":"#);
            write_cached(out, facts);
        }
    }
}

/// The data as it was published, to the letter; `null` if there is no event.
fn write_cached(out: &mut Vec<u8>, facts: &Facts) {
    let cached = facts.cached.as_ref();
    let cached =
        cached.and_then(|(event, seconds)| Some((message::data_of(event.payload())?, seconds)));
    match cached {
        Some((data, seconds)) => {
            out.extend_from_slice(br#"{"data":"#);
            out.extend_from_slice(data.as_bytes());
            out.extend_from_slice(format!(r#","ttl":{seconds}}}"#).as_bytes());
        }
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageKind, Prepared};

    const ALL: Info = Info { cache: true, subscribers: true, users: true };

    fn facts() -> Facts {
        let event = br#"{"event":"e","data":"{\"a\": 1}\u00fc","channel":"cache-a"}"#;
        let event = Prepared::new(MessageKind::Text, event);
        Facts { subscribers: 3, users: 2, cached: Some((event, 60)) }
    }

    fn check(channel: &str, facts: &Facts, expected: &str) {
        let mut out = Vec::new();
        ALL.write_of_one(&mut out, channel, facts);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{channel}");
    }

    #[test]
    fn info_is_a_list_of_known_words() {
        let of = |cache, subscribers, users| Info { cache, subscribers, users };
        for (list, expected) in [
            ("", of(false, false, false)),
            ("user_count", of(false, false, true)),
            ("subscription_count,", of(false, true, false)),
            ("subscription_count, user_count", of(false, true, true)),
            ("user_count,subscription_count,cache", ALL),
        ] {
            assert_eq!(Info::read_of_one(list), Ok(expected), "{list}");
        }
        for (list, got) in [("user_count,age", "age"), ("user_count,cache", "cache")] {
            assert_eq!(Info::read(list), Err(ApiError::Info { got: got.into() }));
        }
    }

    #[test]
    fn each_kind_of_channel_is_told_what_it_has() {
        check("news", &facts(), r#"{"occupied":true,"subscription_count":3}"#);
        check("presence-a", &facts(), r#"{"occupied":true,"user_count":2,"subscription_count":3}"#);
        check(
            "cache-a",
            &facts(),
            r#"{"occupied":true,"subscription_count":3,"cache":{"data":"{\"a\": 1}\u00fc","ttl":60}}"#,
        );
        check(
            "presence-cache-a",
            &Facts::default(),
            r#"{"occupied":false,"user_count":0,"subscription_count":0,"cache":null}"#,
        );
    }

    #[test]
    fn what_nobody_asked_is_not_told() {
        let mut out = Vec::new();
        Info::default().write_of_one(&mut out, "presence-cache-a", &facts());
        Info::default().write(&mut out, "presence-cache-a", Some(&facts()));
        ALL.write(&mut out, "presence-cache-a", None);
        Info { users: true, ..Info::default() }.write(&mut out, "presence-a", Some(&facts()));
        assert_eq!(out, br#"{"occupied":true}{}{}{"user_count":2}"#);
    }

    #[test]
    fn homes_are_asked_only_what_they_can_tell() {
        let users = Info { users: true, ..Info::default() };
        assert!(users.needs_home("presence-a") && !users.needs_home("private-a"));
        let cache = Info { cache: true, ..Info::default() };
        assert!(cache.needs_home("cache-a") && !cache.needs_home("my-cache-a"));
        assert!(!Info::default().needs_home("presence-cache-a"));
    }

    #[test]
    fn an_app_may_mind_that_users_are_counted_elsewhere() {
        let users = Info { users: true, ..Info::default() };
        let others = Info { users: false, ..ALL };
        let mut app = App::new("1", "k", "s");
        for name in ["", "news", "presence", "private-a"] {
            app.user_count_elsewhere = UserCountElsewhere::Omit;
            assert_eq!(users.check(&app, name), Ok(()), "{name}");
            app.user_count_elsewhere = UserCountElsewhere::Refuse;
            assert_eq!(users.check(&app, name), Err(ApiError::UserCount { got: name.into() }));
            assert_eq!(others.check(&app, name), Ok(()), "{name}");
        }
        for name in ["presence-", "presence-a", "presence-cache-a"] {
            assert_eq!(users.check(&app, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn members_without_counted_connections_occupy_a_channel() {
        assert!(Facts { users: 1, ..Facts::default() }.is_occupied());
        assert!(!Facts::default().is_occupied());
    }
}

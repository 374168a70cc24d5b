//! One client: as its upgrade request introduces it, and what we know of it later. Pure.
//!
//! ```text
//!   [prefix]/app/‹key›?protocol=7&client=js&version=8.6.0&flash=false
//!   [prefix]/app/r/‹token›/app/‹key›?…        the token is a page's own; it is no authority, and not used today
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use super::bucket::{Bucket, Rate};
use super::error::ClientError;
use super::percent::{self, Plus};
use super::query;
use super::watchlist::Watchlist;
use crate::ConnId;

/// What an upgrade request says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Introduction<'r> {
    /// The key of the app it wants.
    pub(super) key: Cow<'r, str>,
}

impl<'r> Introduction<'r> {
    /// Reads an upgrade request's path (without the prefix) and query. Parameters that we do not know mean nothing.
    pub(super) fn read(path: &'r str, query: &str) -> Result<Self, ClientError> {
        let key = key_of(path).ok_or(ClientError::PathInvalid)?;
        if let Some(protocol) = query::first(query, "protocol") {
            check_protocol(&protocol)?;
        }
        Ok(Self { key: percent::decode(key, Plus::Literal) })
    }
}

/// What a core knows of its clients beyond their tags. Only those have an entry of whom there is something to know.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_conn: HashMap<ConnId, Client>,
    /// Of those who have sent events, where an app limits how often.
    events: HashMap<ConnId, Bucket>,
    /// Of those who have sent anything, where an app limits that.
    messages: HashMap<ConnId, Bucket>,
}

/// One client that is on a presence channel, or signed in.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Its `user_id` on each presence channel that it was welcomed to, as JSON.
    members: HashMap<Box<str>, Box<str>>,
    user: Option<Box<SignedIn>>,
}

/// The user that a client has signed in as.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) id: Box<str>,
    /// The `user_info`, as the JSON that came.
    pub(super) info: Option<Box<str>>,
    pub(super) watchlist: Watchlist,
    /// On how many topics it is for this: the user's own, and those of users that it watches.
    pub(super) topics: usize,
}

impl Clients {
    /// The client was welcomed to a presence channel.
    pub(super) fn joined(&mut self, conn: ConnId, channel: &str, user_id: Box<str>) {
        let client = self.by_conn.entry(conn).or_default();
        client.members.insert(channel.into(), user_id);
    }

    /// The client is off a channel.
    pub(super) fn left(&mut self, conn: ConnId, channel: &str) {
        if let Some(client) = self.by_conn.get_mut(&conn) {
            client.members.remove(channel);
            if client.members.is_empty() && client.user.is_none() {
                self.by_conn.remove(&conn);
            }
        }
    }

    /// The client's `user_id` on a presence channel, as JSON.
    pub(super) fn user_id(&self, conn: ConnId, channel: &str) -> Option<&str> {
        self.by_conn.get(&conn)?.members.get(channel).map(|user_id| &**user_id)
    }

    /// The client has signed in.
    pub(super) fn signed_in(&mut self, conn: ConnId, user: SignedIn) {
        self.by_conn.entry(conn).or_default().user = Some(Box::new(user));
    }

    /// The user that the client is signed in as.
    pub(super) fn user(&self, conn: ConnId) -> Option<&SignedIn> {
        self.by_conn.get(&conn)?.user.as_deref()
    }

    /// On how many topics the client is that are no channels.
    pub(super) fn topics_beside_channels(&self, conn: ConnId) -> usize {
        self.user(conn).map_or(0, |user| user.topics)
    }

    /// As [`Clients::user`].
    pub(super) fn user_mut(&mut self, conn: ConnId) -> Option<&mut SignedIn> {
        self.by_conn.get_mut(&conn)?.user.as_deref_mut()
    }

    /// Whether the client may send one more event now; if so, it is counted.
    pub(super) fn may_send(&mut self, conn: ConnId, now: Instant, rate: Rate) -> bool {
        self.events.entry(conn).or_insert_with(|| Bucket::new(now, rate)).take(now, rate)
    }

    /// Whether the client may say anything now; if so, it is counted.
    pub(super) fn may_speak(&mut self, conn: ConnId, now: Instant, rate: Rate) -> bool {
        self.messages.entry(conn).or_insert_with(|| Bucket::new(now, rate)).take(now, rate)
    }

    /// How many there is something to know of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_conn.len().max(self.events.len()).max(self.messages.len())
    }

    /// The client is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        // Most apps have none of these, and to look for one takes a hash.
        if !self.by_conn.is_empty() {
            self.by_conn.remove(&conn);
        }
        for buckets in [&mut self.events, &mut self.messages] {
            if !buckets.is_empty() {
                buckets.remove(&conn);
            }
        }
    }
}

/// Whether a path (without the prefix) is one that Pusher clients connect to. Each such request is answered with 101
/// and refused inside, for pusher-js waits 15 seconds and more after any other status, and says nothing. A client whose
/// `wsPath` is another than our prefix is one of them.
pub(super) fn is_for_clients(path: &str) -> bool {
    path == "/app" || path.contains("/app/")
}

/// The path without the prefix of the options. Without it in the path, the path itself.
pub(super) fn strip_prefix<'p>(path: &'p str, prefix: &str) -> &'p str {
    match path.strip_prefix(prefix) {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

fn key_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/app/")?;
    let key = match rest.strip_prefix("r/") {
        Some(resumed) => {
            let (token, key) = resumed.split_once("/app/")?;
            let is_one_segment = !token.is_empty() && !token.contains('/');
            is_one_segment.then_some(key)?
        }
        None => rest,
    };
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

fn check_protocol(protocol: &str) -> Result<(), ClientError> {
    let is_number = !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_digit());
    match protocol {
        "5" | "6" | "7" => Ok(()),
        _ if is_number => Err(ClientError::ProtocolUnsupported { got: protocol.to_owned() }),
        _ => Err(ClientError::ProtocolNotANumber { got: protocol.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, query: &str, expected: Result<&str, ClientError>) {
        let got = Introduction::read(path, query).map(|introduction| introduction.key.into_owned());
        assert_eq!(got, expected.map(str::to_owned), "{path}?{query}");
    }

    #[test]
    fn the_key_follows_app() {
        check("/app/key", "protocol=7&client=js&version=8.6.0&flash=false", Ok("key"));
        check("/app/a%20b", "", Ok("a b"));
        check("/app/r", "", Ok("r"));
    }

    #[test]
    fn a_resume_token_may_stand_before_the_key() {
        check("/app/r/6f1c/app/key", "", Ok("key"));
        for path in [
            "/app/r/t",
            "/app/r/t/app/",
            "/app/r//app/key",
            "/app/r/t/x/app/key",
            "/app/r/t/app/k/x",
        ] {
            check(path, "", Err(ClientError::PathInvalid));
        }
    }

    #[test]
    fn other_paths_are_invalid() {
        for path in ["/app", "/app/", "/app/k/", "/app/k/x", "/apps/1", "/", ""] {
            check(path, "", Err(ClientError::PathInvalid));
        }
    }

    #[test]
    fn protocols_5_to_7_and_none_are_served() {
        for query in ["", "client=js", "protocol=5", "protocol=6", "protocol=7"] {
            check("/app/k", query, Ok("k"));
        }
        for got in ["0", "3", "4", "8", "77", "99999999999999999999999"] {
            let error = ClientError::ProtocolUnsupported { got: got.into() };
            check("/app/k", &format!("protocol={got}"), Err(error));
        }
        for got in ["", "x", "7.0", "-7", "7x"] {
            let error = ClientError::ProtocolNotANumber { got: got.into() };
            check("/app/k", &format!("protocol={got}"), Err(error));
        }
    }

    #[test]
    fn a_prefix_is_stripped_where_it_ends_at_a_slash() {
        for (path, prefix, expected) in [
            ("/ws/app/k", "/ws", "/app/k"),
            ("/app/k", "/ws", "/app/k"),
            ("/wsx/app/k", "/ws", "/wsx/app/k"),
            ("/app/k", "", "/app/k"),
            ("/app/app/k", "/app", "/app/k"),
            ("/ws", "/ws", "/ws"),
        ] {
            assert_eq!(strip_prefix(path, prefix), expected, "{path} {prefix}");
        }
    }

    #[test]
    fn paths_of_clients_are_told_from_others() {
        for (path, expected) in [
            ("/app", true),
            ("/app/", true),
            ("/app/k", true),
            ("/wsx/app/k", true),
            ("/apps/1/events", false),
            ("/wsx/app", false),
            ("/", false),
            ("/application", false),
        ] {
            assert_eq!(is_for_clients(path), expected, "{path}");
        }
    }
}

//! Applications: who may connect, who may publish, and within which limits. One value, shared by all cores; the only
//! thing in it that changes is each application's count of connections.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bucket::Rate;
use super::channel::Naming;
use super::compat::{DuplicateSubscription, OverQuota, UserCountElsewhere, VacantUsers};
use super::presence::MemberLimits;
use super::users::UserLimits;

/// The bit of a connection's tag that says that it has signed in, or is on a channel that is signed. The rest is the
/// number of its application.
pub(super) const AUTHORISED: u32 = 1 << 31;

/// One application, as it is configured.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// Its id: the part of the HTTP API's paths. The Python SDK insists on digits.
    pub id: String,
    /// Its key, which clients connect with. Public.
    pub key: String,
    /// Its secret, which signs subscriptions and API requests.
    pub secret: String,
    /// Whether it is served at all.
    pub enabled: bool,
    /// After how much silence a client asks whether we are there. Told to each client as it connects.
    pub activity_timeout_seconds: u32,
    /// How long a silent client may take to show life once we asked.
    pub ping_interval_seconds: u32,
    /// How many connections it may have; `None`: any number.
    pub max_connections: Option<u32>,
    /// The length of a message from a client, in bytes.
    pub max_message_bytes: usize,
    /// The length of an event's data, in bytes.
    pub max_event_bytes: usize,
    /// How many channels one event may be published to.
    pub max_channels_per_event: usize,
    /// How many events one batch may have.
    pub max_batch: usize,
    /// The length of a channel's name, in characters.
    pub max_channel_name: usize,
    /// The length of an event's name, in characters.
    pub max_event_name: usize,
    /// Whether channel names may have any characters, as with Reverb and soketi.
    pub any_channel_name: bool,
    /// Whether clients may send events to the channels that they are subscribed to.
    pub client_events: bool,
    /// Whether they may send them to channels that are neither private nor presence channels, too.
    pub client_events_on_public: bool,
    /// How many events a client may send in a second, and at once; `None`: any number.
    pub client_events_per_second: Option<u32>,
    /// Whether there is a limit to how many messages of any kind a client may send in some time.
    pub rate_limiting: bool,
    /// How many, at once and in that time.
    pub rate_limit_messages: u32,
    /// That time.
    pub rate_limit_window_seconds: u32,
    /// Whether a client that sends more is closed.
    pub rate_limit_close: bool,
    /// What a client past `max_connections` is told.
    pub over_quota: OverQuota,
    /// What a client is told that subscribes to a channel it is on.
    pub duplicate_subscription: DuplicateSubscription,
    /// What a back end is told of the users of a presence channel that nobody is on.
    pub vacant_users: VacantUsers,
    /// What a back end is told that asks for the users of a channel which is no presence channel to be counted.
    pub user_count_elsewhere: UserCountElsewhere,
    /// Whether the clients on a channel are told how many they are. Presence channels tell it otherwise.
    pub subscription_count: bool,
    /// How long a user who is gone from a presence channel stays in its list; 0: not at all.
    pub member_removed_delay_seconds: u32,
    /// The length of a request's body, in bytes.
    pub max_body_bytes: usize,
    /// How many channels one connection may be subscribed to.
    pub max_subscriptions: usize,
    /// What may wait for one client that reads slowly, in bytes.
    pub max_outbox_bytes: usize,
    /// How many users a presence channel may have; `None`: any number.
    pub max_presence_members: Option<u32>,
    /// The length of a member's `channel_data`, in bytes; `None`: as its message allows.
    pub max_member_bytes: Option<u32>,
    /// The length of a user's id, in characters.
    pub max_user_id: usize,
    /// How many users one client may watch.
    pub max_watchlist: usize,
    /// After how long a client is closed that has neither signed in nor subscribed to a channel that is signed; `None`:
    /// it may stay.
    pub authorisation_timeout_seconds: Option<u32>,
    /// How long the last event of a cache channel is kept.
    pub cache_ttl_seconds: u32,
}

impl App {
    /// An application with the default limits, which are those of `Compat::Reverb`.
    pub fn new(id: impl Into<String>, key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            key: key.into(),
            secret: secret.into(),
            enabled: true,
            activity_timeout_seconds: 30,
            ping_interval_seconds: 60,
            max_connections: None,
            max_message_bytes: 10_000,
            max_event_bytes: 100 * 1024,
            max_channels_per_event: 100,
            max_batch: 10,
            max_channel_name: 200,
            max_event_name: 200,
            any_channel_name: false,
            client_events: true,
            client_events_on_public: true,
            client_events_per_second: None,
            rate_limiting: false,
            rate_limit_messages: 60,
            rate_limit_window_seconds: 60,
            rate_limit_close: false,
            over_quota: OverQuota::Refuse,
            duplicate_subscription: DuplicateSubscription::Confirm,
            vacant_users: VacantUsers::Empty,
            user_count_elsewhere: UserCountElsewhere::Omit,
            subscription_count: false,
            member_removed_delay_seconds: 0,
            max_body_bytes: 1024 * 1024,
            max_subscriptions: 1_000,
            max_outbox_bytes: 1024 * 1024,
            max_presence_members: None,
            max_member_bytes: None,
            max_user_id: 200,
            max_watchlist: 100,
            authorisation_timeout_seconds: None,
            cache_ttl_seconds: 1_800,
        }
    }

    /// How many topics one connection may be on: its channels, the user that it is signed in as, and those it watches.
    pub fn most_topics(&self) -> usize {
        self.max_subscriptions.saturating_add(1).saturating_add(self.max_watchlist)
    }

    pub(super) fn naming(&self) -> Naming {
        Naming { max_characters: self.max_channel_name, any_characters: self.any_channel_name }
    }

    /// How many events a client may send.
    pub(super) fn event_rate(&self) -> Option<Rate> {
        self.client_events_per_second.map(Rate::per_second)
    }

    /// How many messages of any kind a client may send.
    pub(super) fn message_rate(&self) -> Option<Rate> {
        let per = Duration::from_secs(self.rate_limit_window_seconds.into());
        self.rate_limiting.then_some(Rate { most: self.rate_limit_messages, per })
    }

    pub(super) fn member_limits(&self) -> MemberLimits {
        let bytes = self.max_member_bytes.map_or(usize::MAX, |limit| limit as usize);
        MemberLimits { bytes, user_id_characters: self.max_user_id }
    }

    pub(super) fn user_limits(&self) -> UserLimits {
        UserLimits { id_characters: self.max_user_id, watchlist: self.max_watchlist }
    }

    /// Writes the engine's name of one of the application's channels. An id has no `/`, so two applications never
    /// share a topic.
    pub(super) fn write_topic(&self, channel: &str, topic: &mut String) {
        topic.clear();
        topic.push_str(&self.id);
        topic.push('/');
        topic.push_str(channel);
    }

    /// The channel behind one of the application's topics.
    pub(super) fn channel_of<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(self.id.as_str())?.strip_prefix('/')
    }
}

/// Leaves the secret out: what is debugged is logged.
impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// All applications of a server.
#[derive(Debug)]
pub struct Apps {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    app: App,
    /// Admitted connections on all cores. A lone count: no other memory hangs on its order.
    connections: AtomicUsize,
}

impl Apps {
    /// Checks that each application can be told from the others.
    pub fn new(apps: Vec<App>) -> Result<Self, AppsError> {
        if apps.is_empty() {
            return Err(AppsError::Nobody);
        }
        for (index, app) in apps.iter().enumerate() {
            check(app, &apps[..index])?;
        }
        let entry = |app| Entry { app, connections: AtomicUsize::new(0) };
        Ok(Self { entries: apps.into_iter().map(entry).collect() })
    }

    /// The application of that id.
    pub fn by_id(&self, id: &str) -> Option<&App> {
        self.iter().find(|app| app.id == id)
    }

    /// The application of that key.
    pub fn by_key(&self, key: &str) -> Option<&App> {
        self.iter().find(|app| app.key == key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never true: a server without applications is an error.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.entries.iter().map(|entry| &entry.app)
    }

    /// How many connections an application has now, on all cores.
    pub fn connections(&self, id: &str) -> Option<usize> {
        let entry = self.entries.iter().find(|entry| entry.app.id == id)?;
        Some(entry.connections.load(Ordering::Relaxed))
    }

    /// The application of that key, and the number that stands for it in a connection's tag. 0 stands for none.
    pub(super) fn tagged(&self, key: &str) -> Option<(u32, &App)> {
        let (app, tag) = self.iter().zip(1..).find(|(app, _)| app.key == key)?;
        Some((tag, app))
    }

    pub(super) fn by_tag(&self, tag: u32) -> Option<&App> {
        self.entry(tag).map(|entry| &entry.app)
    }

    /// Counts a connection in. False, and nothing is counted, if its application has as many as it may have.
    pub(super) fn admit(&self, tag: u32) -> bool {
        let Some(entry) = self.entry(tag) else { return false };
        let limit = entry.app.max_connections.map_or(usize::MAX, |limit| limit as usize);
        let one_more = |count: usize| (count < limit).then(|| count + 1);
        entry.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts out a connection that was admitted.
    pub(super) fn leave(&self, tag: u32) {
        let Some(entry) = self.entry(tag) else { return };
        let before = entry.connections.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only an admitted connection leaves");
    }

    fn entry(&self, tag: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(tag & !AUTHORISED).ok()?.checked_sub(1)?)
    }
}

fn check(app: &App, before: &[App]) -> Result<(), AppsError> {
    for (field, value) in [("id", &app.id), ("key", &app.key), ("secret", &app.secret)] {
        if value.is_empty() {
            return Err(AppsError::EmptyField { field, id: app.id.clone() });
        }
    }
    for (field, value) in [("id", &app.id), ("key", &app.key)] {
        if value.contains('/') {
            return Err(AppsError::Slash { field, value: value.clone() });
        }
    }
    // A client is told this number, and pusher-js never finishes connecting when it is 0.
    if app.activity_timeout_seconds == 0 {
        return Err(AppsError::NoActivityTimeout { id: app.id.clone() });
    }
    if before.iter().any(|other| other.id == app.id) {
        return Err(AppsError::DuplicateId { id: app.id.clone() });
    }
    if before.iter().any(|other| other.key == app.key) {
        return Err(AppsError::DuplicateKey { key: app.key.clone() });
    }
    Ok(())
}

/// Why a list of applications cannot be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppsError {
    /// Two have the same id.
    DuplicateId {
        /// That id.
        id: String,
    },
    /// Two have the same key.
    DuplicateKey {
        /// That key.
        key: String,
    },
    /// One lacks what it cannot be without.
    EmptyField {
        /// `id`, `key` or `secret`.
        field: &'static str,
        /// The application's id.
        id: String,
    },
    /// One has an activity timeout of 0, which clients cannot connect with.
    NoActivityTimeout {
        /// The application's id.
        id: String,
    },
    /// There is none at all.
    Nobody,
    /// An id or key has a `/`, so no path can name it.
    Slash {
        /// `id` or `key`.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

impl fmt::Display for AppsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId { id } => {
                write!(f, "two apps have the id `{id}`; each needs its own")
            }
            Self::DuplicateKey { key } => {
                write!(f, "two apps have the key `{key}`; each needs its own")
            }
            Self::EmptyField { field, id } => {
                write!(f, "the app with the id `{id}` has an empty {field}")
            }
            Self::NoActivityTimeout { id } => {
                write!(
                    f,
                    "the app with the id `{id}` has an activity timeout of 0 seconds; it must be 1 or more"
                )
            }
            Self::Nobody => f.write_str("there is no app; at least one is needed"),
            Self::Slash { field, value } => {
                write!(f, "the app {field} `{value}` has a `/`, which no path can carry")
            }
        }
    }
}

impl std::error::Error for AppsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<App> {
        vec![App::new("1", "k1", "s1"), App::new("2", "k2", "s2")]
    }

    fn check(change: impl Fn(&mut Vec<App>), expected: &AppsError) {
        let mut apps = two();
        change(&mut apps);
        assert_eq!(Apps::new(apps).err().as_ref(), Some(expected));
    }

    #[test]
    fn apps_are_found_by_id_key_and_tag() {
        let apps = Apps::new(two()).unwrap();
        assert_eq!(apps.by_id("2").unwrap().key, "k2");
        assert_eq!(apps.by_key("k1").unwrap().id, "1");
        assert!(apps.by_id("k1").is_none() && apps.by_key("1").is_none());
        assert_eq!(apps.tagged("k2").map(|(tag, app)| (tag, app.id.as_str())), Some((2, "2")));
        assert_eq!(apps.by_tag(2).unwrap().id, "2");
        assert!(apps.by_tag(0).is_none() && apps.by_tag(3).is_none());
        assert_eq!((apps.len(), apps.iter().count()), (2, 2));
    }

    #[test]
    fn apps_that_cannot_be_told_apart_are_refused() {
        check(|apps| apps[1].id = "1".into(), &AppsError::DuplicateId { id: "1".into() });
        check(|apps| apps[1].key = "k1".into(), &AppsError::DuplicateKey { key: "k1".into() });
        check(Vec::clear, &AppsError::Nobody);
    }

    #[test]
    fn apps_that_cannot_work_are_refused() {
        for field in ["id", "key", "secret"] {
            let change = |apps: &mut Vec<App>| match field {
                "id" => apps[1].id.clear(),
                "key" => apps[1].key.clear(),
                _ => apps[1].secret.clear(),
            };
            let id = if field == "id" { "" } else { "2" };
            check(change, &AppsError::EmptyField { field, id: id.into() });
        }
        check(
            |apps| apps[0].id = "a/b".into(),
            &AppsError::Slash { field: "id", value: "a/b".into() },
        );
        check(
            |apps| apps[0].activity_timeout_seconds = 0,
            &AppsError::NoActivityTimeout { id: "1".into() },
        );
    }

    #[test]
    fn connections_are_counted_up_to_the_limit() {
        let mut list = two();
        list[0].max_connections = Some(2);
        let apps = Apps::new(list).unwrap();
        assert!(apps.admit(1) && apps.admit(1));
        assert!(!apps.admit(1));
        assert!(apps.admit(2), "the other app has no limit");
        apps.leave(1);
        assert_eq!(apps.connections("1"), Some(1));
        assert!(apps.admit(1));
        assert!(!apps.admit(0));
    }

    #[test]
    fn topics_name_the_app_and_the_channel() {
        let app = App::new("12", "k", "s");
        let mut topic = String::from("old");
        app.write_topic("a/b", &mut topic);
        assert_eq!(topic, "12/a/b");
        assert_eq!(app.channel_of(&topic), Some("a/b"));
        assert_eq!(app.channel_of("123/a"), None);
    }

    #[test]
    fn debug_output_has_no_secret() {
        assert!(!format!("{:?}", App::new("1", "k", "hush")).contains("hush"));
    }
}

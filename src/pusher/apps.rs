//! Applications: who may connect, who may publish, and within which limits. One value, shared by all cores; the only
//! thing in it that changes is each application's count of connections.
//!
//! ```text
//!   Apps { 1: a, 2: b }  ──successor([a′, c])──▶  Apps { 1: a′, 2: gone, 3: c }     a and a′ share one count
//! ```
//!
//! The number that stands for an application in a connection's tag means that application's id for as long as the
//! process lives: one that is removed keeps its place, and gets it back if its id comes back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bucket::Rate;
use super::channel::Naming;
use super::compat::{DuplicateSubscription, OverQuota, UserCountElsewhere, VacantUsers};
use super::error::ClientError;
use super::origins::Origins;
use super::presence::MemberLimits;
use super::signature::Secret;
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
    pub secret: Secret,
    /// Whether it is served at all.
    pub enabled: bool,
    /// Whose pages may connect, by the host of their `Origin`.
    pub allowed_origins: Origins,
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
    pub fn new(id: impl Into<String>, key: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self {
            id: id.into(),
            key: key.into(),
            secret: secret.into(),
            enabled: true,
            allowed_origins: Origins::all(),
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
    /// By tag, less one. Those that were removed since the start are among them.
    entries: Vec<Entry>,
    /// The tags of those that are served, and of no others.
    by_id: HashMap<Box<str>, u32>,
    by_key: HashMap<Box<str>, u32>,
}

#[derive(Debug)]
struct Entry {
    standing: Standing,
    /// Admitted connections on all cores. A lone count: no other memory hangs on its order. Shared with the entry of
    /// this tag in the predecessor and in the successor.
    connections: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Standing {
    /// It was removed. Its secret is forgotten.
    Removed {
        id: Box<str>,
        key: Box<str>,
    },
    Served(Box<App>),
}

impl Entry {
    fn app(&self) -> Option<&App> {
        match &self.standing {
            Standing::Served(app) => Some(app),
            Standing::Removed { .. } => None,
        }
    }

    fn id(&self) -> &str {
        match &self.standing {
            Standing::Served(app) => &app.id,
            Standing::Removed { id, .. } => id,
        }
    }

    /// The same application, without its successor.
    fn removed(&self) -> Self {
        let (id, key) = match &self.standing {
            Standing::Served(app) => (app.id.as_str().into(), app.key.as_str().into()),
            Standing::Removed { id, key } => (id.clone(), key.clone()),
        };
        Self { standing: Standing::Removed { id, key }, connections: Arc::clone(&self.connections) }
    }
}

impl Apps {
    /// Checks that each application can be told from the others.
    pub fn new(apps: Vec<App>) -> Result<Self, AppsError> {
        let none = Self { entries: Vec::new(), by_id: HashMap::new(), by_key: HashMap::new() };
        none.successor(apps)
    }

    /// What takes the place of these applications when others are configured. Whoever is in both, by id, keeps its tag
    /// and its connections, whatever else of it has changed; whoever is not, keeps its tag for the connections that
    /// it has left, and for its return.
    ///
    /// # Errors
    ///
    /// As for [`Apps::new`]; [`AppsError::TooMany`] past [`Apps::MOST`].
    pub fn successor(&self, apps: Vec<App>) -> Result<Self, AppsError> {
        check_all(&apps)?;
        let known: HashMap<&str, usize> =
            self.entries.iter().enumerate().map(|(index, entry)| (entry.id(), index)).collect();
        let mut entries: Vec<Entry> = self.entries.iter().map(Entry::removed).collect();
        for app in apps {
            match known.get(app.id.as_str()) {
                Some(&index) => entries[index].standing = Standing::Served(Box::new(app)),
                None => entries.push(Entry {
                    standing: Standing::Served(Box::new(app)),
                    connections: Arc::default(),
                }),
            }
        }
        if entries.len() > Self::MOST {
            return Err(AppsError::TooMany { apps: entries.len(), limit: Self::MOST });
        }
        let served = || (1..).zip(&entries).filter_map(|(tag, entry)| Some((tag, entry.app()?)));
        let by_id = served().map(|(tag, app)| (app.id.as_str().into(), tag)).collect();
        let by_key = served().map(|(tag, app)| (app.key.as_str().into(), tag)).collect();
        Ok(Self { entries, by_id, by_key })
    }

    /// How many applications a process can have served since it started, those that were removed included: each keeps
    /// a number.
    pub const MOST: usize = 1 << 20;

    /// The application of that id.
    pub fn by_id(&self, id: &str) -> Option<&App> {
        self.by_tag(*self.by_id.get(id)?)
    }

    /// The application of that key.
    pub fn by_key(&self, key: &str) -> Option<&App> {
        self.by_tag(*self.by_key.get(key)?)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Never true: a server without applications is an error.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All of them, as configured; those that came later stand behind.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.entries.iter().filter_map(Entry::app)
    }

    /// How many connections an application has now, on all cores.
    pub fn connections(&self, id: &str) -> Option<usize> {
        let entry = self.entry(*self.by_id.get(id)?)?;
        Some(entry.connections.load(Ordering::Relaxed))
    }

    /// The application of that key, and the number that stands for it in a connection's tag. 0 stands for none.
    pub(super) fn tagged(&self, key: &str) -> Option<(u32, &App)> {
        let tag = *self.by_key.get(key)?;
        Some((tag, self.by_tag(tag)?))
    }

    pub(super) fn by_tag(&self, tag: u32) -> Option<&App> {
        self.entry(tag)?.app()
    }

    /// Why a connection that was admitted may not stay, if it may not.
    pub(super) fn farewell(&self, tag: u32) -> Option<ClientError> {
        match &self.entry(tag)?.standing {
            Standing::Removed { key, .. } => {
                Some(ClientError::AppUnknown { key: String::from(&**key) })
            }
            Standing::Served(app) => (!app.enabled).then_some(ClientError::AppDisabled),
        }
    }

    /// Counts a connection in. False, and nothing is counted, if its application has as many as it may have.
    pub(super) fn admit(&self, tag: u32) -> bool {
        let Some(entry) = self.entry(tag) else { return false };
        let Some(app) = entry.app() else { return false };
        let limit = app.max_connections.map_or(usize::MAX, |limit| limit as usize);
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

/// Checks each application, and that each can be told from the others.
fn check_all(apps: &[App]) -> Result<(), AppsError> {
    if apps.is_empty() {
        return Err(AppsError::Nobody);
    }
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    for app in apps {
        check(app)?;
        if !ids.insert(app.id.as_str()) {
            return Err(AppsError::DuplicateId { id: app.id.clone() });
        }
        if !keys.insert(app.key.as_str()) {
            return Err(AppsError::DuplicateKey { key: app.key.clone() });
        }
    }
    Ok(())
}

fn check(app: &App) -> Result<(), AppsError> {
    for (field, value) in [("id", &*app.id), ("key", &app.key), ("secret", &app.secret)] {
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
    /// More than can be numbered were served since the start.
    TooMany {
        /// How many that would be.
        apps: usize,
        /// The limit.
        limit: usize,
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
            Self::TooMany { apps, limit } => write!(
                f,
                "{apps} apps were served since the start, those that were removed included; {limit} can be told \
                 apart: a restart forgets the removed ones"
            ),
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
                _ => apps[1].secret = "".into(),
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

    fn tag_of(apps: &Apps, key: &str) -> Option<u32> {
        apps.tagged(key).map(|(tag, _)| tag)
    }

    #[test]
    fn an_app_that_stays_keeps_its_tag_and_its_connections() {
        let before = Apps::new(two()).unwrap();
        assert!(before.admit(2));
        let mut changed = App::new("2", "k9", "s9");
        changed.max_connections = Some(2);
        let after = before.successor(vec![App::new("3", "k3", "s3"), changed]).unwrap();
        assert_eq!((tag_of(&after, "k9"), tag_of(&after, "k2")), (Some(2), None));
        assert_eq!(&*after.by_tag(2).unwrap().secret, "s9");
        assert_eq!((tag_of(&after, "k3"), after.farewell(2)), (Some(3), None));
        // Both count one and the same, for cores that have not heard yet.
        assert!(after.admit(2) && !after.admit(2));
        before.leave(2);
        assert_eq!((before.connections("2"), after.connections("2")), (Some(1), Some(1)));
        assert!(after.admit(2) && !after.admit(2));
    }

    #[test]
    fn the_tag_of_a_removed_app_means_nobody_and_its_connections_still_leave() {
        let before = Apps::new(two()).unwrap();
        assert!(before.admit(1));
        let after = before.successor(vec![App::new("2", "k1", "s1")]).unwrap();
        assert!(after.by_tag(1).is_none() && after.by_id("1").is_none() && !after.admit(1));
        assert_eq!((tag_of(&after, "k1"), after.connections("1")), (Some(2), None));
        assert_eq!(after.farewell(1), Some(ClientError::AppUnknown { key: "k1".to_owned() }));
        assert_eq!((after.len(), after.iter().count()), (1, 1));
        let third = after.successor(two()[1..].to_vec()).unwrap();
        let third = third.successor(vec![App::new("3", "k3", "s3")]).unwrap();
        assert_eq!(tag_of(&third, "k3"), Some(3), "no tag is given twice");
        third.leave(1);
        assert_eq!(before.connections("1"), Some(0));
        assert!(!format!("{after:?}").contains("s1"));
    }

    #[test]
    fn an_app_that_comes_back_has_its_old_tag_and_counts_who_is_left() {
        let mut list = two();
        list[0].max_connections = Some(1);
        let before = Apps::new(list.clone()).unwrap();
        assert!(before.admit(1));
        let without = before.successor(two()[1..].to_vec()).unwrap();
        let again = without.successor(list).unwrap();
        assert_eq!((tag_of(&again, "k1"), again.farewell(1)), (Some(1), None));
        assert!(!again.admit(1), "the one that is not gone yet still counts");
        again.leave(1);
        assert!(again.admit(1));
    }

    #[test]
    fn a_disabled_app_says_farewell_and_the_refused_have_none() {
        let mut list = two();
        list[0].enabled = false;
        let apps = Apps::new(two()).unwrap().successor(list).unwrap();
        assert_eq!(apps.farewell(1), Some(ClientError::AppDisabled));
        assert_eq!((apps.farewell(0), apps.farewell(2), apps.farewell(3)), (None, None, None));
    }

    #[test]
    fn wrong_successors_are_refused_as_at_the_start() {
        let apps = Apps::new(two()).unwrap();
        let twins = vec![App::new("7", "k", "s"), App::new("8", "k", "s")];
        let error = AppsError::DuplicateKey { key: "k".to_owned() };
        assert_eq!(apps.successor(twins).err(), Some(error));
        assert_eq!(apps.successor(Vec::new()).err(), Some(AppsError::Nobody));
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

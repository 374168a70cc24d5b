//! Every setting there is: its name, its variables, its flag, its default, what it may be, what it means.
//!
//! This table is the only list of settings. The file, the environment and the flags are all read by it, the report of
//! `stentor check` walks it, and a test holds `docs/reference/config.md` against it.

use super::value::Kind;
use crate::pusher::{Compat, DuplicateSubscription, OverQuota, UserCountElsewhere, VacantUsers};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DAY: u64 = 24 * 60 * 60;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file: table, dot, key. Keys of `apps.` stand in each `[[apps]]`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it is when nobody says, written as in the environment.
    pub default: &'static str,
    /// The variable of Laravel Reverb that means the same.
    pub reverb: Option<&'static str>,
    /// Its own flag. Settings without one are reached by `--set NAME=VALUE`.
    pub flag: Option<&'static str>,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, default, reverb: None, flag: None }
    }

    const fn reverb(mut self, variable: &'static str) -> Self {
        self.reverb = Some(variable);
        self
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// The table it stands in: `server`.
    pub fn table(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(table, _)| table)
    }

    /// Its name within the table: `port`.
    pub fn field(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, field)| field)
    }

    /// Its own variable: `STENTOR_PORT`, `STENTOR_APP_KEY`, `STENTOR_DASHBOARD_ENABLED`.
    pub fn variable(&self) -> String {
        let field = self.field().to_ascii_uppercase();
        match self.table() {
            "apps" => format!("STENTOR_APP_{field}"),
            "dashboard" => format!("STENTOR_DASHBOARD_{field}"),
            "webhooks" => format!("STENTOR_WEBHOOKS_{field}"),
            _ => format!("STENTOR_{field}"),
        }
    }

    /// Whether it belongs to one app.
    pub fn is_of_app(&self) -> bool {
        self.table() == "apps"
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.name == "apps.secret"
    }

    /// The setting of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

const fn count(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

const fn bytes(least: u64, most: u64) -> Kind {
    Kind::Bytes { least, most }
}

const fn seconds(least: u64, most: u64) -> Kind {
    Kind::Seconds { least, most }
}

/// All settings, in the order of the reference.
pub const KEYS: &[Key] = &[
    Key::new("server.host", Kind::Host, "127.0.0.1").reverb("REVERB_SERVER_HOST").flag("--host"),
    Key::new("server.port", count(0, 65_535), "8080").reverb("REVERB_SERVER_PORT").flag("--port"),
    Key::new("server.path", Kind::Path, "").reverb("REVERB_SERVER_PATH").flag("--path"),
    Key::new("server.cores", count(0, 256), "0").flag("--cores"),
    Key::new("server.pin", Kind::Switch, "false").flag("--pin"),
    Key::new("server.own_descriptor_tables", Kind::Auto, "auto").flag("--own-descriptor-tables"),
    Key::new("server.log", Kind::Text, "info").flag("--log"),
    Key::new("server.debug", Kind::Switch, "false").flag("--debug"),
    Key::new("server.timestamp_tolerance", seconds(1, DAY), "600"),
    Key::new("dashboard.enabled", Kind::Auto, "auto").flag("--dashboard"),
    Key::new("limits.head_bytes", bytes(512, MIB), "16 KiB"),
    Key::new("limits.headers", count(8, 1000), "64"),
    Key::new("limits.body_bytes", bytes(KIB, 1024 * MIB), "1 MiB")
        .reverb("REVERB_MAX_REQUEST_SIZE"),
    Key::new("limits.request_deadline", seconds(1, 3600), "10"),
    Key::new("limits.keep_alive", seconds(1, 3600), "75"),
    Key::new("limits.message_deadline", seconds(1, 3600), "30"),
    Key::new("limits.closing_deadline", seconds(1, 300), "5"),
    Key::new("limits.shutdown_deadline", seconds(1, 3600), "5"),
    Key::new("limits.shutdown_rate", count(1, 1_000_000), "10000"),
    Key::new("limits.shutdown_linger", seconds(0, 60), "1"),
    Key::new("limits.compression", Kind::Switch, "true"),
    Key::new("limits.compression_threshold", bytes(0, MIB), "1 KiB"),
    Key::new("limits.compression_level", count(1, 9), "6"),
    Key::new("limits.ping_after", seconds(1, 3000), "60"),
    Key::new("limits.close_after", seconds(1, 3000), "30"),
    Key::new("limits.outbox_bytes", bytes(KIB, 1024 * MIB), "1 MiB"),
    Key::new("limits.slow_consumer_code", count(4100, 4299), "4100"),
    Key::new("limits.topic_bytes", bytes(256, 64 * KIB), "512"),
    Key::new("limits.mailbox_posts", count(64, 16_777_216), "8192"),
    Key::new("limits.cache_bytes", bytes(KIB, 64 * 1024 * MIB), "64 MiB"),
    Key::new("limits.in_flight_bytes", bytes(MIB, 64 * 1024 * MIB), "64 MiB"),
    Key::new("limits.read_buffer_bytes", bytes(4 * KIB, 64 * MIB), "512 KiB"),
    Key::new("limits.flush_slice", count(1, 1_000_000), "512"),
    Key::new("limits.fanout_slice", count(1, 1_000_000), "64"),
    Key::new("limits.accept_slice", count(1, 1_000_000), "256"),
    Key::new("webhooks.queue", count(1, 10_000_000), "10000"),
    Key::new("webhooks.bytes", bytes(64 * KIB, 64 * 1024 * MIB), "64 MiB"),
    Key::new("webhooks.lane", count(1, 10_000_000), "10000"),
    Key::new("webhooks.batch", count(1, 10_000), "100"),
    Key::new("webhooks.window", Kind::Milliseconds { least: 0, most: 60_000 }, "50"),
    Key::new("webhooks.timeout", seconds(1, 300), "10"),
    Key::new("webhooks.retry_for", seconds(0, DAY), "300"),
    Key::new("webhooks.grace", seconds(0, 3600), "3"),
    Key::new("webhooks.threads", count(2, 1024), "16"),
    Key::new("webhooks.stop_within", seconds(0, 300), "5"),
    Key::new("apps.id", Kind::Name, "1").reverb("REVERB_APP_ID"),
    Key::new("apps.key", Kind::Name, "app-key").reverb("REVERB_APP_KEY"),
    Key::new("apps.secret", Kind::Name, "app-secret").reverb("REVERB_APP_SECRET"),
    Key::new("apps.enabled", Kind::Switch, "true"),
    Key::new("apps.allowed_origins", Kind::Origins, "*"),
    Key::new("apps.compat", Kind::Word(Compat::WORDS), "reverb"),
    Key::new("apps.activity_timeout", seconds(1, 3600), "30").reverb("REVERB_APP_ACTIVITY_TIMEOUT"),
    Key::new("apps.ping_interval", seconds(1, 3600), "60").reverb("REVERB_APP_PING_INTERVAL"),
    Key::new("apps.max_connections", Kind::Ceiling, "none").reverb("REVERB_APP_MAX_CONNECTIONS"),
    Key::new("apps.max_message_bytes", bytes(256, 64 * MIB), "10000")
        .reverb("REVERB_APP_MAX_MESSAGE_SIZE"),
    Key::new("apps.max_event_bytes", bytes(256, 64 * MIB), "100 KiB"),
    Key::new("apps.max_channels_per_event", count(1, 10_000), "100"),
    Key::new("apps.max_batch", count(1, 10_000), "10"),
    Key::new("apps.max_channel_name", count(1, 400), "200"),
    Key::new("apps.max_event_name", count(1, 10_000), "200"),
    Key::new("apps.any_channel_name", Kind::Switch, "false"),
    Key::new("apps.client_events", Kind::Switch, "true"),
    Key::new("apps.client_events_on_public", Kind::Switch, "true"),
    Key::new("apps.client_events_per_second", Kind::Ceiling, "none"),
    Key::new("apps.rate_limiting", Kind::Switch, "false")
        .reverb("REVERB_APP_RATE_LIMITING_ENABLED"),
    Key::new("apps.rate_limit_messages", count(1, 1_000_000), "60")
        .reverb("REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS"),
    Key::new("apps.rate_limit_window", seconds(1, DAY), "60")
        .reverb("REVERB_APP_RATE_LIMIT_DECAY_SECONDS"),
    Key::new("apps.rate_limit_close", Kind::Switch, "false")
        .reverb("REVERB_APP_RATE_LIMIT_TERMINATE"),
    Key::new("apps.over_quota", Kind::Word(OverQuota::WORDS), "refuse"),
    Key::new("apps.duplicate_subscription", Kind::Word(DuplicateSubscription::WORDS), "confirm"),
    Key::new("apps.vacant_users", Kind::Word(VacantUsers::WORDS), "empty"),
    Key::new("apps.user_count_elsewhere", Kind::Word(UserCountElsewhere::WORDS), "omit"),
    Key::new("apps.subscription_count", Kind::Switch, "false"),
    Key::new("apps.member_removed_delay", seconds(0, 3600), "0"),
    Key::new("apps.max_body_bytes", bytes(KIB, 1024 * MIB), "1 MiB"),
    Key::new("apps.max_subscriptions", count(1, 1_000_000), "1000"),
    Key::new("apps.max_outbox_bytes", bytes(KIB, 1024 * MIB), "1 MiB"),
    Key::new("apps.max_presence_members", Kind::Ceiling, "none"),
    Key::new("apps.max_member_bytes", Kind::Ceiling, "none"),
    Key::new("apps.max_user_id", count(1, 400), "200"),
    Key::new("apps.max_watchlist", count(0, 1000), "100"),
    Key::new("apps.authorisation_timeout", Kind::Ceiling, "none"),
    Key::new("apps.cache_ttl", seconds(1, DAY), "1800"),
];

/// Reverb's variables that tell an *application* where to publish. They look like the address of the server and are not.
pub(super) const REVERB_OF_THE_APPLICATION: &[&str] =
    &["REVERB_HOST", "REVERB_PORT", "REVERB_SCHEME"];

/// Reverb's word for `apps.client_events`. It is not one of the keys' own variables: its values are words.
pub(super) const REVERB_CLIENT_EVENTS: &str = "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM";

/// Reverb's variables that are known here and change nothing.
pub(super) const REVERB_UNUSED: &[&str] = &[
    "REVERB_PULSE_INGEST_INTERVAL",
    "REVERB_SCALING_CHANNEL",
    "REVERB_SCALING_ENABLED",
    "REVERB_SERVER",
    "REVERB_TELESCOPE_INGEST_INTERVAL",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for key in KEYS {
            assert!(key.kind.read(key.default).is_ok(), "{} = {}", key.name, key.default);
        }
    }

    #[test]
    fn names_and_variables_are_unique() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
    }

    #[test]
    fn the_reference_has_a_row_for_every_key() {
        let reference = include_str!("../../docs/reference/config.md");
        for key in KEYS {
            let row = reference
                .lines()
                .find(|line| {
                    line.starts_with(&format!("| `{}` |", key.field()))
                        && line.contains(&key.variable())
                })
                .unwrap_or_else(|| panic!("docs/reference/config.md has no row for {}", key.name));
            let flag = key.flag.map_or_else(|| format!("--set {}=", key.name), str::to_owned);
            for part in [key.reverb.unwrap_or(""), flag.as_str(), key.default] {
                assert!(row.contains(part), "the row of {} lacks `{part}`", key.name);
            }
        }
    }
}

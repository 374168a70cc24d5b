//! The defaults of an app that hang on another setting: on the app's own `compat`, or on a limit of the server.
//!
//! ```text
//!   all layers laid ──▶ compat ──▶ App::with_compat ──▶ each key of which nobody has said anything
//! ```

use super::settings::{Origin, Setting, Settings};
use super::value::Value;
use crate::pusher::{App, Compat};

/// Limits of an app that are the server's unless the app has its own.
const AS_THE_SERVERS: [(&str, &str); 2] = [
    ("apps.max_body_bytes", "limits.body_bytes"),
    ("apps.max_outbox_bytes", "limits.outbox_bytes"),
];

/// Lays these defaults below what was set.
pub(super) fn lay_defaults(app: &mut Settings, server: &Settings) {
    for (name, of_server) in AS_THE_SERVERS {
        app.set_default(name, server.get(of_server).clone());
    }
    let compat = word(app, "apps.compat", Compat::of);
    let defaults = App::with_compat(compat, "", "", "");
    for (name, value) in values(&defaults) {
        app.set_default(name, Setting { value, origin: Origin::Compat(compat.word()) });
    }
}

/// The value of a setting that is a word.
pub(super) fn word<T>(settings: &Settings, name: &str, of: fn(&str) -> Option<T>) -> T {
    of(&settings.text(name)).expect("its kind takes no other word")
}

/// The keys that a kind may change, as settings. A test holds that there are no others.
fn values(app: &App) -> [(&'static str, Value); 14] {
    let text = |word: &str| Value::Text(word.to_owned());
    let ceiling = |limit: Option<u32>| limit.map_or(Value::Absent, |it| Value::Number(it.into()));
    let size = |limit: usize| Value::Number(u64::try_from(limit).unwrap_or(u64::MAX));
    [
        ("apps.over_quota", text(app.over_quota.word())),
        ("apps.duplicate_subscription", text(app.duplicate_subscription.word())),
        ("apps.client_events", Value::Switch(app.client_events)),
        ("apps.client_events_on_public", Value::Switch(app.client_events_on_public)),
        ("apps.client_events_per_second", ceiling(app.client_events_per_second)),
        ("apps.vacant_users", text(app.vacant_users.word())),
        ("apps.user_count_elsewhere", text(app.user_count_elsewhere.word())),
        ("apps.max_channel_name", size(app.max_channel_name)),
        ("apps.max_event_bytes", size(app.max_event_bytes)),
        ("apps.max_message_bytes", size(app.max_message_bytes)),
        ("apps.max_presence_members", ceiling(app.max_presence_members)),
        ("apps.max_member_bytes", ceiling(app.max_member_bytes)),
        ("apps.max_user_id", size(app.max_user_id)),
        ("apps.cache_ttl", Value::Number(app.cache_ttl_seconds.into())),
    ]
}

//! Settings: where they are looked for, which wins, and what each room is told.
//!
//! ```text
//!  defaults ─▶ .env (REVERB_*) ─▶ stentor.toml ─▶ environment ─▶ flags ─▶ Config ─▶ each room's own Options
//!                                                                           └─▶ stentor check: what, and from where
//! ```
//!
//! Later layers win. Below them all, the defaults of an app are those of its `compat`. Variables and flags speak of *one* app: the one there is or, if the file lists several, the one
//! whose id they name. Only this room reads the environment; it opens no socket and starts nothing.

mod compat;
mod dotenv;
mod environment;
pub mod error;
mod file;
pub mod keys;
mod nearest;
mod reload;
pub mod settings;
pub mod value;
mod webhooks;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pusher::{App, DuplicateSubscription, OverQuota, UserCountElsewhere, VacantUsers};
use crate::reactor::descriptors;
use crate::reactor::options::{Options, Patience};
use crate::ws::CloseCode;
use crate::{http, pusher, webhooks as hooks, ws};

use environment::Variables;
use keys::{KEYS, Key};
use nearest::nearest;
use settings::{Entry, Origin, Settings};

pub use error::{ConfigError, ConfigErrors};
pub use reload::Changes;

#[cfg(any(test, fuzzing))]
pub use {dotenv::fuzz_dotenv, file::fuzz_file};

/// The secret of the development app. It is in the documentation, so it protects nothing.
pub const DEVELOPMENT_SECRET: &str = "app-secret";

/// The file that is read if it is there and no other is named.
const FILE_NAME: &str = "stentor.toml";

/// Where settings are looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Where `.env` and `stentor.toml` are looked for.
    pub directory: PathBuf,
    /// A file that must be there; `None`: `stentor.toml`, if it is there.
    pub file: Option<PathBuf>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// Flags that were given.
    pub flags: Vec<Flag>,
}

/// One flag: `--port 9000`, or `--set server.port=9000`.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag itself, for messages: `--port`.
    pub flag: String,
    /// The name of the setting: `server.port`.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Sources {
    /// The working directory and the environment of this process. `STENTOR_CONFIG` names a file where no flag does.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let environment = environment::of_process();
        let named =
            || environment.get("STENTOR_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { directory: PathBuf::new(), file: file.or_else(named), environment, flags }
    }
}

/// All settings in force.
#[derive(Clone, Debug)]
pub struct Config {
    server: Settings,
    apps: Vec<Settings>,
    notes: Vec<String>,
    /// The files that were there and read.
    files: Vec<PathBuf>,
}

impl Config {
    /// Reads all layers. All mistakes are reported, not just the first.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut layers = Layers::new();
        layers.add_dotenv(sources);
        layers.add_file(sources);
        layers.add_variables(environment::read_process(&sources.environment));
        layers.add_flags(&sources.flags);
        layers.finish()
    }

    /// The server's settings.
    pub fn server(&self) -> &Settings {
        &self.server
    }

    /// Each app's settings.
    pub fn app_settings(&self) -> &[Settings] {
        &self.apps
    }

    /// What is no mistake and should be known.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The address to listen on: an IP address or a name.
    pub fn host(&self) -> String {
        self.server.text("server.host")
    }

    /// The port to listen on; 0 takes a free one.
    pub fn port(&self) -> u16 {
        self.server
            .number("server.port")
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or_default()
    }

    /// The prefix of all paths, without a slash at its end.
    pub fn path(&self) -> String {
        self.server.text("server.path")
    }

    /// What is logged.
    pub fn log_filter(&self) -> String {
        self.server.text("server.log")
    }

    /// Whether each core has a table of descriptors of its own.
    pub fn has_own_descriptor_tables(&self) -> bool {
        self.server.switch("server.own_descriptor_tables").unwrap_or_else(descriptors::is_possible)
    }

    /// Whether each core would have such a table, did the system not forbid it.
    pub fn lacks_own_descriptor_tables(&self) -> bool {
        cfg!(target_os = "linux")
            && self.server.switch("server.own_descriptor_tables").is_none()
            && !descriptors::is_possible()
    }

    /// Whether only this machine can reach the address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether there is one app only and it is the well-known one, whose secret is no secret.
    pub fn is_development(&self) -> bool {
        matches!(self.apps(), apps if apps.len() == 1 && apps.iter().all(|app| &*app.secret == DEVELOPMENT_SECRET))
    }

    /// Whether the page at `/` is served. Who can open it can publish, so unless it is asked for it is there only
    /// where nobody else comes.
    pub fn has_dashboard(&self) -> bool {
        let asked = self.server.switch("dashboard.enabled");
        asked.unwrap_or_else(|| self.is_loopback() && self.is_development())
    }

    /// Each app whose secret everybody knows, if others than this machine can reach the address.
    fn development_secrets(&self) -> impl Iterator<Item = ConfigError> {
        let apps = self.apps.iter().filter(|_| !self.is_loopback());
        apps.filter(|app| app.text("apps.secret") == DEVELOPMENT_SECRET).map(|app| {
            ConfigError::DevelopmentSecret { host: self.host(), app: app.text("apps.id") }
        })
    }

    /// The apps.
    pub fn apps(&self) -> Vec<App> {
        self.apps.iter().map(app).collect()
    }

    /// What the Pusher room is told.
    pub fn pusher_options(&self) -> pusher::Options {
        pusher::Options {
            path_prefix: self.path(),
            debug: self.server.switch("server.debug").unwrap_or_default(),
            timestamp_tolerance_seconds: self
                .server
                .number("server.timestamp_tolerance")
                .unwrap_or_default(),
            cache_bytes: self.server.size("limits.cache_bytes"),
        }
    }

    /// What the webhooks are told, besides their targets.
    pub fn webhook_options(&self) -> hooks::Options {
        let number = |name: &str| self.server.number(name).unwrap_or_default();
        let seconds = |name: &str| Duration::from_secs(number(name));
        hooks::Options {
            queue: self.server.size("webhooks.queue"),
            bytes: self.server.size("webhooks.bytes"),
            lane: self.server.size("webhooks.lane"),
            batch: self.server.size("webhooks.batch"),
            window: Duration::from_millis(number("webhooks.window")),
            timeout: seconds("webhooks.timeout"),
            retry_for: seconds("webhooks.retry_for"),
            grace: seconds("webhooks.grace"),
            threads: self.server.size("webhooks.threads"),
            stop_within: seconds("webhooks.stop_within"),
        }
    }

    /// Where the webhooks of all apps that are served go.
    pub fn webhook_targets(&self) -> Vec<hooks::Target> {
        let mut targets = Vec::new();
        for settings in self.apps.iter().filter(|app| app.switch("apps.enabled").unwrap_or(true)) {
            let app = app(settings);
            targets.extend(settings.webhooks().iter().map(|webhook| hooks::Target {
                app: app.id.clone(),
                key: app.key.clone(),
                secret: app.secret.to_string(),
                ..webhook.target.clone()
            }));
        }
        targets
    }

    fn compression(&self) -> Option<ws::Compression> {
        let level = self.server.number("limits.compression_level")?;
        let compression = ws::Compression {
            threshold_bytes: self.server.size("limits.compression_threshold"),
            level: u32::try_from(level).ok()?,
        };
        self.server.switch("limits.compression")?.then_some(compression)
    }

    /// What the engine is told. A connection may be on as many channels as the app that allows the most says.
    pub fn engine_options(&self) -> Options {
        let size = |name: &str| self.server.size(name);
        let seconds =
            |name: &str| Duration::from_secs(self.server.number(name).unwrap_or_default());
        let code = self
            .server
            .number("limits.slow_consumer_code")
            .and_then(|code| u16::try_from(code).ok());
        let subscriptions = self.apps().iter().map(App::most_topics).max();
        Options {
            cores: size("server.cores"),
            pin: self.server.switch("server.pin").unwrap_or_default(),
            own_descriptor_tables: self.has_own_descriptor_tables(),
            http: http::Limits {
                head_bytes: size("limits.head_bytes"),
                headers: size("limits.headers"),
                body_bytes: size("limits.body_bytes"),
            },
            // Of whom no app is asked: those who were refused, until they are gone.
            ws: Options::default().ws,
            compression: self.compression(),
            request_deadline: seconds("limits.request_deadline"),
            keep_alive: seconds("limits.keep_alive"),
            message_deadline: seconds("limits.message_deadline"),
            closing_deadline: seconds("limits.closing_deadline"),
            shutdown_deadline: seconds("limits.shutdown_deadline"),
            shutdown_rate: size("limits.shutdown_rate"),
            shutdown_linger: seconds("limits.shutdown_linger"),
            patience: Patience {
                ping_after: seconds("limits.ping_after"),
                close_after: seconds("limits.close_after"),
            },
            outbox_bytes: size("limits.outbox_bytes"),
            slow_consumer_code: code.map_or(CloseCode::TRY_AGAIN_LATER, CloseCode),
            subscriptions: subscriptions.unwrap_or_default(),
            topic_bytes: size("limits.topic_bytes"),
            mailbox_posts: size("limits.mailbox_posts"),
            in_flight_bytes: size("limits.in_flight_bytes"),
            read_buffer_bytes: size("limits.read_buffer_bytes"),
            flush_slice: size("limits.flush_slice"),
            fanout_slice: size("limits.fanout_slice"),
            accept_slice: size("limits.accept_slice"),
        }
    }
}

fn app(settings: &Settings) -> App {
    let seconds = |name: &str| {
        settings.number(name).and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX)
    };
    let ceiling = |name: &str| settings.number(name).and_then(|number| u32::try_from(number).ok());
    App {
        enabled: settings.switch("apps.enabled").unwrap_or(true),
        allowed_origins: settings
            .text("apps.allowed_origins")
            .parse()
            .expect("its kind takes nothing else"),
        activity_timeout_seconds: seconds("apps.activity_timeout"),
        ping_interval_seconds: seconds("apps.ping_interval"),
        max_connections: ceiling("apps.max_connections"),
        max_message_bytes: settings.size("apps.max_message_bytes"),
        max_event_bytes: settings.size("apps.max_event_bytes"),
        max_channels_per_event: settings.size("apps.max_channels_per_event"),
        max_batch: settings.size("apps.max_batch"),
        max_channel_name: settings.size("apps.max_channel_name"),
        max_event_name: settings.size("apps.max_event_name"),
        any_channel_name: settings.switch("apps.any_channel_name").unwrap_or_default(),
        client_events: settings.switch("apps.client_events").unwrap_or_default(),
        client_events_on_public: settings.switch("apps.client_events_on_public").unwrap_or(true),
        client_events_per_second: ceiling("apps.client_events_per_second"),
        rate_limiting: settings.switch("apps.rate_limiting").unwrap_or_default(),
        rate_limit_messages: seconds("apps.rate_limit_messages"),
        rate_limit_window_seconds: seconds("apps.rate_limit_window"),
        rate_limit_close: settings.switch("apps.rate_limit_close").unwrap_or_default(),
        over_quota: compat::word(settings, "apps.over_quota", OverQuota::of),
        duplicate_subscription: compat::word(
            settings,
            "apps.duplicate_subscription",
            DuplicateSubscription::of,
        ),
        vacant_users: compat::word(settings, "apps.vacant_users", VacantUsers::of),
        user_count_elsewhere: compat::word(
            settings,
            "apps.user_count_elsewhere",
            UserCountElsewhere::of,
        ),
        subscription_count: settings.switch("apps.subscription_count").unwrap_or_default(),
        member_removed_delay_seconds: seconds("apps.member_removed_delay"),
        max_body_bytes: settings.size("apps.max_body_bytes"),
        max_subscriptions: settings.size("apps.max_subscriptions"),
        max_outbox_bytes: settings.size("apps.max_outbox_bytes"),
        max_presence_members: ceiling("apps.max_presence_members"),
        max_member_bytes: ceiling("apps.max_member_bytes"),
        max_user_id: settings.size("apps.max_user_id"),
        max_watchlist: settings.size("apps.max_watchlist"),
        authorisation_timeout_seconds: ceiling("apps.authorisation_timeout"),
        cache_ttl_seconds: seconds("apps.cache_ttl"),
        ..App::new(
            settings.text("apps.id"),
            settings.text("apps.key"),
            settings.text("apps.secret"),
        )
    }
}

/// The settings while layer after layer is laid on them.
struct Layers {
    config: Config,
    errors: Vec<ConfigError>,
}

impl Layers {
    fn new() -> Self {
        let config = Config {
            server: Settings::defaults(false),
            apps: vec![Settings::defaults(true)],
            notes: Vec::new(),
            files: Vec::new(),
        };
        Self { config, errors: Vec::new() }
    }

    fn add_dotenv(&mut self, sources: &Sources) {
        let path = sources.directory.join(".env");
        if let Some(text) = self.read(&path, false) {
            self.add_variables(environment::read_dotenv(&path, &text, &sources.environment));
        }
    }

    fn add_file(&mut self, sources: &Sources) {
        let path = sources.file.clone().unwrap_or_else(|| sources.directory.join(FILE_NAME));
        let Some(text) = self.read(&path, sources.file.is_some()) else { return };
        let file = file::parse(&path, &text);
        self.errors.extend(file.errors);
        self.add_server(file.server);
        // The list of apps is one setting: a file that lists apps has listed them all.
        if let Some(apps) = file.apps.filter(|apps| !apps.is_empty()) {
            self.config.apps = apps
                .into_iter()
                .map(|app| {
                    let mut settings = Settings::defaults(true);
                    app.entries.into_iter().for_each(|entry| settings.set(entry));
                    settings.set_webhooks(app.webhooks);
                    settings
                })
                .collect();
        }
    }

    fn read(&mut self, path: &Path, is_required: bool) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.config.files.push(path.to_owned());
                Some(text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_required => None,
            Err(error) => {
                self.errors.push(ConfigError::Unreadable { path: path.to_owned(), error });
                None
            }
        }
    }

    fn add_variables(&mut self, variables: Variables) {
        self.config.notes.extend(variables.notes);
        self.errors.extend(variables.errors);
        self.add_server(variables.server);
        self.add_app(variables.app);
    }

    fn add_flags(&mut self, flags: &[Flag]) {
        let mut app = Vec::new();
        for flag in flags {
            let origin = Origin::Flag(flag.flag.clone());
            let Some(key) = Key::named(&flag.name) else {
                let nearest = nearest(&flag.name, KEYS.iter().map(|key| key.name));
                let place = "after --set".to_owned();
                self.errors.push(ConfigError::Unknown {
                    origin,
                    place,
                    got: flag.name.clone(),
                    nearest,
                });
                continue;
            };
            match environment::entry(key, &flag.value, origin) {
                Ok(entry) if key.is_of_app() => app.push(entry),
                Ok(entry) => self.config.server.set(entry),
                Err(error) => self.errors.push(error),
            }
        }
        self.add_app(app);
    }

    fn add_server(&mut self, entries: Vec<Entry>) {
        entries.into_iter().for_each(|entry| self.config.server.set(entry));
    }

    fn add_app(&mut self, entries: Vec<Entry>) {
        let Some(origin) = entries.first().map(|entry| entry.setting.origin.clone()) else {
            return;
        };
        let id = entries
            .iter()
            .rev()
            .find(|entry| entry.key.name == "apps.id")
            .map(|entry| &entry.setting.value);
        let apps = &mut self.config.apps;
        let meant = match apps.len() {
            1 => Some(0),
            _ => apps.iter().position(|app| Some(&app.get("apps.id").value) == id),
        };
        match meant {
            Some(index) => entries.into_iter().for_each(|entry| apps[index].set(entry)),
            None => {
                let ids = apps.iter().map(|app| app.text("apps.id")).collect();
                self.errors.push(ConfigError::WhichApp { origin, ids });
            }
        }
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        let Config { server, apps, .. } = &mut self.config;
        apps.iter_mut().for_each(|app| compat::lay_defaults(app, server));
        let body_bytes = self.config.server.size("limits.body_bytes");
        self.errors.extend(self.config.development_secrets());
        for app in &self.config.apps {
            let (id, secret) = (app.text("apps.id"), app.text("apps.secret"));
            if app.size("apps.max_body_bytes") > body_bytes {
                self.config.notes.push(format!(
                    "app {id} takes longer bodies than the server, whose limits.body_bytes is {body_bytes}; the shorter limit counts"
                ));
            }
            if secret == DEVELOPMENT_SECRET && app.text("apps.key") != "app-key" {
                self.config.notes.push(format!(
                    "app {id} has a key of its own and the development secret: is the variable of its secret missing?"
                ));
            }
            if !id.bytes().all(|byte| byte.is_ascii_digit()) {
                self.config.notes.push(format!(
                    "app id `{id}` is not a number; the Pusher SDK for Python refuses it"
                ));
            }
        }
        if self.errors.is_empty() { Ok(self.config) } else { Err(ConfigErrors(self.errors)) }
    }
}

/// For fuzzers: a value that a setting takes is taken again as it is shown; what variables and flags make together either
/// stands, and then every room's options can be made of it, or is refused with reasons. Each line is a variable of the
/// `.env`, of the process or, with dashes before it, a flag: `NAME=value`. A text of many lines says no more than one of a
/// few, and takes as much longer, for each unknown name is compared with all that are known.
#[cfg(any(test, fuzzing))]
pub fn fuzz_values(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if text.len() > 400 {
        return;
    }
    let mut layers = Layers::new();
    layers.add_variables(environment::read_dotenv(Path::new(".env"), text, &BTreeMap::new()));
    let pairs = || text.lines().filter_map(|line| line.split_once('='));
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let (flags, variables): (Vec<_>, Vec<_>) =
        pairs().partition(|(name, _)| name.starts_with("--"));
    layers.add_variables(environment::read_process(&variables.into_iter().map(own).collect()));
    let flag = |(flag, value): (&str, &str)| {
        let name = flag.trim_start_matches('-').to_owned();
        Flag { flag: flag.to_owned(), name, value: value.to_owned() }
    };
    layers.add_flags(&flags.into_iter().map(flag).collect::<Vec<_>>());
    match layers.finish() {
        Ok(config) => {
            for (key, setting) in
                config.server.iter().chain(config.apps.iter().flat_map(Settings::iter))
            {
                let shown = match &setting.value {
                    value::Value::Absent if key.kind == value::Kind::Auto => "auto".to_owned(),
                    value::Value::Text(text) => text.clone(),
                    value => value.to_string(),
                };
                assert_eq!(key.kind.read(&shown).as_ref(), Ok(&setting.value), "{}", key.name);
            }
            let _ = (config.engine_options(), config.pusher_options(), config.webhook_options());
            assert_eq!(config.apps().len(), config.app_settings().len());
            assert!(config.is_loopback() || !config.is_development());
        }
        Err(errors) => {
            assert!(
                !errors.0.is_empty() && errors.0.iter().all(|error| !error.to_string().is_empty())
            );
        }
    }
}

#[cfg(test)]
mod tests;

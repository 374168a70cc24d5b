//! The one place where rooms meet: settings in, a bound server out.
//!
//! ```text
//!  Config ─┬─▶ Apps, pusher::Options ─▶ Pusher ◀─ Dashboard (if it is served)
//!          ├─▶ webhook targets ─▶ Webhooks, told by Pusher and Directory
//!          └─▶ engine Options ─▶ Server::bind_with ─▶ run_with: one Pusher and one Directory per core
//!
//!  Config again ─▶ Reloader ─▶ Apps, for each core; then every connection is reviewed
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use crate::config::{Changes, Config, ConfigErrors};
use crate::dashboard::{self, Dashboard};
use crate::pusher::{self, Apps, AppsError, Directory, Incoming, Pusher, Reload};
use crate::server::{Reviewer, Server, Stopper};
use crate::webhooks::Webhooks;

/// The Pusher server, bound and not running yet.
#[derive(Debug)]
pub struct App {
    server: Server,
    apps: Arc<Apps>,
    /// Where each core finds other apps, if they can be reloaded.
    incoming: Vec<Incoming>,
    pusher: Arc<pusher::Options>,
    dashboard: Arc<dashboard::Options>,
    webhooks: Webhooks,
}

impl App {
    /// Builds everything and binds.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let apps = Arc::new(apps(config)?);
        let (host, port) = (config.host(), config.port());
        let server = Server::bind_with((host.as_str(), port), config.engine_options())
            .map_err(|error| StartError::from_engine(host, port, error))?;
        let dashboard = Arc::new(dashboard::Options {
            is_served: Arc::new(AtomicBool::new(config.has_dashboard())),
            path_prefix: config.path(),
            trust: if config.is_loopback() {
                dashboard::Trust::Loopback
            } else {
                dashboard::Trust::Anybody
            },
            now: unix_seconds,
        });
        let (options, targets) = (config.webhook_options(), config.webhook_targets());
        let webhooks = Webhooks::start(options, targets, server.metrics())
            .map_err(|error| StartError::Invalid { error })?;
        let pusher = Arc::new(config.pusher_options());
        Ok(Self { server, apps, incoming: Vec::new(), pusher, dashboard, webhooks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// On how many cores it will run.
    pub fn cores(&self) -> usize {
        self.server.cores()
    }

    /// Stops it from another thread.
    pub fn stopper(&self) -> Stopper {
        self.server.stopper()
    }

    /// Gives it other apps from another thread, while it runs. `config` is what it was made of. A second reloader
    /// takes the place of the first.
    pub fn reloader(&mut self, config: &Config) -> Reloader {
        let (apps, incoming) = Reload::new(Arc::clone(&self.apps), self.server.cores());
        self.incoming = incoming;
        Reloader {
            config: config.clone(),
            topics: config.engine_options().subscriptions,
            apps,
            is_page_served: Arc::clone(&self.dashboard.is_served),
            reviewer: self.server.reviewer(),
            webhooks: self.webhooks.clone(),
        }
    }

    /// Runs until it is stopped.
    pub fn run(self) -> io::Result<()> {
        let Self { server, apps, incoming, pusher, dashboard, webhooks } = self;
        let observer = webhooks.clone();
        let result = server.run_with(move |core| {
            let handler = Pusher::new(Arc::clone(&apps), Arc::clone(&pusher))
                .with_pages(Box::new(Dashboard::new(Arc::clone(&dashboard))))
                .with_observer(Box::new(observer.clone()));
            let handler = match incoming.get(core) {
                Some(incoming) => handler.with_incoming(incoming.clone()),
                None => handler,
            };
            let directory = Directory::new(Arc::clone(&apps), &pusher);
            (handler, directory.with_observer(Box::new(observer.clone())))
        });
        webhooks.stop();
        result
    }
}

/// Gives a running server other apps.
#[derive(Debug)]
pub struct Reloader {
    /// In force.
    config: Config,
    /// On how many topics a connection may be, whatever its app says: the cores were started so.
    topics: usize,
    apps: Reload,
    is_page_served: Arc<AtomicBool>,
    reviewer: Reviewer,
    webhooks: Webhooks,
}

impl Reloader {
    /// Puts the apps of these settings in force, and keeps what only a restart can change. Tells what is not as it was.
    ///
    /// # Errors
    ///
    /// What is wrong with them; then nothing has changed.
    pub fn reload(&mut self, fresh: &Config) -> Result<Changes, ReloadError> {
        let (config, mut changes) = self.config.reloaded(fresh).map_err(ReloadError::Settings)?;
        self.apps.replace(config.apps()).map_err(ReloadError::Apps)?;
        if config.engine_options().subscriptions > self.topics {
            changes.at_restart.push("apps.max_subscriptions");
        }
        self.config = config;
        self.put_in_force();
        Ok(changes)
    }

    /// All rooms that know something of the apps are told here. The cores last: what their connections are told may
    /// bring clients back, who must find everything new.
    fn put_in_force(&self) {
        self.is_page_served.store(self.config.has_dashboard(), Ordering::Relaxed);
        self.webhooks.replace(self.config.webhook_targets());
        self.reviewer.review();
    }
}

/// Why other settings were not taken over.
#[derive(Debug)]
pub enum ReloadError {
    /// The apps cannot be served together.
    Apps(AppsError),
    /// They do not fit the server as it was started.
    Settings(ConfigErrors),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apps(error) => write!(f, "{error}"),
            Self::Settings(errors) => write!(f, "{errors}"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// The apps of the settings, checked against each other.
pub fn apps(config: &Config) -> Result<Apps, StartError> {
    Apps::new(config.apps()).map_err(StartError::Apps)
}

/// Seconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock enters the program here and is an argument everywhere else"
)]
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Why the server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The apps cannot be served together.
    Apps(AppsError),
    /// The address cannot be listened on.
    Bind {
        /// The host of the settings.
        host: String,
        /// The port of the settings.
        port: u16,
        /// What the system says.
        error: io::Error,
    },
    /// The engine does not take an option, or the address.
    Invalid {
        /// What it says.
        error: io::Error,
    },
}

impl StartError {
    /// An option that is out of its range has nothing to do with the address.
    fn from_engine(host: String, port: u16, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput => Self::Invalid { error },
            _ => Self::Bind { host, port, error },
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apps(error) => write!(f, "{error}"),
            Self::Invalid { error } => write!(f, "cannot start: {error}"),
            Self::Bind { host, port, error } => {
                write!(f, "cannot listen on {host}:{port}: ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "another program listens there; stop it, or choose another port with --port (0 takes a free one)"
                    ),
                    io::ErrorKind::AddrNotAvailable => {
                        write!(
                            f,
                            "this machine does not have that address; --host 0.0.0.0 means all it has"
                        )
                    }
                    io::ErrorKind::PermissionDenied => {
                        write!(
                            f,
                            "the system does not allow it; ports below 1024 need a privilege, choose another with --port"
                        )
                    }
                    _ => write!(f, "{error}"),
                }
            }
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: io::ErrorKind, expected: &str) {
        let error = StartError::Bind { host: "127.0.0.1".to_owned(), port: 80, error: kind.into() };
        let text = error.to_string();
        assert!(
            text.starts_with("cannot listen on 127.0.0.1:80: ") && text.contains(expected),
            "{text}"
        );
    }

    #[test]
    fn an_option_out_of_its_range_is_not_blamed_on_the_address() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "cores is 999");
        let error = StartError::from_engine("127.0.0.1".to_owned(), 80, error);
        assert_eq!(error.to_string(), "cannot start: cores is 999");
    }

    #[test]
    fn an_address_that_cannot_be_had_says_what_to_do() {
        check(io::ErrorKind::AddrInUse, "--port");
        check(io::ErrorKind::AddrNotAvailable, "--host 0.0.0.0");
        check(io::ErrorKind::PermissionDenied, "below 1024");
    }
}

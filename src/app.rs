//! The one place where rooms meet: settings in, a bound server out.
//!
//! ```text
//!  Config ─┬─▶ Apps, pusher::Options ─▶ Pusher ◀─ Dashboard (if it is served)
//!          └─▶ engine Options ─▶ Server::bind_with ─▶ run_with: one Pusher and one Directory per core
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::config::Config;
use crate::dashboard::{self, Dashboard};
use crate::pusher::{self, Apps, AppsError, Directory, Pusher};
use crate::server::{Server, Stopper};

/// The Pusher server, bound and not running yet.
#[derive(Debug)]
pub struct App {
    server: Server,
    apps: Arc<Apps>,
    pusher: Arc<pusher::Options>,
    dashboard: Option<Arc<dashboard::Options>>,
}

impl App {
    /// Builds everything and binds.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let apps = Arc::new(apps(config)?);
        let (host, port) = (config.host(), config.port());
        let server = Server::bind_with((host.as_str(), port), config.engine_options())
            .map_err(|error| StartError::from_engine(host, port, error))?;
        let dashboard = config.has_dashboard().then(|| {
            let trust = if config.is_loopback() {
                dashboard::Trust::Loopback
            } else {
                dashboard::Trust::Anybody
            };
            let path_prefix = config.path();
            Arc::new(dashboard::Options {
                apps: Arc::clone(&apps),
                path_prefix,
                trust,
                now: unix_seconds,
            })
        });
        Ok(Self { server, apps, pusher: Arc::new(config.pusher_options()), dashboard })
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

    /// Runs until it is stopped.
    pub fn run(self) -> io::Result<()> {
        let Self { server, apps, pusher, dashboard } = self;
        server.run_with(move |_core| {
            let handler = Pusher::new(Arc::clone(&apps), Arc::clone(&pusher));
            let handler = match &dashboard {
                Some(options) => handler.with_pages(Box::new(Dashboard::new(Arc::clone(options)))),
                None => handler,
            };
            (handler, Directory::new(Arc::clone(&apps), &pusher))
        })
    }
}

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

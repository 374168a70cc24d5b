//! What can be wrong with settings. Each error says where it stands, what was got and what is allowed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::settings::Origin;

/// One mistake in the settings.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The well-known secret on an address that others can reach.
    DevelopmentSecret {
        /// The address to listen on.
        host: String,
        /// The app that has it.
        app: String,
    },
    /// A file that a running server was started with, and that is not there now.
    Gone {
        /// Its path.
        path: PathBuf,
    },
    /// A value of the wrong type or outside its range.
    Invalid {
        /// The setting.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// The value; hidden if it is a secret.
        got: String,
        /// What would be right.
        allowed: String,
    },
    /// An `[[apps]]` without something that only its owner can know.
    Missing {
        /// The field.
        field: &'static str,
        /// Where the app stands.
        origin: Origin,
    },
    /// A file that is not in the shape it should be.
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// A key that nobody knows.
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// What it is part of: `in [server]`.
        place: String,
        /// The key.
        got: String,
        /// The known key that is most like it.
        nearest: Option<&'static str>,
    },
    /// A file that cannot be read.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A variable or a flag speaks of the app, and the file has several.
    WhichApp {
        /// Where it came from.
        origin: Origin,
        /// The ids of the apps in the file.
        ids: Vec<String>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DevelopmentSecret { host, app } => write!(
                f,
                "app {app} has the development secret, which everybody knows; with it Stentor listens on loopback \
                 addresses only, not on {host}: run `stentor secret` for an app of your own"
            ),
            Self::Gone { path } => write!(
                f,
                "{}: it was read at the start and is gone; put it back, or restart to do without it",
                path.display()
            ),
            Self::Invalid { key, origin, got, allowed } => {
                write!(f, "{origin}: {key} is {got}; allowed is {allowed}")
            }
            Self::Missing { field, origin } => {
                write!(
                    f,
                    "{origin}: this [[apps]] has no `{field}`; `stentor secret` prints a complete one"
                )
            }
            Self::Syntax { origin, message } => write!(f, "{origin}: {message}"),
            Self::Unknown { origin, place, got, nearest } => {
                write!(f, "{origin}: unknown key `{got}` {place}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => write!(f, "; docs/reference/config.md lists all keys"),
                }
            }
            Self::Unreadable { path, error } => {
                write!(f, "{}: cannot be read: {error}", path.display())
            }
            Self::WhichApp { origin, ids } => write!(
                f,
                "{origin}: which app is meant? The file lists {}; name one by STENTOR_APP_ID or --set apps.id=…",
                ids.join(", ")
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes that were found, so that one run shows them all.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

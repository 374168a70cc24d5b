//! Settings in force, each with the place it came from. Later layers win.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::keys::{KEYS, Key};
use super::value::Value;
use crate::webhooks::Target;

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody said; `apps.compat` is that word.
    Compat(&'static str),
    /// Nobody said.
    Default,
    /// A line of a file: the `.env` or the TOML file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, beginning at 1.
        line: usize,
    },
    /// A flag, as typed.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compat(word) => write!(f, "compat {word}"),
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// One setting that a layer makes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) setting: Setting,
}

/// One webhook of an app and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Where it goes. The id, the key and the secret of its app are empty.
    pub target: Target,
    /// Where it stands.
    pub origin: Origin,
}

/// The settings of the server, or of one app. Every key of its part is there.
#[derive(Clone, Debug)]
pub struct Settings {
    entries: BTreeMap<&'static str, Setting>,
    webhooks: Vec<Webhook>,
}

impl Settings {
    /// The defaults of the server's keys, or of an app's.
    pub(super) fn defaults(of_app: bool) -> Self {
        let entries = KEYS.iter().filter(|key| key.is_of_app() == of_app).map(|key| {
            let value = key.kind.read(key.default).expect("a test reads every default");
            (key.name, Setting { value, origin: Origin::Default })
        });
        Self { entries: entries.collect(), webhooks: Vec::new() }
    }

    pub(super) fn set(&mut self, entry: Entry) {
        self.entries.insert(entry.key.name, entry.setting);
    }

    /// Gives a setting of which nobody has said anything another default.
    pub(super) fn set_default(&mut self, name: &'static str, setting: Setting) {
        if self.get(name).origin == Origin::Default && self.get(name).value != setting.value {
            self.entries.insert(name, setting);
        }
    }

    /// Takes one setting over from others of the same part.
    pub(super) fn take(&mut self, name: &'static str, from: &Self) {
        self.entries.insert(name, from.get(name).clone());
    }

    /// The names of the settings whose values differ, wherever they came from, in the order of the table.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let differs = |(key, setting): &(&'static Key, &Setting)| {
            other.entries.get(key.name).map(|other| &other.value) != Some(&setting.value)
        };
        self.iter().filter(differs).map(|(key, _)| key.name)
    }

    /// The webhooks of an app; the server has none.
    pub fn webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }

    pub(super) fn set_webhooks(&mut self, webhooks: Vec<Webhook>) {
        self.webhooks = webhooks;
    }

    /// The setting of that name, which must be one of this part.
    pub fn get(&self, name: &str) -> &Setting {
        self.entries.get(name).expect("every key of the table has a default")
    }

    /// All settings with their keys, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &Setting)> + '_ {
        KEYS.iter().filter_map(|key| Some((key, self.entries.get(key.name)?)))
    }

    pub(super) fn text(&self, name: &str) -> String {
        match &self.get(name).value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// `None` if it is absent.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name).value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A number that its kind bounds and that is never absent.
    pub(super) fn size(&self, name: &str) -> usize {
        self.number(name).and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
    }

    /// `None` if it is absent.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        match self.get(name).value {
            Value::Switch(on) => Some(on),
            _ => None,
        }
    }
}

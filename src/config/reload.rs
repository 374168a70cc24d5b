//! Other settings for a server that runs: what holds from now on, what is checked again, what has changed.
//!
//! ```text
//!   in force ┐
//!            ├─▶ reloaded ─▶ the apps and `dashboard.enabled` of the fresh ones, the rest of those in force
//!   fresh ───┘         └───▶ Changes: apps that came, went, differ; settings that wait for a restart. Never a value.
//! ```

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::settings::Settings;
use super::{Config, ConfigError, ConfigErrors};

/// The one setting of the server that holds at once.
const AT_ONCE: &str = "dashboard.enabled";

/// How many apps one line names of each sort; the others are counted.
const NAMED: usize = 20;

/// What differs between two settings. Names alone: a secret that has changed is still a secret.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Ids of apps that came.
    pub added: Vec<String>,
    /// Ids of apps that went.
    pub removed: Vec<String>,
    /// Ids of apps that differ, each with the names of its settings that do.
    pub changed: Vec<(String, Vec<&'static str>)>,
    /// Settings of the server that hold from here on.
    pub at_once: Vec<&'static str>,
    /// Settings of the server that hold from the next start on.
    pub at_restart: Vec<&'static str>,
}

impl Config {
    /// What is in force once the fresh settings were loaded into a server that was started with these.
    ///
    /// # Errors
    ///
    /// A file that was read at the start and is gone, for without it the apps would be others. A development secret, and an
    /// address in force that others can reach: what the fresh settings say of the address
    /// counts from the next start on.
    pub fn reloaded(&self, fresh: &Self) -> Result<(Self, Changes), ConfigErrors> {
        let mut after = Self { apps: fresh.apps.clone(), ..self.clone() };
        after.notes.clone_from(&fresh.notes);
        after.server.take(AT_ONCE, &fresh.server);
        let is_gone = |path: &&PathBuf| !fresh.files.contains(path);
        let gone = self.files.iter().filter(is_gone);
        let gone = gone.map(|path| ConfigError::Gone { path: path.clone() });
        let errors: Vec<ConfigError> = gone.chain(after.development_secrets()).collect();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let changes = Changes::between(self, fresh);
        Ok((after, changes))
    }
}

impl Changes {
    fn between(before: &Config, after: &Config) -> Self {
        let (at_once, at_restart) =
            before.server.differing(&after.server).partition(|name| *name == AT_ONCE);
        let (old, new) = (by_id(&before.apps), by_id(&after.apps));
        let ids = |apps: &[Settings], others: &HashMap<String, &Settings>| {
            let ids = apps.iter().map(|app| app.text("apps.id"));
            ids.filter(|id| !others.contains_key(id)).collect()
        };
        let changed = after.apps.iter().filter_map(|app| {
            let id = app.text("apps.id");
            let before = old.get(&id)?;
            let mut names: Vec<_> = before.differing(app).map(field).collect();
            let targets = |app: &Settings| -> Vec<_> {
                app.webhooks().iter().map(|webhook| webhook.target.clone()).collect()
            };
            if targets(before) != targets(app) {
                names.push("webhooks");
            }
            (!names.is_empty()).then_some((id, names))
        });
        Self {
            added: ids(&after.apps, &old),
            removed: ids(&before.apps, &new),
            changed: changed.collect(),
            at_once,
            at_restart,
        }
    }
}

fn by_id(apps: &[Settings]) -> HashMap<String, &Settings> {
    apps.iter().map(|app| (app.text("apps.id"), app)).collect()
}

fn field(name: &'static str) -> &'static str {
    name.strip_prefix("apps.").unwrap_or(name)
}

/// One line: `added 3; removed 2; changed 1 (key, secret)`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.changed.iter().map(|(id, names)| format!("{id} ({})", names.join(", ")));
        let parts = [
            listed("added app", &self.added),
            listed("removed app", &self.removed),
            listed("changed app", &changed.collect::<Vec<_>>()),
            listed("changed", &self.at_once),
            listed("waiting for a restart:", &self.at_restart),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return f.write_str("nothing has changed");
        }
        f.write_str(&parts.join("; "))
    }
}

fn listed(what: &str, names: &[impl AsRef<str>]) -> Option<String> {
    let named: Vec<_> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = names.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("{what} {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::{Flag, Sources};
    use super::*;

    fn flag(name: &str, value: &str) -> Flag {
        Flag { flag: "--set".to_owned(), name: name.to_owned(), value: value.to_owned() }
    }

    /// The settings of a file and of flags.
    fn config(apps: &[(&str, &str)], flags: &[(&str, &str)]) -> Config {
        let flags = flags.iter().map(|(name, value)| flag(name, value)).collect();
        let sources = Sources { directory: "/nowhere".into(), flags, ..Sources::default() };
        let mut config = Config::load(&sources).unwrap();
        let app = |(id, secret): &(&str, &str)| {
            let flags = [("apps.id", *id), ("apps.key", *id), ("apps.secret", *secret)];
            let flags = flags.map(|(name, value)| flag(name, value)).to_vec();
            let directory = "/nowhere".into();
            Config::load(&Sources { directory, flags, ..Sources::default() })
                .unwrap()
                .apps
                .remove(0)
        };
        config.apps = apps.iter().map(app).collect();
        config
    }

    fn check(before: &Config, after: &Config, expected: &str) {
        assert_eq!(before.reloaded(after).unwrap().1.to_string(), expected);
    }

    #[test]
    fn apps_that_came_went_and_differ_are_named_without_their_secrets() {
        let before = config(&[("1", "a"), ("2", "a")], &[]);
        check(&before, &before, "nothing has changed");
        let after = config(&[("3", "a"), ("1", "hush")], &[]);
        check(&before, &after, "added app 3; removed app 2; changed app 1 (secret)");
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let before = config(&[("1", "a")], &[]);
        let ids: Vec<String> = (1..=23).map(|id| id.to_string()).collect();
        let apps: Vec<_> = ids.iter().map(|id| (id.as_str(), "a")).collect();
        let text = before.reloaded(&config(&apps, &[])).unwrap().1.to_string();
        assert!(
            text.starts_with("added app 2, 3, ") && text.ends_with(", 21 and 2 more"),
            "{text}"
        );
    }

    #[test]
    fn what_the_engine_was_started_with_stays_and_is_said_to_wait() {
        let before = config(&[("1", "a")], &[]);
        let flags = [("server.port", "9"), ("limits.keep_alive", "7"), ("dashboard.enabled", "on")];
        let after = config(&[("1", "b")], &flags);
        check(
            &before,
            &after,
            "changed app 1 (secret); changed dashboard.enabled; \
             waiting for a restart: server.port, limits.keep_alive",
        );
        let (in_force, _) = before.reloaded(&after).unwrap();
        assert_eq!((in_force.port(), in_force.has_dashboard()), (before.port(), true));
        assert_eq!(&*in_force.apps()[0].secret, "b");
    }

    #[test]
    fn a_development_secret_is_judged_by_the_address_in_force() {
        let public = config(&[("1", "a")], &[("apps.secret", "a"), ("server.host", "0.0.0.0")]);
        let local = config(&[("1", super::super::DEVELOPMENT_SECRET)], &[]);
        let error = public.reloaded(&local).unwrap_err().to_string();
        assert!(error.contains("not on 0.0.0.0"), "{error}");
    }
}

//! Variables: those of the process, and those of a Laravel `.env`. The only file that reads the process environment.

use std::collections::BTreeMap;
use std::path::Path;

use super::dotenv;
use super::error::ConfigError;
use super::file::shown;
use super::keys::{KEYS, Key, REVERB_CLIENT_EVENTS, REVERB_OF_THE_APPLICATION, REVERB_UNUSED};
use super::nearest::nearest;
use super::settings::{Entry, Origin, Setting};

/// What some variables say.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) server: Vec<Entry>,
    pub(super) app: Vec<Entry>,
    pub(super) notes: Vec<String>,
    pub(super) errors: Vec<ConfigError>,
}

/// The variables of this process. One that is not UTF-8 cannot be ours.
pub(super) fn of_process() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads the variables of a process.
pub(super) fn read_process(environment: &BTreeMap<String, String>) -> Variables {
    let mut variables = Variables::default();
    // Our own names after Reverb's: where both are set, ours wins.
    let ours = |name: &&String| name.starts_with("STENTOR_");
    let (last, first): (Vec<_>, Vec<_>) = environment.keys().partition(ours);
    for name in first.into_iter().chain(last) {
        variables.read(name, &environment[name], &Origin::Variable(name.clone()));
    }
    variables
}

/// Reads the `REVERB_` lines of a `.env`.
pub(super) fn read_dotenv(
    path: &Path,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Variables {
    let mut variables = Variables::default();
    let origin = |line| Origin::File { path: path.to_owned(), line };
    let (assignments, errors) = dotenv::parse(text, |name| environment.get(name).cloned());
    for assignment in assignments.iter().filter(|assignment| assignment.name.starts_with("REVERB_"))
    {
        variables.read(&assignment.name, &assignment.value, &origin(assignment.line));
    }
    for error in errors {
        let message = error.message.to_owned();
        variables.errors.push(ConfigError::Syntax { origin: origin(error.line), message });
    }
    variables
}

impl Variables {
    fn read(&mut self, name: &str, value: &str, origin: &Origin) {
        // Laravel's own `.env.example` leaves variables empty: that is to say nothing.
        if value.trim().is_empty() || is_service_link(name, value) {
            return;
        }
        if name == REVERB_CLIENT_EVENTS {
            return self.set_client_events(value, origin);
        }
        let key = KEYS.iter().find(|key| key.reverb == Some(name) || key.variable() == name);
        match key {
            Some(key) => self.set(key, value, origin),
            None => self.note(name, value, origin),
        }
    }

    fn set(&mut self, key: &'static Key, value: &str, origin: &Origin) {
        match entry(key, value, origin.clone()) {
            Ok(entry) if key.is_of_app() => self.app.push(entry),
            Ok(entry) => self.server.push(entry),
            Err(error) => self.errors.push(error),
        }
    }

    /// `members` is what Stentor does; to Reverb any other word but `all` means nobody. What `all` adds is never done:
    /// whoever is not on a channel could forge what its members read.
    fn set_client_events(&mut self, value: &str, origin: &Origin) {
        let Some(key) = Key::named("apps.client_events") else { return };
        let from = value.trim();
        if from == "all" {
            self.notes.push(format!(
                "{origin}: {REVERB_CLIENT_EVENTS}=all lets clients send to channels that they are not on, which Stentor \
                 never does; it is taken for `members`"
            ));
        }
        self.set(key, if matches!(from, "all" | "members") { "true" } else { "false" }, origin);
    }

    /// A variable that sets nothing: worth a word if it looks as if it did.
    fn note(&mut self, name: &str, value: &str, origin: &Origin) {
        if REVERB_OF_THE_APPLICATION.contains(&name) {
            self.notes.push(format!(
                "{origin}: {name}={value} tells your application where to publish, not Stentor where to listen; \
                 that is REVERB_SERVER_HOST and REVERB_SERVER_PORT"
            ));
        } else if REVERB_UNUSED.contains(&name) {
            self.notes.push(format!(
                "{origin}: {name} is a setting of Reverb that Stentor does not use yet"
            ));
        } else if name.starts_with("REVERB_")
            || (name.starts_with("STENTOR_") && name != "STENTOR_CONFIG")
        {
            let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
            let known =
                known.iter().map(String::as_str).chain(KEYS.iter().filter_map(|key| key.reverb));
            let guess = nearest(name, known)
                .map(|name| format!("; did you mean {name}?"))
                .unwrap_or_default();
            self.notes.push(format!("{origin}: {name} is not known and changes nothing{guess}"));
        }
    }
}

/// Kubernetes tells every container of a service called `stentor` its address in variables like ours:
/// `STENTOR_PORT=tcp://10.0.0.1:8080`. They are not settings.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_of_service = name.starts_with("STENTOR_SERVICE_") || name.starts_with("STENTOR_PORT_");
    is_of_service || (name == "STENTOR_PORT" && value.contains("://"))
}

/// Reads one value from text.
pub(super) fn entry(key: &'static Key, value: &str, origin: Origin) -> Result<Entry, ConfigError> {
    match key.kind.read(value) {
        Ok(value) => Ok(Entry { key, setting: Setting { value, origin } }),
        Err(_) => Err(ConfigError::Invalid {
            key: key.name,
            origin,
            got: shown(key, &format!("{value:?}")),
            allowed: key.kind.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Variables {
        read_process(
            &variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    fn check_notes(variables: &[(&str, &str)], expected: &[&str]) {
        let got = read(variables);
        assert_eq!(got.notes, expected);
        assert!(got.server.is_empty() && got.app.is_empty() && got.errors.is_empty());
    }

    #[test]
    fn every_variable_sets_its_key() {
        for key in KEYS {
            for name in std::iter::once(key.variable()).chain(key.reverb.map(str::to_owned)) {
                let default = if key.default.is_empty() { "/x" } else { key.default };
                let got = read(&[(&name, default)]);
                let entries: Vec<_> = got.server.iter().chain(&got.app).collect();
                assert_eq!(entries.len(), 1, "{name}");
                assert_eq!(
                    (entries[0].key.name, got.app.len()),
                    (key.name, usize::from(key.is_of_app()))
                );
                assert_eq!(entries[0].setting.origin.to_string(), format!("variable {name}"));
            }
        }
    }

    #[test]
    fn our_own_name_wins_over_reverbs() {
        let got = read(&[("REVERB_SERVER_PORT", "1"), ("STENTOR_PORT", "2")]);
        assert_eq!(got.server.last().unwrap().setting.value.to_string(), "2");
    }

    #[test]
    fn where_the_application_publishes_is_not_where_we_listen() {
        check_notes(
            &[("REVERB_HOST", "ws.example.com")],
            &[
                "variable REVERB_HOST: REVERB_HOST=ws.example.com tells your application where to publish, not Stentor \
             where to listen; that is REVERB_SERVER_HOST and REVERB_SERVER_PORT",
            ],
        );
    }

    #[test]
    fn settings_of_reverb_that_do_nothing_are_reported() {
        for name in REVERB_UNUSED {
            let expected = format!(
                "variable {name}: {name} is a setting of Reverb that Stentor does not use yet"
            );
            check_notes(&[(name, "1")], &[&expected]);
        }
    }

    #[test]
    fn client_events_are_taken_from_members_even_if_all_are_named() {
        for (from, expected, notes) in
            [("members", true, 0), ("none", false, 0), ("false", false, 0), ("all", true, 1)]
        {
            let got = read(&[(REVERB_CLIENT_EVENTS, from)]);
            assert_eq!(got.app[0].key.name, "apps.client_events");
            assert_eq!(got.app[0].setting.value.to_string(), expected.to_string(), "{from}");
            assert_eq!((got.notes.len(), got.errors.len()), (notes, 0), "{from}");
        }
        assert!(read(&[(REVERB_CLIENT_EVENTS, "")]).app.is_empty());
    }

    #[test]
    fn a_misspelled_variable_is_reported_with_its_nearest() {
        check_notes(
            &[("STENTOR_PROT", "1")],
            &[
                "variable STENTOR_PROT: STENTOR_PROT is not known and changes nothing; did you mean STENTOR_PORT?",
            ],
        );
    }

    #[test]
    fn variables_of_others_and_empty_ones_say_nothing() {
        check_notes(
            &[("HOME", "/"), ("REVERB_APP_KEY", ""), ("STENTOR_CONFIG", "x"), ("REDIS_HOST", "r")],
            &[],
        );
    }

    #[test]
    fn service_links_of_kubernetes_are_no_settings() {
        check_notes(
            &[
                ("STENTOR_PORT", "tcp://10.0.0.1:80"),
                ("STENTOR_PORT_80_TCP", "x"),
                ("STENTOR_SERVICE_HOST", "y"),
            ],
            &[],
        );
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let error = read(&[("STENTOR_PORT", "http")]).errors.remove(0).to_string();
        assert_eq!(
            error,
            "variable STENTOR_PORT: server.port is \"http\"; allowed is a number from 0 to 65535"
        );
    }

    #[test]
    fn a_dotenv_gives_only_its_reverb_lines_with_their_places() {
        let text = "APP_KEY=x\nSTENTOR_PORT=1\nREVERB_SERVER_PORT=9000\nREVERB_APP_ID=\"7\"\n";
        let got = read_dotenv(Path::new(".env"), text, &BTreeMap::new());
        let origins: Vec<_> = got
            .server
            .iter()
            .chain(&got.app)
            .map(|entry| entry.setting.origin.to_string())
            .collect();
        assert_eq!((origins, got.notes.len()), (vec![".env:3".to_owned(), ".env:4".to_owned()], 0));
    }
}

//! The settings file, in TOML: text in, settings with their lines out. Pure.
//!
//! ```toml
//! [server]
//! port = 8080
//! [limits]
//! outbox_bytes = "1 MiB"
//! [[apps]]
//! id = "1"
//! key = "…"
//! secret = "…"
//! [[apps.webhooks]]
//! url = "https://example.com/webhooks"
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::{KEYS, Key};
use super::nearest::nearest;
use super::settings::{Entry, Origin, Setting, Webhook};
use super::webhooks;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) server: Vec<Entry>,
    /// `None` if it says nothing about apps.
    pub(super) apps: Option<Vec<FileApp>>,
    pub(super) errors: Vec<ConfigError>,
}

/// What a file says about one app.
#[derive(Debug)]
pub(super) struct FileApp {
    pub(super) entries: Vec<Entry>,
    pub(super) webhooks: Vec<Webhook>,
}

/// Reads a file's text. Everything wrong is found, not just the first.
pub(super) fn parse(path: &Path, text: &str) -> File {
    let mut reader = Reader { path, text, file: File::default() };
    match DeTable::parse(text) {
        Ok(tables) => reader.read_tables(tables.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().to_owned();
            reader.file.errors.push(ConfigError::Syntax { origin: reader.origin(at), message });
        }
    }
    reader.file
}

/// Where a file is read. What is wrong with it is gathered here.
pub(super) struct Reader<'f> {
    path: &'f Path,
    pub(super) text: &'f str,
    pub(super) file: File,
}

impl Reader<'_> {
    pub(super) fn origin(&self, at: usize) -> Origin {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }

    fn read_tables(&mut self, tables: &DeTable<'_>) {
        for (name, value) in tables {
            let at = name.span().start;
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("apps", DeValue::Array(apps)) => self.read_apps(apps.iter(), at),
                ("apps", _) => {
                    self.wrong_shape(at, "`apps` is a list: write [[apps]] before each app")
                }
                (table, DeValue::Table(fields)) if table_names().contains(table) => {
                    let entries = self.read_fields(table, fields);
                    self.file.server.extend(entries);
                }
                ("webhooks", DeValue::Array(_)) => self.wrong_shape(
                    at,
                    "[webhooks] is one table, for all apps; a target stands behind its app, as [[apps.webhooks]]",
                ),
                (table, _) if table_names().contains(table) => {
                    let message = format!("write it as a table, [{table}], with its keys below");
                    self.wrong_shape(at, &message);
                }
                (unknown, _) => self.unknown_at_top(unknown, at),
            }
        }
    }

    fn read_apps<'v, 'i: 'v>(
        &mut self,
        apps: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
        at: usize,
    ) {
        let mut list = Vec::new();
        for app in apps {
            let at = app.span().start;
            let DeValue::Table(fields) = app.get_ref() else {
                self.wrong_shape(at, "`apps` is a list of tables: write [[apps]] before each app");
                continue;
            };
            let webhooks = fields.iter().find(|(name, _)| name.get_ref() == webhooks::TABLE);
            let webhooks = webhooks.map(|(_, list)| webhooks::read(self, list));
            let entries = self.read_fields("apps", fields);
            for field in ["id", "key", "secret"] {
                if !fields.iter().any(|(name, _)| name.get_ref() == field) {
                    self.file.errors.push(ConfigError::Missing { field, origin: self.origin(at) });
                }
            }
            list.push(FileApp { entries, webhooks: webhooks.unwrap_or_default() });
        }
        if list.is_empty() && self.file.errors.is_empty() {
            self.wrong_shape(
                at,
                "`apps` is empty; leave it out for the development app, or list one",
            );
        }
        self.file.apps = Some(list);
    }

    fn read_fields(&mut self, table: &str, fields: &DeTable<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, value) in fields {
            if table == "apps" && name.get_ref() == webhooks::TABLE {
                continue;
            }
            let origin = self.origin(name.span().start);
            let Some(key) = Key::named(&format!("{table}.{}", name.get_ref())) else {
                self.unknown_in_table(table, name.get_ref(), origin);
                continue;
            };
            match key.kind.read_toml(value.get_ref()) {
                Ok(value) => entries.push(Entry { key, setting: Setting { value, origin } }),
                Err(_) => self.file.errors.push(ConfigError::Invalid {
                    key: key.name,
                    origin,
                    got: shown(key, self.text.get(value.span()).unwrap_or("?")),
                    allowed: key.kind.to_string(),
                }),
            }
        }
        entries
    }

    pub(super) fn wrong_shape(&mut self, at: usize, message: &str) {
        self.file
            .errors
            .push(ConfigError::Syntax { origin: self.origin(at), message: message.to_owned() });
    }

    /// Someone who forgot the table has written `port = 8080` at the top: that name is known too.
    fn unknown_at_top(&mut self, got: &str, at: usize) {
        let tables = table_names();
        let nearest = KEYS
            .iter()
            .find(|key| key.field() == got)
            .map(|key| key.name)
            .or_else(|| nearest(got, tables.iter().copied()));
        let place = "at the top of the file".to_owned();
        self.file.errors.push(ConfigError::Unknown {
            origin: self.origin(at),
            place,
            got: got.to_owned(),
            nearest,
        });
    }

    fn unknown_in_table(&mut self, table: &str, got: &str, origin: Origin) {
        let fields = KEYS.iter().filter(|key| key.table() == table).map(Key::field);
        // A key of another table is a better guess than a similar one of this table.
        let nearest = KEYS
            .iter()
            .find(|key| key.field() == got)
            .map(|key| key.name)
            .or_else(|| nearest(got, fields));
        let place =
            if table == "apps" { "in [[apps]]".to_owned() } else { format!("in [{table}]") };
        self.file.errors.push(ConfigError::Unknown { origin, place, got: got.to_owned(), nearest });
    }
}

fn table_names() -> BTreeSet<&'static str> {
    KEYS.iter().map(Key::table).collect()
}

/// A value as it may be shown in an error.
pub(super) fn shown(key: &Key, got: &str) -> String {
    if key.is_secret() { "(hidden)".to_owned() } else { got.to_owned() }
}

/// For fuzzers: what a text sets is kept by its key, and says the same when it is written again; mistakes name lines of the
/// text, and say what would be right.
#[cfg(any(test, fuzzing))]
pub fn fuzz_file(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let path = Path::new("stentor.toml");
    let file = parse(path, text);
    let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
    for error in &file.errors {
        let shown = error.to_string();
        let line = shown.strip_prefix("stentor.toml:").and_then(|rest| rest.split_once(": "));
        let line = line.and_then(|(line, _)| line.parse::<usize>().ok());
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{shown}");
    }
    let mut again = String::new();
    for entry in &file.server {
        again.push_str(&format!("{}\n", written(entry.key.name, entry)));
    }
    let apps = file.apps.as_deref().unwrap_or_default();
    for app in apps {
        again.push_str("[[apps]]\n");
        for entry in &app.entries {
            again.push_str(&format!("{}\n", written(entry.key.field(), entry)));
        }
    }
    let second = parse(path, &again);
    let values = |entries: &[Entry]| -> Vec<_> {
        let value = |entry: &Entry| (entry.key.name, entry.setting.value.clone());
        let mut values: Vec<_> = entries.iter().map(value).collect();
        values.sort_by_key(|(name, _)| *name);
        values
    };
    assert_eq!(values(&second.server), values(&file.server), "{again}");
    let second = second.apps.unwrap_or_default();
    assert_eq!(second.len(), apps.len(), "{again}");
    for (one, other) in second.iter().zip(apps) {
        assert_eq!(values(&one.entries), values(&other.entries), "{again}");
    }
}

/// A setting as the file would have it.
#[cfg(any(test, fuzzing))]
fn written(name: &str, entry: &Entry) -> String {
    use super::value::{Kind, Value};
    match (&entry.setting.value, entry.key.kind) {
        (Value::Absent, Kind::Auto) => format!("{name} = \"auto\""),
        (Value::Absent, _) => format!("{name} = \"none\""),
        (Value::Text(text), _) => {
            let escape = |c: char| format!("\\U{:08x}", u32::from(c));
            format!("{name} = \"{}\"", text.chars().map(escape).collect::<String>())
        }
        (value @ (Value::Number(_) | Value::Switch(_)), _) => format!("{name} = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let file = parse(Path::new("stentor.toml"), text);
        let got: Vec<_> = file.errors.iter().map(ToString::to_string).collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn settings_come_with_their_lines() {
        let file = parse(
            Path::new("s.toml"),
            "[server]\n\nport = 0x50\n[limits]\noutbox_bytes = \"2 MiB\"\n",
        );
        let got: Vec<_> = file
            .server
            .iter()
            .map(|entry| {
                format!("{} {} {}", entry.key.name, entry.setting.value, entry.setting.origin)
            })
            .collect();
        assert_eq!(got, ["limits.outbox_bytes 2097152 s.toml:5", "server.port 80 s.toml:3"]);
        assert!(file.apps.is_none() && file.errors.is_empty());
    }

    #[test]
    fn an_unknown_key_names_its_nearest() {
        check(
            "[server]\nprot = 1",
            &["stentor.toml:2: unknown key `prot` in [server]; did you mean `port`?"],
        );
        check(
            "[sever]\nport = 1",
            &["stentor.toml:1: unknown key `sever` at the top of the file; did you mean `server`?"],
        );
        check(
            "port = 1",
            &[
                "stentor.toml:1: unknown key `port` at the top of the file; did you mean `server.port`?",
            ],
        );
        check(
            "[server]\noutbox_bytes = 1",
            &[
                "stentor.toml:2: unknown key `outbox_bytes` in [server]; did you mean `limits.outbox_bytes`?",
            ],
        );
        check(
            "[limits]\nworkers = 1",
            &[
                "stentor.toml:2: unknown key `workers` in [limits]; docs/reference/config.md lists all keys",
            ],
        );
    }

    #[test]
    fn wrong_types_and_ranges_say_got_and_allowed() {
        check(
            "[server]\nport = \"8080\"\ncores = 300",
            &[
                "stentor.toml:3: server.cores is 300; allowed is a number from 0 to 256",
                "stentor.toml:2: server.port is \"8080\"; allowed is a number from 0 to 65535",
            ],
        );
    }

    #[test]
    fn a_wrong_secret_is_not_shown() {
        check(
            "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = 12345",
            &[
                "stentor.toml:4: apps.secret is (hidden); allowed is text of visible ASCII characters without spaces, not empty",
            ],
        );
    }

    #[test]
    fn an_app_must_have_id_key_and_secret() {
        check(
            "[[apps]]\nid = \"1\"\nkey = \"k\"",
            &[
                "stentor.toml:1: this [[apps]] has no `secret`; `stentor secret` prints a complete one",
            ],
        );
        check(
            "[apps]\nid = \"1\"",
            &["stentor.toml:1: `apps` is a list: write [[apps]] before each app"],
        );
        check(
            "apps = []",
            &["stentor.toml:1: `apps` is empty; leave it out for the development app, or list one"],
        );
        check(
            "server = 1",
            &["stentor.toml:1: write it as a table, [server], with its keys below"],
        );
        check(
            "[[webhooks]]\nurl = \"http://a/\"",
            &[
                "stentor.toml:1: [webhooks] is one table, for all apps; a target stands behind its app, as [[apps.webhooks]]",
            ],
        );
    }

    #[test]
    fn broken_toml_says_its_line() {
        let file = parse(Path::new("s.toml"), "[server]\nport 1\n");
        assert!(file.errors[0].to_string().starts_with("s.toml:2: "), "{}", file.errors[0]);
    }
}

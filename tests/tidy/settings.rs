//! What can be set, and what can go wrong, has its line in `docs/reference/`.

use crate::finding::Finding;
use crate::tree::{Source, Tree};

const CONFIG: &str = "docs/reference/config.md";

const CLOSE_CODES: &str = "docs/reference/close-codes.md";

/// The structs whose public fields are settings: the room, the struct.
const SETTINGS: [(&str, &str); 7] = [
    ("http", "Limits"),
    ("pusher", "App"),
    ("pusher", "Options"),
    ("reactor", "Options"),
    ("reactor", "Patience"),
    ("webhooks", "Options"),
    ("ws", "Limits"),
];

/// Fields that are groups of settings, each of which has a line of its own.
const GROUPS: [(&str, &str); 3] = [("reactor", "http"), ("reactor", "patience"), ("reactor", "ws")];

/// Fields whose key has another name: the room, the field, the key, why.
const OTHERWISE: [(&str, &str, &str, &str); 3] = [
    ("pusher", "path_prefix", "path", "beside `host` and `port` it can be no other path"),
    (
        "reactor",
        "subscriptions",
        "max_subscriptions",
        "each app has its own; the engine's is the largest of them, and room for its own topics",
    ),
    (
        "ws",
        "message_bytes",
        "max_message_bytes",
        "each app has its own; the engine's is the largest of them",
    ),
];

fn settings(tree: &Tree) -> Vec<Finding> {
    let config = tree.text(CONFIG).unwrap_or_default();
    let mut found = Vec::new();
    for (room, name) in SETTINGS {
        let sources = tree.rust(&[&format!("src/{room}")]);
        let Some((source, fields)) =
            sources.iter().find_map(|source| Some((source, fields(source, name)?)))
        else {
            let right = "name the settings of the room in tests/tidy/settings.rs";
            found.push(Finding::new(
                &format!("src/{room}"),
                0,
                format!("has no struct `{name}`"),
                right,
            ));
            continue;
        };
        for (line, field) in fields {
            let Some(key) = key_of(room, &field) else { continue };
            if !has_row(config, &key) {
                let wrong = format!("`{name}::{field}` is not in {CONFIG}");
                let right = format!("add a row that begins with | `{key}` |");
                found.push(Finding::new(source.path, line, wrong, right));
            }
        }
    }
    found
}

/// The public fields of a struct and their lines; `None` if it is not in this file.
fn fields(source: &Source<'_>, name: &str) -> Option<Vec<(usize, String)>> {
    let head = format!("pub struct {name} {{");
    let mut lines = source.lexed.code.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.find(|(_, line)| line.trim_end() == head)?;
    let is_inside = |(_, line): &(usize, &str)| !line.starts_with('}');
    let field = |(number, line): (usize, &str)| {
        let name = line.trim_start().strip_prefix("pub ")?.split(':').next()?;
        Some((number, name.to_owned()))
    };
    Some(lines.take_while(is_inside).filter_map(field).collect())
}

/// The name of a field in the settings; `None` for a group.
fn key_of(room: &str, field: &str) -> Option<String> {
    if GROUPS.contains(&(room, field)) {
        return None;
    }
    let other = OTHERWISE.iter().find(|(of, name, ..)| (*of, *name) == (room, field));
    let own = field.strip_suffix("_seconds").unwrap_or(field);
    Some(other.map_or(own, |(_, _, key, _)| key).to_owned())
}

/// Whether a table of the document has a row for it, with or without backticks.
fn has_row(document: &str, first_cell: &str) -> bool {
    let cell =
        |line: &str| Some(line.strip_prefix('|')?.split('|').next()?.trim().replace('`', ""));
    document.lines().any(|line| cell(line).as_deref() == Some(first_cell))
}

/// Once the table of codes is there, every 4xxx code that a client can get is in it.
fn close_codes(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.text(CLOSE_CODES) else { return Vec::new() };
    let mut found = Vec::new();
    for source in
        tree.rust(&["src/pusher"]).iter().filter(|source| source.path.ends_with("error.rs"))
    {
        for (index, line) in source.lexed.code.lines().enumerate() {
            for code in line.split(|c: char| !c.is_alphanumeric()).filter(|word| is_code(word)) {
                if !source.is_test_line(index + 1) && !has_row(document, code) {
                    let wrong = format!("uses the code {code}, which is not in {CLOSE_CODES}");
                    let right = format!("add a row that begins with | {code} |");
                    found.push(Finding::new(source.path, index + 1, wrong, right));
                }
            }
        }
    }
    found
}

fn is_code(word: &str) -> bool {
    word.len() == 4 && word.starts_with('4') && word.bytes().all(|byte| byte.is_ascii_digit())
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    /// Every struct the rule asks for, so that only the one in question is found.
    const OTHERS: [(&str, &str); 6] = [
        ("src/http/a.rs", "pub struct Limits {\n}"),
        ("src/pusher/a.rs", "pub struct App {\n}\npub struct Options {\n}"),
        ("src/reactor/b.rs", "pub struct Patience {\n}"),
        ("src/webhooks/a.rs", "pub struct Options {\n}"),
        ("src/ws/a.rs", "pub struct Limits {\n}"),
        (CONFIG, "| key | what |\n|---|---|\n| `idle` | x |"),
    ];

    fn check_options(options: &str, expected: &[&str]) {
        let files = [&OTHERS[..], &[("src/reactor/a.rs", options)]].concat();
        check(settings, &files, expected);
    }

    #[test]
    fn every_setting_is_documented() {
        hold(settings);
    }

    #[test]
    fn every_close_code_is_documented() {
        hold(close_codes);
    }

    #[test]
    fn a_setting_without_a_row_is_found() {
        let options = "pub struct Options {\n    pub idle: u8,\n    pub most: u8,\n}";
        check_options(options, &["src/reactor/a.rs:3"]);
        check_options("pub struct Options {\n    pub idle_seconds: u8,\n    own: u8,\n}", &[]);
    }

    #[test]
    fn a_struct_of_settings_that_is_gone_is_found() {
        check_options("pub struct Others {\n}", &["src/reactor:0"]);
    }

    #[test]
    fn a_close_code_without_a_row_is_found() {
        let error = "fn code() -> u16 {\n    4001\n}\n// 4002\nfn other() -> u16 {\n    4003\n}";
        let files = [("src/pusher/error.rs", error), (CLOSE_CODES, "| `4001` | gone |")];
        check(close_codes, &files, &["src/pusher/error.rs:6"]);
    }
}

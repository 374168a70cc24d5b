//! Who may import whom.
//!
//! ```text
//!   cli → app → config → dashboard ┐
//!                        webhooks  ├→ pusher → server → reactor → tls
//!                        cluster   ┘                       └────→ fanout → ws → http        anyone → metrics
//! ```
//!
//! A room imports only from its right; siblings know nothing of each other; `pusher` uses only what the crate's front
//! door exports, as a library user would, and `http::percent`. `lib.rs` and `main.rs` are the doors and stand outside.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::lex::{Lexed, NamedPath};
use crate::tree::{Source, Tree};

/// The rooms and how far right each stands. Equal numbers are siblings.
const RANKS: [(&str, u8); 14] = [
    ("app", 1),
    ("cli", 0),
    ("cluster", 3),
    ("config", 2),
    ("dashboard", 3),
    ("fanout", 8),
    ("http", 10),
    ("metrics", 11),
    ("pusher", 4),
    ("reactor", 6),
    ("server", 5),
    ("tls", 7),
    ("webhooks", 3),
    ("ws", 9),
];

/// `tls` is a leaf for the reactor and those who give it its settings; it knows no room but `metrics`, and WIRE and
/// `fanout` do not stand to its left.
const LEAVES: [&str; 2] = ["metrics", "tls"];

/// What `pusher` may take from a room by its own path.
const PUSHER_EXTRA: &str = "crate::http::percent";

const ORDER: &str = "a room imports only from the right in cli → app → config → {dashboard, webhooks, cluster} → pusher → \
                     server → reactor → fanout → ws → http, and from the leaves metrics and tls";

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn may_import(from: &str, to: &str) -> bool {
    match (rank(from), rank(to)) {
        _ if from == to => true,
        _ if LEAVES.contains(&from) => to == "metrics",
        (Some(from), Some(to)) => from < to,
        _ => false,
    }
}

fn arrows(tree: &Tree) -> Vec<Finding> {
    let exports = exports(tree);
    let mut found = Vec::new();
    for source in tree.rust(&["src"]) {
        let Some(room) = source.room().map(str::to_owned) else { continue };
        if rank(&room).is_none() {
            let right = "a new room is a design change: it needs a place in tests/tidy/arrows.rs and in lib.rs";
            found.push(Finding::new(source.path, 0, format!("there is no room `{room}`"), right));
            continue;
        }
        let paths = source.lexed.paths();
        found.extend(paths.iter().filter_map(|path| wrong_arrow(&source, &room, path, &exports)));
    }
    found
}

fn wrong_arrow(
    source: &Source<'_>,
    room: &str,
    path: &NamedPath,
    exports: &BTreeMap<String, String>,
) -> Option<Finding> {
    let path = from_root(source, path)?;
    let first = path.segments.get(1)?;
    let (to, is_by_front_door) = match exports.get(first) {
        Some(room) => (room.as_str(), true),
        None => (first.as_str(), false),
    };
    let wrong = format!("`{room}` imports `{}`", path.text());
    if !may_import(room, to) {
        return Some(Finding::new(source.path, path.line, wrong, ORDER));
    }
    let is_inside = to == room || to == "metrics";
    // A unit test may make by hand what the engine hands out, a request say, and needs the makers' names for it.
    let is_free = source.is_test_line(path.line) || path.starts_with(PUSHER_EXTRA);
    if room == "pusher" && !is_inside && !is_by_front_door && !is_free {
        let right = "pusher uses only what lib.rs exports by name, and http::percent";
        return Some(Finding::new(source.path, path.line, wrong, right));
    }
    None
}

/// The path as seen from the crate's root, if it leads there: by `crate::` or by enough `super::`.
fn from_root(source: &Source<'_>, path: &NamedPath) -> Option<NamedPath> {
    if path.segments[0] == "crate" {
        return Some(path.clone());
    }
    let climbs = path.segments.iter().take_while(|segment| *segment == "super").count();
    let is_inline_module = source.lexed.is_test_line(path.line);
    let depth = source.modules().len() + usize::from(is_inline_module);
    (climbs > 0 && climbs == depth).then(|| {
        let mut segments = path.segments.clone();
        segments.splice(..climbs, ["crate".to_owned()]);
        NamedPath { segments, ..path.clone() }
    })
}

/// What `lib.rs` exports by name, and from which room it comes.
fn exports(tree: &Tree) -> BTreeMap<String, String> {
    let lib = Lexed::new(tree.text("src/lib.rs").unwrap_or_default());
    let is_export =
        |path: &&NamedPath| path.segments.len() > 1 && rank(&path.segments[0]).is_some();
    let paths = lib.paths();
    paths
        .iter()
        .filter(is_export)
        .filter_map(|path| Some((path.segments.last()?.clone(), path.segments[0].clone())))
        .collect()
}

mod tests {
    use super::arrows;
    use crate::finding;

    const DOOR: (&str, &str) = ("src/lib.rs", "pub use reactor::handler::{Conn, Handler};");

    fn check(path: &str, text: &str, expected: &[&str]) {
        finding::check(arrows, &[DOOR, (path, text)], expected);
    }

    #[test]
    fn rooms_import_only_from_the_right() {
        finding::hold(arrows);
    }

    #[test]
    fn an_arrow_to_the_left_is_found() {
        check("src/ws/frame.rs", "\nuse crate::fanout::X;", &["src/ws/frame.rs:2"]);
        check("src/http/a.rs", "fn f() { crate::ws::g() }", &["src/http/a.rs:1"]);
        check("src/fanout/a.rs", "use crate::{http, ws::Y, server};", &["src/fanout/a.rs:1"]);
    }

    #[test]
    fn an_arrow_through_the_front_door_is_an_arrow_to_the_room_behind_it() {
        check("src/fanout/a.rs", "use crate::Conn;", &["src/fanout/a.rs:1"]);
        check("src/pusher/a.rs", "use crate::Conn;", &[]);
    }

    #[test]
    fn siblings_do_not_know_each_other() {
        check("src/dashboard/a.rs", "use crate::webhooks::X;", &["src/dashboard/a.rs:1"]);
    }

    #[test]
    fn pusher_uses_the_front_door_alone() {
        check("src/pusher/a.rs", "use crate::reactor::handler::Conn;", &["src/pusher/a.rs:1"]);
        check("src/pusher/a.rs", "use crate::http::percent;\nuse crate::pusher::b;", &[]);
        check("src/pusher/tests.rs", "use crate::http::Protocol;", &[]);
    }

    #[test]
    fn climbing_out_of_a_room_is_an_import() {
        check("src/ws/frame.rs", "use super::super::reactor::X;", &["src/ws/frame.rs:1"]);
        check("src/ws/frame.rs", "use super::mask;", &[]);
        check("src/ws/a.rs", "#[cfg(test)]\nmod tests {\n use super::super::mask;\n}", &[]);
    }

    #[test]
    fn leaves_know_nobody() {
        check("src/metrics/a.rs", "use crate::http::X;", &["src/metrics/a.rs:1"]);
        check("src/tls.rs", "use crate::http::X;", &["src/tls.rs:1"]);
        check("src/reactor/a.rs", "use crate::tls::X;\nuse crate::metrics::Y;", &[]);
        check("src/ws/a.rs", "use crate::tls::X;", &["src/ws/a.rs:1"]);
    }

    #[test]
    fn a_room_without_a_place_is_found() {
        check("src/cellar/a.rs", "", &["src/cellar/a.rs:0"]);
    }

    #[test]
    fn what_a_comment_says_is_no_import() {
        check("src/ws/a.rs", "//! See [`crate::reactor::Handler`].", &[]);
    }
}

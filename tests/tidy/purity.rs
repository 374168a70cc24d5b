//! What a file must not know: sockets, threads, locks and clocks where bytes are only understood; mio outside the
//! reactor; the environment outside `config/`; the terminal outside `cli`; `unsafe` anywhere.
//!
//! Code for tests is free to know all of it but `unsafe`.

use crate::finding::Finding;
use crate::lex::NamedPath;
use crate::tree::{Source, Tree};

/// Rooms that are pure as a whole.
const PURE_ROOMS: [&str; 3] = ["fanout", "http", "ws"];

/// Paths that begin so are not for pure files.
const IMPURE_MODULES: [&str; 3] = ["mio", "std::net", "std::thread"];

/// Nor are paths with such a name in them.
const IMPURE_NAMES: [&str; 2] = ["Mutex", "SystemTime"];

/// What a file that calls itself pure may know all the same: path, what, why.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("src/cli/address.rs", "std::net", "it reads addresses as text; an address opens nothing"),
    ("src/config/value.rs", "std::net", "it reads addresses as text; an address opens nothing"),
    (
        "src/http/request_line.rs",
        "std::net",
        "it reads addresses as text; an address opens nothing",
    ),
    ("src/pusher/origins.rs", "std::net", "it reads addresses as text; an address opens nothing"),
];

const READS_ENVIRONMENT: [&str; 4] = ["env::var", "env::vars", "env::var_os", "env::vars_os"];

const PRINTS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// Whether a rule objects to a path in a file.
type Objection = fn(&Source<'_>, &NamedPath) -> bool;

/// Finds what the sources name outside of tests, and must not.
fn objections(sources: &[Source<'_>], is_wrong: Objection, right: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in sources {
        for path in source.lexed.paths() {
            if is_wrong(source, &path) && !source.is_test_line(path.line) {
                let wrong = format!("names `{}`", path.text());
                found.push(Finding::new(source.path, path.line, wrong, right));
            }
        }
    }
    found
}

fn is_impure(path: &NamedPath) -> bool {
    IMPURE_MODULES.iter().any(|module| path.starts_with(module))
        || IMPURE_NAMES.iter().any(|name| path.names(name))
        || path.ends_with("Instant::now")
}

/// WIRE, `fanout/`, and every file whose head says that it is pure.
fn is_pure(source: &Source<'_>) -> bool {
    let says_pure = |head: String| {
        head.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("pure"))
    };
    source.room().is_some_and(|room| PURE_ROOMS.contains(&room)) || says_pure(source.head())
}

fn purity(tree: &Tree) -> Vec<Finding> {
    let mut sources = tree.rust(&["src"]);
    sources.retain(is_pure);
    let right = "a pure file takes bytes, time and randomness as arguments";
    objections(&sources, |source, path| is_impure(path) && !is_excepted(source.path, path), right)
}

fn is_excepted(file: &str, path: &NamedPath) -> bool {
    EXCEPTIONS.iter().any(|(of, what, _)| *of == file && path.starts_with(what))
}

/// The sources outside of a room, which alone may do what the rule is about.
fn outside<'t>(tree: &'t Tree, room: &str) -> Vec<Source<'t>> {
    let mut sources = tree.rust(&["src"]);
    sources.retain(|source| source.room() != Some(room));
    sources
}

fn readiness(tree: &Tree) -> Vec<Finding> {
    let right = "only reactor/ names mio; what others need of it, the reactor offers";
    objections(&outside(tree, "reactor"), |_, path| path.segments[0] == "mio", right)
}

fn environment(tree: &Tree) -> Vec<Finding> {
    let reads = |_: &Source<'_>, path: &NamedPath| {
        READS_ENVIRONMENT.iter().any(|name| path.ends_with(name))
    };
    let right = "only config/ reads the environment; others are told by their Options";
    objections(&outside(tree, "config"), reads, right)
}

fn terminal(tree: &Tree) -> Vec<Finding> {
    let prints = |_: &Source<'_>, path: &NamedPath| {
        let is_print = path.is_macro && PRINTS.contains(&path.segments[0].as_str());
        is_print || path.ends_with("io::stdout") || path.ends_with("io::stderr")
    };
    let right = "only cli talks to the terminal; the rest logs through tracing";
    objections(&outside(tree, "cli"), prints, right)
}

fn unsafety(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.rust(&["src"]) {
        for path in source.lexed.paths().iter().filter(|path| path.segments == ["unsafe"]) {
            let right = "system calls beyond std and mio go through rustix or socket2";
            found.push(Finding::new(source.path, path.line, "has `unsafe`", right));
        }
    }
    found
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    #[test]
    fn pure_files_know_no_socket_thread_lock_or_clock() {
        hold(purity);
    }

    #[test]
    fn only_the_reactor_names_mio() {
        hold(readiness);
    }

    #[test]
    fn only_config_reads_the_environment() {
        hold(environment);
    }

    #[test]
    fn only_the_command_prints() {
        hold(terminal);
    }

    #[test]
    fn nothing_is_unsafe() {
        hold(unsafety);
    }

    #[test]
    fn a_socket_in_a_wire_room_is_found() {
        check(purity, &[("src/ws/a.rs", "use std::{fmt, net::TcpStream};")], &["src/ws/a.rs:1"]);
        check(
            purity,
            &[("src/http/a.rs", "\nfn f() { std::thread::spawn(g) }")],
            &["src/http/a.rs:2"],
        );
        check(purity, &[("src/fanout/a.rs", "static A: Mutex<u8>;")], &["src/fanout/a.rs:1"]);
    }

    #[test]
    fn a_clock_in_a_file_that_calls_itself_pure_is_found() {
        let now = "fn f() { Instant::now() }";
        check(
            purity,
            &[("src/pusher/a.rs", &format!("//! Signs. Pure.\n{now}"))],
            &["src/pusher/a.rs:2"],
        );
        check(purity, &[("src/pusher/a.rs", &format!("//! Talks.\n{now}"))], &[]);
    }

    #[test]
    fn time_as_an_argument_is_pure() {
        check(purity, &[("src/ws/a.rs", "use std::time::Instant;\nfn f(now: Instant) {}")], &[]);
    }

    #[test]
    fn tests_of_pure_files_may_use_threads() {
        let text = "#[cfg(test)]\nmod tests {\n use std::thread;\n}";
        check(purity, &[("src/fanout/a.rs", text), ("src/ws/tests.rs", "use std::thread;")], &[]);
    }

    #[test]
    fn mio_outside_the_reactor_is_found() {
        let uses = "use mio::Poll;";
        check(
            readiness,
            &[("src/reactor/a.rs", uses), ("src/server.rs", uses)],
            &["src/server.rs:1"],
        );
    }

    #[test]
    fn reading_the_environment_outside_config_is_found() {
        let reads = "fn f() { std::env::var(\"A\") }";
        check(environment, &[("src/config/a.rs", reads), ("src/app.rs", reads)], &["src/app.rs:1"]);
    }

    #[test]
    fn printing_outside_the_command_is_found() {
        let prints = "fn f() { println!(\"a\") }";
        check(terminal, &[("src/cli/a.rs", prints), ("src/app.rs", prints)], &["src/app.rs:1"]);
        check(terminal, &[("src/ws/a.rs", "use std::io::stdout;")], &["src/ws/a.rs:1"]);
    }

    #[test]
    fn unsafe_code_is_found_even_in_tests() {
        let text = "#[cfg(test)]\nmod tests {\n fn f() { unsafe { g() } }\n}";
        check(unsafety, &[("src/ws/a.rs", text)], &["src/ws/a.rs:3"]);
        check(unsafety, &[("src/ws/a.rs", "// unsafe\nconst A: &str = \"unsafe\";")], &[]);
    }
}

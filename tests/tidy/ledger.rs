//! The ledger of RFC 6455: each row of its tables names a test, and the test exists where its path, or the link behind it,
//! says.

use crate::finding::Finding;
use crate::tree::Tree;

const LEDGER: &str = "docs/internals/rfc6455.md";

/// What a row may have instead: a case of the Autobahn suite, a reason why there is none, that we do not do it yet, other
/// rows.
const INSTEAD: [&str; 4] = ["Autobahn", "no test: ", "not yet", "the tests of §"];

fn ledger(tree: &Tree) -> Vec<Finding> {
    let Some(ledger) = tree.text(LEDGER) else { return Vec::new() };
    let sources = tree.rust(&["src", "tests"]);
    let exists = |name: &str| {
        let (modules, name) = name.rsplit_once("::").unwrap_or(("", name));
        let mut having = sources.iter().filter(|source| source.has_test(name));
        having.any(|source| modules.is_empty() || is_path_of(modules, &source.modules()))
    };
    let is_in = |name: &str, path: &str| {
        sources.iter().any(|source| source.path == path && source.has_test(name))
    };
    let mut found = Vec::new();
    for (line, row) in rows(ledger) {
        let last_cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or(row);
        // As cargo names them: the path of modules, then the function.
        let tests: Vec<_> = names(last_cell).collect();
        if tests.is_empty() && !INSTEAD.iter().any(|words| last_cell.contains(words)) {
            let right = "name its test in backticks, or write `no test: ` and why";
            found.push(Finding::new(LEDGER, line, "has a row without a test", right));
        }
        for test in tests.iter().filter(|test| !exists(test)) {
            let right = "name a test that is there, or write it";
            found.push(Finding::new(
                LEDGER,
                line,
                format!("names `{test}`, which is no test there"),
                right,
            ));
        }
        for (test, path) in names_in_files(last_cell).filter(|(test, path)| !is_in(test, path)) {
            let wrong = format!("says that `{test}` is in {path}, where it is not");
            found.push(Finding::new(LEDGER, line, wrong, "link the file that has it"));
        }
    }
    found
}

/// The rows of all tables, without their heads and rules.
fn rows(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_body = false;
    document.lines().enumerate().filter_map(move |(index, line)| {
        let is_rule = line.starts_with("|--") || line.starts_with("|:-");
        is_body = line.starts_with('|') && (is_body || is_rule);
        (is_body && !is_rule).then_some((index + 1, line))
    })
}

/// The tests that a cell names.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|name| is_test_name(name))
}

/// Those without a path, each with the file of the next link: "`a_fact` and `another_fact` in [tests/a.rs](…)".
fn names_in_files(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts: Vec<_> = cell.split(" in [").collect();
    let pairs: Vec<_> = parts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().flat_map(|(before, link)| {
        let path = link.split(']').next().unwrap_or(link);
        names(before).filter(|name| !name.contains("::")).map(move |name| (name, path))
    })
}

/// Whether `ws::frame::tests` is the path of `ws/frame.rs`, or of `ws/tests/frame.rs`: the room and the file, in either order
/// with `tests`.
fn is_path_of(path: &str, modules: &[&str]) -> bool {
    let bare = |names: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        names.filter(|name| *name != "tests").map(str::to_owned).collect()
    };
    bare(&mut path.split("::")) == bare(&mut modules.iter().copied())
}

/// `ws::protocol::tests::unmasked_frame_closes_with_1002`: a fact, in small letters, with or without its path.
fn is_test_name(word: &str) -> bool {
    let word = word.rsplit("::").next().unwrap_or(word);
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.contains('_') && word.bytes().all(is_name_byte)
}

mod tests {
    use super::*;
    use crate::finding;

    fn check(rows: &str, expected: &[&str]) {
        let document = format!("| MUST | test |\n|---|---|\n{rows}");
        let test = "fn that_helps() {}\n#[test]\nfn a_fact_that_holds() {}";
        finding::check(ledger, &[(LEDGER, &document), ("tests/a.rs", test)], expected);
    }

    #[test]
    fn every_must_has_its_test() {
        finding::hold(ledger);
    }

    #[test]
    fn a_must_without_a_test_is_found() {
        check("| mask | `a_fact_that_holds` |\n| fail | soon |", &["docs/internals/rfc6455.md:4"]);
        check("| mask | Autobahn 7.1.6 |\n| fail | `a::tests::a_fact_that_holds` |", &[]);
    }

    #[test]
    fn a_test_that_lives_elsewhere_is_found() {
        let ledger_of = |path: &str| {
            format!("| MUST | test |\n|---|---|\n| mask | `{path}::a_fact_that_holds` |")
        };
        let test = "#[test]\nfn a_fact_that_holds() {}";
        for file in ["src/ws/frame.rs", "src/ws/tests/frame.rs"] {
            let files = |path| [(LEDGER, ledger_of(path)), (file, test.to_owned())];
            let check = |path, expected: &[&str]| {
                let files = files(path);
                let files: Vec<_> =
                    files.iter().map(|(path, text)| (*path, text.as_str())).collect();
                finding::check(ledger, &files, expected);
            };
            check("ws::frame::tests", &[]);
            check("ws::mask::tests", &["docs/internals/rfc6455.md:3"]);
        }
    }

    #[test]
    fn a_test_that_is_gone_or_is_none_is_found() {
        check("| mask | `a_fact_that_held` |", &["docs/internals/rfc6455.md:3"]);
        check("| mask | `that_helps` |", &["docs/internals/rfc6455.md:3"]);
    }

    #[test]
    fn a_test_that_the_linked_file_does_not_have_is_found() {
        check("| mask | `a_fact_that_holds` in [tests/a.rs](../../tests/a.rs) |", &[]);
        let elsewhere = "| mask | `a_fact_that_holds` in [tests/b.rs](../../tests/b.rs), or in [tests/a.rs](…) |";
        check(elsewhere, &["docs/internals/rfc6455.md:3"]);
    }
}

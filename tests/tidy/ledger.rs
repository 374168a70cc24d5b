//! The ledger of RFC 6455, once it is there: each row of its tables names a test, and the test exists.

use crate::finding::Finding;
use crate::tree::Tree;

const LEDGER: &str = "docs/internals/rfc6455.md";

/// What a row may have instead: a case of the Autobahn suite, a reason why there is none, other rows.
const INSTEAD: [&str; 3] = ["Autobahn", "no test: ", "the tests of §"];

fn ledger(tree: &Tree) -> Vec<Finding> {
    let Some(ledger) = tree.text(LEDGER) else { return Vec::new() };
    let sources = tree.rust(&["src", "tests"]);
    let exists = |name: &str| {
        let function = format!("fn {name}(");
        sources.iter().any(|source| source.lexed.code.contains(&function))
    };
    let mut found = Vec::new();
    for (line, row) in rows(ledger) {
        let last_cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or(row);
        // As cargo names them: the path of modules, then the function.
        let names =
            last_cell.split('`').skip(1).step_by(2).filter_map(|name| name.rsplit("::").next());
        let tests: Vec<_> = names.filter(|name| is_test_name(name)).collect();
        if tests.is_empty() && !INSTEAD.iter().any(|words| last_cell.contains(words)) {
            let right = "name its test in backticks, or write `no test: ` and why";
            found.push(Finding::new(LEDGER, line, "has a row without a test", right));
        }
        for test in tests.iter().filter(|test| !exists(test)) {
            let right = "name a test that is there, or write it";
            found.push(Finding::new(
                LEDGER,
                line,
                format!("names `{test}`, which is no function"),
                right,
            ));
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

/// `unmasked_frame_closes_with_1002`: a fact, in small letters.
fn is_test_name(word: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.contains('_') && word.bytes().all(is_name_byte)
}

mod tests {
    use super::*;
    use crate::finding;

    fn check(rows: &str, expected: &[&str]) {
        let document = format!("| MUST | test |\n|---|---|\n{rows}");
        let test = "#[test]\nfn a_fact_that_holds() {}";
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
    fn a_test_that_is_gone_is_found() {
        check("| mask | `a_fact_that_held` |", &["docs/internals/rfc6455.md:3"]);
    }
}

//! What we say that we defend against: in the tables of `docs/operating/security.md` every limit is a setting with the
//! default that it has, every counter is counted, and every test is there. And every counter is read by some test.

use crate::finding::Finding;
use crate::tree::Tree;

const SECURITY: &str = "docs/operating/security.md";
const CONFIG: &str = "docs/reference/config.md";
const COUNTERS: &str = "src/metrics/counters.rs";

/// The last three cells of a row.
const HEADS: [&str; 3] = ["limit", "counter", "test"];

fn defences(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.text(SECURITY) else { return Vec::new() };
    let config = tree.text(CONFIG).unwrap_or_default();
    let counters = tree.text(COUNTERS).unwrap_or_default();
    let sources = tree.rust(&["src", "tests"]);
    let is_test = |name: &str| sources.iter().any(|source| source.has_test(name));
    let mut found = Vec::new();
    for (line, cells) in rows(document) {
        let mut tell = |wrong: String, right: &str| {
            found.push(Finding::new(SECURITY, line, wrong, right));
        };
        for (name, rest) in names(cells[0]) {
            let Some(default) = default_of(config, name) else {
                tell(format!("names `{name}`, which is no setting"), "name one of config.md");
                continue;
            };
            if !rest.starts_with(&format!(" ({default})")) {
                let right = format!("write `{name}` ({default})");
                tell(format!("does not say the default of `{name}`"), &right);
            }
        }
        for (name, _) in names(cells[1]) {
            if !counters.contains(&format!("=> \"{name}\"")) {
                tell(format!("names `{name}`, which nothing counts"), "name one of counters.rs");
            }
        }
        for (name, _) in names(cells[2]) {
            if !is_test(name) {
                let right = "name a test that is there, or write it";
                tell(format!("names `{name}`, which is no test"), right);
            }
        }
        if cells.iter().any(|cell| cell.trim().is_empty()) || names(cells[2]).next().is_none() {
            let right = "say by which limit, counted where, shown by which test";
            tell("has a defence that is not shown".to_owned(), right);
        }
    }
    found
}

/// The last cells of each row of the tables whose heads end in `HEADS`.
fn rows(document: &str) -> impl Iterator<Item = (usize, [&str; 3])> {
    let mut is_ours = false;
    document.lines().enumerate().filter_map(move |(index, line)| {
        let cells: Vec<_> = line.strip_prefix('|')?.trim_end_matches('|').split('|').collect();
        let last: [&str; 3] = cells.last_chunk().copied().unwrap_or_default();
        if last.map(str::trim) == HEADS {
            is_ours = true;
            return None;
        }
        (is_ours && !line.starts_with("|-")).then_some((index + 1, last))
    })
}

/// What stands in backticks in a cell, each with what follows it.
fn names(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = cell;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once('`')?;
        let (name, after) = behind.split_once('`')?;
        rest = after;
        Some((name, after))
    })
}

/// The default of `limits.name` as the reference says it.
fn default_of(config: &str, name: &str) -> Option<String> {
    let (table, key) = name.split_once('.')?;
    let mut lines = config.lines();
    let head = [format!("## `[{table}]`"), format!("## `[[{table}]]`")];
    lines.find(|line| head.iter().any(|head| head == line))?;
    let start = format!("| `{key}` |");
    let row =
        lines.take_while(|line| !line.starts_with("## ")).find(|it| it.starts_with(&start))?;
    Some(row.split('|').nth(4)?.trim().replace('`', ""))
}

fn unread_counters(tree: &Tree) -> Vec<Finding> {
    let sources = tree.rust(&["src", "tests"]);
    let is_read = |name: &str| {
        let word = format!("Counter::{name}");
        let has = |line: &str| {
            line.match_indices(&word).any(|(at, _)| {
                !line[at + word.len()..].starts_with(|next: char| next.is_alphanumeric())
            })
        };
        sources.iter().any(|source| {
            let mut lines = source.lexed.code.lines().enumerate();
            lines.any(|(index, line)| source.is_test_line(index + 1) && has(line))
        })
    };
    let counters = tree.text(COUNTERS).unwrap_or_default().lines().enumerate();
    let names = counters.filter_map(|(index, line)| {
        let (name, text) = line.trim().split_once(" => \"")?;
        text.ends_with("\",").then_some((index + 1, name))
    });
    let tell = |(line, name): (usize, &str)| {
        let wrong = format!("no test reads `{name}`");
        Finding::new(COUNTERS, line, wrong, "show what counts there")
    };
    names.filter(|(_, name)| !is_read(name)).map(tell).collect()
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    fn check_row(row: &str, expected: &[&str]) {
        let document =
            format!("| what | gets | limit | counter | test |\n|---|---|---|---|---|\n{row}\n");
        let config =
            "## `[limits]`\n\n| `idle` | `V` | `--set` | `10` seconds | what |\n\n## `[apps]`\n";
        let counters = "    Closed => \"closed\",\n";
        let files = [
            (SECURITY, document.as_str()),
            (CONFIG, config),
            (COUNTERS, counters),
            ("tests/a.rs", "#[test]\nfn it_holds() {}\nfn it_helps() {}\n"),
        ];
        check(defences, &files, expected);
    }

    #[test]
    fn every_defence_is_shown() {
        hold(defences);
    }

    #[test]
    fn every_counter_is_read_by_a_test() {
        hold(unread_counters);
    }

    #[test]
    fn a_defence_that_is_there_is_fine() {
        check_row(
            "| x | y | `limits.idle` (10 seconds), two at once | `closed` | `it_holds` |",
            &[],
        );
    }

    #[test]
    fn a_limit_a_counter_or_a_test_that_is_not_there_is_found() {
        let here = ["docs/operating/security.md:3"];
        check_row("| x | y | `limits.gone` (1) | `closed` | `it_holds` |", &here);
        check_row("| x | y | `limits.idle` (9 seconds) | `closed` | `it_holds` |", &here);
        check_row("| x | y | `limits.idle` (10 seconds) | `opened` | `it_holds` |", &here);
        check_row("| x | y | `limits.idle` (10 seconds) | `closed` | `it_held` |", &here);
        check_row("| x | y | `limits.idle` (10 seconds) | `closed` | `it_helps` |", &here);
        check_row("| x | y | `limits.idle` (10 seconds) | `closed` | soon |", &here);
        check_row("| x | y | | `closed` | `it_holds` |", &here);
    }

    #[test]
    fn a_counter_that_no_test_reads_is_found() {
        let counters = (COUNTERS, "    Closed => \"closed\",\n    ClosedAll => \"closed_all\",\n");
        let test = ("tests/a.rs", "fn a() { check(Counter::ClosedAll) }\n");
        check(unread_counters, &[counters, test], &["src/metrics/counters.rs:1"]);
    }
}

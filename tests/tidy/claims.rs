//! What we claim beside other servers: in a table that compares us, every yes of ours is a link to a test.
//!
//! The link may name the test behind `#`; then the file has a function of that name.

use crate::finding::Finding;
use crate::tree::Tree;

/// The head of our own column.
const OURS: &str = "Stentor";

fn claims(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".md")) {
        let mut ours = None;
        for (index, line) in text.lines().enumerate() {
            if !line.starts_with('|') {
                ours = None;
                continue;
            }
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let Some(column) = ours else {
                // The first row of a table is its head; no column is beyond all of them.
                let own = cells.iter().position(|cell| *cell == OURS);
                ours = Some(own.unwrap_or(usize::MAX));
                continue;
            };
            let claim = cells.get(column).copied().unwrap_or_default();
            if let Some(wrong) = unproven(tree, path, claim) {
                let right = "link it to a file with its test, or take it back";
                found.push(Finding::new(path, index + 1, wrong, right));
            }
        }
    }
    found
}

/// Why the cell claims what no test shows; `None` if it claims nothing, or a test shows it.
fn unproven(tree: &Tree, from: &str, cell: &str) -> Option<String> {
    let is_claim = cell.trim_start_matches('[').to_lowercase().starts_with("yes");
    if !is_claim {
        return None;
    }
    let link = cell.split_once("](").and_then(|(_, rest)| rest.split(')').next());
    let Some(link) = link else { return Some("says yes and links to no test".to_owned()) };
    let (file, test) = link.split_once('#').unwrap_or((link, ""));
    let file = below_the_package(from, file);
    let text = tree.text(&file).unwrap_or_default();
    if !file.starts_with("tests/") && !text.contains("#[test]") {
        return Some(format!("says yes and links to `{file}`, which has no tests"));
    }
    let is_there = |start: &str| text.contains(&format!("{start} {test}("));
    if !test.is_empty() && !is_there("fn") {
        return Some(format!("says yes and links to the test `{test}`, which is not in `{file}`"));
    }
    None
}

/// A path that is relative to the folder of `from`, as seen from the package.
fn below_the_package(from: &str, path: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

mod tests {
    use super::*;
    use crate::finding;

    fn check(cell: &str, expected: &[&str]) {
        let table = format!("| | Stentor | Reverb |\n|---|---|---|\n| a | {cell} | yes |\n");
        let files = [
            ("docs/a/here.md", table.as_str()),
            ("src/room.rs", "pub fn room() {}\n"),
            ("tests/room.rs", "#[test]\nfn it_holds() {}\n"),
        ];
        finding::check(claims, &files, expected);
    }

    #[test]
    fn every_yes_of_ours_links_to_a_test() {
        finding::hold(claims);
    }

    #[test]
    fn a_yes_without_a_test_is_found() {
        let here = ["docs/a/here.md:3"];
        check("yes", &here);
        check("Yes, always", &here);
        check("[yes](../../src/room.rs)", &here);
        check("[yes](../../tests/room.rs#it_does_not)", &here);
    }

    #[test]
    fn a_yes_with_a_test_and_other_words_are_fine() {
        check("[yes](../../tests/room.rs)", &[]);
        check("[yes](../../tests/room.rs#it_holds), or as the app says", &[]);
        check("no", &[]);
    }
}

//! How long files may grow, and how each begins.

use crate::finding::Finding;
use crate::tree::{Source, Tree};

/// A reader keeps this much in mind, and no more.
const MOST_LINES: usize = 800;

/// Files that are longer and may be for now: path, lines, why. The numbers shrink.
const LONGER: [(&str, usize, &str); 0] = [];

/// Shorter limits: a path, or a folder with all below it.
const SHORTER: [(&str, usize); 3] = [("README.md", 150), ("examples/", 60), ("src/main.rs", 40)];

const OUR_CODE: [&str; 5] = ["benches", "examples", "fuzz", "src", "tests"];

fn limit(path: &str) -> usize {
    if let Some((_, lines, _)) = LONGER.iter().find(|(longer, ..)| *longer == path) {
        return *lines;
    }
    let is_here = |of: &str| path == of || (of.ends_with('/') && path.starts_with(of));
    SHORTER.iter().find(|(of, _)| is_here(of)).map_or(MOST_LINES, |(_, lines)| *lines)
}

/// Lines without the unit tests at the foot of the file.
fn counted_lines(source: &Source<'_>) -> usize {
    let count = source.text.lines().count();
    let is_tests_alone = source.is_test();
    (1..=count).filter(|line| is_tests_alone || !source.is_test_line(*line)).count()
}

fn sizes(tree: &Tree) -> Vec<Finding> {
    let rust = tree.rust(&OUR_CODE);
    let lengths = rust.iter().map(|source| (source.path, counted_lines(source)));
    let readme = tree.text("README.md").map(|text| ("README.md", text.lines().count()));
    let is_too_long = |(path, lines): &(&str, usize)| *lines > limit(path);
    let tell = |(path, lines): (&str, usize)| {
        let right =
            format!("at most {} are allowed: split it where it has two subjects", limit(path));
        Finding::new(path, 0, format!("has {lines} lines"), right)
    };
    lengths.chain(readme).filter(is_too_long).map(tell).collect()
}

fn heads(tree: &Tree) -> Vec<Finding> {
    let has_no_head = |source: &Source<'_>| {
        let first = source.text.lines().next().and_then(|line| line.strip_prefix("//!"));
        first.is_none_or(|text| text.trim().is_empty())
    };
    let right = "its first line is a `//!` that says what it is; then what it must not know";
    tree.rust(&OUR_CODE)
        .iter()
        .filter(|source| has_no_head(source))
        .map(|source| Finding::new(source.path, 1, "opens without a head", right))
        .collect()
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    #[test]
    fn no_file_is_too_long() {
        hold(sizes);
    }

    #[test]
    fn every_file_opens_with_its_head() {
        hold(heads);
    }

    #[test]
    fn a_file_past_its_limit_is_found() {
        let long = "x\n".repeat(801);
        check(sizes, &[("src/a.rs", &long)], &["src/a.rs:0"]);
        check(sizes, &[("src/a.rs", &long[2..])], &[]);
        check(sizes, &[("examples/a.rs", &"x\n".repeat(61))], &["examples/a.rs:0"]);
        check(sizes, &[("src/main.rs", &"x\n".repeat(41))], &["src/main.rs:0"]);
        check(sizes, &[("README.md", &"x\n".repeat(151))], &["README.md:0"]);
    }

    #[test]
    fn unit_tests_do_not_count() {
        let text = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(900));
        check(sizes, &[("src/a.rs", &text)], &[]);
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        check(heads, &[("src/ws/mod.rs", "pub mod a;")], &["src/ws/mod.rs:1"]);
        check(heads, &[("tests/a.rs", "//!\n")], &["tests/a.rs:1"]);
        check(heads, &[("src/a.rs", "//! Frames.\n")], &[]);
    }
}

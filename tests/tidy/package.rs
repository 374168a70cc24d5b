//! What the package is made of: what lies at its top, and the two shapes that the crate has.

use crate::finding::Finding;
use crate::tree::Tree;

/// What a reader finds at the top.
const OURS: [&str; 9] = [
    "CHANGELOG.md",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "docs",
    "fuzz",
    "src",
    "tests",
];

/// What tools look for there and nowhere else.
const OF_TOOLS: [&str; 9] = [
    ".cargo",
    ".ci",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "clippy.toml",
    "deny.toml",
    "examples",
    "rustfmt.toml",
];

/// What is made there and left out of git.
const MADE: [&str; 4] = [".git", "artefacts", "proptest-regressions", "target"];

/// The library with the Pusher server, and the library alone.
const FEATURES: [&str; 2] = ["default", "pusher"];

fn top(tree: &Tree) -> Vec<Finding> {
    let is_known =
        |name: &str| [&OURS[..], &OF_TOOLS, &MADE].iter().any(|known| known.contains(&name));
    let right = "find the room where it belongs, or give it its place in tests/tidy/package.rs";
    tree.top()
        .iter()
        .filter(|name| !is_known(name))
        .map(|name| Finding::new(name, 0, "lies at the top of the package", right))
        .collect()
}

fn features(tree: &Tree) -> Vec<Finding> {
    let manifest = tree.text("Cargo.toml").unwrap_or_default();
    let mut is_inside = false;
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line == "[features]";
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_inside) else { continue };
        let (name, right) = (name.trim(), "the crate has two shapes, with `pusher` and without");
        if !FEATURES.contains(&name) {
            found.push(Finding::new(
                "Cargo.toml",
                index + 1,
                format!("has a feature `{name}`"),
                right,
            ));
        }
        if name == "default" && value.trim() != r#"["pusher"]"# {
            found.push(Finding::new(
                "Cargo.toml",
                index + 1,
                "has another default than `pusher`",
                right,
            ));
        }
    }
    // An optional dependency that no feature asks for by `dep:` is a feature by itself.
    for (index, line) in
        manifest.lines().enumerate().filter(|(_, line)| line.contains("optional = true"))
    {
        let name = line.split(['=', ' ']).next().unwrap_or(line);
        if !manifest.contains(&format!("\"dep:{name}\"")) {
            let right = "name it as `dep:` under `pusher`: the crate has two shapes";
            found.push(Finding::new(
                "Cargo.toml",
                index + 1,
                format!("makes `{name}` a feature"),
                right,
            ));
        }
    }
    found
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    #[test]
    fn the_top_has_what_is_listed_and_no_more() {
        hold(top);
    }

    #[test]
    fn the_crate_has_two_shapes() {
        hold(features);
    }

    #[test]
    fn a_stranger_at_the_top_is_found() {
        let files =
            [("notes.md", ""), ("scripts/run.txt", ""), ("src/lib.rs", ""), ("Cargo.toml", "")];
        check(top, &files, &["notes.md:0", "scripts:0"]);
    }

    #[test]
    fn a_third_shape_is_found() {
        let features_of = |lines: &str, expected: &[&str]| {
            check(features, &[("Cargo.toml", &format!("[features]\n{lines}"))], expected);
        };
        features_of(
            "default = [\"pusher\"]\npusher = []\ntls = []\n[lints]\nx = 1",
            &["Cargo.toml:4"],
        );
        features_of("default = []\npusher = []", &["Cargo.toml:2"]);
        let optional =
            "pusher = [\"dep:a\"]\n[dependencies]\na = { version = \"1\", optional = true }\n";
        features_of(optional, &[]);
        features_of(&optional.replace("\na =", "\nb ="), &["Cargo.toml:4"]);
    }
}

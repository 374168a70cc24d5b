//! Every crate we lean on is named, argued and counted; and lock files say what was taken, not where this machine
//! takes it from.

use crate::finding::Finding;
use crate::tree::Tree;

const ARGUED: &str = "docs/internals/dependencies.md";

/// Direct dependencies of the crate itself. The number shrinks; to raise it is a decision, as 0010 was.
const MOST_DIRECT: usize = 24;

/// What the model of the mailbox alone is compiled with.
const FOR_LOOM: &str = "target.'cfg(loom)'.dev-dependencies";

/// How a line of `Cargo.lock` begins that says which registry a crate is from. Cargo's own has one such line, whatever
/// mirror is asked; which, cargo knows: `--locked` refuses any other where no manifest names a registry.
const CARGO_SOURCE: &str = "source = \"registry+";

/// Keys and tables of cargo's manifests and settings that would turn it to another registry, or to none.
const SOURCE_KEYS: [&str; 7] =
    ["registry =", "registry-index =", "git =", "index =", "[source", "[registries", "[registry"];

/// Places in other lock and settings files where an address of a registry would stand.
const REGISTRY_KEYS: [&str; 6] = [
    "\"repositories\":",
    "\"resolved\":",
    "--extra-index-url",
    "--index-url",
    "index-url",
    "registry=",
];

/// Names and lines of the crates under a heading of `Cargo.toml`.
fn crates<'t>(manifest: &'t str, section: &str) -> Vec<(usize, &'t str)> {
    let mut own_section = "";
    let mut crates = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            own_section = name;
        } else if own_section == section && !line.starts_with('#') {
            crates.extend(line.split_once(" = ").map(|(name, _)| (index + 1, name)));
        }
    }
    crates
}

fn dependencies(tree: &Tree) -> Vec<Finding> {
    let manifest = tree.text("Cargo.toml").unwrap_or_default();
    let document = tree.text(ARGUED).unwrap_or_default();
    let direct = crates(manifest, "dependencies");
    let mut for_tests = crates(manifest, "dev-dependencies");
    for_tests.extend(crates(manifest, FOR_LOOM));
    let rows: Vec<_> = rows(document).collect();
    let mut found = Vec::new();
    if direct.len() > MOST_DIRECT {
        let wrong = format!("has {} direct dependencies", direct.len());
        let right = format!(
            "at most {MOST_DIRECT} are allowed: write the part that we need, or replace one"
        );
        found.push(Finding::new("Cargo.toml", 0, wrong, right));
    }
    for (line, name) in direct.iter().chain(&for_tests) {
        if !rows.iter().any(|(_, row)| row == name) {
            let right = format!(
                "add a row to {ARGUED}: why, what it pulls in, what we would write instead"
            );
            found.push(Finding::new(
                "Cargo.toml",
                *line,
                format!("`{name}` is not argued for"),
                right,
            ));
        }
    }
    for (line, row) in rows {
        if !direct.iter().chain(&for_tests).any(|(_, name)| *name == row) {
            let right = "remove the row, or name the crate as Cargo.toml does";
            found.push(Finding::new(ARGUED, line, format!("`{row}` is no dependency"), right));
        }
    }
    found
}

/// The crates that the document argues for: table rows that begin with a name in backticks.
fn rows(document: &str) -> impl Iterator<Item = (usize, &str)> {
    document.lines().enumerate().filter_map(|(index, line)| {
        let (name, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Some((index + 1, name))
    })
}

fn lock_files(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| is_lock_file(path)) {
        let mut lines = text.lines().map(str::trim_start);
        let source = lines.find(|line| line.starts_with(CARGO_SOURCE));
        for (index, line) in text.lines().map(str::trim_start).enumerate() {
            let is_foreign = match path.rsplit('/').next() {
                Some("Cargo.lock") => line.starts_with("source = ") && Some(line) != source,
                Some("Cargo.toml" | "config.toml") => names_source(line),
                _ => REGISTRY_KEYS.iter().any(|key| line.starts_with(key)),
            };
            if is_foreign {
                let right =
                    "addresses of registries are a matter of the machine, not of the package";
                found.push(Finding::new(path, index + 1, "names a registry's address", right));
            }
        }
    }
    found
}

/// Whether a line of TOML names a registry, at its beginning or within an inline table.
fn names_source(line: &str) -> bool {
    let pieces = line.split(['{', ',']).map(str::trim_start);
    !line.starts_with('#')
        && pieces.into_iter().any(|piece| SOURCE_KEYS.iter().any(|key| piece.starts_with(key)))
}

/// Files that the ordinary clients of cargo, composer, npm and pip read or write.
fn is_lock_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_named = matches!(
        name,
        "Cargo.lock"
            | "Cargo.toml"
            | "composer.json"
            | "package-lock.json"
            | "npm-shrinkwrap.json"
            | ".npmrc"
            | "pip.conf"
    );
    is_named
        || path == ".cargo/config.toml"
        || (name.starts_with("requirements") && name.ends_with(".txt"))
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    #[test]
    fn every_dependency_is_argued_and_counted() {
        hold(dependencies);
    }

    #[test]
    fn lock_files_name_no_registry() {
        hold(lock_files);
    }

    #[test]
    fn a_dependency_without_a_row_and_a_row_without_a_dependency_are_found() {
        let manifest = "[dependencies]\na = \"1\"\nb = \"1\"\n[dev-dependencies]\nc = \"1\"";
        let files =
            [("Cargo.toml", manifest), (ARGUED, "| `a` | why |\n| `c` | why |\n| `d` | why |")];
        check(dependencies, &files, &["Cargo.toml:3", "docs/internals/dependencies.md:3"]);
    }

    #[test]
    fn one_dependency_too_many_is_found() {
        let names: Vec<_> = (0..=MOST_DIRECT).map(|number| format!("crate{number}")).collect();
        let lines: String = names.iter().map(|name| format!("{name} = \"1\"\n")).collect();
        let rows: String = names.iter().map(|name| format!("| `{name}` |\n")).collect();
        let manifest = format!("[dependencies]\n{lines}");
        check(dependencies, &[("Cargo.toml", &manifest), (ARGUED, &rows)], &["Cargo.toml:0"]);
    }

    #[test]
    fn an_address_in_a_lock_file_is_found() {
        let own = format!("{CARGO_SOURCE}own\"");
        for foreign in
            ["registry+https://example.com/index", "sparse+https://example.com/", "git+x"]
        {
            let lock = format!("{own}\n{own}\nsource = \"{foreign}\"");
            check(lock_files, &[("fuzz/Cargo.lock", &lock)], &["fuzz/Cargo.lock:3"]);
        }
        check(lock_files, &[("Cargo.lock", "source = \"git+x\"")], &["Cargo.lock:1"]);
        for line in [
            "a = { version = \"1\", registry = \"x\" }",
            "[source.x]",
            "[registries.x]",
            "git = \"x\"",
        ] {
            check(lock_files, &[("fuzz/Cargo.toml", line)], &["fuzz/Cargo.toml:1"]);
            check(lock_files, &[(".cargo/config.toml", line)], &[".cargo/config.toml:1"]);
        }
        check(lock_files, &[("Cargo.toml", "a = { version = \"1\", features = [\"git\"] }")], &[]);
        let resolved = "{\n  \"resolved\": \"https://example.com/a.tgz\"\n}";
        check(lock_files, &[("tests/package-lock.json", resolved)], &["tests/package-lock.json:2"]);
        let repositories = "{\n  \"repositories\": [\n  ]\n}";
        check(
            lock_files,
            &[("benches/a/composer.json", repositories)],
            &["benches/a/composer.json:2"],
        );
        check(
            lock_files,
            &[("tests/requirements.txt", "--index-url x")],
            &["tests/requirements.txt:1"],
        );
    }
}

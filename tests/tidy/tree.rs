//! The files of the package, as the rules see them: text by path. Knows no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::lex::Lexed;

/// Where the rules look, relative to the package.
const ROOTS: [&str; 7] = [".cargo", "benches", "docs", "examples", "fuzz", "src", "tests"];

/// Folders of things that are made or fetched.
const NOT_OURS: [&str; 5] = ["artefacts", "corpus", "node_modules", "target", "__pycache__"];

/// What the rules read; anything else may be bytes.
const TEXT: [&str; 9] = ["cfg", "json", "lock", "md", "npmrc", "rs", "toml", "txt", "yml"];

/// All text of the package, or a sample of a few lines.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    top: BTreeSet<String>,
}

impl Tree {
    /// The package that this test belongs to.
    pub(crate) fn read() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = BTreeMap::new();
        read_files_of(package, "", &mut files).expect("the package can be read");
        for root in ROOTS {
            read_below(package, root, &mut files).expect("the package can be read");
        }
        let top = names_of(package).expect("the package can be read");
        Self { files, top }
    }

    pub(crate) fn sample(files: &[(&str, &str)]) -> Self {
        let own = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
        let first = |(path, _): &(&str, &str)| path.split('/').next().map(str::to_owned);
        Self {
            files: files.iter().map(own).collect(),
            top: files.iter().filter_map(first).collect(),
        }
    }

    /// The names of the files and folders at the top of the package.
    pub(crate) fn top(&self) -> &BTreeSet<String> {
        &self.top
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether the path names a file or a folder, of text or not.
    pub(crate) fn has(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.files.keys().any(|file| file == path || file.starts_with(&below))
            || Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
    }

    /// Every file and its text, in the order of their paths.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files below any of these folders.
    pub(crate) fn rust(&self, folders: &[&str]) -> Vec<Source<'_>> {
        let is_below = |path: &str| {
            folders
                .iter()
                .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        };
        self.files()
            .filter(|(path, _)| path.ends_with(".rs") && is_below(path))
            .map(|(path, text)| Source { path, text, lexed: Lexed::new(text) })
            .collect()
    }
}

/// One Rust file.
pub(crate) struct Source<'t> {
    pub(crate) path: &'t str,
    pub(crate) text: &'t str,
    pub(crate) lexed: Lexed,
}

impl Source<'_> {
    /// The modules from the crate's root to this file: `reactor`, `handler`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        path.split('/').filter(|module| !matches!(*module, "mod" | "lib" | "main")).collect()
    }

    /// The top-level module the file belongs to; `None` for `lib.rs` and `main.rs`.
    pub(crate) fn room(&self) -> Option<&str> {
        self.modules().first().copied()
    }

    /// A file that is compiled for tests alone: `ws/tests.rs`, `ws/tests/cuts.rs`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.modules().contains(&"tests")
    }

    /// Whether a line is compiled for tests alone.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test() || self.lexed.is_test_line(line)
    }

    /// Whether a test of that name stands here: a function with `#[test]` among its attributes, in a `proptest!` or not.
    pub(crate) fn has_test(&self, name: &str) -> bool {
        let code = &self.lexed.code;
        code.match_indices(&format!("fn {name}(")).any(|(at, _)| {
            // Since the item before it there are attributes alone.
            let item = code[..at].rfind(['{', '}', ';']).map_or(0, |end| end + 1);
            code[item..at].contains("#[test]")
        })
    }

    /// The `//!` lines at the top.
    pub(crate) fn head(&self) -> String {
        self.text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
    }
}

fn names_of(folder: &Path) -> io::Result<BTreeSet<String>> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    fs::read_dir(folder)?.map(|entry| entry.map(name)).collect()
}

fn read_below(
    package: &Path,
    folder: &str,
    files: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    if !package.join(folder).is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(package.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            read_below(package, &format!("{folder}/{name}"), files)?;
        }
    }
    read_files_of(package, folder, files)
}

fn read_files_of(
    package: &Path,
    folder: &str,
    files: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for entry in fs::read_dir(package.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_text = name.rsplit_once('.').is_some_and(|(_, kind)| TEXT.contains(&kind));
        if entry.file_type()?.is_file() && is_text {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            files.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

#[test]
fn this_tree_has_its_front_door() {
    let tree = Tree::read();
    assert!(tree.text("src/lib.rs").is_some());
    assert!(tree.text("Cargo.toml").is_some());
    assert!(tree.rust(&["tests"]).iter().any(|source| source.path == "tests/tidy/tree.rs"));
}

#[test]
fn a_source_knows_its_tests_from_its_other_functions() {
    let text = "#[test]\n#[ignore = \"slow; {\"]\nfn a_fact() {}\nfn helps() {}\n// #[test]\nfn said() {}\n\
                proptest! {\n    #[test]\n    fn a_property(n in 0..9) {}\n}\n";
    let tree = Tree::sample(&[("tests/a.rs", text)]);
    let sources = tree.rust(&["tests"]);
    let has = |name| sources[0].has_test(name);
    assert!(has("a_fact") && has("a_property"));
    assert!(!has("helps") && !has("said") && !has("fact"));
}

#[test]
fn a_source_knows_its_room() {
    let tree =
        Tree::sample(&[("src/ws/tests/cuts.rs", ""), ("src/main.rs", ""), ("src/app.rs", "")]);
    let rooms: Vec<_> =
        tree.rust(&["src"]).iter().map(|source| source.room().map(str::to_owned)).collect();
    assert_eq!(rooms, [Some("app".to_owned()), None, Some("ws".to_owned())]);
}

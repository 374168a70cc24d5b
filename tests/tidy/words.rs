//! Names that no file or module may have, because they own nothing; and marks of unfinished work.

use crate::finding::Finding;
use crate::tree::Tree;

const OWNERLESS: [&str; 6] = ["common", "helpers", "manager", "misc", "types", "utils"];

const OUR_CODE: [&str; 5] = ["benches", "examples", "fuzz", "src", "tests"];

/// In comments.
const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];

/// In code.
const STUBS: [&str; 2] = ["todo", "unimplemented"];

fn names(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let right = "a thing without an owner is two things; name each after what it is";
    for (path, _) in tree.files() {
        let is_ownerless = |part: &str| OWNERLESS.contains(&part.split('.').next().unwrap_or(part));
        if OUR_CODE.iter().any(|folder| path.starts_with(folder))
            && path.split('/').any(is_ownerless)
        {
            found.push(Finding::new(path, 0, "is named after nothing", right));
        }
    }
    for source in tree.rust(&OUR_CODE) {
        for (index, line) in source.lexed.code.lines().enumerate() {
            let name =
                line.split_once("mod ").map(|(_, rest)| rest.trim_end_matches([' ', '{', ';']));
            if name.is_some_and(|name| OWNERLESS.contains(&name)) {
                found.push(Finding::new(
                    source.path,
                    index + 1,
                    "names a module after nothing",
                    right,
                ));
            }
        }
    }
    found
}

fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.rust(&["benches", "examples", "src", "tests"]) {
        for (index, line) in source.lexed.comments.lines().enumerate() {
            let is_mark = |word: &str| MARKS.contains(&word);
            if line.split(|c: char| !c.is_alphanumeric()).any(is_mark) {
                let right = "what is to be done is an issue, not a comment";
                found.push(Finding::new(source.path, index + 1, "marks unfinished work", right));
            }
        }
        for path in source.lexed.paths() {
            if path.is_macro && STUBS.contains(&path.segments[0].as_str()) {
                let wrong = format!("calls `{}!`", path.text());
                let right = "no stub stays: write what belongs here";
                found.push(Finding::new(source.path, path.line, wrong, right));
            }
        }
        for (index, line) in source.lexed.code.lines().enumerate() {
            if line.trim_start().starts_with("#[ignore") {
                let right = "a test that is not run is no test: repair it or remove it";
                found.push(Finding::new(source.path, index + 1, "ignores a test", right));
            }
        }
    }
    found
}

mod tests {
    use super::*;
    use crate::finding::{check, hold};

    #[test]
    fn everything_is_named_after_what_it_is() {
        hold(names);
    }

    #[test]
    fn nothing_is_left_unfinished() {
        hold(unfinished);
    }

    #[test]
    fn ownerless_names_are_found() {
        check(names, &[("src/ws/utils.rs", "")], &["src/ws/utils.rs:0"]);
        check(names, &[("src/common/a.rs", "")], &["src/common/a.rs:0"]);
        check(names, &[("tests/a.rs", "\nmod helpers {\n}")], &["tests/a.rs:2"]);
        check(names, &[("src/ws/commons.rs", "mod mistypes;")], &[]);
    }

    #[test]
    fn marks_and_stubs_are_found() {
        check(
            unfinished,
            &[("src/a.rs", "// TODO: more\nfn f() { todo!() }")],
            &["src/a.rs:1", "src/a.rs:2"],
        );
        check(
            unfinished,
            &[("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}")],
            &["tests/a.rs:2"],
        );
        check(unfinished, &[("src/a.rs", "const A: &str = \"TODO todo!()\";")], &[]);
    }
}

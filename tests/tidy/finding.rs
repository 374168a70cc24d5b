//! What a rule found, and how it is told.

use std::fmt;

use crate::tree::Tree;

/// One place that breaks a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    file: String,
    /// 0 for the file as a whole.
    line: usize,
    wrong: String,
    right: String,
}

impl Finding {
    pub(crate) fn new(
        file: &str,
        line: usize,
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, wrong: wrong.into(), right: right.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}; {}", self.file, self.wrong, self.right),
            line => write!(f, "{}:{line}: {}; {}", self.file, self.wrong, self.right),
        }
    }
}

/// A rule of the house.
type Rule = fn(&Tree) -> Vec<Finding>;

/// Fails with all that the rule finds in this tree.
pub(crate) fn hold(rule: Rule) {
    let found = rule(&Tree::read());
    let told: String = found.iter().map(|finding| format!("  {finding}\n")).collect();
    assert!(found.is_empty(), "{} found:\n{told}", found.len());
}

/// A witness that the rule can fail: in a tree of these files it finds exactly these places, each `file:line`.
pub(crate) fn check(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    let found = rule(&Tree::sample(files));
    let places: Vec<_> =
        found.iter().map(|found| format!("{}:{}", found.file, found.line)).collect();
    assert_eq!(places, expected, "{found:#?}");
}

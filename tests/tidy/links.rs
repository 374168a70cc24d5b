//! Links within the package lead somewhere: to a file or folder that is there, and to a heading that it has.

use crate::finding::Finding;
use crate::tree::Tree;

/// One `[text](target)` or `[label]: target`.
struct Link {
    line: usize,
    target: String,
}

fn links(tree: &Tree) -> Vec<Finding> {
    let is_document =
        |path: &str| path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/'));
    let mut found = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| is_document(path)) {
        for link in links_of(text) {
            if let Some(wrong) = broken(tree, path, &link.target) {
                let right =
                    "name a path relative to this file, and a heading as its anchor is written";
                found.push(Finding::new(path, link.line, wrong, right));
            }
        }
    }
    found
}

/// Why a link leads nowhere; `None` if it leads somewhere, or out of the package.
fn broken(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { from.to_owned() } else { resolve(from, path) };
    if !tree.has(&file) {
        return Some(format!("links to `{target}`, and there is no `{file}`"));
    }
    let is_missing = |text: &str| !anchors(text).iter().any(|own| own == anchor);
    if !anchor.is_empty() && file.ends_with(".md") && tree.text(&file).is_none_or(is_missing) {
        return Some(format!("links to `{target}`, and `{file}` has no such heading"));
    }
    None
}

/// A path relative to the folder of `from`, as seen from the package.
fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The lines of a document outside of code blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

fn links_of(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        let inline =
            line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next());
        let definition = line
            .trim_start()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target);
        for target in inline.chain(definition) {
            let target = target.split_whitespace().next().unwrap_or_default().to_owned();
            links.push(Link { line: number, target });
        }
    }
    links
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The anchors of a document's headings: lower case, spaces to dashes, punctuation away; a second one of the same
/// words gets `-1`.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#')) else {
            continue;
        };
        if !heading.starts_with(' ') {
            continue;
        }
        let slug = slug(heading.trim());
        let is_again = |own: &&String| own.strip_prefix(&slug).is_some_and(is_counter);
        let anchor = match anchors.iter().filter(is_again).count() {
            0 => slug,
            before => format!("{slug}-{before}"),
        };
        anchors.push(anchor);
    }
    anchors
}

fn is_counter(rest: &str) -> bool {
    rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
}

fn slug(heading: &str) -> String {
    let keep = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    };
    heading.to_lowercase().chars().filter_map(keep).collect()
}

mod tests {
    use super::*;
    use crate::finding;

    fn check(text: &str, expected: &[&str]) {
        let other = "# The `Way` of a byte\n\n## Again\n## Again\n";
        finding::check(links, &[("docs/a/here.md", text), ("docs/other.md", other)], expected);
    }

    #[test]
    fn every_link_leads_somewhere() {
        finding::hold(links);
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        check("\n[x](../missing.md)", &["docs/a/here.md:2"]);
        check("[x](../other.md) and [y](gone.md)", &["docs/a/here.md:1"]);
        check("[x]: gone.md", &["docs/a/here.md:1"]);
    }

    #[test]
    fn a_link_to_a_missing_heading_is_found() {
        check("[x](../other.md#the-way)", &["docs/a/here.md:1"]);
        check("[x](../other.md#the-way-of-a-byte) [y](../other.md#again-1)", &[]);
        check("# Here\n[x](#here)\n[y](#there)", &["docs/a/here.md:3"]);
    }

    #[test]
    fn what_is_code_or_elsewhere_is_no_link() {
        check("```\n[x](gone)\n```\n`[x](gone)` [y](https://example.com/gone)", &[]);
    }
}

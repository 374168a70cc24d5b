//! The `.env` of a Laravel application: enough of its syntax to read the `REVERB_*` lines as Laravel does. Pure.
//!
//! ```text
//! # a comment                        REVERB_APP_KEY=plain        # a comment needs a space before it
//! export REVERB_APP_ID=12            REVERB_APP_SECRET="quoted \"so\" and ${APP_NAME}-${OTHER}"
//! REVERB_SERVER_HOST='as it stands, ${no} variables'
//! ```
//!
//! The file belongs to the application, so a line that is not about Reverb and makes no sense here is passed over.

/// One assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// A `REVERB_` line that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DotenvError {
    pub(super) line: usize,
    pub(super) message: &'static str,
}

/// The assignments of a file. `${NAME}` means an earlier line of the file, else what `variable` knows, else nothing.
pub(super) fn parse(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> (Vec<Assignment>, Vec<DotenvError>) {
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let (mut assignments, mut errors): (Vec<Assignment>, Vec<DotenvError>) =
        (Vec::new(), Vec::new());
    while let Some((line, name)) = reader.next_name() {
        let value = reader.value(|name| {
            let earlier = assignments.iter().rev().find(|assignment| assignment.name == name);
            earlier.map(|assignment| assignment.value.clone()).or_else(|| variable(name))
        });
        match value {
            Ok(value) => assignments.push(Assignment { name, value, line }),
            Err(message) if name.starts_with("REVERB_") => {
                errors.push(DotenvError { line, message })
            }
            Err(_) => {}
        }
    }
    (assignments, errors)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    /// Goes to the next line that assigns something, and past its `=`.
    fn next_name(&mut self) -> Option<(usize, String)> {
        while !self.rest.is_empty() {
            let whole = self.rest.split('\n').next().unwrap_or("");
            let statement = whole.trim_start();
            let bare = statement.strip_prefix("export ").unwrap_or(statement);
            if let Some((name, after)) = bare.split_once('=')
                && is_name(name.trim_end())
            {
                self.rest = &self.rest[whole.len() - after.len()..];
                return Some((self.line, name.trim_end().to_owned()));
            }
            self.skip_line();
        }
        None
    }

    fn skip_line(&mut self) {
        match self.rest.split_once('\n') {
            Some((_, rest)) => (self.rest, self.line) = (rest, self.line + 1),
            None => self.rest = "",
        }
    }

    /// Reads what stands behind the `=`, and goes to the next line.
    fn value(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<String, &'static str> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, variable),
            _ => Ok(self.unquoted(variable)),
        };
        self.skip_line();
        value
    }

    fn unquoted(&self, variable: impl Fn(&str) -> Option<String>) -> String {
        let line = self.rest.split('\n').next().unwrap_or("").trim_end();
        // A `#` belongs to the value unless a space stands before it: secrets may contain one.
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| line[..*at].ends_with([' ', '\t']) || *at == 0);
        expand(line[..comment.unwrap_or(line.len())].trim_end(), variable)
    }

    /// A quoted value may go on over several lines. If its quote never ends, only its first line is passed over.
    fn quoted(
        &mut self,
        quote: char,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<String, &'static str> {
        let body = &self.rest[1..];
        let end = closing_quote(body, quote).ok_or("the quote is never closed")?;
        let raw = &body[..end];
        self.line += raw.matches('\n').count();
        self.rest = &body[end + 1..];
        let after = self.rest.split('\n').next().unwrap_or("").trim();
        if !after.is_empty() && !after.starts_with('#') {
            return Err("something stands behind the closing quote");
        }
        Ok(if quote == '"' { unescape(raw, variable) } else { raw.to_owned() })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

fn closing_quote(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Undoes the escapes between double quotes and expands the variables that are not escaped.
fn unescape(raw: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut value = String::new();
    let mut plain_from = 0;
    let mut chars = raw.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\'
            && let Some((next, escaped)) = chars.next()
        {
            value.push_str(&expand(&raw[plain_from..at], &variable));
            value.push(match escaped {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            });
            plain_from = next + escaped.len_utf8();
        }
    }
    value.push_str(&expand(&raw[plain_from..], &variable));
    value
}

/// Replaces each `${NAME}`; one that is not closed stays as it is.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        value.push_str(before);
        value.push_str(&variable(name).unwrap_or_default());
        rest = behind;
    }
    value + rest
}

/// For fuzzers: any text has assignments to names, each in a line of its own; a value in either kind of quotes comes back
/// as it was, whatever text stands before it, if that ends its own quotes.
#[cfg(any(test, fuzzing))]
pub fn fuzz_dotenv(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let known = |name: &str| (name == "HOME").then(|| "/home".to_owned());
    let (assignments, errors) = parse(text, known);
    let lines = text.split('\n').count();
    let mut before = 0;
    for Assignment { name, line, .. } in &assignments {
        assert!(is_name(name) && before < *line && *line <= lines, "{name} in line {line}");
        before = *line;
    }
    assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));

    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    let quotes = [(escaped.as_str(), '"'), (text, '\'')];
    for (written, quote) in
        quotes.into_iter().filter(|(_, quote)| *quote == '"' || !text.contains('\''))
    {
        let file = format!("A=1\nREVERB_X={quote}{written}{quote} # and\nB=${{A}}2");
        let (assignments, errors) = parse(&file, known);
        let values: Vec<_> =
            assignments.iter().map(|assignment| assignment.value.as_str()).collect();
        assert_eq!((values.as_slice(), errors.len()), (["1", text, "12"].as_slice(), 0), "{file}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let (assignments, errors) =
            parse(text, |name| (name == "HOME").then(|| "/home".to_owned()));
        let got: Vec<_> =
            assignments.iter().map(|a| (a.name.as_str(), a.value.as_str(), a.line)).collect();
        assert_eq!((got.as_slice(), errors), (expected, vec![]), "{text}");
    }

    #[test]
    fn plain_values_end_at_a_comment_that_has_a_space_before_it() {
        check(
            "A=one # two\nB=p#q\nC=# all\n\n#D=4\nE=",
            &[("A", "one", 1), ("B", "p#q", 2), ("C", "", 3), ("E", "", 6)],
        );
    }

    #[test]
    fn quotes_keep_spaces_and_hashes() {
        check("A=\" b # c \" # d\nB='${A} \\n'", &[("A", " b # c ", 1), ("B", "${A} \\n", 2)]);
    }

    #[test]
    fn escapes_are_undone_between_double_quotes() {
        check(r#"A="say \"hi\"\t\\ \${HOME}""#, &[("A", "say \"hi\"\t\\ ${HOME}", 1)]);
    }

    #[test]
    fn export_and_windows_line_ends_are_read() {
        check("export A=1\r\n  B = 2\r\n", &[("A", "1", 1), ("B", "2", 2)]);
    }

    #[test]
    fn variables_come_from_the_file_and_then_from_the_environment() {
        check(
            "A=x\nB=${A}-${HOME}-${NONE}\nC=\"${B}\"",
            &[("A", "x", 1), ("B", "x-/home-", 2), ("C", "x-/home-", 3)],
        );
    }

    #[test]
    fn a_quoted_value_over_several_lines_hides_what_looks_like_a_line() {
        check(
            "KEY=\"one\nREVERB_APP_ID=9\n\"\nREVERB_APP_ID=1",
            &[("KEY", "one\nREVERB_APP_ID=9\n", 1), ("REVERB_APP_ID", "1", 4)],
        );
    }

    #[test]
    fn nonsense_that_is_not_about_reverb_is_passed_over() {
        check("hello\nAPP_NAME=\"open\nREVERB_APP_ID=1", &[("REVERB_APP_ID", "1", 3)]);
    }

    #[test]
    fn a_broken_reverb_line_is_an_error_with_its_line() {
        let (_, errors) = parse("A=1\nREVERB_APP_KEY=\"open\n", |_| None);
        assert_eq!(errors, [DotenvError { line: 2, message: "the quote is never closed" }]);
    }
}

//! ③ The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), over any number of header lines.
//!
//! ```text
//!  permessage-deflate; server_max_window_bits=10; client_max_window_bits , x-other ; mode = "fast"
//!  ╰ name ──────────╯  ╰ parameter ─────────────╯  ╰ without a value ───╯    ╰ a quoted token is that token
//! ```
//!
//! Pure, and knows no extension: what a name means is for `deflate/negotiation.rs` to say.

use std::borrow::Cow;

use super::handshake::is_token;

/// One extension as it is offered, or agreed to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<Parameter<'a>>,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<Cow<'a, str>>,
}

/// The field does not follow the grammar.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// All extensions of all lines, in order. A field that is there names at least one.
pub(super) fn parse<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<Extension<'a>>, Malformed> {
    let mut extensions = Vec::new();
    let mut is_there = false;
    for line in lines {
        is_there = true;
        let mut rest = Rest(line);
        // RFC 9110 §5.6.1.2: empty elements of a list are passed over, if not all of them are.
        while !rest.skip_blanks_and(',').is_empty() {
            extensions.push(rest.extension()?);
            if !rest.skip_blanks().is_empty() && !rest.eat(',') {
                return Err(Malformed);
            }
        }
    }
    if is_there && extensions.is_empty() { Err(Malformed) } else { Ok(extensions) }
}

/// What of a line is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.eat(';') {
            let name = self.token()?;
            let value = if self.eat('=') { Some(self.value()?) } else { None };
            parameters.push(Parameter { name, value });
        }
        Ok(Extension { name, parameters })
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let is_over = |character| matches!(character, ' ' | '\t' | ',' | ';' | '=' | '"');
        let (token, rest) = self.0.split_at(self.0.find(is_over).unwrap_or(self.0.len()));
        self.0 = rest;
        if is_token(token) { Ok(token) } else { Err(Malformed) }
    }

    /// A token, or a quoted string that is one once its quoting is undone.
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.eat('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        loop {
            let mut characters = self.0.chars();
            let character = match characters.next().ok_or(Malformed)? {
                '"' => break,
                '\\' => characters.next().ok_or(Malformed)?,
                character => character,
            };
            value.push(character);
            self.0 = characters.as_str();
        }
        self.eat('"');
        if is_token(&value) { Ok(Cow::Owned(value)) } else { Err(Malformed) }
    }

    /// Takes one mark, and the blanks before it.
    fn eat(&mut self, mark: char) -> bool {
        let rest = self.skip_blanks().strip_prefix(mark);
        rest.map(|rest| self.0 = rest).is_some()
    }

    fn skip_blanks(&mut self) -> &'a str {
        self.skip_blanks_and(' ')
    }

    fn skip_blanks_and(&mut self, mark: char) -> &'a str {
        self.0 = self.0.trim_start_matches([' ', '\t', mark]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what lines read as, written plainly: `name; parameter=value`.
    fn check(lines: &[&str], expected: Option<&[&str]>) {
        let plain = |extension: &Extension<'_>| {
            let mut text = extension.name.to_owned();
            for Parameter { name, value } in &extension.parameters {
                text += &format!("; {name}");
                text += &value.iter().map(|value| format!("={value}")).collect::<String>();
            }
            text
        };
        let read = parse(lines.iter().copied()).ok();
        let read = read.map(|list| list.iter().map(plain).collect::<Vec<_>>());
        let expected = expected.map(|list| list.iter().copied().map(str::to_owned).collect());
        assert_eq!(read, expected, "{lines:?}");
    }

    #[test]
    fn extensions_are_read_from_lists_and_lines() {
        check(&[], Some(&[]));
        check(&["a"], Some(&["a"]));
        check(&["a, b;c ; d=1", "e"], Some(&["a", "b; c; d=1", "e"]));
        check(&["a;b\t=\t2,", " ,c"], Some(&["a; b=2", "c"]));
        check(&["", "a"], Some(&["a"]));
    }

    #[test]
    fn quoted_value_is_the_token_in_it() {
        check(&[r#"a; b="10"; c"#], Some(&["a; b=10; c"]));
        check(&[r#"a; b="1\0" , d"#], Some(&["a; b=10", "d"]));
        for refused in
            [r#"a; b="1 0""#, r#"a; b="""#, r#"a; b="10"#, r#"a; b="10\"#, r#"a; b="1"0"#]
        {
            check(&[refused], None);
        }
    }

    #[test]
    fn field_without_an_extension_is_malformed() {
        for lines in [&[""][..], &[" , ,"], &["", ","]] {
            check(lines, None);
        }
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for line in
            ["a b", "a;", "a; ;b", "a; b=", "a; =1", "=", "a;b c", "é", "a/b", "a; b=/", "a\"b\""]
        {
            check(&[line], None);
            check(&["sound", line], None);
        }
    }
}

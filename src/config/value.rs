//! Values of settings: what each kind takes, and how it is read from text and from TOML. Pure.

use std::fmt;

use toml::de::DeValue;

use crate::pusher::Origins;
use crate::pusher::origins::NoPattern;

/// What a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// On, off, or decided by the other settings.
    Auto,
    /// A number of bytes; `64 KiB` and `1 MiB` are read too.
    Bytes {
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// A number, or `none` for no limit.
    Ceiling,
    /// A number.
    Count {
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// An IP address or a host's name, without a port.
    Host,
    /// A number of milliseconds.
    Milliseconds {
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Text of visible ASCII characters, at least one.
    Name,
    /// Hosts of pages that may connect, with wildcards: a list, or text with commas.
    Origins,
    /// A path prefix: empty, or beginning and not ending with a slash.
    Path,
    /// A number of seconds.
    Seconds {
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// On or off.
    Switch,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// What a setting is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Neither: no limit, or decided by the other settings.
    Absent,
    /// A number, in the unit of its key.
    Number(u64),
    /// On or off.
    Switch(bool),
    /// Text.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// The text is no value of that kind; [`Kind`]'s `Display` says what would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOfKind;

impl Kind {
    /// Reads a value as written in the environment, in a `.env` or behind a flag.
    pub fn read(self, text: &str) -> Result<Value, NotOfKind> {
        let text = text.trim();
        match self {
            Self::Auto if is_word(text, &["auto"]) => Ok(Value::Absent),
            Self::Ceiling if is_word(text, &["none", "null"]) => Ok(Value::Absent),
            Self::Auto | Self::Switch => switch(text).map(Value::Switch),
            Self::Bytes { .. } => self.bounded(bytes(text)?),
            Self::Ceiling
            | Self::Count { .. }
            | Self::Milliseconds { .. }
            | Self::Seconds { .. } => self.bounded(number(text)?),
            Self::Host => host(text).map(Value::Text),
            Self::Name if is_name(text) => Ok(Value::Text(text.to_owned())),
            Self::Name => Err(NotOfKind),
            Self::Origins => origins(text.parse()),
            Self::Path => path(text).map(Value::Text),
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Word(words) => {
                let word = words.iter().find(|word| text.eq_ignore_ascii_case(word));
                word.map(|word| Value::Text((*word).to_owned())).ok_or(NotOfKind)
            }
        }
    }

    /// Reads a value as written in the file. The type must be right: a port in quotes is a mistake worth hearing of.
    pub(super) fn read_toml(self, value: &DeValue<'_>) -> Result<Value, NotOfKind> {
        match value {
            DeValue::Boolean(on) if matches!(self, Self::Auto | Self::Switch) => {
                Ok(Value::Switch(*on))
            }
            DeValue::Integer(integer) if self.is_number() => {
                let number = u64::from_str_radix(integer.as_str(), integer.radix())
                    .map_err(|_| NotOfKind)?;
                self.bounded(number)
            }
            DeValue::Array(hosts) if self == Self::Origins => {
                let texts = hosts.iter().map(|host| host.get_ref().as_str().ok_or(NotOfKind));
                let texts: Vec<&str> = texts.collect::<Result<_, _>>()?;
                origins(Origins::of(texts))
            }
            DeValue::String(text) if self.is_text() => self.read(text),
            DeValue::String(text) if self == Self::Auto && text == "auto" => Ok(Value::Absent),
            DeValue::String(text) if self == Self::Ceiling && text == "none" => Ok(Value::Absent),
            DeValue::String(text) if matches!(self, Self::Bytes { .. }) => {
                self.bounded(bytes(text)?)
            }
            _ => Err(NotOfKind),
        }
    }

    fn is_number(self) -> bool {
        matches!(
            self,
            Self::Bytes { .. }
                | Self::Ceiling
                | Self::Count { .. }
                | Self::Milliseconds { .. }
                | Self::Seconds { .. }
        )
    }

    fn is_text(self) -> bool {
        matches!(
            self,
            Self::Host | Self::Name | Self::Origins | Self::Path | Self::Text | Self::Word(_)
        )
    }

    fn bounded(self, number: u64) -> Result<Value, NotOfKind> {
        let (least, most) = match self {
            Self::Bytes { least, most }
            | Self::Count { least, most }
            | Self::Milliseconds { least, most }
            | Self::Seconds { least, most } => (least, most),
            Self::Ceiling => (1, u64::from(u32::MAX)),
            _ => return Err(NotOfKind),
        };
        if (least..=most).contains(&number) { Ok(Value::Number(number)) } else { Err(NotOfKind) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("true, false or auto"),
            Self::Bytes { least, most } => {
                write!(f, "a number of bytes from {least} to {most}, such as 65536 or \"64 KiB\"")
            }
            Self::Ceiling => f.write_str("a number from 1 to 4294967295, or none"),
            Self::Count { least, most } => write!(f, "a number from {least} to {most}"),
            Self::Host => f.write_str("an IP address or a host name, without a port"),
            Self::Milliseconds { least, most } => {
                write!(f, "a number of milliseconds from {least} to {most}")
            }
            Self::Name => f.write_str("text of visible ASCII characters without spaces, not empty"),
            Self::Origins => write!(f, "{NoPattern}"),
            Self::Path => {
                f.write_str("a path that begins with a slash, such as \"/ws\", or nothing")
            }
            Self::Seconds { least, most } => {
                write!(f, "a number of seconds from {least} to {most}")
            }
            Self::Switch => f.write_str("true or false"),
            Self::Text => f.write_str("text"),
            Self::Word(words) => {
                let (last, others) = words.split_last().unwrap_or((&"", &[]));
                write!(f, "{} or {last}", others.join(", "))
            }
        }
    }
}

fn is_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn switch(text: &str) -> Result<bool, NotOfKind> {
    match () {
        () if is_word(text, &["true", "1", "on", "yes"]) => Ok(true),
        () if is_word(text, &["false", "0", "off", "no"]) => Ok(false),
        () => Err(NotOfKind),
    }
}

/// Digits, and underscores between them as TOML has it. `+5` and ` 5` are nobody's intention.
fn number(text: &str) -> Result<u64, NotOfKind> {
    let digits = text.replace('_', "");
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().map_err(|_| NotOfKind)
    } else {
        Err(NotOfKind)
    }
}

fn bytes(text: &str) -> Result<u64, NotOfKind> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(NotOfKind),
    };
    number(digits)?.checked_mul(factor).ok_or(NotOfKind)
}

fn host(text: &str) -> Result<String, NotOfKind> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let is_host_name = !bare.is_empty()
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_address || is_host_name { Ok(bare.to_owned()) } else { Err(NotOfKind) }
}

/// Kept as it would be written in the environment.
fn origins(origins: Result<Origins, NoPattern>) -> Result<Value, NotOfKind> {
    origins.map(|origins| Value::Text(origins.to_string())).map_err(|_| NotOfKind)
}

/// Reverb takes the path with and without its slashes, and so do we; kept is `/a/b`, or nothing for the root.
fn path(text: &str) -> Result<String, NotOfKind> {
    let bare = text.trim_matches('/');
    let is_plain =
        bare.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\"<>\\".contains(&byte));
    match (is_plain, bare.is_empty()) {
        (false, _) => Err(NotOfKind),
        (true, true) => Ok(String::new()),
        (true, false) => Ok(format!("/{bare}")),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, expected: Option<Value>) {
        assert_eq!(kind.read(text).ok(), expected, "{kind:?} {text:?}");
    }

    const BYTES: Kind = Kind::Bytes { least: 256, most: 1 << 20 };
    const PORT: Kind = Kind::Count { least: 0, most: 65_535 };

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        check(BYTES, "65536", Some(Value::Number(65_536)));
        check(BYTES, "64 KiB", Some(Value::Number(65_536)));
        check(BYTES, "1MiB", Some(Value::Number(1 << 20)));
        check(BYTES, "64 kb", None);
        check(BYTES, "KiB", None);
        check(BYTES, "99999999999999 GiB", None);
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        check(PORT, "65535", Some(Value::Number(65_535)));
        check(PORT, "65536", None);
        check(PORT, "-1", None);
        check(PORT, "+1", None);
        check(PORT, "", None);
        check(BYTES, "255", None);
        check(Kind::Ceiling, "0", None);
    }

    #[test]
    fn switches_take_the_words_of_dotenv_files() {
        check(Kind::Switch, "True", Some(Value::Switch(true)));
        check(Kind::Switch, "off", Some(Value::Switch(false)));
        check(Kind::Switch, "maybe", None);
        check(Kind::Auto, "auto", Some(Value::Absent));
    }

    #[test]
    fn paths_are_kept_with_one_leading_slash() {
        check(Kind::Path, "ws/", Some(Value::Text("/ws".to_owned())));
        check(Kind::Path, "/", Some(Value::Text(String::new())));
        check(Kind::Path, "/a?b", None);
    }

    #[test]
    fn hosts_lose_their_brackets_and_have_no_port() {
        check(Kind::Host, "[::1]", Some(Value::Text("::1".to_owned())));
        check(Kind::Host, "localhost", Some(Value::Text("localhost".to_owned())));
        check(Kind::Host, "127.0.0.1:80", None);
        check(Kind::Host, "", None);
    }

    #[test]
    fn words_are_taken_from_their_list_in_any_case() {
        const WORDS: Kind = Kind::Word(&["refuse", "wait"]);
        check(WORDS, "wait", Some(Value::Text("wait".to_owned())));
        check(WORDS, " Refuse ", Some(Value::Text("refuse".to_owned())));
        check(WORDS, "", None);
        check(WORDS, "waiting", None);
        assert_eq!(WORDS.to_string(), "refuse or wait");
    }

    #[test]
    fn origins_are_hosts_with_commas_between() {
        check(Kind::Origins, "*", Some(Value::Text("*".to_owned())));
        let two = Value::Text("example.com, *.example.com".to_owned());
        check(Kind::Origins, "Example.com,*.example.com", Some(two));
        check(Kind::Origins, "https://example.com", None);
        check(Kind::Origins, "", None);
    }

    #[test]
    fn no_limit_is_spelled_none_or_null() {
        check(Kind::Ceiling, "none", Some(Value::Absent));
        check(Kind::Ceiling, "null", Some(Value::Absent));
        check(Kind::Ceiling, "10", Some(Value::Number(10)));
    }
}

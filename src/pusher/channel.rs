//! What a channel's name says about it: its kind, by prefix, and whether it is a name at all. Pure.
//!
//! The kinds are told apart by exactly these prefixes, the longest first, so that `privateer` and `my-cache-x` are
//! public:
//!
//! ```text
//!   private-encrypted-cache-   private-encrypted-   private-cache-   private-
//!   presence-cache-            presence-            cache-           #server-to-user-
//! ```

use std::fmt;

/// What kind of channel a name belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `cache-`: public, and its last event is kept.
    Cache,
    /// `presence-`: signed, and its members know each other.
    Presence,
    /// `presence-cache-`.
    PresenceCache,
    /// `private-`: signed.
    Private,
    /// `private-cache-`.
    PrivateCache,
    /// `private-encrypted-`: signed, and its events are opaque to us.
    PrivateEncrypted,
    /// `private-encrypted-cache-`.
    PrivateEncryptedCache,
    /// No prefix of these: anybody may subscribe.
    Public,
    /// `#server-to-user-`: for the connections signed in as that user.
    ServerToUser,
}

impl Kind {
    /// What the name of a server-to-user channel has before the user's id.
    pub(super) const SERVER_TO_USER: &'static str = "#server-to-user-";

    const PREFIXES: [(&'static str, Self); 8] = [
        ("private-encrypted-cache-", Self::PrivateEncryptedCache),
        ("private-encrypted-", Self::PrivateEncrypted),
        (Self::SERVER_TO_USER, Self::ServerToUser),
        ("presence-cache-", Self::PresenceCache),
        ("private-cache-", Self::PrivateCache),
        ("presence-", Self::Presence),
        ("private-", Self::Private),
        ("cache-", Self::Cache),
    ];

    /// The kind of the channel of that name.
    pub fn of(name: &str) -> Self {
        Self::PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Public, |&(_, kind)| kind)
    }

    /// Whether a subscription must be signed by the application.
    pub fn needs_signature(self) -> bool {
        !matches!(self, Self::Cache | Self::Public | Self::ServerToUser)
    }

    /// Whether its subscribers are members that know each other.
    pub fn has_members(self) -> bool {
        matches!(self, Self::Presence | Self::PresenceCache)
    }

    /// Whether its last event is kept for those who come later.
    pub fn is_cached(self) -> bool {
        matches!(
            self,
            Self::Cache | Self::PresenceCache | Self::PrivateCache | Self::PrivateEncryptedCache
        )
    }
}

/// What a channel may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Naming {
    /// The length of a name, in characters.
    pub max_characters: usize,
    /// Whether the characters are free, as with Reverb and soketi.
    pub any_characters: bool,
}

impl Naming {
    /// Whether a channel may have that name. `#` may only begin the name of a channel that the server makes.
    pub fn check(self, name: &str) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let limit = self.max_characters;
        // A text has no more characters than bytes.
        let characters = if name.len() <= limit { name.len() } else { name.chars().count() };
        if characters > limit {
            return Err(NameError::TooLong { characters, limit });
        }
        if name.starts_with('#') && Kind::of(name) != Kind::ServerToUser {
            return Err(NameError::Character { got: '#' });
        }
        if self.any_characters {
            return Ok(());
        }
        let rest = if Kind::of(name) == Kind::ServerToUser { &name[1..] } else { name };
        rest.chars()
            .find(|&got| !is_plain(got))
            .map_or(Ok(()), |got| Err(NameError::Character { got }))
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '_' | '-' | '=' | '@' | ',' | '.' | ';')
}

/// Why a text is not the name of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// A character that names may not have.
    Character {
        /// The first such character.
        got: char,
    },
    /// There is no name.
    Empty,
    /// It is too long.
    TooLong {
        /// Its length, in characters.
        characters: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { got } => {
                write!(f, "a channel name may have letters, digits and _-=@,.; but not {got:?}")
            }
            Self::Empty => f.write_str("a channel name may not be empty"),
            Self::TooLong { characters, limit } => {
                write!(f, "the channel name has {characters} characters; {limit} are allowed")
            }
        }
    }
}

impl std::error::Error for NameError {}

/// For fuzzers: the kind of a name is that of its longest prefix, and a name is one if each of its characters may be there.
#[cfg(any(test, fuzzing))]
pub fn fuzz_channels(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let Ok(name) = str::from_utf8(rest) else { return };
    let kind = Kind::of(name);
    let prefixes = Kind::PREFIXES.iter().filter(|(prefix, _)| name.starts_with(prefix));
    let longest = prefixes.max_by_key(|(prefix, _)| prefix.len());
    assert_eq!(kind, longest.map_or(Kind::Public, |&(_, kind)| kind));
    assert_eq!(
        kind.needs_signature(),
        ["private-", "presence-"].iter().any(|p| name.starts_with(p))
    );
    assert_eq!(kind.has_members(), name.starts_with("presence-"));
    let any_characters = first & 1 == 1;
    let naming = Naming { max_characters: usize::from(first >> 1), any_characters };
    let plain = name.strip_prefix("#server-to-user-").unwrap_or(name);
    let has_only_plain =
        plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b));
    let is_free = any_characters && !plain.starts_with('#') || plain.len() < name.len();
    let fits = (1..=naming.max_characters).contains(&name.chars().count());
    let expected = fits && (has_only_plain || any_characters && is_free);
    assert_eq!(naming.check(name).is_ok(), expected, "{name:?}: {:?}", naming.check(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, kind: Kind) {
        assert_eq!(Kind::of(name), kind, "{name}");
    }

    fn check_name(name: &str, expected: Result<(), NameError>) {
        let naming = Naming { max_characters: 200, any_characters: false };
        assert_eq!(naming.check(name), expected, "{name}");
    }

    #[test]
    fn every_prefix_has_its_kind() {
        check("cache-x", Kind::Cache);
        check("presence-x", Kind::Presence);
        check("presence-cache-x", Kind::PresenceCache);
        check("private-x", Kind::Private);
        check("private-cache-x", Kind::PrivateCache);
        check("private-encrypted-x", Kind::PrivateEncrypted);
        check("private-encrypted-cache-x", Kind::PrivateEncryptedCache);
        check("#server-to-user-7", Kind::ServerToUser);
        check("news", Kind::Public);
    }

    #[test]
    fn a_prefix_without_its_dash_is_public() {
        for name in
            ["private", "privateer", "presence", "presences-x", "cache", "cached-x", "Private-x"]
        {
            check(name, Kind::Public);
        }
    }

    #[test]
    fn a_prefix_counts_only_at_the_beginning() {
        check("my-cache-x", Kind::Public);
        check("my-private-x", Kind::Public);
        check("private-x-cache-y", Kind::Private);
        check("cache-private-x", Kind::Cache);
    }

    #[test]
    fn kinds_know_what_they_ask_of_a_subscriber() {
        let signed: Vec<_> =
            Kind::PREFIXES.iter().filter(|(_, kind)| kind.needs_signature()).collect();
        assert!(signed.iter().all(|(prefix, _)| prefix.starts_with("pr")));
        assert_eq!(signed.len(), 6);
        let cached: Vec<_> = Kind::PREFIXES.iter().filter(|(_, kind)| kind.is_cached()).collect();
        assert!(cached.iter().all(|(prefix, _)| prefix.ends_with("cache-")));
        assert_eq!(cached.len(), 4);
        assert!(Kind::Presence.has_members() && Kind::PresenceCache.has_members());
    }

    #[test]
    fn names_of_200_characters_are_allowed_and_of_201_not() {
        check_name(&"a".repeat(200), Ok(()));
        check_name(&"a".repeat(201), Err(NameError::TooLong { characters: 201, limit: 200 }));
    }

    #[test]
    fn names_have_the_characters_of_the_sdks() {
        check_name("aZ09_-=@,.;", Ok(()));
        check_name("", Err(NameError::Empty));
        for (name, got) in
            [("a:b", ':'), ("a/b", '/'), ("a b", ' '), ("ü", 'ü'), ("a#b", '#'), ("#x", '#')]
        {
            check_name(name, Err(NameError::Character { got }));
        }
        check_name("#server-to-user-7", Ok(()));
        check_name("#server-to-user-a:b", Err(NameError::Character { got: ':' }));
    }

    #[test]
    fn relaxed_names_may_have_any_character_and_still_have_a_length() {
        let naming = Naming { max_characters: 3, any_characters: true };
        assert_eq!(naming.check("a:ü"), Ok(()));
        assert_eq!(naming.check("a:üx"), Err(NameError::TooLong { characters: 4, limit: 3 }));
        assert_eq!(naming.check(""), Err(NameError::Empty));
        assert_eq!(naming.check("#x"), Err(NameError::Character { got: '#' }), "the server's own");
    }
}

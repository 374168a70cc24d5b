//! Whose habits an app keeps: where servers of the protocol differ by taste and no client depends on it, one word
//! chooses for all of it. Pure.
//!
//! ```text
//!   compat ──▶ App::with_compat: the defaults of an app ──▶ each setting of its own may still say otherwise
//! ```
//!
//! What clients do depend on is the same under every word. `docs/reference/config.md` has the table of all three.

use super::apps::App;
use super::signature::Secret;

/// An enumeration whose values are written as words in settings.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $($(#[$what])* $variant,)*
        }

        impl $name {
            /// All words, in the order of the reference.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The value of that word.
            pub fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Whose habits an app keeps where nothing else is said.
    Compat {
        /// Laravel Reverb's, save where they break clients.
        Reverb = "reverb",
        /// Those of Pusher Channels, the hosted service.
        Pusher = "pusher",
        /// soketi's.
        Soketi = "soketi",
    }
}

words! {
    /// What a client is told that finds its app full.
    OverQuota {
        /// 4004: pusher-js gives up for as long as the page lives.
        Refuse = "refuse",
        /// 4100: pusher-js asks again every second.
        Wait = "wait",
    }
}

words! {
    /// What a client is told that subscribes to a channel it is on.
    DuplicateSubscription {
        /// That it is on the channel, again; what it brings is new.
        Confirm = "confirm",
        /// An error without a code, and nothing changes.
        Refuse = "refuse",
    }
}

words! {
    /// What a back end is told that asks for the users of a presence channel that nobody is on.
    VacantUsers {
        /// 200 and no users.
        Empty = "empty",
        /// 404 and `{}`.
        NotFound = "not_found",
    }
}

words! {
    /// What a back end is told that asks how many users a channel has which has none, for it is no presence channel.
    UserCountElsewhere {
        /// Nothing, among all else that it asks.
        Omit = "omit",
        /// 400.
        Refuse = "refuse",
    }
}

impl App {
    /// An application with the default limits and habits of that kind.
    pub fn with_compat(
        compat: Compat,
        id: impl Into<String>,
        key: impl Into<String>,
        secret: impl Into<Secret>,
    ) -> Self {
        let app = Self::new(id, key, secret);
        match compat {
            Compat::Reverb => app,
            Compat::Pusher => Self {
                duplicate_subscription: DuplicateSubscription::Refuse,
                client_events: false,
                client_events_on_public: false,
                client_events_per_second: Some(10),
                user_count_elsewhere: UserCountElsewhere::Refuse,
                max_channel_name: 164,
                max_event_bytes: 10 * 1024,
                max_presence_members: Some(100),
                max_member_bytes: Some(1024),
                max_user_id: 128,
                ..app
            },
            Compat::Soketi => Self {
                over_quota: OverQuota::Wait,
                client_events: false,
                // soketi takes a client's event of 100 KiB. Its 100 MB for any message is not copied: whoever may send
                // that much without a word of the app may fill our memory.
                max_message_bytes: 128 * 1024,
                max_presence_members: Some(100),
                max_member_bytes: Some(2048),
                cache_ttl_seconds: 3_600,
                ..app
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_for_one_value() {
        for word in Compat::WORDS {
            assert_eq!(Compat::of(word).map(Compat::word), Some(*word));
        }
        assert_eq!(Compat::of("Reverb"), None);
        assert_eq!(OverQuota::of("wait"), Some(OverQuota::Wait));
        assert_eq!(DuplicateSubscription::WORDS, ["confirm", "refuse"]);
        assert_eq!(VacantUsers::of("not_found"), Some(VacantUsers::NotFound));
        assert_eq!(UserCountElsewhere::Omit.word(), "omit");
    }

    #[test]
    fn an_app_of_which_nothing_is_said_is_as_reverbs() {
        assert_eq!(App::with_compat(Compat::Reverb, "1", "k", "s"), App::new("1", "k", "s"));
    }

    #[test]
    fn a_kind_changes_no_more_than_its_row_of_the_reference_says() {
        let reference = include_str!("../../docs/reference/config.md");
        let of = |compat| App::with_compat(compat, "1", "k", "s");
        let (reverb, pusher, soketi) = (of(Compat::Reverb), of(Compat::Pusher), of(Compat::Soketi));
        let shown = |limit: Option<u32>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        let check = |key: &str, value: &dyn Fn(&App) -> String| {
            let [reverb, pusher, soketi] = [&reverb, &pusher, &soketi].map(value);
            let row = format!("| `{key}` | `{reverb}` | `{pusher}` | `{soketi}` |");
            assert!(reference.contains(&row), "docs/reference/config.md lacks {row}");
        };
        check("over_quota", &|app| app.over_quota.word().to_owned());
        check("duplicate_subscription", &|app| app.duplicate_subscription.word().to_owned());
        check("client_events", &|app| app.client_events.to_string());
        check("client_events_on_public", &|app| app.client_events_on_public.to_string());
        check("client_events_per_second", &|app| shown(app.client_events_per_second));
        check("vacant_users", &|app| app.vacant_users.word().to_owned());
        check("user_count_elsewhere", &|app| app.user_count_elsewhere.word().to_owned());
        check("max_channel_name", &|app| app.max_channel_name.to_string());
        check("max_event_bytes", &|app| app.max_event_bytes.to_string());
        check("max_message_bytes", &|app| app.max_message_bytes.to_string());
        check("max_presence_members", &|app| shown(app.max_presence_members));
        check("max_member_bytes", &|app| shown(app.max_member_bytes));
        check("max_user_id", &|app| app.max_user_id.to_string());
        check("cache_ttl", &|app| app.cache_ttl_seconds.to_string());
    }
}

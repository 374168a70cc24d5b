//! What can go wrong between a client and us, and what the client hears of it. Pure.
//!
//! The code's range tells a client what to do once the connection is closed with it: 40xx stay away, 41xx come back
//! in a second, 42xx come back at once. In a frame alone, without a close, a code changes nothing for the client.

use std::fmt;

use super::channel::NameError;
use super::presence::MemberError;
use super::signature::AuthError;
use super::users::UserError;
use crate::{CloseCode, SubscribeError};

/// An error of the connection as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// The app is switched off.
    AppDisabled,
    /// No app has that key.
    AppUnknown {
        /// The key of the path.
        key: String,
    },
    /// A client event, while too much is under way.
    ClientEventBusy,
    /// A client event with a name that is too long.
    ClientEventName {
        /// Its length, in characters.
        characters: usize,
        /// The limit.
        limit: usize,
    },
    /// A client event to a channel that the client is not on.
    ClientEventNotMember,
    /// A client event to a channel that anybody may be on, where the app has none there.
    ClientEventOnPublic,
    /// A client event with too much data.
    ClientEventTooBig {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A client event where the app has none.
    ClientEventsDisabled,
    /// What came is no message of the protocol.
    InvalidMessage,
    /// A message longer than the app allows.
    MessageTooBig,
    /// The client's page, by its `Origin`, is none that the app allows; or it has none.
    OriginNotAllowed,
    /// The app has as many connections as it may have, and there may soon be room.
    OverCapacity,
    /// The app has as many connections as it may have.
    OverQuota,
    /// A path that names no app key.
    PathInvalid,
    /// The client showed no life when it was asked.
    PongMissing,
    /// The `protocol` of the query is not a number.
    ProtocolNotANumber {
        /// What was sent.
        got: String,
    },
    /// The `protocol` of the query is one we do not speak.
    ProtocolUnsupported {
        /// What was sent.
        got: String,
    },
    /// A sign-in that does not hold.
    SignIn(SignInError),
    /// The server stops.
    Stopping {
        /// The client was there before; else it came meanwhile and was not greeted.
        is_greeted: bool,
    },
    /// The application ended the user's connections.
    Terminated,
    /// A client event, or any message, that came too soon after others.
    TooSoon,
    /// The client neither signed in nor subscribed to a signed channel within the app's time for that.
    Unauthorised {
        /// That time.
        seconds: u32,
    },
    /// A watchlist with more users than the app allows.
    WatchlistTooLong {
        /// How many it has.
        users: usize,
        /// The limit.
        limit: usize,
    },
}

impl ClientError {
    /// The code this error earns, in the frame and, where it ends the connection, in the close frame after it.
    pub fn code(&self) -> CloseCode {
        CloseCode(match self {
            Self::AppUnknown { .. } => 4001,
            Self::AppDisabled => 4003,
            Self::OverQuota => 4004,
            Self::PathInvalid => 4005,
            Self::ProtocolNotANumber { .. } => 4006,
            Self::ProtocolUnsupported { .. } => 4007,
            Self::OverCapacity | Self::Stopping { is_greeted: false } => 4100,
            Self::InvalidMessage | Self::MessageTooBig | Self::Stopping { is_greeted: true } => {
                4200
            }
            Self::PongMissing => 4201,
            Self::ClientEventNotMember
            | Self::OriginNotAllowed
            | Self::SignIn(_)
            | Self::Terminated
            | Self::Unauthorised { .. } => 4009,
            Self::WatchlistTooLong { .. } => 4302,
            Self::ClientEventBusy
            | Self::ClientEventName { .. }
            | Self::ClientEventOnPublic
            | Self::ClientEventTooBig { .. }
            | Self::TooSoon
            | Self::ClientEventsDisabled => 4301,
        })
    }
}

/// The sentences that existing tools and tests look for stay as they know them.
impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppDisabled => f.write_str("The app is not enabled."),
            Self::AppUnknown { key } => {
                write!(f, "App key {} does not exist.", Shortened(key, REPEATED_CHARACTERS))
            }
            Self::ClientEventBusy => {
                f.write_str("Too much is under way; please send the event again soon.")
            }
            Self::ClientEventName { characters, limit } => {
                write!(f, "The event name has {characters} characters; {limit} are allowed.")
            }
            Self::ClientEventNotMember => {
                f.write_str("The client is not a member of the specified channel.")
            }
            Self::ClientEventOnPublic => {
                f.write_str("Clients may send events to private and presence channels only.")
            }
            Self::TooSoon => f.write_str("Rate limit exceeded"),
            Self::ClientEventTooBig { bytes, limit } => {
                write!(f, "The event data has {bytes} bytes; {limit} are allowed.")
            }
            Self::ClientEventsDisabled => {
                f.write_str("The app does not have client messaging enabled.")
            }
            Self::InvalidMessage => f.write_str("Invalid message format"),
            Self::MessageTooBig => f.write_str("Maximum message size exceeded"),
            Self::OriginNotAllowed => f.write_str("Origin not allowed"),
            Self::OverCapacity => {
                f.write_str("The current concurrent connections quota has been reached.")
            }
            Self::OverQuota => f.write_str("Application is over connection quota"),
            Self::PathInvalid => f.write_str("The path must be /app/ and an app key."),
            Self::PongMissing => f.write_str("Pong reply not received in time"),
            Self::ProtocolNotANumber { got } => {
                write!(
                    f,
                    "The protocol must be a number from 5 to 7, not {}.",
                    Shortened(got, REPEATED_CHARACTERS)
                )
            }
            Self::ProtocolUnsupported { got } => {
                write!(
                    f,
                    "Protocol {} is not supported; 5 to 7 are.",
                    Shortened(got, REPEATED_CHARACTERS)
                )
            }
            Self::SignIn(error) => write!(f, "Connection is unauthorized: {error}"),
            Self::Stopping { .. } => f.write_str("The server is restarting; please connect again."),
            Self::Terminated => f.write_str("The application has ended this user's connections."),
            Self::Unauthorised { seconds } => {
                write!(f, "Connection not authorized within {seconds} seconds.")
            }
            Self::WatchlistTooLong { users, limit } => {
                write!(f, "The watchlist has {users} users; the first {limit} are watched.")
            }
        }
    }
}

/// What a peer wrote, repeated to it no longer than that many characters.
pub(super) struct Shortened<'a>(pub(super) &'a str, pub(super) usize);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// Fits beside our own words into the 123 bytes of a close frame's reason.
const REPEATED_CHARACTERS: usize = 40;

impl std::error::Error for ClientError {}

/// Why a client is not signed in. The connection stays, and whoever it was signed in as, it still is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignInError {
    /// The signature does not hold.
    Auth(AuthError),
    /// The connection is signed in as another user.
    OtherUser,
    /// The connection may be on no more topics, or the user's name is too long for one.
    Refused(SubscribeError),
    /// Its `user_data` names nobody.
    User(UserError),
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(error) => write!(f, "{error}"),
            Self::OtherUser => f.write_str("it is signed in as another user"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::User(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SignInError {}

/// Why a client may not have a subscription. The connection stays, and nothing of the subscription remains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscriptionError {
    /// The signature does not hold.
    Auth(AuthError),
    /// A presence channel has as many users as the app allows.
    Full {
        /// The limit.
        limit: usize,
    },
    /// Nobody can be told from what came with a presence channel.
    Member(MemberError),
    /// It is no name of a channel.
    Name(NameError),
    /// A server-to-user channel, and the connection is not signed in as that user.
    NotThatUser,
    /// The connection is on as many channels as it may be.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// App id and channel together are longer than a topic may be.
    TopicTooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl SubscriptionError {
    /// From the engine's refusal. `None`: the connection is closing, and nobody is there to be told.
    pub fn from_engine(error: SubscribeError) -> Option<Self> {
        match error {
            SubscribeError::Closed => None,
            SubscribeError::TooMany { limit } => Some(Self::TooMany { limit }),
            SubscribeError::TopicTooLong { bytes, limit } => {
                Some(Self::TopicTooLong { bytes, limit })
            }
        }
    }

    /// The code of the `pusher:error` frame.
    pub fn code(&self) -> CloseCode {
        CloseCode(match self {
            Self::Full { .. } | Self::TooMany { .. } => 4100,
            Self::Member(MemberError::TooBig { .. } | MemberError::UserIdTooLong { .. }) => 4301,
            Self::Auth(_)
            | Self::Member(_)
            | Self::Name(_)
            | Self::NotThatUser
            | Self::TopicTooLong { .. } => 4009,
        })
    }

    /// The `type` of the `pusher:subscription_error`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Auth(_) | Self::Member(MemberError::Missing) | Self::NotThatUser => "AuthError",
            Self::Full { .. }
            | Self::Member(MemberError::TooBig { .. } | MemberError::UserIdTooLong { .. })
            | Self::Name(NameError::TooLong { .. })
            | Self::TooMany { .. }
            | Self::TopicTooLong { .. } => "LimitReached",
            Self::Member(
                MemberError::NoUserId | MemberError::NotJson | MemberError::UserIdKind,
            ) => "InvalidChannelData",
            Self::Name(NameError::Character { .. } | NameError::Empty) => "InvalidName",
        }
    }

    /// The `status` of the `pusher:subscription_error`.
    pub fn status(&self) -> u16 {
        match self.type_name() {
            "AuthError" => 401,
            "LimitReached" => self.code().0,
            _ => 400,
        }
    }
}

impl fmt::Display for SubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(error) => write!(f, "Connection is unauthorized: {error}"),
            Self::Full { limit } => {
                write!(f, "The channel has {limit} users; no more are allowed")
            }
            Self::Member(error @ MemberError::Missing) => {
                write!(f, "Connection is unauthorized: {error}")
            }
            Self::Member(error) => write!(f, "Invalid channel_data: {error}"),
            Self::Name(error) => write!(f, "Invalid channel: {error}"),
            Self::NotThatUser => f.write_str(
                "Connection is unauthorized: only whoever is signed in as that user may subscribe",
            ),
            Self::TooMany { limit } => {
                write!(f, "The connection is subscribed to {limit} channels; no more are allowed")
            }
            Self::TopicTooLong { bytes, limit } => {
                write!(f, "App id and channel name have {bytes} bytes; {limit} are allowed")
            }
        }
    }
}

impl std::error::Error for SubscriptionError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &ClientError, code: u16, message: &str) {
        assert_eq!(error.code(), CloseCode(code));
        assert_eq!(error.to_string(), message);
    }

    fn check_subscription(error: SubscriptionError, code: u16, type_name: &str, status: u16) {
        assert_eq!(
            (error.code(), error.type_name(), error.status()),
            (CloseCode(code), type_name, status)
        );
    }

    #[test]
    fn every_error_has_the_code_and_the_words_that_clients_know() {
        check(&ClientError::AppUnknown { key: "k".into() }, 4001, "App key k does not exist.");
        check(&ClientError::AppDisabled, 4003, "The app is not enabled.");
        check(&ClientError::OverQuota, 4004, "Application is over connection quota");
        check(
            &ClientError::OverCapacity,
            4100,
            "The current concurrent connections quota has been reached.",
        );
        check(&ClientError::InvalidMessage, 4200, "Invalid message format");
        check(&ClientError::OriginNotAllowed, 4009, "Origin not allowed");
        check(&ClientError::TooSoon, 4301, "Rate limit exceeded");
        assert_eq!(ClientError::ClientEventOnPublic.code(), CloseCode(4301));
        check(&ClientError::MessageTooBig, 4200, "Maximum message size exceeded");
        check(&ClientError::PongMissing, 4201, "Pong reply not received in time");
        check(
            &ClientError::ClientEventsDisabled,
            4301,
            "The app does not have client messaging enabled.",
        );
        check(
            &ClientError::ClientEventNotMember,
            4009,
            "The client is not a member of the specified channel.",
        );
        check(
            &ClientError::SignIn(SignInError::OtherUser),
            4009,
            "Connection is unauthorized: it is signed in as another user",
        );
        check(
            &ClientError::Unauthorised { seconds: 30 },
            4009,
            "Connection not authorized within 30 seconds.",
        );
        check(
            &ClientError::WatchlistTooLong { users: 101, limit: 100 },
            4302,
            "The watchlist has 101 users; the first 100 are watched.",
        );
        assert_eq!(ClientError::ClientEventBusy.code(), CloseCode(4301));
        assert_eq!(ClientError::PathInvalid.code(), CloseCode(4005));
        assert_eq!(ClientError::Stopping { is_greeted: true }.code(), CloseCode(4200));
        assert_eq!(ClientError::Stopping { is_greeted: false }.code(), CloseCode(4100));
    }

    #[test]
    fn protocol_errors_say_what_came_and_what_is_allowed() {
        check(
            &ClientError::ProtocolNotANumber { got: "x".into() },
            4006,
            "The protocol must be a number from 5 to 7, not x.",
        );
        let unsupported = ClientError::ProtocolUnsupported { got: "3".into() };
        check(&unsupported, 4007, "Protocol 3 is not supported; 5 to 7 are.");
    }

    #[test]
    fn what_a_peer_wrote_is_cut_to_fit_a_close_frame() {
        let long = "k".repeat(5000);
        for error in [
            ClientError::AppUnknown { key: long.clone() },
            ClientError::ProtocolNotANumber { got: long.clone() },
            ClientError::ProtocolUnsupported { got: long.clone() },
        ] {
            assert!(error.to_string().len() <= 123, "{error}");
        }
    }

    #[test]
    fn refused_subscriptions_have_a_type_and_a_status() {
        check_subscription(SubscriptionError::Auth(AuthError::Signature), 4009, "AuthError", 401);
        let member = SubscriptionError::Member;
        check_subscription(member(MemberError::Missing), 4009, "AuthError", 401);
        check_subscription(member(MemberError::UserIdKind), 4009, "InvalidChannelData", 400);
        let big = MemberError::TooBig { bytes: 2, limit: 1 };
        check_subscription(member(big), 4301, "LimitReached", 4301);
        check_subscription(SubscriptionError::Full { limit: 1 }, 4100, "LimitReached", 4100);
        check_subscription(SubscriptionError::NotThatUser, 4009, "AuthError", 401);
        let long = NameError::TooLong { characters: 201, limit: 200 };
        check_subscription(SubscriptionError::Name(long), 4009, "LimitReached", 4009);
        let odd = NameError::Character { got: ':' };
        check_subscription(SubscriptionError::Name(odd), 4009, "InvalidName", 400);
        check_subscription(SubscriptionError::TooMany { limit: 1000 }, 4100, "LimitReached", 4100);
    }

    #[test]
    fn a_closing_connection_is_told_nothing() {
        assert_eq!(SubscriptionError::from_engine(SubscribeError::Closed), None);
        let too_many = SubscribeError::TooMany { limit: 7 };
        assert_eq!(
            SubscriptionError::from_engine(too_many),
            Some(SubscriptionError::TooMany { limit: 7 })
        );
    }
}

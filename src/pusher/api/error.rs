//! What a back end can do wrong, and which status each earns. SDKs put our words into the exception that a developer
//! reads, so they say what came and what would be right.

use std::fmt;

use super::super::channel::NameError;
use super::super::error::Shortened;
use super::super::message;
use super::super::signature::RequestError;
use crate::metrics::Counter;
use crate::{PublishError, Response};

/// Why a request to the API is not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ApiError {
    /// The app is switched off.
    AppDisabled,
    /// No app has that id.
    AppUnknown { id: String },
    /// More events than a batch may have.
    BatchTooLong { events: usize, limit: usize },
    /// A batch of nothing.
    BatchEmpty,
    /// The body is not the JSON of an event or a batch.
    Body { reason: String },
    /// The body is longer than the app takes.
    BodyTooBig { bytes: usize, limit: usize },
    /// Too many bytes are under way. `published` of `channels` have the event.
    Busy { published: usize, channels: usize },
    /// A channel's name is none.
    Channel { name: String, error: NameError },
    /// The event is for nobody.
    ChannelsMissing,
    /// The event is for more channels than one event may be.
    ChannelsTooMany { channels: usize, limit: usize },
    /// The event has no data.
    DataMissing,
    /// The event's data is too long.
    DataTooBig { bytes: usize, limit: usize },
    /// The event's name is too long.
    EventNameTooLong { characters: usize, limit: usize },
    /// The idempotency key is too long.
    IdempotencyKey { bytes: usize, limit: usize },
    /// A request with the same idempotency key is not done yet.
    InProgress,
    /// Something was asked for that channels cannot tell.
    Info { got: String },
    /// What is wrong with one event of a batch.
    InBatch { index: usize, error: Box<Self> },
    /// No app has that key, and nothing else says which app is meant.
    KeyUnknown { got: String },
    /// The route exists, the method does not.
    Method { got: String, allowed: &'static str },
    /// The event has no name.
    EventNameMissing,
    /// Too many requests wait for answers of other cores.
    NoRoomToAsk { limit: usize },
    /// Users were asked for of a channel that has none.
    NotPresence { channel: String },
    /// There is no such path.
    RouteUnknown { path: String },
    /// It is not the name of a connection.
    SocketId { got: String },
    /// App id and channel together are longer than a topic may be. `published` of `channels` have the event.
    TopicTooLong { bytes: usize, limit: usize },
    /// The signature does not hold.
    Unauthorised(RequestError),
    /// Users were to be counted where there are none, and the app minds it.
    UserCount { got: String },
}

impl ApiError {
    pub(super) fn from_engine(error: PublishError, published: usize, channels: usize) -> Self {
        match error {
            PublishError::Busy { .. } => Self::Busy { published, channels },
            PublishError::TopicTooLong { bytes, limit } => Self::TopicTooLong { bytes, limit },
        }
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::BatchTooLong { .. }
            | Self::BatchEmpty
            | Self::Body { .. }
            | Self::Channel { .. }
            | Self::ChannelsMissing
            | Self::ChannelsTooMany { .. }
            | Self::DataMissing
            | Self::EventNameMissing
            | Self::EventNameTooLong { .. }
            | Self::IdempotencyKey { .. }
            | Self::Info { .. }
            | Self::NotPresence { .. }
            | Self::SocketId { .. }
            | Self::TopicTooLong { .. }
            | Self::UserCount { .. } => 400,
            Self::KeyUnknown { .. } | Self::Unauthorised(_) => 401,
            Self::AppDisabled => 403,
            Self::AppUnknown { .. } | Self::RouteUnknown { .. } => 404,
            Self::Method { .. } => 405,
            Self::BodyTooBig { .. } | Self::DataTooBig { .. } => 413,
            Self::Busy { .. } | Self::InProgress | Self::NoRoomToAsk { .. } => 503,
            Self::InBatch { error, .. } => error.status(),
        }
    }

    pub(super) fn counter(&self) -> Counter {
        match self.status() {
            401 => Counter::ApiUnauthorized,
            _ => Counter::ApiRefused,
        }
    }

    /// The answer. With `debug`, whoever signed something else is told what we signed.
    pub(super) fn response(&self, debug: bool) -> Response {
        let response = Response::json(self.status(), self.json(debug));
        match self {
            Self::Busy { .. } | Self::InProgress | Self::NoRoomToAsk { .. } => {
                response.header("Retry-After", "1")
            }
            Self::Method { allowed, .. } => response.header("Allow", *allowed),
            _ => response,
        }
    }

    fn json(&self, debug: bool) -> String {
        let mut json = Vec::from(&br#"{"error":"#[..]);
        message::write_string(&mut json, &self.to_string());
        json.extend_from_slice(format!(r#","code":{}"#, self.status()).as_bytes());
        if let (Self::Unauthorised(RequestError::Signature { signed }), true) = (self, debug) {
            json.extend_from_slice(br#","signed":"#);
            message::write_string(&mut json, signed);
        }
        json.push(b'}');
        String::from_utf8_lossy(&json).into_owned()
    }
}

impl fmt::Display for ApiError {
    #[expect(clippy::too_many_lines, reason = "one flat match: the sentence of every error")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppDisabled => f.write_str("the app is not enabled"),
            Self::AppUnknown { id } => {
                write!(f, "no app has the id `{id}`; the path names an app id, not its key")
            }
            Self::BatchEmpty => f.write_str("the batch has no events; give at least one"),
            Self::BatchTooLong { events, limit } => {
                write!(f, "the batch has {events} events; {limit} are allowed")
            }
            Self::Body { reason } => {
                write!(f, "the body is not the JSON that this path takes: {}", short(reason))
            }
            Self::BodyTooBig { bytes, limit } => {
                write!(f, "the body has {bytes} bytes; {limit} are allowed")
            }
            Self::Busy { published: 0, .. } => {
                f.write_str("too many bytes are under way; nothing was published, try again")
            }
            Self::Busy { published, channels } => write!(
                f,
                "too many bytes are under way; the first {published} of {channels} channels have the event, the others do not"
            ),
            Self::Channel { name, error } => write!(f, "channel `{}`: {error}", short(name)),
            Self::ChannelsMissing => f.write_str(
                "the event has no channel; give `channel`, a name, or `channels`, a list of names",
            ),
            Self::ChannelsTooMany { channels, limit } => {
                write!(f, "the event is for {channels} channels; {limit} are allowed")
            }
            Self::DataMissing => {
                f.write_str("the event has no `data`; give a string, usually of JSON")
            }
            Self::DataTooBig { bytes, limit } => {
                write!(f, "the event's data has {bytes} bytes; {limit} are allowed")
            }
            Self::EventNameMissing => {
                f.write_str("the event has no `name`; give a string that is not empty")
            }
            Self::EventNameTooLong { characters, limit } => {
                write!(f, "the event's name has {characters} characters; {limit} are allowed")
            }
            Self::InBatch { index, error } => {
                write!(f, "event {index} of the batch (the first is 0): {error}")
            }
            Self::IdempotencyKey { bytes, limit } => {
                write!(f, "the idempotency key has {bytes} bytes; {limit} are allowed")
            }
            Self::InProgress => f.write_str(
                "a request with the same idempotency key is under way; nothing was published, try again",
            ),
            Self::Info { got } => {
                write!(
                    f,
                    "info `{}` is unknown; subscription_count and user_count can be asked for, and cache of a single channel",
                    short(got)
                )
            }
            Self::KeyUnknown { got } => write!(f, "no app has the auth_key `{}`", short(got)),
            Self::Method { got, allowed } => {
                write!(f, "the method is {got}; this path takes {allowed}")
            }
            Self::NoRoomToAsk { limit } => write!(
                f,
                "{limit} requests wait for answers already; nothing was done, try again"
            ),
            Self::NotPresence { channel } => write!(
                f,
                "channel `{}` has no users; only presence channels have",
                short(channel)
            ),
            Self::RouteUnknown { path } => write!(f, "nothing is at `{}`", short(path)),
            Self::SocketId { got } => {
                write!(
                    f,
                    "socket_id is `{}`; it must be two numbers joined by a dot, such as 1234.1234",
                    short(got)
                )
            }
            Self::TopicTooLong { bytes, limit } => {
                write!(f, "app id and channel name have {bytes} bytes; {limit} are allowed")
            }
            Self::Unauthorised(error) => write!(f, "{error}"),
            Self::UserCount { got } => write!(
                f,
                "user_count can be asked of channels whose name begins with `presence-`, not with `{}`",
                short(got)
            ),
        }
    }
}

/// A body may have a million bytes; an answer that repeats it would help nobody.
fn short(text: &str) -> Shortened<'_> {
    Shortened(text, 200)
}

#[cfg(test)]
mod tests {
    use super::super::super::signature::Side;
    use super::*;

    fn check(error: &ApiError, status: u16, says: &[&str]) {
        assert_eq!(error.status(), status, "{error}");
        let value: serde_json::Value = serde_json::from_str(&error.json(false)).unwrap();
        assert_eq!(value["code"], status);
        for word in says {
            assert!(value["error"].as_str().unwrap().contains(word), "{error} lacks {word}");
        }
    }

    #[test]
    fn errors_say_what_came_and_what_is_allowed() {
        check(&ApiError::AppUnknown { id: "9\"".into() }, 404, &["9\""]);
        check(&ApiError::BatchTooLong { events: 11, limit: 10 }, 400, &["11", "10"]);
        check(&ApiError::DataTooBig { bytes: 102_401, limit: 102_400 }, 413, &["102401", "102400"]);
        check(&ApiError::Method { got: "PUT".into(), allowed: "POST" }, 405, &["PUT", "POST"]);
        check(&ApiError::SocketId { got: "x".into() }, 400, &["`x`", "1234.1234"]);
        check(&ApiError::AppDisabled, 403, &["not enabled"]);
        check(&ApiError::RouteUnknown { path: "/x".into() }, 404, &["/x"]);
        check(&ApiError::NotPresence { channel: "news".into() }, 400, &["news", "presence"]);
        check(&ApiError::KeyUnknown { got: "k9".into() }, 401, &["k9"]);
        check(&ApiError::BodyTooBig { bytes: 1_025, limit: 1_024 }, 413, &["1025", "1024"]);
        check(&ApiError::UserCount { got: "news".into() }, 400, &["presence-", "`news`"]);
        check(&ApiError::IdempotencyKey { bytes: 257, limit: 256 }, 400, &["257", "256"]);
        check(&ApiError::InProgress, 503, &["under way", "nothing was published"]);
    }

    #[test]
    fn a_refusal_says_how_much_was_published() {
        let busy = PublishError::Busy { queued: 9, limit: 8 };
        check(&ApiError::from_engine(busy, 0, 3), 503, &["nothing was published"]);
        check(&ApiError::from_engine(busy, 2, 3), 503, &["first 2 of 3"]);
        let long = PublishError::TopicTooLong { bytes: 600, limit: 512 };
        check(&ApiError::from_engine(long, 0, 1), 400, &["600", "512"]);
    }

    #[test]
    fn an_event_of_a_batch_is_named_and_keeps_its_status() {
        let error = Box::new(ApiError::DataTooBig { bytes: 2, limit: 1 });
        check(&ApiError::InBatch { index: 3, error }, 413, &["event 3", "2 bytes"]);
    }

    #[test]
    fn what_came_is_not_repeated_at_length() {
        let long = "x".repeat(1_000_000);
        for error in [
            ApiError::Body { reason: long.clone() },
            ApiError::Channel { name: long.clone(), error: NameError::Empty },
            ApiError::Info { got: long.clone() },
            ApiError::KeyUnknown { got: long.clone() },
            ApiError::NotPresence { channel: long.clone() },
            ApiError::RouteUnknown { path: long.clone() },
            ApiError::SocketId { got: long.clone() },
            ApiError::UserCount { got: long.clone() },
        ] {
            assert!(error.json(false).len() < 500);
        }
    }

    #[test]
    fn a_401_says_how_far_the_clocks_are_apart() {
        let error = RequestError::Clocks { seconds: 700, theirs_is: Side::Behind, allowed: 600 };
        check(&ApiError::Unauthorised(error), 401, &["700 seconds behind", "600"]);
    }

    #[test]
    fn what_was_signed_is_told_in_debug_mode_alone() {
        let error = ApiError::Unauthorised(RequestError::Signature { signed: "GET\n/p\n".into() });
        assert!(!error.json(false).contains("GET"));
        let value: serde_json::Value = serde_json::from_str(&error.json(true)).unwrap();
        assert_eq!(value["signed"], "GET\n/p\n");
        let other = ApiError::AppDisabled;
        assert_eq!(other.json(true), other.json(false));
    }
}

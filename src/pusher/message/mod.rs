//! ⑥ The messages of the protocol: what a client sends, read into a [`Command`]; what we send, written as JSON; and
//! the same from the client's side, for our own command-line client. Pure.
//!
//! ```text
//!   {"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}       client ──▶ Command::Subscribe
//!   {"event":"pusher:subscribe","data":"{\"channel\":\"news\"}"}           client ──▶ the same
//!   {"event":"greet","data":"{\"n\":1}","channel":"news"}                  client ◀── write_event
//! ```
//!
//! What is read borrows from the message wherever no escape stands in the way. What is written goes into a buffer of
//! the caller's, after what is in it.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::value::RawValue;

use super::error::{ClientError, SubscriptionError};

mod nested;
mod presence;
mod users;

use self::nested::write_nested;
pub use presence::{write_cache_miss, write_subscription_count};
pub(super) use presence::{write_member_added, write_member_removed, write_presence_succeeded};
pub(super) use users::write_watchlist_events;
pub use users::{SignInWish, write_signin_success};

/// The answer to a client's ping. `data` is there because Java clients look for it.
pub const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;

/// Our own ping; and a client's.
pub const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;

/// How deep a client's JSON may nest.
pub const MOST_NESTED: usize = 128;

/// What a client asks for.
#[derive(Debug)]
pub enum Command<'m> {
    /// An event for the other subscribers of a channel.
    ClientEvent(ClientEvent<'m>),
    /// Something of the app's own that is not for us and not to be passed on.
    Other,
    /// Are we there?
    Ping,
    /// It is there.
    Pong,
    /// It wants to be known as a user.
    SignIn(SignInWish<'m>),
    /// It wants to hear a channel.
    Subscribe(Subscribe<'m>),
    /// It wants to hear a channel no more.
    Unsubscribe {
        /// The channel.
        channel: Cow<'m, str>,
    },
}

/// An event for the other subscribers of a channel.
#[derive(Debug)]
pub struct ClientEvent<'m> {
    /// Its name, which begins with `client-`.
    pub event: Cow<'m, str>,
    /// The channel.
    pub channel: Cow<'m, str>,
    /// Its data, to be passed on as it is.
    pub data: Option<&'m RawValue>,
}

/// A wish to hear a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'m> {
    /// The channel.
    pub channel: Cow<'m, str>,
    /// `‹app key›:‹signature›`; often empty or absent for public channels.
    pub auth: Option<Cow<'m, str>>,
    /// Who subscribes, as the application wrote and signed it.
    pub channel_data: Option<Cow<'m, str>>,
}

impl<'m> Command<'m> {
    /// Reads a message. Everything that is not a sound message earns the same error.
    pub fn read(text: &'m str) -> Result<Self, ClientError> {
        if !nests_at_most(text.as_bytes(), MOST_NESTED) {
            return Err(ClientError::InvalidMessage);
        }
        let envelope: Envelope<'m> = parse(text)?;
        match envelope.event.0.as_ref() {
            "pusher:ping" => Ok(Self::Ping),
            "pusher:pong" => Ok(Self::Pong),
            "pusher:signin" => {
                let data: users::SignInData<'m> = envelope.inner()?;
                Ok(Self::SignIn(data.into()))
            }
            "pusher:subscribe" => {
                let data: SubscribeData<'m> = envelope.inner()?;
                Ok(Self::Subscribe(data.into()))
            }
            "pusher:unsubscribe" => {
                let data: UnsubscribeData<'m> = envelope.inner()?;
                Ok(Self::Unsubscribe { channel: data.channel.0 })
            }
            name if name.starts_with("pusher:") => Err(ClientError::InvalidMessage),
            name if name.starts_with("client-") => {
                let channel = envelope.channel.ok_or(ClientError::InvalidMessage)?.0;
                let (event, data) = (envelope.event.0, envelope.data);
                Ok(Self::ClientEvent(ClientEvent { event, channel, data }))
            }
            _ => Ok(Self::Other),
        }
    }
}

#[derive(serde::Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    event: Text<'m>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'m RawValue>,
    #[serde(borrow, default)]
    channel: Option<Text<'m>>,
}

/// A value that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'m> Envelope<'m> {
    /// The data as a structure of its own: written as an object, or as a string that holds one.
    fn inner<T: OwnedOrBorrowed<'m>>(&self) -> Result<T, ClientError> {
        let raw = self.data.ok_or(ClientError::InvalidMessage)?.get();
        if !raw.starts_with('"') {
            return parse(raw);
        }
        let text: Text<'m> = serde_json::from_str(raw).map_err(|_| ClientError::InvalidMessage)?;
        match text.0 {
            Cow::Borrowed(text) => parse(text),
            Cow::Owned(text) if nests_at_most(text.as_bytes(), MOST_NESTED) => T::read_owned(&text),
            Cow::Owned(_) => Err(ClientError::InvalidMessage),
        }
    }
}

/// What can be read from a text that will be gone.
trait OwnedOrBorrowed<'m>: Deserialize<'m> {
    fn read_owned(text: &str) -> Result<Self, ClientError>;
}

#[derive(serde::Deserialize)]
struct SubscribeData<'m> {
    #[serde(borrow)]
    channel: Text<'m>,
    #[serde(borrow, default)]
    auth: Option<Text<'m>>,
    #[serde(borrow, default)]
    channel_data: Option<Text<'m>>,
}

impl<'m> From<SubscribeData<'m>> for Subscribe<'m> {
    fn from(data: SubscribeData<'m>) -> Self {
        let SubscribeData { channel, auth, channel_data } = data;
        Self {
            channel: channel.0,
            auth: auth.map(|auth| auth.0),
            channel_data: channel_data.map(|data| data.0),
        }
    }
}

impl<'m> OwnedOrBorrowed<'m> for SubscribeData<'m> {
    fn read_owned(text: &str) -> Result<Self, ClientError> {
        let data: SubscribeData<'_> = parse(text)?;
        Ok(Self {
            channel: data.channel.into_owned(),
            auth: data.auth.map(Text::into_owned),
            channel_data: data.channel_data.map(Text::into_owned),
        })
    }
}

#[derive(serde::Deserialize)]
struct UnsubscribeData<'m> {
    #[serde(borrow)]
    channel: Text<'m>,
}

impl<'m> OwnedOrBorrowed<'m> for UnsubscribeData<'m> {
    fn read_owned(text: &str) -> Result<Self, ClientError> {
        let data: UnsubscribeData<'_> = parse(text)?;
        Ok(Self { channel: data.channel.into_owned() })
    }
}

fn parse<'m, T: Deserialize<'m>>(text: &'m str) -> Result<T, ClientError> {
    parse_object(text).map_err(|_| ClientError::InvalidMessage)
}

/// Reads a structure from an object alone. serde would take an array of its fields as well.
pub(super) fn parse_object<'m, T: Deserialize<'m>>(text: &'m str) -> Result<T, serde_json::Error> {
    if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde_json::Error::custom("expected a JSON object"))
    }
}

/// A JSON string that borrows unless it holds an escape. (serde's own `Option<Cow<str>>` never borrows.)
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Text<'m>(pub(super) Cow<'m, str>);

impl Text<'_> {
    fn into_owned<'any>(self) -> Text<'any> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl<'de: 'm, 'm> Deserialize<'de> for Text<'m> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// Whether brackets outside of strings nest no deeper than that. Says nothing about whether they match.
pub(super) fn nests_at_most(json: &[u8], limit: usize) -> bool {
    // Most messages have fewer brackets in all. They are counted in bytes, so that the compiler takes many at a time.
    let opening = |piece: &[u8]| {
        piece.iter().fold(0_u8, |count, byte| count + u8::from(matches!(byte, b'{' | b'[')))
    };
    if json.chunks(128).map(|piece| usize::from(opening(piece))).sum::<usize>() <= limit {
        return true;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return false;
        }
    }
    true
}

/// Writes the first message of a connection. Its data, as that of every object of the protocol's own, is JSON in a
/// string.
pub fn write_connection_established(
    out: &mut Vec<u8>,
    socket_id: impl fmt::Display,
    activity_timeout_seconds: u32,
) {
    out.extend_from_slice(br#"{"event":"pusher:connection_established","data":"#);
    // Nested as `write_nested` does it, beforehand: every connection is sent it, and no number needs an escape.
    out.extend_from_slice(br#""{\"socket_id\":\""#);
    // Memory takes all that is written.
    let _ = write!(out, "{socket_id}");
    out.extend_from_slice(br#"\",\"activity_timeout\":"#);
    let _ = write!(out, "{activity_timeout_seconds}");
    out.extend_from_slice(br#"}"}"#);
}

/// Writes that a subscription holds.
pub fn write_subscription_succeeded(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(
        br#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"#,
    );
    write_string(out, channel);
    out.push(b'}');
}

/// Writes that a subscription was refused. It reaches the channel's own error handler in a client, which the
/// `pusher:error` of [`write_subscription_refused`] does not.
pub fn write_subscription_error(out: &mut Vec<u8>, channel: &str, error: &SubscriptionError) {
    write_subscription_error_head(out, error);
    write_channel(out, channel);
}

/// As [`write_subscription_error`], up to the channel.
pub(super) fn write_subscription_error_head(out: &mut Vec<u8>, error: &SubscriptionError) {
    out.extend_from_slice(br#"{"event":"pusher:subscription_error","data":"#);
    write_nested(out, |data| {
        data.display(format_args!(r#"{{"type":"{}","error":"#, error.type_name()));
        data.displayed_string(error);
        data.display(format_args!(r#","status":{}}}"#, error.status()));
    });
}

/// Writes the `pusher:error` that goes with a [`write_subscription_error`].
pub fn write_subscription_refused(out: &mut Vec<u8>, channel: &str, error: &SubscriptionError) {
    write_subscription_refused_head(out, error);
    write_channel(out, channel);
}

/// As [`write_subscription_refused`], up to the channel.
pub(super) fn write_subscription_refused_head(out: &mut Vec<u8>, error: &SubscriptionError) {
    write_error_head(out, error.code().0, error);
}

/// Writes the channel and the end of a message.
pub(super) fn write_channel(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

/// Writes an error, with the channel it is about if it is about one.
pub fn write_error(out: &mut Vec<u8>, error: &ClientError, channel: Option<&str>) {
    write_error_head(out, error.code().0, error);
    match channel {
        Some(channel) => write_channel(out, channel),
        None => out.push(b'}'),
    }
}

/// Writes that a client is on a channel already. Pusher Channels has no code for that.
pub fn write_existing_subscription(out: &mut Vec<u8>, channel: &str) {
    write_error_head(out, "null", format_args!("Existing subscription to channel {channel}"));
    write_channel(out, channel);
}

fn write_error_head(out: &mut Vec<u8>, code: impl fmt::Display, message: impl fmt::Display) {
    out.extend_from_slice(br#"{"event":"pusher:error","data":"#);
    write_nested(out, |data| {
        data.display(format_args!(r#"{{"code":{code},"message":"#));
        data.displayed_string(message);
        data.raw("}");
    });
}

/// The data of an event that a back end published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data<'a> {
    /// A string, as the JSON it was written in. It is passed on to the letter.
    Literal(&'a str),
    /// Another JSON value, as it was written. It becomes a string that holds it.
    Value(&'a str),
}

impl<'a> Data<'a> {
    /// From a JSON value.
    pub fn of(raw: &'a RawValue) -> Self {
        let text = raw.get();
        if text.starts_with('"') { Self::Literal(text) } else { Self::Value(text) }
    }

    /// The length of the string that clients get, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Literal(text) => unescaped_bytes(text),
            Self::Value(text) => text.len(),
        }
    }
}

/// The length of a JSON string once its quotes are gone and its escapes undone.
fn unescaped_bytes(literal: &str) -> usize {
    if !literal.contains('\\') {
        return literal.len().saturating_sub(2);
    }
    // A lone surrogate is no text; whoever reads it puts U+FFFD there, which has 3 bytes.
    serde_json::from_str::<String>(literal).map_or(literal.len(), |text| text.len())
}

/// Writes an event that a back end published.
pub fn write_event(out: &mut Vec<u8>, event: &str, data: Data<'_>, channel: &str) {
    out.extend_from_slice(br#"{"event":"#);
    write_string(out, event);
    out.extend_from_slice(br#","data":"#);
    match data {
        Data::Literal(text) => out.extend_from_slice(text.as_bytes()),
        Data::Value(text) => write_string(out, text),
    }
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

/// Writes an event that a client sends to the others: its data as it was written, and nothing else of its message.
/// `user_id` is the JSON by which the sender is known on a presence channel.
pub fn write_client_event(
    out: &mut Vec<u8>,
    event: &str,
    data: Option<&RawValue>,
    channel: &str,
    user_id: Option<&str>,
) {
    out.extend_from_slice(br#"{"event":"#);
    write_string(out, event);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data.get().as_bytes());
    }
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    if let Some(user_id) = user_id {
        out.extend_from_slice(br#","user_id":"#);
        out.extend_from_slice(user_id.as_bytes());
    }
    out.push(b'}');
}

/// Writes a text as a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string can be written to memory");
}

/// The data of an event that was written by [`write_event`], as the JSON it stands in there.
pub(super) fn data_of(event: &[u8]) -> Option<&str> {
    let envelope: Envelope<'_> = parse_object(str::from_utf8(event).ok()?).ok()?;
    envelope.data.map(RawValue::get)
}

/// A message of a server, as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerMessage<'m> {
    /// The event's name.
    pub event: Cow<'m, str>,
    /// Its data: what the string holds, or any other value as it was written.
    pub data: Option<Cow<'m, str>>,
    /// The channel, if it is of one.
    pub channel: Option<Cow<'m, str>>,
}

impl<'m> ServerMessage<'m> {
    /// Reads a message of a server.
    pub fn read(text: &'m str) -> Result<Self, serde_json::Error> {
        let envelope: Envelope<'m> = parse_object(text)?;
        let data = match envelope.data.map(RawValue::get) {
            Some(raw) if raw.starts_with('"') => Some(serde_json::from_str::<Text<'m>>(raw)?.0),
            raw => raw.map(Cow::Borrowed),
        };
        Ok(Self {
            event: envelope.event.0,
            data,
            channel: envelope.channel.map(|channel| channel.0),
        })
    }

    /// What a `pusher:connection_established` says.
    pub fn established(&self) -> Result<Established, serde_json::Error> {
        match (self.event.as_ref(), &self.data) {
            ("pusher:connection_established", Some(data)) => parse_object(data),
            _ => Err(serde_json::Error::custom("not a pusher:connection_established with data")),
        }
    }

    /// What a `pusher:error` says.
    pub fn error(&self) -> Result<ServerError, serde_json::Error> {
        match (self.event.as_ref(), &self.data) {
            ("pusher:error", Some(data)) => parse_object(data),
            _ => Err(serde_json::Error::custom("not a pusher:error with data")),
        }
    }
}

/// What a server says of a new connection.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
pub struct Established {
    /// The connection's public name.
    pub socket_id: String,
    /// After how much silence the client should ping.
    pub activity_timeout: u32,
}

/// What a server says of an error.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
pub struct ServerError {
    /// The code, where there is one.
    #[serde(default)]
    pub code: Option<u16>,
    /// What went wrong.
    #[serde(default)]
    pub message: String,
}

/// Writes a client's wish to hear a channel; public channels need no `auth`, and only presence channels `channel_data`.
pub fn write_subscribe(
    out: &mut Vec<u8>,
    channel: &str,
    auth: Option<&str>,
    channel_data: Option<&str>,
) {
    out.extend_from_slice(br#"{"event":"pusher:subscribe","data":{"auth":"#);
    write_string(out, auth.unwrap_or_default());
    if let Some(channel_data) = channel_data {
        out.extend_from_slice(br#","channel_data":"#);
        write_string(out, channel_data);
    }
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    out.extend_from_slice(b"}}");
}

/// For fuzzers: what is understood is JSON; written again, it is understood as the same; and whatever text stands for a
/// channel, what we write of it is read again with that channel.
#[cfg(any(test, fuzzing))]
pub fn fuzz_messages(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    fuzz_server_messages(text);
    let Ok(command) = Command::read(text) else { return };
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "no JSON: {text}");
    let mut again = Vec::new();
    match &command {
        Command::ClientEvent(event) => {
            assert!(event.event.starts_with("client-"));
            write_client_event(&mut again, &event.event, event.data, &event.channel, Some("\"7\""));
        }
        Command::SignIn(wish) => {
            again.extend_from_slice(br#"{"event":"pusher:signin","data":{"auth":"#);
            write_string(&mut again, wish.auth.as_deref().unwrap_or_default());
            again.extend_from_slice(br#","user_data":"#);
            write_string(&mut again, &wish.user_data);
            again.extend_from_slice(b"}}");
        }
        Command::Subscribe(wish) => {
            let (auth, channel_data) = (wish.auth.as_deref(), wish.channel_data.as_deref());
            write_subscribe(&mut again, &wish.channel, auth, channel_data);
        }
        Command::Unsubscribe { channel } => {
            again.extend_from_slice(br#"{"event":"pusher:unsubscribe","data":"#);
            write_nested(&mut again, |data| {
                data.raw(r#"{"channel":"#);
                data.string(channel);
                data.raw("}");
            });
            again.push(b'}');
        }
        Command::Ping => again.extend_from_slice(PING.as_bytes()),
        Command::Other | Command::Pong => return,
    }
    let again = str::from_utf8(&again).unwrap_or_default();
    assert_eq!(Command::read(again).map(|again| plain(&again)), Ok(plain(&command)), "{again}");
}

/// All of a command, with a missing `auth` as an empty one.
#[cfg(any(test, fuzzing))]
fn plain(command: &Command<'_>) -> (u8, Vec<String>) {
    let text = |text: &Option<Cow<'_, str>>| format!("{text:?}");
    let auth = |auth: &Option<Cow<'_, str>>| auth.as_deref().unwrap_or_default().to_owned();
    match command {
        Command::ClientEvent(ClientEvent { event, channel, data }) => (
            0,
            vec![event.to_string(), channel.to_string(), format!("{:?}", data.map(RawValue::get))],
        ),
        Command::Other => (1, vec![]),
        Command::Ping => (2, vec![]),
        Command::Pong => (3, vec![]),
        Command::SignIn(wish) => (4, vec![auth(&wish.auth), wish.user_data.to_string()]),
        Command::Subscribe(wish) => {
            (5, vec![wish.channel.to_string(), auth(&wish.auth), text(&wish.channel_data)])
        }
        Command::Unsubscribe { channel } => (6, vec![channel.to_string()]),
    }
}

/// The client's side: no text of a server's makes a panic, and what our own server says is read as it was meant.
#[cfg(any(test, fuzzing))]
fn fuzz_server_messages(text: &str) {
    if let Ok(message) = ServerMessage::read(text) {
        let _ = (message.established(), message.error());
    }
    let mut written = Vec::new();
    write_existing_subscription(&mut written, text);
    let written = str::from_utf8(&written).unwrap_or_default();
    let read = ServerMessage::read(written);
    assert!(read.is_ok(), "{written}");
    let Ok(read) = read else { return };
    assert_eq!(read.channel.as_deref(), Some(text));
    assert!(read.error().is_ok_and(|error| error.message.ends_with(text)), "{written}");
}

#[cfg(test)]
mod tests;

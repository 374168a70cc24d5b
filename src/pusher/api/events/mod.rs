//! Events that back ends publish: `POST /apps/{id}/events` and `/batch_events`. A body is read and checked whole
//! before anything of it is published.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::super::apps::App;
use super::super::directory::{Claim, Question};
use super::super::message::{self, Data, Text};
use super::Asker;
use super::error::ApiError;
use super::gather::{self, Asked, Held, MOST_QUESTIONS, Shape, Wait};
use super::info::Info;
use crate::metrics::Counter;
use crate::{MessageKind, Prepared, Request, SocketId};

/// What a back end may call a request by which it is known when it comes again. The body has a field for it too.
const KEY_HEADER: &str = "X-Idempotency-Key";

/// The length of such a key.
const MOST_KEY_BYTES: usize = 256;

/// One event, sound.
#[derive(PartialEq, Eq, Debug)]
struct Event<'b> {
    name: Cow<'b, str>,
    data: Data<'b>,
    /// Each once, at least one.
    channels: Vec<Cow<'b, str>>,
    /// The connection that shall not hear it, usually the one that caused it.
    except: Option<SocketId>,
    info: Info,
}

/// The events of one request, all sound.
#[derive(PartialEq, Eq, Debug)]
struct Batch<'b> {
    shape: Shape,
    events: Vec<Event<'b>>,
    /// The idempotency key of the body.
    key: Option<Cow<'b, str>>,
}

/// Publishes the events of a request. `None` if its answer has to wait for other cores.
pub(super) fn serve(
    asker: &mut Asker<'_, '_>,
    request: &Request<'_>,
    shape: Shape,
) -> Result<Option<String>, ApiError> {
    let batch = Batch::read(shape, request.body(), asker.app)?;
    match batch.key(request.header(KEY_HEADER))? {
        None => batch.publish(asker),
        Some(key) => hold(asker, request.body(), shape, key).map(|()| None),
    }
}

/// Keeps a request until the home of its key has said whether it is the first of its kind.
fn hold(asker: &mut Asker<'_, '_>, body: &[u8], shape: Shape, key: &str) -> Result<(), ApiError> {
    let now = asker.conn.unix_seconds();
    let room = asker.gathers.has_room_to_hold(now, body.len());
    room.map_err(|limit| ApiError::NoRoomToAsk { limit })?;
    // No channel of that name is ever listed, so keys and channels do not meet.
    let channel = format!("#idempotency/{key}");
    let held =
        Held { app: asker.app.id.clone(), channel: channel.clone(), shape, body: body.to_vec() };
    asker.ask(&channel, Question::Claim, Wait::Claim { held, claim: None })
}

/// Goes on with a request whose key's home has answered. What was carried out before is answered and not done again.
/// There is room to ask: the request's own place was freed just now.
pub(super) fn resume(
    asker: &mut Asker<'_, '_>,
    held: Held,
    claim: Claim,
) -> Result<Option<String>, ApiError> {
    match claim {
        Claim::Done => conclude(asker, &held),
        Claim::Granted { at: granted_at } => {
            let batch = Batch::read(held.shape, &held.body, asker.app)?;
            let result = batch.publish_all(asker);
            let (channel, is_done) = (held.channel.clone(), result.is_ok());
            let question = Question::Settle { granted_at, is_done };
            asker.ask(&channel, question, Wait::Settled { held, result })?;
            Ok(None)
        }
        Claim::Pending => Err(ApiError::InProgress),
    }
}

/// Answers a request that was carried out, now or before.
pub(super) fn conclude(asker: &mut Asker<'_, '_>, held: &Held) -> Result<Option<String>, ApiError> {
    let batch = Batch::read(held.shape, &held.body, asker.app)?;
    Ok(batch.answer(asker))
}

impl<'b> Batch<'b> {
    fn read(shape: Shape, body: &'b [u8], app: &App) -> Result<Self, ApiError> {
        match shape {
            Shape::Batch => read_batch(body, app),
            Shape::Channels => read_event(body, app),
        }
    }

    /// The key of the request: that of the header, else that of the body. An empty one is none.
    fn key<'k>(&'k self, header: Option<&'k str>) -> Result<Option<&'k str>, ApiError> {
        let is_key = |key: &&str| !key.is_empty();
        let key = header.filter(is_key).or(self.key.as_deref().filter(is_key));
        match key.map_or(0, str::len) {
            bytes if bytes > MOST_KEY_BYTES => {
                Err(ApiError::IdempotencyKey { bytes, limit: MOST_KEY_BYTES })
            }
            _ => Ok(key),
        }
    }
}

/// Reads the body of `/events`.
fn read_event<'b>(body: &'b [u8], app: &App) -> Result<Batch<'b>, ApiError> {
    let mut body: EventBody<'b> = parse(text_of(body)?)?;
    let key = body.idempotency_key.take().map(|key| key.0);
    let event = check_event(body, app)?;
    Ok(Batch { shape: Shape::Channels, events: vec![event], key })
}

/// Reads the body of `/batch_events`.
fn read_batch<'b>(body: &'b [u8], app: &App) -> Result<Batch<'b>, ApiError> {
    let BatchBody { batch, idempotency_key } = parse(text_of(body)?)?;
    let (events, limit) = (batch.len(), app.max_batch.min(MOST_QUESTIONS));
    if events == 0 {
        return Err(ApiError::BatchEmpty);
    }
    if events > limit {
        return Err(ApiError::BatchTooLong { events, limit });
    }
    let check = |(index, raw): (usize, &'b RawValue)| {
        let event = parse(raw.get()).and_then(|body| check_batched(body, app));
        event.map_err(|error| ApiError::InBatch { index, error: Box::new(error) })
    };
    let events = batch.into_iter().enumerate().map(check).collect::<Result<_, _>>()?;
    Ok(Batch { shape: Shape::Batch, events, key: idempotency_key.map(|key| key.0) })
}

#[derive(serde::Deserialize)]
struct BatchBody<'b> {
    #[serde(borrow)]
    batch: Vec<&'b RawValue>,
    #[serde(borrow, default)]
    idempotency_key: Option<Text<'b>>,
}

#[derive(serde::Deserialize)]
struct EventBody<'b> {
    #[serde(borrow, default)]
    name: Option<Text<'b>>,
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
    #[serde(borrow, default)]
    channel: Option<Text<'b>>,
    #[serde(borrow, default)]
    channels: Option<Vec<Text<'b>>>,
    #[serde(borrow, default)]
    socket_id: Option<Text<'b>>,
    #[serde(borrow, default)]
    info: Option<Text<'b>>,
    #[serde(borrow, default)]
    idempotency_key: Option<Text<'b>>,
}

fn text_of(body: &[u8]) -> Result<&str, ApiError> {
    str::from_utf8(body).map_err(|error| ApiError::Body { reason: error.to_string() })
}

fn parse<'b, T: serde::Deserialize<'b>>(text: &'b str) -> Result<T, ApiError> {
    message::parse_object(text).map_err(|error| ApiError::Body { reason: error.to_string() })
}

fn check_batched<'b>(body: EventBody<'b>, app: &App) -> Result<Event<'b>, ApiError> {
    let event = check_event(body, app)?;
    match event.channels.len() {
        1 => Ok(event),
        channels => Err(ApiError::ChannelsTooMany { channels, limit: 1 }),
    }
}

fn check_event<'b>(body: EventBody<'b>, app: &App) -> Result<Event<'b>, ApiError> {
    let EventBody { name, data, channel, channels, socket_id, info, idempotency_key: _ } = body;
    let name = check_name(name, app)?;
    let channels = check_channels(channel.into_iter().chain(channels.into_iter().flatten()), app)?;
    let data = Data::of(data.ok_or(ApiError::DataMissing)?);
    if data.bytes() > app.max_event_bytes {
        return Err(ApiError::DataTooBig { bytes: data.bytes(), limit: app.max_event_bytes });
    }
    let except = socket_id.map(check_socket_id).transpose()?;
    let info = info.map_or(Ok(Info::default()), |info| Info::read(&info.0))?;
    channels.iter().try_for_each(|channel| info.check(app, channel))?;
    Ok(Event { name, data, channels, except, info })
}

fn check_name<'b>(name: Option<Text<'b>>, app: &App) -> Result<Cow<'b, str>, ApiError> {
    let name = name.filter(|name| !name.0.is_empty()).ok_or(ApiError::EventNameMissing)?.0;
    let (characters, limit) = (name.chars().count(), app.max_event_name);
    if characters > limit {
        Err(ApiError::EventNameTooLong { characters, limit })
    } else {
        Ok(name)
    }
}

/// A channel that is named twice gets the event once.
fn check_channels<'b>(
    names: impl Iterator<Item = Text<'b>>,
    app: &App,
) -> Result<Vec<Cow<'b, str>>, ApiError> {
    let mut channels: Vec<Cow<'b, str>> = names.map(|name| name.0).collect();
    let limit = app.max_channels_per_event.min(MOST_QUESTIONS);
    match channels.len() {
        0 => return Err(ApiError::ChannelsMissing),
        1 => {}
        many if many > limit => return Err(ApiError::ChannelsTooMany { channels: many, limit }),
        many => {
            let mut seen = HashSet::with_capacity(many);
            channels.retain(|channel| seen.insert(channel.clone()));
        }
    }
    for name in &channels {
        let check = app.naming().check(name);
        check.map_err(|error| ApiError::Channel { name: name.to_string(), error })?;
    }
    Ok(channels)
}

fn check_socket_id(text: Text<'_>) -> Result<SocketId, ApiError> {
    text.0.parse().map_err(|_| ApiError::SocketId { got: text.0.into_owned() })
}

impl Batch<'_> {
    /// Publishes all, in order. The JSON of the answer, or `None` if it has to wait for other cores.
    fn publish(&self, asker: &mut Asker<'_, '_>) -> Result<Option<String>, ApiError> {
        self.check_room(asker)?;
        self.publish_all(asker)?;
        Ok(self.answer(asker))
    }

    /// Nothing is published if what is asked about it could not be answered.
    fn check_room(&self, asker: &mut Asker<'_, '_>) -> Result<(), ApiError> {
        if self.needs_home() { asker.check_room() } else { Ok(()) }
    }

    /// Each channel has a message of its own, for its name is in it. The engine cannot be asked beforehand whether it
    /// will take them all; should it refuse one, the error says how many it took.
    fn publish_all(&self, asker: &mut Asker<'_, '_>) -> Result<(), ApiError> {
        let Asker { conn, app, desk, .. } = asker;
        let channels = self.events.iter().map(|event| event.channels.len()).sum();
        let mut published = 0;
        for event in &self.events {
            for channel in &event.channels {
                desk.json.clear();
                message::write_event(&mut desk.json, &event.name, event.data, channel);
                app.write_topic(channel, &mut desk.topic);
                let prepared = Prepared::new(MessageKind::Text, &desk.json);
                conn.publish_except(&desk.topic, prepared, event.except)
                    .map_err(|error| ApiError::from_engine(error, published, channels))?;
                conn.count(Counter::ApiEvents);
                published += 1;
            }
        }
        Ok(())
    }

    /// What the answer says of the channels. There is room to ask.
    fn answer(&self, asker: &mut Asker<'_, '_>) -> Option<String> {
        if self.events.iter().all(|event| event.info.is_nothing()) {
            return Some("{}".to_owned());
        }
        if !self.needs_home() {
            return Some(gather::published(self.shape, &self.asked(), &[]));
        }
        let Asker { conn, app, gathers, desk } = asker;
        gathers.begin_published(conn.unix_seconds(), self.shape, self.asked(), |ticket, asked| {
            app.write_topic(&asked.channel, &mut desk.topic);
            conn.ask(&desk.topic, Question::Channel { wants_cache: false }, ticket);
        });
        None
    }

    fn needs_home(&self) -> bool {
        let of = |event: &Event<'_>| event.channels.iter().any(|name| event.info.needs_home(name));
        self.events.iter().any(of)
    }

    fn asked(&self) -> Vec<Asked> {
        let of = |event: &Event<'_>| {
            let info = event.info;
            let asked = |channel: &Cow<'_, str>| Asked { channel: channel.to_string(), info };
            event.channels.iter().map(asked).collect::<Vec<_>>()
        };
        self.events.iter().flat_map(of).collect()
    }
}

/// For fuzzers: of whatever body, events that are taken keep the app's limits; written again they are the same; and what
/// clients are sent of them is read as it was meant. The first byte chooses the shape.
#[cfg(any(test, fuzzing))]
pub fn fuzz_events(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    let shape = if first & 1 == 0 { Shape::Channels } else { Shape::Batch };
    let app = App {
        max_batch: 3,
        max_channels_per_event: 4,
        max_event_bytes: 64,
        max_event_name: 8,
        max_channel_name: 16,
        any_channel_name: first & 2 != 0,
        ..App::new("1", "app-key", "app-secret")
    };
    let Ok(batch) = Batch::read(shape, body, &app) else { return };
    assert!((1..=app.max_batch).contains(&batch.events.len()));
    for event in &batch.events {
        assert!((1..=app.max_event_name).contains(&event.name.chars().count()));
        assert!((1..=app.max_channels_per_event).contains(&event.channels.len()));
        assert_eq!(event.channels.iter().collect::<HashSet<_>>().len(), event.channels.len());
        assert!(event.data.bytes() <= app.max_event_bytes);
        for channel in &event.channels {
            assert_eq!(app.naming().check(channel), Ok(()));
            let mut sent = Vec::new();
            message::write_event(&mut sent, &event.name, event.data, channel);
            let raw = message::data_of(&sent).unwrap_or_default();
            let text = serde_json::from_str::<String>(raw).ok();
            match event.data {
                Data::Literal(literal) => assert_eq!(raw, literal),
                Data::Value(value) => assert_eq!(text.as_deref(), Some(value)),
            }
            let read = message::ServerMessage::read(str::from_utf8(&sent).unwrap_or_default());
            // Half of a surrogate pair is passed on to the letter; to our own client it is no text.
            assert_eq!(read.is_ok(), text.is_some(), "{raw}");
            if let Ok(read) = read {
                assert_eq!((read.event, read.channel), (event.name.clone(), Some(channel.clone())));
            }
        }
    }
    let again = batch.written();
    assert_eq!(Batch::read(shape, &again, &app).ok().as_ref(), Some(&batch));
}

#[cfg(any(test, fuzzing))]
impl Batch<'_> {
    /// The body that says the same.
    fn written(&self) -> Vec<u8> {
        let mut body = b"{".to_vec();
        if let Some(key) = &self.key {
            body.extend_from_slice(br#""idempotency_key":"#);
            message::write_string(&mut body, key);
            body.push(b',');
        }
        let events: Vec<_> = self.events.iter().map(Event::written).collect();
        match self.shape {
            Shape::Batch => {
                body.extend(
                    [br#""batch":[{"#, events.join(&b"},{"[..]).as_slice(), b"}]}"].concat(),
                );
            }
            Shape::Channels => body.extend([events.concat().as_slice(), b"}"].concat()),
        }
        body
    }
}

#[cfg(any(test, fuzzing))]
impl Event<'_> {
    /// Its members.
    fn written(&self) -> Vec<u8> {
        let mut out = br#""name":"#.to_vec();
        message::write_string(&mut out, &self.name);
        let (Data::Literal(data) | Data::Value(data)) = self.data;
        out.extend([br#","data":"#, data.as_bytes(), br#","channels":["#].concat());
        for (index, channel) in self.channels.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            message::write_string(&mut out, channel);
        }
        out.push(b']');
        if let Some(except) = self.except {
            out.extend_from_slice(format!(r#","socket_id":"{except}""#).as_bytes());
        }
        let Info { cache: _, subscribers, users } = self.info;
        let subscribers = if subscribers { "subscription_count" } else { "" };
        let users = if users { "user_count" } else { "" };
        out.extend_from_slice(format!(r#","info":"{subscribers},{users}""#).as_bytes());
        out
    }
}

#[cfg(test)]
mod tests;

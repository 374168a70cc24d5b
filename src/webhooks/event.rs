//! One fact on its way to its targets: owned, and written as JSON once, however many targets it has. Pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use crate::pusher::{Fact, FactKind};

/// A fact, as its targets will read it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) app: Arc<str>,
    pub(super) kind: FactKind,
    pub(super) channel: Arc<str>,
    /// Whom it is about, if it is about a member.
    pub(super) member: Option<Arc<str>>,
    pub(super) json: Box<str>,
    _weight: Weight,
}

impl Event {
    /// `None` if there is no room for it.
    pub(super) fn new(app: &str, fact: &Fact<'_>, room: &Room) -> Option<Self> {
        let member = match fact {
            Fact::MemberAdded { user_id, .. } | Fact::MemberRemoved { user_id, .. } => {
                Some(Arc::from(*user_id))
            }
            _ => None,
        };
        let json = json(fact);
        let weight = room.take(json.len() + app.len() + fact.channel().len())?;
        Some(Self {
            app: app.into(),
            kind: fact.kind(),
            channel: fact.channel().into(),
            member,
            json: json.into(),
            _weight: weight,
        })
    }
}

/// How many bytes of events may wait, wherever they wait. Shared by all threads.
#[derive(Clone, Debug)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self { taken: Arc::default(), bytes }
    }

    /// A lone count: no other memory hangs on its order, and it may be off by what threads take at the same time.
    fn take(&self, bytes: usize) -> Option<Weight> {
        if self.taken.load(Ordering::Relaxed).saturating_add(bytes) > self.bytes {
            return None;
        }
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Some(Weight { taken: Arc::clone(&self.taken), bytes })
    }
}

/// What an event has taken of the room; given back when the last of its targets is done with it.
#[derive(Debug)]
struct Weight {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Serialize)]
struct Fields<'f> {
    name: &'static str,
    channel: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<usize>,
}

fn json(fact: &Fact<'_>) -> String {
    let mut fields = Fields {
        name: fact.kind().name(),
        channel: fact.channel(),
        event: None,
        data: None,
        socket_id: None,
        user_id: None,
        subscription_count: None,
    };
    match *fact {
        Fact::CacheMiss { .. } | Fact::ChannelOccupied { .. } | Fact::ChannelVacated { .. } => {}
        Fact::MemberAdded { user_id, .. } | Fact::MemberRemoved { user_id, .. } => {
            fields.user_id = Some(user_id);
        }
        Fact::ClientEvent { event, data, socket_id, user_id, .. } => {
            fields.event = Some(event);
            fields.data = data.map(text);
            fields.socket_id = Some(socket_id.to_string());
            fields.user_id = user_id;
        }
        Fact::SubscriptionCount { subscription_count, .. } => {
            fields.subscription_count = Some(subscription_count);
        }
    }
    serde_json::to_string(&fields).expect("text and numbers are JSON")
}

/// The data of a client's event is told as a string: what a JSON string holds, else the JSON itself.
fn text(json: &str) -> String {
    match json.starts_with('"') {
        true => serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
        false => json.to_owned(),
    }
}

#[cfg(test)]
pub(super) fn of(app: &str, fact: Fact<'_>) -> Event {
    Event::new(app, &fact, &Room::new(usize::MAX)).expect("there is room")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fact: Fact<'_>, expected: &str) {
        assert_eq!(json(&fact), expected);
    }

    fn client_event(data: Option<&'static str>, user_id: Option<&'static str>) -> Fact<'static> {
        let socket_id = "1.2".parse().unwrap();
        let (channel, event) = ("presence-a", "client-b");
        Fact::ClientEvent { channel, event, data, socket_id, user_id }
    }

    #[test]
    fn each_kind_has_the_fields_of_the_protocol() {
        let channel = "a\"b";
        check(Fact::ChannelOccupied { channel }, r#"{"name":"channel_occupied","channel":"a\"b"}"#);
        check(Fact::ChannelVacated { channel }, r#"{"name":"channel_vacated","channel":"a\"b"}"#);
        check(Fact::CacheMiss { channel }, r#"{"name":"cache_miss","channel":"a\"b"}"#);
        check(
            Fact::MemberAdded { channel, user_id: "7" },
            r#"{"name":"member_added","channel":"a\"b","user_id":"7"}"#,
        );
        check(
            Fact::MemberRemoved { channel, user_id: "7" },
            r#"{"name":"member_removed","channel":"a\"b","user_id":"7"}"#,
        );
        check(
            Fact::SubscriptionCount { channel, subscription_count: 3 },
            r#"{"name":"subscription_count","channel":"a\"b","subscription_count":3}"#,
        );
    }

    fn check_data(data: Option<&'static str>, expected: &str) {
        let expected = format!(
            r#"{{"name":"client_event","channel":"presence-a","event":"client-b",{expected}"socket_id":"1.2"}}"#
        );
        check(client_event(data, None), &expected);
    }

    #[test]
    fn the_data_of_a_client_event_is_a_string_whatever_it_was() {
        check_data(Some(r#""plain \u00e9""#), r#""data":"plain é","#);
        check_data(Some(r#"{"a": [1]}"#), r#""data":"{\"a\": [1]}","#);
        check_data(Some("7"), r#""data":"7","#);
        check_data(Some("null"), r#""data":"null","#);
        check_data(None, "");
    }

    #[test]
    fn a_client_event_of_a_member_says_whose_it_is() {
        check(
            client_event(Some("1"), Some("9")),
            r#"{"name":"client_event","channel":"presence-a","event":"client-b","data":"1","socket_id":"1.2","user_id":"9"}"#,
        );
    }

    #[test]
    fn room_is_given_back_when_an_event_is_done_with() {
        let room = Room::new(80);
        let fact = Fact::CacheMiss { channel: "cache-a" };
        let event = Event::new("1", &fact, &room);
        assert!(event.is_some());
        assert!(Event::new("1", &fact, &room).is_none(), "the limit holds");
        drop(event);
        assert!(Event::new("1", &fact, &room).is_some());
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}

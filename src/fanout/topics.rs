//! ⑧ The topics that have subscribers on this core.
//!
//! Subscribers are a dense list of 4-byte entries; each subscription knows its position in it, so joining and leaving
//! are O(1): the last entry fills the gap, and whoever keeps the subscriptions is told that it moved.
//!
//! ```text
//! topic "room"   [ 7 | 12 | 3 | 9 ]     leave(position 1)     [ 7 | 9 | 3 ]   moved: entry 9 is at 1 now
//! ```
//!
//! An entry is opaque here: the reactor numbers its subscriptions as it likes.

use std::collections::HashMap;
use std::mem;

use super::conn_id::ConnId;
use super::mailbox::TopicName;
use super::names::{Named, Names};

/// A topic on this core, while it is kept.
pub(crate) type TopicId = u32;

/// A subscriber, as the reactor numbers its subscriptions.
pub(crate) type Entry = u32;

/// A list that is most often of one: a user's own channel.
enum Entries {
    Few(Option<Entry>),
    Many(Vec<Entry>),
}

impl Entries {
    fn as_slice(&self) -> &[Entry] {
        match self {
            Self::Few(entry) => entry.as_slice(),
            Self::Many(entries) => entries,
        }
    }

    fn push(&mut self, entry: Entry) {
        match self {
            Self::Few(few) => match *few {
                None => *few = Some(entry),
                Some(first) => *self = Self::Many(vec![first, entry]),
            },
            Self::Many(entries) => entries.push(entry),
        }
    }

    /// The entry that fills the gap, if one had to move.
    fn swap_remove(&mut self, position: usize) -> Option<Entry> {
        match self {
            Self::Few(few) => {
                *few = None;
                None
            }
            Self::Many(entries) => {
                entries.swap_remove(position);
                let moved = entries.get(position).copied();
                // Back to the small form only from far below, so that one client coming and going does not allocate.
                if entries.is_empty() {
                    *self = Self::Few(None);
                } else if entries.capacity() > 64 && entries.len() < entries.capacity() / 4 {
                    entries.shrink_to(entries.len() * 2);
                }
                moved
            }
        }
    }
}

struct Topic {
    name: TopicName,
    entries: Entries,
    /// What the home was told; differs from the list's length for at most one turn. The home takes the first join for
    /// one subscriber, and is told of it all the same once it hears.
    reported: u32,
    /// Subscriptions that were asked for and are to be activated when the core's own queue comes to them. They hold
    /// the topic as subscribers do: it must not be forgotten, nor its number given to another, under their feet.
    pending: u32,
    is_joining: bool,
    /// Its subscribers attend: the home is told of each, and each waits for its own welcome.
    is_attended: bool,
}

impl Named for Topic {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A topic whose home has not confirmed yet.
#[derive(Default)]
struct Joining {
    /// Joins under way: a core may leave and join again before the first is answered, and only the last answer counts.
    joins: u32,
    waiting: Vec<ConnId>,
}

/// What subscribing needs next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// The core listens already: the connection may be activated behind what is queued.
    Listening,
    /// Tell the home; `joined` will name the connection.
    MustJoin,
    /// The home was told; `joined` will name the connection.
    Waits,
}

/// What unsubscribing needs next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The entry that now stands at the position that was left.
    pub(crate) moved: Option<Entry>,
    /// The home must be told that this core listens no longer.
    pub(crate) must_leave: bool,
}

/// All topics of one core.
#[derive(Default)]
pub(crate) struct Topics {
    topics: Names<Topic>,
    joining: HashMap<TopicId, Joining>,
    /// Topics whose count may have changed since it was reported.
    recounted: Vec<TopicId>,
}

impl Topics {
    pub(crate) fn find(&self, name: &str) -> Option<TopicId> {
        self.topics.find(name)
    }

    pub(crate) fn name(&self, topic: TopicId) -> &TopicName {
        &self.topics[topic].name
    }

    /// How many topics have subscribers here.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Its subscribers, in no order.
    pub(crate) fn subscribers(&self, topic: TopicId) -> &[Entry] {
        self.topics[topic].entries.as_slice()
    }

    /// A connection wants to hear a topic. Nobody hears anything before `activate`.
    pub(crate) fn subscribe(&mut self, name: &str, conn: ConnId) -> (TopicId, Subscribed) {
        if let Some(topic) = self.find(name) {
            let kept = &mut self.topics[topic];
            if !kept.is_joining {
                kept.pending += 1;
                return (topic, Subscribed::Listening);
            }
            let joining = self.joining.entry(topic).or_default();
            let is_first = joining.waiting.is_empty();
            joining.waiting.push(conn);
            if !is_first {
                return (topic, Subscribed::Waits);
            }
            // All who waited had left again, and the home was told so: it must hear of us anew.
            joining.joins += 1;
            return (topic, Subscribed::MustJoin);
        }
        let topic = self.insert(name);
        self.joining.insert(topic, Joining { joins: 1, waiting: vec![conn] });
        (topic, Subscribed::MustJoin)
    }

    /// A connection wants to attend a topic: its own welcome from the home will activate it. True if the home must be
    /// told first that this core listens.
    pub(crate) fn attend(&mut self, name: &str) -> (TopicId, bool) {
        let topic = self.find(name).unwrap_or_else(|| {
            let topic = self.insert(name);
            self.joining.insert(topic, Joining::default());
            topic
        });
        let kept = &mut self.topics[topic];
        kept.is_attended = true;
        kept.pending += 1;
        let must_join = kept.is_joining && kept.pending == 1;
        match self.joining.get_mut(&topic) {
            Some(joining) if must_join && joining.waiting.is_empty() => joining.joins += 1,
            _ => return (topic, false),
        }
        (topic, true)
    }

    /// Whether the home must be told of each subscriber that leaves.
    pub(crate) fn is_attended(&self, topic: TopicId) -> bool {
        self.topics[topic].is_attended
    }

    fn insert(&mut self, name: &str) -> TopicId {
        self.topics.insert(Topic {
            name: name.into(),
            entries: Entries::Few(None),
            reported: 0,
            pending: 0,
            is_joining: true,
            is_attended: false,
        })
    }

    /// The home has answered. Those who waited are to be activated now, before anything else of the topic.
    pub(crate) fn joined(&mut self, name: &str) -> Option<(TopicId, Vec<ConnId>)> {
        let topic = self.find(name)?;
        let joining = self.joining.get_mut(&topic)?;
        joining.joins -= 1;
        if joining.joins > 0 {
            return None;
        }
        let waiting = mem::take(&mut joining.waiting);
        self.joining.remove(&topic);
        let kept = &mut self.topics[topic];
        if waiting.is_empty() && kept.pending == 0 {
            self.forget(topic);
            return None;
        }
        kept.is_joining = false;
        kept.pending +=
            u32::try_from(waiting.len()).expect("connections of a core are numbered in 24 bits");
        Some((topic, waiting))
    }

    /// The queue has come to one of the pending subscriptions: `activate` it if its connection still wants it.
    pub(crate) fn settle(&mut self, topic: TopicId) {
        let kept = &mut self.topics[topic];
        debug_assert!(kept.pending > 0 && !kept.is_joining);
        kept.pending -= 1;
    }

    /// The subscription hears the topic from here on. Gives its position.
    pub(crate) fn activate(&mut self, topic: TopicId, entry: Entry) -> u32 {
        let entries = &mut self.topics[topic].entries;
        let position =
            u32::try_from(entries.as_slice().len()).expect("entries are numbered in 32 bits");
        entries.push(entry);
        self.recounted.push(topic);
        position
    }

    /// Ends a subscription that was activated.
    pub(crate) fn leave(&mut self, topic: TopicId, position: u32) -> Left {
        let kept = &mut self.topics[topic];
        let moved = kept.entries.swap_remove(position as usize);
        self.recounted.push(topic);
        let must_leave = kept.pending == 0 && kept.entries.as_slice().is_empty();
        if must_leave {
            self.forget(topic);
        }
        Left { moved, must_leave }
    }

    /// Ends a subscription that still waits. True if the home must be told that this core listens no longer.
    pub(crate) fn give_up(&mut self, topic: TopicId, conn: ConnId) -> bool {
        let Some(joining) = self.joining.get_mut(&topic) else { return false };
        let before = joining.waiting.len();
        joining.waiting.retain(|waiting| *waiting != conn);
        before > 0 && joining.waiting.is_empty() && self.topics[topic].pending == 0
    }

    /// After a pending subscription came to nothing: if nobody else holds the topic, it is forgotten, and the home must
    /// be told that this core listens no longer.
    pub(crate) fn abandon_if_empty(&mut self, topic: TopicId) -> Option<TopicName> {
        let kept = self.topics.get(topic)?;
        if kept.is_joining || kept.pending > 0 || !kept.entries.as_slice().is_empty() {
            return None;
        }
        let name = kept.name.clone();
        self.forget(topic);
        Some(name)
    }

    /// Whether `take_counts` may have something to report.
    pub(crate) fn has_counts(&self) -> bool {
        !self.recounted.is_empty()
    }

    /// The topics whose number of subscribers is not what the home was last told.
    pub(crate) fn take_counts(&mut self, mut report: impl FnMut(&TopicName, u32)) {
        for topic in self.recounted.drain(..) {
            let Some(kept) = self.topics.get_mut(topic) else { continue };
            let subscribers = u32::try_from(kept.entries.as_slice().len()).unwrap_or(u32::MAX);
            if kept.reported != subscribers && subscribers > 0 {
                kept.reported = subscribers;
                report(&kept.name, subscribers);
            }
        }
    }

    fn forget(&mut self, topic: TopicId) {
        self.topics.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(number: u32) -> ConnId {
        ConnId::new(0, number, 1)
    }

    #[test]
    fn the_first_subscriber_joins_and_the_last_leaves() {
        let mut topics = Topics::default();
        let (topic, next) = topics.subscribe("t", conn(1));
        assert_eq!(next, Subscribed::MustJoin);
        assert_eq!(topics.subscribe("t", conn(2)), (topic, Subscribed::Waits));
        assert_eq!(topics.joined("t"), Some((topic, vec![conn(1), conn(2)])));
        topics.settle(topic);
        topics.settle(topic);
        assert_eq!((topics.activate(topic, 11), topics.activate(topic, 12)), (0, 1));
        assert_eq!(topics.subscribe("t", conn(3)), (topic, Subscribed::Listening));
        topics.settle(topic);
        assert_eq!(topics.abandon_if_empty(topic), None);
        assert_eq!(topics.leave(topic, 0), Left { moved: Some(12), must_leave: false });
        assert_eq!(topics.leave(topic, 0), Left { moved: None, must_leave: true });
        assert_eq!((topics.len(), topics.find("t")), (0, None));
    }

    #[test]
    fn whoever_left_and_came_back_waits_for_the_last_answer() {
        let mut topics = Topics::default();
        let (topic, _) = topics.subscribe("t", conn(1));
        assert!(topics.give_up(topic, conn(1)), "the home must hear that nobody waits");
        assert_eq!(topics.subscribe("t", conn(2)), (topic, Subscribed::MustJoin));
        assert_eq!(
            topics.joined("t"),
            None,
            "the answer to the first join: the home has seen us leave since"
        );
        assert_eq!(topics.joined("t"), Some((topic, vec![conn(2)])));
    }

    #[test]
    fn whoever_attends_is_active_only_when_welcomed() {
        let mut topics = Topics::default();
        let (topic, must_join) = topics.attend("t");
        assert!(must_join);
        assert_eq!(topics.attend("t"), (topic, false));
        assert_eq!(topics.joined("t"), Some((topic, vec![])));
        assert_eq!(topics.subscribers(topic), [0; 0]);
        topics.settle(topic);
        assert_eq!(topics.activate(topic, 7), 0);
        assert_eq!(
            topics.leave(topic, 0),
            Left { moved: None, must_leave: false },
            "one more is to come"
        );
        topics.settle(topic);
        assert_eq!(topics.abandon_if_empty(topic).as_deref(), Some("t"));
        assert_eq!((topics.len(), topics.joining.len()), (0, 0));
    }

    #[test]
    fn a_join_that_nobody_waits_for_leaves_nothing() {
        let mut topics = Topics::default();
        let (topic, _) = topics.subscribe("t", conn(1));
        assert!(topics.give_up(topic, conn(1)));
        assert_eq!(topics.joined("t"), None);
        assert_eq!((topics.len(), topics.joining.len(), topics.topics.len()), (0, 0, 0));
    }

    #[test]
    fn counts_are_reported_once_and_only_when_they_differ() {
        let mut topics = Topics::default();
        let mut counts = Vec::new();
        let (topic, _) = topics.subscribe("t", conn(1));
        topics.joined("t");
        topics.settle(topic);
        topics.activate(topic, 1);
        topics.take_counts(|name, count| counts.push((name.to_string(), count)));
        assert_eq!(counts, [("t".to_owned(), 1)], "nobody heard what joining said");
        counts.clear();
        topics.take_counts(|name, count| counts.push((name.to_string(), count)));
        assert_eq!(counts, []);
        topics.activate(topic, 2);
        topics.activate(topic, 3);
        topics.leave(topic, 0);
        topics.take_counts(|name, count| counts.push((name.to_string(), count)));
        assert_eq!(counts, [("t".to_owned(), 2)]);
    }

    #[test]
    fn a_pending_subscription_keeps_the_topic_when_the_last_active_one_leaves() {
        let mut topics = Topics::default();
        let (topic, _) = topics.subscribe("t", conn(1));
        topics.joined("t");
        topics.settle(topic);
        topics.activate(topic, 1);
        topics.subscribe("t", conn(2));
        assert_eq!(topics.leave(topic, 0), Left { moved: None, must_leave: false });
        topics.settle(topic);
        assert_eq!(topics.abandon_if_empty(topic).as_deref(), Some("t"));
        assert_eq!((topics.len(), topics.topics.len()), (0, 0));
    }

    /// Operations against a plain model: every position that the list gives out stays true.
    #[test]
    fn positions_stay_true_whatever_order_they_leave_in() {
        let mut topics = Topics::default();
        let (topic, _) = topics.subscribe("t", conn(0));
        topics.joined("t");
        let mut positions: HashMap<Entry, u32> = HashMap::new();
        let mut random = 12_345_u32;
        for step in 0..5_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if positions.len() < 2 || random >> 31 == 0 {
                positions.insert(step, topics.activate(topic, step));
            } else {
                let entry = *positions.keys().nth(random as usize % positions.len()).unwrap();
                let position = positions.remove(&entry).unwrap();
                if let Some(moved) = topics.leave(topic, position).moved {
                    positions.insert(moved, position);
                }
            }
            assert_eq!(topics.subscribers(topic).len(), positions.len());
        }
        for (entry, position) in positions {
            assert_eq!(topics.subscribers(topic)[position as usize], entry);
        }
    }
}

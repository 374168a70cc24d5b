//! Which topics a connection is on: the first in its slot, further ones in a list that spills over into an arena.
//!
//! ```text
//! slot 7: first (topic 3, position 0), spill ─▶ [topic 9, position 41] ─▶ [topic 2, pending]
//! topic 3's entries: [ 7 ]                      topic 9's entries: [ …, SPILLED | index, … ]
//! ```
//!
//! An entry in a topic's list is a slot's number or, with the top bit set, an index into the arena; so when an entry
//! moves in its list, its position is put right without looking for it.
//!
//! A subscription that is not active has no position yet. In its place stands what it waits for: the core's own queue,
//! or the answer to one attendance, by number. So an answer to an earlier stay on the same topic is known for what it is.

use slab::Slab;

use super::slots::Slot;
use crate::fanout::topics::{Entry, TopicId};

/// No topic, no spill.
const NONE: u32 = u32::MAX;
/// Set in the positions of subscriptions that are not active. No list is that long: a core names 2²⁴ connections.
const INACTIVE: u32 = 1 << 31;
/// The position of a subscription that waits for the core's own queue.
pub(crate) const PENDING: u32 = u32::MAX;

/// Whether a subscription at this position hears its topic.
pub(crate) fn is_active(position: u32) -> bool {
    position & INACTIVE == 0
}
/// Set in entries that are indices into the arena.
const SPILLED: u32 = 1 << 31;

/// The slot's part.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    topic: TopicId,
    position: u32,
    spill: u32,
    count: u32,
}

impl Default for Held {
    fn default() -> Self {
        Self { topic: NONE, position: PENDING, spill: NONE, count: 0 }
    }
}

impl Held {
    /// How many topics the connection is on, pending ones included.
    pub(crate) fn len(self) -> usize {
        self.count as usize
    }
}

struct Spill {
    slot: u32,
    topic: TopicId,
    position: u32,
    next: u32,
}

/// The arena of one core.
#[derive(Default)]
pub(crate) struct Subscriptions {
    spills: Slab<Spill>,
    /// Attendances begun, modulo what fits.
    attendances: u32,
}

impl Subscriptions {
    /// Notes a subscription that is not active yet.
    pub(crate) fn add(&mut self, slot: u32, held: &mut Held, topic: TopicId) {
        held.count += 1;
        if held.topic == NONE {
            (held.topic, held.position) = (topic, PENDING);
            return;
        }
        let spill = Spill { slot, topic, position: PENDING, next: held.spill };
        let index = u32::try_from(self.spills.insert(spill)).ok().filter(|index| *index < SPILLED);
        held.spill = index.expect("connections times subscriptions is limited, far below 2^31");
    }

    /// How many found no place in a slot.
    pub(crate) fn spilled(&self) -> usize {
        self.spills.len()
    }

    /// A number for an attendance: the position of the subscription until the home answers to that number.
    pub(crate) fn begin_attendance(&mut self) -> u32 {
        self.attendances = (self.attendances + 1) % (PENDING - INACTIVE);
        INACTIVE | self.attendances
    }

    /// The subscription to a topic: its entry and its position.
    pub(crate) fn find(&self, slot: u32, held: Held, topic: TopicId) -> Option<(Entry, u32)> {
        if held.topic == topic {
            return Some((slot, held.position));
        }
        let mut next = held.spill;
        while next != NONE {
            let spill = &self.spills[next as usize];
            if spill.topic == topic {
                return Some((next | SPILLED, spill.position));
            }
            next = spill.next;
        }
        None
    }

    /// Forgets the subscription to a topic. Gives the position it had.
    pub(crate) fn remove(&mut self, held: &mut Held, topic: TopicId) -> Option<u32> {
        if held.topic == topic {
            held.topic = NONE;
            held.count -= 1;
            return Some(held.position);
        }
        let mut before = NONE;
        let mut next = held.spill;
        while next != NONE {
            let spill = &self.spills[next as usize];
            if spill.topic != topic {
                (before, next) = (next, spill.next);
                continue;
            }
            let gone = self.spills.remove(next as usize);
            match before {
                NONE => held.spill = gone.next,
                before => self.spills[before as usize].next = gone.next,
            }
            held.count -= 1;
            return Some(gone.position);
        }
        None
    }

    /// Forgets any one subscription. Gives its topic and position.
    pub(crate) fn pop(&mut self, held: &mut Held) -> Option<(TopicId, u32)> {
        if held.topic == NONE && held.spill == NONE {
            return None;
        }
        held.count -= 1;
        if held.topic != NONE {
            let topic = std::mem::replace(&mut held.topic, NONE);
            return Some((topic, held.position));
        }
        let gone = self.spills.remove(held.spill as usize);
        held.spill = gone.next;
        Some((gone.topic, gone.position))
    }

    /// An entry stands at this position of its topic's list now.
    pub(crate) fn place(&mut self, slots: &mut Slab<Slot>, entry: Entry, position: u32) {
        if entry & SPILLED == 0 {
            slots[entry as usize].held.position = position;
        } else {
            self.spills[(entry & !SPILLED) as usize].position = position;
        }
    }

    /// The connection an entry belongs to.
    pub(crate) fn slot(&self, entry: Entry) -> u32 {
        if entry & SPILLED == 0 { entry } else { self.spills[(entry & !SPILLED) as usize].slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_in_the_slot_and_the_rest_spill() {
        let (mut subscriptions, mut held) = (Subscriptions::default(), Held::default());
        for topic in [3, 9, 2] {
            subscriptions.add(7, &mut held, topic);
        }
        assert_eq!((held.len(), subscriptions.spills.len()), (3, 2));
        assert_eq!(subscriptions.find(7, held, 3), Some((7, PENDING)));
        let (entry, _) = subscriptions.find(7, held, 9).unwrap();
        assert_eq!(subscriptions.slot(entry), 7);
        subscriptions.place(&mut Slab::new(), entry, 41);
        assert_eq!(subscriptions.find(7, held, 9), Some((entry, 41)));
        assert_eq!(subscriptions.remove(&mut held, 9), Some(41));
        assert_eq!(subscriptions.remove(&mut held, 9), None);
        assert_eq!(subscriptions.pop(&mut held), Some((3, PENDING)));
        subscriptions.add(7, &mut held, 4);
        assert_eq!(
            subscriptions.find(7, held, 4),
            Some((7, PENDING)),
            "the slot's own place is used again"
        );
        while subscriptions.pop(&mut held).is_some() {}
        assert_eq!((held.len(), subscriptions.spills.len()), (0, 0));
    }

    #[test]
    fn an_attendance_is_numbered_as_no_position_and_not_as_pending() {
        let mut subscriptions = Subscriptions::default();
        let first = subscriptions.begin_attendance();
        assert_ne!(first, subscriptions.begin_attendance());
        subscriptions.attendances = PENDING - INACTIVE - 2;
        for _ in 0..3 {
            let number = subscriptions.begin_attendance();
            assert!(!is_active(number) && number != PENDING, "{number:x}");
        }
        assert!(is_active(0) && is_active((1 << 24) - 1) && !is_active(PENDING));
    }
}

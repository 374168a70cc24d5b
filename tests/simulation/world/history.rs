//! What happened, as three witnesses saw it who do not speak to each other: guests (what they said and heard), handlers
//! (what they admitted and published), homes (in which order). Knows no server; `laws.rs` judges it. Pure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Topics by their place in this list; their names are found so that each has the home that was chosen for it.
pub(crate) const TOPICS: usize = 4;

/// A guest, by its place in the list of all that ever came.
pub(crate) type GuestId = usize;

/// An event, by its place in `History::events`.
pub(crate) type EventId = usize;

/// Counts everything that any witness notes, so that one can tell what came before what.
pub(crate) type Moment = u64;

/// An event that somebody wanted to publish.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) topic: usize,
    pub(crate) publisher: GuestId,
    /// Who is not to hear it.
    pub(crate) except: Option<GuestId>,
    pub(crate) bytes: usize,
    /// When the handler published it; `None` if it did not come so far, or was told that too much is under way.
    pub(crate) accepted: Option<Moment>,
}

/// One guest on one topic, from a confirmation that it read to the confirmation that it is off, or to its end.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) guest: GuestId,
    pub(crate) topic: usize,
    /// When the handler was told that the connection hears the topic from here on.
    pub(crate) admitted: Moment,
    pub(crate) heard: Vec<EventId>,
    /// It goes on.
    pub(crate) is_open: bool,
}

/// An event of a topic, where it was ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered {
    pub(crate) event: EventId,
    pub(crate) at: Moment,
}

/// All of it.
#[derive(Clone, Default, Debug)]
pub(crate) struct History {
    moment: Moment,
    pub(crate) events: Vec<Event>,
    pub(crate) orders: [Vec<Ordered>; TOPICS],
    /// By guest and topic: each time that the handler was told of a subscription, in order.
    pub(crate) admissions: HashMap<(GuestId, usize), Vec<Moment>>,
    pub(crate) stays: Vec<Stay>,
    /// How many of the events that were heard came compressed.
    pub(crate) inflated: u64,
    /// What some witness found wrong at once.
    pub(crate) faults: Vec<String>,
}

/// Where all witnesses write.
pub(crate) type Book = Rc<RefCell<History>>;

impl History {
    pub(crate) fn now(&mut self) -> Moment {
        self.moment += 1;
        self.moment
    }

    pub(crate) fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// A guest is about to publish. Gives the number of the event.
    pub(crate) fn intend(
        &mut self,
        publisher: GuestId,
        topic: usize,
        except: Option<GuestId>,
        bytes: usize,
    ) -> EventId {
        self.events.push(Event { topic, publisher, except, bytes, accepted: None });
        self.events.len() - 1
    }

    /// A handler has published.
    pub(crate) fn accept(&mut self, event: EventId) {
        let now = self.now();
        if self.events[event].accepted.replace(now).is_some() {
            self.fault(format!("event {event} reached a handler twice"));
        }
    }

    /// A home has ordered.
    pub(crate) fn order(&mut self, topic: usize, event: EventId) {
        let at = self.now();
        self.orders[topic].push(Ordered { event, at });
    }

    /// A handler was told that a guest hears a topic from here on.
    pub(crate) fn admit(&mut self, guest: GuestId, topic: usize) {
        let now = self.now();
        self.admissions.entry((guest, topic)).or_default().push(now);
    }

    /// What an event says: its number, its topic, and bytes that only it has.
    pub(crate) fn text(&self, event: EventId) -> String {
        let Event { topic, bytes, .. } = self.events[event];
        format!("event {topic} {event} {}", padding(event, bytes))
    }
}

/// So many bytes, told by a number.
pub(crate) fn padding(number: usize, bytes: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
    std::iter::repeat_n(letter, bytes).collect()
}

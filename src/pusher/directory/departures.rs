//! Users who have left a presence channel and stay in its list for a while, because whoever loads a page anew is back
//! in a second and the others need not see it. Pure.
//!
//! ```text
//!   leave ──▶ noted, still listed ── tick, and not back ──▶ member_removed
//!                       └── back: listed as before, and nobody hears of it
//! ```

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A user of a presence channel: the topic and the user's id.
type Who = (Box<str>, Box<str>);

/// Who left which topic, by the time at which it is looked at. A user is noted once, however often it comes and goes.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: BTreeSet<(u64, Arc<Who>)>,
    noted: HashSet<Arc<Who>>,
}

impl Departures {
    /// A user left, and is to be looked at in that second. One who is noted already is looked at in its earlier one, and
    /// noted again if that is too soon.
    pub(super) fn note(&mut self, topic: &str, user_id: &str, due_at: u64) {
        let who: Arc<Who> = Arc::new((topic.into(), user_id.into()));
        if self.noted.insert(Arc::clone(&who)) {
            self.waiting.insert((due_at, who));
        }
    }

    /// Whether somebody is to be looked at later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next of those whose time has come.
    pub(super) fn next_due(&mut self, unix_seconds: u64) -> Option<Arc<Who>> {
        let is_due = self.waiting.first().is_some_and(|(due_at, _)| *due_at <= unix_seconds);
        let (_, who) = is_due.then(|| self.waiting.pop_first())??;
        self.noted.remove(&who);
        Some(who)
    }
}

/// When whoever leaves now is missed. The second it is in is begun already, and does not count.
pub(super) fn due_at(unix_seconds: u64, delay_seconds: u32) -> u64 {
    unix_seconds.saturating_add(u64::from(delay_seconds)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_missed_in_the_order_of_their_time() {
        let mut departures = Departures::default();
        departures.note("t", "late", due_at(10, 5));
        departures.note("t", "early", due_at(11, 1));
        departures.note("t", "early", due_at(11, 1));
        assert_eq!(departures.next_due(12), None);
        let who = |user: &str| Some(Arc::new(("t".into(), user.into())));
        assert_eq!(departures.next_due(13), who("early"));
        assert_eq!(departures.next_due(15), None);
        assert!(departures.is_waiting());
        assert_eq!(departures.next_due(99), who("late"));
        assert!(!departures.is_waiting() && departures.noted.is_empty());
    }

    #[test]
    fn whoever_comes_and_goes_is_noted_once() {
        let mut departures = Departures::default();
        for second in 0..1_000 {
            departures.note("t", "restless", due_at(second, 3_600));
        }
        assert_eq!((departures.waiting.len(), departures.noted.len()), (1, 1));
        assert!(departures.next_due(due_at(0, 3_600)).is_some());
        departures.note("t", "restless", due_at(999, 3_600));
        assert_eq!(departures.waiting.len(), 1);
    }
}

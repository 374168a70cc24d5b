//! Users who have left a presence channel and stay in its list for a while, because whoever loads a page anew is back
//! in a second and the others need not see it. Pure.
//!
//! ```text
//!   leave ──▶ noted, still listed ── tick, and not back ──▶ member_removed
//!                       └── back: listed as before, and nobody hears of it
//! ```

use std::collections::BTreeSet;

/// Who left which topic, by the time from which on they are missed. A user who comes and goes is noted once for each
/// second at most, and what is noted of one who came back means nothing.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: BTreeSet<(u64, Box<str>, Box<str>)>,
}

impl Departures {
    /// A user left, and is missed from that second on.
    pub(super) fn note(&mut self, topic: &str, user_id: &str, due_at: u64) {
        self.waiting.insert((due_at, topic.into(), user_id.into()));
    }

    /// Whether somebody is to be missed later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next of those whose time is over: the topic and the user's id.
    pub(super) fn next_due(&mut self, unix_seconds: u64) -> Option<(Box<str>, Box<str>)> {
        let is_due = self.waiting.first().is_some_and(|(due_at, ..)| *due_at <= unix_seconds);
        let (_, topic, user_id) = is_due.then(|| self.waiting.pop_first())??;
        Some((topic, user_id))
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
        assert_eq!(departures.next_due(13), Some(("t".into(), "early".into())));
        assert_eq!(departures.next_due(15), None);
        assert!(departures.is_waiting());
        assert_eq!(departures.next_due(99), Some(("t".into(), "late".into())));
        assert!(!departures.is_waiting());
    }
}

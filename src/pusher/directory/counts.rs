//! How many are on a channel, for those who are on it: at once while they are few, and seldom when they are many, or
//! every newcomer on a channel of ten thousand would be news to ten thousand. Pure.
//!
//! ```text
//!   counted ──▶ few, or nothing told for a while: now
//!          └──▶ many: waits ── due ──▶ the latest count, once
//! ```

use std::collections::{HashMap, HashSet};

/// As many hear each change at once.
const FEW: usize = 100;

/// Past that, so many seconds lie between two counts. Seconds are told whole, so a little more than that.
const PAUSE_SECONDS: u64 = 5;

/// What was told on the topics of one home core, of those apps that want it told.
#[derive(Debug, Default)]
pub(super) struct Counts {
    told: HashMap<Box<str>, Told>,
    /// Topics whose count has changed since it was told.
    waiting: HashSet<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    subscribers: usize,
    at: u64,
    /// What is to be told next.
    latest: usize,
}

impl Counts {
    /// A topic has so many subscribers. True if they are to be told now.
    pub(super) fn counted(&mut self, topic: &str, subscribers: usize, unix_seconds: u64) -> bool {
        let Some(told) = self.told.get_mut(topic) else {
            let told = Told { subscribers, at: unix_seconds, latest: subscribers };
            self.told.insert(topic.into(), told);
            return true;
        };
        told.latest = subscribers;
        if told.latest == told.subscribers {
            self.waiting.remove(topic);
            return false;
        }
        if subscribers > FEW && !told.is_over(unix_seconds) {
            self.waiting.insert(topic.into());
            return false;
        }
        told.tell(unix_seconds);
        self.waiting.remove(topic);
        true
    }

    /// Nobody is on the topic.
    pub(super) fn forget(&mut self, topic: &str) {
        self.told.remove(topic);
        self.waiting.remove(topic);
    }

    /// Whether there is something to tell later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The topics that have waited long enough, and their subscribers.
    pub(super) fn due(&mut self, unix_seconds: u64) -> Vec<(Box<str>, usize)> {
        let Self { told, waiting } = self;
        let is_over = |topic: &str| told.get(topic).is_none_or(|it| it.is_over(unix_seconds));
        let due: Vec<_> = waiting.extract_if(|topic| is_over(topic)).collect();
        let tell = |topic: Box<str>| {
            let told = told.get_mut(&topic)?;
            told.tell(unix_seconds);
            Some((topic, told.latest))
        };
        due.into_iter().filter_map(tell).collect()
    }
}

impl Told {
    /// A clock that was set back holds nothing up.
    fn is_over(&self, unix_seconds: u64) -> bool {
        !(self.at..=self.at.saturating_add(PAUSE_SECONDS)).contains(&unix_seconds)
    }

    fn tell(&mut self, unix_seconds: u64) {
        (self.subscribers, self.at) = (self.latest, unix_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn check(counts: &mut Counts, at: u64, subscribers: usize, expected: bool) {
        assert_eq!(counts.counted("t", subscribers, at), expected, "{subscribers} at {at}");
    }

    fn due(counts: &mut Counts, at: u64) -> Vec<usize> {
        counts.due(at).into_iter().map(|(_, subscribers)| subscribers).collect()
    }

    #[test]
    fn few_are_told_each_change_at_once_and_nothing_twice() {
        let mut counts = Counts::default();
        for subscribers in 1..=FEW {
            check(&mut counts, NOW, subscribers, true);
            check(&mut counts, NOW, subscribers, false);
        }
        check(&mut counts, NOW, FEW - 1, true);
        assert!(!counts.is_waiting());
    }

    #[test]
    fn many_are_told_the_latest_once_the_pause_is_over() {
        let mut counts = Counts::default();
        check(&mut counts, NOW, FEW, true);
        check(&mut counts, NOW, FEW + 1, false);
        check(&mut counts, NOW + PAUSE_SECONDS, FEW + 2, false);
        assert!(counts.is_waiting());
        assert_eq!(due(&mut counts, NOW + PAUSE_SECONDS), [0; 0]);
        assert_eq!(due(&mut counts, NOW + PAUSE_SECONDS + 1), [FEW + 2]);
        assert!(!counts.is_waiting());
        check(&mut counts, NOW + PAUSE_SECONDS + 2, FEW + 3, false);
        check(&mut counts, NOW + 2 * PAUSE_SECONDS + 2, FEW + 4, true);
    }

    #[test]
    fn what_is_as_it_was_told_waits_no_longer() {
        let mut counts = Counts::default();
        check(&mut counts, NOW, FEW, true);
        check(&mut counts, NOW, FEW + 1, false);
        check(&mut counts, NOW, FEW, false);
        assert!(!counts.is_waiting());
        check(&mut counts, NOW, FEW + 1, false);
        check(&mut counts, NOW, FEW - 1, true);
        assert!(!counts.is_waiting());
    }

    #[test]
    fn a_topic_that_was_left_is_forgotten() {
        let mut counts = Counts::default();
        check(&mut counts, NOW, FEW + 1, true);
        check(&mut counts, NOW, FEW + 2, false);
        counts.forget("t");
        assert!(!counts.is_waiting() && counts.told.is_empty());
        check(&mut counts, NOW, FEW + 2, true);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let mut counts = Counts::default();
        check(&mut counts, NOW, FEW + 1, true);
        check(&mut counts, NOW, FEW + 2, false);
        assert_eq!(due(&mut counts, NOW - 100), [FEW + 2]);
    }
}

//! When it is logged that events were lost: at once, then not again for a while, and never one by one. Pure.

use std::time::Duration;

/// How long a log line is followed by none.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What was lost and is not logged yet.
#[derive(Default, Debug)]
pub(super) struct Drops {
    unlogged: u64,
    logged_at: Option<Duration>,
}

impl Drops {
    /// So many more are lost. How many to log now, if any.
    pub(super) fn add(&mut self, events: u64, now: Duration) -> Option<u64> {
        self.unlogged += events;
        let is_time = self.next_log().is_some_and(|at| now >= at);
        is_time.then(|| {
            self.logged_at = Some(now);
            std::mem::take(&mut self.unlogged)
        })
    }

    /// When there is something to log; it may be over already.
    pub(super) fn next_log(&self) -> Option<Duration> {
        let at = self.logged_at.map_or(Duration::ZERO, |at| at + LOG_EVERY);
        (self.unlogged > 0).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_when_it_begins_and_every_ten_seconds() {
        let mut drops = Drops::default();
        let mut add = |events, seconds| drops.add(events, Duration::from_secs(seconds));
        assert_eq!(add(0, 1), None);
        assert_eq!(add(3, 2), Some(3));
        assert_eq!((add(1, 3), add(5, 11)), (None, None));
        assert_eq!(add(1, 12), Some(7));
        assert_eq!((add(0, 22), add(0, 60)), (None, None));
        assert_eq!(add(2, 61), Some(2));
        assert_eq!(drops.next_log(), None);
    }

    #[test]
    fn what_was_lost_last_is_logged_without_another_loss() {
        let mut drops = Drops::default();
        drops.add(1, Duration::from_secs(1));
        drops.add(1, Duration::from_secs(2));
        assert_eq!(drops.next_log(), Some(Duration::from_secs(11)));
        assert_eq!(drops.add(0, Duration::from_secs(11)), Some(1));
    }
}

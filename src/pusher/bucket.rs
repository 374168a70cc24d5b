//! How often one client may do something: a bucket of so many tokens, refilled with as many in a given time. Pure.
//!
//! ```text
//!   10 a second:   full, 10 ── take ×10 ──▶ empty ── 100 ms ──▶ 1 ── 900 ms ──▶ 10, and no more
//! ```

use std::time::{Duration, Instant};

/// So many in that time, and so many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rate {
    pub(super) most: u32,
    pub(super) per: Duration,
}

impl Rate {
    pub(super) fn per_second(most: u32) -> Self {
        Self { most, per: Duration::from_secs(1) }
    }

    /// A token has as many parts as its time has nanoseconds, so that each of them adds `most` parts and nothing is
    /// rounded.
    fn token(self) -> u128 {
        self.per.as_nanos()
    }

    fn capacity(self) -> u128 {
        u128::from(self.most) * self.token()
    }
}

/// The tokens of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// When `left` was true.
    at: Instant,
    /// In parts of a token.
    left: u128,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant, rate: Rate) -> Self {
        Self { at: now, left: rate.capacity() }
    }

    /// Takes a token; false if there is none.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        // After its time it is full, so no longer one is counted.
        let since = now.saturating_duration_since(self.at).min(rate.per);
        self.left = (self.left + u128::from(rate.most) * since.as_nanos()).min(rate.capacity());
        self.at = self.at.max(now);
        let left = self.left.checked_sub(rate.token());
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from, whichever it is")]
mod tests {
    use super::*;

    const TEN: Rate = Rate { most: 10, per: Duration::from_secs(1) };

    /// Takes until nothing is left, at one instant.
    fn drain(bucket: &mut Bucket, now: Instant, rate: Rate) -> u32 {
        let mut taken = 0;
        while bucket.take(now, rate) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn the_eleventh_at_one_instant_is_refused() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now, TEN);
        assert_eq!(drain(&mut bucket, now, TEN), 10);
        assert!(!bucket.take(now, TEN));
    }

    #[test]
    fn one_comes_back_after_a_tenth_of_a_second_and_not_before() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now, TEN);
        drain(&mut bucket, now, TEN);
        let tenth = Duration::from_millis(100);
        assert!(!bucket.take(now + tenth - Duration::from_nanos(1), TEN));
        assert!(bucket.take(now + tenth, TEN));
        assert!(!bucket.take(now + tenth, TEN));
        assert_eq!(drain(&mut bucket, now + 3 * tenth, TEN), 2);
    }

    #[test]
    fn a_rest_fills_it_once_however_long_it_is() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now, TEN);
        drain(&mut bucket, now, TEN);
        assert_eq!(drain(&mut bucket, now + Duration::from_secs(1), TEN), 10);
        assert_eq!(drain(&mut bucket, now + Duration::from_secs(86_400), TEN), 10);
    }

    #[test]
    fn no_rate_is_too_high_or_rounded() {
        let now = Instant::now();
        let most = Rate { most: u32::MAX, per: Duration::from_secs(u64::MAX) };
        let mut fast = Bucket::new(now, most);
        assert!(fast.take(now, most));
        assert!(fast.take(now + Duration::from_secs(2), most));
        let seven = Rate::per_second(7);
        let mut odd = Bucket::new(now, seven);
        assert_eq!(drain(&mut odd, now, seven), 7);
        assert_eq!(drain(&mut odd, now + Duration::from_secs(1), seven), 7);
    }

    #[test]
    fn a_clock_that_stands_still_adds_nothing() {
        let now = Instant::now() + Duration::from_secs(1);
        let one = Rate::per_second(1);
        let mut bucket = Bucket::new(now, one);
        assert!(bucket.take(now, one));
        assert!(!bucket.take(now - Duration::from_millis(500), one));
    }

    #[test]
    fn sixty_a_minute_come_back_one_a_second() {
        let now = Instant::now();
        let rate = Rate { most: 60, per: Duration::from_secs(60) };
        let mut bucket = Bucket::new(now, rate);
        assert_eq!(drain(&mut bucket, now, rate), 60);
        assert_eq!(drain(&mut bucket, now + Duration::from_millis(999), rate), 0);
        assert_eq!(drain(&mut bucket, now + Duration::from_secs(1), rate), 1);
        assert_eq!(drain(&mut bucket, now + Duration::from_secs(3600), rate), 60);
    }
}

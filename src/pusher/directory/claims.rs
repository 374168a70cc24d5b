//! Idempotency keys, each at its home core: so one thread decides which of two equal requests is carried out, on
//! whichever cores they arrived. Pure.
//!
//! ```text
//!            claim: Granted                settle: done
//!   unknown ────────────────▶ under way ─────────────────▶ done ──KEEP_SECONDS──▶ unknown
//!      ▲                       │     ▲ │
//!      └── settle: not done ───┘     └─┘ claim: Pending, or Granted once whoever had it must be dead
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::questions::Claim;

/// For how long a request that comes again is known. SDKs and queues have given up or tried again long before.
const KEEP_SECONDS: u64 = 120;

/// A request takes a few turns; one that never said how it ended lost its connection on the way.
const PENDING_SECONDS: u64 = 5;

/// Keys of one home core. Past it the oldest is forgotten early.
const MOST_KEYS: usize = 65_536;

/// The keys of one home core.
#[derive(Debug, Default)]
pub(super) struct Claims {
    known: HashMap<Arc<str>, Entry>,
    /// In the order in which they were granted. What was granted anew, or failed, is here more than once; the time
    /// tells which one counts.
    order: VecDeque<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Entry {
    granted_at: u64,
    is_done: bool,
}

impl Claims {
    pub(super) fn claim(&mut self, key: &str, unix_seconds: u64) -> Claim {
        self.forget(unix_seconds);
        if let Some(entry) = self.known.get(key) {
            if entry.is_done {
                return Claim::Done;
            }
            if unix_seconds.saturating_sub(entry.granted_at) < PENDING_SECONDS {
                return Claim::Pending;
            }
        }
        let key: Arc<str> = key.into();
        self.order.push_back((unix_seconds, Arc::clone(&key)));
        self.known.insert(key, Entry { granted_at: unix_seconds, is_done: false });
        Claim::Granted { at: unix_seconds }
    }

    /// Tells how the request ended that the key was granted to at that time. One that fails late frees nobody else's key.
    pub(super) fn settle(&mut self, key: &str, granted_at: u64, is_done: bool) {
        if is_done {
            if let Some(entry) = self.known.get_mut(key) {
                entry.is_done = true;
            }
        } else if self.known.get(key).is_some_and(|entry| entry.granted_at == granted_at) {
            self.known.remove(key);
        }
    }

    /// Those whose time is over, and the oldest if there is no room for one more.
    fn forget(&mut self, unix_seconds: u64) {
        let is_over = |at: u64| at.saturating_add(KEEP_SECONDS) <= unix_seconds;
        while self.order.front().is_some_and(|&(at, _)| is_over(at))
            || self.order.len() >= MOST_KEYS
        {
            let Some((at, key)) = self.order.pop_front() else { return };
            if self.known.get(&key).is_some_and(|entry| entry.granted_at == at) {
                self.known.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn check(claims: &mut Claims, unix_seconds: u64, expected: Claim) {
        assert_eq!(claims.claim("k", unix_seconds), expected, "at {unix_seconds}");
    }

    fn check_granted(claims: &mut Claims, at: u64) {
        check(claims, at, Claim::Granted { at });
    }

    #[test]
    fn a_key_is_granted_once_and_again_after_its_time() {
        let mut claims = Claims::default();
        check_granted(&mut claims, NOW);
        claims.settle("k", NOW, true);
        check(&mut claims, NOW, Claim::Done);
        check(&mut claims, NOW + KEEP_SECONDS - 1, Claim::Done);
        check_granted(&mut claims, NOW + KEEP_SECONDS);
        let at = NOW + KEEP_SECONDS;
        assert_eq!(claims.claim("other", at), Claim::Granted { at });
    }

    #[test]
    fn a_request_that_failed_may_come_again() {
        let mut claims = Claims::default();
        check_granted(&mut claims, NOW);
        claims.settle("k", NOW, false);
        check_granted(&mut claims, NOW);
    }

    #[test]
    fn a_request_under_way_holds_its_key_until_it_must_be_dead() {
        let mut claims = Claims::default();
        check_granted(&mut claims, NOW);
        check(&mut claims, NOW + PENDING_SECONDS - 1, Claim::Pending);
        check_granted(&mut claims, NOW + PENDING_SECONDS);
        check(&mut claims, NOW + PENDING_SECONDS, Claim::Pending);
    }

    #[test]
    fn a_request_that_fails_late_frees_nobody_elses_key() {
        let mut claims = Claims::default();
        check_granted(&mut claims, NOW);
        check_granted(&mut claims, NOW + PENDING_SECONDS);
        claims.settle("k", NOW, false);
        check(&mut claims, NOW + PENDING_SECONDS, Claim::Pending);
        claims.settle("k", NOW + PENDING_SECONDS, false);
        check_granted(&mut claims, NOW + PENDING_SECONDS);
    }

    #[test]
    fn a_key_that_was_granted_anew_is_kept_from_then_on() {
        let mut claims = Claims::default();
        check_granted(&mut claims, NOW);
        check_granted(&mut claims, NOW + PENDING_SECONDS);
        claims.settle("k", NOW, true);
        check(&mut claims, NOW + KEEP_SECONDS, Claim::Done);
        check_granted(&mut claims, NOW + KEEP_SECONDS + PENDING_SECONDS);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut claims = Claims::default();
        for number in 0..=MOST_KEYS {
            assert_eq!(claims.claim(&number.to_string(), NOW), Claim::Granted { at: NOW });
        }
        assert_eq!((claims.known.len(), claims.order.len()), (MOST_KEYS, MOST_KEYS));
        assert_eq!(claims.claim("0", NOW), Claim::Granted { at: NOW });
        assert_eq!(claims.claim(&MOST_KEYS.to_string(), NOW), Claim::Pending);
    }

    #[test]
    fn nothing_remains_of_what_is_over() {
        let mut claims = Claims::default();
        for number in 0..10 {
            assert_eq!(claims.claim(&number.to_string(), NOW), Claim::Granted { at: NOW });
        }
        check_granted(&mut claims, NOW + KEEP_SECONDS);
        assert_eq!((claims.known.len(), claims.order.len()), (1, 1));
    }
}

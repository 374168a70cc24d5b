//! The last event of each cache channel, as its home core keeps it: bounded in bytes, for a limited time. Pure: the
//! time is an argument.
//!
//! ```text
//!   by_topic   "1/cache-a" ──▶ place 3
//!   kept       4 ⇄ 0 ⇄ 3      in the order of publishing: when there are too many bytes, the oldest goes first
//! ```

use std::collections::HashMap;

use super::line::Line;
use crate::Prepared;

/// What an entry takes beside its topic and its event, roughly: places in two tables.
const ENTRY_BYTES: usize = 128;

/// The last events of the cache channels of one home core.
#[derive(Debug)]
pub(super) struct Cache {
    by_topic: HashMap<Box<str>, usize>,
    kept: Line<Kept>,
    /// The sum over `kept`.
    bytes: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    topic: Box<str>,
    event: Prepared,
    until: u64,
}

impl Kept {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.topic.len() + self.event.frame().len()
    }
}

impl Cache {
    /// An empty cache for so many bytes.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { by_topic: HashMap::new(), kept: Line::default(), bytes: 0, most_bytes }
    }

    /// Keeps an event in place of the channel's last one. One that is bigger than the whole cache is not kept, and
    /// the one before it is gone all the same: it is not the last any more.
    pub(super) fn put(
        &mut self,
        topic: &str,
        event: Prepared,
        unix_seconds: u64,
        ttl_seconds: u64,
    ) {
        if let Some(&place) = self.by_topic.get(topic) {
            self.remove(place);
        }
        let kept =
            Kept { topic: topic.into(), event, until: unix_seconds.saturating_add(ttl_seconds) };
        let bytes = kept.bytes();
        if bytes > self.most_bytes {
            return;
        }
        let is_over = |kept: &Kept| kept.until <= unix_seconds;
        while self.bytes + bytes > self.most_bytes || self.kept.first().is_some_and(is_over) {
            let Some(&oldest) = self.kept.first().and_then(|kept| self.by_topic.get(&kept.topic))
            else {
                break;
            };
            self.remove(oldest);
        }
        self.bytes += bytes;
        let place = self.kept.push(kept);
        self.by_topic.insert(topic.into(), place);
    }

    /// The event of a channel, with the seconds that it has left.
    pub(super) fn get(&self, topic: &str, unix_seconds: u64) -> Option<(&Prepared, u64)> {
        let kept = self.kept.get(*self.by_topic.get(topic)?)?;
        let left = kept.until.checked_sub(unix_seconds).filter(|left| *left > 0)?;
        Some((&kept.event, left))
    }

    fn remove(&mut self, place: usize) {
        if let Some(kept) = self.kept.remove(place) {
            self.bytes -= kept.bytes();
            self.by_topic.remove(&kept.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MessageKind;

    fn event(text: &str) -> Prepared {
        Prepared::new(MessageKind::Text, text.as_bytes())
    }

    fn check(cache: &Cache, topic: &str, now: u64, expected: Option<(&str, u64)>) {
        let got = cache.get(topic, now);
        let expected = expected.map(|(text, left)| (event(text), left));
        assert_eq!(got.map(|(event, left)| (event.clone(), left)), expected, "{topic} at {now}");
    }

    #[test]
    fn the_last_event_is_kept_for_its_time() {
        let mut cache = Cache::new(10_000);
        check(&cache, "a", 0, None);
        cache.put("a", event("1"), 100, 30);
        cache.put("a", event("2"), 110, 30);
        check(&cache, "a", 110, Some(("2", 30)));
        check(&cache, "a", 139, Some(("2", 1)));
        check(&cache, "a", 140, None);
        check(&cache, "b", 110, None);
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let size = ENTRY_BYTES + 1 + event("x").frame().len();
        let mut cache = Cache::new(2 * size);
        for topic in ["a", "b", "a", "c"] {
            cache.put(topic, event("x"), 0, 9);
        }
        check(&cache, "b", 0, None);
        check(&cache, "a", 0, Some(("x", 9)));
        check(&cache, "c", 0, Some(("x", 9)));
        assert_eq!(cache.bytes, 2 * size);
    }

    #[test]
    fn an_event_bigger_than_the_cache_is_not_kept_and_hides_the_one_before() {
        let mut cache = Cache::new(1_000);
        cache.put("a", event("1"), 0, 9);
        cache.put("a", event(&"x".repeat(1_000)), 0, 9);
        check(&cache, "a", 0, None);
        assert_eq!((cache.bytes, cache.by_topic.len()), (0, 0));
    }

    #[test]
    fn what_is_over_makes_room_as_others_come() {
        let mut cache = Cache::new(10_000);
        cache.put("a", event("1"), 0, 5);
        cache.put("b", event("1"), 5, 5);
        assert_eq!(cache.by_topic.len(), 1);
    }

    proptest! {
        #[test]
        fn the_cache_equals_the_last_of_a_list(
            puts in prop::collection::vec((0..6_u8, 0..200_usize, 0..3_u64), 0..60),
        ) {
            let mut cache = Cache::new(1_000);
            let mut list: Vec<(String, Prepared, u64)> = Vec::new();
            let mut now = 0;
            for (topic, length, later) in puts {
                now += later;
                let (topic, event) = (topic.to_string(), event(&"x".repeat(length)));
                cache.put(&topic, event.clone(), now, 10);
                list.retain(|(other, _, until)| *other != topic && *until > now);
                list.push((topic, event, now + 10));
                let bytes = |list: &[(String, Prepared, u64)]| {
                    list.iter().map(|it| ENTRY_BYTES + it.0.len() + it.1.frame().len()).sum::<usize>()
                };
                while bytes(&list) > 1_000 {
                    list.remove(0);
                }
                prop_assert_eq!(cache.bytes, bytes(&list));
                for topic in ["0", "1", "2", "3", "4", "5"] {
                    let expected = list.iter().find(|it| it.0 == topic).map(|it| (&it.1, it.2 - now));
                    prop_assert_eq!(cache.get(topic, now), expected);
                }
            }
        }
    }
}

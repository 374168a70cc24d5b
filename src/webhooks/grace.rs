//! Who leaves and is back soon has not left: departures wait here, and a return within the grace undoes them. Pure.
//!
//! ```text
//!   channel_vacated, member_removed ──▶ waits ──the grace passes──────────────▶ told
//!   channel_occupied, member_added ──▶ somebody waits? ──no───────────────────▶ told
//!                                          └──yes: neither of the two is told
//!   anything else ────────────────────────────────────────────────────────────▶ told at once
//! ```
//!
//! So what is told of one channel, or of one user on it, always alternates, while its app is there. Times are counted from any one moment.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use crate::pusher::FactKind;

/// The departures that wait.
#[derive(Debug)]
pub(super) struct Grace {
    after: Duration,
    /// Past it the oldest departure is told before its time.
    most: usize,
    /// Which of the departures in line counts, for each channel and user that may return.
    away: HashMap<Whom, u64>,
    /// In the order of their times. Those that were undone stay until their time.
    line: VecDeque<Departure>,
    number: u64,
}

/// A channel of an app, or a user on it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Whom {
    app: Arc<str>,
    channel: Arc<str>,
    member: Option<Arc<str>>,
}

#[derive(Debug)]
struct Departure {
    due: Duration,
    number: u64,
    whom: Whom,
    event: Event,
}

impl Grace {
    pub(super) fn new(after: Duration, most: usize) -> Self {
        Self { after, most, away: HashMap::new(), line: VecDeque::new(), number: 0 }
    }

    /// Takes an event; what is to be told now is added to `told`.
    pub(super) fn take(&mut self, event: Event, now: Duration, told: &mut Vec<Event>) {
        self.handle_timeout(now, told);
        match event.kind {
            FactKind::ChannelVacated | FactKind::MemberRemoved if !self.after.is_zero() => {
                self.wait(event, now, told);
            }
            FactKind::ChannelOccupied | FactKind::MemberAdded => {
                if self.away.remove(&whom(&event)).is_none() {
                    told.push(event);
                }
            }
            _ => told.push(event),
        }
    }

    fn wait(&mut self, event: Event, now: Duration, told: &mut Vec<Event>) {
        self.number += 1;
        let (number, whom, due) = (self.number, whom(&event), now + self.after);
        self.away.insert(whom.clone(), number);
        self.line.push_back(Departure { due, number, whom, event });
        while self.away.len() > self.most {
            self.tell_first(told);
        }
        // Those that were undone take no more room than the others may.
        if self.line.len() > 2 * self.most {
            self.line.retain(|departure| self.away.get(&departure.whom) == Some(&departure.number));
        }
    }

    /// When the next departure is to be told.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.line.front().map(|departure| departure.due)
    }

    /// Tells the departures whose time has come.
    pub(super) fn handle_timeout(&mut self, now: Duration, told: &mut Vec<Event>) {
        while self.line.front().is_some_and(|departure| departure.due <= now) {
            self.tell_first(told);
        }
    }

    /// Tells all departures, whatever their time.
    pub(super) fn flush(&mut self, told: &mut Vec<Event>) {
        while !self.line.is_empty() {
            self.tell_first(told);
        }
    }

    fn tell_first(&mut self, told: &mut Vec<Event>) {
        let Some(Departure { number, whom, event, .. }) = self.line.pop_front() else { return };
        if self.away.get(&whom) == Some(&number) {
            self.away.remove(&whom);
            told.push(event);
        }
    }
}

fn whom(event: &Event) -> Whom {
    let Event { app, channel, member, .. } = event;
    Whom { app: Arc::clone(app), channel: Arc::clone(channel), member: member.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pusher::Fact;
    use crate::webhooks::event;

    const AFTER: Duration = Duration::from_secs(3);

    /// `+a`: channel a is occupied, `-a`: vacated, `+a/7`: user 7 is on it, `-a/7`: not any more, `?a`: a cache miss.
    fn event(text: &str) -> Event {
        let (sign, rest) = text.split_at(1);
        let fact = match (sign, rest.split_once('/')) {
            ("+", None) => Fact::ChannelOccupied { channel: rest },
            ("-", None) => Fact::ChannelVacated { channel: rest },
            ("+", Some((channel, user_id))) => Fact::MemberAdded { channel, user_id },
            ("-", Some((channel, user_id))) => Fact::MemberRemoved { channel, user_id },
            _ => Fact::CacheMiss { channel: rest },
        };
        event::of("1", fact)
    }

    fn shown(event: &Event) -> String {
        let sign = match event.kind {
            FactKind::ChannelOccupied | FactKind::MemberAdded => '+',
            FactKind::ChannelVacated | FactKind::MemberRemoved => '-',
            _ => '?',
        };
        let member = event.member.as_ref().map(|member| format!("/{member}")).unwrap_or_default();
        format!("{sign}{}{member}", event.channel)
    }

    /// What is told, and when, of what happens at these milliseconds.
    fn told_with(most: usize, happens: &[(u64, &str)]) -> Vec<String> {
        let mut grace = Grace::new(AFTER, most);
        let mut told = Vec::new();
        let mut note = |at: Duration, events: Vec<Event>| {
            told.extend(events.iter().map(|event| format!("{}: {}", at.as_millis(), shown(event))));
        };
        for (at, text) in happens {
            let at = Duration::from_millis(*at);
            while let Some(due) = grace.next_timeout().filter(|due| *due <= at) {
                let mut events = Vec::new();
                grace.handle_timeout(due, &mut events);
                note(due, events);
            }
            let mut events = Vec::new();
            grace.take(event(text), at, &mut events);
            note(at, events);
        }
        while let Some(due) = grace.next_timeout() {
            let mut events = Vec::new();
            grace.handle_timeout(due, &mut events);
            note(due, events);
        }
        assert!(grace.away.is_empty() && grace.line.is_empty(), "nothing is kept for ever");
        told
    }

    fn check(happens: &[(u64, &str)], expected: &[&str]) {
        assert_eq!(told_with(100, happens), expected);
    }

    #[test]
    fn who_leaves_for_good_is_told_of_three_seconds_later() {
        check(
            &[(0, "+a"), (10, "+a/7"), (500, "-a/7"), (500, "-a")],
            &["0: +a", "10: +a/7", "3500: -a/7", "3500: -a"],
        );
    }

    #[test]
    fn who_is_back_within_the_grace_is_not_told_of_at_all() {
        let back = [(0, "-a/7"), (0, "-a"), (2_999, "+a"), (2_999, "+a/7")];
        check(&back, &[]);
        check(&[(0, "-a"), (3_000, "+a")], &["3000: -a", "3000: +a"]);
    }

    #[test]
    fn who_comes_in_place_of_another_is_told_of_and_so_is_the_other() {
        check(
            &[(0, "-a/7"), (0, "-a"), (1_000, "+a"), (1_000, "+a/8")],
            &["1000: +a/8", "3000: -a/7"],
        );
    }

    #[test]
    fn a_second_departure_waits_for_its_own_time() {
        check(&[(0, "-a"), (1_000, "+a"), (2_000, "-a")], &["5000: -a"]);
    }

    #[test]
    fn what_is_no_departure_does_not_wait() {
        check(&[(0, "-a/7"), (1, "?a")], &["1: ?a", "3000: -a/7"]);
    }

    #[test]
    fn past_the_limit_the_oldest_departure_is_told_before_its_time() {
        assert_eq!(told_with(1, &[(0, "-a"), (1, "-b")]), ["1: -a", "3001: -b"]);
    }

    #[test]
    fn who_comes_and_goes_all_the_time_takes_no_room_from_the_others() {
        let mut grace = Grace::new(AFTER, 10);
        let mut told = Vec::new();
        grace.take(event("-b"), Duration::ZERO, &mut told);
        for _ in 0..1_000 {
            grace.take(event("-a"), Duration::ZERO, &mut told);
            grace.take(event("+a"), Duration::ZERO, &mut told);
            assert!(grace.line.len() <= 20 && grace.away.len() <= 2 && told.is_empty());
        }
        grace.handle_timeout(AFTER, &mut told);
        assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), ["-b"]);
    }

    #[test]
    fn without_a_grace_everything_is_told_at_once() {
        let mut grace = Grace::new(Duration::ZERO, 100);
        let mut told = Vec::new();
        for text in ["+a", "-a", "+a", "-a"] {
            grace.take(event(text), AFTER, &mut told);
        }
        assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), ["+a", "-a", "+a", "-a"]);
    }

    #[test]
    fn apps_do_not_share_departures() {
        let mut grace = Grace::new(AFTER, 100);
        let mut told = Vec::new();
        grace.take(event::of("1", Fact::ChannelVacated { channel: "a" }), AFTER, &mut told);
        grace.take(event::of("2", Fact::ChannelOccupied { channel: "a" }), AFTER, &mut told);
        assert_eq!(told.len(), 1);
    }

    proptest! {
        /// Whatever comes and goes: what is told of one alternates, ends in the truth, and no departure of somebody
        /// who was back within the grace is told.
        #[test]
        fn what_is_told_of_one_alternates_and_ends_in_the_truth(
            steps in prop::collection::vec((0..3_u8, 0..4_000_u64), 0..40)
        ) {
            let names = ["a", "a/7", "b"];
            let mut there = BTreeSet::new();
            let mut now = 0;
            let mut happens = Vec::new();
            for (which, pause) in steps {
                now += pause;
                let name = names[usize::from(which)];
                let sign = if there.insert(name) { '+' } else { there.remove(name); '-' };
                happens.push((now, format!("{sign}{name}")));
            }
            let happens: Vec<_> = happens.iter().map(|(at, text)| (*at, text.as_str())).collect();
            let told = told_with(100, &happens);
            for name in names {
                let of_one = |text: &str| text.split(": ").last().is_some_and(|text| &text[1..] == name);
                let signs: Vec<_> = told.iter().filter(|text| of_one(text))
                    .map(|text| text.contains(": +")).collect();
                prop_assert!(signs.iter().enumerate().all(|(index, sign)| *sign == (index % 2 == 0)), "{signs:?}");
                prop_assert_eq!(signs.last().copied().unwrap_or(false), there.contains(name));
                let own: Vec<_> = happens.iter().filter(|(_, text)| &text[1..] == name).collect();
                let gone = own.iter().enumerate().filter(|(index, (at, text))| {
                    text.starts_with('-') && own.get(index + 1).is_none_or(|(next, _)| next - at >= 3_000)
                });
                prop_assert_eq!(signs.iter().filter(|sign| !**sign).count(), gone.count());
            }
        }
    }
}

//! What was heard on one channel against the channel's one order. Pure.
//!
//! ```text
//!   witness   1  2  +a  3  4  -a  5        from the beginning to the end: the order itself
//!   stay            +a  3     -a           a stretch of it; 4 was not for this one
//! ```

use std::collections::HashMap;

/// Something that was heard on a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// A user came.
    Added(usize),
    /// An event of a back end, by its number.
    Event(u32),
    /// A user went.
    Removed(usize),
    /// The last event of a cache channel, if there was one, as the server says it with a welcome.
    Replay(Option<u32>),
    /// An event of a client, by its number.
    Whisper(u32),
}

impl Heard {
    fn number(&self) -> Option<u32> {
        match self {
            Self::Event(number) | Self::Whisper(number) => Some(*number),
            Self::Added(_) | Self::Removed(_) | Self::Replay(_) => None,
        }
    }
}

/// Who is not to hear which event.
#[derive(Default)]
pub(super) struct Exceptions(HashMap<u32, usize>);

impl Exceptions {
    pub(super) fn add(&mut self, number: u32, guest: usize) {
        self.0.insert(number, guest);
    }

    /// Whether it is for that guest.
    pub(super) fn allow(&self, heard: &Heard, guest: usize) -> bool {
        heard.number().is_none_or(|number| self.0.get(&number) != Some(&guest))
    }
}

/// A stay on a channel, as it was heard.
pub(super) struct Stay<'a> {
    pub(super) guest: usize,
    pub(super) heard: &'a [Heard],
    /// It goes on, and nothing is under way.
    pub(super) is_open: bool,
}

/// Whether the stay is a stretch of the witness's order, and to its end if it goes on.
pub(super) fn is_stretch(witness: &[Heard], stay: &Stay<'_>, exceptions: &Exceptions) -> bool {
    (0..=witness.len()).any(|start| fits(witness, start, stay, exceptions))
}

fn fits(witness: &[Heard], start: usize, stay: &Stay<'_>, exceptions: &Exceptions) -> bool {
    let is_not_for_them =
        |at: usize| witness.get(at).is_some_and(|heard| !exceptions.allow(heard, stay.guest));
    let mut at = start;
    for heard in stay.heard {
        if let Heard::Replay(number) = heard {
            while last_event(&witness[..at]) != *number {
                if !is_not_for_them(at) {
                    return false;
                }
                at += 1;
            }
            continue;
        }
        while is_not_for_them(at) {
            at += 1;
        }
        if witness.get(at) != Some(heard) {
            return false;
        }
        at += 1;
    }
    while is_not_for_them(at) {
        at += 1;
    }
    !stay.is_open || at == witness.len()
}

/// What a cache channel keeps: events of clients are not kept.
fn last_event(witness: &[Heard]) -> Option<u32> {
    witness.iter().rev().find_map(|heard| match heard {
        Heard::Event(number) => Some(*number),
        _ => None,
    })
}

/// Whether two stays agree where both heard: the same events in the same order, and none that one of them missed.
pub(super) fn agree(one: &Stay<'_>, other: &Stay<'_>, exceptions: &Exceptions) -> bool {
    let of = |stay: &Stay<'_>, others: &Stay<'_>| -> Vec<u32> {
        let numbered = stay.heard.iter().filter(|heard| exceptions.allow(heard, others.guest));
        numbered.filter_map(Heard::number).collect()
    };
    let (one, other) = (of(one, other), of(other, one));
    let common = |from: &[u32], with: &[u32]| -> Vec<u32> {
        let first = from.iter().position(|number| with.contains(number));
        let last = from.iter().rposition(|number| with.contains(number));
        first.zip(last).map_or_else(Vec::new, |(first, last)| from[first..=last].to_vec())
    };
    common(&one, &other) == common(&other, &one)
}

#[cfg(test)]
mod tests {
    use super::Heard::{Added, Event, Removed, Replay, Whisper};
    use super::*;

    const WITNESS: [Heard; 6] = [Event(1), Whisper(2), Added(7), Event(3), Removed(7), Event(4)];

    fn check(heard: &[Heard], is_open: bool, expected: bool) {
        let mut exceptions = Exceptions::default();
        exceptions.add(3, 9);
        let stay = Stay { guest: 9, heard, is_open };
        assert_eq!(is_stretch(&WITNESS, &stay, &exceptions), expected, "{heard:?}");
    }

    #[test]
    fn a_stay_is_a_stretch_without_what_is_not_for_it() {
        check(&[Whisper(2), Added(7), Removed(7)], false, true);
        check(&[Whisper(2), Added(7), Removed(7)], true, false);
        check(&[Added(7), Removed(7), Event(4)], true, true);
        check(&[Added(7), Event(3), Removed(7)], false, false);
        check(&[Whisper(2), Removed(7)], false, false);
        check(&[Event(1), Event(1)], false, false);
        check(&[Whisper(2), Event(1)], false, false);
        check(&[], true, true);
    }

    #[test]
    fn a_replay_is_the_last_event_of_back_ends() {
        check(&[Replay(None), Event(1)], false, true);
        check(&[Replay(Some(1)), Added(7)], false, true);
        check(&[Replay(None), Added(7)], false, false);
        check(&[Replay(Some(3)), Removed(7)], false, true);
        check(&[Replay(Some(4))], true, true);
        check(&[Replay(Some(3))], true, false);
    }

    #[test]
    fn two_stays_agree_where_both_were_there() {
        let agrees = |one: &[Heard], other: &[Heard]| {
            let one = Stay { guest: 0, heard: one, is_open: false };
            let other = Stay { guest: 1, heard: other, is_open: false };
            agree(&one, &other, &Exceptions::default())
        };
        assert!(agrees(&[Event(1), Event(2), Event(3)], &[Event(2), Event(3), Event(4)]));
        assert!(agrees(&[Event(1)], &[Event(2)]));
        assert!(!agrees(&[Event(1), Event(2), Event(3)], &[Event(1), Event(3)]));
        assert!(!agrees(&[Event(1), Event(2)], &[Event(2), Event(1)]));
    }
}

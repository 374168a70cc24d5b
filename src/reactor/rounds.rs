//! What is for many: it goes round its audience in slices, and whoever's turn it is gets all that has come since its last.
//!
//! ```text
//!  events     [ 41 | 42 | 43 | 44 ]                        of one topic, in its order
//!  audience   [ 7 | 12 | 3 | 9 | 31 | … ]                  the topic's subscribers here, as `fanout/topics.rs` lists them
//!  cursors    [ 45  45   45  41  41   … ]                  the event that each of them needs next
//!                           ▲ next: gets 41 to 44, joined once for all who need the same, in one `send`
//! ```
//!
//! So to publish to many costs nothing for each of them, a turn is as short as a slice whatever the audience, and under
//! load one `send` carries what came while the round went on. What is for few goes beside it in chains, and so does
//! whatever is for one connection alone: only a topic's own order is kept between the two.
//!
//! Knows no socket and no connection but its number. A round and its cursors exist only while somebody lacks an event.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use slab::Slab;

use crate::fanout::topics::TopicId;
use crate::ws::{Deflater, Form, Prepared};

/// Nobody is left out of an event. No slot has this number: a core names 2²⁴ connections.
const NOBODY: u32 = u32::MAX;

/// One event of a round.
struct Event {
    frame: Prepared,
    /// The connection that must not hear it.
    except: u32,
    /// Bytes of all frames up to this one's end, since the round began.
    end: u64,
    /// Events up to this one that leave somebody out.
    exceptions: u32,
}

/// One topic's round.
#[derive(Default)]
struct Round {
    topic: TopicId,
    events: VecDeque<Event>,
    /// The number of the first event that is kept. Numbers wrap; their differences do not mind.
    first: u32,
    /// What came before it: bytes, and events that left somebody out.
    before: (u64, u32),
    /// Beside each subscriber in the topic's list, the number of the event that it needs next.
    cursors: Vec<u32>,
    /// Whose turn it is.
    next: usize,
    /// Turns until everybody has everything.
    left: usize,
    /// The number that was next when the round last came to the head of the list. Once it comes there again, nobody
    /// needs an event before that.
    floor: u32,
}

/// Events that somebody needs, by number.
pub(crate) type Numbers = Range<u32>;

impl Round {
    fn begin(&mut self, topic: TopicId, audience: usize) {
        debug_assert!(self.events.is_empty() && self.cursors.is_empty());
        *self = Self {
            topic,
            events: std::mem::take(&mut self.events),
            cursors: std::mem::take(&mut self.cursors),
            ..Self::default()
        };
        self.cursors.resize(audience, 0);
    }

    /// The number of the event that comes next.
    fn now(&self) -> u32 {
        let kept = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        self.first.wrapping_add(kept)
    }

    fn push(&mut self, frame: Prepared, except: u32) {
        let (end, exceptions) = self.at(self.now());
        self.events.push_back(Event {
            end: end + frame.frame().len() as u64,
            exceptions: exceptions.wrapping_add(u32::from(except != NOBODY)),
            frame,
            except,
        });
        self.left = self.cursors.len();
    }

    /// What has come before the event of that number.
    fn at(&self, number: u32) -> (u64, u32) {
        let kept = number.wrapping_sub(self.first) as usize;
        let last = kept.checked_sub(1).and_then(|last| self.events.get(last));
        last.map_or(self.before, |event| (event.end, event.exceptions))
    }

    fn bytes(&self) -> u64 {
        self.at(self.now()).0 - self.before.0
    }

    /// Goes on to the next subscriber that needs something: its position.
    fn step(&mut self) -> Option<usize> {
        while self.left > 0 && !self.cursors.is_empty() {
            if self.next >= self.cursors.len() {
                self.next = 0;
                self.forget_before(self.floor);
                self.floor = self.now();
            }
            let position = self.next;
            self.next += 1;
            self.left -= 1;
            if self.cursors[position] != self.now() {
                return Some(position);
            }
        }
        None
    }

    fn forget_before(&mut self, number: u32) {
        self.before = self.at(number);
        self.events.drain(..number.wrapping_sub(self.first) as usize);
        self.first = number;
    }

    /// What the subscriber at that position needs. It has it from here on.
    fn take(&mut self, position: usize) -> Numbers {
        let now = self.now();
        std::mem::replace(&mut self.cursors[position], now)..now
    }

    /// The frames of these events, without those that leave the connection out.
    fn frames(&self, numbers: &Numbers, slot: u32) -> impl Iterator<Item = &Prepared> {
        let from = numbers.start.wrapping_sub(self.first) as usize;
        let to = numbers.end.wrapping_sub(self.first) as usize;
        self.events.range(from..to).filter(move |it| it.except != slot).map(|it| &it.frame)
    }

    /// Whether some of these events leave the connection out.
    fn has_exception(&self, numbers: &Numbers, slot: u32) -> bool {
        self.at(numbers.start).1 != self.at(numbers.end).1
            && self.frames(numbers, slot).count() < numbers.end.wrapping_sub(numbers.start) as usize
    }

    fn end(&mut self) {
        self.events.clear();
        self.cursors.clear();
        self.events.shrink_to(Rounds::KEPT);
        self.cursors.shrink_to(Rounds::KEPT);
    }

    fn invariants(&self) {
        let is_kept =
            |cursor: &u32| cursor.wrapping_sub(self.first) <= self.now().wrapping_sub(self.first);
        debug_assert!(self.cursors.iter().all(is_kept));
    }
}

/// Bytes joined for all who need the same events in the same form.
#[derive(Default)]
struct Joined {
    of: Option<(TopicId, Numbers)>,
    bytes: Vec<u8>,
}

/// Whose turn it is: which subscriber of which topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Visit {
    round: usize,
    pub(crate) topic: TopicId,
    pub(crate) position: usize,
}

/// The rounds of one core.
#[derive(Default)]
pub(crate) struct Rounds {
    rounds: Slab<Round>,
    by_topic: HashMap<TopicId, usize>,
    /// Each round once, the one whose turn it is first.
    order: VecDeque<usize>,
    /// Finished ones, for their memory.
    spare: Vec<Round>,
    /// By form.
    joined: [Joined; 2],
    /// What the frames of all rounds hold.
    bytes: u64,
}

impl Rounds {
    /// Bytes that may wait in rounds before all else waits for them.
    const MOST_BYTES: u64 = 64 * 1024 * 1024;
    /// Bytes joined for one `send`; past that the pieces are given to the kernel as they are.
    const MOST_JOINED_BYTES: u64 = 256 * 1024;
    /// Events and cursors that a finished round keeps room for.
    const KEPT: usize = 1 << 16;
    /// Finished rounds kept for their memory.
    const SPARE: usize = 4;

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether so much waits that it should be sent before more comes.
    pub(crate) fn is_heavy(&self) -> bool {
        self.bytes > Self::MOST_BYTES
    }

    /// Whether the topic's subscribers lack something.
    pub(crate) fn has(&self, topic: TopicId) -> bool {
        !self.is_empty() && self.by_topic.contains_key(&topic)
    }

    /// Sends an event round to the topic's `audience`, the number of its subscribers here.
    pub(crate) fn publish(
        &mut self,
        topic: TopicId,
        audience: usize,
        frame: Prepared,
        except: Option<u32>,
    ) {
        let index = *self.by_topic.entry(topic).or_insert_with(|| {
            let mut round = self.spare.pop().unwrap_or_default();
            round.begin(topic, audience);
            let index = self.rounds.insert(round);
            self.order.push_back(index);
            index
        });
        let round = &mut self.rounds[index];
        debug_assert_eq!(round.cursors.len(), audience);
        self.bytes += frame.frame().len() as u64;
        round.push(frame, except.unwrap_or(NOBODY));
    }

    fn of(&mut self, topic: TopicId) -> Option<&mut Round> {
        // Most often there is none at all.
        if self.order.is_empty() {
            return None;
        }
        let index = *self.by_topic.get(&topic)?;
        self.rounds.get_mut(index)
    }

    /// A subscriber came to the end of the topic's list: it hears what is published from here on.
    pub(crate) fn join(&mut self, topic: TopicId) {
        if let Some(round) = self.of(topic) {
            let now = round.now();
            round.cursors.push(now);
            // The way round is longer by one.
            round.left += 1;
        }
    }

    /// The subscriber at that position left, and the last of the list took its place.
    pub(crate) fn leave(&mut self, topic: TopicId, position: usize) {
        let Some(round) = self.of(topic) else { return };
        round.cursors.swap_remove(position);
        round.invariants();
        if round.cursors.is_empty() {
            self.end(topic);
        }
    }

    /// What the subscriber at that position lacks is sent now, out of its turn.
    pub(crate) fn catch_up(&mut self, topic: TopicId, position: usize) -> Option<(Visit, Numbers)> {
        let round = self.of(topic)?;
        let numbers = round.take(position);
        let index = *self.by_topic.get(&topic)?;
        Some((Visit { round: index, topic, position }, numbers))
    }

    /// Whose turn it is. When there is nobody, everybody has everything.
    pub(crate) fn next(&mut self) -> Option<Visit> {
        while let Some(&index) = self.order.front() {
            let round = &mut self.rounds[index];
            let (topic, before) = (round.topic, round.bytes());
            let position = round.step();
            self.bytes -= before - round.bytes();
            if let Some(position) = position {
                return Some(Visit { round: index, topic, position });
            }
            self.end(topic);
        }
        None
    }

    /// Whose turns come next, as far as the list goes and no more than so many: a topic, and positions in its list.
    pub(crate) fn upcoming(&self, most: usize) -> Option<(TopicId, Range<usize>)> {
        let round = self.rounds.get(*self.order.front()?)?;
        let begin = if round.next < round.cursors.len() { round.next } else { 0 };
        let end = round.cursors.len().min(begin.saturating_add(most));
        Some((round.topic, begin..end))
    }

    /// The turn of the next topic.
    pub(crate) fn rotate(&mut self) {
        if self.order.len() > 1 {
            self.order.rotate_left(1);
        }
    }

    /// What is to be sent to whose turn it is. It counts as sent from here on.
    pub(crate) fn take(&mut self, visit: Visit) -> Numbers {
        self.rounds[visit.round].take(visit.position)
    }

    /// The bytes of these events as one piece, if they are not better sent one by one.
    pub(crate) fn joined(
        &mut self,
        visit: Visit,
        numbers: &Numbers,
        slot: u32,
        (form, deflater): (Form, &mut Deflater),
    ) -> Option<&[u8]> {
        let round = &self.rounds[visit.round];
        if round.has_exception(numbers, slot) {
            return None;
        }
        let mut frames = round.frames(numbers, slot);
        if numbers.end.wrapping_sub(numbers.start) == 1 {
            return frames.next().map(|frame| frame.in_form(form, deflater));
        }
        let joined = &mut self.joined[form as usize];
        if joined.of.as_ref().is_none_or(|of| *of != (visit.topic, numbers.clone())) {
            if round.at(numbers.end).0 - round.at(numbers.start).0 > Self::MOST_JOINED_BYTES {
                return None;
            }
            joined.bytes.clear();
            frames.for_each(|frame| joined.bytes.extend_from_slice(frame.in_form(form, deflater)));
            joined.of = Some((visit.topic, numbers.clone()));
        }
        Some(&joined.bytes)
    }

    /// These events one by one, without those that leave the connection out.
    pub(crate) fn frames(
        &self,
        visit: Visit,
        numbers: &Numbers,
        slot: u32,
    ) -> impl Iterator<Item = &Prepared> {
        self.rounds[visit.round].frames(numbers, slot)
    }

    fn end(&mut self, topic: TopicId) {
        let Some(index) = self.by_topic.remove(&topic) else { return };
        let mut round = self.rounds.remove(index);
        self.order.retain(|other| *other != index);
        self.bytes -= round.bytes();
        // The topic's number, and the events', may be given anew.
        self.joined.iter_mut().for_each(|joined| joined.of = None);
        round.end();
        if self.spare.len() < Self::SPARE {
            self.spare.push(round);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Compression, MessageKind};

    fn event(number: u32) -> Prepared {
        Prepared::new(MessageKind::Text, format!("{number}").as_bytes())
    }

    fn texts<'p>(frames: impl Iterator<Item = &'p Prepared>) -> Vec<String> {
        frames.map(|it| String::from_utf8(it.payload().to_vec()).unwrap()).collect()
    }

    /// Whose turn it is, and what that subscriber, which is connection 100 and its position, gets.
    fn turn(rounds: &mut Rounds) -> Option<(usize, Vec<String>)> {
        let visit = rounds.next()?;
        let slot = 100 + u32::try_from(visit.position).unwrap();
        let numbers = rounds.take(visit);
        let mut deflater = Deflater::new(Compression::default());
        let expected: Vec<u8> =
            rounds.frames(visit, &numbers, slot).flat_map(|it| it.frame().to_vec()).collect();
        if let Some(joined) = rounds.joined(visit, &numbers, slot, (Form::Plain, &mut deflater)) {
            assert_eq!(joined, expected);
        }
        Some((visit.position, texts(rounds.frames(visit, &numbers, slot))))
    }

    #[test]
    fn whoever_waits_for_its_turn_gets_what_came_meanwhile() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 3, event(1), None);
        assert_eq!(turn(&mut rounds), Some((0, vec!["1".to_owned()])));
        rounds.publish(7, 3, event(2), None);
        assert_eq!(turn(&mut rounds), Some((1, vec!["1".to_owned(), "2".to_owned()])));
        assert_eq!(turn(&mut rounds), Some((2, vec!["1".to_owned(), "2".to_owned()])));
        assert_eq!(turn(&mut rounds), Some((0, vec!["2".to_owned()])));
        assert_eq!(turn(&mut rounds), None);
        assert!(rounds.is_empty() && !rounds.has(7) && rounds.bytes == 0);
    }

    #[test]
    fn whoever_joins_in_the_middle_hears_what_comes_later() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 2, event(1), None);
        turn(&mut rounds).unwrap();
        rounds.publish(7, 2, event(2), None);
        rounds.join(7);
        rounds.publish(7, 3, event(3), None);
        let mut heard = std::iter::from_fn(|| turn(&mut rounds)).collect::<Vec<_>>();
        heard.sort();
        let numbers = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>();
        assert_eq!(heard, [(0, numbers(&[2, 3])), (1, numbers(&[1, 2, 3])), (2, numbers(&[3]))]);
    }

    #[test]
    fn nobody_is_passed_over_when_the_way_round_grows() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 3, event(1), None);
        turn(&mut rounds).unwrap();
        turn(&mut rounds).unwrap();
        rounds.publish(7, 3, event(2), None);
        rounds.join(7);
        let heard: Vec<usize> = std::iter::from_fn(|| turn(&mut rounds)).map(|it| it.0).collect();
        assert_eq!(heard, [2, 0, 1], "the newcomer lacks nothing");
    }

    #[test]
    fn whoever_takes_a_place_that_was_passed_can_be_caught_up() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 4, event(1), None);
        turn(&mut rounds).unwrap();
        turn(&mut rounds).unwrap();
        rounds.leave(7, 0);
        let (visit, numbers) = rounds.catch_up(7, 0).unwrap();
        assert_eq!(texts(rounds.frames(visit, &numbers, 9)), ["1"]);
        assert_eq!(turn(&mut rounds), Some((2, vec!["1".to_owned()])));
        assert_eq!(turn(&mut rounds), None);
    }

    #[test]
    fn an_event_leaves_out_whom_it_names() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 3, event(1), Some(101));
        rounds.publish(7, 3, event(2), None);
        let heard: Vec<_> = std::iter::from_fn(|| turn(&mut rounds)).map(|it| it.1).collect();
        assert_eq!(heard, [vec!["1", "2"], vec!["2"], vec!["1", "2"]]);
    }

    #[test]
    fn topics_take_turns() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 2, event(1), None);
        rounds.publish(8, 2, event(2), None);
        let mut topics = Vec::new();
        while let Some(visit) = rounds.next() {
            rounds.take(visit);
            topics.push(visit.topic);
            rounds.rotate();
        }
        assert_eq!(topics, [7, 8, 7, 8]);
    }

    #[test]
    fn events_that_everybody_has_are_given_up_though_more_come() {
        let mut rounds = Rounds::default();
        for number in 0..1000 {
            rounds.publish(7, 10, event(number), None);
            let visit = rounds.next().unwrap();
            rounds.take(visit);
            assert!(rounds.rounds[visit.round].events.len() <= 20);
        }
        while turn(&mut rounds).is_some() {}
        assert_eq!(rounds.bytes, 0);
    }

    #[test]
    fn a_round_ends_when_its_last_subscriber_leaves() {
        let mut rounds = Rounds::default();
        rounds.publish(7, 1, event(1), None);
        rounds.leave(7, 0);
        assert!(rounds.is_empty() && rounds.next().is_none() && rounds.bytes == 0);
        rounds.publish(7, 1, event(2), None);
        assert_eq!(turn(&mut rounds), Some((0, vec!["2".to_owned()])));
    }

    #[test]
    fn what_is_too_much_for_one_piece_goes_as_it_is() {
        let mut rounds = Rounds::default();
        let large = Prepared::new(MessageKind::Binary, &[0; 200 * 1024]);
        rounds.publish(7, 1, large.clone(), None);
        rounds.publish(7, 1, large, None);
        let visit = rounds.next().unwrap();
        let numbers = rounds.take(visit);
        let mut deflater = Deflater::new(Compression::default());
        assert!(rounds.joined(visit, &numbers, 0, (Form::Plain, &mut deflater)).is_none());
        assert_eq!(rounds.frames(visit, &numbers, 0).count(), 2);
    }
}

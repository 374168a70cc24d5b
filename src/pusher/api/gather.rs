//! Requests that wait for answers of home cores: as values, not threads. Pure.
//!
//! A ticket names a request and one of its questions:
//!
//! ```text
//!   63            16 15      0
//!  ┌────────────────┬─────────┐
//!  │ request number │ question│      requests are numbered in the order in which they came
//!  └────────────────┴─────────┘
//! ```
//!
//! A question to all cores has one ticket and as many answers as there are cores.

use std::collections::{BTreeMap, VecDeque};

use super::super::compat::VacantUsers;
use super::super::directory::{Answer, Claim, Facts, User};
use super::super::message;
use super::error::ApiError;
use super::info::Info;

/// Requests that wait on one core.
const MOST_WAITING: usize = 4096;

/// What the requests that wait for their idempotency keys may hold together on one core.
const MOST_HELD_BYTES: usize = 64 * 1024 * 1024;

/// A request that waits longer has lost its connection: the engine brings no answers for it, and its place is freed.
/// An answer of a core takes two turns, not seconds.
const FORGET_AFTER_SECONDS: u64 = 30;

const QUESTION_BITS: u32 = 16;

/// How many questions one request may ask.
pub(super) const MOST_QUESTIONS: usize = 1 << QUESTION_BITS;

/// What was asked of one channel that an event was published to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) channel: String,
    pub(super) info: Info,
}

impl Asked {
    fn needs_home(&self) -> bool {
        self.info.needs_home(&self.channel)
    }
}

/// How the answer to a request is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// `{"batch":[…]}`, in the order of the request.
    Batch,
    /// `{"channels":{…}}`, by name.
    Channels,
}

/// A request to publish that waits until its idempotency key is granted.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// The app's id.
    pub(super) app: String,
    /// The name that stands for the key among the app's channels.
    pub(super) channel: String,
    pub(super) shape: Shape,
    pub(super) body: Vec<u8>,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// What is known of one channel.
    Channel { channel: String, info: Info, facts: Facts },
    /// All channels, as the cores name them.
    Channels { info: Info, found: BTreeMap<String, Facts> },
    /// Whether it may be carried out.
    Claim { held: Held, claim: Option<Claim> },
    /// What is known of the channels that events were published to.
    Published { shape: Shape, asked: Vec<Asked>, facts: Vec<Option<Facts>> },
    /// That the home of its key knows how it ended. Only then is it answered: if it came again at once, on another
    /// core, the home could hear of that first.
    Settled { held: Held, result: Result<(), ApiError> },
    /// That all cores have heard it.
    Terminated,
    /// The users of a channel; and what is told if there are none.
    Users { members: Vec<User>, with_info: bool, vacant: VacantUsers },
}

/// What became of a request once all answers are there.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The JSON of its response.
    Answer(String),
    /// The request goes on.
    Claimed(Held, Claim),
    /// The request was carried out, or failed, and its key's home knows.
    Settled(Held, Result<(), ApiError>),
    /// Nobody is on the channel, and that is to be no answer.
    Vacant,
}

/// All requests of one core that wait for answers.
#[derive(Debug, Default)]
pub(in super::super) struct Gathers {
    /// In the order of their numbers, which is that of their coming.
    waiting: VecDeque<Gather>,
    numbers: u64,
}

#[derive(Debug)]
struct Gather {
    number: u64,
    begun_at: u64,
    missing: usize,
    wait: Wait,
}

impl Gathers {
    /// How many wait.
    #[cfg(test)]
    pub(in super::super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether another request may wait. Frees the places of those that nobody waits for any more.
    pub(super) fn has_room(&mut self, unix_seconds: u64) -> Result<(), usize> {
        let is_forgotten =
            |gather: &Gather| gather.begun_at.saturating_add(FORGET_AFTER_SECONDS) < unix_seconds;
        while self.waiting.front().is_some_and(is_forgotten) {
            self.waiting.pop_front();
        }
        if self.waiting.len() < MOST_WAITING { Ok(()) } else { Err(self.waiting.len()) }
    }

    /// Whether a request of that length may wait for its key.
    pub(super) fn has_room_to_hold(
        &mut self,
        unix_seconds: u64,
        bytes: usize,
    ) -> Result<(), usize> {
        self.has_room(unix_seconds)?;
        let held: usize = self.waiting.iter().map(Gather::held_bytes).sum();
        if held.saturating_add(bytes) <= MOST_HELD_BYTES { Ok(()) } else { Err(self.waiting.len()) }
    }

    /// Notes a request that waits for that many answers, at least one. There is room. The first of its tickets; the
    /// next questions have the next ones.
    pub(super) fn begin(&mut self, unix_seconds: u64, missing: usize, wait: Wait) -> u64 {
        debug_assert!(missing > 0);
        self.numbers += 1;
        let number = self.numbers;
        self.waiting.push_back(Gather { number, begun_at: unix_seconds, missing, wait });
        number << QUESTION_BITS
    }

    /// Notes a request that published. Calls `ask` with the ticket and each channel whose home must be asked, at least
    /// one.
    pub(super) fn begin_published(
        &mut self,
        unix_seconds: u64,
        shape: Shape,
        asked: Vec<Asked>,
        mut ask: impl FnMut(u64, &Asked),
    ) {
        debug_assert!(asked.len() <= MOST_QUESTIONS);
        let questions: Vec<_> = (0_u64..)
            .zip(&asked)
            .filter(|(_, asked)| asked.needs_home())
            .map(|(at, _)| at)
            .collect();
        let facts = vec![None; asked.len()];
        let first =
            self.begin(unix_seconds, questions.len(), Wait::Published { shape, asked, facts });
        let Some(Gather { wait: Wait::Published { asked, .. }, .. }) = self.waiting.back() else {
            return;
        };
        for (ticket, asked) in (first..).zip(asked).filter(|(_, asked)| asked.needs_home()) {
            ask(ticket, asked);
        }
    }

    /// Takes an answer. With the last one to a request comes what becomes of it.
    pub(super) fn answered(&mut self, ticket: u64, answer: Answer) -> Option<Outcome> {
        let number = ticket >> QUESTION_BITS;
        let index = self.waiting.binary_search_by_key(&number, |gather| gather.number).ok()?;
        let gather = self.waiting.get_mut(index)?;
        let question = usize::try_from(ticket & (MOST_QUESTIONS as u64 - 1)).ok()?;
        gather.missing -= usize::from(gather.wait.take(question, answer));
        if gather.missing > 0 {
            return None;
        }
        self.waiting.remove(index).map(|gather| gather.wait.end())
    }
}

impl Gather {
    fn held_bytes(&self) -> usize {
        match &self.wait {
            Wait::Claim { held, .. } | Wait::Settled { held, .. } => held.body.len(),
            _ => 0,
        }
    }
}

impl Wait {
    /// True if it is one of those that are waited for.
    fn take(&mut self, question: usize, answer: Answer) -> bool {
        match (self, answer) {
            (Self::Channel { facts, .. }, Answer::Channel(got)) => *facts = got,
            (Self::Channels { found, .. }, Answer::Channels(got)) => found.extend(got),
            (Self::Claim { claim, .. }, Answer::Claim(got)) => *claim = Some(got),
            (Self::Published { facts, .. }, Answer::Channel(got)) => {
                return facts.get_mut(question).is_some_and(|slot| slot.replace(got).is_none());
            }
            (Self::Settled { .. } | Self::Terminated, Answer::Done) => {}
            (Self::Users { members, .. }, Answer::Users(got)) => *members = got,
            _ => {
                debug_assert!(false, "homes answer what they are asked");
                return false;
            }
        }
        true
    }

    fn end(self) -> Outcome {
        let mut out = Vec::new();
        match self {
            Self::Channel { channel, info, facts } => info.write_of_one(&mut out, &channel, &facts),
            Self::Channels { info, found } => {
                let named = found.iter().map(|(name, facts)| (name.as_str(), info, Some(facts)));
                write_channels(&mut out, named);
            }
            // A request that nothing is known of is one that is under way.
            Self::Claim { held, claim } => {
                return Outcome::Claimed(held, claim.unwrap_or(Claim::Pending));
            }
            Self::Published { shape, asked, facts } => {
                return Outcome::Answer(published(shape, &asked, &facts));
            }
            Self::Settled { held, result } => return Outcome::Settled(held, result),
            Self::Terminated => out.extend_from_slice(b"{}"),
            Self::Users { members, vacant: VacantUsers::NotFound, .. } if members.is_empty() => {
                return Outcome::Vacant;
            }
            Self::Users { members, with_info, .. } => write_users(&mut out, &members, with_info),
        }
        Outcome::Answer(text(out))
    }
}

/// The JSON of the answer to events. Channels that nothing is known of are named all the same.
pub(super) fn published(shape: Shape, asked: &[Asked], facts: &[Option<Facts>]) -> String {
    let facts = facts.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let items = asked.iter().zip(facts);
    let items = items.map(|(asked, facts)| (asked.channel.as_str(), asked.info, facts));
    let mut out = Vec::new();
    match shape {
        Shape::Batch => {
            out.extend_from_slice(br#"{"batch":["#);
            for (index, (channel, info, facts)) in items.enumerate() {
                separate(&mut out, index);
                info.write(&mut out, channel, facts);
            }
            out.extend_from_slice(b"]}");
        }
        Shape::Channels => write_channels(&mut out, items),
    }
    text(out)
}

fn write_channels<'a>(
    out: &mut Vec<u8>,
    channels: impl Iterator<Item = (&'a str, Info, Option<&'a Facts>)>,
) {
    out.extend_from_slice(br#"{"channels":{"#);
    for (index, (channel, info, facts)) in channels.enumerate() {
        separate(out, index);
        message::write_string(out, channel);
        out.push(b':');
        info.write(out, channel, facts);
    }
    out.extend_from_slice(b"}}");
}

/// Ids are strings whatever they were: the SDK for Go takes nothing else.
fn write_users(out: &mut Vec<u8>, members: &[User], with_info: bool) {
    out.extend_from_slice(br#"{"users":["#);
    for (index, member) in members.iter().enumerate() {
        separate(out, index);
        out.extend_from_slice(br#"{"id":"#);
        message::write_string(out, &member.id);
        if let Some(info) = member.info.as_ref().filter(|_| with_info) {
            out.extend_from_slice(br#","user_info":"#);
            out.extend_from_slice(info.as_bytes());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8_lossy(&json).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn asked(channels: &[(&str, bool)]) -> Vec<Asked> {
        let asked = |&(channel, subscribers): &(&str, bool)| Asked {
            channel: channel.to_owned(),
            info: Info { subscribers, ..Info::default() },
        };
        channels.iter().map(asked).collect()
    }

    fn begin(gathers: &mut Gathers, shape: Shape, channels: &[(&str, bool)]) -> Vec<u64> {
        let mut tickets = Vec::new();
        gathers.begin_published(NOW, shape, asked(channels), |ticket, _| tickets.push(ticket));
        tickets
    }

    fn facts(subscribers: usize) -> Facts {
        Facts { subscribers, ..Facts::default() }
    }

    fn count(subscribers: usize) -> Answer {
        Answer::Channel(facts(subscribers))
    }

    fn json(outcome: Option<Outcome>) -> String {
        match outcome {
            Some(Outcome::Answer(json)) => json,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    fn held(bytes: usize) -> Held {
        let (app, channel) = ("1".to_owned(), "#idempotency/k".to_owned());
        Held { app, channel, shape: Shape::Channels, body: vec![0; bytes] }
    }

    #[test]
    fn counts_are_given_by_channel_once_all_have_come() {
        let mut gathers = Gathers::default();
        let tickets = begin(&mut gathers, Shape::Channels, &[("a\"", true), ("b", true)]);
        assert_eq!(gathers.answered(tickets[1], count(7)), None);
        assert_eq!(
            json(gathers.answered(tickets[0], count(0))),
            r#"{"channels":{"a\"":{"subscription_count":0},"b":{"subscription_count":7}}}"#
        );
    }

    #[test]
    fn a_batch_keeps_its_order_and_is_asked_only_what_it_wants() {
        let mut gathers = Gathers::default();
        let tickets = begin(&mut gathers, Shape::Batch, &[("a", false), ("b", true), ("a", false)]);
        assert_eq!(tickets.len(), 1);
        assert_eq!(
            json(gathers.answered(tickets[0], count(2))),
            r#"{"batch":[{},{"subscription_count":2},{}]}"#
        );
    }

    #[test]
    fn requests_are_answered_in_any_order_and_once() {
        let mut gathers = Gathers::default();
        let first = begin(&mut gathers, Shape::Batch, &[("a", true)]);
        let second = begin(&mut gathers, Shape::Batch, &[("b", true)]);
        assert!(json(gathers.answered(second[0], count(2))).contains(":2}"));
        assert!(json(gathers.answered(first[0], count(1))).contains(":1}"));
        assert_eq!(gathers.answered(first[0], count(1)), None);
    }

    #[test]
    fn the_same_answer_twice_counts_once() {
        let mut gathers = Gathers::default();
        let tickets = begin(&mut gathers, Shape::Batch, &[("a", true), ("b", true)]);
        assert_eq!(gathers.answered(tickets[0], count(1)), None);
        assert_eq!(gathers.answered(tickets[0], count(1)), None);
        assert!(gathers.answered(tickets[1], count(1)).is_some());
    }

    #[test]
    fn channels_of_all_cores_are_listed_by_name() {
        let mut gathers = Gathers::default();
        let info = Info { subscribers: true, ..Info::default() };
        let wait = Wait::Channels { info, found: BTreeMap::new() };
        let ticket = gathers.begin(NOW, 3, wait);
        let of = |names: &[&str]| {
            Answer::Channels(names.iter().map(|&name| (name.to_owned(), facts(1))).collect())
        };
        assert_eq!(gathers.answered(ticket, of(&["c", "a"])), None);
        assert_eq!(gathers.answered(ticket, of(&[])), None);
        assert_eq!(
            json(gathers.answered(ticket, of(&["b"]))),
            r#"{"channels":{"a":{"subscription_count":1},"b":{"subscription_count":1},"c":{"subscription_count":1}}}"#
        );
    }

    #[test]
    fn no_channels_are_an_object() {
        let mut gathers = Gathers::default();
        let wait = Wait::Channels { info: Info::default(), found: BTreeMap::new() };
        let ticket = gathers.begin(NOW, 1, wait);
        let answer = gathers.answered(ticket, Answer::Channels(Vec::new()));
        assert_eq!(json(answer), r#"{"channels":{}}"#);
    }

    #[test]
    fn users_have_ids_and_info_if_it_is_wanted() {
        let member = |id: &str, info: Option<&str>| User {
            id: id.to_owned(),
            info: info.map(str::to_owned),
        };
        let users = || vec![member("7", Some(r#"{"name": "Ann"}"#)), member("b\"", None)];
        for (with_info, expected) in [
            (false, r#"{"users":[{"id":"7"},{"id":"b\""}]}"#),
            (true, r#"{"users":[{"id":"7","user_info":{"name": "Ann"}},{"id":"b\""}]}"#),
        ] {
            let ended = end_of_users(with_info, VacantUsers::NotFound, users());
            assert_eq!(json(ended), expected);
        }
    }

    fn end_of_users(with_info: bool, vacant: VacantUsers, users: Vec<User>) -> Option<Outcome> {
        let mut gathers = Gathers::default();
        let wait = Wait::Users { members: Vec::new(), with_info, vacant };
        let ticket = gathers.begin(NOW, 1, wait);
        gathers.answered(ticket, Answer::Users(users))
    }

    #[test]
    fn no_users_are_an_empty_list_or_nothing_to_be_found() {
        let ended = end_of_users(true, VacantUsers::Empty, Vec::new());
        assert_eq!(json(ended), r#"{"users":[]}"#);
        let ended = end_of_users(true, VacantUsers::NotFound, Vec::new());
        assert_eq!(ended, Some(Outcome::Vacant));
    }

    #[test]
    fn a_request_goes_on_with_what_became_of_its_key() {
        for claim in [Claim::Done, Claim::Granted { at: NOW }, Claim::Pending] {
            let mut gathers = Gathers::default();
            let ticket = gathers.begin(NOW, 1, Wait::Claim { held: held(1), claim: None });
            let outcome = gathers.answered(ticket, Answer::Claim(claim));
            assert_eq!(outcome, Some(Outcome::Claimed(held(1), claim)));
        }
    }

    #[test]
    fn a_request_ends_as_it_did_once_its_key_is_settled() {
        for result in [Ok(()), Err(ApiError::InProgress)] {
            let mut gathers = Gathers::default();
            let wait = Wait::Settled { held: held(1), result: result.clone() };
            let ticket = gathers.begin(NOW, 1, wait);
            let outcome = gathers.answered(ticket, Answer::Done);
            assert_eq!(outcome, Some(Outcome::Settled(held(1), result)));
        }
    }

    #[test]
    fn an_answer_to_nobody_changes_nothing() {
        let mut gathers = Gathers::default();
        assert_eq!(gathers.answered(0, Answer::Done), None);
        let ticket = gathers.begin(NOW, 2, Wait::Terminated);
        assert_eq!(gathers.answered(0, Answer::Done), None);
        assert_eq!(gathers.answered(ticket, Answer::Done), None);
        assert_eq!(json(gathers.answered(ticket, Answer::Done)), "{}");
    }

    #[test]
    fn room_is_bounded_and_comes_back_when_requests_are_forgotten() {
        let mut gathers = Gathers::default();
        for _ in 0..MOST_WAITING {
            assert_eq!(gathers.has_room(NOW), Ok(()));
            begin(&mut gathers, Shape::Batch, &[("a", true)]);
        }
        assert_eq!(gathers.has_room(NOW), Err(MOST_WAITING));
        assert_eq!(gathers.has_room(NOW + FORGET_AFTER_SECONDS), Err(MOST_WAITING));
        assert_eq!(gathers.has_room(NOW + FORGET_AFTER_SECONDS + 1), Ok(()));
        assert!(gathers.waiting.is_empty());
    }

    #[test]
    fn what_waits_for_keys_is_bounded_in_bytes() {
        let mut gathers = Gathers::default();
        let ticket =
            gathers.begin(NOW, 1, Wait::Claim { held: held(MOST_HELD_BYTES - 1), claim: None });
        assert_eq!(gathers.has_room_to_hold(NOW, 1), Ok(()));
        assert_eq!(gathers.has_room_to_hold(NOW, 2), Err(1));
        assert!(gathers.answered(ticket, Answer::Claim(Claim::Done)).is_some());
        assert_eq!(gathers.has_room_to_hold(NOW, 2), Ok(()));
    }
}

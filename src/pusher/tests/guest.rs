//! A client that keeps what it heard, channel by channel and stay by stay, and objects at once to what no client may hear.
//!
//! A stay begins with `subscription_succeeded`. It ends when the server has read the `unsubscribe`: a ping goes behind it,
//! and what comes before the pong may still be of the stay, what comes after it may not.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::order::Heard;
use super::server::Talk;

pub(super) struct Guest {
    pub(super) talk: Talk,
    pub(super) user: usize,
    pub(super) is_gone: bool,
    /// By channel.
    on: Vec<On>,
    /// For each ping under way, the channel that was left before it.
    leaving: VecDeque<usize>,
    /// The channel whose next message is its last event, or that there is none.
    is_told_last: Option<usize>,
}

/// What a guest has to do with one channel.
pub(super) struct On {
    name: String,
    pub(super) stays: Vec<Stay>,
    /// Soundly signed subscriptions, since the beginning and since each `unsubscribe` that was sent.
    asked: Vec<usize>,
    /// Answers since the last `unsubscribe` that was read.
    answered: usize,
    /// How many were read.
    left: usize,
    /// The last answer was that there are too many users.
    is_full: bool,
}

#[derive(Default)]
pub(super) struct Stay {
    pub(super) heard: Vec<Heard>,
    /// On a presence channel: who is there, as the guest was told.
    pub(super) members: BTreeSet<usize>,
    pub(super) is_over: bool,
}

impl On {
    /// Whether the guest must be on the channel once nothing is under way.
    fn is_wished(&self) -> bool {
        self.asked.last().is_some_and(|asked| *asked > 0) && !self.is_full
    }

    pub(super) fn is_on(&self) -> bool {
        self.stays.last().is_some_and(|stay| !stay.is_over)
    }

    fn stay(&mut self, what: &Value) -> &mut Stay {
        let stay = self.stays.last_mut().filter(|stay| !stay.is_over);
        stay.unwrap_or_else(|| panic!("heard while not on the channel: {what}"))
    }

    fn note_answer(&mut self, what: &Value) {
        self.answered += 1;
        assert!(self.answered <= self.asked[self.left], "an answer that nobody asked for: {what}");
    }
}

impl Guest {
    pub(super) fn new(talk: Talk, user: usize, names: &[String]) -> Self {
        let on = |name: &String| On {
            name: name.clone(),
            stays: Vec::new(),
            asked: vec![0],
            answered: 0,
            left: 0,
            is_full: false,
        };
        let on = names.iter().map(on).collect();
        Self { talk, user, is_gone: false, on, leaving: VecDeque::new(), is_told_last: None }
    }

    pub(super) fn on(&self, channel: usize) -> &On {
        &self.on[channel]
    }

    pub(super) fn subscribe(&mut self, channel: usize) {
        let on = &mut self.on[channel];
        *on.asked.last_mut().unwrap() += 1;
        let data =
            format!(r#"{{"user_id":{},"user_info":{{"n":"\"{}\""}}}}"#, self.user, self.user);
        let data = on.name.starts_with("presence-").then_some(data);
        self.talk.subscribe(&on.name, data.as_deref());
    }

    /// Subscribes with a signature that does not hold.
    pub(super) fn forge(&mut self, channel: usize) {
        let name = &self.on[channel].name;
        if name.starts_with("pr") {
            let forged = self.talk.subscription("guess", name, Some(r#"{"user_id":77}"#));
            self.talk.say(&forged);
        }
    }

    pub(super) fn unsubscribe(&mut self, channel: usize) {
        self.on[channel].asked.push(0);
        self.talk.unsubscribe(&self.on[channel].name);
        self.talk.ping();
        self.leaving.push_back(channel);
    }

    /// The end, with a word or without.
    pub(super) fn leave(&mut self, is_polite: bool) {
        self.listen();
        if is_polite {
            self.talk.close();
        }
        self.talk.client.finish();
        self.is_gone = true;
        for on in &mut self.on {
            on.stays.iter_mut().for_each(|stay| stay.is_over = true);
            on.asked.push(0);
        }
    }

    /// Takes in what has come.
    pub(super) fn listen(&mut self) {
        while !self.is_gone
            && let Some(message) = self.talk.next()
        {
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let name = message["channel"].as_str();
        let channel = name.and_then(|name| self.on.iter().position(|on| on.name == name));
        let told_last = self.is_told_last.take();
        assert!(told_last.is_none() || told_last == channel, "not the last event: {message}");
        let event = message["event"].as_str().unwrap();
        match (event, channel) {
            ("pusher:pong", None) => self.has_left(),
            ("pusher:error", _) => {
                let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
                assert!(matches!(data["code"].as_u64(), Some(4009 | 4100)), "{message}");
            }
            (_, Some(channel)) => self.hear_on(channel, event, message, told_last.is_some()),
            _ => panic!("unexpected: {message}"),
        }
    }

    /// The server has read the next of the `unsubscribe`s.
    fn has_left(&mut self) {
        let channel = self.leaving.pop_front().expect("every ping follows an unsubscribe");
        let on = &mut self.on[channel];
        (on.answered, on.is_full) = (0, false);
        on.left += 1;
        on.stays.iter_mut().for_each(|stay| stay.is_over = true);
    }

    fn hear_on(&mut self, channel: usize, event: &str, message: &Value, is_last_event: bool) {
        let text = message["data"].as_str().unwrap_or_default();
        let on = &mut self.on[channel];
        let user = || {
            let data: Value = serde_json::from_str(text).unwrap();
            usize::try_from(data["user_id"].as_u64().unwrap()).unwrap()
        };
        let number = || text.parse().ok();
        match event {
            "pusher_internal:subscription_succeeded" => {
                on.confirm(message, text, self.user);
                self.is_told_last = on.name.contains("cache-").then_some(channel);
            }
            "pusher:subscription_error" if text.contains("LimitReached") => {
                on.note_answer(message);
                assert!(!on.is_on(), "refused, though it is there already: {message}");
                on.is_full = true;
            }
            "pusher:subscription_error" => assert!(text.contains("AuthError"), "{message}"),
            "pusher_internal:member_added" => {
                assert_ne!(user(), self.user, "its own coming");
                let stay = on.stay(message);
                assert!(stay.members.insert(user()), "came twice: {message}");
                stay.heard.push(Heard::Added(user()));
            }
            "pusher_internal:member_removed" => {
                assert_ne!(user(), self.user, "its own going");
                let stay = on.stay(message);
                assert!(stay.members.remove(&user()), "went twice: {message}");
                stay.heard.push(Heard::Removed(user()));
            }
            "pusher:cache_miss" => on.stay(message).heard.push(Heard::Replay(None)),
            "event" if is_last_event => on.stay(message).heard.push(Heard::Replay(number())),
            "event" => on.stay(message).heard.push(Heard::Event(number().unwrap())),
            "client-event" => on.stay(message).heard.push(Heard::Whisper(number().unwrap())),
            _ => panic!("unexpected: {message}"),
        }
    }
}

impl On {
    /// A second confirmation of a stay that goes on changes nothing.
    fn confirm(&mut self, message: &Value, text: &str, user: usize) {
        self.note_answer(message);
        self.is_full = false;
        // It may have been refused before, and asked again.
        let is_again = self.is_on();
        if !is_again {
            self.stays.push(Stay::default());
        }
        if !self.name.starts_with("presence-") {
            return;
        }
        let data: Value = serde_json::from_str(text).unwrap();
        let ids = data["presence"]["ids"].as_array().unwrap();
        let members: BTreeSet<usize> =
            ids.iter().map(|id| usize::try_from(id.as_u64().unwrap()).unwrap()).collect();
        let hash = data["presence"]["hash"].as_object().unwrap();
        assert_eq!(data["presence"]["count"], ids.len(), "{message}");
        assert_eq!((members.len(), hash.len()), (ids.len(), ids.len()), "{message}");
        assert!(members.contains(&user), "its own list lacks it: {message}");
        let stay = self.stay(message);
        let told = &stay.members;
        assert!(
            !is_again || *told == members,
            "another list than what was told, {told:?}: {message}"
        );
        stay.members = members;
    }

    /// What must hold when nothing is under way.
    pub(super) fn check_quiet(&self) {
        assert_eq!(self.is_on(), self.is_wished(), "{}: asked {:?}", self.name, self.asked);
        assert_eq!(self.left + 1, self.asked.len(), "{}: an unsubscribe was not read", self.name);
    }
}

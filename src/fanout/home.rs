//! ⑧ The topics whose home is this core: who listens, in which order events come, how many subscribers there are.
//!
//! Everything here is a plain value of one thread: that is the whole of the consistency protocol. The application's
//! part of it is the [`Directory`].

use super::conn_id::ConnId;
use super::directory::{Announcer, Directory, Keep};
use super::mailbox::{Asked, Event, Post, TopicName};
use super::names::{Named, Names};
use crate::ws::Prepared;

/// Where a home sends its posts; its own core included.
pub(crate) trait Outbound<D: Directory> {
    /// To a core, in order.
    fn post(&mut self, core: usize, post: Post<D>);

    /// Seconds since the Unix epoch, as of this turn.
    fn unix_seconds(&self) -> u64;
}

/// One core that has subscribers of a topic.
#[derive(Clone, Copy)]
struct Listener {
    core: u8,
    subscribers: u32,
}

/// The cores that listen, in the order in which they joined. Most topics have one: a user's own channel.
#[expect(
    clippy::box_collection,
    reason = "a list of its own would make each topic 8 bytes larger, and few have one"
)]
enum Listeners {
    One(Listener),
    /// Two or more, or there were once.
    Many(Box<Vec<Listener>>),
}

impl Listeners {
    fn as_slice(&self) -> &[Listener] {
        match self {
            Self::One(listener) => std::slice::from_ref(listener),
            Self::Many(listeners) => listeners,
        }
    }

    fn find_mut(&mut self, core: u8) -> Option<&mut Listener> {
        let all = match self {
            Self::One(listener) => std::slice::from_mut(listener),
            Self::Many(listeners) => listeners,
        };
        all.iter_mut().find(|listener| listener.core == core)
    }

    fn push(&mut self, listener: Listener) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, listener])),
            Self::Many(listeners) => listeners.push(listener),
        }
    }

    /// True if nobody is left.
    fn remove(&mut self, core: u8) -> bool {
        match self {
            Self::One(listener) => listener.core == core,
            Self::Many(listeners) => {
                listeners.retain(|listener| listener.core != core);
                listeners.is_empty()
            }
        }
    }
}

struct Topic {
    name: TopicName,
    listeners: Listeners,
    /// Events ordered since the topic was occupied.
    events: u64,
}

impl Topic {
    fn subscribers(&self) -> usize {
        self.listeners.as_slice().iter().map(|listener| listener.subscribers as usize).sum()
    }
}

impl Named for Topic {
    fn name(&self) -> &str {
        &self.name
    }
}

/// All topics of one home core that somebody listens to.
pub(crate) struct Home<D: Directory> {
    topics: Names<Topic>,
    directory: D,
    /// What the directory announces, on its way out; empty between calls.
    events: Vec<(TopicName, Prepared)>,
    words: Vec<(ConnId, D::Word)>,
}

impl<D: Directory> Home<D> {
    pub(crate) fn new(directory: D) -> Self {
        Self { topics: Names::default(), directory, events: Vec::new(), words: Vec::new() }
    }

    /// How many topics have their home here.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The application's part, to be told of what comes from outside of all topics.
    pub(crate) fn directory_mut(&mut self) -> &mut D {
        &mut self.directory
    }

    /// The name as this home keeps it, so that publishing need not copy it.
    pub(crate) fn name(&self, topic: &str) -> Option<TopicName> {
        self.topics.find(topic).map(|topic| self.topics[topic].name.clone())
    }

    /// Core `from` listens from here on.
    pub(crate) fn join(&mut self, topic: TopicName, from: u8, outbound: &mut impl Outbound<D>) {
        let newcomer = Listener { core: from, subscribers: 1 };
        if let Some(kept) = self.topics.named_mut(&topic) {
            match kept.listeners.find_mut(from) {
                Some(listener) => listener.subscribers = listener.subscribers.max(1),
                None => kept.listeners.push(newcomer),
            }
        } else {
            let (name, listeners) = (topic.clone(), Listeners::One(newcomer));
            self.topics.insert(Topic { name, listeners, events: 0 });
            self.tell(outbound, |directory, out| directory.on_occupied(&topic, out));
        }
        // Nobody there hears the topic yet. Its core tells the count once somebody does, so that a newcomer hears of
        // itself; until then whoever asks is told of one.
        outbound.post(usize::from(from), Post::Joined { topic });
    }

    /// Core `from` listens no longer.
    pub(crate) fn leave(&mut self, name: &TopicName, from: u8, outbound: &mut impl Outbound<D>) {
        let Some(topic) = self.topics.find(name) else { return };
        if self.topics[topic].listeners.remove(from) {
            self.topics.remove(topic);
            self.tell(outbound, |directory, out| directory.on_vacated(name, out));
        } else {
            self.tell_count(name, outbound);
        }
    }

    /// Core `from` has so many subscribers now.
    pub(crate) fn count(
        &mut self,
        name: &TopicName,
        from: u8,
        subscribers: u32,
        outbound: &mut impl Outbound<D>,
    ) {
        let Some(topic) = self.topics.named_mut(name) else { return };
        if let Some(listener) = topic.listeners.find_mut(from) {
            listener.subscribers = subscribers;
            self.tell_count(name, outbound);
        }
    }

    fn subscribers(&self, name: &str) -> usize {
        self.topics.find(name).map_or(0, |topic| self.topics[topic].subscribers())
    }

    fn tell_count(&mut self, name: &TopicName, outbound: &mut impl Outbound<D>) {
        let subscribers = self.subscribers(name);
        self.tell(outbound, |directory, out| directory.on_count(name, subscribers, out));
    }

    /// Orders an event and sends it to every core that listens.
    pub(crate) fn publish(&mut self, event: &Event, outbound: &mut impl Outbound<D>) {
        let Event { topic: name, frame, except, keep } = event;
        let topic = self.topics.named_mut(name);
        let number = topic.map_or(0, |topic| {
            topic.events += 1;
            for listener in topic.listeners.as_slice() {
                let (topic, frame) = (name.clone(), frame.clone());
                outbound.post(
                    usize::from(listener.core),
                    Post::Deliver { topic, frame, except: *except },
                );
            }
            topic.events
        });
        if *keep == Keep::Remember {
            self.tell(outbound, |directory, out| directory.on_publish(name, number, frame, out));
        }
    }

    /// A connection wants to be on the topic; its core has joined.
    pub(crate) fn attend(
        &mut self,
        topic: TopicName,
        (conn, attendance): (ConnId, u32),
        note: D::Note,
        outbound: &mut impl Outbound<D>,
    ) {
        // What is announced meanwhile is ordered before the welcome: the newcomer does not hear it.
        let welcome =
            self.tell(outbound, |directory, out| directory.on_attend(&topic, conn, note, out));
        outbound.post(conn.core(), Post::Welcome { topic, conn, attendance, welcome });
    }

    /// A connection that attended has left.
    pub(crate) fn depart(
        &mut self,
        topic: &TopicName,
        conn: ConnId,
        outbound: &mut impl Outbound<D>,
    ) {
        self.tell(outbound, |directory, out| directory.on_depart(topic, conn, out));
    }

    /// Answers a question about a topic to the core that owns the asker.
    pub(crate) fn ask(&mut self, asked: Asked<D>, outbound: &mut impl Outbound<D>) {
        let Asked { topic, asker, ticket, question } = asked;
        let answer = match topic {
            Some(name) => {
                let subscribers = self.subscribers(&name);
                self.tell(outbound, |directory, out| {
                    directory.answer(&name, subscribers, question, out)
                })
            }
            None => {
                let Self { topics, directory, events, words } = self;
                let all = topics.iter().map(|topic| (topic.name(), topic.subscribers()));
                let mut out = Announcer { unix_seconds: outbound.unix_seconds(), events, words };
                let answer = directory.answer_all(all, question, &mut out);
                self.send_announced(outbound);
                answer
            }
        };
        outbound.post(asker.core(), Post::Answer { asker, ticket, answer });
    }

    /// Whether the directory wants to be told that time passes.
    pub(crate) fn wants_tick(&self) -> bool {
        self.directory.wants_tick()
    }

    pub(crate) fn tick(&mut self, outbound: &mut impl Outbound<D>) {
        self.tell(outbound, Directory::on_tick);
    }

    /// Calls the directory, then sends what it announced.
    fn tell<R>(
        &mut self,
        outbound: &mut impl Outbound<D>,
        call: impl FnOnce(&mut D, &mut Announcer<'_, D>) -> R,
    ) -> R {
        let (events, words) = (&mut self.events, &mut self.words);
        let unix_seconds = outbound.unix_seconds();
        let result = call(&mut self.directory, &mut Announcer { unix_seconds, events, words });
        self.send_announced(outbound);
        result
    }

    fn send_announced(&mut self, outbound: &mut impl Outbound<D>) {
        for (topic, frame) in std::mem::take(&mut self.events) {
            self.publish(&Event { topic, frame, except: None, keep: Keep::Forget }, outbound);
        }
        for (conn, word) in self.words.drain(..) {
            outbound.post(conn.core(), Post::Word { conn, word });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::MessageKind;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Outbound<Facts> for Log {
        fn unix_seconds(&self) -> u64 {
            0
        }
        fn post(&mut self, core: usize, post: Post<Facts>) {
            self.0.push(match post {
                Post::Joined { topic } => format!("{core}: joined {topic}"),
                Post::Deliver { topic, .. } => format!("{core}: deliver {topic}"),
                Post::Answer { answer, ticket, .. } => format!("{core}: answer {ticket} {answer}"),
                Post::Welcome { welcome, .. } => format!("{core}: {welcome:?}"),
                Post::Word { word, .. } => format!("{core}: word {word}"),
                _ => panic!("a home does not send this"),
            });
        }
    }

    #[derive(Default)]
    struct Facts(Vec<String>);

    impl Directory for Facts {
        type Note = &'static str;
        type Welcome = usize;
        type Refusal = &'static str;
        type Question = ();
        type Answer = usize;
        type Word = &'static str;

        fn on_occupied(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
            self.0.push(format!("occupied {topic}"));
        }
        fn on_vacated(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
            self.0.push(format!("vacated {topic}"));
        }
        fn on_publish(
            &mut self,
            topic: &str,
            number: u64,
            _: &Prepared,
            _: &mut Announcer<'_, Self>,
        ) {
            self.0.push(format!("{topic} {number}"));
        }
        fn on_attend(
            &mut self,
            topic: &str,
            _: ConnId,
            note: &'static str,
            out: &mut Announcer<'_, Self>,
        ) -> Result<usize, &'static str> {
            if note == "nobody" {
                return Err("not you");
            }
            out.publish(topic, Prepared::new(MessageKind::Text, note.as_bytes()));
            self.0.push(format!("attend {note}"));
            Ok(self.0.len())
        }
        fn on_depart(&mut self, topic: &str, conn: ConnId, out: &mut Announcer<'_, Self>) {
            self.0.push(format!("depart {topic}"));
            out.tell(conn, "bye");
        }
        fn answer(
            &mut self,
            _: &str,
            subscribers: usize,
            (): (),
            _: &mut Announcer<'_, Self>,
        ) -> usize {
            subscribers
        }
        fn answer_all<'t>(
            &mut self,
            topics: impl Iterator<Item = (&'t str, usize)>,
            (): (),
            _: &mut Announcer<'_, Self>,
        ) -> usize {
            topics.map(|(_, subscribers)| 100 + subscribers).sum()
        }
    }

    #[test]
    fn a_topic_is_as_small_as_it_is_said_to_be() {
        assert_eq!(size_of::<Topic>(), 40);
    }

    fn event(frame: &Prepared) -> Event {
        Event { topic: topic(), frame: frame.clone(), except: None, keep: Keep::Remember }
    }

    fn asked(topic: Option<TopicName>) -> Asked<Facts> {
        Asked { topic, asker: ConnId::new(5, 0, 1), ticket: 9, question: () }
    }

    #[test]
    fn what_is_announced_goes_out_before_the_welcome() {
        let (mut home, mut log) = (Home::new(Facts::default()), Log::default());
        let conn = ConnId::new(3, 0, 1);
        home.join(topic(), 2, &mut log);
        home.attend(topic(), (conn, 7), "ann", &mut log);
        home.attend(topic(), (conn, 7), "nobody", &mut log);
        home.depart(&topic(), conn, &mut log);
        let expected =
            ["2: joined t", "2: deliver t", "3: Ok(2)", "3: Err(\"not you\")", "3: word bye"];
        assert_eq!(log.0, expected);
        assert_eq!(home.directory.0, ["occupied t", "attend ann", "depart t"]);
    }

    #[test]
    fn an_event_to_be_forgotten_is_not_shown_to_the_directory() {
        let (mut home, mut log) = (Home::new(Facts::default()), Log::default());
        home.join(topic(), 2, &mut log);
        let frame = Prepared::new(MessageKind::Text, b"x");
        home.publish(&Event { keep: Keep::Forget, ..event(&frame) }, &mut log);
        home.publish(&event(&frame), &mut log);
        assert_eq!(log.0, ["2: joined t", "2: deliver t", "2: deliver t"]);
        assert_eq!(home.directory.0, ["occupied t", "t 2"]);
    }

    fn topic() -> TopicName {
        "t".into()
    }

    #[test]
    fn only_listening_cores_hear_an_event() {
        let (mut home, mut log) = (Home::new(Facts::default()), Log::default());
        let frame = Prepared::new(MessageKind::Text, b"x");
        home.publish(&event(&frame), &mut log);
        home.join(topic(), 2, &mut log);
        home.join(topic(), 0, &mut log);
        home.publish(&event(&frame), &mut log);
        home.leave(&topic(), 2, &mut log);
        home.publish(&event(&frame), &mut log);
        assert_eq!(
            log.0,
            ["2: joined t", "0: joined t", "2: deliver t", "0: deliver t", "0: deliver t"]
        );
        home.leave(&topic(), 0, &mut log);
        assert_eq!(home.directory.0, ["t 0", "occupied t", "t 1", "t 2", "vacated t"]);
        assert_eq!(home.len(), 0);
    }

    #[test]
    fn subscribers_of_all_cores_are_counted() {
        let (mut home, mut log) = (Home::new(Facts::default()), Log::default());
        home.join(topic(), 1, &mut log);
        home.join(topic(), 3, &mut log);
        home.count(&topic(), 3, 40, &mut log);
        home.count(&topic(), 2, 7, &mut log);
        home.ask(asked(Some(topic())), &mut log);
        assert_eq!(log.0.last().unwrap(), "5: answer 9 41", "core 2 never joined");
        home.ask(asked(None), &mut log);
        assert_eq!(log.0.last().unwrap(), "5: answer 9 141", "all topics, of which there is one");
    }

    #[test]
    fn a_core_that_joins_twice_listens_once() {
        let (mut home, mut log) = (Home::new(Facts::default()), Log::default());
        home.join(topic(), 1, &mut log);
        home.join(topic(), 1, &mut log);
        home.publish(&event(&Prepared::new(MessageKind::Text, b"x")), &mut log);
        assert_eq!(log.0, ["1: joined t", "1: joined t", "1: deliver t"]);
        home.leave(&topic(), 1, &mut log);
        home.leave(&topic(), 1, &mut log);
        assert_eq!(home.directory.0, ["occupied t", "t 1", "vacated t"]);
    }
}

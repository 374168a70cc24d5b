//! Who comes, and what each says and does next.

use super::back_end::{self, BackEnd};
use super::guest::{Guest, Manners};
use super::history::{EventId, GuestId, TOPICS};
use super::line::{Leave, Line};
use super::{MOST_BYTES, MOST_GUESTS, Talk, Visitor, World};

/// Who publishes without a connection.
const OUTSIDE: GuestId = usize::MAX;

impl World<'_> {
    /// Somebody comes.
    pub(super) fn welcome(&mut self) {
        let there = self.visitors.iter().filter(|it| !it.line.client.is_dropped()).count();
        let core = self.choices.below(self.options.cores);
        if there < MOST_GUESTS && self.simulation.is_accepting(core) {
            let kind = self.choices.below(10);
            let is_prompt = kind == 9 || self.choices.percent(45);
            let is_roomy = is_prompt || self.choices.percent(40);
            let room = (!is_roomy).then(|| self.choices.between(1, 1_200));
            self.connect(core, kind, is_prompt, room);
        }
    }

    pub(super) fn connect(
        &mut self,
        core: usize,
        kind: usize,
        is_prompt: bool,
        room: Option<usize>,
    ) -> GuestId {
        let id = self.visitors.len();
        let mut line = Line::new(self.simulation.connect(core), is_prompt, room);
        let talk = match kind {
            0..7 => {
                let (is_mute, deflates) = (self.choices.percent(8), self.choices.percent(50));
                let (book, manners) = (self.house.book.clone(), Manners { is_mute, deflates });
                Talk::Guest(Box::new(Guest::new(id, book, manners, &mut line)))
            }
            7..9 => Talk::BackEnd(BackEnd::new(id, self.house.book.clone(), self.now)),
            _ => {
                back_end::begin_loitering(&mut line);
                Talk::Loiterer
            }
        };
        let (came, stirred) = (self.now, self.now);
        self.visitors.push(Visitor { line, talk, came, stirred, is_ended: false });
        let what = ["guest", "back end", "loiterer"][usize::from(kind > 6) + usize::from(kind > 8)];
        self.note(|| {
            format!("{what} {id} connects to core {core}, prompt {is_prompt}, room {room:?}")
        });
        id
    }

    /// Somebody speaks, or goes.
    pub(super) fn speak(&mut self) {
        let is_there = |it: &Visitor| it.line.left.is_none() && !it.is_ended;
        let Some(id) = self.some_visitor(is_there) else { return };
        if self.choices.percent(3) {
            return self.leave(id);
        }
        match self.visitors[id].talk {
            Talk::Guest(_) => self.guest_speaks(id),
            Talk::BackEnd(_) => self.back_end_speaks(id),
            Talk::Loiterer => back_end::loiter(&mut self.visitors[id].line),
        }
    }

    fn leave(&mut self, id: GuestId) {
        let hows = [Leave::Finish, Leave::HangUp, Leave::Reset, Leave::Vanish];
        let how = hows[self.choices.below(hows.len())];
        self.note(|| format!("guest {id} goes: {how:?}"));
        self.sights.resets += u64::from(how == Leave::Reset);
        self.sights.half_closes += u64::from(how == Leave::Finish);
        self.visitors[id].line.leave(how);
    }

    /// An event that `publisher` will publish, sometimes not for one of those who are there.
    fn intend(&mut self, publisher: GuestId) -> EventId {
        let topic = self.choices.below(TOPICS);
        let is_guest = |it: &Visitor| matches!(it.talk, Talk::Guest(_));
        let except = if self.choices.percent(25) { self.some_visitor(is_guest) } else { None };
        let most = if self.choices.percent(20) { MOST_BYTES } else { 60 };
        let bytes = self.choices.below(most);
        let event = self.house.book.borrow_mut().intend(publisher, topic, except, bytes);
        self.note(|| {
            let except = except.map_or(String::new(), |it| format!(", not to guest {it}"));
            format!("guest {publisher} publishes event {event} on topic {topic}{except}")
        });
        event
    }

    /// A thread of the server's program publishes, which owns no core.
    pub(super) fn publish_from_outside(&mut self) {
        let most = if self.choices.percent(20) { 12 } else { 1 };
        for _ in 0..self.choices.between(1, most) {
            let event = self.intend(OUTSIDE);
            let (topic, text, except) = self.house.prepare(event);
            if self.simulation.publish(self.house.name(topic), &text, except) {
                self.house.book.borrow_mut().accept(event);
                self.judge_memory(&self.simulation.census());
            } else {
                self.sights.full_letterboxes += 1;
            }
        }
    }

    fn guest_speaks(&mut self, id: GuestId) {
        let verb = self.choices.below(40);
        if (14..24).contains(&verb) {
            return self.guest_publishes(id);
        }
        let Visitor { line, talk: Talk::Guest(guest), .. } = &mut self.visitors[id] else { return };
        if !guest.is_speaking() {
            return;
        }
        let choices = &mut self.choices;
        let topic = choices.below(TOPICS);
        let what = match verb {
            0..10 => {
                guest.subscribe(topic, choices, line);
                format!("subscribes to topic {topic}")
            }
            10..14 => {
                guest.unsubscribe(topic, choices, line);
                format!("leaves topic {topic}")
            }
            24..27 => {
                guest.question(topic, choices, line);
                format!("asks about topic {topic}")
            }
            27..32 => {
                let bytes = 1 + choices.below(MOST_BYTES);
                guest.echo(bytes, choices, line);
                format!("wants an echo of {bytes} bytes")
            }
            38 => {
                guest.ask_to_be_closed(choices, line);
                "asks to be closed".to_owned()
            }
            39 if choices.percent(50) => {
                guest.close(line);
                "says good-bye".to_owned()
            }
            39 => {
                guest.misbehave(choices, line);
                "breaks the rules".to_owned()
            }
            _ => {
                guest.ping(choices, line);
                "sends a ping".to_owned()
            }
        };
        self.note(|| format!("guest {id} {what}"));
    }

    /// An event, or a burst of them.
    fn guest_publishes(&mut self, id: GuestId) {
        let most = if self.choices.percent(20) { 8 } else { 1 };
        for _ in 0..self.choices.between(1, most) {
            let event = self.intend(id);
            if let Visitor { line, talk: Talk::Guest(guest), .. } = &mut self.visitors[id]
                && guest.is_speaking()
            {
                guest.publish(event, &mut self.choices, line);
            }
        }
    }

    fn back_end_speaks(&mut self, id: GuestId) {
        let verb = self.choices.below(40);
        let event = (verb < 20).then(|| self.intend(id));
        let Visitor { line, talk: Talk::BackEnd(back_end), .. } = &mut self.visitors[id] else {
            return;
        };
        if !back_end.is_speaking() {
            return;
        }
        let choices = &mut self.choices;
        let what = match (verb, event) {
            (_, Some(event)) => return back_end.publish(event, choices, line),
            (20..28, _) => {
                back_end.fetch(choices.below(2 * MOST_BYTES), choices, line);
                "fetches something"
            }
            (39, _) => {
                back_end.misbehave(line);
                "breaks HTTP"
            }
            _ => {
                back_end.ask(choices.below(TOPICS), choices, line);
                "asks for a count"
            }
        };
        self.note(|| format!("back end {id} {what}"));
    }

    /// One more event on each topic, from a back end that comes for it.
    pub(super) fn publish_to_all(&mut self) {
        let core = self.choices.below(self.options.cores);
        let id = self.connect(core, 7, true, None);
        for topic in 0..TOPICS {
            let event = self.house.book.borrow_mut().intend(id, topic, None, 10);
            let Visitor { line, talk: Talk::BackEnd(back_end), .. } = &mut self.visitors[id] else {
                return;
            };
            if back_end.is_speaking() {
                back_end.publish(event, &mut self.choices, line);
            }
        }
    }
}

//! Topics whose home knows each of its subscribers: who is welcomed, what is announced, and in which order, on
//! whatever cores they are.

use std::collections::BTreeMap;

use super::*;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::{Announcer, Keep};
use crate::reactor::handler::SubscribeError;

/// Who is on a topic, by name; at most three, and `nobody` never.
#[derive(Default)]
struct Members(BTreeMap<String, Vec<(ConnId, String)>>);

impl Directory for Members {
    type Note = String;
    type Welcome = Vec<String>;
    type Refusal = &'static str;
    type Question = Option<String>;
    type Answer = usize;
    type Word = String;

    fn on_attend(
        &mut self,
        topic: &str,
        conn: ConnId,
        name: String,
        out: &mut Announcer<'_, Self>,
    ) -> Result<Vec<String>, &'static str> {
        let members = self.0.entry(topic.to_owned()).or_default();
        if name == "nobody" {
            return Err("not for nobody");
        }
        if !members.iter().any(|(member, _)| *member == conn) {
            if members.len() == 3 {
                return Err("full");
            }
            out.publish(topic, prepared(&format!("+{name}")));
            members.push((conn, name));
        }
        Ok(members.iter().map(|(_, name)| name.clone()).collect())
    }

    fn on_depart(&mut self, topic: &str, conn: ConnId, out: &mut Announcer<'_, Self>) {
        let members = self.0.entry(topic.to_owned()).or_default();
        if let Some(at) = members.iter().position(|(member, _)| *member == conn) {
            let (_, name) = members.remove(at);
            out.publish(topic, prepared(&format!("-{name}")));
        }
    }

    fn on_vacated(&mut self, topic: &str, _: &mut Announcer<'_, Self>) {
        let members = self.0.remove(topic).unwrap_or_default();
        assert!(members.is_empty(), "{members:?} were not told to have left");
    }

    /// Sends a word to the member of that name.
    fn answer(
        &mut self,
        topic: &str,
        n: usize,
        name: Option<String>,
        out: &mut Announcer<'_, Self>,
    ) -> usize {
        for (conn, member) in self.0.get(topic).into_iter().flatten() {
            if Some(member) == name.as_ref() {
                out.tell(*conn, format!("word for {member}"));
            }
        }
        n
    }

    fn answer_all<'t>(
        &mut self,
        topics: impl Iterator<Item = (&'t str, usize)>,
        _: Option<String>,
        _: &mut Announcer<'_, Self>,
    ) -> usize {
        topics.count()
    }
}

/// Obeys: `attend t name`, `leave t`, `pub t text`, `tell t name`, `all`, `on t`.
struct Member;

impl Handler<Members> for Member {
    fn on_message(&mut self, conn: &mut Conn<'_, Members>, message: Message<'_>) {
        let text = message.text().unwrap().to_owned();
        let mut words = text.splitn(3, ' ');
        let (verb, topic) = (words.next().unwrap(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default();
        match verb {
            "attend" => {
                assert_eq!(conn.attend(topic, rest.to_owned()), Ok::<(), SubscribeError>(()))
            }
            "leave" => assert!(conn.unsubscribe(topic)),
            "pub" => conn.publish_as(Keep::Forget, topic, rest, None).unwrap(),
            "tell" => conn.ask(topic, Some(rest.to_owned()), 1),
            "all" => conn.ask_all(&None, 2),
            "on" => conn.send(conn.is_subscribed(topic).to_string()),
            _ => unreachable!(),
        }
    }
    fn on_welcome(&mut self, conn: &mut Conn<'_, Members>, topic: &str, welcome: Vec<String>) {
        conn.send(format!("{topic}: {}", welcome.join(" ")));
    }
    fn on_refused(&mut self, conn: &mut Conn<'_, Members>, topic: &str, refusal: &'static str) {
        conn.send(format!("{topic} is {refusal}"));
    }
    fn on_word(&mut self, conn: &mut Conn<'_, Members>, word: String) {
        conn.send(word);
    }
    fn on_answer(&mut self, conn: &mut Conn<'_, Members>, ticket: u64, answer: usize) {
        conn.send(format!("{ticket}={answer}"));
    }
}

fn members(cores: usize) -> Simulation<Member, Members> {
    Simulation::new(Options { cores, ..Options::default() }, |_| (Member, Members::default()))
}

#[test]
fn a_newcomer_is_announced_to_the_others_and_welcomed_with_all() {
    for home in 0..3 {
        let mut simulation = members(3);
        let t = topic_at(&simulation, home);
        let mut ann = Ws::open(&mut simulation, 0, 0);
        let mut ben = Ws::open(&mut simulation, 1, 0);
        for (ws, name) in [(&mut ann, "ann"), (&mut ben, "ben")] {
            ws.say(&format!("attend {t} {name}"));
            simulation.settle();
        }
        ann.say(&format!("pub {t} hello"));
        simulation.settle();
        ben.say(&format!("leave {t}"));
        ben.say(&format!("on {t}"));
        simulation.settle();
        assert_eq!(
            ann.heard(),
            [format!("{t}: ann"), "+ben".to_owned(), "hello".to_owned(), "-ben".to_owned()]
        );
        assert_eq!(ben.heard(), [format!("{t}: ann ben"), "hello".to_owned(), "false".to_owned()]);
        ann.client.finish();
        simulation.settle();
        assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
    }
}

#[test]
fn who_is_refused_leaves_no_trace() {
    let mut simulation = members(2);
    let mut all: Vec<Ws> = (0..4).map(|number| Ws::open(&mut simulation, number % 2, 0)).collect();
    for ws in &mut all {
        ws.say("attend t x");
        simulation.settle();
    }
    all[3].say("on t");
    simulation.settle();
    assert_eq!(all[3].heard(), ["t is full", "false"]);
    assert_eq!(all[0].heard(), ["t: x", "+x", "+x"]);
    all[0].say("leave t");
    simulation.settle();
    all[3].say("attend t late");
    simulation.settle();
    assert_eq!(all[3].heard(), ["t: x x late"]);
}

#[test]
fn whoever_attends_again_is_welcomed_again_and_announced_once() {
    let mut simulation = members(2);
    let mut ann = Ws::open(&mut simulation, 0, 0);
    let mut ben = Ws::open(&mut simulation, 1, 0);
    ann.say("attend t ann");
    simulation.settle();
    ben.say("attend t ben");
    simulation.settle();
    ann.heard();
    ben.heard();
    ann.say("attend t ann");
    ann.say("pub t once");
    simulation.settle();
    assert_eq!(
        (ann.heard(), ben.heard()),
        (vec!["t: ann ben".to_owned(), "once".to_owned()], vec!["once".to_owned()])
    );
}

/// Whatever is under way when somebody leaves and comes back, only the answer to the last attendance is theirs.
#[test]
fn a_welcome_belongs_to_one_attendance() {
    for (home, turns) in (0..3).flat_map(|home| (0..12).map(move |turns| (home, turns))) {
        let mut simulation = members(3);
        let t = topic_at(&simulation, home);
        let mut ann = Ws::open(&mut simulation, 0, 0);
        let mut ben = Ws::open(&mut simulation, 1, 0);
        ben.say(&format!("attend {t} ben"));
        simulation.settle();
        ann.say(&format!("attend {t} ann"));
        for turn in 0..turns {
            simulation.turn(turn % 3);
        }
        ben.say(&format!("pub {t} before"));
        ann.say(&format!("leave {t}"));
        ann.say(&format!("on {t}"));
        ann.say(&format!("attend {t} again"));
        simulation.settle();
        ben.say(&format!("pub {t} after"));
        simulation.settle();
        let heard = ann.heard();
        let left = heard.iter().position(|text| text == "false").expect("an answer to `on`");
        let events: Vec<_> = heard[left + 1..].iter().filter(|text| *text != "before").collect();
        assert_eq!(events, [&format!("{t}: ben again"), "after"], "{home} {turns}: {heard:?}");
        let mut others = ben.heard();
        others.retain(|text| text.starts_with(['+', '-']));
        assert_eq!(others, ["+ann", "-ann", "+again"]);
    }
}

#[test]
fn a_refusal_belongs_to_one_attendance() {
    for turns in 0..12 {
        let mut simulation = members(2);
        let t = topic_at(&simulation, 1);
        let mut all: Vec<Ws> =
            (0..4).map(|number| Ws::open(&mut simulation, number % 2, 0)).collect();
        for ws in &mut all[1..] {
            ws.say(&format!("attend {t} x"));
            simulation.settle();
            ws.heard();
        }
        // Whether the seat is free when the first attendance comes home depends on the turns in between.
        all[0].say(&format!("attend {t} first"));
        for turn in 0..turns {
            simulation.turn(turn % 2);
        }
        all[1].say(&format!("leave {t}"));
        simulation.turn(1);
        all[0].say(&format!("attend {t} second"));
        simulation.settle();
        all[0].say(&format!("on {t}"));
        simulation.settle();
        let heard = all[0].heard();
        let (is_on, last) = (heard.last().unwrap(), &heard[heard.len() - 2]);
        assert_eq!(is_on == "true", last.starts_with(&format!("{t}: x x ")), "{turns}: {heard:?}");
        assert!(heard.iter().all(|text| text != "+first" && text != "+second"), "{heard:?}");
        // The directory of this test panics if a topic is vacated by whom it was not told of.
        all.iter().for_each(|ws| ws.client.finish());
        simulation.settle();
        assert_eq!((simulation.topics(), simulation.homes()), (0, 0), "{turns}");
        assert!(simulation.applications().all(|(_, members)| members.0.is_empty()), "{turns}");
    }
}

#[test]
fn whoever_attends_twice_before_the_first_answer_is_refused_or_welcomed_by_the_last() {
    let mut simulation = members(2);
    let t = topic_at(&simulation, 1);
    let mut ann = Ws::open(&mut simulation, 0, 0);
    let mut ben = Ws::open(&mut simulation, 0, 0);
    ben.say(&format!("attend {t} ben"));
    simulation.settle();
    for (names, answer, told) in [
        (["ann", "nobody"], format!("{t} is not for nobody"), vec!["+ann", "-ann"]),
        (["nobody", "ann"], format!("{t}: ben ann"), vec!["+ann"]),
    ] {
        ben.heard();
        names.iter().for_each(|name| ann.say(&format!("attend {t} {name}")));
        simulation.settle();
        assert_eq!(ann.heard(), [answer]);
        let is_told: Vec<_> =
            ben.heard().into_iter().filter(|text| !text.starts_with("topic")).collect();
        assert_eq!(is_told, told);
    }
    [ann, ben].iter().for_each(|ws| ws.client.finish());
    simulation.settle();
    assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
}

#[test]
fn a_connection_that_ends_before_its_welcome_has_departed() {
    for turns in 0..12 {
        let mut simulation = members(2);
        let t = topic_at(&simulation, 1);
        let mut ann = Ws::open(&mut simulation, 0, 0);
        ann.say(&format!("attend {t} ann"));
        for turn in 0..turns {
            simulation.turn(turn % 2);
        }
        ann.client.finish();
        simulation.settle();
        assert_eq!(
            (simulation.topics(), simulation.homes(), simulation.connections()),
            (0, 0, 0),
            "{turns}"
        );
    }
}

#[test]
fn a_home_finds_one_connection_on_any_core() {
    let mut simulation = members(3);
    let mut ann = Ws::open(&mut simulation, 0, 0);
    let mut ben = Ws::open(&mut simulation, 1, 0);
    ann.say("attend t ann");
    ben.say("attend u ben");
    simulation.settle();
    ann.heard();
    ben.heard();
    ann.say("tell u ben");
    ann.say("all");
    simulation.settle();
    assert_eq!(ben.heard(), ["word for ben"]);
    let mut heard = ann.heard();
    assert_eq!(heard.remove(heard.iter().position(|it| it == "1=1").unwrap()), "1=1");
    let topics: u32 =
        heard.iter().map(|it| it.strip_prefix("2=").unwrap().parse::<u32>().unwrap()).sum();
    assert_eq!((heard.len(), topics), (3, 2), "an answer from every core");
}

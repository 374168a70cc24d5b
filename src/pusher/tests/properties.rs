//! Random joins, leaves, ends and events over several cores, against plain sets.
//!
//! The model knows no cores. Who asked for a channel, was not refused and did not leave it is on it; on a presence
//! channel the members are the users of those. What is heard is judged by `order.rs`, at moments when nothing is under
//! way what the API says is judged, too, and in the end nothing may remain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::super::App;
use super::guest::Guest;
use super::order::{self, Exceptions, Heard};
use super::server::Server;
use crate::Options;
use crate::metrics::Counter;
use crate::reactor::simulation::Census;

const PREFIXES: [&str; 6] =
    ["open-", "private-", "presence-", "cache-", "presence-cache-", "private-cache-"];
const MOST_GUESTS: usize = 12;
const USERS: usize = 5;
/// Of a presence channel: fewer than there are, so that some are refused.
const MOST_MEMBERS: u32 = 4;
/// The user of the witness.
const WITNESS: usize = 9;

/// One party. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
struct Case {
    cores: usize,
    /// The home of each channel.
    homes: [usize; PREFIXES.len()],
    /// Someone is on all channels from the beginning to the end. Without, channels are vacated and occupied again.
    has_witness: bool,
    mailbox_posts: usize,
    read_buffer_bytes: usize,
    flush_slice: usize,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Check {
        core: usize,
    },
    Connect {
        core: usize,
        user: usize,
    },
    /// Subscribes, leaves and subscribes again, each in turns of its own core alone, with events in between.
    Dither {
        who: usize,
        channel: usize,
        core: usize,
    },
    Forge {
        who: usize,
        channel: usize,
    },
    Leave {
        who: usize,
        is_polite: bool,
    },
    Publish {
        core: usize,
        channel: usize,
        except: Option<usize>,
    },
    Subscribe {
        who: usize,
        channel: usize,
    },
    /// Leaves and comes back in the same moment, that many times.
    SubscribeAgain {
        who: usize,
        channel: usize,
        times: usize,
    },
    Turn {
        core: usize,
    },
    Unsubscribe {
        who: usize,
        channel: usize,
    },
    Whisper {
        who: usize,
        channel: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (core, channel) = (|| 0..4_usize, || 0..PREFIXES.len());
    let who = || 0..MOST_GUESTS;
    let step = prop_oneof![
        1 => core().prop_map(|core| Step::Check { core }),
        3 => (core(), 0..USERS).prop_map(|(core, user)| Step::Connect { core, user }),
        3 => (who(), channel(), core())
            .prop_map(|(who, channel, core)| Step::Dither { who, channel, core }),
        1 => (who(), channel()).prop_map(|(who, channel)| Step::Forge { who, channel }),
        1 => (who(), any::<bool>()).prop_map(|(who, is_polite)| Step::Leave { who, is_polite }),
        6 => (core(), channel(), prop::option::of(who()))
            .prop_map(|(core, channel, except)| Step::Publish { core, channel, except }),
        8 => (who(), channel()).prop_map(|(who, channel)| Step::Subscribe { who, channel }),
        4 => (who(), channel(), 1..3_usize)
            .prop_map(|(who, channel, times)| Step::SubscribeAgain { who, channel, times }),
        14 => core().prop_map(|core| Step::Turn { core }),
        3 => (who(), channel()).prop_map(|(who, channel)| Step::Unsubscribe { who, channel }),
        3 => (who(), channel()).prop_map(|(who, channel)| Step::Whisper { who, channel }),
    ];
    prop::collection::vec(step, 0..120)
}

fn cases() -> impl Strategy<Value = Case> {
    let limits = (1..8_usize, 16..200_usize, 1..4_usize);
    (1..5_usize, prop::array::uniform6(0..4_usize), any::<bool>(), limits, steps()).prop_map(
        |(cores, homes, has_witness, (mailbox_posts, read_buffer_bytes, flush_slice), steps)| {
            Case { cores, homes, has_witness, mailbox_posts, read_buffer_bytes, flush_slice, steps }
        },
    )
}

struct Party {
    server: Server,
    names: Vec<String>,
    guests: Vec<Guest>,
    /// The first guest is on all channels from the beginning to the end.
    has_witness: bool,
    exceptions: Exceptions,
    numbers: u32,
    /// Events that a back end has published and not been answered.
    unanswered: usize,
}

impl Party {
    fn begin(case: &Case) -> Self {
        let options = Options {
            cores: case.cores,
            mailbox_posts: case.mailbox_posts,
            read_buffer_bytes: case.read_buffer_bytes,
            flush_slice: case.flush_slice,
            fanout_slice: case.flush_slice,
            ..Options::default()
        };
        let mut app = App::new("1", "key", "secret");
        app.max_presence_members = Some(MOST_MEMBERS);
        let server = Server::start(options, app);
        let names = PREFIXES.iter().zip(case.homes);
        let names = names.map(|(prefix, home)| server.channel_at(prefix, home % case.cores));
        let mut party = Self {
            names: names.collect(),
            server,
            guests: Vec::new(),
            has_witness: case.has_witness,
            exceptions: Exceptions::default(),
            numbers: 0,
            unanswered: 0,
        };
        if case.has_witness {
            party.connect(0, WITNESS);
            (0..PREFIXES.len()).for_each(|channel| party.guests[0].subscribe(channel));
            party.server.simulation.settle();
        }
        party
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Check { core } => self.check(core),
            Step::Connect { core, user } => self.connect(core, user),
            Step::Publish { core, channel, except } => self.publish(core, channel, except),
            Step::Turn { core } => {
                self.server.simulation.turn(core % self.server.cores);
            }
            Step::Dither { who, channel, core } => self.dither(who, channel, core),
            Step::Forge { who, channel } => self.with(who, |guest| guest.forge(channel)),
            Step::Leave { who, is_polite } => self.with(who, |guest| guest.leave(is_polite)),
            Step::Subscribe { who, channel } => self.with(who, |guest| guest.subscribe(channel)),
            Step::SubscribeAgain { who, channel, times } => self.with(who, |guest| {
                for _ in 0..times {
                    guest.unsubscribe(channel);
                    guest.subscribe(channel);
                }
            }),
            Step::Unsubscribe { who, channel } => {
                self.with(who, |guest| guest.unsubscribe(channel));
            }
            Step::Whisper { who, channel } => self.whisper(who, channel),
        }
    }

    /// A guest that is there and not the witness.
    fn present(&self, who: usize) -> Option<usize> {
        let first = usize::from(self.has_witness);
        let here: Vec<usize> =
            (first..self.guests.len()).filter(|guest| !self.guests[*guest].is_gone).collect();
        here.get(who % here.len().max(1)).copied()
    }

    fn with(&mut self, who: usize, act: impl FnOnce(&mut Guest)) {
        if let Some(guest) = self.present(who) {
            act(&mut self.guests[guest]);
        }
    }

    fn connect(&mut self, core: usize, user: usize) {
        if self.guests.iter().filter(|guest| !guest.is_gone).count() < MOST_GUESTS {
            let talk = self.server.connect(core % self.server.cores);
            self.guests.push(Guest::new(talk, user, &self.names));
        }
    }

    fn publish(&mut self, core: usize, channel: usize, except: Option<usize>) {
        self.numbers += 1;
        let number = self.numbers;
        let except = except.and_then(|who| self.present(who));
        if let Some(guest) = except {
            self.exceptions.add(number, guest);
        }
        let socket_id = except.map(|guest| self.guests[guest].talk.socket_id.as_str());
        let core = core % self.server.cores;
        self.server.publish(core, &self.names[channel], &number.to_string(), socket_id);
        self.unanswered += 1;
    }

    fn dither(&mut self, who: usize, channel: usize, core: usize) {
        let Some(guest) = self.present(who) else { return };
        let own = self.guests[guest].talk.client.core();
        for act in [Guest::subscribe, Guest::unsubscribe, Guest::subscribe] {
            act(&mut self.guests[guest], channel);
            self.turn_often(own);
            self.publish(core, channel, None);
            self.turn_often(core % self.server.cores);
        }
    }

    /// Until what was said to a core is read, most often, however little it reads at once.
    fn turn_often(&mut self, core: usize) {
        for _ in 0..30 {
            self.server.simulation.turn(core);
        }
    }

    fn whisper(&mut self, who: usize, channel: usize) {
        let Some(guest) = self.present(who) else { return };
        self.numbers += 1;
        self.exceptions.add(self.numbers, guest);
        let (name, number) = (&self.names[channel], self.numbers);
        self.guests[guest]
            .talk
            .say(&format!(r#"{{"event":"client-event","data":"{number}","channel":"{name}"}}"#));
    }

    fn settle(&mut self) {
        // What a guest answers (a close frame) may make more to do.
        for _ in 0..2 {
            self.server.simulation.settle();
            self.guests.iter_mut().for_each(Guest::listen);
        }
        let answers = self.server.answers();
        assert_eq!(answers, vec![json!({}); self.unanswered], "the answers to events");
        self.unanswered = 0;
    }

    /// Lets everything come to rest. Then one more event on each channel must reach whoever is on it, and the back end is
    /// told what the model says.
    fn check(&mut self, core: usize) {
        self.settle();
        (0..PREFIXES.len()).for_each(|channel| self.publish(core + channel, channel, None));
        let (first, last) = (self.numbers + 1 - 6, self.numbers);
        self.settle();
        for (channel, number) in (0..).zip(first..=last) {
            for guest in self.guests.iter().filter(|guest| !guest.is_gone) {
                let on = guest.on(channel);
                on.check_quiet();
                let heard = on.stays.last().is_some_and(|stay| {
                    stay.heard.iter().filter(|heard| **heard == Heard::Event(number)).count() == 1
                });
                assert_eq!(heard, on.is_on(), "the last event on {}", self.names[channel]);
            }
            self.check_order(channel);
        }
        self.check_facts(core % self.server.cores);
    }

    fn check_order(&self, channel: usize) {
        let stays: Vec<order::Stay<'_>> = (0..)
            .zip(&self.guests)
            .flat_map(|(number, guest)| {
                guest.on(channel).stays.iter().map(move |stay| order::Stay {
                    guest: number,
                    heard: &stay.heard,
                    is_open: !stay.is_over,
                })
            })
            .collect();
        if self.has_witness {
            let order: Vec<Heard> = stays[0].heard.iter().skip(1).cloned().collect();
            let is_cached = PREFIXES[channel].contains("cache");
            let order = if is_cached { &order } else { stays[0].heard };
            for stay in &stays[1..] {
                let fits = order::is_stretch(order, stay, &self.exceptions);
                assert!(
                    fits,
                    "{}: {:?} is no stretch of {order:?}",
                    self.names[channel], stay.heard
                );
            }
        }
        for (index, one) in stays.iter().enumerate() {
            for other in &stays[..index] {
                let agree = order::agree(one, other, &self.exceptions);
                assert!(agree, "{}: {:?}, {:?}", self.names[channel], one.heard, other.heard);
            }
        }
    }

    /// Users on a channel, one for each connection.
    fn users(&self, channel: usize) -> Vec<usize> {
        let on = self.guests.iter().filter(|guest| !guest.is_gone && guest.on(channel).is_on());
        on.map(|guest| guest.user).collect()
    }

    fn check_facts(&mut self, core: usize) {
        let mut channels = BTreeMap::new();
        for (channel, name) in self.names.clone().into_iter().enumerate() {
            let users = self.users(channel);
            let members: BTreeSet<usize> = users.iter().copied().collect();
            let mut facts = json!({"subscription_count": users.len()});
            if name.starts_with("presence-") {
                facts["user_count"] = members.len().into();
                self.check_members(core, channel, &name, &members);
            }
            let path = format!("/apps/1/channels/{name}?info=subscription_count,user_count");
            let mut expected = facts.clone();
            expected["occupied"] = (!users.is_empty()).into();
            assert_eq!(self.server.ask(core, &path), expected, "{name}");
            if !users.is_empty() {
                channels.insert(name, facts);
            }
        }
        let path = "/apps/1/channels?info=subscription_count,user_count";
        assert_eq!(self.server.ask(core, path), json!({ "channels": channels }));
    }

    fn check_members(
        &mut self,
        core: usize,
        channel: usize,
        name: &str,
        members: &BTreeSet<usize>,
    ) {
        assert!(members.len() <= MOST_MEMBERS as usize);
        for guest in self.guests.iter().filter(|guest| guest.on(channel).is_on()) {
            let told = &guest.on(channel).stays.last().unwrap().members;
            assert_eq!(told, members, "{name}: what user {} knows", guest.user);
        }
        let answer = self.server.ask(core, &format!("/apps/1/channels/{name}/users"));
        let users = answer["users"].as_array().unwrap().iter();
        let ids: BTreeSet<usize> =
            users.clone().map(|user| user["id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!((&ids, users.len()), (members, members.len()), "{name}: {answer}");
    }

    /// Everybody goes, and nothing remains.
    fn end(mut self) {
        for guest in self.guests.iter_mut().filter(|guest| !guest.is_gone) {
            guest.leave(guest.user % 2 == 0);
        }
        self.settle();
        self.check_facts(0);
        self.server.dismiss_back_end();
        let simulation = &mut self.server.simulation;
        simulation.settle();
        // Deadlines of connections that are gone pass.
        simulation.advance(Duration::from_secs(40));
        simulation.settle();
        assert_eq!(simulation.census(), Census::default());
        for (pusher, directory) in simulation.applications() {
            let presence = directory.presence.len();
            let counts = (pusher.clients.len(), pusher.gathers.len(), presence);
            assert_eq!(counts, (0, 0, 0), "clients, requests that wait, presence channels");
        }
        assert_eq!(self.server.apps.connections("1"), Some(0));
        assert_eq!(simulation.metrics().total(Counter::Panics), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn members_counts_and_events_equal_the_model_whatever_happens(case in cases()) {
        let mut party = Party::begin(&case);
        case.steps.iter().for_each(|step| party.step(step));
        party.check(0);
        party.end();
    }
}

//! What is measured, which figure is read from the generator's report, and what is aimed at. All of it is data.

use super::load::report::grouped;
use super::peers::Peer;

/// What a server is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    Connect,
    Echo,
    Fanout,
    /// One channel for all.
    Idle,
    /// A private channel each.
    IdlePrivate,
    /// Fan-out by servers that have two cores, or one of two.
    Reactors,
}

/// What one command measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goal {
    Connect,
    Echo,
    Fanout,
    Memory,
    Reactors,
}

impl Goal {
    pub(crate) const ALL: [Self; 5] =
        [Self::Fanout, Self::Echo, Self::Memory, Self::Connect, Self::Reactors];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Echo => "echo",
            Self::Fanout => "fanout",
            Self::Memory => "memory",
            Self::Reactors => "reactors",
        }
    }

    pub(crate) fn scenarios(self) -> &'static [Scenario] {
        match self {
            Self::Connect => CONNECT,
            Self::Echo => ECHO,
            Self::Fanout => FANOUT,
            Self::Memory => MEMORY,
            Self::Reactors => REACTORS,
        }
    }
}

/// One thing that all who can are made to do.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    /// What the generator is told, besides whom to load and for how long.
    pub(crate) load: &'static str,
    /// Whether it takes the time it is given, and not the time it needs.
    pub(crate) is_timed: bool,
    /// Each is a table of its own.
    pub(crate) readings: &'static [Reading],
    /// Figures that stand beside the first reading, to explain it.
    pub(crate) asides: &'static [(&'static str, &'static str)],
}

impl Scenario {
    /// How many connections it has at a time, where `sizes` are those of memory.
    pub(crate) fn connections(&self, sizes: &[usize]) -> usize {
        if matches!(self.work, Work::Idle | Work::IdlePrivate) {
            return sizes.iter().copied().max().unwrap_or(0);
        }
        let mut words = self.load.split(' ').skip_while(|word| *word != "--connections");
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

/// A figure that is compared.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) title: &'static str,
    /// Its name in the generator's report.
    pub(crate) figure: &'static str,
    pub(crate) best: Best,
    /// Whose figure the others' are divided by.
    pub(crate) against: &'static [Peer],
    pub(crate) aims: &'static [Aim],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Best {
    Least,
    Most,
}

/// What is aimed at, for one server's median.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    AtLeast {
        of: Peer,
        by: Peer,
        ratio: f64,
    },
    AtMost {
        of: Peer,
        by: Peer,
        ratio: f64,
    },
    /// Bytes.
    Under {
        by: Peer,
        value: f64,
    },
}

impl Aim {
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtLeast { of, by, ratio } => {
                format!("{} at least {ratio:.2} × {}", by.title(), of.title())
            }
            Self::AtMost { of, by, ratio } => {
                format!("{} at most {ratio:.2} × {}", by.title(), of.title())
            }
            Self::Under { by, value } => format!("{} at most {}", by.title(), grouped(value)),
        }
    }

    pub(crate) fn is_met(self, found: f64) -> bool {
        match self {
            Self::AtLeast { ratio, .. } => found >= ratio,
            Self::AtMost { ratio, .. } => found <= ratio,
            Self::Under { value, .. } => found <= value,
        }
    }
}

const BOTH: &[Peer] = &[Peer::Bare, Peer::Bun];

const fn at_least(ratio: f64, of: Peer) -> Aim {
    Aim::AtLeast { of, by: Peer::Stentor, ratio }
}

const fn deliveries(aims: &'static [Aim], against: &'static [Peer]) -> Reading {
    Reading {
        title: "deliveries per server CPU-second",
        figure: "deliveries per server CPU-second",
        best: Best::Most,
        against,
        aims,
    }
}

const fn echoes(aims: &'static [Aim]) -> Reading {
    Reading {
        title: "echoes per server CPU-second",
        figure: "echoes per server CPU-second",
        best: Best::Most,
        against: BOTH,
        aims,
    }
}

/// A generator that is busy all the time while the server is not was what was measured.
const SERVER_BUSY: (&str, &str) = ("server busy, cores", "server busy, cores");
const GENERATOR_BUSY: (&str, &str) = ("generator busy, cores", "generator busy, cores");
const PACED_ASIDES: &[(&str, &str)] = &[
    ("p50, µs", "latency p50"),
    ("p99, µs", "latency p99"),
    ("frames per segment", "deliveries per segment"),
    SERVER_BUSY,
    GENERATOR_BUSY,
];
const FLAT_OUT_ASIDES: &[(&str, &str)] = &[
    ("deliveries per second", "deliveries per second"),
    ("frames per segment", "deliveries per segment"),
    SERVER_BUSY,
    GENERATOR_BUSY,
];
const ECHO_ASIDES: &[(&str, &str)] =
    &[("echoes per second", "echoes per second"), SERVER_BUSY, GENERATOR_BUSY];

const PACED: &str = "fanout --connections 1000 --size 100 --rate 20";
/// The next event goes out when no more deliveries are missing than three events have, of whichever events they are: at most
/// four events' worth of them are under way, and at most four requests are unanswered.
const FLAT_OUT: &str = "fanout --connections 1000 --size 100 --flat-out --window 4 --pipeline 4";

const FANOUT: &[Scenario] = &[
    Scenario {
        name: "fanout-paced",
        title: "Fan-out: 1,000 subscribers, 20 events a second of 100 bytes",
        work: Work::Fanout,
        load: PACED,
        is_timed: true,
        readings: &[deliveries(&[at_least(0.95, Peer::Bare), at_least(1.1, Peer::Bun)], BOTH)],
        asides: PACED_ASIDES,
    },
    Scenario {
        name: "fanout-flat-out",
        title: "Fan-out: 1,000 subscribers, events of 100 bytes flat out, at most 4 events' worth of deliveries under way",
        work: Work::Fanout,
        load: FLAT_OUT,
        is_timed: true,
        readings: &[deliveries(&[at_least(1.3, Peer::Bun)], BOTH)],
        asides: FLAT_OUT_ASIDES,
    },
];

const ECHO: &[Scenario] = &[
    Scenario {
        name: "echo-1-deep",
        title: "Echo: 64 bytes, 200 connections, 1 deep",
        work: Work::Echo,
        load: "echo --connections 200 --depth 1 --size 64",
        is_timed: true,
        readings: &[echoes(&[at_least(1.1, Peer::Bun)])],
        asides: ECHO_ASIDES,
    },
    Scenario {
        name: "echo-16-deep",
        title: "Echo: 64 bytes, 50 connections, 16 deep",
        work: Work::Echo,
        load: "echo --connections 50 --depth 16 --size 64",
        is_timed: true,
        readings: &[echoes(&[at_least(1.4, Peer::Bun)])],
        asides: ECHO_ASIDES,
    },
    Scenario {
        name: "echo-16-kib",
        title: "Echo: 16 KiB, 50 connections, 1 deep",
        work: Work::Echo,
        load: "echo --connections 50 --depth 1 --size 16384",
        is_timed: true,
        readings: &[echoes(&[at_least(1.2, Peer::Bun)])],
        asides: ECHO_ASIDES,
    },
];

const fn user_bytes(aims: &'static [Aim]) -> Reading {
    Reading {
        title: "bytes of user space per connection",
        figure: "private per connection",
        best: Best::Least,
        against: &[Peer::Bun],
        aims,
    }
}

const MEMORY: &[Scenario] = &[
    Scenario {
        name: "memory-shared",
        title: "Idle memory: one channel for all",
        work: Work::Idle,
        load: "idle --window 1",
        is_timed: false,
        readings: &[
            user_bytes(&[Aim::Under { by: Peer::Stentor, value: 100.0 }]),
            Reading {
                title: "bytes of user space and kernel per connection",
                figure: "total per connection, the server's end",
                best: Best::Least,
                against: BOTH,
                aims: &[Aim::AtMost { of: Peer::Bare, by: Peer::Stentor, ratio: 1.03 }],
            },
        ],
        asides: &[("kernel, both ends", "kernel per connection, both ends")],
    },
    Scenario {
        name: "memory-private",
        title: "Idle memory: a private channel each",
        work: Work::IdlePrivate,
        load: "idle --window 1 --own-channel private",
        is_timed: false,
        readings: &[Reading {
            against: &[],
            ..user_bytes(&[Aim::Under { by: Peer::Stentor, value: 300.0 }])
        }],
        asides: &[("kernel, both ends", "kernel per connection, both ends")],
    },
];

const CONNECT: &[Scenario] = &[Scenario {
    name: "connect",
    title: "Connect to subscribed: 10,000 connections to one private channel, 100 under way, twice",
    work: Work::Connect,
    load: "connect --connections 10000 --rounds 2",
    is_timed: false,
    readings: &[Reading {
        title: "connections per server CPU-second",
        figure: "connections per server CPU-second",
        best: Best::Most,
        against: &[Peer::Bare],
        aims: &[at_least(0.7, Peer::Bare)],
    }],
    asides: &[
        ("connections per second", "connections per second"),
        ("p99, µs", "connect to subscribed p99"),
    ],
}];

const TWO: Aim = Aim::AtLeast { of: Peer::Stentor, by: Peer::StentorTwo, ratio: 0.9 };

const REACTORS: &[Scenario] = &[
    Scenario {
        name: "reactors-paced",
        title: "One reactor and two: 1,000 subscribers, 20 events a second of 100 bytes",
        work: Work::Reactors,
        load: PACED,
        is_timed: true,
        readings: &[deliveries(&[TWO], &[Peer::Bare, Peer::Stentor])],
        asides: PACED_ASIDES,
    },
    Scenario {
        name: "reactors-flat-out",
        title: "One reactor and two: 1,000 subscribers, events of 100 bytes flat out, at most 4 events' worth of deliveries \
                under way",
        work: Work::Reactors,
        load: FLAT_OUT,
        is_timed: true,
        readings: &[
            deliveries(&[], &[Peer::Bare, Peer::Stentor]),
            // Whatever is in a `send`: of two reactors one is behind, and the other finds nothing to join (decision 0015).
            Reading {
                title: "segments per server CPU-second",
                figure: "segments per server CPU-second",
                best: Best::Most,
                against: &[Peer::Bare, Peer::Stentor],
                aims: &[TWO],
            },
        ],
        asides: FLAT_OUT_ASIDES,
    },
];

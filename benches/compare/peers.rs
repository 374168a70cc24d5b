//! Who is measured, what each can do, and what it does less than Stentor does for the same figure.

use clap::ValueEnum;

use super::goals::Work;

/// A server.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Peer {
    Bare,
    Stentor,
    #[value(skip)]
    StentorTwo,
    Bun,
    NodeWs,
    Nchan,
    TokioTungstenite,
    Fastwebsockets,
    Sockudo,
    Reverb,
    Ratchet,
}

/// Where a server does a work, and in which words it is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// The greeting and the confirmation of the Pusher protocol, without a subscription behind them.
    Canned,
    /// Plain WebSocket at this path.
    Plain(&'static str),
    /// The Pusher protocol, and events over its HTTP API.
    Pusher,
}

impl Peer {
    /// In the order of a round: ours right between the bare loop and Bun, whom it is compared with.
    pub(crate) const ALL: [Self; 11] = [
        Self::Bare,
        Self::Stentor,
        Self::StentorTwo,
        Self::Bun,
        Self::NodeWs,
        Self::Nchan,
        Self::TokioTungstenite,
        Self::Fastwebsockets,
        Self::Sockudo,
        Self::Reverb,
        Self::Ratchet,
    ];

    /// What it is called on the command line, in records and in `benches/peers`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Stentor => "stentor",
            Self::StentorTwo => "stentor-two",
            Self::Bun => "bun",
            Self::NodeWs => "node-ws",
            Self::Nchan => "nchan",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::Fastwebsockets => "fastwebsockets",
            Self::Sockudo => "sockudo",
            Self::Reverb => "reverb",
            Self::Ratchet => "ratchet",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Stentor => "Stentor",
            Self::StentorTwo => "Stentor, two reactors",
            Self::Bun => "Bun",
            Self::NodeWs => "Node ws",
            Self::Nchan => "nchan",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::Fastwebsockets => "fastwebsockets",
            Self::Sockudo => "Sockudo",
            Self::Reverb => "Reverb",
            Self::Ratchet => "Ratchet",
        }
    }

    /// What it does less than Stentor does in the same scenario.
    pub(crate) fn less(self, work: Work) -> &'static str {
        match (self, work) {
            (Self::Stentor, Work::Echo) => "the library alone (`examples/echo`)",
            (Self::Stentor | Self::StentorTwo, _) => "",
            (Self::Bare, Work::Connect) => {
                "canned answers, no check of anything: what the kernel costs"
            }
            (Self::Bare, Work::Idle) => "accepts and registers: what the kernel costs",
            (Self::Bare, Work::Echo) => {
                "one `send` for all that came at once, no check of anything: what the kernel costs"
            }
            (Self::Bare, _) => {
                "one `send` for each message, no check of anything: what the kernel costs"
            }
            (_, Work::Echo) => self.less_in_echo(),
            (Self::Bun | Self::NodeWs | Self::Ratchet, _) => {
                "one room, no channels, signatures, presence or HTTP API; a client publishes"
            }
            (Self::Nchan, _) => "no signatures, no presence; a client publishes",
            (Self::TokioTungstenite | Self::Fastwebsockets | Self::Sockudo | Self::Reverb, _) => "",
        }
    }

    /// What the library beneath Stentor does for each connection whatever its handler does, and this one does not, as it runs
    /// in `benches/peers`.
    fn less_in_echo(self) -> &'static str {
        match self {
            Self::Bun => "pings nobody and closes nobody for being silent",
            Self::NodeWs | Self::Ratchet => {
                "no topics; pings nobody and closes nobody for being silent; no limit of what waits to be written"
            }
            Self::TokioTungstenite | Self::Fastwebsockets => {
                "no topics; pings nobody and closes nobody for being silent; reads nothing while it writes, so nothing \
                 queues"
            }
            _ => "",
        }
    }

    /// Whether it takes so long to get, or so much, that it must be asked for.
    pub(crate) fn is_on_request(self) -> bool {
        matches!(self, Self::Sockudo | Self::Reverb | Self::Ratchet)
    }

    /// `None`: it does not do this work.
    pub(crate) fn door(self, work: Work) -> Option<Door> {
        match (self, work) {
            (Self::StentorTwo, work) => (work == Work::Reactors).then_some(Door::Pusher),
            (Self::Bare, Work::Reactors) => Some(Door::Plain("/room")),
            (Self::Stentor, Work::Echo) => Some(Door::Plain("/")),
            (Self::Stentor, _) => Some(Door::Pusher),
            (_, Work::Reactors) => None,
            (Self::Sockudo | Self::Reverb, work) => (work != Work::Echo).then_some(Door::Pusher),
            (Self::Bare, Work::Connect) => Some(Door::Canned),
            (_, Work::Connect | Work::IdlePrivate) => None,
            (Self::Nchan, Work::Echo) => None,
            (Self::TokioTungstenite | Self::Fastwebsockets, work) => {
                (work == Work::Echo).then_some(Door::Plain("/"))
            }
            (Self::Bare | Self::Bun | Self::NodeWs | Self::Ratchet, Work::Echo) => {
                Some(Door::Plain("/echo"))
            }
            (Self::Bare | Self::Bun | Self::NodeWs | Self::Nchan | Self::Ratchet, _) => {
                Some(Door::Plain("/room"))
            }
        }
    }
}

//! What the Pusher room calls out through. Other rooms implement these traits; this room never learns which.

use std::fmt;

use super::apps::{App, Apps};
use crate::{Request, Response, SocketId};

/// Whoever serves the requests that are none of the protocol's: the page at `/`, metrics.
pub trait Pages {
    /// The answer, by the apps that are in force; or `None` for a request that is not of these pages either; it then gets a 404.
    fn page(&self, apps: &Apps, request: &Request<'_>) -> Option<Response>;
}

impl fmt::Debug for dyn Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

/// Whoever wants to hear what happens on the channels of an app: webhooks.
///
/// It is called on the cores' own threads in the middle of their turns, so it must not wait for anything. What happens
/// to one channel is told in the order in which it happened, whichever cores tell it.
pub trait Observer {
    /// Whether anything of the app is wanted. Asked first, so that for nobody nothing is built.
    fn wants(&self, app: &App) -> bool;

    /// Something has happened.
    fn note(&self, app: &App, fact: Fact<'_>);
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// What has happened on a channel of an app. The server's own channels (`#server-to-user-…`) are never told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact<'f> {
    /// It has its first subscriber.
    ChannelOccupied {
        /// Its name.
        channel: &'f str,
    },
    /// It lost its last subscriber.
    ChannelVacated {
        /// Its name.
        channel: &'f str,
    },
    /// A user is on a presence channel, and was not before.
    MemberAdded {
        /// The channel's name.
        channel: &'f str,
        /// Who, as a string whatever the application wrote.
        user_id: &'f str,
    },
    /// A user has left a presence channel with the last connection.
    MemberRemoved {
        /// The channel's name.
        channel: &'f str,
        /// Who, as a string whatever the application wrote.
        user_id: &'f str,
    },
    /// A client sent an event to the others.
    ClientEvent {
        /// The channel's name.
        channel: &'f str,
        /// The event's name.
        event: &'f str,
        /// Its data, as the JSON that came; `None` if it has none.
        data: Option<&'f str>,
        /// Who sent it.
        socket_id: SocketId,
        /// As whom, on a presence channel; a string whatever the application wrote.
        user_id: Option<&'f str>,
    },
    /// Somebody came onto a cache channel that has no last event.
    CacheMiss {
        /// The channel's name.
        channel: &'f str,
    },
    /// A channel's number of subscribers has changed.
    SubscriptionCount {
        /// The channel's name.
        channel: &'f str,
        /// The new number.
        subscription_count: usize,
    },
}

/// Which of the facts one is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FactKind {
    /// [`Fact::ChannelOccupied`].
    ChannelOccupied,
    /// [`Fact::ChannelVacated`].
    ChannelVacated,
    /// [`Fact::MemberAdded`].
    MemberAdded,
    /// [`Fact::MemberRemoved`].
    MemberRemoved,
    /// [`Fact::ClientEvent`].
    ClientEvent,
    /// [`Fact::CacheMiss`].
    CacheMiss,
    /// [`Fact::SubscriptionCount`].
    SubscriptionCount,
}

impl FactKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// Its name in Pusher's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl<'f> Fact<'f> {
    /// Which it is.
    pub fn kind(&self) -> FactKind {
        match self {
            Self::ChannelOccupied { .. } => FactKind::ChannelOccupied,
            Self::ChannelVacated { .. } => FactKind::ChannelVacated,
            Self::MemberAdded { .. } => FactKind::MemberAdded,
            Self::MemberRemoved { .. } => FactKind::MemberRemoved,
            Self::ClientEvent { .. } => FactKind::ClientEvent,
            Self::CacheMiss { .. } => FactKind::CacheMiss,
            Self::SubscriptionCount { .. } => FactKind::SubscriptionCount,
        }
    }

    /// The channel it is about.
    pub fn channel(&self) -> &'f str {
        match self {
            Self::ChannelOccupied { channel }
            | Self::ChannelVacated { channel }
            | Self::MemberAdded { channel, .. }
            | Self::MemberRemoved { channel, .. }
            | Self::ClientEvent { channel, .. }
            | Self::CacheMiss { channel }
            | Self::SubscriptionCount { channel, .. } => channel,
        }
    }
}

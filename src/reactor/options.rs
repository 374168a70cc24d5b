//! The engine's settings and limits. Each has a name, a default and a line in `docs/reference/config.md`.

use std::time::Duration;

use crate::http;
use crate::ws;

/// How long a connection may be silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// After this much silence the connection is pinged. At most 50 minutes.
    pub ping_after: Duration,
    /// After this much further silence it is given up. At most 50 minutes.
    pub close_after: Duration,
}

/// Everything the engine can be told. Build it with `..Options::default()`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reactor threads; 0 means one per CPU core of the machine. At most [`Options::MOST_CORES`].
    pub cores: usize,
    /// Whether each reactor is pinned to a CPU core.
    pub pin: bool,
    /// Whether each reactor thread has a table of descriptors of its own, so that the limit of open files holds for each of
    /// them and not for all together. Linux only.
    ///
    /// A handler then sees what was open when [`crate::Server::run`] was called and what is opened on its own core's
    /// thread, and nothing that other threads open later: hand it no socket or file, and register signal handlers that write
    /// to a pipe before. Sockets of other parts of the process that are open at that moment stay open until the server ends,
    /// whoever closes them.
    pub own_descriptor_tables: bool,
    /// Heads, headers and bodies of requests.
    pub http: http::Limits,
    /// Messages of WebSocket peers.
    pub ws: ws::Limits,
    /// When and how hard messages are compressed for clients that offer permessage-deflate; `None`: no offer is agreed to.
    pub compression: Option<ws::Compression>,
    /// How long a request may take to arrive, from its first byte (or from accept) to its last.
    pub request_deadline: Duration,
    /// How long an HTTP connection may wait between requests.
    pub keep_alive: Duration,
    /// How long a WebSocket peer may take from the first byte of a message to its last, however many fragments it has.
    pub message_deadline: Duration,
    /// How long a peer may take to answer our close frame, and to take what is still queued for it.
    pub closing_deadline: Duration,
    /// How long [`crate::Stopper::stop`] waits for connections to end before it cuts them.
    pub shutdown_deadline: Duration,
    /// How many WebSockets one core of a stopping server closes in a second; more, if all could not be told in half of
    /// `shutdown_deadline`.
    pub shutdown_rate: usize,
    /// How long a stopping server still accepts once those who were there are gone, if there were any: they may come back
    /// at once, and a client that is refused stays away for longer than one that is sent away again.
    pub shutdown_linger: Duration,
    /// Silence, unless [`crate::Handler::patience`] says otherwise for a connection.
    pub patience: Patience,
    /// What one connection may have queued, in bytes, before it is closed as a slow consumer, unless
    /// [`crate::Handler::outbox_bytes`] says otherwise for it.
    pub outbox_bytes: usize,
    /// The close code of a slow consumer; it should make clients come back.
    pub slow_consumer_code: ws::CloseCode,
    /// Topics one connection may be subscribed to.
    pub subscriptions: usize,
    /// The length of a topic's name, in bytes.
    pub topic_bytes: usize,
    /// Posts that may wait in one core's mailbox.
    pub mailbox_posts: usize,
    /// Bytes of events that may be under way to one core; past it, publishing answers [`crate::PublishError::Busy`]. From
    /// half of it on WebSockets are not read, so that they wait rather than be refused.
    pub in_flight_bytes: usize,
    /// The receive buffer, one per core. At most half of `outbox_bytes`, so that the answers to one read of a peer that
    /// asks without reading never make it a slow consumer.
    pub read_buffer_bytes: usize,
    /// How many connections one turn sends to before it looks at the sockets again.
    pub flush_slice: usize,
    /// How many of an event's subscribers one turn sends to. An event for more of them on one core goes round in slices of
    /// that many, each of which gets all that was published since its last.
    pub fanout_slice: usize,
    /// How many connections one turn accepts.
    pub accept_slice: usize,
}

impl Options {
    /// As many cores as a [`crate::ConnId`] can name.
    pub const MOST_CORES: usize = 256;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cores: 0,
            pin: false,
            own_descriptor_tables: false,
            http: http::Limits { head_bytes: 16 * 1024, headers: 64, body_bytes: 1024 * 1024 },
            ws: ws::Limits { message_bytes: 1024 * 1024 },
            compression: Some(ws::Compression::default()),
            request_deadline: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            message_deadline: Duration::from_secs(30),
            closing_deadline: Duration::from_secs(5),
            shutdown_deadline: Duration::from_secs(5),
            shutdown_rate: 10_000,
            shutdown_linger: Duration::from_secs(1),
            patience: Patience {
                ping_after: Duration::from_secs(60),
                close_after: Duration::from_secs(30),
            },
            outbox_bytes: 1024 * 1024,
            slow_consumer_code: ws::CloseCode::TRY_AGAIN_LATER,
            subscriptions: 1000,
            topic_bytes: 512,
            mailbox_posts: 8 * 1024,
            in_flight_bytes: 64 * 1024 * 1024,
            read_buffer_bytes: 512 * 1024,
            flush_slice: 512,
            fanout_slice: 64,
            accept_slice: 256,
        }
    }
}

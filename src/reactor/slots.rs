//! Connections in a slab: 64 bytes each, one cache line, whatever the connection is.
//!
//! What only some connections need (an HTTP request that is being read, bytes the socket did not take, a deadline)
//! is a side record that exists while it is needed. The socket itself stands in a column of its own beside the slots
//! (`shard.rs`), so that nothing here depends on what kind of socket it is.

use std::time::Instant;

use super::chains::Chain;
use super::outbox::Outbox;
use super::subscriptions::Held;
use crate::fanout::conn_id::{ConnId, SocketId};
use crate::http;
use crate::ws;

/// No side record.
pub(crate) const NO_SIDE: u32 = u32::MAX;

/// What a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It has not been upgraded.
    Http,
    /// A WebSocket; `Slot::ws` knows where it stands.
    Ws,
    /// All has been said: what is queued is written, then our side is finished.
    Ending,
    /// Our side is finished. What still comes is read and dropped until the peer finishes too: closing with unread
    /// bytes would reset the connection and might cost the peer our last words.
    Finished,
}

/// What the handler knows of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Nothing: `on_open` was not called, or `on_close` was.
    Out,
    /// It is open.
    In,
    /// It is open, and was when the server began to stop.
    Leaving,
}

/// One connection.
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) ws: ws::Protocol,
    pub(crate) generation: u32,
    pub(crate) entropy: u32,
    /// The handler's own number.
    pub(crate) tag: u32,
    /// Index of the side record, or `NO_SIDE`.
    pub(crate) side: u32,
    pub(crate) held: Held,
    pub(crate) chain: Chain,
    pub(crate) phase: Phase,
    pub(crate) standing: Standing,
    /// It stands in the list of those to be read.
    pub(crate) is_ready: bool,
    /// It is not read until its outbox is smaller, or until its request is answered.
    pub(crate) is_paused: bool,
    /// It was pinged since it last gave a sign of life.
    pub(crate) is_pinged: bool,
    /// A pong came from it, ever.
    pub(crate) answers_pings: bool,
    /// Its socket took less than it was given: what follows goes through the outbox in its side record.
    pub(crate) has_outbox: bool,
    /// The peer has finished its side, whether we have read that far or not.
    pub(crate) is_peer_done: bool,
}

impl Slot {
    pub(crate) fn new(generation: u32, entropy: u32) -> Self {
        Self {
            ws: ws::Protocol::new(ws::Role::Server),
            generation,
            entropy,
            tag: 0,
            side: NO_SIDE,
            held: Held::default(),
            chain: Chain::default(),
            phase: Phase::Http,
            standing: Standing::Out,
            is_ready: false,
            is_paused: false,
            is_pinged: false,
            answers_pings: false,
            has_outbox: false,
            is_peer_done: false,
        }
    }

    /// `on_open` was called and `on_close` was not.
    pub(crate) fn is_open(&self) -> bool {
        self.standing != Standing::Out
    }

    /// Whether messages may be sent.
    pub(crate) fn is_sendable(&self) -> bool {
        self.phase == Phase::Ws && self.ws.state() == ws::State::Open
    }

    pub(crate) fn socket_id(&self, conn: ConnId) -> SocketId {
        SocketId { conn, entropy: self.entropy }
    }
}

/// What only some connections need.
#[derive(Default)]
pub(crate) struct Side {
    /// In phase `Http`; taken out while one of its requests is handled.
    pub(crate) http: Option<Box<http::Protocol>>,
    pub(crate) outbox: Outbox,
    /// When the connection's patience with its peer ends.
    pub(crate) deadline: Option<Instant>,
    /// The earliest entry of this connection in the heap of deadlines. Who forgot it would add one with each deadline.
    pub(crate) in_heap: Option<Instant>,
    /// Part of a request has come, and `deadline` was set for it.
    pub(crate) is_request_begun: bool,
    /// A request was served.
    pub(crate) has_asked: bool,
}

impl Side {
    pub(crate) fn is_needed(&self) -> bool {
        let is_timed = self.deadline.is_some() || self.in_heap.is_some();
        self.http.is_some() || !self.outbox.is_empty() || is_timed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (64, 64));
        // The slab marks vacant entries in a niche of the slot: still one line.
        let info = allocation_counter::measure(|| drop(slab::Slab::<Slot>::with_capacity(1000)));
        assert_eq!(info.bytes_total, 64 * 1000);
    }
}

//! One set of counters per core, each on cache lines of its own: a core adds to its set alone, anybody may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All counters, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name under which it is exposed.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    Accepted => "accepted",
    /// Times that accepting backed off because descriptors or memory ran out.
    AcceptBackOffs => "accept_back_offs",
    /// API requests refused for their signature.
    ApiUnauthorized => "api_unauthorized",
    /// API requests refused for anything else.
    ApiRefused => "api_refused",
    /// API events published; each channel of an event counts.
    ApiEvents => "api_events",
    /// Pusher clients ended because they had not shown in time that the application knows them.
    AuthorisationsLate => "authorisations_late",
    /// Messages of Pusher clients answered with an error.
    ClientErrors => "client_errors",
    /// Messages compressed: an event once, however many subscribers take it so.
    Compressed => "compressed",
    /// Connections ended, of any kind.
    Closed => "closed",
    /// Connections cut because the peer did not finish its side, or answer our close frame, in time.
    ClosesLate => "closes_late",
    /// Connections closed as they were accepted, because a core has as many as it can name.
    ConnectionsRefused => "connections_refused",
    /// Connections that were left when the end of the server was due.
    CutAtEnd => "cut_at_end",
    /// Events put into a subscriber's chain.
    Deliveries => "deliveries",
    /// Upgrade requests that were no sound handshake.
    HandshakesRefused => "handshakes_refused",
    /// Requests that broke HTTP or passed a limit.
    HttpErrors => "http_errors",
    /// HTTP connections ended because no request began for too long.
    HttpIdleClosed => "http_idle_closed",
    /// Requests answered.
    HttpRequests => "http_requests",
    /// WebSockets given up for their silence.
    IdleClosed => "idle_closed",
    /// WebSockets failed because a message that had begun did not end in time.
    MessagesLate => "messages_late",
    /// Callbacks that panicked.
    Panics => "panics",
    /// Pings of clients, each answered by a pong.
    PingsReceived => "pings_received",
    /// Events ordered by this core as their topic's home.
    Published => "published",
    /// Publishes refused because too much was under way.
    PublishesRefused => "publishes_refused",
    /// Turns in which connections were not read, because too much was under way to some core.
    ReadsHeld => "reads_held",
    /// Times that a connection was not read any more until it had taken some of what waits for it.
    ReadsPaused => "reads_paused",
    /// Requests that had begun and did not end in time.
    RequestsLate => "requests_late",
    /// Connections closed because they did not read.
    SlowConsumers => "slow_consumers",
    /// Connections that ended because their socket failed: resets and the like.
    SocketErrors => "socket_errors",
    /// Subscriptions begun: a connection and a topic that it was not on.
    Subscriptions => "subscriptions",
    /// WebSockets refused: by the handler with a status, or in-band: unknown app, over quota, bad protocol version.
    UpgradesRefused => "upgrades_refused",
    /// WebSockets opened.
    WsOpened => "ws_opened",
    /// Messages received.
    WsMessages => "ws_messages",
    /// WebSockets failed because the peer broke RFC 6455 or passed a limit.
    WsErrors => "ws_errors",
    /// Webhook events that their targets have taken.
    WebhookEvents => "webhook_events",
    /// Webhook events lost because a queue was full.
    WebhooksDropped => "webhooks_dropped",
    /// Attempts to deliver a webhook that failed.
    WebhookFailures => "webhook_failures",
    /// Webhook events given up after their retries, or at the end of the server.
    WebhooksGivenUp => "webhooks_given_up",
}

/// The counters of one core. 128 bytes apart from the next core's: two lines, because prefetchers fetch pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::ALL.len()])
    }
}

impl Counters {
    /// Adds; to be called by the owning core alone, which is why a plain load and store suffice.
    pub fn add(&self, counter: Counter, number: u64) {
        let value = &self.0[counter as usize];
        value.store(value.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

/// The counters of all cores, and one set for the threads that own no core. Cheap to clone; readable from any thread.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<[Counters]>);

impl Metrics {
    /// Counters for so many cores, all 0.
    pub fn new(cores: usize) -> Self {
        Self((0..=cores).map(|_| Counters::default()).collect())
    }

    /// The counters of one core.
    pub fn core(&self, core: usize) -> &Counters {
        &self.0[core]
    }

    /// Adds from a thread that owns no core, or for one; any number of them may.
    pub fn add(&self, counter: Counter, number: u64) {
        if let Some(outside) = self.0.last() {
            outside.0[counter as usize].fetch_add(number, Ordering::Relaxed);
        }
    }

    /// The sum over all cores and whatever else counted.
    pub fn total(&self, counter: Counter) -> u64 {
        self.0.iter().map(|counters| counters.get(counter)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_all_cores() {
        let metrics = Metrics::new(3);
        metrics.core(0).add(Counter::Accepted, 2);
        metrics.core(2).add(Counter::Accepted, 5);
        metrics.core(2).add(Counter::Closed, 1);
        metrics.add(Counter::Accepted, 3);
        metrics.add(Counter::Accepted, 1);
        assert_eq!((metrics.total(Counter::Accepted), metrics.total(Counter::Closed)), (11, 1));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());
    }
}

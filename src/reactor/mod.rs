//! One mio loop per core: sockets, time, memory. Knows no Pusher; the only room that names mio.
//!
//! ```text
//!            turn.rs      the loop: wait → accept → read and handle → mailbox → review → timers → wake others → flush
//!               │   (descriptors.rs: its own table of descriptors, if that is asked for)
//!   listener ─▶ shard.rs  all that one core owns, generic over its byte streams
//!               ├─ connection.rs   one connection: bytes in, callbacks out; the end of it
//!               ├─ review.rs       something new: notice is taken, then each connection is looked at
//!               ├─ flush.rs        the only place that writes
//!               └─ core.rs         what handlers may touch: everything but the sockets
//!                    ├─ audience.rs         its subscribers, and its posts to homes
//!                    ├─ slots.rs           64 bytes for each connection
//!                    ├─ subscriptions.rs   which topics a connection is on
//!                    ├─ chains.rs          what this turn sends, and to whom
//!                    ├─ rounds.rs          what goes round a large audience, slice by slice
//!                    ├─ outbox.rs          what a socket did not take
//!                    ├─ timers.rs          a sweep for silence, a heap for deadlines
//!                    ├─ lateness.rs        who takes too long, judged by what was read
//!                    └─ ending.rs          how a core ends, in order
//! ```

mod audience;
mod chains;
mod connection;
pub(crate) mod core;
pub(crate) mod descriptors;
pub(crate) mod ending;
pub(crate) mod entropy;
mod flush;
pub mod handler;
mod lateness;
pub(crate) mod listener;
pub mod options;
mod outbox;
mod review;
mod rounds;
pub(crate) mod shard;
pub mod simulation;
mod slots;
mod stream;
mod subscriptions;
#[cfg(test)]
mod tests;
pub(crate) mod timers;
pub(crate) mod turn;

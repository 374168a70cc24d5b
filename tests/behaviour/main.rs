//! The engine as its clients see it: real sockets on port 0, real threads, every wait with a deadline.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cross_core;
mod dialogues;
mod faults;
mod http;
mod room;
mod support;
mod ws_client;

//! The Pusher server as its clients and back ends see it: real sockets on port 0, four cores whatever the machine has,
//! every wait with a deadline. Needs the feature `pusher`.
//!
//! ```text
//!   backend ──signed HTTP──▶ server ◀──WebSocket── client        server also tells what was counted, and of cores
//! ```
#![cfg(feature = "pusher")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api_channels;
mod api_members;
mod api_users;
mod backend;
mod bad_messages;
mod bad_requests;
mod cache;
mod client;
mod client_events;
mod compression;
mod connecting;
mod counts;
mod delivery;
mod departures;
mod floods;
mod limits;
mod liveness;
mod memory;
mod origins;
mod php_recorded;
mod presence;
mod rates;
mod receiver;
mod reload;
mod requests;
mod server;
mod subscribing;
mod transcripts;
mod users;
mod webhooks;
mod wire;

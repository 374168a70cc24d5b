//! HTTP/1.1, server role, enough for upgrades, the API and webhooks; sans-IO.
//!
//! ```text
//!   bytes ──▶ Protocol::receive ──▶ [ head │ body │ next head … ]
//!                                      │      │
//!     request_line.rs, request.rs ◀────┘      └───▶ body.rs (chunks undone in place)
//!                            │                         │
//!                            └──▶ Protocol::next ◀─────┘ ──▶ Request ──▶ the application
//!   bytes ◀── Protocol::respond ◀──────────── Response ◀────────────────────┘
//! ```
//!
//! Knows no socket, clock, thread or randomness, and nothing a peer sends can panic it. As strict as a proxy: where
//! RFC 9112 lets a server choose between repairing and refusing, it refuses, because two readers that repair in
//! different ways see different requests.
#![deny(clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod body;
pub mod error;
pub mod percent;
pub mod protocol;
pub mod request;
mod request_line;
pub mod response;

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub use body::fuzz_bodies;

pub use error::ProtocolError;
pub use protocol::Protocol;
pub use request::{Limits, Request, Version};
pub use response::Response;

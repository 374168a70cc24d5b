//! permessage-deflate (RFC 7692): messages travel compressed, each by itself.
//!
//! ```text
//!  Sec-WebSocket-Extensions ──▶ negotiation ──▶ Agreement, 1 byte, in `Protocol`
//!
//!  payload ─▶ codec::Deflater ─▶ frame with RSV1           frames with RSV1 first ─▶ as they came ─▶ codec::Inflater ─▶ message
//!             one per core                                                         (limited)       one per core, limited
//! ```
//!
//! Neither side carries its window over from one message to the next (`server_no_context_takeover`,
//! `client_no_context_takeover`; the server insists on both). So a compressed message means the same to every connection, and
//! `prepared.rs` compresses an event once for all of them; and a connection keeps no window of its own, so one inflater
//! serves a core. Knows no frames.

mod codec;
mod negotiation;

pub(super) use codec::Undo;
pub use codec::{Compression, Deflater, Inflater};
pub use negotiation::{Agreement, WindowBits};
pub(super) use negotiation::{Answer, OFFER, agree, check_answer};

#[cfg(any(test, fuzzing))]
pub use {codec::fuzz_deflate, negotiation::fuzz_negotiation};

//! Pusher protocol 7 as a Handler: what a client and a back end say to each other, and nothing of how bytes move.
//!
//! ```text
//!  client ──▶ message ──▶ conversation ──▶ engine: subscribe      back end ──▶ api ──▶ engine: publish, ask
//!                │             │   ▲                                              │
//!             (pure)       signature, channel (pure)                          signature (pure)
//! ```
//!
//! A library user could have written this room: it uses only what the crate's front door exports. It must not know
//! Redis, webhooks or the dashboard; they come in through [`hooks`].

mod api;
pub mod apps;
mod bucket;
mod cache;
pub mod channel;
mod client;
pub mod compat;
mod conversation;
mod desk;
mod directory;
pub mod error;
pub mod hooks;
mod line;
pub mod message;
pub mod origins;
mod percent;
mod presence;
mod query;
mod reload;
pub mod signature;
#[cfg(test)]
mod tests;
mod users;
mod watchlist;

pub use apps::{App, Apps, AppsError};
pub use compat::{Compat, DuplicateSubscription, OverQuota, UserCountElsewhere, VacantUsers};
pub use conversation::{Options, Pusher};
pub use directory::{Answer, Directory, Note, Question, Refusal, Welcome, Word};
pub use directory::{Claim, Facts, User};
pub use hooks::{Fact, FactKind, Observer, Pages};
pub use origins::Origins;
pub use presence::{Member, MemberError};
pub use reload::{Incoming, Reload};
pub use users::UserError;

#[cfg(any(test, fuzzing))]
pub use {api::fuzz_events, percent::fuzz_percent};

//! Who must hear an event.
//!
//! ```text
//! subscribe on core A          publish on core B                 last subscriber leaves core A
//!   A: first local listener?     B: encode the frame once          A: Leave ─▶ H
//!      no  ─▶ done               B: Publish ─▶ H                   H: clears A; nobody left? the topic is gone,
//!      yes ─▶ Join ─▶ H          H: number it, remember it            the directory hears of it
//!   H: notes A, ─▶ Joined        H: Deliver ─▶ each listening core
//!   A: on_subscribed             each: its subscribers' chains
//! ```
//!
//! H is the topic's *home core*: `hash(name) % cores`. There the topic is ordered, counted and remembered, by one
//! thread and without a lock. `X ─▶ H` is a [`mailbox::Post`]; to oneself it goes through a queue of the core's own, so
//! that both ways keep the same order.
//!
//! Knows no socket and no clock; waking another core is a trait.

pub mod conn_id;
pub mod directory;
pub(crate) mod home;
pub mod mailbox;
pub(crate) mod names;
pub(crate) mod topics;

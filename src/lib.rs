//! Stentor: a WebSocket notification server, and the library it is made of.
//!
//! | layer | room | what it is |
//! |---|---|---|
//! | WIRE | [`http`] | HTTP/1.1, enough for upgrades, the API and webhooks; no socket, clock or thread |
//! | WIRE | [`ws`] | RFC 6455, both roles; no socket, clock or thread |
//!
//! A room imports only from rooms above it in this table.

pub mod http;
pub mod ws;

pub use http::{Request, Response};
pub use ws::{CloseCode, CloseFrame, Message, MessageKind, Prepared};

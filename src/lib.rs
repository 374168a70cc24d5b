//! Stentor: a WebSocket notification server, and the library it is made of.
//!
//! ```no_run
//! use stentor::{Conn, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
//!         conn.send(message);
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     Server::bind("127.0.0.1:8080")?.run(|_core| Echo)
//! }
//! ```
//!
//! # The rooms
//!
//! | layer | room | what it is |
//! |---|---|---|
//! | WIRE | [`http`] | HTTP/1.1, enough for upgrades, the API and webhooks; no socket, clock or thread |
//! | WIRE | [`ws`] | RFC 6455, both roles; no socket, clock or thread |
//! | ENGINE | [`fanout`] | who must hear an event: topics, their home cores, the mailboxes between cores |
//! | ENGINE | [`reactor`] | one mio loop per core: sockets, time, memory |
//! | ENGINE | [`server`] | [`Server`]: cores, pinning, shutdown; [`Publisher`] for other threads |
//! | PROTOCOL | `pusher` | the Pusher protocol as a [`Handler`]; behind the feature `pusher` |
//! | AROUND | `dashboard`, `webhooks` | the page at `/`; what happens on channels, told to back ends; behind the feature `pusher` |
//! | ASSEMBLY | `config`, `app`, `cli` | settings, the place where rooms meet, the command; behind the feature `pusher` |
//!
//! A room imports only from rooms above it in this table, and from `metrics`, which is a leaf.

pub mod fanout;
pub mod http;
pub mod metrics;
pub mod reactor;
pub mod server;
pub mod ws;

#[cfg(feature = "pusher")]
pub mod app;
#[cfg(feature = "pusher")]
pub mod cli;
#[cfg(feature = "pusher")]
pub mod config;
#[cfg(feature = "pusher")]
pub mod dashboard;
#[cfg(feature = "pusher")]
pub mod pusher;
#[cfg(feature = "pusher")]
pub mod webhooks;

pub use fanout::conn_id::{ConnId, SocketId, SocketIdError};
pub use fanout::directory::{Announcer, Directory, Keep};
pub use http::{Request, Response};
pub use reactor::handler::{
    Conn, ConnError, Handler, Idle, Outgoing, PublishError, SubscribeError, Upgrade,
};
pub use reactor::options::{Options, Patience};
pub use server::{Publisher, Reviewer, Server, Stopper};
pub use ws::{CloseCode, CloseFrame, Compression, Message, MessageKind, Prepared};

/// The code in these documents compiles, and runs where it can.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../docs/library.md")]
    struct Library;
    #[doc = include_str!("../README.md")]
    struct Readme;
}

/// The seeds of the fuzzers, as tests.
#[cfg(test)]
#[path = "../fuzz/seeds.rs"]
mod seeds;

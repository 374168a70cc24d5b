//! RFC 6455 and 7692, both roles, sans-IO: bytes in, meaning out.
#![deny(clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

pub mod client;
pub mod close;
pub mod deflate;
pub mod error;
mod extensions;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod message;
mod partial;
pub mod prepared;
pub mod protocol;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use deflate::{Agreement, Compression, Deflater, Inflater};
pub use error::{ProtocolError, SendError};
pub use message::{Limits, Message, MessageKind};
pub(crate) use prepared::Form;
pub use prepared::Prepared;
pub use protocol::{Event, Input, Protocol, Reply, Role, State};

//! Whole servers in memory (Pusher, its directory, the engine on several cores): what must be true whatever happens,
//! and what things cost.

mod costs;
mod guest;
mod order;
mod properties;
mod server;

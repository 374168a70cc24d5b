//! What is counted. A leaf: any room may use it.

pub mod counters;

pub use counters::{Counter, Counters, Metrics};

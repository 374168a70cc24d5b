//! The last event of each cache channel, as its home core keeps it: bounded in bytes, for a limited time.

use crate::Prepared;

/// The last events of the cache channels of one home core.
#[derive(Debug, Default)]
pub(super) struct Cache {}

impl Cache {
    /// The event of a channel, with the seconds that it has left.
    pub(super) fn get(&self, _topic: &str, _unix_seconds: u64) -> Option<(&Prepared, u64)> {
        None
    }
}

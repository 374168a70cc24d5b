//! The members of one presence channel, as its home core knows them.

use crate::ConnId;

/// Who is on a presence channel: users, each with the connections through which they are there.
#[derive(Debug, Default)]
pub(super) struct Members {}

impl Members {
    /// Distinct users.
    pub(super) fn users(&self) -> usize {
        0
    }

    /// Their ids as strings, in the order in which they joined.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Their `user_info`, as the JSON that came, in the same order.
    pub(super) fn infos(&self) -> impl Iterator<Item = Option<&str>> {
        std::iter::empty()
    }

    /// The connections of one user, oldest first.
    pub(super) fn connections_of(&self, _user_id: &str) -> impl Iterator<Item = ConnId> {
        std::iter::empty()
    }
}

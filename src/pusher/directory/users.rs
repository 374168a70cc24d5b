//! Who signs in and who goes, and what those who watch are told of it.

use super::super::users;
use super::{Directory, Welcome, Word};
use crate::{Announcer, ConnId};

impl Directory {
    /// A connection is signed in as a user.
    pub(super) fn sign_in(
        &mut self,
        topic: &str,
        conn: ConnId,
        user_data: Box<str>,
        out: &mut Announcer<'_, Self>,
    ) -> Welcome {
        if self.users.sign_in(topic, conn).is_some() {
            self.tell_watchers(topic, true, out);
        }
        Welcome::SignedIn { user_data }
    }

    /// A connection is gone, if it was signed in or watched.
    pub(super) fn forget(&mut self, topic: &str, conn: ConnId, out: &mut Announcer<'_, Self>) {
        if self.users.depart(topic, conn).is_some() {
            self.tell_watchers(topic, false, out);
        }
    }

    /// Ends the connections that are signed in as a user whose home this core is.
    pub(super) fn terminate_signed_in(&self, app: &str, user: &str, out: &mut Announcer<'_, Self>) {
        let mut topic = String::new();
        users::write_topic(app, user, &mut topic);
        self.users.connections(&topic).for_each(|conn| out.tell(conn, Word::Terminate));
    }

    fn tell_watchers(&self, topic: &str, is_online: bool, out: &mut Announcer<'_, Self>) {
        let Some(user) = users::user_of(topic) else { return };
        for conn in self.users.watchers(topic) {
            out.tell(conn, Word::Watched { user: user.into(), is_online });
        }
    }
}

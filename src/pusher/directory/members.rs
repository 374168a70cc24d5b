//! Who comes onto a presence channel and who goes, and what the others are told of it.

use super::super::hooks::Fact;
use super::super::message;
use super::super::presence::Member;
use super::{Directory, Refusal, Welcome, departures};
use crate::{Announcer, ConnId, MessageKind, Prepared};

impl Directory {
    /// A connection is a member. What is announced here goes to the others alone: the newcomer hears the list.
    pub(super) fn join(
        &mut self,
        topic: &str,
        conn: ConnId,
        member: Member,
        out: &mut Announcer<'_, Self>,
    ) -> Result<Welcome, Refusal> {
        let app = self.channel_of(topic).map(|(app, _)| app);
        let limit = app.and_then(|app| app.max_presence_members);
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        // Of an app that was just removed, too.
        let channel = topic.split_once('/').map_or("", |(_, channel)| channel);
        let last = self.last_event(topic, out.unix_seconds());
        let members = self.presence.entry(topic.to_owned()).or_default();
        let Ok(joined) = members.join(conn, member.clone(), limit) else {
            return Err(Refusal::Full { limit });
        };
        if let Some(removed) = &joined.removed {
            announce_removed(topic, channel, removed, out);
        }
        if joined.is_new {
            let added = prepared(|json| message::write_member_added(json, channel, &member));
            out.publish(topic, added);
        }
        let succeeded = prepared(|json| {
            message::write_presence_succeeded(json, channel, members);
        });
        if let Some(removed) = &joined.removed {
            self.note_removed(topic, removed);
        }
        if joined.is_new {
            self.note(topic, |channel| Fact::MemberAdded { channel, user_id: member.id() });
        }
        Ok(Welcome::Member { succeeded, user_id: member.literal().into(), last })
    }

    /// A connection is a member no more, if it was one. Its user, if it was the last one there, is missed at once or
    /// after the app's delay, and listed until then.
    pub(super) fn leave(&mut self, topic: &str, conn: ConnId, out: &mut Announcer<'_, Self>) {
        let delay = self.channel_of(topic).map_or(0, |(app, _)| app.member_removed_delay_seconds);
        let Some(members) = self.presence.get_mut(topic) else { return };
        if delay == 0 {
            let removed = members.leave(conn);
            return self.remove(topic, removed, out);
        }
        let due_at = departures::due_at(out.unix_seconds(), delay);
        if let Some(user_id) = members.linger(conn, due_at) {
            self.departures.note(topic, &user_id, due_at);
        }
    }

    /// Those whose delay is over, unless they are back, or left again later.
    pub(super) fn end_due_departures(&mut self, out: &mut Announcer<'_, Self>) {
        let now = out.unix_seconds();
        while let Some(who) = self.departures.next_due(now) {
            let (topic, user_id) = &*who;
            let Some(members) = self.presence.get_mut(&**topic) else { continue };
            if let Some(later) = members.missed_at(user_id).filter(|missed_at| *missed_at > now) {
                self.departures.note(topic, user_id, later);
                continue;
            }
            let removed = members.end_lingering(user_id, now);
            self.remove(topic, removed, out);
        }
    }

    /// A user is off a channel: the others are told, and a channel without any is forgotten.
    fn remove(&mut self, topic: &str, removed: Option<Member>, out: &mut Announcer<'_, Self>) {
        if self.presence.get(topic).is_some_and(|members| members.users() == 0) {
            self.presence.remove(topic);
        }
        if let (Some(removed), Some((_, channel))) = (removed, topic.split_once('/')) {
            announce_removed(topic, channel, &removed, out);
            self.note_removed(topic, &removed);
        }
    }

    fn note_removed(&self, topic: &str, member: &Member) {
        self.note(topic, |channel| Fact::MemberRemoved { channel, user_id: member.id() });
    }
}

fn announce_removed(
    topic: &str,
    channel: &str,
    member: &Member,
    out: &mut Announcer<'_, Directory>,
) {
    out.publish(topic, prepared(|json| message::write_member_removed(json, channel, member)));
}

pub(super) fn prepared(write: impl FnOnce(&mut Vec<u8>)) -> Prepared {
    let mut json = Vec::new();
    write(&mut json);
    Prepared::new(MessageKind::Text, &json)
}

//! The members of one presence channel, as its home core knows them. Pure.
//!
//! ```text
//!   by_id   "7" ──▶ user 3                   a user is one member, however many connections it has there
//!   users   … ⇄ 3 ⇄ …    in join order       user 3: seats 0 ⇄ 1 in join order; the first one's data is shown
//!                                            or none: gone, and listed until it is missed
//!   conns   conn ──▶ (user 3, seat 1)
//! ```
//!
//! Joining and leaving look at one user and one seat, never at all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::line::Line;
use super::message;
use crate::ConnId;

/// Who a subscriber is, as the application wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    id: Arc<str>,
    literal: Box<str>,
    info: Option<Box<str>>,
}

impl Member {
    /// Reads the `channel_data` of a subscription. Its `user_info` stays the JSON that came.
    pub(super) fn read(channel_data: &str, limits: MemberLimits) -> Result<Self, MemberError> {
        let (bytes, limit) = (channel_data.len(), limits.bytes);
        if bytes > limit {
            return Err(MemberError::TooBig { bytes, limit });
        }
        if !message::nests_at_most(channel_data.as_bytes(), message::MOST_NESTED) {
            return Err(MemberError::NotJson);
        }
        let data: ChannelData<'_> =
            message::parse_object(channel_data).map_err(|_| MemberError::NotJson)?;
        let literal = data.user_id.ok_or(MemberError::NoUserId)?.get();
        let id = id_of(literal).ok_or(MemberError::UserIdKind)?;
        let (characters, limit) = (id.chars().count(), limits.user_id_characters);
        if characters > limit {
            return Err(MemberError::UserIdTooLong { characters, limit });
        }
        let info = data.user_info.map(|info| info.get().into());
        Ok(Self { id: id.into(), literal: literal.into(), info })
    }

    /// A user that the connection is signed in as.
    pub(super) fn signed_in(id: &str, info: Option<&str>) -> Self {
        let mut literal = Vec::new();
        message::write_string(&mut literal, id);
        let literal = String::from_utf8_lossy(&literal).into();
        Self { id: id.into(), literal, info: info.map(Into::into) }
    }

    /// The user's identity: `2` and `"2"` are one user.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `user_id` as the JSON that came, a string or an integer: apps compare it with `===`.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// The `user_info` as the JSON that came.
    pub fn info(&self) -> Option<&str> {
        self.info.as_deref()
    }
}

#[derive(serde::Deserialize)]
struct ChannelData<'d> {
    #[serde(borrow, default)]
    user_id: Option<&'d RawValue>,
    #[serde(borrow, default)]
    user_info: Option<&'d RawValue>,
}

/// The string form of a `user_id`: what a JSON string holds, or the digits of an integer.
pub(super) fn id_of(literal: &str) -> Option<String> {
    if literal.starts_with('"') {
        return serde_json::from_str::<String>(literal).ok().filter(|id| !id.is_empty());
    }
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| literal.to_owned())
}

/// How big a member may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MemberLimits {
    /// The whole `channel_data`.
    pub(super) bytes: usize,
    pub(super) user_id_characters: usize,
}

/// Why a `channel_data` names no member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberError {
    /// There is none, and the connection is not signed in.
    Missing,
    /// It has no `user_id`.
    NoUserId,
    /// It is not a JSON object.
    NotJson,
    /// It is too long.
    TooBig {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Its `user_id` is neither a string with something in it nor an integer.
    UserIdKind,
    /// Its `user_id` is too long.
    UserIdTooLong {
        /// Its length, in characters.
        characters: usize,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "a presence channel needs channel_data with a user_id, or a connection that is signed in",
            ),
            Self::NoUserId => f.write_str("channel_data has no user_id"),
            Self::NotJson => f.write_str("channel_data is not a JSON object"),
            Self::TooBig { bytes, limit } => {
                write!(f, "channel_data has {bytes} bytes; {limit} are allowed")
            }
            Self::UserIdKind => f.write_str("the user_id must be a string or an integer"),
            Self::UserIdTooLong { characters, limit } => {
                write!(f, "the user_id has {characters} characters; {limit} are allowed")
            }
        }
    }
}

impl std::error::Error for MemberError {}

/// Who is on a presence channel: users, each with the connections through which they are there.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: HashMap<Arc<str>, usize>,
    users: Line<User>,
    conns: HashMap<ConnId, Seat>,
}

/// At least one seat, or gone.
#[derive(Debug, Default)]
struct User {
    seats: Line<(ConnId, Member)>,
    /// There while it has no seat.
    gone: Option<Gone>,
}

/// A user who has left and is not missed yet.
#[derive(Debug)]
struct Gone {
    member: Member,
    /// When it is missed.
    due_at: u64,
}

impl User {
    fn shown(&self) -> Option<&Member> {
        let gone = self.gone.as_ref().map(|gone| &gone.member);
        self.seats.first().map(|(_, member)| member).or(gone)
    }
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    user: usize,
    seat: usize,
}

/// What a join has changed for the others.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Joined {
    /// The user was not there before.
    pub(super) is_new: bool,
    /// The connection was another user's last one until now.
    pub(super) removed: Option<Member>,
}

/// There are as many users as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

impl Members {
    /// A connection is there as that member. If it was there already, its data is renewed and its place kept.
    pub(super) fn join(
        &mut self,
        conn: ConnId,
        member: Member,
        most_users: usize,
    ) -> Result<Joined, Full> {
        let known = self.by_id.get(&member.id).copied();
        let before = self.conns.get(&conn).copied();
        if let Some(seat) = before.filter(|seat| Some(seat.user) == known) {
            let user = self.users.get_mut(seat.user);
            if let Some(kept) = user.and_then(|user| user.seats.get_mut(seat.seat)) {
                kept.1 = member;
            }
            return Ok(Joined { is_new: false, removed: None });
        }
        let frees = before.and_then(|seat| self.users.get(seat.user));
        let frees = frees.is_some_and(|user| user.seats.len() == 1);
        if known.is_none() && self.users() - usize::from(frees) >= most_users {
            return Err(Full);
        }
        let removed = self.leave(conn);
        let user = known.unwrap_or_else(|| self.users.push(User::default()));
        if known.is_none() {
            self.by_id.insert(Arc::clone(&member.id), user);
        }
        if let Some(kept) = self.users.get_mut(user) {
            kept.gone = None;
            let seat = kept.seats.push((conn, member));
            self.conns.insert(conn, Seat { user, seat });
        }
        Ok(Joined { is_new: known.is_none(), removed })
    }

    /// A connection is there no more. The member, if that was the user's last one.
    pub(super) fn leave(&mut self, conn: ConnId) -> Option<Member> {
        let Seat { user, seat } = self.conns.remove(&conn)?;
        let kept = self.users.get_mut(user)?;
        let (_, member) = kept.seats.remove(seat)?;
        if !kept.seats.is_empty() {
            return None;
        }
        self.users.remove(user);
        self.by_id.remove(&member.id);
        Some(member)
    }

    /// A connection is there no more. The user's id, if that was its last one: it is listed until it is missed.
    pub(super) fn linger(&mut self, conn: ConnId, due_at: u64) -> Option<Arc<str>> {
        let Seat { user, seat } = self.conns.remove(&conn)?;
        let kept = self.users.get_mut(user)?;
        let (_, member) = kept.seats.remove(seat)?;
        if !kept.seats.is_empty() {
            return None;
        }
        let id = Arc::clone(&member.id);
        kept.gone = Some(Gone { member, due_at });
        Some(id)
    }

    /// When a user who is gone and still listed is missed.
    pub(super) fn missed_at(&self, user_id: &str) -> Option<u64> {
        let user = self.users.get(*self.by_id.get(user_id)?)?;
        user.gone.as_ref().map(|gone| gone.due_at)
    }

    /// A user is listed no more, if it is gone and its time is over.
    pub(super) fn end_lingering(&mut self, user_id: &str, unix_seconds: u64) -> Option<Member> {
        let user = *self.by_id.get(user_id)?;
        let kept = self.users.get_mut(user)?;
        let gone = kept.gone.take_if(|gone| gone.due_at <= unix_seconds)?;
        self.users.remove(user);
        self.by_id.remove(user_id);
        Some(gone.member)
    }

    /// Distinct users, those who are gone and listed still among them.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// Each user as its oldest connection shows it, in the order in which they joined.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.users.iter().filter_map(User::shown)
    }

    /// Their ids as strings, in the order in which they joined.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.iter().map(Member::id)
    }

    /// Their `user_info`, as the JSON that came, in the same order.
    pub(super) fn infos(&self) -> impl Iterator<Item = Option<&str>> {
        self.iter().map(Member::info)
    }

    /// The connections of one user, oldest first.
    pub(super) fn connections_of(&self, user_id: &str) -> impl Iterator<Item = ConnId> {
        let user = self.by_id.get(user_id).and_then(|&user| self.users.get(user));
        user.into_iter().flat_map(|user| user.seats.iter()).map(|(conn, _)| *conn)
    }
}

#[cfg(test)]
mod tests;

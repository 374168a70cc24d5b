//! What members of a presence channel, and subscribers of a cache channel, are told by the protocol itself. Pure.

use super::super::presence::{Member, Members};
use super::nested::{Nested, write_nested};
use super::write_string;

/// Writes that a subscription to a presence channel holds, and who is there. `hash` is an object even when it is empty,
/// and its keys are strings; `ids` have the type that the application gave them.
pub(in super::super) fn write_presence_succeeded(
    out: &mut Vec<u8>,
    channel: &str,
    members: &Members,
) {
    write_own(out, "pusher_internal:subscription_succeeded", channel, |data| {
        data.display(format_args!(r#"{{"presence":{{"count":{},"ids":["#, members.users()));
        for (index, member) in members.iter().enumerate() {
            data.raw(if index == 0 { "" } else { "," });
            data.raw(member.literal());
        }
        data.raw(r#"],"hash":{"#);
        for (index, member) in members.iter().enumerate() {
            data.raw(if index == 0 { "" } else { "," });
            data.string(member.id());
            data.raw(":");
            data.raw(member.info().unwrap_or("null"));
        }
        data.raw("}}}");
    });
}

/// Writes that a user has come.
pub(in super::super) fn write_member_added(out: &mut Vec<u8>, channel: &str, member: &Member) {
    write_own(out, "pusher_internal:member_added", channel, |data| {
        data.raw(r#"{"user_id":"#);
        data.raw(member.literal());
        if let Some(info) = member.info() {
            data.raw(r#","user_info":"#);
            data.raw(info);
        }
        data.raw("}");
    });
}

/// Writes that a user has gone.
pub(in super::super) fn write_member_removed(out: &mut Vec<u8>, channel: &str, member: &Member) {
    write_own(out, "pusher_internal:member_removed", channel, |data| {
        data.display(format_args!(r#"{{"user_id":{}}}"#, member.literal()));
    });
}

/// Writes how many connections are on a channel.
pub fn write_subscription_count(out: &mut Vec<u8>, channel: &str, subscribers: usize) {
    write_own(out, "pusher_internal:subscription_count", channel, |data| {
        data.display(format_args!(r#"{{"subscription_count":{subscribers}}}"#));
    });
}

/// Writes that a cache channel has no event to begin with.
pub fn write_cache_miss(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(br#"{"event":"pusher:cache_miss","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

/// Writes an event of the protocol's own: its data is JSON in a string.
fn write_own(out: &mut Vec<u8>, event: &str, channel: &str, data: impl FnOnce(&mut Nested<'_>)) {
    out.extend_from_slice(br#"{"event":""#);
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(br#"","data":"#);
    write_nested(out, data);
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

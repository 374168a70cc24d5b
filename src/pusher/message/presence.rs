//! What members of a presence channel, and subscribers of a cache channel, are told by the protocol itself. Pure.

use super::super::presence::{Member, Members};
use super::write_string;

/// Writes that a subscription to a presence channel holds, and who is there. `hash` is an object even when it is empty,
/// and its keys are strings; `ids` have the type that the application gave them.
pub(in super::super) fn write_presence_succeeded(
    out: &mut Vec<u8>,
    channel: &str,
    members: &Members,
) {
    let mut data = Vec::with_capacity(64 * (members.users() + 1));
    data.extend_from_slice(
        format!(r#"{{"presence":{{"count":{},"ids":["#, members.users()).as_bytes(),
    );
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            data.push(b',');
        }
        data.extend_from_slice(member.literal().as_bytes());
    }
    data.extend_from_slice(br#"],"hash":{"#);
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            data.push(b',');
        }
        write_string(&mut data, member.id());
        data.push(b':');
        data.extend_from_slice(member.info().unwrap_or("null").as_bytes());
    }
    data.extend_from_slice(b"}}}");
    write_own(out, "pusher_internal:subscription_succeeded", &data, channel);
}

/// Writes that a user has come.
pub(in super::super) fn write_member_added(out: &mut Vec<u8>, channel: &str, member: &Member) {
    let mut data = Vec::new();
    data.extend_from_slice(br#"{"user_id":"#);
    data.extend_from_slice(member.literal().as_bytes());
    if let Some(info) = member.info() {
        data.extend_from_slice(br#","user_info":"#);
        data.extend_from_slice(info.as_bytes());
    }
    data.push(b'}');
    write_own(out, "pusher_internal:member_added", &data, channel);
}

/// Writes that a user has gone.
pub(in super::super) fn write_member_removed(out: &mut Vec<u8>, channel: &str, member: &Member) {
    let data = format!(r#"{{"user_id":{}}}"#, member.literal());
    write_own(out, "pusher_internal:member_removed", data.as_bytes(), channel);
}

/// Writes how many connections are on a channel.
pub fn write_subscription_count(out: &mut Vec<u8>, channel: &str, subscribers: usize) {
    let data = format!(r#"{{"subscription_count":{subscribers}}}"#);
    write_own(out, "pusher_internal:subscription_count", data.as_bytes(), channel);
}

/// Writes that a cache channel has no event to begin with.
pub fn write_cache_miss(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(br#"{"event":"pusher:cache_miss","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

/// Writes an event of the protocol's own: its data is JSON in a string.
fn write_own(out: &mut Vec<u8>, event: &str, data: &[u8], channel: &str) {
    out.extend_from_slice(br#"{"event":""#);
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(br#"","data":"#);
    write_string(out, &String::from_utf8_lossy(data));
    out.extend_from_slice(br#","channel":"#);
    write_string(out, channel);
    out.push(b'}');
}

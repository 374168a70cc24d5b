//! What is said of users: a client's sign-in, its answer, and the states of a watchlist. Pure.

use std::borrow::Cow;

use super::super::error::ClientError;
use super::super::watchlist::States;
use super::nested::write_nested;
use super::{OwnedOrBorrowed, Text, parse, write_string};

/// A wish to be known as a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInWish<'m> {
    /// `‹app key›:‹signature›`.
    pub auth: Option<Cow<'m, str>>,
    /// Who signs in, as the application wrote and signed it.
    pub user_data: Cow<'m, str>,
}

#[derive(serde::Deserialize)]
pub(super) struct SignInData<'m> {
    #[serde(borrow, default)]
    auth: Option<Text<'m>>,
    #[serde(borrow)]
    user_data: Text<'m>,
}

impl<'m> From<SignInData<'m>> for SignInWish<'m> {
    fn from(data: SignInData<'m>) -> Self {
        Self { auth: data.auth.map(|auth| auth.0), user_data: data.user_data.0 }
    }
}

impl<'m> OwnedOrBorrowed<'m> for SignInData<'m> {
    fn read_owned(text: &str) -> Result<Self, ClientError> {
        let data: SignInData<'_> = parse(text)?;
        Ok(Self { auth: data.auth.map(Text::into_owned), user_data: data.user_data.into_owned() })
    }
}

/// Writes that a sign-in holds. Its data is an object, and in it `user_data` is the string that came.
pub fn write_signin_success(out: &mut Vec<u8>, user_data: &str) {
    out.extend_from_slice(br#"{"event":"pusher:signin_success","data":{"user_data":"#);
    write_string(out, user_data);
    out.extend_from_slice(b"}}");
}

/// Writes who of a watchlist is online and who is not; of what nobody is, nothing.
pub(in super::super) fn write_watchlist_events(out: &mut Vec<u8>, states: &States) {
    let named = [("online", &states.online), ("offline", &states.offline)];
    out.extend_from_slice(br#"{"event":"pusher_internal:watchlist_events","data":"#);
    write_nested(out, |data| {
        data.raw(r#"{"events":["#);
        for (index, (name, users)) in
            named.iter().filter(|(_, users)| !users.is_empty()).enumerate()
        {
            data.raw(if index > 0 { "," } else { "" });
            data.display(format_args!(r#"{{"name":"{name}","user_ids":["#));
            for (index, user) in users.iter().enumerate() {
                data.raw(if index > 0 { "," } else { "" });
                data.string(user);
            }
            data.raw("]}");
        }
        data.raw("]}");
    });
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    fn check(text: &str, auth: Option<&str>, user_data: &str) {
        match Command::read(text) {
            Ok(Command::SignIn(wish)) => {
                assert_eq!((wish.auth.as_deref(), wish.user_data.as_ref()), (auth, user_data));
            }
            other => panic!("{other:?} from {text}"),
        }
    }

    fn check_states(online: &[&str], offline: &[&str], expected: &str) {
        let of = |users: &[&str]| users.iter().map(|&user| user.into()).collect();
        let mut out = Vec::new();
        write_watchlist_events(&mut out, &States { online: of(online), offline: of(offline) });
        let message: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(message["event"], "pusher_internal:watchlist_events");
        assert_eq!(message["data"], expected);
    }

    #[test]
    fn a_sign_in_is_read_from_an_object_and_from_a_string() {
        let data = r#"{"auth":"K:1","user_data":"{\"id\":\"7\"}"}"#;
        check(
            &format!(r#"{{"event":"pusher:signin","data":{data}}}"#),
            Some("K:1"),
            r#"{"id":"7"}"#,
        );
        let text = serde_json::json!({"event": "pusher:signin", "data": data}).to_string();
        check(&text, Some("K:1"), r#"{"id":"7"}"#);
        check(r#"{"event":"pusher:signin","data":{"user_data":""}}"#, None, "");
    }

    #[test]
    fn a_sign_in_without_user_data_is_no_message() {
        for data in ["{}", r#"{"user_data":{"id":"7"}}"#, r#"{"user_data":7}"#, "null", r#""x""#] {
            let text = format!(r#"{{"event":"pusher:signin","data":{data}}}"#);
            assert_eq!(Command::read(&text).err(), Some(ClientError::InvalidMessage), "{text}");
        }
    }

    #[test]
    fn a_success_repeats_the_user_data_to_the_letter() {
        let mut out = Vec::new();
        write_signin_success(&mut out, r#"{"id": "7"}"#);
        let expected =
            br#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\": \"7\"}"}}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn states_are_events_by_name() {
        let both = r#"{"events":[{"name":"online","user_ids":["8","9"]},{"name":"offline","user_ids":["\""]}]}"#;
        check_states(&["8", "9"], &["\""], both);
        check_states(&["8"], &[], r#"{"events":[{"name":"online","user_ids":["8"]}]}"#);
        check_states(&[], &["9"], r#"{"events":[{"name":"offline","user_ids":["9"]}]}"#);
    }
}

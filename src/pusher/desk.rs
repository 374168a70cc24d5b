//! Where what a client asks for is weighed, and what it is told is written.
//!
//! ```text
//!   wish ──▶ name, kind, signature, member ──▶ engine: subscribe, or attend with a note
//!                    └─▶ subscription_error, pusher:error         nothing of the wish remains
//!   sign-in ──▶ signature, user ──▶ engine: attend the user ──▶ then each user of its watchlist
//! ```

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::apps::App;
use super::channel::Kind;
use super::client::{Clients, SignedIn};
use super::compat::DuplicateSubscription;
use super::directory::{Directory, Note};
use super::error::{ClientError, SignInError, SubscriptionError};
use super::hooks::{Fact, Observer};
use super::message::{self, ClientEvent, SignInWish, Subscribe};
use super::presence::{self, Member, MemberError};
use super::signature::{self, Credentials};
use super::users::{self, SignIn};
use super::watchlist::Watchlist;
use crate::metrics::Counter;
use crate::{CloseCode, Conn, Keep, MessageKind, Outgoing, SocketId, SubscribeError};

/// Where messages are written before they are sent. Used within one callback, kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) json: Vec<u8>,
    pub(super) topic: String,
    refusal: Option<Refusal>,
}

/// The last reason for which a subscription was refused, and what is said of it up to the channel. Refusals come in
/// swarms of one kind: whoever tries signatures, or has the wrong secret, should cost less than who has the right one.
#[derive(Debug)]
struct Refusal {
    error: SubscriptionError,
    /// The first message reaches the channel's error handler in pusher-js, the second is what users of Reverb look for.
    heads: [Vec<u8>; 2],
}

impl Refusal {
    fn new(error: SubscriptionError) -> Self {
        let mut heads = [Vec::new(), Vec::new()];
        message::write_subscription_error_head(&mut heads[0], &error);
        message::write_subscription_refused_head(&mut heads[1], &error);
        Self { error, heads }
    }
}

impl Desk {
    /// Subscribes a client, or tells it why not.
    pub(super) fn subscribe(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        app: &App,
        clients: &Clients,
        wish: &Subscribe<'_>,
    ) {
        let user = clients.user(conn.id());
        let result = may_subscribe(app, conn.socket_id(), user, wish).and_then(|note| {
            app.write_topic(&wish.channel, &mut self.topic);
            let limit = app.max_subscriptions;
            let channels = conn.subscriptions() - clients.topics_beside_channels(conn.id());
            let is_full = channels >= limit;
            let minds = app.duplicate_subscription == DuplicateSubscription::Refuse;
            // Asked only if it matters: it looks through all that the connection is on.
            let is_known = (is_full || minds) && conn.is_subscribed(&self.topic);
            if is_known && minds {
                self.refuse_duplicate(conn, &wish.channel);
                return Ok(());
            }
            if is_full && !is_known {
                return Err(SubscriptionError::TooMany { limit });
            }
            let result = match note {
                Some(note) => conn.attend(&self.topic, note),
                None => conn.subscribe(&self.topic),
            };
            result.or_else(|error| SubscriptionError::from_engine(error).map_or(Ok(()), Err))
        });
        if let Err(error) = result {
            self.refuse_subscription(conn, &wish.channel, &error);
        }
    }

    pub(super) fn refuse_subscription(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        channel: &str,
        error: &SubscriptionError,
    ) {
        conn.count(Counter::ClientErrors);
        let kept = self.refusal.take().filter(|kept| kept.error == *error);
        let refusal = kept.unwrap_or_else(|| Refusal::new(*error));
        for head in &refusal.heads {
            self.send(conn, |json| {
                json.extend_from_slice(head);
                message::write_channel(json, channel);
            });
        }
        self.refusal = Some(refusal);
    }

    /// Signs a client in; the user's home confirms it.
    pub(super) fn sign_in(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        app: &App,
        clients: &mut Clients,
        wish: &SignInWish<'_>,
    ) -> Result<(), ClientError> {
        let user = clients.user_mut(conn.id());
        let is_as = user.as_ref().map(|user| &*user.id);
        let sign_in =
            may_sign_in(app, conn.socket_id(), is_as, wish).map_err(ClientError::SignIn)?;
        users::write_topic(&app.id, &sign_in.id, &mut self.topic);
        let note = Note::SignIn { user_data: (*wish.user_data).into() };
        match conn.attend(&self.topic, note) {
            Ok(()) => {}
            Err(SubscribeError::Closed) => return Ok(()),
            Err(error) => return Err(ClientError::SignIn(SignInError::Refused(error))),
        }
        let SignIn { id, info, watchlist, too_long } = sign_in;
        // Whoever signs in again may be known by new info; whom it watches stays.
        if let Some(user) = user {
            user.info = info;
            return Ok(());
        }
        let watchlist = Watchlist::of(watchlist.into_iter());
        clients.signed_in(conn.id(), SignedIn { id, info, watchlist, topics: 1 });
        let limit = app.max_watchlist;
        too_long.map_or(Ok(()), |users| Err(ClientError::WatchlistTooLong { users, limit }))
    }

    /// Asks the homes of the users that a client watches.
    pub(super) fn watch(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        app: &App,
        clients: &mut Clients,
    ) {
        let before = conn.subscriptions();
        let watched = clients.user_mut(conn.id()).map(|user| user.watchlist.ask());
        for user in watched.into_iter().flatten() {
            users::write_topic(&app.id, &user, &mut self.topic);
            // A name that is too long for a topic is one that nobody can sign in with.
            if conn.attend(&self.topic, Note::Watch).is_err() {
                self.tell_watched(conn, clients, &user, false);
            }
        }
        if let Some(user) = clients.user_mut(conn.id()) {
            user.topics += conn.subscriptions() - before;
        }
    }

    /// Tells a client what a user is that it watches, if it is time for that.
    pub(super) fn tell_watched(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        clients: &mut Clients,
        user: &str,
        is_online: bool,
    ) {
        let watcher = clients.user_mut(conn.id());
        let Some(states) = watcher.and_then(|it| it.watchlist.learn(user, is_online)) else {
            return;
        };
        self.send(conn, |json| message::write_watchlist_events(json, &states));
    }

    /// The client stays on the channel as it is.
    fn refuse_duplicate(&mut self, conn: &mut Conn<'_, Directory>, channel: &str) {
        conn.count(Counter::ClientErrors);
        self.send(conn, |json| message::write_existing_subscription(json, channel));
    }

    /// Passes a client's event on to the others of the channel.
    pub(super) fn pass_on(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        app: &App,
        clients: &mut Clients,
        event: &ClientEvent<'_>,
        observer: Option<&dyn Observer>,
    ) -> Result<(), ClientError> {
        may_send(app, event)?;
        let channel = &event.channel;
        app.write_topic(channel, &mut self.topic);
        if !conn.is_subscribed(&self.topic) {
            return Err(ClientError::ClientEventNotMember);
        }
        // Who the sender is, the home has said with its welcome; until then it is no member.
        let user_id = match Kind::of(channel).has_members() {
            true => {
                Some(clients.user_id(conn.id(), channel).ok_or(ClientError::ClientEventNotMember)?)
            }
            false => None,
        };
        self.json.clear();
        message::write_client_event(&mut self.json, &event.event, event.data, channel, user_id);
        // Last of all: what is refused for another reason has not been sent.
        if let Some(rate) = app.event_rate()
            && !clients.may_send(conn.id(), conn.now(), rate)
        {
            return Err(ClientError::TooSoon);
        }
        let message = Outgoing::Message(MessageKind::Text, Cow::Borrowed(&self.json));
        // Told before it is posted: whoever answers it has heard it, so the answer is told later.
        if let Some(observer) = observer.filter(|observer| observer.wants(app)) {
            let user_id = clients.user_id(conn.id(), channel);
            note(observer, conn.socket_id(), app, event, user_id);
        }
        // A topic that is too long has no members, so only one error is left.
        conn.publish_as(Keep::Forget, &self.topic, message, Some(conn.socket_id()))
            .map_err(|_| ClientError::ClientEventBusy)
    }

    /// An error frame first, for clients that look at nothing else; then the close frame with the same code.
    pub(super) fn refuse(&mut self, conn: &mut Conn<'_, Directory>, error: &ClientError) {
        self.send(conn, |json| message::write_error(json, error, None));
        conn.close(error.code(), &error.to_string());
    }

    /// Refuses a message that came too soon; a client that is closed for it comes back in a second.
    pub(super) fn refuse_message(&mut self, conn: &mut Conn<'_, Directory>, app: &App) {
        self.answer_error(conn, &ClientError::TooSoon, None);
        if app.rate_limit_close {
            conn.close(CloseCode(4100), &ClientError::TooSoon.to_string());
        }
    }

    /// Answers what a client said with an error.
    pub(super) fn answer_error(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        error: &ClientError,
        channel: Option<&str>,
    ) {
        conn.count(Counter::ClientErrors);
        self.send(conn, |json| message::write_error(json, error, channel));
    }

    pub(super) fn send(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.json.clear();
        write(&mut self.json);
        conn.send(Outgoing::Message(MessageKind::Text, Cow::Borrowed(&self.json)));
    }
}

/// Everything about a subscription that can be told without the engine; and what the channel's home must know of it.
fn may_subscribe(
    app: &App,
    socket_id: impl fmt::Display,
    user: Option<&SignedIn>,
    wish: &Subscribe<'_>,
) -> Result<Option<Note>, SubscriptionError> {
    app.naming().check(&wish.channel).map_err(SubscriptionError::Name)?;
    let kind = Kind::of(&wish.channel);
    if kind == Kind::ServerToUser {
        let named = wish.channel.strip_prefix(Kind::SERVER_TO_USER);
        let is_that_user = user.is_some_and(|user| named == Some(&user.id));
        return if is_that_user { Ok(None) } else { Err(SubscriptionError::NotThatUser) };
    }
    if kind.needs_signature() {
        let credentials = Credentials { key: &app.key, secret: &app.secret };
        let auth = wish.auth.as_deref().unwrap_or_default();
        let channel_data = wish.channel_data.as_deref();
        signature::verify_channel(credentials, auth, socket_id, &wish.channel, channel_data)
            .map_err(SubscriptionError::Auth)?;
    }
    if kind.has_members() {
        let member =
            member(app, user, wish.channel_data.as_deref()).map_err(SubscriptionError::Member)?;
        return Ok(Some(Note::Member(member)));
    }
    Ok(kind.is_cached().then_some(Note::Cached))
}

/// Tells an observer of a client's event.
fn note(
    observer: &dyn Observer,
    socket_id: SocketId,
    app: &App,
    event: &ClientEvent<'_>,
    user_id: Option<&str>,
) {
    let user_id = user_id.and_then(presence::id_of);
    let fact = Fact::ClientEvent {
        channel: &event.channel,
        event: &event.event,
        data: event.data.map(RawValue::get),
        socket_id,
        user_id: user_id.as_deref(),
    };
    observer.note(app, fact);
}

/// Who subscribes to a presence channel.
fn member(
    app: &App,
    user: Option<&SignedIn>,
    channel_data: Option<&str>,
) -> Result<Member, MemberError> {
    match (channel_data.filter(|data| !data.is_empty()), user) {
        (Some(data), _) => Member::read(data, app.member_limits()),
        (None, Some(user)) => Ok(Member::signed_in(&user.id, user.info.as_deref())),
        (None, None) => Err(MemberError::Missing),
    }
}

/// Everything about a sign-in that can be told without the engine. `is_as` is whom the client is signed in as already.
fn may_sign_in(
    app: &App,
    socket_id: impl fmt::Display,
    is_as: Option<&str>,
    wish: &SignInWish<'_>,
) -> Result<SignIn, SignInError> {
    let credentials = Credentials { key: &app.key, secret: &app.secret };
    let auth = wish.auth.as_deref().unwrap_or_default();
    signature::verify_user(credentials, auth, socket_id, &wish.user_data)
        .map_err(SignInError::Auth)?;
    let sign_in = SignIn::read(&wish.user_data, app.user_limits()).map_err(SignInError::User)?;
    if is_as.is_some_and(|id| *id != *sign_in.id) {
        return Err(SignInError::OtherUser);
    }
    Ok(sign_in)
}

/// Everything about a client's event that can be told without the engine.
fn may_send(app: &App, event: &ClientEvent<'_>) -> Result<(), ClientError> {
    let ClientEvent { event, channel, data } = event;
    if !app.client_events {
        return Err(ClientError::ClientEventsDisabled);
    }
    if !app.client_events_on_public && !Kind::of(channel).needs_signature() {
        return Err(ClientError::ClientEventOnPublic);
    }
    let (characters, limit) = (event.chars().count(), app.max_event_name);
    if characters > limit {
        return Err(ClientError::ClientEventName { characters, limit });
    }
    let (bytes, limit) = (data.map_or(0, |data| data.get().len()), app.max_event_bytes);
    if bytes > limit {
        return Err(ClientError::ClientEventTooBig { bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::super::channel::NameError;
    use super::super::signature::AuthError;
    use super::*;

    fn check_subscribe(channel: &str, auth: Option<&str>, expected: Result<(), SubscriptionError>) {
        let wish =
            Subscribe { channel: channel.into(), auth: auth.map(Into::into), channel_data: None };
        let app = App::new("1", "key", "secret");
        let got = may_subscribe(&app, "1.2", None, &wish).map(|note| assert_eq!(note, None));
        assert_eq!(got, expected, "{channel}");
    }

    #[test]
    fn public_channels_need_no_auth_and_mind_none() {
        for name in ["news", "privateer", "presence", "my-cache-x"] {
            check_subscribe(name, None, Ok(()));
            check_subscribe(name, Some(""), Ok(()));
            check_subscribe(name, Some("rubbish"), Ok(()));
        }
    }

    #[test]
    fn private_and_encrypted_channels_need_their_signature() {
        for name in ["private-a", "private-encrypted-a"] {
            let auth = format!("key:{}", signature::channel_signature("secret", "1.2", name, None));
            check_subscribe(name, Some(&auth), Ok(()));
            check_subscribe(name, None, Err(SubscriptionError::Auth(AuthError::Missing)));
            let other =
                format!("key:{}", signature::channel_signature("secret", "1.3", name, None));
            check_subscribe(name, Some(&other), Err(SubscriptionError::Auth(AuthError::Signature)));
        }
    }

    #[test]
    fn client_events_have_limits_and_a_switch() {
        let data = RawValue::from_string("[1,2,3]".to_owned()).unwrap();
        let check = |change: fn(&mut App), expected: Result<(), ClientError>| {
            let mut app = App::new("1", "key", "secret");
            change(&mut app);
            let event =
                ClientEvent {
                    event: "client-ü".into(), channel: "room".into(), data: Some(&data)
                };
            assert_eq!(may_send(&app, &event), expected);
        };
        check(|_| {}, Ok(()));
        check(|app| (app.max_event_name, app.max_event_bytes) = (8, 7), Ok(()));
        let error = ClientError::ClientEventName { characters: 8, limit: 7 };
        check(|app| app.max_event_name = 7, Err(error));
        let error = ClientError::ClientEventTooBig { bytes: 7, limit: 6 };
        check(|app| app.max_event_bytes = 6, Err(error));
        check(|app| app.client_events = false, Err(ClientError::ClientEventsDisabled));
        check(|app| app.client_events_on_public = false, Err(ClientError::ClientEventOnPublic));
    }

    #[test]
    fn channels_that_are_signed_are_not_public() {
        let mut app = App::new("1", "key", "secret");
        app.client_events_on_public = false;
        for (channel, is_public) in [
            ("room", true),
            ("cache-a", true),
            ("privateer", true),
            ("private-a", false),
            ("private-cache-a", false),
            ("presence-a", false),
            ("presence-cache-a", false),
        ] {
            let event =
                ClientEvent { event: "client-x".into(), channel: channel.into(), data: None };
            let expected = if is_public { Err(ClientError::ClientEventOnPublic) } else { Ok(()) };
            assert_eq!(may_send(&app, &event), expected, "{channel}");
        }
    }

    #[test]
    fn names_are_checked_before_all_else() {
        let long = "a".repeat(201);
        let error = NameError::TooLong { characters: 201, limit: 200 };
        check_subscribe(&long, None, Err(SubscriptionError::Name(error)));
        check_subscribe(&long[..200], None, Ok(()));
        check_subscribe(
            "#x",
            None,
            Err(SubscriptionError::Name(NameError::Character { got: '#' })),
        );
        check_subscribe("", None, Err(SubscriptionError::Name(NameError::Empty)));
    }

    #[test]
    fn kinds_with_a_memory_bring_what_their_home_must_know() {
        let check = |channel: &str, data: Option<&str>, expected: Option<Note>| {
            let signature = signature::channel_signature("secret", "1.2", channel, data);
            let auth = Some(format!("key:{signature}").into());
            let wish =
                Subscribe { channel: channel.into(), auth, channel_data: data.map(Into::into) };
            let app = App::new("1", "key", "secret");
            assert_eq!(may_subscribe(&app, "1.2", None, &wish), Ok(expected), "{channel}");
        };
        let data = r#"{"user_id": 7}"#;
        let member = Member::read(data, App::new("1", "key", "secret").member_limits()).unwrap();
        for channel in ["presence-a", "presence-cache-a"] {
            check(channel, Some(data), Some(Note::Member(member.clone())));
        }
        for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a"] {
            check(channel, None, Some(Note::Cached));
        }
        check("private-a", Some(data), None);
    }
}

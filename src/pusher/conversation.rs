//! ⑥ The whole talk with a client, in one screen: [`Pusher`] is the Handler that a server of the Pusher protocol runs.
//!
//! ```text
//!   101 ──▶ refused: pusher:error, close          the code says whether the client comes back
//!    │
//!    ▼
//!   connection_established ──▶ ping ⇄ pong, subscribe ──▶ subscription_succeeded ──▶ events of both sides ──▶ close
//! ```
//!
//! A connection's tag is the number of its app; 0 stands for a client that was refused.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::api;
use super::apps::{App, Apps};
use super::channel::Kind;
use super::client::{self, Introduction};
use super::directory::{Answer, Directory};
use super::error::{ClientError, SubscriptionError};
use super::hooks::Pages;
use super::message::{self, Command, Subscribe};
use super::signature::{self, Credentials};
use crate::metrics::Counter;
use crate::{
    CloseCode, CloseFrame, Conn, ConnError, Handler, Idle, Message, MessageKind, Outgoing,
    Patience, Prepared, Request, Response, Upgrade,
};

/// What the Pusher room can be told, besides its apps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A path in front of all paths, such as `/x`; they are served without it too.
    pub path_prefix: String,
    /// Whether a request whose signature does not match is told what we signed. For development alone.
    pub debug: bool,
    /// How far the time of a signed request may be off, either way.
    pub timestamp_tolerance_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { path_prefix: String::new(), debug: false, timestamp_tolerance_seconds: 600 }
    }
}

/// The Pusher protocol as a Handler. One value per core.
#[derive(Debug)]
pub struct Pusher {
    pub(super) apps: Arc<Apps>,
    pub(super) options: Arc<Options>,
    pub(super) pages: Option<Box<dyn Pages>>,
    /// API requests that wait for answers of home cores.
    pub(super) gathers: api::Gathers,
    pub(super) desk: Desk,
    /// Encoded once: to answer a ping costs a reference count.
    pong: Prepared,
    /// As `pong`.
    ping: Prepared,
}

impl Pusher {
    /// A handler for one core.
    pub fn new(apps: Arc<Apps>, options: Arc<Options>) -> Self {
        Self {
            apps,
            options,
            pages: None,
            gathers: api::Gathers::default(),
            desk: Desk::default(),
            pong: Prepared::new(MessageKind::Text, message::PONG.as_bytes()),
            ping: Prepared::new(MessageKind::Text, message::PING.as_bytes()),
        }
    }

    /// Offers requests that are none of the protocol's to these pages.
    #[must_use]
    pub fn with_pages(self, pages: Box<dyn Pages>) -> Self {
        Self { pages: Some(pages), ..self }
    }
}

impl Handler<Directory> for Pusher {
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade {
        let path = client::strip_prefix(request.path(), &self.options.path_prefix);
        if client::is_for_clients(path) {
            Upgrade::accept()
        } else {
            Upgrade::Refuse(Response::text(
                404,
                "Pusher clients connect to /app/ and an app key.\n",
            ))
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Directory>) {
        match self.admit(conn.upgrade()) {
            Ok((tag, app)) => {
                conn.set_tag(tag);
                let timeout = app.activity_timeout_seconds;
                let socket_id = conn.socket_id();
                self.desk.send(conn, |json| {
                    message::write_connection_established(json, socket_id, timeout)
                });
            }
            Err(error) => {
                conn.count(Counter::UpgradesRefused);
                self.desk.refuse(conn, &error);
            }
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Directory>, message: Message<'_>) {
        let Some(app) = self.apps.by_tag(conn.tag()) else { return };
        if message.bytes().len() > app.max_message_bytes {
            self.desk.answer_error(conn, &ClientError::MessageTooBig, None);
            return conn.close(CloseCode::MESSAGE_TOO_BIG, &ClientError::MessageTooBig.to_string());
        }
        // Binary is served like text, as it always was, if it is text.
        let text = message.text().or_else(|| str::from_utf8(message.bytes()).ok());
        match text.ok_or(ClientError::InvalidMessage).and_then(Command::read) {
            Ok(Command::Ping) => conn.send(self.pong.clone()),
            Ok(Command::Subscribe(wish)) => self.desk.subscribe(conn, app, &wish),
            Ok(Command::Unsubscribe { channel }) => {
                app.write_topic(&channel, &mut self.desk.topic);
                conn.unsubscribe(&self.desk.topic);
            }
            Ok(Command::ClientEvent { event, channel, data }) => {
                if let Err(error) = self.desk.pass_on(conn, app, &event, &channel, data) {
                    self.desk.answer_error(conn, &error, Some(&channel));
                }
            }
            Ok(Command::Other | Command::Pong) => {}
            Err(error) => self.desk.answer_error(conn, &error, None),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_, Directory>, topic: &str) {
        let app = self.apps.by_tag(conn.tag());
        let Some(channel) = app.and_then(|app| app.channel_of(topic)) else { return };
        self.desk.send(conn, |json| message::write_subscription_succeeded(json, channel));
    }

    fn on_idle(&mut self, conn: &mut Conn<'_, Directory>, idle: Idle) {
        match idle {
            // A control ping is on its way. Who never answered one may still answer the protocol's own.
            Idle::Silent { answers_pings: false } => conn.send(self.ping.clone()),
            Idle::Silent { answers_pings: true } => {}
            Idle::Expired => self.desk.refuse(conn, &ClientError::PongMissing),
        }
    }

    fn patience(&self, tag: u32) -> Option<Patience> {
        self.apps.by_tag(tag).map(patience)
    }

    fn on_error(&mut self, conn: &mut Conn<'_, Directory>, error: &ConnError) {
        if matches!(error, ConnError::Ws(error) if error.close_code() == CloseCode::MESSAGE_TOO_BIG)
        {
            self.desk.answer_error(conn, &ClientError::MessageTooBig, None);
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Directory>, _frame: Option<&CloseFrame<'_>>) {
        // The refused have tag 0 and were never counted.
        self.apps.leave(conn.tag());
    }

    fn on_shutdown(&mut self, conn: &mut Conn<'_, Directory>) {
        self.desk.refuse(conn, &ClientError::Stopping);
    }

    fn on_request(&mut self, conn: &mut Conn<'_, Directory>, request: &Request<'_>) {
        api::serve(self, conn, request);
    }

    fn on_answer(&mut self, conn: &mut Conn<'_, Directory>, ticket: u64, answer: Answer) {
        api::answered(self, conn, ticket, answer);
    }
}

/// How long a client waits for the answer to its own ping.
const CLIENT_PONG: Duration = Duration::from_secs(30);

/// For the way there and back.
const SLACK: Duration = Duration::from_secs(10);

/// A client that keeps to the activity timeout pings us by itself; only silence past that is worth a ping.
fn patience(app: &App) -> Patience {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let ping_after = seconds(app.activity_timeout_seconds) + CLIENT_PONG + SLACK;
    Patience { ping_after, close_after: seconds(app.ping_interval_seconds) }
}

impl Pusher {
    fn admit(&self, upgrade: Option<&Request<'_>>) -> Result<(u32, &App), ClientError> {
        let request = upgrade.ok_or(ClientError::PathInvalid)?;
        let path = client::strip_prefix(request.path(), &self.options.path_prefix);
        admit(&self.apps, path, request.query())
    }
}

/// Who asks, and whether they may come in. Whoever may is counted.
fn admit<'a>(apps: &'a Apps, path: &str, query: &str) -> Result<(u32, &'a App), ClientError> {
    let introduction = Introduction::read(path, query)?;
    let Some((tag, app)) = apps.tagged(&introduction.key) else {
        return Err(ClientError::AppUnknown { key: introduction.key.into_owned() });
    };
    if !app.enabled {
        return Err(ClientError::AppDisabled);
    }
    if apps.admit(tag) { Ok((tag, app)) } else { Err(ClientError::OverQuota) }
}

/// Where messages are written before they are sent. Used within one callback, kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) json: Vec<u8>,
    pub(super) topic: String,
}

impl Desk {
    fn subscribe(&mut self, conn: &mut Conn<'_, Directory>, app: &App, wish: &Subscribe<'_>) {
        let result = may_subscribe(app, conn.socket_id(), wish).and_then(|()| {
            app.write_topic(&wish.channel, &mut self.topic);
            conn.subscribe(&self.topic)
                .or_else(|error| SubscriptionError::from_engine(error).map_or(Ok(()), Err))
        });
        let Err(error) = result else { return };
        conn.count(Counter::ClientErrors);
        // The first reaches the channel's error handler in pusher-js, the second is what users of Reverb look for.
        self.send(conn, |json| message::write_subscription_error(json, &wish.channel, &error));
        self.send(conn, |json| message::write_subscription_refused(json, &wish.channel, &error));
    }

    /// Passes a client's event on to the others of the channel.
    fn pass_on(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        app: &App,
        event: &str,
        channel: &str,
        data: Option<&RawValue>,
    ) -> Result<(), ClientError> {
        may_send(app, event, data)?;
        app.write_topic(channel, &mut self.topic);
        if !conn.is_subscribed(&self.topic) {
            return Err(ClientError::ClientEventNotMember);
        }
        self.json.clear();
        message::write_client_event(&mut self.json, event, data, channel);
        let message = Outgoing::Message(MessageKind::Text, Cow::Borrowed(&self.json));
        // A topic that is too long has no members, so only one error is left.
        conn.publish_except(&self.topic, message, Some(conn.socket_id()))
            .map_err(|_| ClientError::ClientEventBusy)
    }

    /// An error frame first, for clients that look at nothing else; then the close frame with the same code.
    fn refuse(&mut self, conn: &mut Conn<'_, Directory>, error: &ClientError) {
        self.send(conn, |json| message::write_error(json, error, None));
        conn.close(error.code(), &error.to_string());
    }

    /// Answers what a client said with an error.
    fn answer_error(
        &mut self,
        conn: &mut Conn<'_, Directory>,
        error: &ClientError,
        channel: Option<&str>,
    ) {
        conn.count(Counter::ClientErrors);
        self.send(conn, |json| message::write_error(json, error, channel));
    }

    fn send(&mut self, conn: &mut Conn<'_, Directory>, write: impl FnOnce(&mut Vec<u8>)) {
        self.json.clear();
        write(&mut self.json);
        conn.send(Outgoing::Message(MessageKind::Text, Cow::Borrowed(&self.json)));
    }
}

/// Everything about a subscription that can be told without the engine.
fn may_subscribe(
    app: &App,
    socket_id: impl fmt::Display,
    wish: &Subscribe<'_>,
) -> Result<(), SubscriptionError> {
    app.naming().check(&wish.channel).map_err(SubscriptionError::Name)?;
    let kind = Kind::of(&wish.channel);
    if !kind.is_served() {
        return Err(SubscriptionError::KindNotServed(kind));
    }
    if !kind.needs_signature() {
        return Ok(());
    }
    let credentials = Credentials { key: &app.key, secret: &app.secret };
    let auth = wish.auth.as_deref().unwrap_or_default();
    signature::verify_channel(
        credentials,
        auth,
        &socket_id.to_string(),
        &wish.channel,
        wish.channel_data.as_deref(),
    )
    .map_err(SubscriptionError::Auth)
}

/// Everything about a client's event that can be told without the engine.
fn may_send(app: &App, event: &str, data: Option<&RawValue>) -> Result<(), ClientError> {
    if !app.client_events {
        return Err(ClientError::ClientEventsDisabled);
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
    use super::super::channel::NameError;
    use super::super::signature::AuthError;
    use super::*;
    use crate::reactor::simulation::Simulation;

    fn apps() -> Apps {
        let mut off = App::new("2", "off", "s");
        off.enabled = false;
        let mut small = App::new("3", "small", "s");
        small.max_connections = Some(1);
        Apps::new(vec![App::new("1", "key", "secret"), off, small]).unwrap()
    }

    fn check_admitted(apps: &Apps, path: &str, expected: Result<u32, ClientError>) {
        assert_eq!(admit(apps, path, "protocol=7").map(|(tag, _)| tag), expected, "{path}");
    }

    fn check_subscribe(channel: &str, auth: Option<&str>, expected: Result<(), SubscriptionError>) {
        let wish =
            Subscribe { channel: channel.into(), auth: auth.map(Into::into), channel_data: None };
        let app = App::new("1", "key", "secret");
        assert_eq!(may_subscribe(&app, "1.2", &wish), expected, "{channel}");
    }

    #[test]
    fn clients_are_admitted_by_key_and_refused_by_code() {
        let apps = apps();
        for (path, query, code) in [
            ("/app/nobody", "", 4001),
            ("/app/off", "", 4003),
            ("/app/", "", 4005),
            ("/app/key", "protocol=x", 4006),
            ("/app/key", "protocol=3", 4007),
        ] {
            let error = admit(&apps, path, query).unwrap_err();
            assert_eq!(error.code(), CloseCode(code), "{path}?{query}");
        }
        check_admitted(&apps, "/app/key", Ok(1));
        assert_eq!(apps.connections("1"), Some(1), "only the admitted are counted");
    }

    #[test]
    fn the_connection_past_the_quota_is_refused_until_one_leaves() {
        let apps = apps();
        check_admitted(&apps, "/app/small", Ok(3));
        check_admitted(&apps, "/app/small", Err(ClientError::OverQuota));
        apps.leave(0);
        check_admitted(&apps, "/app/small", Err(ClientError::OverQuota));
        apps.leave(3);
        check_admitted(&apps, "/app/small", Ok(3));
    }

    #[test]
    fn nothing_is_allocated_for_a_ping_of_a_client() {
        let apps = Arc::new(apps());
        let make = |_core| {
            (Pusher::new(Arc::clone(&apps), Arc::new(Options::default())), Directory::new())
        };
        let mut simulation =
            Simulation::new(crate::Options { cores: 1, ..crate::Options::default() }, make);
        let client = simulation.connect(0);
        client.send(
            b"GET /app/key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        );
        simulation.settle();
        client.sink();
        // A masking key of zeros leaves the payload as it is.
        let mut ping = vec![0x81, 0x80, 0, 0, 0, 0];
        ping.extend_from_slice(message::PING.as_bytes());
        ping[1] |= u8::try_from(message::PING.len()).unwrap();
        let mut beat = || {
            client.send(&ping);
            simulation.settle();
        };
        (0..3).for_each(|_| beat());
        let before = client.received_bytes();
        let info = allocation_counter::measure(|| (0..100).for_each(|_| beat()));
        let pong = Prepared::new(MessageKind::Text, message::PONG.as_bytes());
        assert_eq!(client.received_bytes() - before, 100 * pong.frame().len() as u64);
        assert_eq!(info.count_total, 0);
    }

    #[test]
    fn a_client_is_pinged_once_it_should_have_pinged_us() {
        let mut app = App::new("1", "key", "secret");
        let seconds = Duration::from_secs;
        let expected = Patience { ping_after: seconds(70), close_after: seconds(60) };
        assert_eq!(patience(&app), expected);
        (app.activity_timeout_seconds, app.ping_interval_seconds) = (1, 5);
        let expected = Patience { ping_after: seconds(41), close_after: seconds(5) };
        assert_eq!(patience(&app), expected);
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
    fn kinds_that_are_not_served_are_refused_even_with_a_signature() {
        for name in [
            "presence-a",
            "presence-cache-a",
            "cache-a",
            "private-cache-a",
            "private-encrypted-cache-a",
        ] {
            let auth = format!("key:{}", signature::channel_signature("secret", "1.2", name, None));
            check_subscribe(
                name,
                Some(&auth),
                Err(SubscriptionError::KindNotServed(Kind::of(name))),
            );
        }
        check_subscribe(
            "#server-to-user-7",
            None,
            Err(SubscriptionError::KindNotServed(Kind::ServerToUser)),
        );
    }

    #[test]
    fn client_events_have_limits_and_a_switch() {
        let data = RawValue::from_string("[1,2,3]".to_owned()).unwrap();
        let check = |change: fn(&mut App), expected: Result<(), ClientError>| {
            let mut app = App::new("1", "key", "secret");
            change(&mut app);
            assert_eq!(may_send(&app, "client-ü", Some(&data)), expected);
        };
        check(|_| {}, Ok(()));
        check(|app| (app.max_event_name, app.max_event_bytes) = (8, 7), Ok(()));
        let error = ClientError::ClientEventName { characters: 8, limit: 7 };
        check(|app| app.max_event_name = 7, Err(error));
        let error = ClientError::ClientEventTooBig { bytes: 7, limit: 6 };
        check(|app| app.max_event_bytes = 6, Err(error));
        check(|app| app.client_events = false, Err(ClientError::ClientEventsDisabled));
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
}

//! ⑥ The whole talk with a client, in one screen: [`Pusher`] is the Handler that a server of the Pusher protocol runs.
//!
//! ```text
//!   101 ──▶ refused: pusher:error, close          the code says whether the client comes back
//!    │
//!    ▼
//!   connection_established ──▶ ping ⇄ pong, subscribe ──▶ subscription_succeeded ──▶ events of both sides ──▶ close
//!                                   signin ──▶ signin_success ──▶ watchlist_events
//! ```
//!
//! A connection's tag is the number of its app, and whether it is authorised; 0 stands for a client that was refused.

use std::sync::Arc;
use std::time::Duration;

use super::api;
use super::apps::{AUTHORISED, App, Apps};
use super::channel::Kind;
use super::client::{self, Clients, Introduction};
use super::compat::OverQuota;
pub(super) use super::desk::Desk;
use super::directory::{Answer, Directory, Refusal, Welcome, Word};
use super::error::{ClientError, SubscriptionError};
use super::hooks::{Observer, Pages};
use super::message::{self, Command};
use super::reload::Incoming;
use super::users;
use crate::metrics::Counter;
use crate::{
    CloseCode, CloseFrame, Conn, ConnError, Handler, Idle, Message, MessageKind, Patience,
    Prepared, Request, Response, Upgrade,
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
    /// How much one core keeps of the last events of cache channels.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path_prefix: String::new(),
            debug: false,
            timestamp_tolerance_seconds: 600,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The Pusher protocol as a Handler. One value per core.
#[derive(Debug)]
pub struct Pusher {
    /// Those in force on this core.
    pub(super) apps: Arc<Apps>,
    /// Where others come from that take their place.
    incoming: Option<Incoming>,
    pub(super) options: Arc<Options>,
    pub(super) pages: Option<Box<dyn Pages>>,
    /// Who is told of clients' events.
    observer: Option<Box<dyn Observer>>,
    /// API requests that wait for answers of home cores.
    pub(super) gathers: api::Gathers,
    pub(super) desk: Desk,
    pub(super) clients: Clients,
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
            incoming: None,
            options,
            pages: None,
            observer: None,
            gathers: api::Gathers::default(),
            desk: Desk::default(),
            clients: Clients::default(),
            pong: Prepared::new(MessageKind::Text, message::PONG.as_bytes()),
            ping: Prepared::new(MessageKind::Text, message::PING.as_bytes()),
        }
    }

    /// Takes over other apps as they come in.
    #[must_use]
    pub fn with_incoming(self, incoming: Incoming) -> Self {
        Self { incoming: Some(incoming), ..self }
    }

    /// Offers requests that are none of the protocol's to these pages.
    #[must_use]
    pub fn with_pages(self, pages: Box<dyn Pages>) -> Self {
        Self { pages: Some(pages), ..self }
    }

    /// Tells an observer what clients send to each other.
    #[must_use]
    pub fn with_observer(self, observer: Box<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
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
        // A client waits some seconds for our first word, and then comes back; refused, it would stay away longer.
        if conn.is_stopping() {
            return;
        }
        match self.admit(conn.upgrade()) {
            Ok((tag, app)) => {
                conn.set_tag(tag);
                if let Some(seconds) = app.authorisation_timeout_seconds {
                    conn.remind(Duration::from_secs(seconds.into()));
                }
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
        if let Some(rate) = app.message_rate()
            && !self.clients.may_speak(conn.id(), conn.now(), rate)
        {
            return self.desk.refuse_message(conn, app);
        }
        // Binary is served like text, as it always was, if it is text.
        let text = message.text().or_else(|| str::from_utf8(message.bytes()).ok());
        match text.ok_or(ClientError::InvalidMessage).and_then(Command::read) {
            Ok(Command::Ping) => conn.send(self.pong.clone()),
            Ok(Command::SignIn(wish)) => {
                if let Err(error) = self.desk.sign_in(conn, app, &mut self.clients, &wish) {
                    self.desk.answer_error(conn, &error, None);
                }
            }
            Ok(Command::Subscribe(wish)) => self.desk.subscribe(conn, app, &self.clients, &wish),
            Ok(Command::Unsubscribe { channel }) => {
                app.write_topic(&channel, &mut self.desk.topic);
                conn.unsubscribe(&self.desk.topic);
                self.clients.left(conn.id(), &channel);
            }
            Ok(Command::ClientEvent(event)) => {
                let observer = self.observer.as_deref();
                let result = self.desk.pass_on(conn, app, &mut self.clients, &event, observer);
                if let Err(error) = result {
                    self.desk.answer_error(conn, &error, Some(&event.channel));
                }
            }
            Ok(Command::Other | Command::Pong) => {}
            Err(error) => self.desk.answer_error(conn, &error, None),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_, Directory>, topic: &str) {
        let app = self.apps.by_tag(conn.tag());
        let Some(channel) = app.and_then(|app| app.channel_of(topic)) else { return };
        mark_if_signed(conn, channel);
        self.desk.send(conn, |json| message::write_subscription_succeeded(json, channel));
    }

    fn on_welcome(&mut self, conn: &mut Conn<'_, Directory>, topic: &str, welcome: Welcome) {
        let Some(app) = self.apps.by_tag(conn.tag()) else { return };
        let (desk, clients) = (&mut self.desk, &mut self.clients);
        // Users have topics that are no channels.
        let channel = app.channel_of(topic).unwrap_or_default();
        mark_if_signed(conn, channel);
        let last = match welcome {
            Welcome::SignedIn { user_data } => {
                mark_authorised(conn);
                desk.send(conn, |json| message::write_signin_success(json, &user_data));
                return desk.watch(conn, app, clients);
            }
            Welcome::Watching { is_online } => {
                let user = users::user_of(topic).unwrap_or_default();
                return desk.tell_watched(conn, clients, user, is_online);
            }
            Welcome::Cached { last } => {
                desk.send(conn, |json| message::write_subscription_succeeded(json, channel));
                last
            }
            Welcome::Member { succeeded, user_id, last } => {
                clients.joined(conn.id(), channel, user_id);
                conn.send(succeeded);
                last
            }
        };
        match last {
            Some(event) => conn.send(event),
            None if Kind::of(channel).is_cached() => {
                desk.send(conn, |json| message::write_cache_miss(json, channel));
            }
            None => {}
        }
    }

    fn on_refused(&mut self, conn: &mut Conn<'_, Directory>, topic: &str, refusal: Refusal) {
        let app = self.apps.by_tag(conn.tag());
        let Some(channel) = app.and_then(|app| app.channel_of(topic)) else { return };
        let Refusal::Full { limit } = refusal;
        self.desk.refuse_subscription(conn, channel, &SubscriptionError::Full { limit });
    }

    fn on_word(&mut self, conn: &mut Conn<'_, Directory>, word: Word) {
        match word {
            Word::Terminate => self.desk.refuse(conn, &ClientError::Terminated),
            Word::Watched { user, is_online } => {
                self.desk.tell_watched(conn, &mut self.clients, &user, is_online);
            }
        }
    }

    fn on_reminder(&mut self, conn: &mut Conn<'_, Directory>) {
        let app = self.apps.by_tag(conn.tag());
        let seconds = app.and_then(|app| app.authorisation_timeout_seconds);
        if let Some(seconds) = seconds.filter(|_| conn.tag() & AUTHORISED == 0) {
            conn.count(Counter::AuthorisationsLate);
            self.desk.refuse(conn, &ClientError::Unauthorised { seconds });
        }
    }

    fn on_idle(&mut self, conn: &mut Conn<'_, Directory>, idle: Idle) {
        match idle {
            // A control ping is on its way. Who never answered one may still answer the protocol's own; but whoever was
            // not greeted would take that for the greeting.
            Idle::Silent { answers_pings: false } if self.apps.by_tag(conn.tag()).is_some() => {
                conn.send(self.ping.clone());
            }
            Idle::Silent { .. } => {}
            Idle::Expired => self.desk.refuse(conn, &ClientError::PongMissing),
        }
    }

    fn patience(&self, tag: u32) -> Option<Patience> {
        self.apps.by_tag(tag).map(patience)
    }

    fn message_bytes(&self, tag: u32) -> Option<usize> {
        self.apps.by_tag(tag).map(|app| app.max_message_bytes)
    }

    fn outbox_bytes(&self, tag: u32) -> Option<usize> {
        self.apps.by_tag(tag).map(|app| app.max_outbox_bytes)
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
        self.clients.forget(conn.id());
    }

    fn on_notice(&mut self, directory: &mut Directory) {
        if let Some(apps) = self.incoming.as_ref().and_then(Incoming::take) {
            directory.replace_apps(Arc::clone(&apps));
            self.apps = apps;
        }
    }

    fn on_review(&mut self, conn: &mut Conn<'_, Directory>) {
        if let Some(error) = self.apps.farewell(conn.tag()) {
            self.desk.refuse(conn, &error);
        }
    }

    fn on_shutdown(&mut self, conn: &mut Conn<'_, Directory>) {
        // Who came while the server stops is to come back once it has stopped, not at once.
        let is_greeted = self.apps.by_tag(conn.tag()).is_some();
        self.desk.refuse(conn, &ClientError::Stopping { is_greeted });
    }

    fn on_request(&mut self, conn: &mut Conn<'_, Directory>, request: &Request<'_>) {
        api::serve(self, conn, request);
    }

    fn on_answer(&mut self, conn: &mut Conn<'_, Directory>, ticket: u64, answer: Answer) {
        api::answered(self, conn, ticket, answer);
    }
}

/// The client is on a channel; whoever is on one that is signed is known to the application.
fn mark_if_signed(conn: &mut Conn<'_, Directory>, channel: &str) {
    if Kind::of(channel).needs_signature() {
        mark_authorised(conn);
    }
}

/// The client has shown that the application knows it: the time for that does not end it any more.
fn mark_authorised(conn: &mut Conn<'_, Directory>) {
    conn.set_tag(conn.tag() | AUTHORISED);
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
        admit(&self.apps, path, request.query(), origin(request))
    }
}

/// The page that a browser connects for. Two are none: no browser sends them.
fn origin<'r>(request: &Request<'r>) -> Option<&'r str> {
    let mut origins = request.header_values("Origin");
    let origin = origins.next()?;
    str::from_utf8(origin).ok().filter(|_| origins.next().is_none())
}

/// Who asks, and whether they may come in. Whoever may is counted.
fn admit<'a>(
    apps: &'a Apps,
    path: &str,
    query: &str,
    origin: Option<&str>,
) -> Result<(u32, &'a App), ClientError> {
    let introduction = Introduction::read(path, query)?;
    let Some((tag, app)) = apps.tagged(&introduction.key) else {
        return Err(ClientError::AppUnknown { key: introduction.key.into_owned() });
    };
    if !app.enabled {
        return Err(ClientError::AppDisabled);
    }
    if !app.allowed_origins.allow(origin) {
        return Err(ClientError::OriginNotAllowed);
    }
    match (apps.admit(tag), app.over_quota) {
        (true, _) => Ok((tag, app)),
        (false, OverQuota::Refuse) => Err(ClientError::OverQuota),
        (false, OverQuota::Wait) => Err(ClientError::OverCapacity),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(admit(apps, path, "protocol=7", None).map(|(tag, _)| tag), expected, "{path}");
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
            let error = admit(&apps, path, query, None).unwrap_err();
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
    fn a_page_of_another_origin_is_refused_and_not_counted() {
        let mut app = App::new("1", "key", "secret");
        app.allowed_origins = "*.example.com".parse().unwrap();
        app.max_connections = Some(1);
        let apps = Apps::new(vec![app]).unwrap();
        let admit = |origin| admit(&apps, "/app/key", "", origin).map(|(tag, _)| tag);
        for origin in [None, Some("null"), Some("https://evil.example")] {
            assert_eq!(admit(origin), Err(ClientError::OriginNotAllowed), "{origin:?}");
        }
        assert_eq!(admit(Some("https://www.example.com")), Ok(1));
        // Whose page may not connect does not learn that the app is full.
        assert_eq!(admit(Some("https://evil.example")), Err(ClientError::OriginNotAllowed));
        assert_eq!(admit(Some("https://www.example.com")), Err(ClientError::OverQuota));
    }

    #[test]
    fn nothing_is_allocated_for_a_ping_of_a_client() {
        let apps = Arc::new(apps());
        let make = |_core| {
            let options = Arc::new(Options::default());
            let directory = Directory::new(Arc::clone(&apps), &options);
            (Pusher::new(Arc::clone(&apps), options), directory)
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
}

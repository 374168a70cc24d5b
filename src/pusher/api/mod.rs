//! The HTTP API that back ends publish through.
//!
//! ```text
//!   request ──▶ routes ──▶ app? ──▶ signed? ──▶ events: read ──▶ publish ──▶ 200 {}
//!                  │ none        403, 404   401    │ 400, 413     503  │ info?
//!                  ▼                               │                   ▼
//!                pages, or 404                     ├─ key? ──▶ gather: ask homes ──▶ 200 with what they told
//!                                                  └─ channels, users ─▲
//! ```

mod channels;
mod error;
mod events;
mod gather;
mod health;
mod info;
mod routes;
mod users;

#[cfg(any(test, fuzzing))]
pub use events::fuzz_events;
pub(super) use gather::Gathers;

use self::error::ApiError;
use self::gather::{Outcome, Shape, Wait};
use self::routes::{Method, Route, What};
use super::Pusher;
use super::apps::{App, Apps};
use super::client;
use super::conversation::Desk;
use super::directory::{Answer, Directory, Question};
use super::query::{Parameters, Spelling};
use super::signature::{Clock, Credentials, RequestError, SignedRequest};
use crate::{Conn, Request, Response};

/// Answers a request, now or once the answers of home cores have come.
pub(super) fn serve(pusher: &mut Pusher, conn: &mut Conn<'_, Directory>, request: &Request<'_>) {
    let prefix = &pusher.options.path_prefix;
    let path = client::strip_prefix(request.path(), prefix);
    let result = match Route::of(path) {
        Some(route) => check_method(route.method(), request.method())
            .and_then(|()| serve_route(pusher, conn, request, &route)),
        None => page(pusher, request, path).map(Some),
    };
    respond(conn, result, pusher.options.debug);
}

/// Takes the answer of a home core. The last one to a request answers it, or lets it go on.
pub(super) fn answered(
    pusher: &mut Pusher,
    conn: &mut Conn<'_, Directory>,
    ticket: u64,
    answer: Answer,
) {
    let Pusher { apps, options, gathers, desk, .. } = pusher;
    let result = match gathers.answered(ticket, answer) {
        None => return,
        Some(Outcome::Answer(json)) => Ok(Some(json)),
        // Reverb's own answer; no error of ours has that shape.
        Some(Outcome::Vacant) => return conn.respond(Response::json(404, "{}")),
        Some(Outcome::Claimed(held, claim)) => app_named(apps, &held.app)
            .and_then(|app| events::resume(&mut Asker { conn, app, gathers, desk }, held, claim)),
        Some(Outcome::Settled(held, result)) => result
            .and_then(|()| app_named(apps, &held.app))
            .and_then(|app| events::conclude(&mut Asker { conn, app, gathers, desk }, &held)),
    };
    respond(conn, result.map(|json| json.map(ok)), options.debug);
}

fn ok(json: String) -> Response {
    Response::json(200, json)
}

fn respond(
    conn: &mut Conn<'_, Directory>,
    result: Result<Option<Response>, ApiError>,
    debug: bool,
) {
    match result {
        Ok(Some(response)) => conn.respond(response),
        Ok(None) => {}
        Err(error) => {
            conn.count(error.counter());
            conn.respond(error.response(debug));
        }
    }
}

fn serve_route(
    pusher: &mut Pusher,
    conn: &mut Conn<'_, Directory>,
    request: &Request<'_>,
    route: &Route<'_>,
) -> Result<Option<Response>, ApiError> {
    let Pusher { apps, options, gathers, desk, .. } = pusher;
    let (id, what) = match route {
        Route::App { id, what } => (id.as_deref(), what),
        Route::Up => return Ok(Some(health::up())),
    };
    let clock = Clock {
        unix_seconds: conn.unix_seconds(),
        tolerance_seconds: options.timestamp_tolerance_seconds,
    };
    let app = app_of(apps, id, request.query())?;
    // Before the signature: whoever sends too much shall not make us hash it.
    check_body(app, request.body())?;
    check_signed(app, request, &options.path_prefix, clock)?;
    let query = request.query();
    let asker = &mut Asker { conn, app, gathers, desk };
    let answer = match what {
        What::BatchEvents => events::serve(asker, request, Shape::Batch)?,
        What::Channel(channel) => channels::show(asker, channel, query).map(|()| None)?,
        What::Channels => channels::list(asker, query).map(|()| None)?,
        What::Connections => {
            Some(users::connections(apps.connections(&app.id).unwrap_or_default()))
        }
        What::Events => events::serve(asker, request, Shape::Channels)?,
        What::Terminate(user) => users::terminate(asker, user).map(|()| None)?,
        What::Users(channel) => channels::users(asker, channel, query).map(|()| None)?,
    };
    Ok(answer.map(ok))
}

/// The app that the path names or, if it names none, whose key the request is signed with.
fn app_of<'a>(apps: &'a Apps, id: Option<&str>, query: &str) -> Result<&'a App, ApiError> {
    if let Some(id) = id {
        return app_named(apps, id);
    }
    let query = Parameters::read(query, Spelling::Form);
    let missing = RequestError::Missing { parameter: "auth_key" };
    let key = query.find("auth_key").ok_or(ApiError::Unauthorised(missing))?;
    apps.by_key(key).ok_or_else(|| ApiError::KeyUnknown { got: key.to_owned() })
}

fn app_named<'a>(apps: &'a Apps, id: &str) -> Result<&'a App, ApiError> {
    apps.by_id(id).ok_or_else(|| ApiError::AppUnknown { id: id.to_owned() })
}

/// All that a request of an app needs to ask homes.
struct Asker<'a, 'c> {
    conn: &'a mut Conn<'c, Directory>,
    app: &'a App,
    gathers: &'a mut Gathers,
    desk: &'a mut Desk,
}

impl Asker<'_, '_> {
    fn check_room(&mut self) -> Result<(), ApiError> {
        let room = self.gathers.has_room(self.conn.unix_seconds());
        room.map_err(|limit| ApiError::NoRoomToAsk { limit })
    }

    /// Asks the home of one channel.
    fn ask(&mut self, channel: &str, question: Question, wait: Wait) -> Result<(), ApiError> {
        self.check_room()?;
        let ticket = self.gathers.begin(self.conn.unix_seconds(), 1, wait);
        self.app.write_topic(channel, &mut self.desk.topic);
        self.conn.ask(&self.desk.topic, question, ticket);
        Ok(())
    }

    /// Asks every core.
    fn ask_all(&mut self, question: &Question, wait: Wait) -> Result<(), ApiError> {
        self.check_room()?;
        let cores = self.conn.cores();
        let ticket = self.gathers.begin(self.conn.unix_seconds(), cores, wait);
        self.conn.ask_all(question, ticket);
        Ok(())
    }
}

fn check_body(app: &App, body: &[u8]) -> Result<(), ApiError> {
    let (bytes, limit) = (body.len(), app.max_body_bytes);
    if bytes > limit { Err(ApiError::BodyTooBig { bytes, limit }) } else { Ok(()) }
}

fn check_signed(
    app: &App,
    request: &Request<'_>,
    prefix: &str,
    clock: Clock,
) -> Result<(), ApiError> {
    let signed = SignedRequest {
        method: request.method(),
        path: request.path(),
        query: request.query(),
        body: request.body(),
    };
    let credentials = Credentials { key: &app.key, secret: &app.secret };
    signed.verify(credentials, prefix, clock).map_err(ApiError::Unauthorised)?;
    if app.enabled { Ok(()) } else { Err(ApiError::AppDisabled) }
}

fn check_method(allowed: Method, got: &str) -> Result<(), ApiError> {
    if allowed.allows(got) {
        Ok(())
    } else {
        Err(ApiError::Method { got: got.to_owned(), allowed: allowed.names() })
    }
}

/// What is none of the protocol's.
fn page(pusher: &Pusher, request: &Request<'_>, path: &str) -> Result<Response, ApiError> {
    let page = pusher.pages.as_ref().and_then(|pages| pages.page(&pusher.apps, request));
    match page {
        Some(page) => Ok(page),
        // RFC 9110 §15.5.22.
        None if client::is_for_clients(path) => {
            Ok(Response::text(426, "Pusher clients connect here by WebSocket.\n")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13"))
        }
        None => Err(ApiError::RouteUnknown { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::signature::signed_query;
    use super::super::{App, Apps, Options, Pages};
    use super::*;
    use crate::http::{Limits, Protocol};
    use crate::{Handler, Upgrade};

    const NOW: u64 = 1_353_088_179;

    /// Hands a request, as it stands on the wire, to whoever tests something with it.
    fn with_request<T>(text: &str, test: impl FnOnce(&Request<'_>) -> T) -> T {
        let limits = Limits { head_bytes: 4096, headers: 16, body_bytes: 4096 };
        let mut protocol = Protocol::new();
        protocol.receive(text.as_bytes());
        let request = protocol.next(&limits).unwrap().expect("a whole request");
        test(&request)
    }

    fn get<T>(target: &str, test: impl FnOnce(&Request<'_>) -> T) -> T {
        with_request(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), test)
    }

    fn pusher(path_prefix: &str) -> Pusher {
        let apps = Apps::new(vec![App::new("3", "key", "secret")]).unwrap();
        let options = Options { path_prefix: path_prefix.into(), ..Options::default() };
        Pusher::new(Arc::new(apps), Arc::new(options))
    }

    fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
        let found = response.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_ref())
    }

    struct OnePage;

    impl Pages for OnePage {
        fn page(&self, _apps: &Apps, request: &Request<'_>) -> Option<Response> {
            (request.path() == "/").then(|| Response::text(200, "page"))
        }
    }

    #[test]
    fn upgrades_of_clients_are_accepted_whatever_their_key() {
        let mut pusher = pusher("/ws");
        for target in [
            "/app/key?protocol=7",
            "/app/nobody",
            "/ws/app/key",
            "/app/r/t/app/key",
            "/app/",
            "/app",
        ] {
            assert_eq!(
                get(target, |request| pusher.on_upgrade(request)),
                Upgrade::accept(),
                "{target}"
            );
        }
    }

    #[test]
    fn upgrades_elsewhere_are_refused_with_404() {
        let mut pusher = pusher("/ws");
        for target in ["/", "/apps/3/events", "/other/apps/key", "/wsx/application/key"] {
            match get(target, |request| pusher.on_upgrade(request)) {
                Upgrade::Refuse(response) => assert_eq!(response.status, 404, "{target}"),
                Upgrade::Accept { .. } => panic!("{target} was accepted"),
            }
        }
    }

    #[test]
    fn a_request_is_believed_with_and_without_the_prefix() {
        let body = "{}";
        let app = App::new("3", "key", "secret");
        let credentials = Credentials { key: "key", secret: &"secret".into() };
        let clock = Clock { unix_seconds: NOW, tolerance_seconds: 600 };
        for (path, signed_path) in [
            ("/apps/3/events", "/apps/3/events"),
            ("/ws/apps/3/events", "/apps/3/events"),
            ("/ws/apps/3/events", "/ws/apps/3/events"),
        ] {
            let query = signed_query(credentials, "POST", signed_path, body.as_bytes(), NOW);
            let text = format!(
                "POST {path}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let result = with_request(&text, |request| check_signed(&app, request, "/ws", clock));
            assert_eq!(result, Ok(()), "{path} signed as {signed_path}");
        }
        let missing = RequestError::Missing { parameter: "auth_key" };
        let result = get("/apps/3/events", |request| check_signed(&app, request, "", clock));
        assert_eq!(result, Err(ApiError::Unauthorised(missing)));
    }

    #[test]
    fn an_app_is_found_by_its_id_or_by_the_key_that_signed() {
        let pusher = pusher("");
        let find = |id, query| app_of(&pusher.apps, id, query).map(|app| app.id.as_str());
        assert_eq!(find(Some("3"), ""), Ok("3"));
        assert_eq!(
            find(Some("key"), "auth_key=key"),
            Err(ApiError::AppUnknown { id: "key".into() })
        );
        assert_eq!(find(None, "a=b&auth_key=key"), Ok("3"));
        assert_eq!(find(None, "auth_key=x"), Err(ApiError::KeyUnknown { got: "x".into() }));
        let missing = RequestError::Missing { parameter: "auth_key" };
        assert_eq!(find(None, ""), Err(ApiError::Unauthorised(missing)));
    }

    #[test]
    fn a_disabled_app_is_refused_once_the_signature_holds() {
        let mut app = App::new("3", "key", "secret");
        app.enabled = false;
        let credentials = Credentials { key: "key", secret: &"secret".into() };
        let clock = Clock { unix_seconds: NOW, tolerance_seconds: 600 };
        let query = signed_query(credentials, "GET", "/p", b"", NOW);
        let result = get(&format!("/p?{query}"), |request| check_signed(&app, request, "", clock));
        assert_eq!(result, Err(ApiError::AppDisabled));
    }

    #[test]
    fn refusals_carry_the_headers_that_say_what_to_do() {
        let wrong = check_method(Method::Post, "GET").unwrap_err().response(false);
        assert_eq!((wrong.status, header(&wrong, "Allow")), (405, Some("POST")));
        let busy = ApiError::Busy { published: 0, channels: 1 }.response(false);
        assert_eq!((busy.status, header(&busy, "Retry-After")), (503, Some("1")));
    }

    #[test]
    fn what_has_no_route_is_offered_to_the_pages() {
        let pusher = pusher("").with_pages(Box::new(OnePage));
        let status = |target: &str| {
            get(target, |request| page(&pusher, request, request.path())).map(|page| page.status)
        };
        assert_eq!((status("/"), status("/app/key")), (Ok(200), Ok(426)));
        assert_eq!(status("/x"), Err(ApiError::RouteUnknown { path: "/x".into() }));
    }
}

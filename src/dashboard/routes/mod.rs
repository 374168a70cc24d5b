//! What the page's requests are answered.
//!
//! Signing is the one thing here that another site would want, and its browser would carry its requests to us. Four
//! things stop it: `Origin` must be the page's own; the header `X-Stentor` cannot be sent across origins without a
//! preflight, which is answered 405; on loopback `Host` must be a name of this machine; and nothing is ever signed but
//! `POST …/apps/‹id›/events`, and subscriptions to private and presence channels.

use serde::{Deserialize, Serialize};

use super::{Options, Trust};
use crate::pusher::channel::Kind;
use crate::pusher::signature::{Credentials, channel_signature, signed_query};
use crate::pusher::{App, Apps};
use crate::{Response, SocketId};

const PAGE: &str = include_str!("../assets/index.html");
const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/app.js");

/// Nothing but our own files, no inline script, no frame around us. `'self'` covers the WebSocket to ourselves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What matters here of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `X-Stentor`.
    pub marker: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// The answer, or `None` for what is not of this page.
pub fn answer(options: &Options, apps: &Apps, asked: &Asked<'_>) -> Option<Response> {
    let content = match asked.path {
        "/" => Content::Text("text/html; charset=utf-8", PAGE),
        "/dashboard/style.css" => Content::Text("text/css; charset=utf-8", STYLE),
        "/dashboard/app.js" => Content::Text("text/javascript; charset=utf-8", SCRIPT),
        "/dashboard/apps" => Content::Apps,
        "/dashboard/sign" => Content::Signature,
        "/dashboard/auth" => Content::Subscription,
        _ => return None,
    };
    let response = match (content, asked.method) {
        _ if !is_trusted_host(options.trust, asked.host) => {
            refuse(403, "open this page as http://localhost")
        }
        (Content::Text(kind, text), "GET" | "HEAD") => {
            Response::with_body(200, kind, text.as_bytes())
        }
        (Content::Apps, "GET" | "HEAD") => Response::json(200, shown(options, apps)),
        (Content::Signature, "POST") => sign(options, apps, asked),
        (Content::Subscription, "POST") => authorise(apps, asked),
        (Content::Signature | Content::Subscription, _) => {
            refuse(405, "only POST").header("Allow", "POST")
        }
        (_, _) => refuse(405, "only GET").header("Allow", "GET, HEAD"),
    };
    Some(guarded(response))
}

enum Content {
    Apps,
    Signature,
    Subscription,
    Text(&'static str, &'static str),
}

/// `no-cache`: the next version of the server brings the next version of the page.
fn guarded(response: Response) -> Response {
    response
        .header("Content-Security-Policy", POLICY)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-cache")
}

fn refuse(status: u16, reason: &str) -> Response {
    #[derive(Serialize)]
    struct Refusal<'r> {
        error: &'r str,
    }
    Response::json(status, to_json(&Refusal { error: reason }))
}

fn is_trusted_host(trust: Trust, host: Option<&str>) -> bool {
    let name = host.map(without_port);
    trust == Trust::Anybody
        || name.is_some_and(|name| matches!(name, "localhost" | "[::1]") || is_loopback_v4(name))
}

fn is_loopback_v4(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What the page shows of the apps: never a secret.
fn shown(options: &Options, apps: &Apps) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        path: &'a str,
        apps: Vec<ShownApp<'a>>,
    }
    #[derive(Serialize)]
    struct ShownApp<'a> {
        id: &'a str,
        key: &'a str,
    }
    let apps =
        apps.iter().filter(|app| app.enabled).map(|app| ShownApp { id: &app.id, key: &app.key });
    to_json(&Shown { path: &options.path_prefix, apps: apps.collect() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignRequest {
    app: String,
    path: String,
    body: String,
}

fn sign(options: &Options, apps: &Apps, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Signed {
        query: String,
    }
    if !is_from_the_page(asked) {
        return refuse(403, "only the page at / of this server may ask for signatures");
    }
    let Ok(request) = serde_json::from_slice::<SignRequest>(asked.body) else {
        return refuse(400, "expected {\"app\":\"…\",\"path\":\"…\",\"body\":\"…\"}");
    };
    let Some(app) = apps.by_id(&request.app).filter(|app| app.enabled) else {
        return refuse(404, "no such app");
    };
    if request.path != events_path(options, app) {
        return refuse(403, "only publishing is signed here");
    }
    let credentials = Credentials { key: &app.key, secret: &app.secret };
    // SDKs sign the path without the prefix, and the server accepts both; so does the page, to show what they send.
    let path = format!("/apps/{}/events", app.id);
    let query = signed_query(credentials, "POST", &path, request.body.as_bytes(), (options.now)());
    Response::json(200, to_json(&Signed { query }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthRequest {
    app: String,
    socket_id: String,
    channel: String,
}

/// Signs a subscription of the page. On presence channels each page is a user of its own.
fn authorise(apps: &Apps, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Authorised {
        auth: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_data: Option<String>,
    }
    if !is_from_the_page(asked) {
        return refuse(403, "only the page at / of this server may ask for signatures");
    }
    let Ok(request) = serde_json::from_slice::<AuthRequest>(asked.body) else {
        return refuse(400, "expected {\"app\":\"…\",\"socket_id\":\"…\",\"channel\":\"…\"}");
    };
    let AuthRequest { app, socket_id, channel } = request;
    let Some(app) = apps.by_id(&app).filter(|app| app.enabled) else {
        return refuse(404, "no such app");
    };
    let kind = Kind::of(&channel);
    if !kind.needs_signature() || socket_id.parse::<SocketId>().is_err() {
        return refuse(403, "only subscriptions to private and presence channels are signed here");
    }
    let member = || serde_json::json!({ "user_id": format!("page {socket_id}") }).to_string();
    let channel_data = kind.has_members().then(member);
    let signature = channel_signature(&app.secret, &socket_id, &channel, channel_data.as_deref());
    let auth = format!("{}:{signature}", app.key);
    Response::json(200, to_json(&Authorised { auth, channel_data }))
}

fn is_from_the_page(asked: &Asked<'_>) -> bool {
    is_same_origin(asked.origin, asked.host) && asked.marker == Some("dashboard")
}

fn events_path(options: &Options, app: &App) -> String {
    format!("{}/apps/{}/events", options.path_prefix, app.id)
}

/// Browsers send `Origin` with every POST. TLS may end at a proxy, so the scheme says nothing here.
fn is_same_origin(origin: Option<&str>, host: Option<&str>) -> bool {
    let bare = origin.and_then(|origin| {
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
    });
    bare.is_some() && bare == host
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and lists of text are JSON")
}

#[cfg(test)]
mod tests;

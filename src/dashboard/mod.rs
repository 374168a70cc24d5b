//! The page at `/`: subscribe, publish and watch events arrive, in the browser.
//!
//! ```text
//!  browser ── GET / ──────────────────▶ routes: the page itself
//!          ── WebSocket /app/KEY ─────▶ the Pusher room, as any client
//!          ── POST /dashboard/sign ───▶ routes: signs one publish request   (the secret stays here)
//!          ── POST /dashboard/auth ───▶ routes: signs one subscription
//!          ── POST /apps/1/events?… ──▶ the Pusher room, as any back end
//! ```
//!
//! Whoever can open the page can publish. So it is off unless nobody but this machine can come, and signing asks for
//! what another site's page cannot send: see [`routes`]. Knows no socket, no clock and no settings.

pub mod routes;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pusher::{Apps, Pages};
use crate::{Request, Response};

/// What the page is told.
#[derive(Clone)]
pub struct Options {
    /// Whether it is there at all; may change while the server runs.
    pub is_served: Arc<AtomicBool>,
    /// The prefix of the Pusher room's paths.
    pub path_prefix: String,
    /// Who may use it.
    pub trust: Trust,
    /// Seconds since the Unix epoch.
    pub now: fn() -> u64,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// By which names the page may be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// By any: its owner opened it to whoever can reach the address.
    Anybody,
    /// By names of this machine alone. A page of another site cannot come by a name of its own that it points at
    /// 127.0.0.1 (DNS rebinding).
    Loopback,
}

/// The page.
#[derive(Debug)]
pub struct Dashboard {
    options: Arc<Options>,
}

impl Dashboard {
    /// One per core.
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

impl Pages for Dashboard {
    fn page(&self, apps: &Apps, request: &Request<'_>) -> Option<Response> {
        if !self.options.is_served.load(Ordering::Relaxed) {
            return None;
        }
        let asked = routes::Asked {
            method: request.method(),
            path: request.path(),
            host: request.host(),
            origin: request.header("origin"),
            marker: request.header("x-stentor"),
            body: request.body(),
        };
        routes::answer(&self.options, apps, &asked)
    }
}

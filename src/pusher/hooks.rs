//! What the Pusher room calls out through. Other rooms implement these traits; this room never learns which.

use std::fmt;

use super::apps::Apps;
use crate::{Request, Response};

/// Whoever serves the requests that are none of the protocol's: the page at `/`, metrics.
pub trait Pages {
    /// The answer, by the apps that are in force; or `None` for a request that is not of these pages either; it then gets a 404.
    fn page(&self, apps: &Apps, request: &Request<'_>) -> Option<Response>;
}

impl fmt::Debug for dyn Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

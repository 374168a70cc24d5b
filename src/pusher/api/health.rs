//! Whether we are there: unsigned, for load balancers and process managers.

use crate::Response;

/// As Reverb answers it.
pub(super) fn up() -> Response {
    Response::json(200, r#"{"health":"OK"}"#)
}

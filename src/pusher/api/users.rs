//! Whom an app has connected: `GET /apps/{id}/connections`, and `POST …/users/{user}/terminate_connections`.

use super::super::directory::Question;
use super::Asker;
use super::error::ApiError;
use super::gather::Wait;

/// As Reverb answers it; Pulse draws its card from it.
pub(super) fn connections(count: usize) -> String {
    format!(r#"{{"connections":{count}}}"#)
}

/// Ends a user's connections. The homes of the channels that the user is on know them, so every core is told.
pub(super) fn terminate(asker: &mut Asker<'_, '_>, user: &str) -> Result<(), ApiError> {
    let question = Question::Terminate { app: asker.app.id.clone(), user: user.to_owned() };
    asker.ask_all(&question, Wait::Terminated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_a_number() {
        assert_eq!(connections(17), r#"{"connections":17}"#);
    }
}

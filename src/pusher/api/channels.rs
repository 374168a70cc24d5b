//! What back ends ask about channels: `GET /apps/{id}/channels`, `/channels/{channel}` and `/channels/{channel}/users`.

use std::collections::BTreeMap;

use super::super::channel::Kind;
use super::super::directory::{Facts, Question};
use super::super::query::{Parameters, Spelling};
use super::Asker;
use super::error::ApiError;
use super::gather::Wait;
use super::info::Info;

/// All that somebody is on. Every core tells of those whose home it is.
pub(super) fn list(asker: &mut Asker<'_, '_>, query: &str) -> Result<(), ApiError> {
    let query = Parameters::read(query, Spelling::Form);
    let info = Info::read(query.find("info").unwrap_or_default())?;
    let prefix = query.find("filter_by_prefix").unwrap_or_default().to_owned();
    info.check(asker.app, &prefix)?;
    let question = Question::Channels { app: asker.app.id.clone(), prefix };
    asker.ask_all(&question, Wait::Channels { info, found: BTreeMap::new() })
}

/// One, whether somebody is on it or not.
pub(super) fn show(asker: &mut Asker<'_, '_>, channel: &str, query: &str) -> Result<(), ApiError> {
    check_name(asker, channel)?;
    let query = Parameters::read(query, Spelling::Form);
    let info = Info::read_of_one(query.find("info").unwrap_or_default())?;
    info.check(asker.app, channel)?;
    let question = Question::Channel { wants_cache: info.cache };
    let wait = Wait::Channel { channel: channel.to_owned(), info, facts: Facts::default() };
    asker.ask(channel, question, wait)
}

/// The users on a presence channel.
pub(super) fn users(asker: &mut Asker<'_, '_>, channel: &str, query: &str) -> Result<(), ApiError> {
    check_name(asker, channel)?;
    if !Kind::of(channel).has_members() {
        return Err(ApiError::NotPresence { channel: channel.to_owned() });
    }
    let query = Parameters::read(query, Spelling::Form);
    let with_info = matches!(query.find("with_user_info"), Some("1" | "true"));
    let vacant = asker.app.vacant_users;
    asker.ask(channel, Question::Users, Wait::Users { members: Vec::new(), with_info, vacant })
}

fn check_name(asker: &Asker<'_, '_>, channel: &str) -> Result<(), ApiError> {
    let check = asker.app.naming().check(channel);
    check.map_err(|error| ApiError::Channel { name: channel.to_owned(), error })
}

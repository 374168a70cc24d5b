//! The paths of the API, without the prefix, in one match. Pure.
//!
//! Back ends put ids and names into paths encoded or as they are, so a name is all that stands between the fixed
//! parts, slashes included.

use std::borrow::Cow;

use super::super::percent::{self, Plus};

/// Where a request goes. Ids and names are decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Route<'r> {
    /// Something of an app.
    App {
        /// The app's id; `None`: the app whose key the request is signed with.
        id: Option<Cow<'r, str>>,
        /// What of it.
        what: What<'r>,
    },
    /// Are we there?
    Up,
}

/// What is asked of an app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What<'r> {
    /// Several events, each to one channel.
    BatchEvents,
    /// Facts on one channel.
    Channel(Cow<'r, str>),
    /// All channels that somebody is on.
    Channels,
    /// How many connections there are.
    Connections,
    /// One event, to one channel or several.
    Events,
    /// To end the connections of a user.
    Terminate(Cow<'r, str>),
    /// The users on a presence channel.
    Users(Cow<'r, str>),
}

impl<'r> Route<'r> {
    pub(super) fn of(path: &'r str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if path == "up" {
            return Some(Self::Up);
        }
        // The SDK for Python leaves the app out when it ends a user's connections.
        if let Some(what) = What::terminate(path) {
            return Some(Self::App { id: None, what });
        }
        let (id, rest) = path.strip_prefix("apps/")?.split_once('/')?;
        Some(Self::App { id: Some(decoded(id)), what: What::of(rest)? })
    }

    pub(super) fn method(&self) -> Method {
        match self {
            Self::App { what, .. } => what.method(),
            Self::Up => Method::Get,
        }
    }
}

impl<'r> What<'r> {
    fn of(path: &'r str) -> Option<Self> {
        match path {
            "batch_events" => return Some(Self::BatchEvents),
            "channels" => return Some(Self::Channels),
            "connections" => return Some(Self::Connections),
            "events" => return Some(Self::Events),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("channels/") {
            return match rest.strip_suffix("/users") {
                Some(channel) => name(channel).map(Self::Users),
                None => name(rest).map(Self::Channel),
            };
        }
        Self::terminate(path)
    }

    fn terminate(path: &'r str) -> Option<Self> {
        let user = path.strip_prefix("users/")?.strip_suffix("/terminate_connections")?;
        name(user).map(Self::Terminate)
    }

    fn method(&self) -> Method {
        match self {
            Self::Channel(_) | Self::Channels | Self::Connections | Self::Users(_) => Method::Get,
            Self::BatchEvents | Self::Events | Self::Terminate(_) => Method::Post,
        }
    }
}

fn name(text: &str) -> Option<Cow<'_, str>> {
    Some(decoded(text)).filter(|name| !name.is_empty())
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent::decode(text, Plus::Literal)
}

/// How a route may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// GET, and HEAD for whoever wants the status alone.
    Get,
    Post,
}

impl Method {
    pub(super) fn allows(self, method: &str) -> bool {
        match self {
            Self::Get => matches!(method, "GET" | "HEAD"),
            Self::Post => method == "POST",
        }
    }

    /// As the `Allow` header lists them.
    pub(super) fn names(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<Route<'_>>) {
        assert_eq!(Route::of(path), expected, "{path}");
    }

    fn check_app(path: &str, what: What<'_>) {
        check(path, Some(Route::App { id: Some("3".into()), what }));
    }

    #[test]
    fn routes_are_told_apart() {
        check_app("/apps/3/events", What::Events);
        check_app("/apps/3/batch_events", What::BatchEvents);
        check_app("/apps/3/channels", What::Channels);
        check_app("/apps/3/channels/news", What::Channel("news".into()));
        check_app("/apps/3/channels/presence-a/users", What::Users("presence-a".into()));
        check_app("/apps/3/connections", What::Connections);
        check_app("/apps/3/users/7/terminate_connections", What::Terminate("7".into()));
        check("/up", Some(Route::Up));
    }

    #[test]
    fn a_users_connections_may_be_ended_without_naming_the_app() {
        let what = What::Terminate("7".into());
        check("/users/7/terminate_connections", Some(Route::App { id: None, what }));
    }

    #[test]
    fn ids_and_names_are_decoded() {
        let route = Route::App { id: Some("a b".into()), what: What::Events };
        check("/apps/a%20b/events", Some(route));
        check_app("/apps/3/channels/a%3Db%2Cc", What::Channel("a=b,c".into()));
        check_app(
            "/apps/3/users/a%20%2F%C3%BC/terminate_connections",
            What::Terminate("a /ü".into()),
        );
        check_app("/apps/3/channels/a+b", What::Channel("a+b".into()));
    }

    #[test]
    fn names_may_have_slashes_that_nobody_encoded() {
        check_app("/apps/3/channels/a/b", What::Channel("a/b".into()));
        check_app("/apps/3/channels/presence-a/b/users", What::Users("presence-a/b".into()));
        check_app("/apps/3/users/a/b/terminate_connections", What::Terminate("a/b".into()));
        check_app("/apps/3/channels/users", What::Channel("users".into()));
    }

    #[test]
    fn other_paths_have_no_route() {
        for path in [
            "",
            "/",
            "apps/3/events",
            "/apps",
            "/apps/3",
            "/apps/3/",
            "/apps/3/events/",
            "/apps/3/events/x",
            "/apps/3/channels/",
            "/apps/3/channels//users",
            "/apps/3/connections/x",
            "/apps/3/users",
            "/apps/3/users/7",
            "/apps/3/users//terminate_connections",
            "/users/7",
            "/up/",
            "/Up",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn what_is_asked_is_got_and_what_is_done_is_posted() {
        assert!(
            Method::Get.allows("GET") && Method::Get.allows("HEAD") && !Method::Get.allows("POST")
        );
        assert!(
            Method::Post.allows("POST")
                && !Method::Post.allows("GET")
                && !Method::Post.allows("post")
        );
        for (path, method) in [
            ("/up", Method::Get),
            ("/apps/3/events", Method::Post),
            ("/apps/3/batch_events", Method::Post),
            ("/apps/3/channels", Method::Get),
            ("/apps/3/channels/a", Method::Get),
            ("/apps/3/channels/a/users", Method::Get),
            ("/apps/3/connections", Method::Get),
            ("/apps/3/users/7/terminate_connections", Method::Post),
            ("/users/7/terminate_connections", Method::Post),
        ] {
            assert_eq!(Route::of(path).map(|route| route.method()), Some(method), "{path}");
        }
    }
}

//! Who is shown what, and for whom is signed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::pusher::Apps;

const SIGN: Asked<'_> = Asked {
    method: "POST",
    path: "/dashboard/sign",
    host: Some("localhost:8080"),
    origin: Some("http://localhost:8080"),
    marker: Some("dashboard"),
    body: br#"{"app":"1","path":"/apps/1/events","body":"{}"}"#,
};

const LOOK: Asked<'_> = Asked {
    method: "GET",
    path: "/",
    host: Some("127.0.0.1:8080"),
    origin: None,
    marker: None,
    body: b"",
};

fn options(trust: Trust, path_prefix: &str) -> Options {
    let is_served = Arc::new(AtomicBool::new(true));
    Options { is_served, path_prefix: path_prefix.to_owned(), trust, now: || 1_353_088_179 }
}

fn apps() -> Apps {
    let disabled = App { enabled: false, ..App::new("2", "key-2", "secret-2") };
    Apps::new(vec![App::new("1", "key-1", "secret-1"), disabled]).unwrap()
}

fn ask(asked: &Asked<'_>) -> Option<Response> {
    answer(&options(Trust::Loopback, ""), &apps(), asked)
}

fn check(asked: Asked<'_>, status: u16) {
    assert_eq!(ask(&asked).map(|response| response.status), Some(status), "{asked:?}");
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[test]
fn the_page_and_its_parts_are_served_under_a_strict_policy() {
    for path in ["/", "/dashboard/style.css", "/dashboard/app.js", "/dashboard/apps"] {
        let response = ask(&Asked { path, ..LOOK }).unwrap();
        let policy =
            response.headers.iter().find(|(name, _)| name == "Content-Security-Policy").unwrap();
        assert!(response.status == 200 && policy.1.starts_with("default-src 'none'"), "{path}");
    }
}

#[test]
fn other_paths_are_left_to_others() {
    assert_eq!(ask(&Asked { path: "/dashboard", ..LOOK }), None);
    assert_eq!(ask(&Asked { path: "/apps/1/events", ..LOOK }), None);
}

#[test]
fn the_page_has_no_script_or_style_that_the_policy_forbids() {
    for forbidden in ["<style", " style=", " onclick", " onsubmit", "javascript:", "http-equiv"] {
        assert!(!PAGE.contains(forbidden), "{forbidden}");
    }
    assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script src=").count());
    for forbidden in ["innerHTML", "eval(", "document.write", ".style."] {
        assert!(!SCRIPT.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn nothing_is_fetched_from_elsewhere() {
    for asset in [PAGE, STYLE, SCRIPT] {
        for foreign in ["src=\"http", "href=\"http", "url(http", "@import", "//cdn"] {
            assert!(!asset.contains(foreign), "{foreign}");
        }
    }
}

#[test]
fn every_element_the_script_asks_for_is_on_the_page() {
    let ids: Vec<&str> =
        SCRIPT.split("byId(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(ids.len() > 10);
    for id in ids {
        assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

#[test]
fn apps_are_shown_without_secrets_and_only_if_enabled() {
    let shown = text(&ask(&Asked { path: "/dashboard/apps", ..LOOK }).unwrap());
    assert_eq!(shown, r#"{"path":"","apps":[{"id":"1","key":"key-1"}]}"#);
}

#[test]
fn a_publish_request_of_the_page_is_signed() {
    let response = ask(&SIGN).unwrap();
    let credentials = Credentials { key: "key-1", secret: &"secret-1".into() };
    let query = signed_query(credentials, "POST", "/apps/1/events", b"{}", 1_353_088_179);
    assert_eq!((response.status, text(&response)), (200, format!("{{\"query\":\"{query}\"}}")));
}

#[test]
fn a_prefixed_path_is_signed_without_its_prefix() {
    let body = br#"{"app":"1","path":"/ws/apps/1/events","body":"{}"}"#;
    let prefixed =
        answer(&options(Trust::Loopback, "/ws"), &apps(), &Asked { body, ..SIGN }).unwrap();
    assert_eq!(text(&prefixed), text(&ask(&SIGN).unwrap()));
}

const JOIN: Asked<'_> = Asked {
    path: "/dashboard/auth",
    body: br#"{"app":"1","socket_id":"1.2","channel":"private-a"}"#,
    ..SIGN
};

#[test]
fn a_subscription_of_the_page_is_signed() {
    let private = text(&ask(&JOIN).unwrap());
    let signature = channel_signature("secret-1", "1.2", "private-a", None);
    assert_eq!(private, format!("{{\"auth\":\"key-1:{signature}\"}}"));
    let body = br#"{"app":"1","socket_id":"1.2","channel":"presence-a"}"#;
    let presence = text(&ask(&Asked { body, ..JOIN }).unwrap());
    let member = r#"{"user_id":"page 1.2"}"#;
    let signature = channel_signature("secret-1", "1.2", "presence-a", Some(member));
    let expected = serde_json::json!({
        "auth": format!("key-1:{signature}"), "channel_data": member
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&presence).unwrap(), expected);
}

#[test]
fn only_subscriptions_to_signed_channels_of_an_enabled_app_are_signed() {
    for (body, status) in [
        (&br#"{"app":"1","socket_id":"1.2","channel":"news"}"#[..], 403),
        (br##"{"app":"1","socket_id":"1.2","channel":"#server-to-user-7"}"##, 403),
        (br#"{"app":"1","socket_id":"1.2","channel":":user::{}"}"#, 403),
        (br#"{"app":"1","socket_id":"1.2::user","channel":"private-a"}"#, 403),
        (br#"{"app":"2","socket_id":"1.2","channel":"private-a"}"#, 404),
        (br#"{"app":"1","channel":"private-a"}"#, 400),
        (b"", 400),
    ] {
        check(Asked { body, ..JOIN }, status);
    }
}

#[test]
fn another_sites_page_gets_no_signature() {
    check(Asked { origin: Some("http://evil.example"), ..JOIN }, 403);
    check(Asked { origin: None, ..JOIN }, 403);
    check(Asked { marker: None, ..JOIN }, 403);
    check(Asked { method: "OPTIONS", ..JOIN }, 405);
    check(Asked { origin: Some("http://evil.example"), ..SIGN }, 403);
    check(Asked { origin: Some("http://localhost:8081"), ..SIGN }, 403);
    check(Asked { origin: Some("null"), ..SIGN }, 403);
    check(Asked { origin: None, ..SIGN }, 403);
    check(Asked { marker: None, ..SIGN }, 403);
    check(Asked { method: "OPTIONS", ..SIGN }, 405);
    check(Asked { method: "GET", ..SIGN }, 405);
}

#[test]
fn a_name_that_was_pointed_at_loopback_is_refused() {
    check(
        Asked { host: Some("evil.example:8080"), origin: Some("http://evil.example:8080"), ..SIGN },
        403,
    );
    check(Asked { host: None, origin: Some("http://"), ..SIGN }, 403);
    check(Asked { host: Some("evil.example"), ..LOOK }, 403);
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
        check(Asked { host: Some(host), ..LOOK }, 200);
    }
}

#[test]
fn a_page_opened_to_all_answers_to_any_name() {
    let asked =
        Asked { host: Some("stentor.example"), origin: Some("https://stentor.example"), ..SIGN };
    assert_eq!(answer(&options(Trust::Anybody, ""), &apps(), &asked).unwrap().status, 200);
}

#[test]
fn only_publishing_to_an_enabled_app_is_signed() {
    check(
        Asked {
            body: br#"{"app":"1","path":"/apps/1/users/9/terminate_connections","body":""}"#,
            ..SIGN
        },
        403,
    );
    check(Asked { body: br#"{"app":"1","path":"/apps/2/events","body":""}"#, ..SIGN }, 403);
    check(Asked { body: br#"{"app":"2","path":"/apps/2/events","body":""}"#, ..SIGN }, 404);
    check(Asked { body: b"[]", ..SIGN }, 400);
}

#[test]
fn what_is_shown_and_signed_goes_by_the_apps_in_force() {
    let apps = Apps::new(vec![App::new("1", "key-1", "new-secret")]).unwrap();
    let options = options(Trust::Loopback, "");
    let shown = answer(&options, &apps, &Asked { path: "/dashboard/apps", ..LOOK }).unwrap();
    assert_eq!(text(&shown), r#"{"path":"","apps":[{"id":"1","key":"key-1"}]}"#);
    let signed = text(&answer(&options, &apps, &SIGN).unwrap());
    assert_ne!(signed, text(&ask(&SIGN).unwrap()), "another secret signs otherwise");
}

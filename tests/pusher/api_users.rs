//! Whom an app has connected, and the end of a user's connections: over four cores, from each of them.

use crate::backend::Backend;
use crate::client::Client;
use crate::server::{Running, apps};

#[test]
fn all_connections_of_the_app_are_counted_subscribed_or_not() {
    let server = Running::start();
    let mut clients = Client::on_each_core(&server);
    clients[0].subscribe("news");
    let _other = Client::join(&server, "other");
    for backend in &mut Backend::on_each_core(&server) {
        // Those that were not needed to reach every core are gone, or about to be.
        backend.ask_until("connections", &[], r#"{"connections":4}"#);
    }
    let mut backend = Backend::new(&server);
    clients.pop().unwrap().leave();
    backend.ask_until("connections", &[], r#"{"connections":3}"#);
    backend.app = apps().swap_remove(1);
    assert_eq!(backend.ask("connections", &[]).body, r#"{"connections":1}"#);
}

fn check_terminate(path: &str, status: u16) {
    let server = Running::start();
    let mut client = Client::join(&server, "key");
    client.subscribe("news");
    for backend in &mut Backend::on_each_core(&server) {
        let target = backend.signed("POST", path, &[]);
        let answer = backend.post_as_it_is(&target, "");
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.body, "{}");
        }
    }
    // Nobody has signed in, so nobody is meant.
    client.check_alive();
}

#[test]
fn the_end_of_a_user_whom_nobody_knows_ends_nobody() {
    check_terminate("/apps/1/users/7/terminate_connections", 200);
    check_terminate("/apps/1/users/a%2Fb%20c/terminate_connections", 200);
    check_terminate("/ws/apps/1/users/7/terminate_connections", 200);
}

#[test]
fn the_app_may_be_known_by_the_key_that_signed() {
    check_terminate("/users/7/terminate_connections", 200);
    check_terminate("/ws/users/7/terminate_connections", 200);
}

#[test]
fn the_end_of_a_user_must_be_signed_and_posted() {
    let server = Running::start();
    let mut backend = Backend::new(&server);
    for path in ["/users/7/terminate_connections", "/apps/1/users/7/terminate_connections"] {
        assert_eq!(backend.post_as_it_is(path, "").status, 401, "{path}");
        let got = backend.get(path);
        assert_eq!(got.status, 405, "{path}");
        assert!(got.head.contains("Allow: POST\r\n"), "{got:?}");
        let target = backend.signed("POST", path, &[]);
        let stranger = target.replace("auth_key=key", "auth_key=nobody");
        let answer = backend.post_as_it_is(&stranger, "");
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.error().contains("`nobody`"), "{answer:?}");
        // Signed with another app's secret.
        let forged = target.replace("auth_key=key", "auth_key=other");
        assert_eq!(backend.post_as_it_is(&forged, "").status, 401, "{path}");
    }
}

//! What `cargo verify` decides before it installs anything. The runner itself has no harness, so its tests are here.

#[path = "verify/node.rs"]
mod node;

use node::Found;

const BOOKWORM: &str = "18.20.4+dfsg-1~deb12u1";
const TRIXIE: &str = "20.19.2+dfsg-1+deb13u1";

fn found(node: Option<&str>, has_npm: bool) -> Found {
    Found { node: node.map(str::to_owned), has_npm }
}

#[test]
fn node_20_with_npm_will_do_and_nothing_older_or_without() {
    assert!(found(Some("v20.0.0"), true).will_do());
    assert!(found(Some("v100.1.0"), true).will_do());
    assert!(!found(Some("v18.20.4"), true).will_do());
    assert!(!found(Some("v20.0.0"), false).will_do());
    assert!(!found(None, true).will_do());
    assert!(!found(Some("a shim"), true).will_do());
}

#[test]
fn what_is_missing_comes_from_apt_where_that_is_new_enough() {
    for lacking in
        [found(None, false), found(Some("v18.20.4"), true), found(Some("v22.1.0"), false)]
    {
        assert_eq!(lacking.packages(Some(TRIXIE)), Ok(&["nodejs", "npm"][..]));
        assert_eq!(lacking.packages(Some("1:22.4.0-1")), Ok(&["nodejs", "npm"][..]));
        assert!(lacking.packages(Some(BOOKWORM)).is_err());
        assert!(lacking.packages(None).is_err());
    }
}

#[test]
fn where_apt_is_no_help_it_is_said_what_was_found_and_what_is_needed() {
    assert_eq!(
        found(Some("v18.20.4"), true).packages(Some(BOOKWORM)),
        Err("the clients' tests need Node 20 or later with npm; found v18.20.4 with npm, \
             and apt's nodejs is 18.20.4+dfsg-1~deb12u1: install Node by hand"
            .to_owned())
    );
    assert_eq!(
        found(None, false).packages(None),
        Err("the clients' tests need Node 20 or later with npm; found none without npm, \
             and apt's nodejs is not to be had: install Node by hand"
            .to_owned())
    );
}

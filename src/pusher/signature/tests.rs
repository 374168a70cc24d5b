//! The vectors that SDKs and vendors agree on, and every tolerance that some SDK needs.

use std::sync::LazyLock;

use super::*;

const SOCKET: &str = "1234.1234";
const NOW: u64 = 1_353_088_179;
const CLOCK: Clock = Clock { unix_seconds: NOW, tolerance_seconds: 600 };
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn app() -> Credentials<'static> {
    static SECRET: LazyLock<Secret> = LazyLock::new(|| "7ad3773142a6692b25b8".into());
    Credentials { key: "278d425bdf160c739803", secret: &SECRET }
}

/// A query signed over any text, as an SDK of any habits would.
fn signed(text: &str, query: &str) -> String {
    let signature = hex(&mac_of(app().secret, text).finalize().into_bytes());
    format!("{query}&auth_signature={signature}")
}

fn auth() -> String {
    format!("auth_key={}&auth_timestamp={NOW}&auth_version=1.0", app().key)
}

fn verify(method: &str, path: &str, query: &str, body: &str) -> Result<(), RequestError> {
    let request = SignedRequest { method, path, query, body: body.as_bytes() };
    request.verify(app(), "/ws", CLOCK)
}

/// A GET of `/apps/3/channels`, soundly signed, once `change` was at its query.
fn check_get(change: impl Fn(String) -> String, expected: Result<(), RequestError>) {
    let query = change(auth());
    let text = request_string(
        "GET",
        "/apps/3/channels",
        &Parameters::read(&query, Spelling::Form).pairs().collect::<Vec<_>>(),
    );
    assert_eq!(verify("GET", "/apps/3/channels", &signed(&text, &query), ""), expected, "{query}");
}

#[test]
fn channel_vectors() {
    for (channel, data, expected) in [
        (
            "private-foobar",
            None,
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        ),
        (
            "presence-foobar",
            Some(r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        ),
        (
            "private-encrypted-x",
            None,
            "573f86f8d5959ba8070392e04ba3e4f28491b5a7e2c4298ccbb2291d336d2903",
        ),
    ] {
        assert_eq!(channel_signature(app().secret, SOCKET, channel, data), expected, "{channel}");
        let auth = format!("{}:{expected}", app().key);
        assert_eq!(verify_channel(app(), &auth, SOCKET, channel, data), Ok(()));
    }
}

#[test]
fn user_vector() {
    let data = r#"{"id":"12345"}"#;
    let expected = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    assert_eq!(user_signature(app().secret, SOCKET, data), expected);
    let auth = format!("{}:{expected}", app().key);
    assert_eq!(verify_user(app(), &auth, SOCKET, data), Ok(()));
    assert_eq!(verify_user(app(), &auth, "1234.1235", data), Err(AuthError::Signature));
}

#[test]
fn empty_channel_data_is_not_signed() {
    let without = channel_signature(app().secret, SOCKET, "private-a", None);
    assert_eq!(channel_signature(app().secret, SOCKET, "private-a", Some("")), without);
    assert_ne!(channel_signature(app().secret, SOCKET, "private-a", Some(" ")), without);
}

#[test]
fn every_way_of_being_unauthorised_is_told_apart() {
    let right = channel_signature(app().secret, SOCKET, "private-a", None);
    let key = app().key;
    for (auth, expected) in [
        (String::new(), AuthError::Missing),
        (right.clone(), AuthError::Shape),
        (format!("{key}:"), AuthError::Shape),
        (format!("{key}:{}", &right[..62]), AuthError::Shape),
        (format!("{key}:{}", &right[..63]), AuthError::Shape),
        (format!("{key}:{right}00"), AuthError::Shape),
        (format!("{key}:{}", right.to_uppercase()), AuthError::Shape),
        (format!("{key}:{}", "z".repeat(64)), AuthError::Shape),
        (format!("{key}:{}", "0".repeat(64)), AuthError::Signature),
        (format!("other:{right}"), AuthError::Key),
        (format!("{}:{right}", key.to_uppercase()), AuthError::Key),
        (format!(":{right}"), AuthError::Key),
    ] {
        assert_eq!(
            verify_channel(app(), &auth, SOCKET, "private-a", None),
            Err(expected),
            "{auth}"
        );
    }
    let auth = format!("{key}:{right}");
    assert_eq!(verify_channel(app(), &auth, SOCKET, "private-b", None), Err(AuthError::Signature));
    assert_eq!(
        verify_channel(app(), &auth, SOCKET, "private-a", Some("{}")),
        Err(AuthError::Signature)
    );
    assert_eq!(verify_channel(app(), &auth, SOCKET, "private-a", None), Ok(()));
}

#[test]
fn channel_data_is_signed_as_it_was_received() {
    for data in [r#"{"user_id": "1"}"#, r#"{"user_id":"ü","u":"a\/b"}"#] {
        let auth = format!(
            "{}:{}",
            app().key,
            channel_signature(app().secret, SOCKET, "presence-a", Some(data))
        );
        assert_eq!(verify_channel(app(), &auth, SOCKET, "presence-a", Some(data)), Ok(()));
        let rewritten = data.replace(' ', "").replace("\\/", "/");
        let result = verify_channel(app(), &auth, SOCKET, "presence-a", Some(&rewritten));
        assert_eq!(result, Err(AuthError::Signature));
    }
}

#[test]
fn request_vectors() {
    let time = NOW.to_string();
    let auth =
        [("auth_key", app().key), ("auth_timestamp", time.as_str()), ("auth_version", "1.0")];
    let md5 = ("body_md5", EMPTY_MD5);
    let filter = [("filter_by_prefix", "presence-"), ("info", "user_count")];
    for (method, path, more, expected) in [
        (
            "POST",
            "/apps/3/events",
            vec![("body_md5", "ec365a775a4cd0599faeb73354201b6f")],
            "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
        ),
        (
            "GET",
            "/apps/3/channels",
            filter.to_vec(),
            "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291",
        ),
        (
            "GET",
            "/apps/3/channels",
            [&[md5], &filter[..]].concat(),
            "f3f17c61ae491cc9085db68b22076e9b772e3bcb301659d655153ee3f9782aba",
        ),
        (
            "POST",
            "/apps/3/users/12345/terminate_connections",
            vec![("body_md5", "99914b932bd37a50b983c5e7c90ae93b")],
            "01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e",
        ),
    ] {
        // The order in which the parameters are sent does not matter.
        let query = [more, auth.to_vec()].concat();
        assert_eq!(request_signature(app().secret, method, path, &query), expected, "{path}");
    }
}

#[test]
fn a_query_signed_here_is_the_vector_and_is_believed() {
    let body = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    let query = signed_query(app(), "POST", "/apps/3/events", body.as_bytes(), NOW);
    assert_eq!(
        query,
        format!(
            "{}&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature={}",
            auth(),
            "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
        )
    );
    assert_eq!(verify("POST", "/apps/3/events", &query, body), Ok(()));
    let query = signed_query(app(), "GET", "/apps/3/channels", b"", NOW);
    assert!(!query.contains("body_md5"));
    assert_eq!(verify("GET", "/apps/3/channels", &query, ""), Ok(()));
}

#[test]
fn the_string_to_sign_sorts_lowers_and_leaves_the_signature_out() {
    let query = [("b", "2"), ("A", "1 +&"), ("auth_signature", "x"), ("Auth_Signature", "y")];
    assert_eq!(request_string("post", "/p", &query), "POST\n/p\na=1 +&&b=2");
    assert_eq!(request_string("GET", "/p", &[]), "GET\n/p\n");
}

#[test]
fn a_body_must_have_its_md5_in_the_signed_query() {
    let text = request_string(
        "POST",
        "/p",
        &Parameters::read(&auth(), Spelling::Form).pairs().collect::<Vec<_>>(),
    );
    let query = signed(&text, &auth());
    assert_eq!(verify("POST", "/p", &query, "{}"), Err(RequestError::BodyNotSigned { bytes: 2 }));
    assert_eq!(verify("POST", "/p", &query, ""), Ok(()));
}

#[test]
fn a_body_that_was_changed_is_refused() {
    let query = signed_query(app(), "POST", "/p", b"{}", NOW);
    let expected = RequestError::BodyMd5 {
        sent: "99914b932bd37a50b983c5e7c90ae93b".into(),
        computed: hex(&Md5::digest(b"[]")),
    };
    assert_eq!(verify("POST", "/p", &query, "[]"), Err(expected));
}

#[test]
fn a_get_with_the_md5_of_nothing_is_accepted_and_its_md5_is_signed() {
    check_get(|query| format!("{query}&body_md5={EMPTY_MD5}"), Ok(()));
    let unsigned = signed_query(app(), "GET", "/p", b"", NOW) + "&body_md5=" + EMPTY_MD5;
    assert!(matches!(verify("GET", "/p", &unsigned, ""), Err(RequestError::Signature { .. })));
}

#[test]
fn paths_are_tried_raw_and_decoded_with_and_without_the_prefix() {
    let path = "/ws/apps/3/users/a%20b/x";
    for signed_path in [
        "/ws/apps/3/users/a%20b/x",
        "/ws/apps/3/users/a b/x",
        "/apps/3/users/a%20b/x",
        "/apps/3/users/a b/x",
    ] {
        let text = request_string(
            "GET",
            signed_path,
            &Parameters::read(&auth(), Spelling::Form).pairs().collect::<Vec<_>>(),
        );
        assert_eq!(verify("GET", path, &signed(&text, &auth()), ""), Ok(()), "{signed_path}");
    }
    let text = request_string(
        "GET",
        "/apps/3/users/b/x",
        &Parameters::read(&auth(), Spelling::Form).pairs().collect::<Vec<_>>(),
    );
    assert!(verify("GET", path, &signed(&text, &auth()), "").is_err());
}

#[test]
fn a_path_that_only_begins_like_the_prefix_keeps_it() {
    let query = signed_query(app(), "GET", "/wsx/apps", b"", NOW);
    assert_eq!(verify("GET", "/wsx/apps", &query, ""), Ok(()));
    let query = signed_query(app(), "GET", "x/apps", b"", NOW);
    assert!(verify("GET", "/wsx/apps", &query, "").is_err());
}

#[test]
fn values_are_tried_decoded_and_raw_and_with_plus_both_ways() {
    for (sent, signed_value) in [
        ("a%20b", "a b"),
        ("a%20b", "a%20b"),
        ("a+b", "a b"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("50%", "50%"),
    ] {
        let query = format!("{}&filter_by_prefix={sent}", auth());
        let text = format!("GET\n/p\n{}&filter_by_prefix={signed_value}", auth());
        assert_eq!(
            verify("GET", "/p", &signed(&text, &query), ""),
            Ok(()),
            "{sent} as {signed_value}"
        );
    }
    let query = format!("{}&filter_by_prefix=a%2Bb", auth());
    let text = format!("GET\n/p\n{}&filter_by_prefix=a%20b", auth());
    assert!(verify("GET", "/p", &signed(&text, &query), "").is_err());
}

#[test]
fn arrays_are_signed_joined_by_commas() {
    for query in ["k[]=a&k[]=b", "k%5B%5D=a&k%5B%5D=b", "k[0]=a&k[1]=b"] {
        let text = format!("GET\n/p\n{}&k=a,b", auth());
        let query = format!("{}&{query}", auth());
        assert_eq!(verify("GET", "/p", &signed(&text, &query), ""), Ok(()), "{query}");
    }
}

#[test]
fn names_are_signed_in_lower_case() {
    let text = format!("GET\n/p\n{}&info=x", auth());
    let query = format!("{}&Info=x", auth());
    assert_eq!(verify("GET", "/p", &signed(&text, &query), ""), Ok(()));
}

#[test]
fn the_key_must_be_that_of_the_app() {
    let change = |query: String| query.replace(app().key, "other");
    check_get(change, Err(RequestError::Key { got: "other".into() }));
}

#[test]
fn clocks_may_differ_by_the_tolerance_and_no_more() {
    let shifted = |seconds: i64| {
        move |query: String| {
            query.replace(&NOW.to_string(), &NOW.checked_add_signed(seconds).unwrap().to_string())
        }
    };
    check_get(shifted(600), Ok(()));
    check_get(shifted(-600), Ok(()));
    let off = |theirs_is| RequestError::Clocks { seconds: 601, theirs_is, allowed: 600 };
    check_get(shifted(601), Err(off(Side::Ahead)));
    check_get(shifted(-601), Err(off(Side::Behind)));
    let message = off(Side::Behind).to_string();
    assert!(
        message.contains("601 seconds behind") && message.contains("600 are allowed"),
        "{message}"
    );
}

#[test]
fn the_time_must_be_a_number() {
    for got in ["", "soon", "-5", "1.5", "99999999999999999999999"] {
        let change = |query: String| query.replace(&NOW.to_string(), got);
        check_get(change, Err(RequestError::Timestamp { got: got.into() }));
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |parameter| Err(RequestError::Missing { parameter });
    check_get(|query| query.replace("auth_key", "x"), missing("auth_key"));
    check_get(|query| query.replace("auth_timestamp", "x"), missing("auth_timestamp"));
    assert_eq!(verify("GET", "/p", &auth(), ""), missing("auth_signature"));
    assert_eq!(verify("GET", "/p", "", ""), missing("auth_key"));
}

#[test]
fn only_version_1_is_known() {
    check_get(
        |query| query.replace("=1.0", "=2.0"),
        Err(RequestError::Version { got: "2.0".into() }),
    );
    check_get(|query| query.replace("&auth_version=1.0", ""), Ok(()));
}

#[test]
fn a_signature_that_does_not_match_tells_what_was_signed() {
    let signed = format!("GET\n/apps/3/x\n{}", auth());
    for signature in ["", "zz", "00", &"0".repeat(64)] {
        let query = format!("{}&auth_signature={signature}", auth());
        let expected = Err(RequestError::Signature { signed: signed.clone() });
        assert_eq!(verify("GET", "/ws/apps/3/x", &query, ""), expected, "{signature}");
    }
}

#[test]
fn a_request_signed_for_another_method_is_refused() {
    let query = signed_query(app(), "GET", "/p", b"", NOW);
    assert!(verify("POST", "/p", &query, "").is_err());
}

proptest::proptest! {
    #[test]
    fn what_is_signed_here_is_believed_and_rubbish_is_not(path in "/[ -~]*", query in ".*", body in ".*", key in ".+") {
        let credentials = Credentials { key: &key, secret: &"s".into() };
        let signed = signed_query(credentials, "POST", &path, body.as_bytes(), NOW);
        let request = SignedRequest { method: "POST", path: &path, query: &signed, body: body.as_bytes() };
        assert_eq!(request.verify(credentials, "", CLOCK), Ok(()));
        assert!(SignedRequest { query: &query, ..request }.verify(credentials, "/p", CLOCK).is_err());
    }
}

fn check_allocations(what: &str, check: impl FnOnce(), expected: u64) {
    assert_eq!(allocation_counter::measure(check).count_total, expected, "{what}");
}

#[test]
fn nothing_is_allocated_to_check_what_a_client_signed() {
    let socket = crate::SocketId { conn: crate::ConnId::new(1, 7, 3), entropy: 4_000_000_000 };
    let data = r#"{"user_id":"7"}"#;
    let name = socket.to_string();
    let signature = channel_signature(app().secret, &name, "presence-a", Some(data));
    let right = format!("{}:{signature}", app().key);
    let wrong = format!("{}:{}", app().key, "0".repeat(64));
    for (auth, expected) in
        [(right, Ok(())), (wrong, Err(AuthError::Signature)), ("x:1".into(), Err(AuthError::Key))]
    {
        let verify = || {
            assert_eq!(verify_channel(app(), &auth, socket, "presence-a", Some(data)), expected);
        };
        check_allocations(&auth, verify, 0);
    }
    let right = format!("{}:{}", app().key, user_signature(app().secret, &name, data));
    check_allocations("a user", || assert_eq!(verify_user(app(), &right, socket, data), Ok(())), 0);
}

#[test]
fn the_hmac_of_a_request_allocates_nothing_and_the_check_three_lists() {
    let body = br#"{"name":"n","channel":"c","data":"d"}"#;
    let query = signed_query(app(), "POST", "/apps/1/events", body, NOW);
    let request = SignedRequest { method: "POST", path: "/apps/1/events", query: &query, body };
    let parameters = Parameters::read(&query, Spelling::Form);
    let pairs = signed_pairs(parameters.pairs());
    let text = RequestText { method: request.method, path: request.path, pairs: &pairs };
    let digest = unhex(parameters.find("auth_signature").unwrap()).unwrap();
    let verify = || assert!(mac_of(app().secret, text).verify_slice(&digest).is_ok());
    check_allocations("the HMAC", verify, 0);
    // The parameters, the same in order, the spellings of the path.
    check_allocations("all", || assert_eq!(request.verify(app(), "", CLOCK), Ok(())), 3);
}

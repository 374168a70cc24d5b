//! The server's side of the opening handshake.

use super::*;
use crate::http;

/// The client's handshake of RFC 6455 §1.2.
const SOUND: [(&str, &str); 6] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "chat, superchat"),
    ("Sec-WebSocket-Version", "13"),
];

/// Hands a request that came over the wire to `act`.
fn with_request<T>(first: &str, fields: &[(&str, &str)], act: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut bytes = format!("{first}\r\n").into_bytes();
    for (name, value) in fields {
        write_field(name, value, &mut bytes);
    }
    bytes.extend(b"\r\n");
    let mut protocol = http::Protocol::new();
    protocol.receive(&bytes);
    let limits = http::Limits { head_bytes: 4096, headers: 32, body_bytes: 0 };
    act(&protocol.next(&limits).unwrap().unwrap())
}

fn read(method: &str, fields: &[(&str, &str)]) -> Result<Offer, HandshakeError> {
    with_request(&format!("{method} /chat HTTP/1.1"), fields, Offer::read)
}

/// Checks what becomes of the sound handshake with one field changed; `None` leaves it out.
fn check(name: &str, value: Option<&str>, expected: Option<HandshakeError>) {
    let mut fields = SOUND.to_vec();
    fields.retain(|(field, _)| *field != name);
    fields.extend(value.map(|value| (name, value)));
    assert_eq!(read("GET", &fields).err(), expected, "{name}: {value:?}");
}

fn accepted(subprotocol: Option<&str>, headers: &[(&str, &str)]) -> String {
    let mut out = Vec::new();
    read("GET", &SOUND).unwrap().accept(subprotocol, headers, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn handshake_of_the_rfc_is_accepted() {
    assert_eq!(
        accepted(Some("chat"), &[]),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn method_must_be_get() {
    for method in ["POST", "get", "HEAD"] {
        assert_eq!(read(method, &SOUND), Err(HandshakeError::Method));
    }
}

#[test]
fn each_field_must_be_there() {
    check("Upgrade", None, Some(HandshakeError::Upgrade));
    check("Connection", None, Some(HandshakeError::Connection));
    check("Sec-WebSocket-Key", None, Some(HandshakeError::Key));
    check("Sec-WebSocket-Version", None, Some(HandshakeError::Version));
    check("Sec-WebSocket-Protocol", None, None);
}

#[test]
fn tokens_are_found_in_lists_of_any_case() {
    check("Upgrade", Some("h2c, WebSocket"), None);
    check("Upgrade", Some("websockets"), Some(HandshakeError::Upgrade));
    check("Connection", Some("keep-alive,\tUPGRADE"), None);
    check("Connection", Some("keep-alive"), Some(HandshakeError::Connection));
}

#[test]
fn key_must_be_16_bytes_in_base64() {
    for key in [
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "!!!!IHNhbXBsZSBub25jZQ==",
    ] {
        check("Sec-WebSocket-Key", Some(key), Some(HandshakeError::Key));
    }
}

#[test]
fn key_of_the_rfc_whose_last_bits_are_set_is_accepted() {
    // RFC 6455 §4.1: the bytes 1 to 16, as the text itself writes them.
    check("Sec-WebSocket-Key", Some("AQIDBAUGBwgJCgsMDQ4PEC=="), None);
    check("Sec-WebSocket-Key", Some("AQIDBAUGBwgJCgsMDQ4PEA=="), None);
}

#[test]
fn list_without_an_element_is_refused() {
    for value in ["", ",", " , ,"] {
        check("Sec-WebSocket-Protocol", Some(value), Some(HandshakeError::Subprotocol));
        check("Sec-WebSocket-Extensions", Some(value), Some(HandshakeError::Extensions));
    }
}

#[test]
fn malformed_extensions_are_refused_with_400() {
    for value in
        ["a b", "permessage-deflate;", "permessage-deflate; server_max_window_bits=", "\"a\""]
    {
        check("Sec-WebSocket-Extensions", Some(value), Some(HandshakeError::Extensions));
    }
}

/// What the answer says of extensions, for the lines of a request.
fn extensions_answered(lines: &[&str]) -> Option<String> {
    let mut fields = SOUND.to_vec();
    fields.extend(lines.iter().map(|line| ("Sec-WebSocket-Extensions", *line)));
    let mut offer = read("GET", &fields).unwrap();
    let agreed = offer.agree_to_deflate();
    let mut out = Vec::new();
    offer.accept(None, &[], &mut out);
    let head = String::from_utf8(out).unwrap();
    let mut named = head.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let answer = named.next().map(str::to_owned);
    assert_eq!((answer.is_some(), named.next()), (agreed.is_some(), None), "{head}");
    answer
}

#[test]
fn first_acceptable_offer_of_several_lines_is_agreed_to() {
    let answer = extensions_answered(&[
        "x-webkit-deflate-frame, permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=11; client_max_window_bits",
        "permessage-deflate",
    ]);
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
        server_max_window_bits=11";
    assert_eq!(answer.as_deref(), Some(expected));
}

#[test]
fn what_is_not_agreed_to_is_not_in_the_answer() {
    assert_eq!(extensions_answered(&["x-other; a=1", "permessage-deflate; mystery"]), None);
    assert_eq!(extensions_answered(&[]), None);
}

#[test]
fn extension_is_not_in_the_answer_unless_the_caller_agrees() {
    let mut fields = SOUND.to_vec();
    fields.push(("Sec-WebSocket-Extensions", "permessage-deflate"));
    let mut out = Vec::new();
    read("GET", &fields).unwrap().accept(None, &[], &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("Extensions"));
}

#[test]
fn fields_that_may_come_once_come_once() {
    let error = |name, value| {
        let mut fields = SOUND.to_vec();
        fields.push((name, value));
        read("GET", &fields).err()
    };
    assert_eq!(error("sec-websocket-key", SOUND[3].1), Some(HandshakeError::Key));
    assert_eq!(error("sec-websocket-version", "8"), Some(HandshakeError::Version));
    assert_eq!(error("sec-websocket-protocol", "third"), None);
}

#[test]
fn other_versions_are_refused_before_the_key_is_looked_at() {
    for version in ["8", "14", "013", "13, 8", ""] {
        check("Sec-WebSocket-Version", Some(version), Some(HandshakeError::Version));
    }
    let old = [("Host", "x"), ("Upgrade", "websocket"), ("Connection", "Upgrade")];
    assert_eq!(read("GET", &old), Err(HandshakeError::Version));
}

#[test]
fn each_refusal_has_its_status_and_headers() {
    use HandshakeError as E;
    let version = [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")];
    for (error, status, headers) in [
        (E::Connection, 400, &[][..]),
        (E::Extensions, 400, &[("Connection", "close")]),
        (E::HttpVersion, 400, &[]),
        (E::Key, 400, &[]),
        (E::Method, 405, &[("Allow", "GET")]),
        (E::Upgrade, 400, &[]),
        (E::Version, 426, &version),
    ] {
        let response = error.response();
        assert_eq!(response.status, status);
        assert_eq!(response.body, format!("{error}\n").into_bytes());
        let ends = response.headers.iter().any(|(name, _)| name == "Connection");
        assert_eq!(ends, error == E::Extensions, "{response:?}");
        for header in headers {
            let has = response.headers.iter().any(|(name, value)| (&**name, &**value) == *header);
            assert!(has, "{response:?} has {header:?}");
        }
    }
}

#[test]
fn http_1_0_is_never_an_upgrade() {
    let first = "GET /chat HTTP/1.0";
    assert!(!with_request(first, &SOUND, is_upgrade));
    assert_eq!(with_request(first, &SOUND, Offer::read), Err(HandshakeError::HttpVersion));
}

#[test]
fn upgrade_to_websocket_is_told_from_other_requests() {
    let asks = |fields: &[(&str, &str)]| with_request("GET / HTTP/1.1", fields, is_upgrade);
    assert!(asks(&SOUND));
    assert!(asks(&[("Host", "x"), ("upgrade", "h2c, WebSocket")]));
    assert!(!asks(&[("Host", "x"), ("Upgrade", "h2c")]));
    assert!(!asks(&[("Host", "x")]));
}

#[test]
fn request_of_our_client_role_is_accepted_by_our_server_role() {
    let request = crate::ws::client::ClientRequest {
        host: "localhost",
        path_and_query: "/app/key?protocol=7",
        key: [7; 16],
        subprotocols: &["chat"],
        offers_deflate: true,
        headers: &[("Origin", "http://localhost")],
    };
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    request.encode(&mut bytes).unwrap();
    let mut protocol = http::Protocol::new();
    protocol.receive(&bytes);
    let limits = http::Limits { head_bytes: 4096, headers: 32, body_bytes: 0 };
    let mut offer = Offer::read(&protocol.next(&limits).unwrap().unwrap()).unwrap();
    let agreed = offer.agree_to_deflate();
    offer.accept(offer.choose(&["chat"]), &[("X-Served-By", "us")], &mut out);
    let accepted = request.handshake().receive(&out).unwrap().unwrap();
    assert_eq!((accepted.subprotocol.as_deref(), &*accepted.rest), (Some("chat"), &b""[..]));
    assert!(agreed.is_some() && accepted.deflate == agreed);
}

#[test]
fn subprotocol_is_chosen_in_our_order_from_theirs() {
    let offer = read("GET", &SOUND).unwrap();
    assert_eq!(offer.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert_eq!(offer.choose(&["superchat", "chat"]), Some("superchat"));
    assert_eq!(offer.choose(&["Chat", "other"]), None);
}

#[test]
fn subprotocol_that_was_not_offered_is_left_out() {
    assert!(!accepted(Some("other"), &[]).contains("Sec-WebSocket-Protocol"));
}

#[test]
fn further_headers_are_written_unless_they_do_harm() {
    let head = accepted(
        None,
        &[
            ("Set-Cookie", "a=b"),
            ("X-Bad", "a\r\nX-Smuggled: b"),
            ("X Bad", "b"),
            ("upgrade", "h2c"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ],
    );
    assert!(head.ends_with("xOo=\r\nSet-Cookie: a=b\r\n\r\n"), "{head}");
}

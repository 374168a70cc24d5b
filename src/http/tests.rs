//! Dialogues with one HTTP connection, each whole and byte by byte.

use proptest::prelude::*;

use super::protocol::{Protocol, Talk, fuzz_requests};
use super::{Limits, ProtocolError as E, Response, Version};

const LIMITS: Limits = Limits { head_bytes: 512, headers: 8, body_bytes: 32 };

/// What `bytes` come to, however they are cut.
fn listen(bytes: &[u8]) -> Talk {
    let whole = Talk::listen([bytes], &LIMITS);
    assert_eq!(whole, Talk::listen(bytes.chunks(1), &LIMITS), "byte by byte");
    whole
}

fn check(bytes: impl AsRef<[u8]>, requests: &[&str], error: Option<E>) {
    let talk = listen(bytes.as_ref());
    let bytes = String::from_utf8_lossy(bytes.as_ref());
    assert_eq!((talk.requests, talk.error), (owned(requests), error), "{bytes:?}");
}

fn owned(requests: &[&str]) -> Vec<String> {
    requests.iter().map(|request| String::from(*request)).collect()
}

fn check_refusal(bytes: impl AsRef<[u8]>, error: E) {
    check(bytes, &[], Some(error));
}

/// The answers to `bytes`, each request answered with `ok`.
fn answers(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(listen(bytes.as_ref()).out).unwrap()
}

/// A connection that holds its first request in hand.
fn in_hand(bytes: impl AsRef<[u8]>) -> Protocol {
    let mut protocol = Protocol::new();
    protocol.receive(bytes.as_ref());
    assert!(protocol.next(&LIMITS).unwrap().is_some());
    protocol
}

/// A GET whose head has exactly this many bytes.
fn head_of(bytes: usize) -> String {
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame))
}

fn chunked(body: &str) -> String {
    format!("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn requests_without_and_with_a_body_are_read() {
    check("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /a?b=c {}"], None);
    check(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        &["POST /a {hello}"],
        None,
    );
    check("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &["PUT /a {}"], None);
}

#[test]
fn an_unfinished_request_is_no_request() {
    check("GET / HTTP/1.1\r\nHost: a\r\n", &[], None);
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", &[], None);
    check(chunked("5\r\nhello\r\n0\r\n"), &[], None);
}

#[test]
fn pipelined_requests_are_handed_out_in_order() {
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let put = "PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let all = format!("{get}{put}{}{get}", chunked("1\r\nx\r\n0\r\n\r\n"));
    check(all, &["GET /1 {}", "PUT /2 {ab}", "POST /c {x}", "GET /1 {}"], None);
}

#[test]
fn a_pipelined_request_waits_for_the_answer_to_the_one_before() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut protocol = in_hand(get.repeat(2));
    assert!(protocol.next(&LIMITS).unwrap().is_none());
    assert!(protocol.is_awaiting_response() && !protocol.is_mid_request());
    protocol.respond(&Response::new(204), &mut Vec::new());
    assert!(protocol.is_mid_request() && protocol.buffered_bytes() == get.len());
    assert!(protocol.next(&LIMITS).unwrap().is_some());
}

#[test]
fn a_thousand_requests_share_a_connection() {
    let talk = listen("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000).as_bytes());
    assert_eq!(talk.requests.len(), 1000);
    assert_eq!(talk.error, None);
}

#[test]
fn chunks_are_undone() {
    check(chunked("5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"), &["POST /c {hello world}"], None);
    check(chunked("00A\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n"), &["POST /c {0123456789}"], None);
    check(chunked("0\r\n\r\nGET / HTTP/1.0\r\n\r\n"), &["POST /c {}", "GET / {}"], None);
}

#[test]
fn broken_chunks_are_refused() {
    let cases = [
        ("\r\n", E::ChunkInvalid),
        (";a\r\n", E::ChunkInvalid),
        ("x\r\n", E::ChunkInvalid),
        ("-1\r\n", E::ChunkInvalid),
        ("0x1\r\n", E::ChunkInvalid),
        ("1 \r\na\r\n", E::ChunkInvalid),
        ("1\na\r\n", E::ChunkInvalid),
        ("1\r\nab\r\n", E::ChunkInvalid),
        ("1\r\na\n", E::ChunkInvalid),
        ("00000000000000001\r\n", E::ChunkInvalid),
        ("ffffffffffffffff0\r\n", E::ChunkInvalid),
        ("1;a\n", E::BareLineFeed),
        ("0\r\nX: y\n", E::BareLineFeed),
        ("0\r\n X: y\r\n", E::HeaderFolded),
        ("0\r\nX : y\r\n", E::HeaderSpaceBeforeColon),
        ("0\r\nX\r\n", E::ControlCharacter { byte: b'\r' }),
        ("0\r\nX\"\r\n", E::HeaderInvalid),
        ("0\r\n\rx", E::ChunkInvalid),
        ("ffffffffffffffff\r\n", E::BodyTooBig { bytes: u64::MAX, limit: 32 }),
    ];
    for (body, error) in cases {
        check_refusal(chunked(body), error);
    }
}

#[test]
fn chunk_extensions_have_a_limit() {
    let with = |bytes| chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes)));
    check(with(1024), &["POST /c {a}"], None);
    check_refusal(with(1025), E::ChunkExtensionsTooBig { limit: 1024 });
}

#[test]
fn trailers_have_the_limit_of_heads() {
    let with = |bytes| chunked(&format!("0\r\nX:{}\r\n\r\n", "x".repeat(bytes)));
    check(with(512 - 3), &["POST /c {}"], None);
    check_refusal(with(513), E::HeadTooBig { limit: 512 });
}

#[test]
fn a_body_at_the_limit_passes_and_one_past_it_does_not() {
    let announced = |bytes| format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    let full = "x".repeat(32);
    let accepted = format!("{{{full}}}");
    check(announced(32) + &full, &[&format!("PUT / {accepted}")], None);
    check_refusal(announced(33), E::BodyTooBig { bytes: 33, limit: 32 });
    check(chunked(&format!("20\r\n{full}\r\n0\r\n\r\n")), &[&format!("POST /c {accepted}")], None);
    check_refusal(chunked("21\r\n"), E::BodyTooBig { bytes: 33, limit: 32 });
    check_refusal(chunked("1\r\nx\r\n20\r\n"), E::BodyTooBig { bytes: 33, limit: 32 });
}

#[test]
fn a_head_at_the_limit_passes_and_one_past_it_does_not() {
    check(head_of(512), &["GET / {}"], None);
    check_refusal(head_of(513), E::HeadTooBig { limit: 512 });
    check_refusal(format!("GET /{}", "x".repeat(512)), E::RequestLineTooBig { limit: 512 });
}

#[test]
fn the_last_header_allowed_passes_and_the_next_does_not() {
    let with =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    check(with(8), &["GET / {}"], None);
    check_refusal(with(9), E::HeadersTooMany { count: 9, limit: 8 });
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let cases = [
        ("GET /", E::RequestLineInvalid),
        ("GET  / HTTP/1.1", E::RequestLineInvalid),
        ("GET / HTTP/1.1 ", E::RequestLineInvalid),
        (" GET / HTTP/1.1", E::RequestLineInvalid),
        ("GET / http/1.1", E::RequestLineInvalid),
        ("GET / HTTP/1.10", E::RequestLineInvalid),
        ("G(T / HTTP/1.1", E::MethodInvalid),
        ("GET a HTTP/1.1", E::TargetInvalid),
        ("GET /\u{e4} HTTP/1.1", E::TargetInvalid),
        ("GET /#a HTTP/1.1", E::TargetInvalid),
        ("GET * HTTP/1.1", E::TargetInvalid),
        ("CONNECT a:1 HTTP/1.1", E::Connect),
        ("GET http:// HTTP/1.1", E::TargetInvalid),
        ("GET http://a@b/ HTTP/1.1", E::TargetInvalid),
        ("GET ftp://a/ HTTP/1.1", E::TargetInvalid),
        ("GET / HTTP/9.9", E::VersionUnsupported),
        ("GET / HTTP/0.9", E::VersionUnsupported),
        ("GET / HTTP/2.0", E::VersionUnsupported),
    ];
    for (line, error) in cases {
        check_refusal(format!("{line}\r\nHost: a\r\n\r\n"), error);
    }
}

#[test]
fn header_fields_that_two_readers_may_read_in_two_ways_are_refused() {
    let cases = [
        ("Host : a", E::HeaderSpaceBeforeColon),
        ("Host: a\r\n b", E::HeaderFolded),
        ("Host: a\r\n\tb", E::HeaderFolded),
        ("Host: a\r\nno colon", E::HeaderInvalid),
        ("Host: a\r\n: empty", E::HeaderInvalid),
        ("Host: a\r\nB@d: x", E::HeaderInvalid),
        ("Host: a\r\nX: a\0b", E::ControlCharacter { byte: 0 }),
        ("Host: a\r\nX: a\x7fb", E::ControlCharacter { byte: 0x7f }),
        ("Host: a\r\nX: a\rb", E::ControlCharacter { byte: b'\r' }),
        ("Host: a\r\nX: a\nY: b", E::BareLineFeed),
        ("X: y", E::HostMissing),
        ("Host: a\r\nHOST: a", E::HostRepeated),
        ("Host: a b", E::HostInvalid),
        ("Host: a/b", E::HostInvalid),
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2", E::ContentLengthRepeated),
        ("Host: a\r\nContent-Length: 1\r\ncontent-length: 1", E::ContentLengthRepeated),
        ("Host: a\r\nContent-Length: 1, 1", E::ContentLengthInvalid),
        ("Host: a\r\nContent-Length: +1", E::ContentLengthInvalid),
        ("Host: a\r\nContent-Length: -1", E::ContentLengthInvalid),
        ("Host: a\r\nContent-Length: 0x1", E::ContentLengthInvalid),
        ("Host: a\r\nContent-Length:", E::ContentLengthInvalid),
        (
            "Host: a\r\nContent-Length: 99999999999999999999",
            E::BodyTooBig { bytes: u64::MAX, limit: 32 },
        ),
        (
            "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            E::ContentLengthWithTransferEncoding,
        ),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked", E::TransferEncodingUnknown),
        (
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            E::TransferEncodingInvalid,
        ),
        ("Host: a\r\nTransfer-Encoding: xchunked", E::TransferEncodingInvalid),
        ("Host: a\r\nTransfer-Encoding:", E::TransferEncodingInvalid),
        ("Host: a\r\nExpect: 200-ok", E::ExpectationUnknown),
    ];
    for (fields, error) in cases {
        check_refusal(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"), error);
    }
}

#[test]
fn transfer_codings_in_http_1_0_are_refused() {
    check_refusal(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        E::TransferEncodingInHttp10,
    );
}

#[test]
fn a_bare_line_feed_is_refused_wherever_it_stands() {
    check_refusal("GET / HTTP/1.1\nHost: a\n\n", E::BareLineFeed);
    check_refusal("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", E::BareLineFeed);
    check_refusal("GET / HTTP/1.1\r\nHost: a\r\n\n", E::BareLineFeed);
}

#[test]
fn an_http_2_preface_is_refused_with_505() {
    check_refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E::VersionUnsupported);
    assert!(answers("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").starts_with("HTTP/1.1 505 "));
}

#[test]
fn a_tls_handshake_is_dropped_without_a_word() {
    check_refusal(b"\x16\x03\x01\x02\x00\x01\x00", E::Tls);
    assert_eq!(answers(b"\x16\x03\x01"), "");
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", &["GET / {}"], None);
    check_refusal("\r\n".repeat(5), E::EmptyLines { limit: 4 });
}

#[test]
fn absolute_targets_lose_scheme_and_authority() {
    let cases = [
        ("GET http://a:80/b?c=d", "GET /b?c=d {}"),
        ("GET HTTPS://a", "GET / {}"),
        ("GET ws://[::1]?c", "GET /?c {}"),
        ("OPTIONS *", "OPTIONS * {}"),
        ("GET //a/b", "GET //a/b {}"),
    ];
    for (line, request) in cases {
        check(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), &[request], None);
    }
}

#[test]
fn request_tells_what_was_sent() {
    let mut protocol = Protocol::new();
    protocol.receive(
        b"GET /a%20b?k=v&&flag&x=1=2 HTTP/1.0\r\nX:  one \r\nx: two, Three\r\nBad: \xff\r\n\r\n",
    );
    let request = protocol.next(&LIMITS).unwrap().unwrap();
    assert_eq!((request.method(), request.version()), ("GET", Version::Http10));
    assert_eq!((request.path(), request.query()), ("/a%20b", "k=v&&flag&x=1=2"));
    assert_eq!(request.query_pairs().collect::<Vec<_>>(), [("k", "v"), ("flag", ""), ("x", "1=2")]);
    assert_eq!(request.header("X"), Some("one"));
    assert_eq!((request.header("bad"), request.header("none")), (None, None));
    assert_eq!(request.header_values("x").collect::<Vec<_>>(), [b"one".as_slice(), b"two, Three"]);
    assert!(request.has_token("X", "three") && request.has_token("x", "ONE"));
    assert!(!request.has_token("x", "thr"));
    assert_eq!(request.headers().last(), Some(("Bad", b"\xff".as_slice())));
}

#[test]
fn path_of_a_bare_authority_is_the_root() {
    let mut protocol = Protocol::new();
    protocol.receive(b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = protocol.next(&LIMITS).unwrap().unwrap();
    assert_eq!((request.path(), request.query(), &*request.target()), ("/", "b", "/?b"));
}

#[test]
fn http_1_1_stays_open_unless_the_client_says_close() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n";
    assert_eq!(answers("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), format!("{ok}\r\nok"));
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
    assert_eq!(answers(close.repeat(2)), format!("{ok}Connection: close\r\n\r\nok"));
}

#[test]
fn http_1_0_ends_unless_the_client_asks_to_stay() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n";
    assert_eq!(
        answers("GET / HTTP/1.0\r\n\r\n".repeat(2)),
        format!("{ok}Connection: close\r\n\r\nok")
    );
    let stay = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(answers(stay), format!("{ok}Connection: keep-alive\r\n\r\nok"));
}

#[test]
fn head_is_answered_with_the_length_but_no_body() {
    let answer = answers("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.contains("Content-Length: 2\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_refusal_says_got_and_allowed_and_closes() {
    let answer = answers("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\na body of 40 bytes or more; at most 32 are allowed\n"),
        "{answer}"
    );
}

#[test]
fn nothing_is_read_after_a_refusal() {
    let mut protocol = Protocol::new();
    protocol.receive(b"GET /\r\n\r\n");
    let error = protocol.next(&LIMITS).unwrap_err();
    assert_eq!(protocol.next(&LIMITS).unwrap_err(), error);
    protocol.refuse(&error, &mut Vec::new());
    protocol.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(protocol.next(&LIMITS).unwrap().is_none());
    assert!(protocol.is_closing() && protocol.buffered_bytes() == 0);
}

#[test]
fn a_deadline_ends_a_request_half_sent() {
    let mut protocol = Protocol::new();
    assert!(!protocol.is_mid_request());
    protocol.receive(b"GET / HT");
    assert!(protocol.next(&LIMITS).unwrap().is_none() && protocol.is_mid_request());
    let mut out = Vec::new();
    protocol.refuse(&E::Timeout, &mut out);
    assert!(out.starts_with(b"HTTP/1.1 408 Request Timeout\r\n") && protocol.is_closing());
}

#[test]
fn continue_is_sent_once_to_who_waits_for_it() {
    let mut protocol = Protocol::new();
    protocol
        .receive(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    assert!(protocol.next(&LIMITS).unwrap().is_none());
    assert_eq!(protocol.take_output(), Some(b"HTTP/1.1 100 Continue\r\n\r\n".as_slice()));
    assert_eq!(protocol.take_output(), None);
    protocol.receive(b"ab");
    assert_eq!(protocol.next(&LIMITS).unwrap().unwrap().body(), b"ab");
}

#[test]
fn continue_is_not_sent_without_need() {
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    let cases = [
        format!("{head}Content-Length: 2\r\n\r\na"),
        format!("{head}Content-Length: 0\r\n\r\n"),
        format!("{head}Content-Length: 99\r\n\r\n"),
        String::from("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
    ];
    for bytes in cases {
        let mut protocol = Protocol::new();
        protocol.receive(bytes.as_bytes());
        let _ = protocol.next(&LIMITS);
        assert_eq!(protocol.take_output(), None, "{bytes}");
    }
}

#[test]
fn an_interim_response_leaves_the_request_in_hand() {
    let mut protocol = in_hand("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = Vec::new();
    protocol.respond(&Response::new(101).header("Upgrade", "websocket"), &mut out);
    assert_eq!(
        out,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    );
    assert!(protocol.is_awaiting_response());
}

#[test]
fn a_second_answer_is_dropped() {
    let mut protocol = in_hand("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = Vec::new();
    protocol.respond(&Response::new(204), &mut out);
    protocol.respond(&Response::new(204), &mut out);
    assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
}

#[test]
fn bytes_after_an_upgrade_are_handed_over() {
    assert_eq!(in_hand("GET / HTTP/1.1\r\nHost: a\r\n\r\n\x01\x02").into_rest(), b"\x01\x02");
    assert_eq!(in_hand("GET / HTTP/1.1\r\nHost: a\r\n\r\n").into_rest().capacity(), 0);
}

#[test]
fn a_body_in_one_byte_chunks_holds_no_more_than_its_data() {
    let mut protocol = Protocol::new();
    protocol.receive(chunked("").as_bytes());
    assert!(protocol.next(&LIMITS).unwrap().is_none());
    let head = protocol.buffered_bytes();
    for sent in 1..=32 {
        protocol.receive(b"1;extension\r\nx\r\n");
        assert!(protocol.next(&LIMITS).unwrap().is_none());
        assert_eq!(protocol.buffered_bytes(), head + sent);
    }
}

/// Requests and rubbish, so that many of the cases get past the first line.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /p HTTP/1.1\r\n",
        "HEAD * HTTP/1.0\r\n",
        "Host: a\r\n",
        "\r\n",
        "\r",
        "\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "3\r\n",
        "abc\r\n",
        "abc",
        "0\r\n",
        "0\r\n\r\n",
        "Connection: close\r\n",
        "A: b\r\n",
        " ",
        ":",
        "\x16",
        "ff",
        ";e",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_requests(
        first: u8, second in 0u8..40, bytes in any_bytes(), flips in prop::collection::vec(any::<(u8, u8)>(), 0..2),
    ) {
        let mut data = vec![first, second];
        data.extend(bytes);
        for (place, byte) in flips {
            let place = usize::from(place) % data.len();
            data[place] = byte;
        }
        fuzz_requests(&data);
    }
}

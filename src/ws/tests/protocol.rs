//! The law, checked from outside: each stream whole, byte by byte, and cut anywhere.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: Limits = Limits { message_bytes: 1000 };

/// A frame as `from` sends it.
fn frame(from: Role, is_final: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let key = (from == Role::Client).then_some(KEY);
    frame::encode(is_final, opcode, key, payload, &mut out);
    out
}

/// A masked whole frame, as a client sends it.
fn whole(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, true, opcode, payload)
}

/// A masked frame that is not its message's last.
fn part(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, false, opcode, payload)
}

/// What came of it: events and errors in short, and what was answered.
fn heard(us: &mut Protocol, bytes: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
    let (mut said, mut answers) = (Vec::new(), Vec::new());
    for part in bytes.to_vec().chunks_mut(step) {
        let mut input = Input { bytes: part };
        let mut reply = Reply { bytes: &mut answers, masking_key: KEY };
        loop {
            match us.receive(&mut input, &LIMITS, &mut reply) {
                Ok(None) => break,
                Ok(Some(event)) => said.push(short(&event)),
                Err(error) => said.push(format!("{error:?}")),
            }
        }
    }
    (said, answers)
}

fn short(event: &Event<'_>) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Message(message) => format!("{:?} {}", message.kind(), lossy(message.bytes())),
        Event::Ping(payload) => format!("Ping {}", lossy(payload)),
        Event::Pong(payload) => format!("Pong {}", lossy(payload)),
        Event::Close(None) => "Close".to_owned(),
        Event::Close(Some(close)) => format!("Close {} {}", close.code, close.reason),
    }
}

/// Checks what a server hears and answers, whole and byte by byte.
fn check(frames: &[Vec<u8>], said: &[&str], answers: &[Vec<u8>]) {
    check_from(&|| Protocol::new(Role::Server), frames, said, answers);
}

fn check_from(us: &dyn Fn() -> Protocol, frames: &[Vec<u8>], said: &[&str], answers: &[Vec<u8>]) {
    let bytes = frames.concat();
    for step in [bytes.len().max(1), 1, 3] {
        let (heard, answered) = heard(&mut us(), &bytes, step);
        assert_eq!(heard, said, "in steps of {step}");
        assert_eq!(answered, answers.concat(), "in steps of {step}");
    }
}

/// Checks that a server fails the connection with this error and close code, says nothing after it, and hears nothing.
fn check_fails(frames: &[Vec<u8>], error: ProtocolError, code: u16) {
    let mut bytes = frames.concat();
    bytes.extend(whole(Opcode::Text, b"too late"));
    for step in [bytes.len(), 1] {
        let mut us = Protocol::new(Role::Server);
        let (heard, answered) = heard(&mut us, &bytes, step);
        assert_eq!(heard.last(), Some(&format!("{error:?}")), "in steps of {step}");
        let (header, header_bytes) = Header::decode(&answered, Role::Client).unwrap().unwrap();
        assert_eq!(header.opcode, Opcode::Close);
        let close = CloseFrame::parse(&answered[header_bytes..]).unwrap().unwrap();
        assert_eq!((close.code.0, &*close.reason), (code, &*error.to_string()));
        assert_eq!(us.state(), State::Closed);
        assert!(!us.is_mid_message());
    }
}

fn close_frame(from: Role, code: u16, reason: &str) -> Vec<u8> {
    let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(from, true, Opcode::Close, &body)
}

#[test]
fn connection_takes_16_bytes() {
    assert!(size_of::<Protocol>() <= 16, "{}", size_of::<Protocol>());
}

#[test]
fn frames_of_the_rfc_are_heard() {
    // RFC 6455 §5.7, to the letter.
    let client = || Protocol::new(Role::Client);
    check_from(&client, &[b"\x81\x05\x48\x65\x6c\x6c\x6f".into()], &["Text Hello"], &[]);
    check(&[b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".into()], &["Text Hello"], &[]);
    let fragments = [b"\x01\x03\x48\x65\x6c".to_vec(), b"\x80\x02\x6c\x6f".to_vec()];
    check_from(&client, &fragments, &["Text Hello"], &[]);
    let pong = frame(Role::Client, true, Opcode::Pong, b"Hello");
    check_from(&client, &[b"\x89\x05\x48\x65\x6c\x6c\x6f".into()], &["Ping Hello"], &[pong]);
    check(&[b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".into()], &["Pong Hello"], &[]);
    let long = [b"\x82\x7e\x01\x00".to_vec(), vec![b'x'; 256]];
    check_from(&client, &long, &[&format!("Binary {}", "x".repeat(256))], &[]);
}

#[test]
fn frame_of_64_kib_is_heard() {
    let mut bytes = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
    bytes.resize(bytes.len() + 65_536, b'x');
    let limits = Limits { message_bytes: 65_536 };
    for step in [bytes.len(), 1, 4096] {
        let mut us = Protocol::new(Role::Client);
        let mut messages = 0;
        for part in bytes.clone().chunks_mut(step) {
            let mut input = Input { bytes: part };
            let mut reply = Reply { bytes: &mut Vec::new(), masking_key: KEY };
            while let Some(event) = us.receive(&mut input, &limits, &mut reply).unwrap() {
                let Event::Message(message) = event else { panic!("{event:?}") };
                assert_eq!(message.bytes(), &bytes[10..]);
                messages += 1;
            }
        }
        assert_eq!(messages, 1, "in steps of {step}");
    }
}

#[test]
fn fragments_become_one_message_with_control_frames_between() {
    check(
        &[
            part(Opcode::Text, b"\xe2"),
            whole(Opcode::Ping, b"1"),
            part(Opcode::Continuation, b"\x82"),
            whole(Opcode::Pong, b"2"),
            part(Opcode::Continuation, b""),
            whole(Opcode::Continuation, b"\xac"),
            whole(Opcode::Binary, b"next"),
        ],
        &["Ping 1", "Pong 2", "Text €", "Binary next"],
        &[frame(Role::Server, true, Opcode::Pong, b"1")],
    );
}

#[test]
fn empty_messages_are_messages() {
    check(
        &[
            whole(Opcode::Text, b""),
            whole(Opcode::Ping, b""),
            part(Opcode::Binary, b""),
            whole(Opcode::Continuation, b""),
        ],
        &["Text ", "Ping ", "Binary "],
        &[frame(Role::Server, true, Opcode::Pong, b"")],
    );
}

#[test]
fn whole_frames_are_borrowed_and_leave_nothing_on_the_heap() {
    let mut bytes =
        [whole(Opcode::Text, b"text"), whole(Opcode::Ping, b"ping"), whole(Opcode::Pong, b"")]
            .concat();
    let mut us = Protocol::new(Role::Server);
    let mut input = Input { bytes: &mut bytes };
    let mut reply = Reply { bytes: &mut Vec::new(), masking_key: KEY };
    while let Some(event) = us.receive(&mut input, &LIMITS, &mut reply).unwrap() {
        let payload = match event {
            Event::Message(message) => message.into_bytes(),
            Event::Ping(payload) | Event::Pong(payload) => payload,
            Event::Close(_) => panic!("nobody closed"),
        };
        assert!(matches!(payload, Cow::Borrowed(_)));
        assert!(!us.is_mid_message());
    }
}

#[test]
fn memory_of_what_is_incomplete_is_given_up_when_it_is_complete() {
    let fragments = [part(Opcode::Text, b"a"), whole(Opcode::Continuation, b"b")].concat();
    let empty = [part(Opcode::Text, b""), whole(Opcode::Continuation, b"")].concat();
    for bytes in [fragments, empty, whole(Opcode::Binary, b"c"), whole(Opcode::Pong, b"")] {
        let mut us = Protocol::new(Role::Server);
        for (place, byte) in bytes.iter().enumerate() {
            heard(&mut us, &[*byte], 1);
            assert_eq!(
                us.is_mid_message(),
                place + 1 < bytes.len(),
                "after {place} of {bytes:02x?}"
            );
        }
    }
}

#[test]
fn each_framing_error_closes_with_its_code() {
    use ProtocolError as Error;
    let raw = |bytes: &[u8]| vec![bytes.to_vec()];
    let table = [
        (raw(b"\xc1\x80\0\0\0\0"), Error::ReservedBits { bits: 4 }, 1002),
        (raw(b"\xa1\x80\0\0\0\0"), Error::ReservedBits { bits: 2 }, 1002),
        (raw(b"\x91\x80\0\0\0\0"), Error::ReservedBits { bits: 1 }, 1002),
        (raw(b"\x83\x80\0\0\0\0"), Error::ReservedOpcode { opcode: 3 }, 1002),
        (raw(b"\x8f\x80\0\0\0\0"), Error::ReservedOpcode { opcode: 15 }, 1002),
        (raw(b"\x89\xfe\0\x7e"), Error::ControlTooLong { length: 126 }, 1002),
        (raw(b"\x88\xff"), Error::ControlTooLong { length: 127 }, 1002),
        (vec![part(Opcode::Ping, b"")], Error::ControlFragmented, 1002),
        (vec![whole(Opcode::Continuation, b"x")], Error::ContinuationWithoutStart, 1002),
        (vec![part(Opcode::Continuation, b"x")], Error::ContinuationWithoutStart, 1002),
        (
            vec![part(Opcode::Text, b"x"), whole(Opcode::Text, b"x")],
            Error::NewMessageInsideMessage,
            1002,
        ),
        (
            vec![part(Opcode::Text, b""), part(Opcode::Binary, b"x")],
            Error::NewMessageInsideMessage,
            1002,
        ),
        (raw(b"\x81\x05Hello"), Error::UnmaskedFrame, 1002),
        (raw(b"\x81\xfe\0\x7d\0\0\0\0"), Error::LengthNotMinimal { bytes: 125 }, 1002),
        (
            raw(b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"),
            Error::LengthNotMinimal { bytes: 65_535 },
            1002,
        ),
        (raw(b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), Error::LengthTopBit { bytes: 1 << 63 }, 1002),
        (vec![whole(Opcode::Text, b"\xff")], Error::InvalidUtf8, 1007),
        (vec![whole(Opcode::Text, b"\xe2\x82")], Error::InvalidUtf8, 1007),
        (
            vec![part(Opcode::Text, b"\xe2"), whole(Opcode::Continuation, b"")],
            Error::InvalidUtf8,
            1007,
        ),
        (vec![whole(Opcode::Close, b"\x03")], Error::CloseBodyOfOneByte, 1002),
        (vec![whole(Opcode::Close, b"\x03\xe8\xff")], Error::CloseReasonNotUtf8, 1007),
    ];
    for (frames, error, code) in table {
        check_fails(&frames, error, code);
    }
}

#[test]
fn unmasked_frame_closes_with_1002() {
    check_fails(&[b"\x82\x00".to_vec()], ProtocolError::UnmaskedFrame, 1002);
}

#[test]
fn masked_frame_from_a_server_fails_the_client() {
    let mut us = Protocol::new(Role::Client);
    let (said, answered) = heard(&mut us, &whole(Opcode::Text, b"x"), 1);
    assert_eq!(said, ["MaskedFrame"]);
    assert_eq!(answered[..2], [0x88, 0x80 | u8::try_from(answered.len() - 6).unwrap()]);
    assert_eq!(us.state(), State::Closed);
}

#[test]
fn close_codes_set_aside_fail_with_1002() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let frames = [close_frame(Role::Client, code, "")];
        check_fails(&frames, ProtocolError::CloseCode { code }, 1002);
    }
}

#[test]
fn close_is_echoed_with_its_code() {
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
        check(
            &[close_frame(Role::Client, code, "why"), whole(Opcode::Text, b"too late")],
            &[&format!("Close {code} why")],
            &[close_frame(Role::Server, code, "")],
        );
    }
    check(
        &[whole(Opcode::Close, b"")],
        &["Close"],
        &[frame(Role::Server, true, Opcode::Close, b"")],
    );
}

#[test]
fn message_over_the_limit_is_refused_by_its_header() {
    let header = |is_final, opcode, payload_bytes| {
        let mut out = Vec::new();
        let is_compressed = false;
        Header { is_final, is_compressed, opcode, masking_key: Some(KEY), payload_bytes }
            .encode(&mut out);
        out
    };
    let too_big = ProtocolError::MessageTooBig { limit: 1000 };
    // The error is there with the header: not one byte of the body has come.
    for announced in [1001, 65_536, u64::MAX >> 1] {
        let (said, _) =
            heard(&mut Protocol::new(Role::Server), &header(true, Opcode::Binary, announced), 1);
        assert_eq!(said, [format!("{too_big:?}")]);
    }
    let fits = vec![b'x'; 600];
    check_fails(
        &[part(Opcode::Text, &fits), header(true, Opcode::Continuation, 401)],
        too_big,
        1009,
    );
    check(
        &[part(Opcode::Binary, &fits), whole(Opcode::Continuation, &fits[..400])],
        &[&format!("Binary {}", "x".repeat(1000))],
        &[],
    );
}

#[test]
fn invalid_utf8_fails_inside_a_frame_at_the_wrong_byte() {
    // Autobahn 6.4.3 and 6.4.4 in miniature: the frame is incomplete, its fourth byte already wrong.
    let bytes = whole(Opcode::Text, b"\xce\xba\xf4\x90\x80\x80rest");
    let mut us = Protocol::new(Role::Server);
    assert!(heard(&mut us, &bytes[..9], 1).0.is_empty());
    assert_eq!(heard(&mut us, &bytes[9..10], 1).0, ["InvalidUtf8"]);
    let mut us = Protocol::new(Role::Server);
    assert_eq!(heard(&mut us, &bytes[..10], 10).0, ["InvalidUtf8"]);
}

#[test]
fn after_our_close_only_pings_and_their_close_are_heard() {
    let closing = || {
        let mut us = Protocol::new(Role::Server);
        let mut out = Vec::new();
        let mut reply = Reply { bytes: &mut out, masking_key: KEY };
        us.close(CloseCode::GOING_AWAY, "bye", &mut reply).unwrap();
        assert_eq!(out, close_frame(Role::Server, 1001, "bye"));
        assert_eq!(us.state(), State::ClosingUs);
        us
    };
    let chatter = [whole(Opcode::Text, b"x"), whole(Opcode::Pong, b"x"), part(Opcode::Text, b"x")];
    let goodbye = [&chatter[..], &[close_frame(Role::Client, 1001, "")]].concat();
    check_from(&closing, &goodbye, &["Close 1001 "], &[]);
    let error = [&chatter[..], &[whole(Opcode::Text, b"y")]].concat();
    check_from(&closing, &error, &["NewMessageInsideMessage"], &[]);
    // RFC 6455 §5.5.2: their close frame has not come, so a ping has its pong.
    let pong = frame(Role::Server, true, Opcode::Pong, b"?");
    let pinged = [whole(Opcode::Ping, b"?"), close_frame(Role::Client, 1001, "")];
    check_from(&closing, &pinged, &["Ping ?", "Close 1001 "], &[pong]);
    let odd = [close_frame(Role::Client, 1005, "")];
    check_from(&closing, &odd, &["CloseCode { code: 1005 }"], &[]);
}

#[test]
fn nothing_is_sent_once_closing_has_begun() {
    let mut us = Protocol::new(Role::Server);
    let mut out = Vec::new();
    let mut reply = Reply { bytes: &mut out, masking_key: KEY };
    us.close(CloseCode::NORMAL, "", &mut reply).unwrap();
    assert_eq!(us.send(MessageKind::Text, b"x", &mut reply), Err(SendError::Closed));
    assert_eq!(us.send_ping(b"x", &mut reply), Err(SendError::Closed));
    assert_eq!(us.close(CloseCode::NORMAL, "", &mut reply), Err(SendError::Closed));
    assert_eq!(out, close_frame(Role::Server, 1000, ""));
}

#[test]
fn ping_over_125_bytes_is_our_own_error() {
    let mut out = Vec::new();
    let mut reply = Reply { bytes: &mut out, masking_key: KEY };
    let us = Protocol::new(Role::Server);
    let sent = us.send_ping(&[0; 126], &mut reply);
    assert_eq!(sent, Err(SendError::PingTooLong { bytes: 126 }));
    us.send_ping(&[0; 125], &mut reply).unwrap();
    assert_eq!(out, frame(Role::Server, true, Opcode::Ping, &[0; 125]));
}

#[test]
fn code_that_must_not_be_sent_closes_with_an_empty_body() {
    let mut out = Vec::new();
    let mut reply = Reply { bytes: &mut out, masking_key: KEY };
    Protocol::new(Role::Server).close(CloseCode(1005), "no", &mut reply).unwrap();
    assert_eq!(out, b"\x88\x00");
}

// ── permessage-deflate ──

const DEFLATE: Option<Agreement> = Some(Agreement { window: WindowBits::MOST });
/// RFC 7692 §7.2.3.1: "Hello", compressed.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn deflating() -> Protocol {
    Protocol::new(Role::Server).with_deflate(DEFLATE)
}

/// A masked frame that begins a compressed message, or claims to.
fn compressed(is_final: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    compressed_from(Role::Client, is_final, opcode, payload)
}

fn compressed_from(from: Role, is_final: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(from, is_final, opcode, payload);
    bytes[0] |= 0x40;
    bytes
}

/// What a payload is on the wire, compressed by zlib alone.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut engine = flate2::Compress::new(flate2::Compression::best(), false);
    let mut out = Vec::with_capacity(payload.len() + 100);
    engine.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
    out.truncate(out.strip_suffix(b"\0\0\xff\xff").unwrap().len());
    out
}

/// Checks that a connection that agreed to compression fails with this error and close code.
fn check_deflate_fails(frames: &[Vec<u8>], error: ProtocolError, code: u16) {
    let body = CloseFrame { code: CloseCode(code), reason: Cow::Owned(error.to_string()) };
    let mut close = Vec::new();
    body.encode(&mut close);
    let answers = frame(Role::Server, true, Opcode::Close, &close);
    check_from(&deflating, frames, &[&format!("{error:?}")], &[answers]);
}

#[test]
fn compressed_messages_of_the_rfc_are_heard() {
    // RFC 7692 §7.2.3, to the letter, from a server and from a client.
    let client = || Protocol::new(Role::Client).with_deflate(DEFLATE);
    let whole = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec();
    check_from(&client, &[whole], &["Text Hello"], &[]);
    let fragments = [b"\x41\x03\xf2\x48\xcd".to_vec(), b"\x80\x04\xc9\xc9\x07\x00".to_vec()];
    check_from(&client, &fragments, &["Text Hello"], &[]);
    for payload in [
        &b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"[..],
        b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        check_from(&client, &[payload.to_vec()], &["Text Hello"], &[]);
    }
    check_from(&client, &[b"\xc1\x01\x00".to_vec()], &["Text "], &[]);
    check_from(&deflating, &[compressed(true, Opcode::Binary, HELLO)], &["Binary Hello"], &[]);
}

#[test]
fn compressed_and_plain_messages_may_take_turns() {
    let frames = [
        compressed(true, Opcode::Text, HELLO),
        whole(Opcode::Text, b"plain"),
        compressed(false, Opcode::Text, &HELLO[..2]),
        whole(Opcode::Ping, b"1"),
        part(Opcode::Continuation, b""),
        part(Opcode::Continuation, &HELLO[2..5]),
        whole(Opcode::Continuation, &HELLO[5..]),
        part(Opcode::Text, b"pl"),
        whole(Opcode::Continuation, b"ain"),
    ];
    let pong = frame(Role::Server, true, Opcode::Pong, b"1");
    let said = ["Text Hello", "Text plain", "Ping 1", "Text Hello", "Text plain"];
    check_from(&deflating, &frames, &said, &[pong]);
}

#[test]
fn compressed_message_without_agreement_closes_with_1002() {
    let reserved = ProtocolError::ReservedBits { bits: 4 };
    check_fails(&[compressed(true, Opcode::Text, HELLO)], reserved, 1002);
}

#[test]
fn rsv1_inside_a_message_closes_with_1002() {
    let misplaced = |opcode| ProtocolError::CompressionMisplaced { opcode };
    for rest in [true, false] {
        let frames = [
            compressed(false, Opcode::Text, &HELLO[..3]),
            compressed(rest, Opcode::Continuation, &HELLO[3..]),
        ];
        check_deflate_fails(&frames, misplaced(Opcode::Continuation), 1002);
    }
    let alone = [compressed(true, Opcode::Continuation, HELLO)];
    check_deflate_fails(&alone, misplaced(Opcode::Continuation), 1002);
}

#[test]
fn rsv1_on_a_control_frame_closes_with_1002() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let misplaced = ProtocolError::CompressionMisplaced { opcode };
        check_deflate_fails(&[compressed(true, opcode, b"")], misplaced, 1002);
    }
}

#[test]
fn other_reserved_bits_stay_without_a_meaning() {
    for bits in [1, 2, 3, 5, 6, 7] {
        let mut bytes = whole(Opcode::Text, b"");
        bytes[0] |= bits << 4;
        check_deflate_fails(&[bytes], ProtocolError::ReservedBits { bits }, 1002);
    }
}

#[test]
fn invalid_deflate_data_closes_with_1007() {
    for payload in [&b"\xff\xff"[..], b"", &HELLO[..4], b"\xf3\x48\xcd\xc9\xc9\x07\x00"] {
        let invalid = ProtocolError::InvalidDeflate;
        check_deflate_fails(&[compressed(true, Opcode::Text, payload)], invalid, 1007);
        let (first, rest) = payload.split_at(payload.len() / 2);
        let frames = [compressed(false, Opcode::Text, first), whole(Opcode::Continuation, rest)];
        check_deflate_fails(&frames, invalid, 1007);
    }
}

#[test]
fn inflated_text_that_is_not_utf8_closes_with_1007() {
    let latin = "gr\u{fc}\u{df}e ".repeat(20).chars().map(|c| c as u8).collect::<Vec<_>>();
    let frames = [compressed(true, Opcode::Text, &deflated(&latin))];
    check_deflate_fails(&frames, ProtocolError::InvalidUtf8, 1007);
    let cut = "€".repeat(30);
    let inside = deflated(&cut.as_bytes()[..89]);
    let frames = [compressed(true, Opcode::Text, &inside)];
    check_deflate_fails(&frames, ProtocolError::InvalidUtf8, 1007);
    let lossy = String::from_utf8_lossy(&cut.as_bytes()[..89]).into_owned();
    let frames = [compressed(true, Opcode::Binary, &inside)];
    check_from(&deflating, &frames, &[&format!("Binary {lossy}")], &[]);
}

#[test]
fn message_that_inflates_past_the_limit_closes_with_1009() {
    let too_big = ProtocolError::MessageTooBig { limit: 1000 };
    let bomb = deflated(&vec![b'x'; 1_000_000]);
    let over = deflated(&[b'x'; 1001]);
    for payload in [&bomb[..], &over] {
        let whole_message = [compressed(true, Opcode::Text, &payload[..payload.len().min(1100)])];
        check_deflate_fails(&whole_message, too_big, 1009);
    }
    let fits = [compressed(true, Opcode::Text, &deflated(&[b'x'; 1000]))];
    check_from(&deflating, &fits, &[&format!("Text {}", "x".repeat(1000))], &[]);
}

#[test]
fn compressed_message_may_be_little_longer_than_the_limit() {
    // Stored blocks, as of a sender that finds nothing to compress: 5 bytes more for each block, and one at the end.
    let stored: Vec<u8> = (0..10)
        .flat_map(|_| [&b"\x00\x64\x00\x9b\xff"[..], &[b'x'; 100]].concat())
        .chain([0])
        .collect();
    let text = format!("Text {}", "x".repeat(1000));
    check_from(&deflating, &[compressed(true, Opcode::Text, &stored)], &[&text], &[]);
    // What is much longer is refused by its header.
    let mut header = compressed(true, Opcode::Text, &[0; 1200]);
    header.truncate(8);
    check_deflate_fails(&[header], ProtocolError::MessageTooBig { limit: 1000 }, 1009);
}

#[test]
fn what_waits_of_a_compressed_message_is_what_came() {
    let payload = deflated(&[b'x'; 900]);
    let mut us = deflating();
    let frames = [compressed(false, Opcode::Text, &payload[..payload.len() - 1])].concat();
    let memory = allocation_counter::measure(|| drop(heard(&mut us, &frames, usize::MAX >> 1)));
    assert!(us.is_mid_message());
    assert!(memory.bytes_current < 400, "{memory:?}");
}

/// Both roles, joined by two wires.
struct Pair {
    client: Protocol,
    server: Protocol,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        Self {
            client: Protocol::new(Role::Client),
            server: Protocol::new(Role::Server),
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Sends from one end.
    fn from(&mut self, role: Role, act: impl FnOnce(&mut Protocol, &mut Reply<'_>)) {
        let (protocol, out) = match role {
            Role::Client => (&mut self.client, &mut self.to_server),
            Role::Server => (&mut self.server, &mut self.to_client),
        };
        act(protocol, &mut Reply { bytes: out, masking_key: KEY });
    }

    /// Carries bytes to and fro until the wires are empty; what the server and the client heard.
    fn carry(&mut self, step: usize) -> (Vec<String>, Vec<String>) {
        let (mut by_server, mut by_client) = (Vec::new(), Vec::new());
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            let (said, answers) = heard(&mut self.server, &mem::take(&mut self.to_server), step);
            by_server.extend(said);
            self.to_client.extend(answers);
            let (said, answers) = heard(&mut self.client, &mem::take(&mut self.to_client), step);
            by_client.extend(said);
            self.to_server.extend(answers);
        }
        (by_server, by_client)
    }
}

#[test]
fn both_roles_talk_and_part() {
    for step in [usize::MAX >> 1, 1] {
        let mut pair = Pair::new();
        pair.from(Role::Client, |us, out| us.send(MessageKind::Text, "é".as_bytes(), out).unwrap());
        pair.from(Role::Server, |us, out| us.send(MessageKind::Binary, b"\x00", out).unwrap());
        pair.from(Role::Server, |us, out| us.send_ping(b"?", out).unwrap());
        let (by_server, by_client) = pair.carry(step);
        assert_eq!(by_server, ["Text é", "Pong ?"]);
        assert_eq!(by_client, ["Binary \0", "Ping ?"]);
        pair.from(Role::Server, |us, out| us.close(CloseCode(4001), "go", out).unwrap());
        let (by_server, by_client) = pair.carry(step);
        assert_eq!(
            (by_server, by_client),
            (vec!["Close 4001 ".into()], vec!["Close 4001 go".into()])
        );
        assert_eq!((pair.client.state(), pair.server.state()), (State::Closed, State::Closed));
    }
}

#[test]
fn close_from_both_ends_at_once_ends_both() {
    let mut pair = Pair::new();
    pair.from(Role::Client, |us, out| us.close(CloseCode::NORMAL, "", out).unwrap());
    pair.from(Role::Server, |us, out| us.close(CloseCode::GOING_AWAY, "", out).unwrap());
    let (by_server, by_client) = pair.carry(1);
    assert_eq!((by_server, by_client), (vec!["Close 1000 ".into()], vec!["Close 1001 ".into()]));
    assert_eq!((pair.client.state(), pair.server.state()), (State::Closed, State::Closed));
}

#[test]
fn both_roles_talk_compressed() {
    let text = "said once, and said again. ".repeat(20);
    for bits in ["8", "9", "15"] {
        let window = WindowBits::parse(bits).unwrap();
        let agreed = Some(Agreement { window });
        let mut deflater = Deflater::new(crate::ws::Compression { threshold_bytes: 100, level: 6 });
        let mut pair = Pair::new();
        pair.client = Protocol::new(Role::Client).with_deflate(agreed);
        pair.server = Protocol::new(Role::Server).with_deflate(agreed);
        for role in [Role::Client, Role::Server] {
            for message in [&*text, "short"] {
                let payload = message.as_bytes();
                pair.from(role, |us, out| {
                    us.send_with(&mut deflater, MessageKind::Text, payload, out).unwrap();
                });
            }
        }
        let wire = [pair.to_server.len(), pair.to_client.len()];
        assert_eq!(wire.map(|bytes| bytes < text.len() / 4), [bits != "8"; 2], "{bits}: {wire:?}");
        let (by_server, by_client) = pair.carry(1);
        let said = [format!("Text {text}"), "Text short".to_owned()];
        assert_eq!((&by_server[..], &by_client[..]), (&said[..], &said[..]));
    }
}

#[test]
fn nothing_is_compressed_without_agreement() {
    let (mut out, payload) = (Vec::new(), [b'x'; 5000]);
    let mut deflater = Deflater::new(crate::ws::Compression::default());
    let mut reply = Reply { bytes: &mut out, masking_key: KEY };
    let us = Protocol::new(Role::Server);
    us.send_with(&mut deflater, MessageKind::Text, &payload, &mut reply).unwrap();
    assert_eq!(out, frame(Role::Server, true, Opcode::Text, &payload));
    assert_eq!(deflater.take_runs(), 0);
}

/// Streams that get far: mostly sound frames, fragments among them, now and then broken bytes.
fn streams(from: Role) -> impl Strategy<Value = Vec<u8>> {
    let opcodes = prop_oneof![
        3 => Just(Opcode::Text),
        2 => Just(Opcode::Binary),
        4 => Just(Opcode::Continuation),
        1 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
    ];
    let payloads = prop_oneof![
        4 => "[a-zé€𝄞]{0,60}".prop_map(String::into_bytes),
        1 => "[a-z]{120,500}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..6),
    ];
    let sound = (opcodes, any::<bool>(), payloads).prop_map(move |(opcode, is_final, payload)| {
        let payload =
            if opcode.is_control() { &payload[..payload.len().min(125)] } else { &payload };
        frame(from, is_final || opcode.is_control(), opcode, payload)
    });
    let closes = (990..1020_u16).prop_map(move |code| close_frame(from, code, "why"));
    let frames = prop_oneof![20 => sound, 1 => closes, 1 => vec(any::<u8>(), 1..20)];
    vec(frames, 1..12).prop_map(|frames| frames.concat())
}

/// The same streams with compressed messages among them: whole, fragmented, over the limit, and broken.
fn deflated_streams(from: Role) -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-cé]{0,40}".prop_map(String::into_bytes);
    let message = (text, 1..60_usize, 0..4_usize, any::<u16>(), any::<bool>()).prop_map(
        move |(text, repeat, parts, broken, is_text)| {
            let mut payload = deflated(&text.repeat(repeat));
            let place = usize::from(broken) % payload.len();
            if broken % 7 == 0 {
                payload[place] ^= 1 << (broken % 8);
            }
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let mut bytes = Vec::new();
            let mut rest = &payload[..];
            for part in 0..=parts {
                let (front, after) = rest.split_at(place.min(rest.len()));
                let is_last = part == parts;
                let payload = if is_last { rest } else { front };
                rest = after;
                bytes.extend(match part {
                    0 => compressed_from(from, is_last, opcode, payload),
                    _ => frame(from, is_last, Opcode::Continuation, payload),
                });
            }
            bytes
        },
    );
    let frames = prop_oneof![3 => message, 1 => streams(from)];
    vec(frames, 1..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_events(
        bytes in streams(Role::Client), lengths in vec(1..200_u8, 0..8),
    ) {
        let mut data = vec![u8::try_from(lengths.len()).unwrap() << 1];
        data.extend(lengths);
        data.extend(bytes);
        fuzz_cuts(&data);
    }

    #[test]
    fn any_cut_gives_a_client_the_same_events(
        bytes in streams(Role::Server), lengths in vec(1..200_u8, 0..8),
    ) {
        let mut data = vec![u8::try_from(lengths.len()).unwrap() << 1 | 1];
        data.extend(lengths);
        data.extend(bytes);
        fuzz_cuts(&data);
    }

    #[test]
    fn any_cut_of_compressed_messages_gives_the_same_events(
        bytes in deflated_streams(Role::Client), lengths in vec(1..200_u8, 0..8),
    ) {
        let mut data = vec![u8::try_from(lengths.len()).unwrap() << 1 | 0x80];
        data.extend(lengths);
        data.extend(bytes);
        fuzz_cuts(&data);
    }

    #[test]
    fn any_cut_of_compressed_messages_gives_a_client_the_same_events(
        bytes in deflated_streams(Role::Server), lengths in vec(1..200_u8, 0..8),
    ) {
        let mut data = vec![u8::try_from(lengths.len()).unwrap() << 1 | 0x81];
        data.extend(lengths);
        data.extend(bytes);
        fuzz_cuts(&data);
    }

    #[test]
    fn no_bytes_at_all_make_a_panic(data in vec(any::<u8>(), 0..300)) {
        fuzz_cuts(&data);
    }
}

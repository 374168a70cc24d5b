//! The shapes that clients send, to the letter, and what becomes of everything else.

use super::super::channel::NameError;
use super::super::signature::AuthError;
use super::*;

fn subscribe<'m>(
    channel: &'m str,
    auth: Option<&'m str>,
    channel_data: Option<&'m str>,
) -> Subscribe<'m> {
    Subscribe {
        channel: channel.into(),
        auth: auth.map(Into::into),
        channel_data: channel_data.map(Into::into),
    }
}

fn check_subscribe(text: &str, expected: &Subscribe<'_>) {
    match Command::read(text) {
        Ok(Command::Subscribe(got)) => assert_eq!(&got, expected, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
}

fn check_invalid(text: &str) {
    let result = Command::read(text);
    assert_eq!(result.err(), Some(ClientError::InvalidMessage), "{text}");
}

fn check_written(write: impl Fn(&mut Vec<u8>), expected: &str) {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn subscribe_has_the_shapes_of_pusher_js() {
    check_subscribe(
        r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"pub"}}"#,
        &subscribe("pub", Some(""), None),
    );
    check_subscribe(
        r#"{"event":"pusher:subscribe","data":{"auth":"KEY:00","channel":"private-a"}}"#,
        &subscribe("private-a", Some("KEY:00"), None),
    );
    check_subscribe(
        r#"{"event":"pusher:subscribe","data":{"auth":"KEY:00","channel_data":"{\"user_id\":\"7\",\"user_info\":{\"n\":1}}","channel":"presence-r"}}"#,
        &subscribe("presence-r", Some("KEY:00"), Some(r#"{"user_id":"7","user_info":{"n":1}}"#)),
    );
}

#[test]
fn subscribe_needs_no_auth_and_minds_no_further_fields() {
    check_subscribe(
        r#" { "data" : {"channel":"a","x":[{"y":null}],"auth":null} , "event":"pusher:subscribe","z":1} "#,
        &subscribe("a", None, None),
    );
}

#[test]
fn data_may_be_a_string_that_holds_json() {
    check_subscribe(
        r#"{"event":"pusher:subscribe","data":"{\"auth\":\"K:1\",\"channel\":\"a\",\"channel_data\":\"{\\\"user_id\\\": 1}\"}"}"#,
        &subscribe("a", Some("K:1"), Some(r#"{"user_id": 1}"#)),
    );
    match Command::read(r#"{"event":"pusher:unsubscribe","data":"{\"channel\":\"a\"}"}"#) {
        Ok(Command::Unsubscribe { channel }) => assert_eq!(channel, "a"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn channel_data_keeps_its_bytes() {
    check_subscribe(
        r#"{"event":"pusher:subscribe","data":{"channel":"p","channel_data":"{\"a\": \"b\\/c\\u00fc\"}"}}"#,
        &subscribe("p", None, Some(r#"{"a": "b\/c\u00fc"}"#)),
    );
}

#[test]
fn a_message_without_escapes_is_borrowed() {
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"pub"}}"#;
    let Ok(Command::Subscribe(command)) = Command::read(text) else { panic!("not read") };
    assert!(matches!(command.channel, Cow::Borrowed("pub")));
    assert!(matches!(command.auth, Some(Cow::Borrowed(""))));
}

#[test]
fn ping_and_pong_are_known_with_any_data_or_none() {
    for data in [
        "",
        r#","data":{}"#,
        r#","data":"""#,
        r#","data":"{}""#,
        r#","data":null"#,
        r#","data":[1]"#,
    ] {
        let ping = format!(r#"{{"event": "pusher:ping"{data}}}"#);
        assert!(matches!(Command::read(&ping), Ok(Command::Ping)), "{ping}");
        let pong = format!(r#"{{"event":"pusher:pong"{data}}}"#);
        assert!(matches!(Command::read(&pong), Ok(Command::Pong)), "{pong}");
    }
}

#[test]
fn what_is_not_json_is_invalid() {
    for text in [
        "",
        " ",
        "hello",
        "{",
        "[]",
        "7",
        "null",
        "\"x\"",
        r#"{"event":"pusher:ping"} x"#,
        "{'event':1}",
    ] {
        check_invalid(text);
    }
}

#[test]
fn wrong_types_and_missing_fields_are_invalid() {
    for text in [
        "{}",
        r#"{"data":{}}"#,
        r#"{"event":null}"#,
        r#"{"event":7}"#,
        r#"{"event":["pusher:ping"]}"#,
        r#"{"event":"pusher:ping","channel":7}"#,
        r#"{"event":"pusher:ping","event":"pusher:pong"}"#,
        r#"{"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher:subscribe","data":null}"#,
        r#"{"event":"pusher:subscribe","data":{}}"#,
        r#"{"event":"pusher:subscribe","data":[]}"#,
        r#"{"event":"pusher:subscribe","data":"a"}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":7}}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"p","channel_data":{"user_id":1}}}"#,
        r#"["pusher:ping",null,null]"#,
        r#"{"event":"pusher:subscribe","data":["a",null,null]}"#,
        r#"{"event":"pusher:subscribe","data":"[\"a\",null,null]"}"#,
        r#"{"event":"pusher:unsubscribe","data":{}}"#,
        r#"{"event":"pusher:unsubscribe"}"#,
        r#"{"event":"client-x","data":{}}"#,
        r#"{"event":"\ud800"}"#,
    ] {
        check_invalid(text);
    }
}

#[test]
fn unknown_names_of_the_protocol_are_invalid_and_others_are_ignored() {
    check_invalid(r#"{"event":"pusher:signout","data":{}}"#);
    check_invalid(r#"{"event":"pusher:"}"#);
    for name in
        ["greet", "", "pusher_internal:member_added", "Pusher:ping", "my-client-x", "pusher"]
    {
        let text = format!(r#"{{"event":"{name}","data":{{}},"channel":"a"}}"#);
        assert!(matches!(Command::read(&text), Ok(Command::Other)), "{name}");
    }
}

#[test]
fn client_events_keep_the_bytes_of_their_data() {
    match Command::read(
        r#"{"event":"client-typing","data":{"a": 1.0,"b":"\/"},"channel":"private-a"}"#,
    ) {
        Ok(Command::ClientEvent(ClientEvent { event, channel, data })) => {
            assert_eq!((event.as_ref(), channel.as_ref()), ("client-typing", "private-a"));
            assert_eq!(data.map(RawValue::get), Some(r#"{"a": 1.0,"b":"\/"}"#));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn json_nests_as_deep_as_the_limit_and_no_deeper() {
    let nested = |depth: usize| {
        format!(r#"{{"event":"pusher:ping","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    assert!(Command::read(&nested(MOST_NESTED - 1)).is_ok());
    check_invalid(&nested(MOST_NESTED));
    check_invalid(&nested(100_000));
    check_invalid(&"[".repeat(100_000));
    let in_string = format!(r#"{{"event":"pusher:ping","data":"\"{}"}}"#, "[".repeat(1000));
    assert!(Command::read(&in_string).is_ok(), "brackets in a string nest nothing");
    let deep = "[".repeat(500) + &"]".repeat(500);
    check_invalid(&format!(
        r#"{{"event":"pusher:subscribe","data":"{{\"channel\":\"a\",\"x\":{deep}}}"}}"#
    ));
}

#[test]
fn connection_established_is_json_in_a_string() {
    check_written(
        |out| write_connection_established(out, "870132037.115391333", 30),
        r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"870132037.115391333\",\"activity_timeout\":30}"}"#,
    );
}

#[test]
fn subscription_succeeded_has_empty_data() {
    check_written(
        |out| write_subscription_succeeded(out, "test-channel"),
        r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"test-channel"}"#,
    );
}

#[test]
fn client_events_are_passed_on_with_their_data_as_it_was_written() {
    for (text, expected) in [
        (
            r#"{"event":"client-a","data":{ "a" :1},"channel":"c","user_id":"forged"}"#,
            r#"{"event":"client-a","data":{ "a" :1},"channel":"c"}"#,
        ),
        (
            r#"{"channel":"\u0063","data":"{\"a\":1}","event":"client-\"b"}"#,
            r#"{"event":"client-\"b","data":"{\"a\":1}","channel":"c"}"#,
        ),
        (
            r#"{"event":"client-a","data":null,"channel":"c"}"#,
            r#"{"event":"client-a","data":null,"channel":"c"}"#,
        ),
        (r#"{"event":"client-a","channel":"c"}"#, r#"{"event":"client-a","channel":"c"}"#),
    ] {
        let Ok(Command::ClientEvent(ClientEvent { event, channel, data })) = Command::read(text)
        else {
            panic!("{text}");
        };
        check_written(|out| write_client_event(out, &event, data, &channel, None), expected);
    }
}

#[test]
fn errors_have_their_code_and_the_channel_they_are_about() {
    check_written(
        |out| write_error(out, &ClientError::OverQuota, None),
        r#"{"event":"pusher:error","data":"{\"code\":4004,\"message\":\"Application is over connection quota\"}"}"#,
    );
    check_written(
        |out| write_error(out, &ClientError::ClientEventsDisabled, Some("a\"b")),
        r#"{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"The app does not have client messaging enabled.\"}","channel":"a\"b"}"#,
    );
    check_written(
        |out| write_error(out, &ClientError::AppUnknown { key: "a\"\\".into() }, None),
        r#"{"event":"pusher:error","data":"{\"code\":4001,\"message\":\"App key a\\\"\\\\ does not exist.\"}"}"#,
    );
}

#[test]
fn a_refused_subscription_is_told_in_both_dialects() {
    let error = SubscriptionError::Full { limit: 2 };
    check_written(
        |out| write_subscription_error(out, "presence-a", &error),
        r#"{"event":"pusher:subscription_error","data":"{\"type\":\"LimitReached\",\"error\":\"The channel has 2 users; no more are allowed\",\"status\":4100}","channel":"presence-a"}"#,
    );
    check_written(
        |out| write_subscription_refused(out, "presence-a", &error),
        r#"{"event":"pusher:error","data":"{\"code\":4100,\"message\":\"The channel has 2 users; no more are allowed\"}","channel":"presence-a"}"#,
    );
}

#[test]
fn everything_written_can_be_read_by_a_client() {
    let odd = "a\"b\\c\u{1}ü😀";
    for write in [
        |out: &mut Vec<u8>, odd: &str| {
            write_error(out, &ClientError::AppUnknown { key: odd.into() }, Some(odd))
        },
        |out: &mut Vec<u8>, odd: &str| {
            write_subscription_error(
                out,
                odd,
                &SubscriptionError::Name(NameError::Character { got: '"' }),
            );
        },
        |out: &mut Vec<u8>, odd: &str| {
            write_subscription_refused(out, odd, &SubscriptionError::Auth(AuthError::Missing));
        },
        |out: &mut Vec<u8>, odd: &str| write_event(out, odd, Data::Value("{\"a\":1}"), odd),
    ] {
        let mut out = Vec::new();
        write(&mut out, odd);
        let message = ServerMessage::read(str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(message.channel.as_deref(), Some(odd));
        serde_json::from_str::<serde_json::Value>(&message.data.unwrap()).unwrap();
    }
}

#[test]
fn a_string_of_a_back_end_is_passed_on_to_the_letter() {
    for data in [r#""{\"some\":\"data\"}""#, r#""\u00fc\/ü""#, r#""""#, r#""\ud800""#, r#""a  b""#]
    {
        let raw: &RawValue = serde_json::from_str(data).unwrap();
        check_written(
            |out| write_event(out, "foo", Data::of(raw), "c"),
            &format!(r#"{{"event":"foo","data":{data},"channel":"c"}}"#),
        );
    }
}

#[test]
fn another_value_of_a_back_end_becomes_a_string() {
    for (data, expected) in [
        (r#"{"a": "b\/"}"#, r#""{\"a\": \"b\\/\"}""#),
        ("[1,2]", r#""[1,2]""#),
        ("7.0", r#""7.0""#),
        ("true", r#""true""#),
    ] {
        let raw: &RawValue = serde_json::from_str(data).unwrap();
        check_written(
            |out| write_event(out, "foo", Data::of(raw), "c"),
            &format!(r#"{{"event":"foo","data":{expected},"channel":"c"}}"#),
        );
    }
}

#[test]
fn data_is_measured_as_clients_get_it() {
    for (data, bytes) in [
        (r#""abc""#, 3),
        (r#""""#, 0),
        (r#""\u00fc""#, 2),
        (r#""\"\"""#, 2),
        (r#""ü""#, 2),
        ("[1,2]", 5),
        (r#"{"a":1}"#, 7),
    ] {
        let raw: &RawValue = serde_json::from_str(data).unwrap();
        assert_eq!(Data::of(raw).bytes(), bytes, "{data}");
    }
}

#[test]
fn a_client_reads_what_a_server_says() {
    let text = r#"{"event":"greet","data":"{\"m\":1}","channel":"a","seq":4}"#;
    let message = ServerMessage::read(text).unwrap();
    assert_eq!((message.event.as_ref(), message.data.as_deref()), ("greet", Some(r#"{"m":1}"#)));
    assert_eq!(message.channel.as_deref(), Some("a"));
    let message = ServerMessage::read(r#"{"event":"client-x","data":{"on":true}}"#).unwrap();
    assert_eq!((message.data.as_deref(), message.channel), (Some(r#"{"on":true}"#), None));
    assert!(ServerMessage::read("[]").is_err());
}

#[test]
fn a_client_reads_its_socket_id_and_errors_in_both_encodings() {
    for data in [
        r#""{\"socket_id\":\"1.2\",\"activity_timeout\":30}""#,
        r#"{"socket_id":"1.2","activity_timeout":30}"#,
    ] {
        let text = format!(r#"{{"event":"pusher:connection_established","data":{data}}}"#);
        let established = ServerMessage::read(&text).unwrap().established().unwrap();
        assert_eq!(established, Established { socket_id: "1.2".into(), activity_timeout: 30 });
    }
    for data in [r#""{\"code\":4001,\"message\":\"no\"}""#, r#"{"code":4001,"message":"no"}"#] {
        let text = format!(r#"{{"event":"pusher:error","data":{data}}}"#);
        let error = ServerMessage::read(&text).unwrap().error().unwrap();
        assert_eq!(error, ServerError { code: Some(4001), message: "no".into() });
    }
    assert!(ServerMessage::read(PING).unwrap().established().is_err());
    assert!(ServerMessage::read(PONG).unwrap().error().is_err());
}

#[test]
fn what_our_client_writes_our_server_reads() {
    let mut out = Vec::new();
    write_subscribe(&mut out, "a\"b", Some("K:1"), None);
    check_subscribe(str::from_utf8(&out).unwrap(), &subscribe("a\"b", Some("K:1"), None));
    let data = Some(r#"{"user_id":"7"}"#);
    out.clear();
    write_subscribe(&mut out, "presence-a", Some("K:1"), data);
    check_subscribe(str::from_utf8(&out).unwrap(), &subscribe("presence-a", Some("K:1"), data));
    assert!(matches!(Command::read(PING), Ok(Command::Ping)));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".*", data in ".*") {
        let _ = Command::read(&text);
        let _ = Command::read(&format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
        let _ = ServerMessage::read(&text);
    }

    #[test]
    fn any_event_arrives_as_it_was_published(event in ".*", channel in ".*", data in ".*") {
        let literal = serde_json::to_string(&data).unwrap();
        let mut out = Vec::new();
        write_event(&mut out, &event, Data::Literal(&literal), &channel);
        let message = ServerMessage::read(str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!((message.event.as_ref(), message.data.as_deref()), (event.as_str(), Some(data.as_str())));
        assert_eq!(message.channel.as_deref(), Some(channel.as_str()));
        assert_eq!(Data::Literal(&literal).bytes(), data.len());
    }
}

#[test]
fn the_data_of_an_event_is_found_as_it_was_written() {
    for (data, expected) in [(r#""a\/\u0041""#, r#""a\/\u0041""#), ("[1]", r#""[1]""#)] {
        let data = serde_json::from_str(data).unwrap();
        let mut out = Vec::new();
        write_event(&mut out, "n", Data::of(data), "c");
        assert_eq!(data_of(&out), Some(expected));
    }
    assert_eq!(data_of(b"no JSON"), None);
}

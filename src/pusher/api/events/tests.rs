//! The bodies that SDKs send, each limit at its edge, and what becomes of everything else.

use super::super::super::channel::NameError;
use super::*;

fn app() -> App {
    App::new("3", "key", "secret")
}

fn check_event(body: &str, expected: &Event<'_>) {
    let batch =
        read_event(body.as_bytes(), &app()).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(batch.shape, Shape::Channels);
    assert_eq!(batch.events, std::slice::from_ref(expected), "{body}");
}

fn check_refused(body: &str, expected: &ApiError) {
    assert_eq!(read_event(body.as_bytes(), &app()).as_ref(), Err(expected), "{body}");
}

fn check_batch_refused(body: &str, expected: &ApiError) {
    assert_eq!(read_batch(body.as_bytes(), &app()).as_ref(), Err(expected), "{body}");
}

fn event<'b>(name: &'b str, literal: &'b str, channels: &[&'b str]) -> Event<'b> {
    let channels = channels.iter().map(|&channel| channel.into()).collect();
    Event {
        name: name.into(),
        data: Data::Literal(literal),
        channels,
        except: None,
        info: Info::default(),
    }
}

/// An event whose one field is replaced.
fn with(field: &str) -> String {
    format!(r#"{{"name":"e","data":"d","channel":"c",{field}}}"#)
}

#[test]
fn an_event_has_the_shapes_of_the_sdks() {
    check_event(
        r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#,
        &event("foo", r#""{\"some\":\"data\"}""#, &["project-3"]),
    );
    check_event(r#"{"name":"foo","data":"x","channel":"a"}"#, &event("foo", r#""x""#, &["a"]));
    check_event(
        r#"{"name":"foo","data":"x","channels":["a","b"],"socket_id":null,"info":null,"more":[{}]}"#,
        &event("foo", r#""x""#, &["a", "b"]),
    );
}

#[test]
fn channel_and_channels_add_up_and_each_counts_once() {
    check_event(
        r#"{"name":"foo","data":"","channel":"a","channels":["b","a","b"]}"#,
        &event("foo", r#""""#, &["a", "b"]),
    );
}

#[test]
fn data_of_other_types_is_serialised_as_it_was_written() {
    for data in [r#"{"a": 1}"#, "[1]", "7", "true"] {
        let body = format!(r#"{{"name":"e","channel":"c","data": {data} }}"#);
        let batch = read_event(body.as_bytes(), &app()).unwrap();
        assert_eq!(batch.events[0].data, Data::Value(data));
    }
}

#[test]
fn a_socket_id_is_excluded_and_one_of_nobody_is_fine() {
    for id in ["1234.1234", "99999999999999999999999.1"] {
        let body = with(&format!(r#""socket_id":"{id}""#));
        let batch = read_event(body.as_bytes(), &app()).unwrap();
        assert_eq!(batch.events[0].except, Some(id.parse().unwrap()));
    }
}

#[test]
fn a_malformed_socket_id_is_refused() {
    for got in ["", "1", "1.", "a.b", "1.2.3", " 1.2"] {
        check_refused(
            &with(&format!(r#""socket_id":"{got}""#)),
            &ApiError::SocketId { got: got.into() },
        );
    }
}

#[test]
fn info_is_what_can_be_asked_of_several_channels() {
    let body = with(r#""info":"user_count,subscription_count""#);
    let batch = read_event(body.as_bytes(), &app()).unwrap();
    assert_eq!(batch.events[0].info, Info { cache: false, subscribers: true, users: true });
    check_refused(&with(r#""info":"user_count,cache""#), &ApiError::Info { got: "cache".into() });
}

fn check_key(body: &str, header: Option<&str>, expected: Result<Option<&str>, ApiError>) {
    let batch = read_event(body.as_bytes(), &app()).unwrap();
    assert_eq!(batch.key(header), expected, "{body}");
}

#[test]
fn the_key_of_the_header_goes_before_that_of_the_body() {
    let body = with(r#""idempotency_key":"k\u0031""#);
    check_key(&body, None, Ok(Some("k1")));
    check_key(&body, Some("h"), Ok(Some("h")));
    check_key(&body, Some(""), Ok(Some("k1")));
    check_key(&with(r#""idempotency_key":"""#), Some(""), Ok(None));
    check_key(&with(r#""idempotency_key":null"#), None, Ok(None));
    let batch = br#"{"batch":[{"channel":"c","name":"e","data":"x"}],"idempotency_key":"k"}"#;
    assert_eq!(read_batch(batch, &app()).unwrap().key(None), Ok(Some("k")));
}

#[test]
fn keys_of_256_bytes_are_allowed_and_of_257_not() {
    let body = with(r#""info":"""#);
    let key = "k".repeat(257);
    check_key(&body, Some(&key[1..]), Ok(Some(&key[1..])));
    check_key(&body, Some(&key), Err(ApiError::IdempotencyKey { bytes: 257, limit: 256 }));
}

#[test]
fn what_is_missing_is_named() {
    check_refused("{}", &ApiError::EventNameMissing);
    check_refused(r#"{"name":"","data":"x","channel":"c"}"#, &ApiError::EventNameMissing);
    check_refused(r#"{"name":"e","data":"x"}"#, &ApiError::ChannelsMissing);
    check_refused(r#"{"name":"e","data":"x","channels":[]}"#, &ApiError::ChannelsMissing);
    check_refused(r#"{"name":"e","channel":"c"}"#, &ApiError::DataMissing);
    check_refused(r#"{"name":"e","channel":"c","data":null}"#, &ApiError::DataMissing);
}

#[test]
fn what_is_not_an_event_is_refused_with_400() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    for body in [
        "",
        "x",
        "[]",
        "null",
        "7",
        r#"["e","d","c"]"#,
        r#"{"name":7}"#,
        r#"{"name":"e","channels":"c"}"#,
        &deep,
    ] {
        let error = read_event(body.as_bytes(), &app()).unwrap_err();
        assert!(matches!(error, ApiError::Body { .. }) && error.status() == 400, "{error}");
    }
    assert_eq!(read_event(b"\xff", &app()).unwrap_err().status(), 400);
}

#[test]
fn deep_data_is_passed_on_without_being_followed() {
    let data = "[".repeat(50_000) + &"]".repeat(50_000);
    let body = format!(r#"{{"name":"e","channel":"c","data":{data}}}"#);
    assert_eq!(read_event(body.as_bytes(), &app()).unwrap().events[0].data, Data::Value(&data));
}

#[test]
fn names_are_limited() {
    let named =
        |length: usize| format!(r#"{{"name":"{}","data":"x","channel":"c"}}"#, "ü".repeat(length));
    assert!(read_event(named(200).as_bytes(), &app()).is_ok());
    check_refused(&named(201), &ApiError::EventNameTooLong { characters: 201, limit: 200 });
}

#[test]
fn channels_are_limited_in_number_and_name() {
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|index| format!("\"c{index}\"")).collect();
        format!(r#"{{"name":"e","data":"x","channels":[{}]}}"#, names.join(","))
    };
    assert_eq!(read_event(many(100).as_bytes(), &app()).unwrap().events[0].channels.len(), 100);
    check_refused(&many(101), &ApiError::ChannelsTooMany { channels: 101, limit: 100 });
    let error = NameError::Character { got: ':' };
    check_refused(
        r#"{"name":"e","data":"x","channel":"a:b"}"#,
        &ApiError::Channel { name: "a:b".into(), error },
    );
}

#[test]
fn data_is_limited_as_clients_get_it() {
    let of = |data: &str| format!(r#"{{"name":"e","channel":"c","data":"{data}"}}"#);
    assert!(read_event(of(&"x".repeat(102_400)).as_bytes(), &app()).is_ok());
    assert!(read_event(of(&"\\u00fc".repeat(51_200)).as_bytes(), &app()).is_ok());
    check_refused(
        &of(&"x".repeat(102_401)),
        &ApiError::DataTooBig { bytes: 102_401, limit: 102_400 },
    );
}

#[test]
fn a_batch_keeps_its_order() {
    let body = r#"{"batch":[{"channel":"a","name":"e","data":"1"},{"channel":"a","name":"f","data":"2","socket_id":"1.2","info":"user_count"}]}"#;
    let batch = read_batch(body.as_bytes(), &app()).unwrap();
    let users = Info { users: true, ..Info::default() };
    let second = Event { except: "1.2".parse().ok(), info: users, ..event("f", r#""2""#, &["a"]) };
    assert_eq!(
        batch,
        Batch {
            shape: Shape::Batch,
            events: vec![event("e", r#""1""#, &["a"]), second],
            key: None
        }
    );
}

#[test]
fn a_batch_is_limited_and_not_empty() {
    let of = |count: usize| {
        let item = r#"{"channel":"c","name":"e","data":"x"}"#;
        format!(r#"{{"batch":[{}]}}"#, vec![item; count].join(","))
    };
    assert_eq!(read_batch(of(10).as_bytes(), &app()).unwrap().events.len(), 10);
    check_batch_refused(&of(11), &ApiError::BatchTooLong { events: 11, limit: 10 });
    check_batch_refused(&of(0), &ApiError::BatchEmpty);
}

#[test]
fn an_unsound_event_refuses_the_whole_batch_and_is_named() {
    let body = r#"{"batch":[{"channel":"c","name":"e","data":"x"},{"channel":"c","name":"e"}]}"#;
    check_batch_refused(
        body,
        &ApiError::InBatch { index: 1, error: Box::new(ApiError::DataMissing) },
    );
    let body = r#"{"batch":[{"channels":["c","d"],"name":"e","data":"x"}]}"#;
    let error = Box::new(ApiError::ChannelsTooMany { channels: 2, limit: 1 });
    check_batch_refused(body, &ApiError::InBatch { index: 0, error });
    for body in ["{}", "[]", r#"{"batch":{}}"#, r#"{"batch":7}"#] {
        assert!(
            matches!(read_batch(body.as_bytes(), &app()), Err(ApiError::Body { .. })),
            "{body}"
        );
    }
    assert_eq!(read_batch(br#"{"batch":[7]}"#, &app()).unwrap_err().status(), 400);
}

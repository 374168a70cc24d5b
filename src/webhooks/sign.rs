//! What one request of a webhook says: its body and its signed headers. Pure.
//!
//! ```text
//!   {"time_ms":1327078148132,"events":[…]}  ──HMAC-SHA256 with the app's secret──▶  X-Pusher-Signature
//! ```

use super::target::Target;
use crate::pusher::signature::webhook_signature;

/// Exactly this: the SDK for Node refuses anything behind it.
const CONTENT_TYPE: &str = "application/json";

/// A request's body. The time is that of the attempt: the SDK for Python refuses what is older than 300 seconds.
pub(super) fn body<'e>(time_ms: u64, events: impl Iterator<Item = &'e str>) -> String {
    let mut body = format!("{{\"time_ms\":{time_ms},\"events\":[");
    for (index, event) in events.enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(event);
    }
    body.push_str("]}");
    body
}

/// A request's headers, in the letter case in which PHP programs look for them; the target's own ones last.
pub(super) fn headers(target: &Target, body: &str) -> Vec<(String, String)> {
    let signature = webhook_signature(&target.secret, body);
    let mut headers: Vec<_> = [
        ("Content-Type", CONTENT_TYPE),
        ("X-Pusher-Key", target.key.as_str()),
        ("X-Pusher-Signature", signature.as_str()),
        ("User-Agent", concat!("Stentor/", env!("CARGO_PKG_VERSION"))),
    ]
    .into_iter()
    .filter(|(name, _)| !target.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)))
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    headers.extend(target.headers.iter().cloned());
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}"#;

    fn target() -> Target {
        let mut target = Target::new("1", "http://localhost/").unwrap();
        target.key = "278d425bdf160c739803".to_owned();
        target.secret = "7ad3773142a6692b25b8".to_owned();
        target
    }

    #[test]
    fn a_body_has_its_time_and_its_events() {
        let event = r#"{"name":"channel_occupied","channel":"my-channel"}"#;
        assert_eq!(body(1_327_078_148_132, [event].into_iter()), BODY);
        assert_eq!(body(7, ["{}", "{}"].into_iter()), r#"{"time_ms":7,"events":[{},{}]}"#);
    }

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let headers = headers(&target(), BODY);
        let signature = "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf";
        let expected = [
            ("Content-Type", "application/json"),
            ("X-Pusher-Key", "278d425bdf160c739803"),
            ("X-Pusher-Signature", signature),
        ];
        let got: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(got[..3], expected);
    }

    #[test]
    fn another_time_is_another_signature() {
        let signatures =
            [1, 2].map(|time| headers(&target(), &body(time, [].into_iter()))[2].clone());
        assert_ne!(signatures[0], signatures[1]);
    }

    #[test]
    fn a_targets_own_headers_are_sent_too() {
        let mut target = target();
        target.headers =
            vec![("X-My".to_owned(), "v".to_owned()), ("user-agent".to_owned(), "w".to_owned())];
        let headers = headers(&target, BODY);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["Content-Type", "X-Pusher-Key", "X-Pusher-Signature", "X-My", "user-agent"]
        );
    }
}

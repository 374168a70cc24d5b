//! The webhooks of an app in the settings file: TOML in, targets with their lines out. Pure.
//!
//! ```toml
//! [[apps.webhooks]]
//! url = "https://example.com/webhooks"
//! events = ["channel_occupied", "channel_vacated"]
//! channel_prefix = "presence-"
//! headers = { "X-My" = "v" }
//! ```

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::ConfigError;
use super::file::Reader;
use super::nearest::nearest;
use super::settings::Webhook;
use crate::pusher::FactKind;
use crate::webhooks::{Target, check_header};

/// Its name within an app.
pub(super) const TABLE: &str = "webhooks";

const KEYS: [&str; 5] = ["url", "events", "channel_prefix", "channel_suffix", "headers"];

/// For each of them what would be right.
const URL: &str = "an absolute URL, such as \"https://example.com/webhooks\"";
const EVENTS: &str =
    "a list of names of webhooks, at least one, such as [\"channel_occupied\"]; without it, all";
const AFFIX: &str = "text without line breaks";
const HEADERS: &str = "a table of names and texts, such as { \"X-My\" = \"v\" }";

/// Reads the list of an app's webhooks.
pub(super) fn read(reader: &mut Reader<'_>, list: &Spanned<DeValue<'_>>) -> Vec<Webhook> {
    let at = list.span().start;
    let DeValue::Array(list) = list.get_ref() else {
        reader.wrong_shape(at, "`webhooks` is a list: write [[apps.webhooks]] before each webhook");
        return Vec::new();
    };
    list.iter().filter_map(|webhook| read_one(reader, webhook)).collect()
}

/// `None` if it has no sound address: then it is an error, as everything wrong is.
fn read_one(reader: &mut Reader<'_>, webhook: &Spanned<DeValue<'_>>) -> Option<Webhook> {
    let at = webhook.span().start;
    let DeValue::Table(fields) = webhook.get_ref() else {
        reader.wrong_shape(
            at,
            "`webhooks` is a list of tables: write [[apps.webhooks]] before each webhook",
        );
        return None;
    };
    for (name, _) in fields.iter().filter(|(name, _)| !KEYS.contains(&&**name.get_ref())) {
        let origin = reader.origin(name.span().start);
        let (place, got) = ("in [[apps.webhooks]]".to_owned(), name.get_ref().to_string());
        let nearest = nearest(&got, KEYS);
        reader.file.errors.push(ConfigError::Unknown { origin, place, got, nearest });
    }
    let mut target = read_url(reader, fields, at)?;
    read_events(reader, fields, &mut target);
    for (name, affix) in [
        ("channel_prefix", &mut target.channel_prefix),
        ("channel_suffix", &mut target.channel_suffix),
    ] {
        let Some(value) = field(fields, name) else { continue };
        match value.get_ref() {
            DeValue::String(text) if !text.contains(['\r', '\n']) => *affix = text.to_string(),
            _ => invalid(reader, key_of(name), value, AFFIX),
        }
    }
    read_headers(reader, fields, &mut target);
    Some(Webhook { target, origin: reader.origin(at) })
}

fn read_url(reader: &mut Reader<'_>, fields: &DeTable<'_>, at: usize) -> Option<Target> {
    let Some(value) = field(fields, "url") else {
        reader.wrong_shape(at, "this [[apps.webhooks]] has no `url`");
        return None;
    };
    let DeValue::String(url) = value.get_ref() else {
        invalid(reader, "apps.webhooks.url", value, URL);
        return None;
    };
    match Target::new("", url) {
        Ok(target) => Some(target),
        Err(error) => {
            // The address may have a password in it, so it is not shown.
            reader.wrong_shape(value.span().start, &format!("apps.webhooks.url: {error}"));
            None
        }
    }
}

fn read_events(reader: &mut Reader<'_>, fields: &DeTable<'_>, target: &mut Target) {
    let Some(value) = field(fields, "events") else { return };
    let names: Option<&DeArray<'_>> = match value.get_ref() {
        DeValue::Array(names) if !names.is_empty() => Some(names),
        _ => None,
    };
    let Some(names) = names else {
        return invalid(reader, "apps.webhooks.events", value, EVENTS);
    };
    target.events.clear();
    for name in names {
        let DeValue::String(text) = name.get_ref() else {
            invalid(reader, "apps.webhooks.events", name, EVENTS);
            continue;
        };
        match FactKind::named(text) {
            Some(kind) if target.events.contains(&kind) => {}
            Some(kind) => target.events.push(kind),
            None => {
                let known = FactKind::ALL.map(FactKind::name);
                let guess = nearest(text, known).map(|name| format!("; did you mean \"{name}\"?"));
                let allowed = format!("one of {}{}", known.join(", "), guess.unwrap_or_default());
                invalid(reader, "apps.webhooks.events", name, &allowed);
            }
        }
    }
}

fn read_headers(reader: &mut Reader<'_>, fields: &DeTable<'_>, target: &mut Target) {
    let Some(value) = field(fields, "headers") else { return };
    let DeValue::Table(headers) = value.get_ref() else {
        return invalid(reader, "apps.webhooks.headers", value, HEADERS);
    };
    for (name, value) in headers {
        // What a header says is often a secret, so it is not shown.
        let at = name.span().start;
        let name = name.get_ref();
        let DeValue::String(text) = value.get_ref() else {
            reader.wrong_shape(
                at,
                &format!("apps.webhooks.headers: the value of `{name}` is no text"),
            );
            continue;
        };
        let is_twice = |(other, _): &(String, String)| other.eq_ignore_ascii_case(name);
        match check_header(name, text) {
            Ok(()) if target.headers.iter().any(is_twice) => {
                reader.wrong_shape(at, &format!("apps.webhooks.headers: `{name}` is there twice"));
            }
            Ok(()) => target.headers.push((name.to_string(), text.to_string())),
            Err(error) => {
                reader.wrong_shape(at, &format!("apps.webhooks.headers: `{name}`: {error}"));
            }
        }
    }
}

fn field<'v, 'i>(fields: &'v DeTable<'i>, name: &str) -> Option<&'v Spanned<DeValue<'i>>> {
    fields.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

fn key_of(field: &str) -> &'static str {
    match field {
        "channel_prefix" => "apps.webhooks.channel_prefix",
        _ => "apps.webhooks.channel_suffix",
    }
}

fn invalid(
    reader: &mut Reader<'_>,
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    allowed: &str,
) {
    let origin = reader.origin(value.span().start);
    let got = reader.text.get(value.span()).unwrap_or("?").to_owned();
    let allowed = allowed.to_owned();
    reader.file.errors.push(ConfigError::Invalid { key, origin, got, allowed });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::parse;
    use super::*;

    const APP: &str = "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"s\"\n";

    /// The webhooks of an app, and what is wrong with them.
    fn read(webhooks: &str) -> (Vec<Webhook>, Vec<String>) {
        let mut file = parse(Path::new("s.toml"), &format!("{APP}{webhooks}"));
        let app = file.apps.as_mut().and_then(|apps| apps.pop()).unwrap();
        (app.webhooks, file.errors.iter().map(ToString::to_string).collect())
    }

    fn check(webhooks: &str, expected: &[&str]) {
        assert_eq!(read(webhooks).1, expected, "{webhooks}");
    }

    fn check_one(fields: &str, expected: &str) {
        check(&format!("[[apps.webhooks]]\nurl = \"http://a/\"\n{fields}\n"), &[expected]);
    }

    #[test]
    fn a_webhook_of_an_address_alone_is_told_everything() {
        let (webhooks, errors) = read("[[apps.webhooks]]\nurl = \"http://a/\"\n");
        assert_eq!((webhooks.len(), errors), (1, vec![]));
        assert_eq!(webhooks[0].target, Target::new("", "http://a/").unwrap());
        assert_eq!(webhooks[0].origin.to_string(), "s.toml:5");
    }

    #[test]
    fn filters_and_headers_are_read() {
        let (webhooks, errors) = read(
            "[[apps.webhooks]]\nurl = \"https://a/b\"\nevents = [\"cache_miss\", \"client_event\"]\n\
             channel_prefix = \"cache-\"\nchannel_suffix = \"-eu\"\nheaders = { \"X-My\" = \"v\" }\n\
             [[apps.webhooks]]\nurl = \"http://c/\"\n",
        );
        assert_eq!((webhooks.len(), errors), (2, vec![]));
        let target = &webhooks[0].target;
        assert_eq!(target.events, [FactKind::CacheMiss, FactKind::ClientEvent]);
        assert_eq!((&*target.channel_prefix, &*target.channel_suffix), ("cache-", "-eu"));
        assert_eq!(target.headers, [("X-My".to_owned(), "v".to_owned())]);
        assert_eq!(webhooks[1].target.url.to_string(), "http://c/");
    }

    #[test]
    fn an_address_must_be_there_and_sound() {
        check("[[apps.webhooks]]\n", &["s.toml:5: this [[apps.webhooks]] has no `url`"]);
        check(
            "[[apps.webhooks]]\nurl = \"ftp://a/\"\n",
            &["s.toml:6: apps.webhooks.url: the URL must begin with http:// or https://"],
        );
        check(
            "[[apps.webhooks]]\nurl = \"http://me:hush@a/\"\n",
            &[
                "s.toml:6: apps.webhooks.url: a name or a password in a URL is not sent; use `headers`",
            ],
        );
        check(
            "[[apps.webhooks]]\nurl = 7\n",
            &[
                "s.toml:6: apps.webhooks.url is 7; allowed is an absolute URL, such as \"https://example.com/webhooks\"",
            ],
        );
    }

    #[test]
    fn an_unknown_key_or_event_names_its_nearest() {
        check_one(
            "event = []",
            "s.toml:7: unknown key `event` in [[apps.webhooks]]; did you mean `events`?",
        );
        check_one(
            "events = [\"channel_ocupied\"]",
            "s.toml:7: apps.webhooks.events is \"channel_ocupied\"; allowed is one of channel_occupied, channel_vacated, member_added, member_removed, client_event, cache_miss, subscription_count; did you mean \"channel_occupied\"?",
        );
        check_one(
            "events = []",
            "s.toml:7: apps.webhooks.events is []; allowed is a list of names of webhooks, at least one, such as [\"channel_occupied\"]; without it, all",
        );
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused_and_their_values_are_not_shown() {
        check_one(
            "headers = { \"X-Pusher-Key\" = \"hush\" }",
            "s.toml:7: apps.webhooks.headers: `X-Pusher-Key`: this header is written by the server itself",
        );
        check_one(
            "headers = { \"X-My\" = \"hush\\n\" }",
            "s.toml:7: apps.webhooks.headers: `X-My`: the value of a header is text of visible ASCII characters and spaces",
        );
        check_one(
            "headers = { \"X-My\" = 7 }",
            "s.toml:7: apps.webhooks.headers: the value of `X-My` is no text",
        );
        check_one(
            "headers = { \"X-My\" = \"a\", \"x-my\" = \"b\" }",
            "s.toml:7: apps.webhooks.headers: `x-my` is there twice",
        );
    }

    #[test]
    fn a_webhook_that_is_no_table_is_refused() {
        let text = APP.replace("[[apps]]\n", "[[apps]]\nwebhooks = 7\n");
        let file = parse(Path::new("s.toml"), &text);
        assert_eq!(
            file.errors[0].to_string(),
            "s.toml:2: `webhooks` is a list: write [[apps.webhooks]] before each webhook"
        );
    }
}

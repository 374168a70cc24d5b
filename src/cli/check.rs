//! `stentor check`: what is in force, where it came from, and what should be known.

use std::fmt::Write as _;

use super::{Failure, say};
use crate::app;
use crate::config::Config;
use crate::config::keys::Key;
use crate::config::settings::{Setting, Settings};

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    app::apps(config).map_err(|error| Failure::Usage(error.to_string()))?;
    say(&report(config))
}

fn report(config: &Config) -> String {
    let mut text = String::new();
    add_settings(&mut text, config.server());
    for app in config.app_settings() {
        text.push('\n');
        add_settings(&mut text, app);
        add_webhooks(&mut text, app);
    }
    if !config.notes().is_empty() {
        text.push_str("\nWorth knowing:\n");
    }
    for note in config.notes() {
        let _ = writeln!(text, "  {note}");
    }
    let page = if config.has_dashboard() { ", with the page at /" } else { "" };
    let _ = write!(
        text,
        "\nThe settings are sound. Stentor would listen on {}:{}{page}.",
        config.host(),
        config.port()
    );
    text
}

fn add_settings(text: &mut String, settings: &Settings) {
    for (key, setting) in settings.iter() {
        let _ = writeln!(text, "{:<31} {:<20} {}", key.name, shown(key, setting), setting.origin);
    }
}

fn add_webhooks(text: &mut String, settings: &Settings) {
    for webhook in settings.webhooks() {
        let (target, origin) = (&webhook.target, &webhook.origin);
        let mut parts = vec![format!("{:<31} {:<20} {origin}", "apps.webhooks.url", target.url)];
        let events: Vec<_> = target.events.iter().map(|kind| kind.name()).collect();
        parts.push(format!("{:<31} {}", "apps.webhooks.events", events.join(" ")));
        let (prefix, suffix) = (&target.channel_prefix, &target.channel_suffix);
        parts.push(format!("{:<31} {prefix:?}", "apps.webhooks.channel_prefix"));
        parts.push(format!("{:<31} {suffix:?}", "apps.webhooks.channel_suffix"));
        // What headers say is often a secret.
        let names = target.headers.iter().map(|(name, _)| format!("{name}: (hidden)"));
        parts.extend(names.map(|header| format!("{:<31} {header}", "apps.webhooks.headers")));
        for part in parts {
            let _ = writeln!(text, "{part}");
        }
    }
}

fn shown(key: &Key, setting: &Setting) -> String {
    if key.is_secret() { "(hidden)".to_owned() } else { setting.value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::configured;
    use crate::config::keys::KEYS;

    fn reported(flags: &[(&str, &str)]) -> String {
        report(&configured(flags))
    }

    #[test]
    fn every_setting_is_shown_with_its_origin() {
        let report = reported(&[("server.port", "9000")]);
        for key in KEYS {
            assert!(report.lines().any(|line| line.starts_with(key.name)), "{}", key.name);
        }
        let port = report.lines().find(|line| line.starts_with("server.port")).unwrap();
        assert_eq!(
            port.split_whitespace().collect::<Vec<_>>(),
            ["server.port", "9000", "flag", "--set"]
        );
    }

    #[test]
    fn defaults_of_a_kind_of_app_name_it() {
        let report = reported(&[("apps.compat", "pusher"), ("apps.max_user_id", "200")]);
        let line = |key: &str| {
            let line = report.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("apps.compat"), "apps.compat \"pusher\" flag --set");
        assert_eq!(line("apps.max_channel_name"), "apps.max_channel_name 164 compat pusher");
        assert_eq!(line("apps.max_user_id"), "apps.max_user_id 200 flag --set");
        assert_eq!(line("apps.max_batch"), "apps.max_batch 10 default");
    }

    #[test]
    fn secrets_are_not_shown() {
        let report = reported(&[("apps.secret", "hush-hush")]);
        assert!(!report.contains("hush-hush") && report.contains("(hidden)"));
    }
}

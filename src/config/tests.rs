//! What is in force, and from where, for every combination of layers.

use super::*;
use crate::pusher::{Compat, Origins};

/// A directory of its own for each test, gone at its end.
struct Directory(PathBuf);

impl Directory {
    fn with(files: &[(&str, &str)]) -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("stentor-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    fn load(
        &self,
        variables: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigErrors> {
        let flag = |(name, value): &(&str, &str)| Flag {
            flag: "--set".to_owned(),
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        Config::load(&Sources {
            directory: self.0.clone(),
            file: None,
            environment: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            flags: flags.iter().map(flag).collect(),
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn check_refused(
    files: &[(&str, &str)],
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
    expected: &str,
) {
    let error = Directory::with(files).load(variables, flags).expect_err("refused").to_string();
    assert!(error.contains(expected), "got {error:?}, expected {expected:?}");
}

const OWN: &str = "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"own\"\n";
const TWO: &str = "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"s\"\n[[apps]]\nid = \"2\"\nkey = \"l\"\nsecret = \"t\"\n";

#[test]
fn nothing_set_is_the_development_server() {
    let config = Directory::with(&[]).load(&[], &[]).unwrap();
    assert_eq!(
        (config.host().as_str(), config.port(), config.path().as_str()),
        ("127.0.0.1", 8080, "")
    );
    assert!(config.is_development() && config.has_dashboard() && config.notes().is_empty());
    assert_eq!(config.apps(), [App::new("1", "app-key", "app-secret")]);
}

#[test]
fn the_defaults_are_the_engines_own() {
    let ours = Directory::with(&[]).load(&[], &[]).unwrap().engine_options();
    let engine = Options::default();
    let expected = Options {
        slow_consumer_code: CloseCode(4100),
        subscriptions: 1_000 + 1 + 100,
        own_descriptor_tables: descriptors::is_possible(),
        ..engine
    };
    assert_eq!(format!("{ours:?}"), format!("{expected:?}"));
}

#[test]
fn the_defaults_of_webhooks_are_their_rooms_own() {
    let config = Directory::with(&[]).load(&[], &[]).unwrap();
    assert_eq!(config.webhook_options(), hooks::Options::default());
    assert_eq!(config.webhook_targets(), []);
}

#[test]
fn webhooks_are_signed_as_the_app_whose_they_are_and_only_if_it_is_served() {
    let app = |id: &str, more: &str| {
        format!(
            "[[apps]]\nid = \"{id}\"\nkey = \"k{id}\"\nsecret = \"s{id}\"\n{more}\n\
             [[apps.webhooks]]\nurl = \"http://a/{id}\"\n"
        )
    };
    let text = app("1", "") + &app("2", "enabled = false") + &app("3", "");
    let directory = Directory::with(&[("stentor.toml", &text)]);
    let environment = [("STENTOR_APP_ID", "3"), ("STENTOR_APP_SECRET", "new")];
    let config = directory.load(&environment, &[]).unwrap();
    let targets = config.webhook_targets();
    let got: Vec<_> = targets
        .iter()
        .map(|target| (&*target.app, &*target.key, &*target.secret, target.url.to_string()))
        .collect();
    let expected =
        [("1", "k1", "s1", "http://a/1".to_owned()), ("3", "k3", "new", "http://a/3".to_owned())];
    assert_eq!(got, expected);
}

#[test]
fn each_layer_wins_over_the_one_before_it() {
    let directory = Directory::with(&[
        (".env", "REVERB_SERVER_PORT=1\n"),
        ("stentor.toml", "[server]\nport = 2\n"),
    ]);
    let only_dotenv = Directory::with(&[(".env", "REVERB_SERVER_PORT=1\n")]);
    let port = |config: Result<Config, ConfigErrors>| {
        let config = config.unwrap();
        let origin = config.server().get("server.port").origin.to_string();
        (config.port(), origin.rsplit('/').next().unwrap().to_owned())
    };
    let expect = |number: u16, origin: &str| (number, origin.to_owned());
    let variable = [("STENTOR_PORT", "3")];
    assert_eq!(port(only_dotenv.load(&[], &[])), expect(1, ".env:1"));
    assert_eq!(port(directory.load(&[], &[])), expect(2, "stentor.toml:2"));
    assert_eq!(port(directory.load(&variable, &[])), expect(3, "variable STENTOR_PORT"));
    assert_eq!(port(directory.load(&variable, &[("server.port", "4")])), expect(4, "flag --set"));
}

#[test]
fn a_laravel_dotenv_is_enough() {
    let dotenv = "APP_NAME=Shop\nREVERB_APP_ID=42\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=s\nREVERB_HOST=\"localhost\"\n\
                  REVERB_PORT=8080\nREVERB_SCHEME=http\nREVERB_SERVER_HOST=0.0.0.0\nREVERB_SERVER_PORT=6001\n\
                  REVERB_SERVER_PATH=ws\nREVERB_APP_PING_INTERVAL=20\nREVERB_APP_ACTIVITY_TIMEOUT=10\n\
                  REVERB_APP_MAX_CONNECTIONS=5\nREVERB_APP_MAX_MESSAGE_SIZE=20000\nREVERB_MAX_REQUEST_SIZE=30000\n\
                  REVERB_SCALING_ENABLED=false\n";
    let config = Directory::with(&[(".env", dotenv)]).load(&[], &[]).unwrap();
    assert_eq!(
        (config.host().as_str(), config.port(), config.path().as_str()),
        ("0.0.0.0", 6001, "/ws")
    );
    let expected = App {
        ping_interval_seconds: 20,
        activity_timeout_seconds: 10,
        max_connections: Some(5),
        max_message_bytes: 20_000,
        max_body_bytes: 30_000,
        ..App::new("42", "k", "s")
    };
    assert_eq!(config.apps(), [expected]);
    let options = config.engine_options();
    assert_eq!(options.http.body_bytes, 30_000);
    assert_eq!(config.notes().len(), 4, "{:?}", config.notes());
    assert!(!config.has_dashboard());
}

#[test]
fn a_public_address_with_the_development_secret_is_refused() {
    for host in ["0.0.0.0", "::", "192.0.2.1", "stentor.example"] {
        check_refused(&[], &[], &[("server.host", host)], "run `stentor secret`");
    }
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
        assert!(Directory::with(&[]).load(&[], &[("server.host", host)]).is_ok(), "{host}");
    }
    let own = Directory::with(&[("stentor.toml", OWN)]);
    assert!(own.load(&[], &[("server.host", "0.0.0.0")]).is_ok());
}

#[test]
fn one_app_of_several_with_the_development_secret_is_refused_too() {
    let file = format!("{OWN}[[apps]]\nid = \"2\"\nkey = \"k2\"\nsecret = \"app-secret\"\n");
    check_refused(
        &[("stentor.toml", &file)],
        &[("STENTOR_HOST", "0.0.0.0")],
        &[],
        "app 2 has the development secret",
    );
}

#[test]
fn the_page_is_there_by_default_only_for_the_development_app_on_loopback() {
    let own = Directory::with(&[("stentor.toml", OWN)]);
    assert!(!own.load(&[], &[]).unwrap().has_dashboard());
    assert!(own.load(&[], &[("dashboard.enabled", "true")]).unwrap().has_dashboard());
    let development = Directory::with(&[]);
    assert!(
        !development.load(&[("STENTOR_DASHBOARD_ENABLED", "false")], &[]).unwrap().has_dashboard()
    );
}

#[test]
fn variables_change_the_app_they_name() {
    let two = Directory::with(&[("stentor.toml", TWO)]);
    let config =
        two.load(&[("REVERB_APP_ID", "2"), ("REVERB_APP_MAX_CONNECTIONS", "9")], &[]).unwrap();
    let limits: Vec<_> = config.apps().iter().map(|app| app.max_connections).collect();
    assert_eq!(limits, [None, Some(9)]);
}

#[test]
fn variables_that_name_none_of_several_apps_are_refused() {
    let expected = "which app is meant? The file lists 1, 2";
    check_refused(&[("stentor.toml", TWO)], &[("REVERB_APP_KEY", "x")], &[], expected);
    check_refused(&[("stentor.toml", TWO)], &[("REVERB_APP_ID", "3")], &[], expected);
}

#[test]
fn apps_of_the_file_take_the_place_of_the_dotenvs() {
    let dotenv = "REVERB_APP_ID=9\nREVERB_APP_KEY=a\nREVERB_APP_SECRET=b\n";
    let config =
        Directory::with(&[(".env", dotenv), ("stentor.toml", TWO)]).load(&[], &[]).unwrap();
    assert_eq!(config.apps(), [App::new("1", "k", "s"), App::new("2", "l", "t")]);
}

#[test]
fn an_id_that_is_no_number_and_a_lone_key_are_noted() {
    let config = Directory::with(&[])
        .load(&[("STENTOR_APP_ID", "shop"), ("STENTOR_APP_KEY", "k")], &[])
        .unwrap();
    let notes = config.notes().join("\n");
    assert!(
        notes.contains("`shop` is not a number") && notes.contains("key of its own"),
        "{notes}"
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let directory = Directory::with(&[
        ("stentor.toml", "[server]\nprot = 1\n"),
        (".env", "REVERB_APP_KEY='open\n"),
    ]);
    let errors =
        directory.load(&[("STENTOR_CORES", "many")], &[("limits.outbox", "1")]).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    assert!(errors.to_string().contains("did you mean `limits.outbox_bytes`?"), "{errors}");
}

#[test]
fn a_named_file_must_be_there() {
    let file = Some(PathBuf::from("/nowhere/stentor.toml"));
    let error = Config::load(&Sources { file, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/stentor.toml: cannot be read"), "{error}");
}

#[test]
fn a_silence_that_the_engine_cannot_tell_is_a_wrong_setting() {
    for name in ["limits.ping_after", "limits.close_after"] {
        let flag = |seconds| [(name, seconds)];
        let expected = format!("{name} is \"3001\"; allowed is a number of seconds from 1 to 3000");
        check_refused(&[], &[], &flag("3001"), &expected);
        assert!(Directory::with(&[]).load(&[], &flag("3000")).is_ok());
    }
}

#[test]
fn one_word_flips_all_that_its_kind_does_otherwise() {
    for word in Compat::WORDS {
        let config = Directory::with(&[]).load(&[], &[("apps.compat", word)]).unwrap();
        let compat = Compat::of(word).unwrap();
        let expected = App::with_compat(compat, "1", "app-key", "app-secret");
        // `Debug` leaves most of an app out.
        assert!(config.apps() == [expected], "{word}");
        let origin = |key: &str| config.app_settings()[0].get(key).origin.to_string();
        let of_kind = format!("compat {word}");
        let expected = if *word == "reverb" { "default" } else { &of_kind };
        assert_eq!(origin("apps.client_events"), expected);
        assert_eq!(origin("apps.max_batch"), "default");
    }
}

#[test]
fn what_is_set_wins_over_its_kind_wherever_it_stands() {
    let file = format!("{OWN}client_events = true\ncompat = \"pusher\"\nmax_user_id = 200\n");
    let directory = Directory::with(&[("stentor.toml", &file)]);
    let config = directory.load(&[("STENTOR_APP_OVER_QUOTA", "wait")], &[]).unwrap();
    let expected = App {
        client_events: true,
        max_user_id: 200,
        over_quota: OverQuota::Wait,
        ..App::with_compat(Compat::Pusher, "1", "k", "own")
    };
    assert!(config.apps() == [expected]);
    let origin = |key: &str| config.app_settings()[0].get(key).origin.to_string();
    assert!(origin("apps.max_user_id").ends_with("stentor.toml:7"));
    assert_eq!(origin("apps.max_channel_name"), "compat pusher");
}

#[test]
fn each_app_has_its_own_kind() {
    let file = TWO.replace("key = \"l\"", "key = \"l\"\ncompat = \"soketi\"");
    let config = Directory::with(&[("stentor.toml", &file)]).load(&[], &[]).unwrap();
    let expected = [App::new("1", "k", "s"), App::with_compat(Compat::Soketi, "2", "l", "t")];
    assert!(config.apps() == expected);
}

#[test]
fn a_word_that_is_none_names_those_that_are() {
    let expected = "apps.compat is \"ably\"; allowed is reverb, pusher or soketi";
    check_refused(&[], &[("STENTOR_APP_COMPAT", "ably")], &[], expected);
}

#[test]
fn origins_are_a_list_in_the_file_and_text_with_commas_elsewhere() {
    let file = format!("{OWN}allowed_origins = [\"Example.com\", \"*.example.com\"]\n");
    let directory = Directory::with(&[("stentor.toml", &file)]);
    let read = |variables: &[(&str, &str)]| {
        directory.load(variables, &[]).unwrap().apps().swap_remove(0).allowed_origins
    };
    assert_eq!(read(&[]), Origins::of(["example.com", "*.example.com"]).unwrap());
    let variables = [("STENTOR_APP_ALLOWED_ORIGINS", "localhost, [::1]")];
    assert_eq!(read(&variables), Origins::of(["localhost", "::1"]).unwrap());
    let development = Directory::with(&[]).load(&[], &[]).unwrap();
    assert_eq!(development.apps()[0].allowed_origins, Origins::all());
}

#[test]
fn origins_that_are_no_hosts_are_told_what_would_be_right() {
    let allowed = "allowed is hosts without scheme, port and path, such as \"example.com\" or \"*.example.com\"";
    for (list, got) in [
        ("[\"https://example.com\"]", "[\"https://example.com\"]"),
        ("[\"a.example\", \"a.example:443\"]", "[\"a.example\", \"a.example:443\"]"),
        ("[]", "[]"),
        ("[7]", "[7]"),
        ("true", "true"),
    ] {
        let file = format!("{OWN}allowed_origins = {list}\n");
        let expected = format!("stentor.toml:5: apps.allowed_origins is {got}; {allowed}");
        check_refused(&[("stentor.toml", &file)], &[], &[], &expected);
    }
    let variables = [("STENTOR_APP_ALLOWED_ORIGINS", "https://example.com")];
    check_refused(&[], &variables, &[], &format!("is \"https://example.com\"; {allowed}"));
}

#[test]
fn limits_of_the_server_are_the_apps_unless_they_have_their_own() {
    let file = TWO.replace("key = \"l\"", "key = \"l\"\nmax_body_bytes = \"2 KiB\"");
    let directory = Directory::with(&[("stentor.toml", &file)]);
    let variables = [("REVERB_MAX_REQUEST_SIZE", "30000"), ("STENTOR_OUTBOX_BYTES", "2 MiB")];
    let config = directory.load(&variables, &[]).unwrap();
    let limits: Vec<_> =
        config.apps().iter().map(|app| (app.max_body_bytes, app.max_outbox_bytes)).collect();
    assert_eq!(limits, [(30_000, 2 << 20), (2 << 10, 2 << 20)]);
    let origin = config.app_settings()[0].get("apps.max_body_bytes").origin.to_string();
    assert_eq!(origin, "variable REVERB_MAX_REQUEST_SIZE");
    assert!(config.notes().is_empty(), "{:?}", config.notes());
    let longer = directory.load(&[("STENTOR_BODY_BYTES", "1024")], &[]).unwrap();
    assert!(longer.notes()[0].starts_with("app 2 takes longer bodies"), "{:?}", longer.notes());
}

#[test]
fn a_connection_may_be_on_as_many_channels_as_the_most_generous_app_says() {
    let file = TWO.replace("key = \"l\"", "key = \"l\"\nmax_subscriptions = 5000");
    let config = Directory::with(&[("stentor.toml", &file)]).load(&[], &[]).unwrap();
    assert_eq!(config.engine_options().subscriptions, 5_000 + 1 + 100);
}

/// The blocks of code in that language, in order.
fn blocks<'t>(document: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    document.split(&start).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn what_the_first_page_shows_can_be_pasted() {
    let page = include_str!("../../docs/start.md");
    let files = blocks(page, "toml");
    let limits: Vec<_> = files
        .into_iter()
        .map(|text| {
            // Where a key or a secret stands, it is left out.
            let text = text.replace('…', "0f5ca7");
            let config = Directory::with(&[("stentor.toml", &text)]).load(&[], &[]).expect(&text);
            let app = config.apps().swap_remove(0);
            assert!(app.client_events);
            (app.id, app.max_channel_name, app.max_member_bytes)
        })
        .collect();
    let expected = [("271828".to_owned(), 200, Some(2048)), ("271828".to_owned(), 164, Some(1024))];
    assert_eq!(limits, expected, "from soketi, and from Pusher Channels");
}

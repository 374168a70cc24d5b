//! `stentor trigger CHANNEL EVENT DATA`: one signed request to any server of the Pusher HTTP API.

use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use ureq::tls::TlsConfig;

use super::address::Address;
use super::trust::{self, Trust};
use super::{Failure, TargetArgs, say};
use crate::app::unix_seconds;
use crate::config::Config;
use crate::pusher::App;
use crate::pusher::signature::{Credentials, signed_query};

const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  To the server here, for the first app of the settings:
    stentor trigger news greeting '{\"hello\":\"world\"}'
  To a server elsewhere, for an app of its:
    stentor trigger news greeting plain-text \\
      --url https://ws.example.com --app-id 42 --key k --secret s")]
pub(super) struct TriggerArgs {
    /// The channel to publish to
    channel: String,
    /// The event's name
    event: String,
    /// Its data, sent as it is; JSON by custom
    data: String,
    /// A connection that shall not hear it
    #[arg(long, value_name = "SOCKET_ID")]
    except: Option<String>,
    /// The app id [default: that of the first app in the settings]
    #[arg(long)]
    app_id: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    channels: [&'a str; 1],
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<&'a str>,
}

pub(super) fn run(config: &Config, args: &TriggerArgs) -> Result<(), Failure> {
    let address = match &args.target.url {
        Some(url) => Address::parse(url).map_err(Failure::Usage)?,
        None => Address::of(config),
    };
    let trust = Trust::of(args.target.ca.as_deref(), &address)?;
    let app = app(config, args);
    let (url, body) = request(&address, &app, args, unix_seconds());
    let (status, text) = post(&url, &body, &trust)
        .map_err(|error| Failure::Run(unreachable_server(&address, &error)))?;
    match status {
        200..=299 => say(&text),
        _ => Err(Failure::Run(refusal(&address, status, &text))),
    }
}

/// The first app of the settings, with what the command line knows better.
fn app(config: &Config, args: &TriggerArgs) -> App {
    let mut app = config.apps().into_iter().next().unwrap_or_else(|| App::new("", "", ""));
    if let Some(id) = &args.app_id {
        app.id.clone_from(id);
    }
    if let Some(key) = &args.target.key {
        app.key.clone_from(key);
    }
    if let Some(secret) = &args.target.secret {
        app.secret = secret.as_str().into();
    }
    app
}

/// The URL and body. The path is signed without the prefix, as all SDKs do; the server accepts both.
fn request(address: &Address, app: &App, args: &TriggerArgs, now: u64) -> (String, String) {
    let body = Body {
        name: &args.event,
        channels: [&args.channel],
        data: &args.data,
        socket_id: args.except.as_deref(),
    };
    let body = serde_json::to_string(&body).expect("text is JSON");
    let path = format!("/apps/{}/events", app.id);
    let credentials = Credentials { key: &app.key, secret: &app.secret };
    let query = signed_query(credentials, "POST", &path, body.as_bytes(), now);
    (format!("{address}{path}?{query}"), body)
}

/// Every status is an answer; only silence is an error.
fn post(url: &str, body: &str, trust: &Trust) -> Result<(u16, String), ureq::Error> {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    let tls = TlsConfig::builder().root_certs(trust.of_requests()).build();
    let agent: ureq::Agent = config.max_redirects(0).tls_config(tls).build().into();
    let mut response = agent.post(url).header("Content-Type", "application/json").send(body)?;
    let text = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), text.trim_end().to_owned()))
}

fn unreachable_server(address: &Address, error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on {address}; is the server running? --url names another")
        }
        ureq::Error::HostNotFound => format!("no such host: {}", address.host),
        ureq::Error::Timeout(_) => {
            format!("{address} did not answer in {} seconds", PATIENCE.as_secs())
        }
        ureq::Error::Io(error) => {
            format!("cannot publish to {address}: {error}{}", trust::hint(error))
        }
        error => format!("cannot publish to {address}: {error}"),
    }
}

fn refusal(address: &Address, status: u16, text: &str) -> String {
    let hint = match status {
        401 => {
            "\nThe key, the secret or the clock is not the server's: --key, --secret, `stentor check`."
        }
        404 => "\nThe server knows no such app or path: --app-id, --url.",
        301..=308 => "\nThe server is elsewhere: --url, perhaps with https.",
        _ => "",
    };
    format!("{address} answered {status}: {text}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: &str, except: Option<&str>) -> TriggerArgs {
        TriggerArgs {
            channel: "news".to_owned(),
            event: "greeting".to_owned(),
            data: data.to_owned(),
            except: except.map(str::to_owned),
            app_id: None,
            target: TargetArgs { url: None, key: None, secret: None, ca: None },
        }
    }

    fn check(args: &TriggerArgs, expected: &str) {
        let address = Address::parse("http://localhost:8080/ws").unwrap();
        let app = App::new("3", "key", "secret");
        let (url, body) = request(&address, &app, args, 1_353_088_179);
        let credentials = Credentials { key: "key", secret: &"secret".into() };
        let query =
            signed_query(credentials, "POST", "/apps/3/events", expected.as_bytes(), 1_353_088_179);
        assert_eq!(
            (url, body),
            (format!("http://localhost:8080/ws/apps/3/events?{query}"), expected.to_owned())
        );
    }

    #[test]
    fn data_is_sent_as_it_is_typed() {
        check(
            &args("{\"a\": 1}", None),
            r#"{"name":"greeting","channels":["news"],"data":"{\"a\": 1}"}"#,
        );
        check(
            &args("hi", Some("1.2")),
            r#"{"name":"greeting","channels":["news"],"data":"hi","socket_id":"1.2"}"#,
        );
    }

    #[test]
    fn refusals_show_the_answer_and_what_to_do() {
        let address = Address::parse("localhost:1").unwrap();
        let text = refusal(&address, 401, "auth_key is wrong");
        assert!(
            text.starts_with("http://localhost:1 answered 401: auth_key is wrong\n")
                && text.contains("--secret")
        );
        assert!(refusal(&address, 404, "").contains("--app-id"));
        assert_eq!(refusal(&address, 413, "too big"), "http://localhost:1 answered 413: too big");
    }

    #[test]
    fn nobody_there_says_so() {
        let address = Address::parse("127.0.0.1:1").unwrap();
        let error = ureq::Error::Io(io::ErrorKind::ConnectionRefused.into());
        assert!(
            unreachable_server(&address, &error)
                .starts_with("nothing listens on http://127.0.0.1:1;")
        );
    }
}

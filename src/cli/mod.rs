//! The `stentor` command: what is typed, read; what each word does is in a file of its own.
//!
//! Only this room talks to the terminal: results on standard output, everything else on standard error. It knows no
//! protocol by heart: `trigger` and `listen` speak through the rooms that do.

mod address;
mod check;
mod interrupt;
mod listen;
mod secret;
mod serve;
mod socket;
mod trigger;
mod trust;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, Flag, Sources};

const ABOUT: &str = "A WebSocket notification server that speaks the Pusher protocol";

const EXAMPLES: &str = "\
Examples:
  Serve on 127.0.0.1:8080, with a page to try it at /:
    stentor
  Print the events of the channel `news` as they come, and publish one:
    stentor listen news
    stentor trigger news greeting '{\"hello\":1}'
  Show all settings, where each is from, and what is wrong:
    stentor check --port 9000 --set limits.outbox_bytes=2MiB

Settings come from, later ones winning:
  defaults
  the REVERB_* lines of a Laravel .env here
  stentor.toml here, or --config PATH
  variables: STENTOR_PORT=9000, REVERB_SERVER_PORT=9000
  flags: --port 9000, --set server.port=9000

Exit codes:
  0 done, 1 it failed, 2 the command line or a setting is wrong,
  130 interrupted twice";

const OF_SERVE: &str = "\
Examples:
  Serve for other machines too, once `stentor secret` has made an app:
    stentor serve --host 0.0.0.0 --port 6001
  With the settings of another file, on two cores, and tell warnings only:
    stentor serve --config /etc/stentor.toml --cores 2 --log warn";

const OF_CHECK: &str = "\
Examples:
  What `stentor serve` would do here:
    stentor check
  And with this file, before it is served:
    stentor check --config /etc/stentor.toml";

const OF_SECRET: &str = "\
Examples:
  An app to paste into stentor.toml or .env; then see that it is in force:
    stentor secret
    stentor check";

const OF_VERSION: &str = "\
Examples:
    stentor version";

/// The settings that say where a server is and whose app is its first.
const OF_ADDRESS_AND_APP: [&str; 5] = ["config", "host", "path", "port", "set"];

#[derive(Parser, Debug)]
#[command(name = "stentor", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// The settings file [default: stentor.toml, if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, global = true)]
    host: Option<String>,
    /// The port to listen on; 0 takes a free one [default: 8080]
    #[arg(long, global = true)]
    port: Option<String>,
    /// A prefix of all paths, such as /ws
    #[arg(long, global = true)]
    path: Option<String>,
    /// Reactor threads; 0 is one per CPU core [default: 0]
    #[arg(long, global = true, value_name = "N")]
    cores: Option<String>,
    /// Keep each reactor thread on one CPU core
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pin: Option<String>,
    /// Give each reactor thread a table of descriptors, so that the limit of open files holds for each [default: auto]
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    own_descriptor_tables: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or by room [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Tell refused API requests what the server signed; for development
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    debug: Option<String>,
    /// Serve the page at /; who can open it can publish [default: auto]
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dashboard: Option<String>,
    /// Any setting of docs/reference/config.md, such as limits.outbox_bytes=2MiB; may be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve until SIGINT or SIGTERM, reload the apps on SIGHUP; the same as `stentor` alone
    #[command(after_help = OF_SERVE)]
    Serve,
    /// Show every setting in force and where it came from, without serving
    #[command(after_help = OF_CHECK)]
    Check,
    /// Publish an event over HTTP, to this or any other server of the protocol
    Trigger(trigger::TriggerArgs),
    /// Subscribe to channels and print their events as they come
    Listen(listen::ListenArgs),
    /// Make an app with a key and a secret of its own
    #[command(after_help = OF_SECRET)]
    Secret,
    /// Print the version
    #[command(after_help = OF_VERSION)]
    Version,
}

/// Whose app `trigger` and `listen` use, and where.
#[derive(Args, Debug)]
struct TargetArgs {
    /// The server, such as https://ws.example.com [default: where these settings would serve]
    #[arg(long)]
    url: Option<String>,
    /// The app key [default: that of the first app in the settings]
    #[arg(long)]
    key: Option<String>,
    /// The app secret; other users can see it in the list of processes [default: as for --key]
    #[arg(long)]
    secret: Option<String>,
    /// Whom alone to trust over TLS, certificates in PEM [default: the authorities that browsers trust]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Why the command ends without having done what was asked.
#[derive(Debug)]
enum Failure {
    /// It was tried, and failed.
    Run(String),
    /// The settings are wrong; nothing was tried.
    Settings(ConfigErrors),
    /// The command line is wrong; nothing was tried.
    Usage(String),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(_) => ExitCode::FAILURE,
            Self::Settings(_) | Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(reason) | Self::Usage(reason) => f.write_str(reason),
            Self::Settings(errors) => write!(f, "{errors}"),
        }
    }
}

/// Runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                tell(&format!("stentor: {line}"));
            }
            failure.exit_code()
        }
    }
}

/// The command line. Every subcommand takes every setting, and its help shows those that it heeds.
fn command() -> clap::Command {
    let command = Cli::command();
    let settings: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    command.mut_subcommands(|part| {
        let heeded: fn(&str) -> bool = match part.get_name() {
            "secret" | "version" => |_| false,
            "listen" | "trigger" => |setting| OF_ADDRESS_AND_APP.contains(&setting),
            _ => |_| true,
        };
        let ignored = settings.iter().filter(|setting| !heeded(setting.get_id().as_str()));
        part.args(ignored.map(|setting| setting.clone().hide(true)))
    })
}

fn run(cli: Cli) -> Result<(), Failure> {
    let load = || Config::load(&sources(&cli.settings)).map_err(Failure::Settings);
    match &cli.command {
        None | Some(Command::Serve) => serve::run(sources(&cli.settings)),
        Some(Command::Check) => check::run(&load()?),
        Some(Command::Trigger(args)) => trigger::run(&load()?, args),
        Some(Command::Listen(args)) => listen::run(&load()?, args),
        Some(Command::Secret) => secret::run(),
        Some(Command::Version) => say(&format!("stentor {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn sources(args: &SettingsArgs) -> Sources {
    let named = [
        ("--host", "server.host", &args.host),
        ("--port", "server.port", &args.port),
        ("--path", "server.path", &args.path),
        ("--cores", "server.cores", &args.cores),
        ("--pin", "server.pin", &args.pin),
        ("--own-descriptor-tables", "server.own_descriptor_tables", &args.own_descriptor_tables),
        ("--log", "server.log", &args.log),
        ("--debug", "server.debug", &args.debug),
        ("--dashboard", "dashboard.enabled", &args.dashboard),
    ];
    let flag = |flag: &str, name: &str, value: &str| Flag {
        flag: flag.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let named =
        named.iter().filter_map(|(typed, name, value)| Some(flag(typed, name, value.as_deref()?)));
    let set = args.set.iter().map(|(name, value)| flag("--set", name, value));
    Sources::of_process(args.config.clone(), named.chain(set).collect())
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("expected NAME=VALUE, such as server.port=9000")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Prints a result.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Run(format!("cannot print: {error}")))
}

/// Says something that is no result. Nobody may be listening, and that is no failure.
fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    /// What is in force with these settings given by flags, and nothing else said.
    pub(super) fn configured(flags: &[(&str, &str)]) -> Config {
        let flag = |(name, value): &(&str, &str)| Flag {
            flag: "--set".to_owned(),
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let directory = "/nowhere".into();
        let flags = flags.iter().map(flag).collect();
        Config::load(&Sources { directory, flags, ..Sources::default() }).unwrap()
    }

    fn flags(arguments: &[&str]) -> Vec<(String, String)> {
        let typed = std::iter::once(&"stentor").chain(arguments);
        let sources = sources(&parse(typed).expect("a sound command line").settings);
        sources.flags.into_iter().map(|flag| (flag.name, flag.value)).collect()
    }

    fn parse<'a>(words: impl IntoIterator<Item = &'a &'a str>) -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&command().try_get_matches_from(words)?)
    }

    fn check(arguments: &[&str], name: &str, value: &str) {
        assert_eq!(flags(arguments), [(name.to_owned(), value.to_owned())], "{arguments:?}");
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_sets_its_key() {
        for (flag, key) in KEYS.iter().filter_map(|key| Some((key.flag?, key))) {
            check(&[&format!("{flag}=x")], key.name, "x");
            for command in ["serve", "check", "secret", "version", "listen c", "trigger c e d"] {
                let words: Vec<&str> = command.split(' ').collect();
                check(&[&words[..], &[&format!("{flag}=x")]].concat(), key.name, "x");
            }
        }
    }

    #[test]
    fn switches_need_no_value_and_take_no_subcommand_for_one() {
        check(&["--pin", "serve"], "server.pin", "true");
        check(&["--dashboard=false"], "dashboard.enabled", "false");
    }

    #[test]
    fn set_reaches_every_setting() {
        check(&["--set", "limits.outbox_bytes=2MiB"], "limits.outbox_bytes", "2MiB");
        check(&["--set", "server.log=a=b"], "server.log", "a=b");
        assert!(parse(&["stentor", "--set", "nothing"]).is_err());
    }

    /// Each command's name and help, as a terminal of 80 columns shows it; `-h` and `--help` are the same.
    fn helps() -> Vec<(String, String)> {
        let mut command = command().term_width(80);
        command.build();
        let parts = command.get_subcommands().filter(|part| part.get_name() != "help").cloned();
        let parts: Vec<_> = parts.collect();
        std::iter::once(command)
            .chain(parts)
            .map(|mut part| (part.get_name().to_owned(), part.render_long_help().to_string()))
            .collect()
    }

    /// The examples of a help page as words: lines that end in a backslash go on, quotes keep words together.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_default();
        let examples = examples.split("\n\n").next().unwrap_or_default().replace("\\\n", " ");
        let typed = examples.lines().filter_map(|line| line.strip_prefix("    "));
        let words = |line: &str| {
            let quoted = line.split('\'').enumerate();
            let words = quoted.flat_map(|(index, piece)| match index % 2 {
                0 => piece.split_whitespace().map(str::to_owned).collect(),
                _ => vec![piece.to_owned()],
            });
            words.collect()
        };
        typed.map(words).collect()
    }

    #[test]
    fn help_teaches() {
        let (_, help) = helps().swap_remove(0);
        for line in [
            "Usage: stentor [OPTIONS] [COMMAND]",
            "    stentor listen news\n",
            "    stentor trigger news greeting '{\"hello\":1}'\n",
            "Settings come from, later ones winning:\n",
            "  0 done, 1 it failed, 2 the command line or a setting is wrong,\n",
            "--config <PATH>",
            "--set <NAME=VALUE>",
        ] {
            assert!(help.contains(line), "help lacks `{line}`:\n{help}");
        }
    }

    #[test]
    fn no_line_of_help_is_longer_than_a_terminal_and_none_of_an_example_is_wrapped() {
        for (name, help) in helps() {
            let longest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(longest.chars().count() <= 80, "{name}: {longest}");
        }
        let whole = command();
        for part in std::iter::once(&whole).chain(whole.get_subcommands()) {
            let text = part.get_after_help().map(ToString::to_string).unwrap_or_default();
            let longest = text.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
            assert!(longest.chars().count() <= 78, "{}: {longest}", part.get_name());
        }
    }

    #[test]
    fn every_command_has_examples_which_are_of_it_and_sound() {
        for (name, help) in helps() {
            let examples = examples(&help);
            let is_of_it = |words: &Vec<String>| name == "stentor" || words.get(1) == Some(&name);
            assert!(examples.iter().any(is_of_it), "{name}:\n{help}");
            for words in examples {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                assert!(parse(&words).is_ok_and(|_| words[0] == "stentor"), "{name}: {words:?}");
            }
        }
    }

    #[test]
    fn help_shows_the_settings_that_have_an_effect_and_no_others() {
        let shown = |name: &str, flag: &str| {
            let (_, help) = helps().into_iter().find(|(other, _)| other == name).unwrap();
            help.lines().any(|line| line.trim_start().starts_with(flag))
        };
        for name in ["stentor", "serve", "check"] {
            assert!(shown(name, "--port ") && shown(name, "--pin"), "{name}");
        }
        for name in ["trigger", "listen"] {
            assert!(shown(name, "--port ") && shown(name, "--set ") && !shown(name, "--pin"));
        }
        for name in ["secret", "version"] {
            assert!(!shown(name, "--port ") && !shown(name, "--config"), "{name}");
        }
    }

    #[test]
    fn the_reference_names_every_command_and_flag() {
        let reference = include_str!("../../docs/reference/cli.md");
        let command = command();
        for part in std::iter::once(&command).chain(command.get_subcommands()) {
            assert!(
                reference.contains(&format!("`stentor {}", part.get_name()))
                    || part.get_name() == "stentor"
            );
            for flag in part.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(
                    reference.contains(&format!("`--{flag}")),
                    "docs/reference/cli.md lacks --{flag}"
                );
            }
        }
    }
}

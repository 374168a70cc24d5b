//! `stentor serve`: prepare the process, say what a newcomer needs, run, reload the apps on one signal and end in order
//! on others.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::{Failure, say, tell};
use crate::app::{App, Reloader, StartError};
use crate::config::{Config, DEVELOPMENT_SECRET, Sources};
use crate::server::Stopper;

/// Descriptors that are no connections: the terminal, signals, webhooks under way, and room to breathe.
const OWN_DESCRIPTORS: u64 = 64;
/// And what each core has: a listener and the duplicate that it accepts on, a poller, a waker.
const CORE_DESCRIPTORS: u64 = 4;

/// What Linux keeps for one idle TCP connection, about 4 KiB, and what we keep beside it; rounded up.
const CONNECTION_BYTES: u64 = 5 * 1024;

pub(super) fn run(sources: Sources) -> Result<(), Failure> {
    let config = &Config::load(&sources).map_err(Failure::Settings)?;
    start_log(&config.log_filter())?;
    let descriptors = raise_descriptor_limit();
    if config.lacks_own_descriptor_tables() {
        tracing::info!(
            "the call unshare is forbidden here: the limit of open files holds for the process, not for each core"
        );
    }
    let mut app = App::new(config).map_err(|error| match error {
        StartError::Apps(_) | StartError::Invalid { .. } => Failure::Usage(error.to_string()),
        StartError::Bind { .. } => Failure::Run(error.to_string()),
    })?;
    count_notes(config);
    let reloader = app.reloader(config);
    mind_signals(app.stopper(), reloader, sources)
        .map_err(|error| Failure::Run(format!("cannot wait for signals: {error}")))?;
    // Who starts it without a terminal does not read this, and it serves all the same.
    let _ = say(&greeting(
        config,
        app.local_addr(),
        app.cores(),
        &Room::of(config, app.cores(), descriptors).to_string(),
    ));
    app.run().map_err(|error| Failure::Run(format!("the server failed: {error}")))?;
    tracing::info!("stopped");
    Ok(())
}

fn start_log(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::Usage(format!(
            "server.log is {filter:?}: {error}; such as info or warn,stentor::pusher=debug"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        // Who reads the log may be gone. To say so would be one more line that nobody reads, and a panic.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Raises the soft limit to the hard one and says what it is now; `None`: there is none.
fn raise_descriptor_limit() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => before.maximum,
        Err(error) => {
            tracing::warn!("the limit of open files stays as it is: {error}");
            before.current
        }
    }
}

/// How many connections the machine will bear, and what would give way first.
struct Room {
    connections: Option<u64>,
    by: String,
}

impl Room {
    fn of(config: &Config, cores: usize, descriptors: Option<u64>) -> Self {
        let tables = if config.has_own_descriptor_tables() { cores } else { 1 };
        let by_descriptors = by_descriptors(descriptors, cores, tables);
        let by_files = files_of_all_processes().map(|(most, open)| most.saturating_sub(open));
        let by_memory = available_bytes().map(|bytes| bytes / CONNECTION_BYTES);
        Self::least(tables, by_descriptors, by_files, by_memory)
    }

    fn least(
        tables: usize,
        descriptors: Option<u64>,
        files: Option<u64>,
        memory: Option<u64>,
    ) -> Self {
        let each = if tables > 1 { format!(" for each of {tables} cores") } else { String::new() };
        let named = [
            (descriptors, format!("by the limit of open files{each}, ulimit -Hn")),
            (files, "by the open files of all processes, fs.file-max".to_owned()),
            (memory, "by memory".to_owned()),
        ];
        let known = named.into_iter().filter_map(|(count, by)| Some((count?, by)));
        match known.min_by_key(|(count, _)| *count) {
            Some((count, by)) => Self { connections: Some(count), by },
            None => Self { connections: None, by: String::new() },
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connections {
            Some(count) => write!(f, "about {} connections ({})", grouped(count), self.by),
            None => f.write_str("as many connections as the system gives"),
        }
    }
}

/// Every table has what each core has in it, and no more of the rest than one of them needs.
fn by_descriptors(limit: Option<u64>, cores: usize, tables: usize) -> Option<u64> {
    let own = OWN_DESCRIPTORS + CORE_DESCRIPTORS * cores as u64;
    Some(limit?.saturating_sub(own).saturating_mul(tables as u64))
}

/// How many files all processes together may have open, and how many they have.
fn files_of_all_processes() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (open, _unused, most) = (numbers.next()?.ok()?, numbers.next(), numbers.next()?.ok()?);
    Some((most, open))
}

/// What the system could still give, by its own estimate.
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `1 048 576`: long numbers are read in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn greeting(config: &Config, at: SocketAddr, cores: usize, room: &str) -> String {
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let mut text =
        format!("Stentor {} listens on http://{at} with {cores}.\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "This machine will bear {room}.");
    if config.has_dashboard() {
        let _ = writeln!(text, "To try it in the browser, open http://{at}/");
    }
    for app in config.apps() {
        if &*app.secret == DEVELOPMENT_SECRET {
            let _ = write!(
                text,
                "\nFor the .env of your Laravel application:\n\n\
                 BROADCAST_CONNECTION=reverb\nREVERB_APP_ID={}\nREVERB_APP_KEY={}\nREVERB_APP_SECRET={}\n\
                 REVERB_HOST={}\nREVERB_PORT={}\nREVERB_SCHEME=http\n\n",
                app.id,
                app.key,
                &*app.secret,
                at.ip(),
                at.port()
            );
        } else {
            let _ = writeln!(text, "App {} has the key {}.", app.id, app.key);
        }
    }
    text.push_str("Ctrl-C ends it.");
    text
}

/// A stock Laravel `.env` earns three of them: one line here, all of them where they are asked for.
fn count_notes(config: &Config) {
    let notes = config.notes().len();
    if notes > 0 {
        tracing::info!("settings: {notes} worth knowing; `stentor check` shows them");
    }
}

/// Loads the settings again, from where they were loaded first. Wrong ones change nothing.
fn reload(reloader: &mut Reloader, sources: &Sources) {
    let result = Config::load(sources).map_err(|errors| errors.to_string());
    let result = result.and_then(|fresh| {
        let changes = reloader.reload(&fresh).map_err(|error| error.to_string())?;
        Ok((fresh, changes))
    });
    match result {
        Ok((fresh, changes)) => {
            count_notes(&fresh);
            tracing::info!("reloaded: {changes}");
        }
        Err(errors) => {
            errors.lines().for_each(|error| tracing::error!("not reloaded: {error}"));
            tracing::error!("the settings stay as they were; `stentor check` shows what is wrong");
        }
    }
}

/// How many of the three standard streams are terminals.
fn terminals() -> usize {
    [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()]
        .into_iter()
        .filter(|is_terminal| *is_terminal)
        .count()
}

/// SIGHUP reloads the apps, unless it comes because the terminal was closed. The first of the others stops the server in
/// order; a second one ends the process at once.
fn mind_signals(stopper: Stopper, mut reloader: Reloader, sources: Sources) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let had_terminal = terminals() > 0;
    let watch = move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            let is_abandoned = had_terminal && terminals() == 0;
            match signal {
                // The shell and the system may both tell of one terminal that is gone: that is no second thought.
                SIGHUP if is_abandoned && is_stopping => {}
                SIGHUP if !is_abandoned => reload(&mut reloader, &sources),
                _ if is_stopping => {
                    tell("stentor: interrupted again, ending at once");
                    std::process::exit(130);
                }
                _ => {
                    is_stopping = true;
                    tracing::info!(
                        "stopping: connections are told to come back; a second signal ends at once"
                    );
                    stopper.stop();
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::configured;

    fn greeted(flags: &[(&str, &str)]) -> String {
        let at = "127.0.0.1:9000".parse().unwrap();
        greeting(&configured(flags), at, 4, "7 connections")
    }

    #[test]
    fn a_newcomer_is_told_address_page_and_dotenv() {
        let text = greeted(&[]);
        for line in [
            "This machine will bear 7 connections.",
            "To try it in the browser, open http://127.0.0.1:9000/",
            "BROADCAST_CONNECTION=reverb",
            "REVERB_APP_ID=1",
            "REVERB_APP_KEY=app-key",
            "REVERB_APP_SECRET=app-secret",
            "REVERB_HOST=127.0.0.1",
            "REVERB_PORT=9000",
            "REVERB_SCHEME=http",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(text.contains("listens on http://127.0.0.1:9000 with 4 cores."));
    }

    #[test]
    fn a_secret_of_ones_own_is_never_printed() {
        let text = greeted(&[("apps.secret", "hush-hush"), ("apps.key", "k")]);
        assert!(!text.contains("hush-hush") && text.contains("App 1 has the key k."), "{text}");
    }

    #[track_caller]
    fn check_room(tables: usize, [files, all, memory]: [Option<u64>; 3], expected: &str) {
        assert_eq!(Room::least(tables, files, all, memory).to_string(), expected);
    }

    #[test]
    fn the_scarcest_of_descriptors_files_and_memory_is_named() {
        check_room(
            1,
            [Some(960), Some(10_000), Some(1 << 40)],
            "about 960 connections (by the limit of open files, ulimit -Hn)",
        );
        check_room(
            64,
            [Some(1_259_520), None, None],
            "about 1 259 520 connections (by the limit of open files for each of 64 cores, ulimit -Hn)",
        );
        check_room(
            1,
            [Some(960), Some(959), None],
            "about 959 connections (by the open files of all processes, fs.file-max)",
        );
        check_room(1, [Some(1001), None, Some(1000)], "about 1 000 connections (by memory)");
        check_room(1, [None; 3], "as many connections as the system gives");
    }

    #[test]
    fn each_table_has_room_for_so_many() {
        assert_eq!(by_descriptors(Some(20_000), 64, 1), Some(19_680));
        assert_eq!(by_descriptors(Some(20_000), 64, 64), Some(19_680 * 64));
        assert_eq!(by_descriptors(Some(10), 64, 64), Some(0));
        assert_eq!(by_descriptors(None, 1, 1), None);
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_048_576].map(grouped), ["0", "999", "1 000", "1 048 576"]);
    }
}

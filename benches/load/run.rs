//! One run: server, threads, meetings, report. Knows no scenario but by name.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::arguments::{Arguments, Scenario, Shared};
use super::clock::{self, Clock};
use super::crowd::{Crowd, after};
use super::interrupt::Interrupt;
use super::report::{Report, Setting};
use super::server::Server;
use super::stage::Stage;
use super::target::{App, Target};
use super::{
    bystanders, churn, connect, echo, fanout, herd, idle, machine, million, slow, version,
};

/// What all scenarios need.
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) target: Arc<Target>,
    pub(crate) server: Server,
    pub(crate) threads: usize,
    pub(crate) stage: Stage,
    /// Sets the channels of this run apart from those of others on the same server.
    pub(crate) run_id: String,
}

impl Context {
    /// Where those of another kind connect: on a Pusher server to the same place, on a plain one to the URL that this flag gives.
    pub(crate) fn other_target(&self, flag: &str, url: Option<&str>) -> io::Result<Arc<Target>> {
        match (url, self.target.is_pusher()) {
            (None, true) => Ok(Arc::clone(&self.target)),
            (Some(url), false) => Target::parse(url, None).map(Arc::new),
            (None, false) => Err(io::Error::other(format!(
                "a plain server needs {flag} URL: another path, where nobody hears what is said in the room"
            ))),
            (Some(_), true) => Err(io::Error::other(format!(
                "{flag} is for --plain: a Pusher server has channels"
            ))),
        }
    }
}

/// Runs a scenario, and records it if that was asked, nobody interrupted it and the server made no mistake.
pub(crate) fn run(arguments: &Arguments) -> io::Result<Report> {
    let interrupt = Arc::new(Interrupt::watch()?);
    let played = play(&arguments.scenario, &interrupt);
    // By now what was started has ended and what was changed is put back, whatever came of it.
    interrupt.check()?;
    let (mut report, setting) = played?;
    let recording = arguments.scenario.recording();
    report.remarks.extend(recording.note.clone());
    if let Some(name) = recording.record.as_ref().filter(|_| report.faults.is_none()) {
        report.recorded = Some(report.record(&recording.records, name, &setting)?);
    }
    Ok(report)
}

fn play(scenario: &Scenario, interrupt: &Arc<Interrupt>) -> io::Result<(Report, Setting)> {
    let against = |shared: &Shared, play: &dyn Fn(&Context) -> io::Result<Report>| {
        play_against(shared, scenario.connections(), play, interrupt)
    };
    match scenario {
        Scenario::Idle(it) => against(&it.shared, &|context| idle::run(context, it)),
        Scenario::Fanout(it) => against(&it.shared, &|context| fanout::run(context, it)),
        Scenario::Echo(it) => against(&it.shared, &|context| echo::run(context, it)),
        Scenario::Churn(it) => against(&it.shared, &|context| churn::run(context, it)),
        Scenario::Connect(it) => against(&it.shared, &|context| connect::run(context, it)),
        Scenario::Bystanders(it) => against(&it.shared, &|context| bystanders::run(context, it)),
        Scenario::Slow(it) => against(&it.shared, &|context| slow::run(context, it)),
        Scenario::Herd(it) => against(&it.shared, &|context| herd::run(context, it)),
        Scenario::Million(it) => million::run(it, interrupt),
    }
}

/// Plays a scenario against the server that the command line names, with at most so many connections at a time.
fn play_against(
    shared: &Shared,
    connections: usize,
    play: &dyn Fn(&Context) -> io::Result<Report>,
    interrupt: &Arc<Interrupt>,
) -> io::Result<(Report, Setting)> {
    let clock = Clock::start();
    let setting = setting(shared);
    let target = Arc::new(target(shared)?);
    let descriptors = machine::raise_descriptors()?;
    machine::check_descriptors(descriptors, connections)?;
    let limit = descriptors.map(|limit| limit.to_string());
    let server = start(shared, &target, clock)?;
    if let Some(cores) = cores(shared.client_core.as_deref())? {
        machine::pin_self(&cores)?;
    }
    let threads = usize::from(shared.threads);
    let deadline = after(clock.now(), shared.deadline);
    let stage = Stage::new(threads, clock, deadline, Arc::clone(interrupt));
    let run_id = format!("{:x}{:x}", setting.unix_seconds, std::process::id());
    let context = Context { clock, target, server, threads, stage, run_id };
    let mut report = play(&context)?;
    if !context.server.is_known() {
        report.remarks.push(
            "Neither --pid nor --spawn was given: the server's costs are not known.".to_owned(),
        );
    }
    report.remarks.push(format!("Open files: {}.", limit.as_deref().unwrap_or("no limit")));
    Ok((report, setting))
}

fn target(shared: &Shared) -> io::Result<Target> {
    let app = || App {
        id: shared.app_id.clone(),
        key: shared.key.clone(),
        secret: shared.secret.as_str().into(),
    };
    match (&shared.pusher, &shared.plain) {
        (Some(url), _) => Target::parse(url, Some(app())),
        (None, Some(url)) => Target::parse(url, None),
        (None, None) => Err(io::Error::other("name a server: --pusher URL or --plain URL")),
    }
}

fn cores(text: Option<&str>) -> io::Result<Option<Vec<usize>>> {
    text.map(machine::read_cores).transpose().map_err(io::Error::other)
}

fn start(shared: &Shared, target: &Target, clock: Clock) -> io::Result<Server> {
    let cores = cores(shared.server_core.as_deref())?;
    match &shared.spawn {
        Some(command) => Server::spawn(command, cores.as_deref(), target.address, clock),
        None => Server::running(shared.pid, cores.as_deref(), target.address, clock),
    }
}

fn setting(shared: &Shared) -> Setting {
    Setting {
        unix_seconds: clock::unix_seconds(),
        machine: machine::describe(),
        load_average: machine::load_average(),
        server: server_name(shared).unwrap_or_else(|| "not named".to_owned()),
        command: command(std::env::args().skip(1)),
    }
}

/// As the command line says, or as the program says that will be started. It is not asked for a run that nobody records: one that
/// does not know `--version` may do anything.
fn server_name(shared: &Shared) -> Option<String> {
    let asked = || {
        let program = shared.spawn.as_ref()?.split_whitespace().next()?;
        version::of_program(Path::new(program))
    };
    shared.server_name.clone().or_else(|| shared.recording.record.as_ref().and_then(|_| asked()))
}

/// The command that repeats the run, without what is nobody's business, stands beside it, or is cargo's.
pub(crate) fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut command = "cargo bench --bench load --".to_owned();
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--note" | "--server-name" => drop(arguments.next()),
            "--secret" => {
                command.push_str(" --secret …");
                arguments.next();
            }
            argument => {
                command.push(' ');
                command.push_str(&quoted(argument));
            }
        }
    }
    command
}

fn quoted(argument: &str) -> String {
    if argument.contains(' ') { format!("'{argument}'") } else { argument.to_owned() }
}

/// Runs one thread of the generator for each crowd, and `conduct` on this one; gives back what each thread found.
pub(crate) fn with_threads<T: Send>(
    context: &Context,
    play: impl Fn(&mut Crowd) -> io::Result<T> + Sync,
    conduct: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<T>> {
    let stage = &context.stage;
    let one = |index: usize| -> io::Result<T> {
        let target = Arc::clone(&context.target);
        let crowd = Crowd::new(target, context.clock, index, context.threads);
        crowd.and_then(|mut crowd| play(&mut crowd)).inspect_err(|why| stage.fail(why))
    };
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> =
            (0..context.threads).map(|index| scope.spawn(move || one(index))).collect();
        let conducted = conduct().inspect_err(|why| stage.fail(why));
        let joined = |thread: thread::ScopedJoinHandle<'_, io::Result<T>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread of the generator panicked")))
        };
        let found: Vec<io::Result<T>> = threads.into_iter().map(joined).collect();
        conducted.and_then(|()| found.into_iter().collect())
    })
}

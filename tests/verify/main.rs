//! `cargo verify`: every test of the project, quick ones first, with all that they need installed before.
//!
//! ```text
//!   tidy → fmt → clippy → unit → bare → behaviour → command ──▶ ┐
//!   loom → fuzz                                                  ├─▶ a table, then `N passed, N failed`
//!   install ┬▶ syscalls → instructions                            │
//!           ├▶ node → python → chromium ─▶ autobahn-1 ┬▶ -4 ────▶ ┤
//!   build ──┘                                          └▶ -client ▶ ┘
//! ```
//!
//! A stage that fails does not end the run; only the stages that need it are left out. What a stage printed is kept
//! under `artefacts/logs`. A stage that this machine cannot run is skipped aloud; with `CI` set that is a failure.
//! `docs/internals/testing.md` tells what each stage is for.

mod apt;
mod autobahn;
mod cargo;
mod clients;
mod fuzz;
mod install;
mod machine;
mod node;
mod process;
mod stage;
mod tally;

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use machine::{Site, say};
use stage::{Job, Outcome, Stage, Trouble};

/// In the order in which they run.
const STAGES: &[Stage] = &[
    Stage::new("tidy", "the house rules", &[], cargo::tidy),
    Stage::new("fmt", "the layout of the code", &[], cargo::fmt),
    Stage::new("clippy", "lints, with all features and none", &[], cargo::clippy),
    Stage::new("unit", "unit, example and documentation tests", &[], cargo::unit),
    Stage::new("bare", "the library without features", &[], cargo::bare),
    Stage::new("behaviour", "real sockets, and every other test", &[], cargo::behaviour),
    Stage::new("simulation", "servers with virtual time, 10,000 seeds", &[], cargo::simulation),
    Stage::new("command", "the stentor command", &[], cargo::command),
    Stage::new("loom", "every order of the mailbox's steps", &[], cargo::loom),
    Stage::new("fuzz", "each parser, from its seeds", &[], fuzz::fuzz),
    Stage::new("install", "what the stages below need", &[], install::install),
    Stage::new("syscalls", "what a delivery costs the kernel", &["install"], cargo::syscalls),
    Stage::new(
        "instructions",
        "what a delivery costs us, counted",
        &["install"],
        cargo::instructions,
    ),
    Stage::new("build", "the optimised server", &[], cargo::build),
    Stage::new("node", "clients in Node", READY, clients::node),
    Stage::new("python", "the Python SDK", READY, clients::python),
    Stage::new("chromium", "clients and the page in a browser", READY, clients::chromium),
    Stage::new("autobahn-1", "RFC 6455 conformance, 1 core", READY, autobahn::one_core),
    Stage::new("autobahn-4", "RFC 6455 and 7692 conformance, 4 cores", READY, autobahn::four_cores),
    Stage::new("autobahn-client", "the same of the client role", READY, autobahn::client)
        .beside("autobahn-4"),
];

const READY: &[&str] = &["install", "build"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        STAGES.iter().for_each(|stage| say(&format!("{:<16}{}", stage.name, stage.about)));
        return ExitCode::SUCCESS;
    }
    match chosen(&arguments) {
        Ok(stages) => verify(&stages),
        Err(unknown) => {
            say(&format!("there is no stage `{unknown}`; `cargo verify --list` names them"));
            ExitCode::FAILURE
        }
    }
}

/// The stages that were asked for and those that they need, in order; all if none was asked for.
fn chosen(names: &[String]) -> Result<Vec<&'static Stage>, &str> {
    if let Some(unknown) =
        names.iter().find(|name| !STAGES.iter().any(|stage| stage.answers_to(name)))
    {
        return Err(unknown);
    }
    let asked = |stage: &Stage| names.is_empty() || names.iter().any(|name| stage.answers_to(name));
    let needed = |stage: &Stage| {
        STAGES.iter().any(|other| asked(other) && other.needs.contains(&stage.name))
    };
    Ok(STAGES.iter().filter(|stage| asked(stage) || needed(stage)).collect())
}

fn verify(stages: &[&'static Stage]) -> ExitCode {
    let site = match Site::survey() {
        Ok(site) => site,
        Err(error) => {
            say(&format!("cannot begin: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for group in stages.chunk_by(|before, next| next.beside == Some(before.name)) {
        let ran = run_together(&site, group, &outcomes);
        let ends_all =
            ran.iter().any(|outcome| matches!(outcome.verdict, Err(Trouble::Interrupted)));
        outcomes.extend(ran);
        if ends_all {
            break;
        }
    }
    stage::conclude(&site, &outcomes)
}

/// Nearly always one stage; more where none of them can use a machine's cores by itself.
fn run_together(site: &Site, group: &[&'static Stage], before: &[Outcome]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let start = |stage: &&'static Stage| {
            let stage: &'static Stage = stage;
            scope.spawn(move || run(site, stage, before))
        };
        let running: Vec<_> = group.iter().map(start).collect();
        running
            .into_iter()
            .map(|stage| stage.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn run(site: &Site, stage: &'static Stage, before: &[Outcome]) -> Outcome {
    say(&format!("\n── {} · {}", stage.name, stage.about));
    let begun = machine::now();
    let missing = before
        .iter()
        .find(|other| stage.needs.contains(&other.stage.name) && other.verdict.is_err());
    let mut job = Job::new(site, stage.name);
    let verdict = match missing {
        Some(other) => {
            Err(Trouble::Skipped(format!("it needs {}, which did not pass", other.stage.name)))
        }
        None => (stage.run)(&mut job),
    };
    if let Err(error) = job.write_log() {
        say(&format!("   !! the log could not be written: {error}"));
    }
    let outcome = Outcome { stage, verdict, tally: job.tally, took: begun.elapsed() };
    outcome.announce(site, &job.tail());
    outcome
}

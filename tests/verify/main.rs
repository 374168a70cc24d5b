//! `cargo verify`: every test of the project, quick ones first, with all that they need installed before.
//!
//! ```text
//!   tidy → fmt → clippy → unit → bare → behaviour → command ──▶ ┐
//!   loom → fuzz                                                  ├─▶ a table, then `N passed, N failed`
//!   install ┬▶ syscalls → instructions                            │
//!           ├▶ node → python → chromium ──▶ autobahn-1 → -4 ──▶ ┘
//!   build ──┘
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
mod process;
mod stage;
mod tally;

use std::process::ExitCode;

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
];

const READY: &[&str] = &["install", "build"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        STAGES.iter().for_each(|stage| say(&format!("{:<12}{}", stage.name, stage.about)));
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
    for stage in stages {
        let outcome = run(&site, stage, &outcomes);
        let ends_all = matches!(outcome.verdict, Err(Trouble::Interrupted));
        outcomes.push(outcome);
        if ends_all {
            break;
        }
    }
    stage::conclude(&site, &outcomes)
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

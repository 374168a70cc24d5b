//! The stages that drive our server with other people's clients, unmodified. The tests are in `tests/clients`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::cargo;
use crate::install;
use crate::machine::runs;
use crate::stage::{Job, Trouble, Verdict};
use crate::tally::Tally;

const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(crate) fn node(job: &mut Job<'_>) -> Verdict {
    let clients = node_tests(job, "node", &[]);
    if matches!(clients, Err(Trouble::Skipped(_))) {
        return clients;
    }
    // Whatever came of the first: each is counted.
    let peer = cargo::peer_programs(job);
    clients.and(peer)
}

pub(crate) fn chromium(job: &mut Job<'_>) -> Verdict {
    let Some(chromium) = install::chromium() else {
        return Err(Trouble::Skipped("there is no chromium".to_owned()));
    };
    let environment = [("CHROMIUM", chromium)];
    let in_node = node_tests(job, "chromium", &environment);
    // Whatever came of the first: each is counted.
    in_node.and(python_tests(job, "chromium_*.py", &environment))
}

pub(crate) fn python(job: &mut Job<'_>) -> Verdict {
    python_tests(job, "test_*.py", &[])
}

/// Runs the files of that name.
fn python_tests(job: &mut Job<'_>, files: &str, environment: &[(&str, String)]) -> Verdict {
    let mut python = Command::new(install::python(job.site));
    python.args(["-B", "-m", "unittest", "discover", "--verbose"]);
    python.args(["--start-directory", "tests/clients/python", "--pattern", files]);
    python.envs(environment.iter().map(|(name, value)| (*name, value)));
    let ended = job.attempt(against_our_server(job, python), LIMIT)?;
    let tally = Tally::of_unittest(&ended.text);
    judge(job, tally, ended.success, &ended.how())
}

/// Runs the test files of a folder, with what they print about themselves kept for the count.
fn node_tests(job: &mut Job<'_>, folder: &str, environment: &[(&str, String)]) -> Verdict {
    if !runs("node", &["--version"]) {
        return Err(Trouble::Skipped("there is no node".to_owned()));
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(job.site.root.join("tests/clients").join(folder))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"]).args(files);
    node.envs(environment.iter().map(|(name, value)| (*name, value)));
    let ended = job.attempt(against_our_server(job, node), LIMIT)?;
    let tally = Tally::of_node(&ended.text);
    judge(job, tally, ended.success, &ended.how())
}

fn against_our_server(job: &Job<'_>, mut command: Command) -> Command {
    command
        .current_dir(&job.site.root)
        .env("STENTOR_BIN", job.site.target.join("release/stentor"))
        .env("STENTOR_CHAT", job.site.target.join("release/examples/chat"))
        .env("STENTOR_CLIENTS", install::clients_folder(job.site))
        .env("STENTOR_ARTEFACTS", &job.site.artefacts);
    command
}

fn judge(job: &mut Job<'_>, tally: Tally, success: bool, how: &str) -> Verdict {
    job.tally += tally;
    if !success || tally.failed > 0 {
        return Err(Trouble::Failed(format!("{how}, {tally}")));
    }
    if tally.passed == 0 {
        return Err(Trouble::Failed("no test ran".to_owned()));
    }
    Ok(())
}

//! The stages that are cargo's own: the house rules, the layout, the lints, and all tests written in Rust.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::stage::{Job, Trouble, Verdict};
use crate::tally::Tally;

/// Enough to compile everything from nothing on a small machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);

const HAVE_A_STAGE: &[&str] =
    &["command", "peer_programs", "simulation", "syscalls", "tidy", "verify"];

pub(crate) fn tidy(job: &mut Job<'_>) -> Verdict {
    test(job, &["--test", "tidy"])
}

pub(crate) fn fmt(job: &mut Job<'_>) -> Verdict {
    check(job, &["fmt", "--check"])
}

/// `--all-targets` leaves out what is not a part of a plain `cargo test`: this runner, and what it installs `strace` and ws for.
pub(crate) fn clippy(job: &mut Job<'_>) -> Verdict {
    let everything = check(job, &["clippy", "--all-targets", "--", "-D", "warnings"]);
    let apart = ["verify", "syscalls", "peer_programs"].map(|name| ["--test", name]);
    let apart = [&["clippy"], apart.as_flattened(), &["--", "-D", "warnings"]].concat();
    let runner = check(job, &apart);
    let bare =
        check(job, &["clippy", "--all-targets", "--no-default-features", "--", "-D", "warnings"]);
    everything.and(runner).and(bare)
}

pub(crate) fn unit(job: &mut Job<'_>) -> Verdict {
    test(job, &["--lib", "--bins", "--examples"])?;
    test(job, &["--doc"])
}

/// The crate's second shape: WIRE and ENGINE alone must build and pass by themselves.
pub(crate) fn bare(job: &mut Job<'_>) -> Verdict {
    let targets = other_tests(job, |features| features.is_null())?;
    // The simulation has a stage for its many seeds; here it runs those of a plain `cargo test`.
    let library = ["--no-default-features", "--lib", "--examples", "--test", "simulation"];
    test(job, &[&library, selected(&targets).as_slice()].concat())?;
    test(job, &["--no-default-features", "--doc"])
}

/// Every test target that has no stage of its own, so that a new one cannot be forgotten.
pub(crate) fn behaviour(job: &mut Job<'_>) -> Verdict {
    let targets = other_tests(job, |_features| true)?;
    if targets.is_empty() {
        return Err(Trouble::Failed("there are no such tests".to_owned()));
    }
    test(job, &selected(&targets))
}

/// Whole servers with virtual time, from as many seeds as a run has time for.
pub(crate) fn simulation(job: &mut Job<'_>) -> Verdict {
    test(job, &["--config", "env.STENTOR_SEEDS='10000'", "--test", "simulation"])
}

pub(crate) fn command(job: &mut Job<'_>) -> Verdict {
    test(job, &["--test", "command"])
}

/// What a delivery costs the kernel; it needs `strace`.
pub(crate) fn syscalls(job: &mut Job<'_>) -> Verdict {
    test(job, &["--test", "syscalls"])
}

/// The mailbox under loom, in a build folder of its own, for `--cfg loom` would have everything else compiled anew.
pub(crate) fn loom(job: &mut Job<'_>) -> Verdict {
    let model = ["test", "--no-default-features", "--lib", "fanout::mailbox::model"];
    let mut cargo = job.site.cargo(&model);
    cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", job.site.target.join("loom"));
    run(job, cargo)
}

/// What a delivery costs us, against what is recorded; it needs `valgrind`.
pub(crate) fn instructions(job: &mut Job<'_>) -> Verdict {
    check(job, &["bench", "--bench", "instructions"])
}

/// What the clients and Autobahn run against.
pub(crate) fn build(job: &mut Job<'_>) -> Verdict {
    let examples = ["--example", "autobahn_client", "--example", "chat", "--example", "echo"];
    let cargo =
        job.site.cargo(&[&["build", "--release", "--bin", "stentor"], &examples[..]].concat());
    job.must(cargo, LIMIT).map(|_| ())
}

/// The program of the comparisons' peer Node ws; it needs what is installed for the clients in Node.
pub(crate) fn peer_programs(job: &mut Job<'_>) -> Verdict {
    test(job, &["--test", "peer_programs"])
}

/// A cargo command that is one check by itself.
fn check(job: &mut Job<'_>, arguments: &[&str]) -> Verdict {
    let verdict = job.must(job.site.cargo(arguments), LIMIT).map(|_| ());
    job.tally += if verdict.is_ok() { Tally::PASSED } else { Tally::FAILED };
    verdict
}

/// `--no-fail-fast`: one failure must not hide the others.
fn test(job: &mut Job<'_>, arguments: &[&str]) -> Verdict {
    let cargo = job.site.cargo(&[&["test", "--no-fail-fast"], arguments].concat());
    run(job, cargo)
}

/// A cargo command that runs tests.
fn run(job: &mut Job<'_>, cargo: Command) -> Verdict {
    let ended = job.attempt(cargo, LIMIT)?;
    let tally = Tally::of_cargo(&ended.text);
    job.tally += tally;
    if !ended.success {
        // The end of the output shows the last of several binaries alone.
        let failed = ended.text.lines().filter(|line| line.ends_with("... FAILED"));
        failed.for_each(|line| job.note(line));
        return Err(Trouble::Failed(format!("{}, {tally}", ended.how())));
    }
    if tally.passed == 0 {
        return Err(Trouble::Failed("no test ran".to_owned()));
    }
    Ok(())
}

fn selected(targets: &[String]) -> Vec<&str> {
    targets.iter().flat_map(|name| ["--test", name.as_str()]).collect()
}

/// The test targets without a stage of their own whose required features suit.
fn other_tests(job: &mut Job<'_>, suits: fn(&Value) -> bool) -> Result<Vec<String>, Trouble> {
    let cargo = job.site.cargo(&["metadata", "--no-deps", "--format-version", "1", "--quiet"]);
    let ended = job.must(cargo, LIMIT)?;
    let metadata: Value =
        serde_json::from_str(&ended.text).map_err(|error| Trouble::Failed(error.to_string()))?;
    let targets = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    let tests = targets.iter().filter(|target| target["kind"][0] == "test");
    let suiting = tests.filter(|target| suits(&target["required-features"]));
    let names = suiting.filter_map(|target| target["name"].as_str());
    Ok(names.filter(|name| !HAVE_A_STAGE.contains(name)).map(str::to_owned).collect())
}

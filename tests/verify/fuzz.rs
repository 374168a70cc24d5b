//! The fuzz targets: all built once, each run for a while from its seeds.
//!
//! ```text
//!   cargo fuzz build ──▶ TARGET/fuzz/…/release/NAME  SECONDS, seeds, what earlier runs found ──▶ executions, coverage
//!                                                                       └─▶ artefacts/fuzz/NAME/crash-…, if it fails
//! ```
//!
//! The programs are run as they are, without cargo between: a run of five seconds shall be five seconds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::install;
use crate::machine::{Site, fuzz_seconds};
use crate::stage::{Job, Trouble, Verdict};
use crate::tally::Tally;

/// To compile the package and all that it leans on, with the sanitizer's checks and little else at the same time.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);
/// What a program may take beyond its seconds: to read what earlier runs found, to write what it found.
const GRACE: Duration = Duration::from_secs(120);
/// One input: far more than any of ours takes, so that only what hangs fails.
const INPUT_SECONDS: u32 = 25;
const INPUT_BYTES: u32 = 4096;
const MEMORY_MIB: u32 = 2048;

/// 5 seconds each, or as many as `STENTOR_FUZZ_SECONDS` says.
pub(crate) fn fuzz(job: &mut Job<'_>) -> Verdict {
    install::cargo_fuzz(job)?;
    let folder = job.site.target.join("fuzz");
    let mut build = job.site.cargo(&["fuzz", "build", "--target-dir"]);
    build.arg(&folder);
    prepare(job.site, &mut build);
    job.must(build, BUILD_LIMIT)?;

    let programs = folder.join(host(job)?).join("release");
    let mut failed = Vec::new();
    for name in targets(job.site)? {
        match run(job, &programs, &name) {
            Ok(()) => job.tally += Tally::PASSED,
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
            Err(Trouble::Failed(why) | Trouble::Skipped(why)) => {
                job.note(&format!("{name}: {why}"));
                job.tally += Tally::FAILED;
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Trouble::Failed(failed.join(", "))) }
}

fn run(job: &mut Job<'_>, programs: &std::path::Path, name: &str) -> Verdict {
    let seeds = job.site.root.join("fuzz/seeds").join(name);
    if !fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()) {
        return Err(Trouble::Failed(format!("there are no seeds in {}", seeds.display())));
    }
    let corpus = job.site.target.join("fuzz/corpus").join(name);
    let artefacts = job.site.artefacts.join("fuzz").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artefacts)?;
    let seconds = fuzz_seconds();
    let mut program = job.site.command(programs.join(name));
    program.arg(corpus).arg(seeds).args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS}"),
        format!("-max_len={INPUT_BYTES}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-artifact_prefix={}/", artefacts.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    // The Rust standard library is in the program twice, and that is no fault of ours.
    program.env("ASAN_OPTIONS", "detect_odr_violation=0");
    let ended = job.must(program, Duration::from_secs(seconds) + GRACE)?;
    let figure = |text: Option<&str>, word: &str| {
        let rest = text.and_then(|text| text.split_once(word)).map_or("", |(_, rest)| rest);
        rest.split_whitespace().next().unwrap_or("?").to_owned()
    };
    let last = ended.text.lines().rev().find(|line| line.contains(" cov: "));
    let executions = figure(Some(&ended.text), "stat::number_of_executed_units:");
    let (edges, features) = (figure(last, " cov: "), figure(last, " ft: "));
    job.note(&format!("{name}: {executions} executions, {edges} edges, {features} features"));
    Ok(())
}

/// `RUSTC_BOOTSTRAP` lets a stable toolchain take the sanitizer's flags.
fn prepare(site: &Site, command: &mut Command) {
    let tools = install::cargo_fuzz_folder(site).join("bin");
    let path = std::env::join_paths([tools].into_iter().chain(crate::machine::path()));
    command.env("RUSTC_BOOTSTRAP", "1").env("PATH", path.unwrap_or_default());
}

/// Each target is one file.
fn targets(site: &Site) -> Result<Vec<String>, Trouble> {
    let entries = fs::read_dir(site.root.join("fuzz/targets"))?;
    let files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    let mut names: Vec<_> =
        files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    if names.is_empty() {
        Err(Trouble::Failed("there are no targets".to_owned()))
    } else {
        Ok(names)
    }
}

/// The machine's own name among rustc's targets, which cargo-fuzz builds for.
fn host(job: &mut Job<'_>) -> Result<String, Trouble> {
    let mut rustc = job.site.command("rustc");
    rustc.arg("-vV");
    let ended = job.must(rustc, GRACE)?;
    let host = ended.text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Trouble::Failed("rustc names no host".to_owned()))
}

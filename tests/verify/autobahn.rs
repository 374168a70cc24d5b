//! The Autobahn test suite against the library's echo server.
//!
//! ```text
//!   examples/echo --port 0 --cores N ◀── wstest -m fuzzingclient ──▶ artefacts/autobahn/N-cores/index.json
//!                                                                              │
//!                                          tests/conformance/expected.json ──▶ compared, case by case
//! ```
//!
//! A case that is missing from the report is as bad as one that failed: a suite that ran nothing proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::install;
use crate::process::Running;
use crate::stage::{Job, Trouble, Verdict};

/// The suite takes about 14 minutes on two cores that are free, nearly all of them in its own Python in groups 12 and 13.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// Left out with one core: what they look at does not depend on the number of cores, and they take long.
const FOUR_CORES_ONLY: [&str; 3] = ["9", "12", "13"];
const START_LIMIT: Duration = Duration::from_secs(10);
const AGENT: &str = "stentor";

pub(crate) fn one_core(job: &mut Job<'_>) -> Verdict {
    run(job, "1")
}

pub(crate) fn four_cores(job: &mut Job<'_>) -> Verdict {
    run(job, "4")
}

fn run(job: &mut Job<'_>, cores: &str) -> Verdict {
    let Some(wstest) = install::wstest(job.site) else {
        return Err(Trouble::Skipped(
            "there is no wstest; install needs Python 2.7 for it".to_owned(),
        ));
    };
    let expected = read(&job.site.root.join("tests/conformance/expected.json"))?;
    let folder = job.site.artefacts.join(format!("autobahn/{cores}-cores"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let (mut echo, address) = start_echo(job, cores)?;
    let due = |group: &str| cores != "1" || !FOUR_CORES_ONLY.contains(&group);
    let wanted: Vec<(&str, u64)> = groups(&expected).filter(|(group, _)| due(group)).collect();
    let groups: Vec<String> = wanted.iter().map(|(group, _)| format!("{group}.*")).collect();
    let spec = json!({
        "outdir": folder,
        "servers": [{ "agent": AGENT, "url": address }],
        "cases": groups,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let spec_file = folder.join("spec.json");
    fs::write(&spec_file, format!("{spec:#}"))?;
    let mut fuzzer = Command::new(wstest);
    fuzzer.args(["-m", "fuzzingclient", "-s"]).arg(&spec_file).current_dir(&folder);
    let suite = job.must(fuzzer, LIMIT);
    let survived = echo.is_alive();
    job.note(&format!("the echo server printed: {}", echo.stop()?.trim()));
    suite?;
    if !survived {
        return Err(Trouble::Failed("the echo server ended by itself".to_owned()));
    }
    compare(job, &expected, &wanted, &read(&folder.join("index.json"))?[AGENT])
}

fn start_echo(job: &mut Job<'_>, cores: &str) -> Result<(Running, String), Trouble> {
    let mut command = job.site.command(job.site.target.join("release/examples/echo"));
    command.args(["--port", "0", "--cores", cores]);
    let mut echo = Running::start(command)?;
    if let Some(address) = echo.wait_for("listening on ", START_LIMIT) {
        job.note(&format!("the echo server listens on {address}"));
        return Ok((echo, address));
    }
    Err(Trouble::Failed(format!("the echo server did not start: {}", echo.stop()?.trim())))
}

/// Counts every case, and names those that are not as expected.
fn compare(job: &mut Job<'_>, expected: &Value, wanted: &[(&str, u64)], report: &Value) -> Verdict {
    let mut ran: BTreeMap<&str, u64> = BTreeMap::new();
    let mut surprises = Vec::new();
    for (case, result) in report.as_object().into_iter().flatten() {
        let group = case.split('.').next().unwrap_or(case);
        *ran.entry(group).or_default() += 1;
        let exception = &expected["exceptions"][case];
        let wanted = exception.as_str().unwrap_or("OK");
        if result["behavior"] == wanted && result["behaviorClose"] == wanted {
            job.tally.passed += 1;
        } else {
            job.tally.failed += 1;
            surprises.push(format!(
                "{case}: {} / {}, wanted {wanted}",
                result["behavior"], result["behaviorClose"]
            ));
        }
    }
    for &(group, wanted) in wanted {
        let found = ran.get(group).copied().unwrap_or(0);
        if found != wanted {
            job.tally.failed += 1;
            surprises.push(format!("group {group} ran {found} cases, wanted {wanted}"));
        }
    }
    surprises.iter().for_each(|surprise| job.note(surprise));
    if surprises.is_empty() {
        Ok(())
    } else {
        Err(Trouble::Failed(format!("{} surprises", surprises.len())))
    }
}

/// Each group and how many cases it has.
fn groups(expected: &Value) -> impl Iterator<Item = (&str, u64)> {
    let groups = expected["cases"].as_object().into_iter().flatten();
    groups.map(|(group, count)| (group.as_str(), count.as_u64().unwrap_or(0)))
}

fn read(path: &Path) -> Result<Value, Trouble> {
    // The report of case 6.20.1 has half a surrogate pair in it, which is no UTF-8.
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    serde_json::from_str(&text)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))
}

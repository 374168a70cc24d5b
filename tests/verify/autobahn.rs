//! The Autobahn test suite against both roles: the library's echo server, and a client that echoes.
//!
//! ```text
//!   examples/echo --port 0 --cores N ◀── wstest -m fuzzingclient ──▶ artefacts/autobahn/N-cores/index.json ┐
//!   tests/conformance/client.rs ───────▶ wstest -m fuzzingserver ──▶ artefacts/autobahn/client/index.json  ┤
//!                                                              tests/conformance/expected.json ──▶ compared, case by case
//! ```
//!
//! A case that is missing from the report is as bad as one that failed: a suite that ran nothing proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::install;
use crate::process::Running;
use crate::stage::{Job, Trouble, Verdict};

/// The suite takes about 14 minutes on two cores that are free, nearly all of them in its own Python in groups 12 and 13, which has
/// one thread: so both roles are judged at the same time.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// permessage-deflate, left out with one core: how a message is compressed does not depend on the number of cores, and the suite
/// takes longer over these two than over all the others.
const FOUR_CORES_ONLY: [&str; 2] = ["12", "13"];
const START_LIMIT: Duration = Duration::from_secs(60);
const AGENT: &str = "stentor";

pub(crate) fn one_core(job: &mut Job<'_>) -> Verdict {
    server(job, "1")
}

pub(crate) fn four_cores(job: &mut Job<'_>) -> Verdict {
    server(job, "4")
}

/// The client role, which goes through the cases by itself.
pub(crate) fn client(job: &mut Job<'_>) -> Verdict {
    let suite = Suite::find(job, "client")?;
    let wanted: Vec<(&str, u64)> = groups(&suite.expected).collect();
    // The suite cannot choose a port, nor say when it listens, nor be kept to loopback.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut server = suite.command("fuzzingserver", &wanted, |spec| {
        spec["url"] = json!(format!("ws://{address}"));
    })?;
    server.args(["--webport", "0"]).env("PYTHONUNBUFFERED", "1");
    let mut server = Running::start(server)?;
    let mut ran = Err(Trouble::Failed("the fuzzing server did not start".to_owned()));
    if server.wait_for_listener(address, START_LIMIT) {
        job.note(&format!("the fuzzing server listens on {address}"));
        let mut client = job.site.command(job.site.target.join("release/examples/autobahn_client"));
        client.arg(address.to_string()).arg(AGENT);
        ran = job.must(client, LIMIT).map(|_| ());
    }
    let survived = server.is_alive();
    job.keep(&format!("the fuzzing server printed:\n{}", server.stop()?));
    ran?;
    if !survived {
        return Err(Trouble::Failed("the fuzzing server ended by itself".to_owned()));
    }
    suite.judge(job, &wanted)
}

fn server(job: &mut Job<'_>, cores: &str) -> Verdict {
    let suite = Suite::find(job, &format!("{cores}-cores"))?;
    let (mut echo, address) = start_echo(job, cores)?;
    let due = |group: &str| cores != "1" || !FOUR_CORES_ONLY.contains(&group);
    if cores == "1" {
        let left = FOUR_CORES_ONLY.join(" and ");
        job.note(&format!("groups {left} (permessage-deflate) are left to autobahn-4"));
    }
    let wanted: Vec<(&str, u64)> =
        groups(&suite.expected).filter(|(group, _)| due(group)).collect();
    let fuzzer = suite.command("fuzzingclient", &wanted, |spec| {
        spec["servers"] = json!([{ "agent": AGENT, "url": address }]);
    })?;
    let ran = job.must(fuzzer, LIMIT);
    let survived = echo.is_alive();
    job.note(&format!("the echo server printed: {}", echo.stop()?.trim()));
    ran?;
    if !survived {
        return Err(Trouble::Failed("the echo server ended by itself".to_owned()));
    }
    suite.judge(job, &wanted)
}

/// The suite itself, what we expect of it, and where it writes its reports.
struct Suite {
    wstest: PathBuf,
    expected: Value,
    folder: PathBuf,
}

impl Suite {
    /// Its folder is made anew.
    fn find(job: &Job<'_>, folder: &str) -> Result<Self, Trouble> {
        let Some(wstest) = install::wstest(job.site) else {
            return Err(Trouble::Skipped(
                "there is no wstest; install needs Python 2.7 for it".to_owned(),
            ));
        };
        let expected = read(&job.site.root.join("tests/conformance/expected.json"))?;
        let folder = job.site.artefacts.join("autobahn").join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self { wstest, expected, folder })
    }

    /// How it is called in one of its modes, which adds to its specification.
    fn command(
        &self,
        mode: &str,
        wanted: &[(&str, u64)],
        specify: impl FnOnce(&mut Value),
    ) -> Result<Command, Trouble> {
        let groups: Vec<String> = wanted.iter().map(|(group, _)| format!("{group}.*")).collect();
        let mut spec = json!({
            "outdir": self.folder,
            "cases": groups,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        });
        specify(&mut spec);
        let file = self.folder.join("spec.json");
        fs::write(&file, format!("{spec:#}"))?;
        let mut wstest = Command::new(&self.wstest);
        wstest.args(["-m", mode, "-s"]).arg(file).current_dir(&self.folder);
        Ok(wstest)
    }

    /// What it wrote, against what we expect.
    fn judge(&self, job: &mut Job<'_>, wanted: &[(&str, u64)]) -> Verdict {
        let reports = read(&self.folder.join("index.json"))?;
        compare(job, &self.expected, wanted, &reports[AGENT])
    }
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

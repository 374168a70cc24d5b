//! Everything the later stages need, under `target/verify` (apt's packages apart), once.
//!
//! | what | where | from |
//! |---|---|---|
//! | Chromium, gcc, strace, valgrind, Python 2.7 | the system | apt |
//! | Node and npm, if the system's are new enough | the system | apt |
//! | the JavaScript clients | `clients/node_modules` | `tests/clients/package-lock.json` |
//! | the Python SDK | `python` | `tests/clients/requirements.txt` |
//! | the Autobahn test suite | `autobahn` | `tests/conformance/requirements.txt` |
//! | cargo-fuzz, when it is first needed | `cargo-fuzz` | cargo, the version below |
//!
//! Beside each lies a stamp: the text of what was asked for. The same text means nothing to do. (cargo-fuzz knows its own
//! version.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::apt;
use crate::machine::{Site, first_that_runs, runs};
use crate::node;
use crate::stage::{Job, Trouble, Verdict};

const LIMIT: Duration = Duration::from_secs(10 * 60);
const CARGO_FUZZ: &str = "0.13.2";
/// The last virtualenv that can make an environment for Python 2.7.
const VIRTUALENV: &str = "virtualenv==20.21.1";
const PYTHON3: &[&str] = &["python3", "/usr/bin/python3"];
const PYTHON2: &[&str] = &["/usr/bin/python2.7", "python2.7"];
/// An environment needs pip, which Debian packs apart.
const CAN_MAKE_ENVIRONMENTS: &str = "import ensurepip, venv";
const CAN_COMPILE: &str =
    "import os, sysconfig; open(os.path.join(sysconfig.get_config_var('INCLUDEPY'), 'Python.h'))";

pub(crate) fn install(job: &mut Job<'_>) -> Verdict {
    let mut packages = missing_packages();
    packages.extend(node_packages(job)?);
    apt::install(job, &packages)?;
    clients(job)?;
    python_sdk(job)?;
    autobahn(job)
}

pub(crate) fn chromium() -> Option<String> {
    first_that_runs(&["/usr/bin/chromium", "chromium"], &["--version"])
}

/// The Python that has the SDK.
pub(crate) fn python(site: &Site) -> PathBuf {
    site.tools.join("python/bin/python")
}

/// The one on the path, or ours.
pub(crate) fn wstest(site: &Site) -> Option<PathBuf> {
    let ours = site.tools.join("autobahn/bin/wstest");
    [PathBuf::from("wstest"), ours].into_iter().find(|program| runs(program, &["--help"]))
}

/// cargo-fuzz, of a version of its own. Only the stage that needs it asks for it.
pub(crate) fn cargo_fuzz(job: &mut Job<'_>) -> Verdict {
    let folder = cargo_fuzz_folder(job.site);
    let program = folder.join("bin/cargo-fuzz");
    if runs(&program, &["--version"]) && version_of(&program).ends_with(CARGO_FUZZ) {
        job.note("cargo-fuzz: all there");
        return Ok(());
    }
    let arguments =
        ["install", "cargo-fuzz", "--locked", "--force", "--version", CARGO_FUZZ, "--root"];
    let mut cargo = job.site.cargo(&arguments);
    cargo.arg(&folder);
    job.must(cargo, LIMIT).map(|_| ())
}

fn version_of(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

pub(crate) fn cargo_fuzz_folder(site: &Site) -> PathBuf {
    site.tools.join("cargo-fuzz")
}

pub(crate) fn clients_folder(site: &Site) -> PathBuf {
    site.tools.join("clients")
}

fn missing_packages() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if chromium().is_none() {
        packages.push("chromium");
    }
    // One of the Autobahn suite's packages is written in C, and Python's tools call the compiler by this name.
    if !runs("gcc", &["--version"]) {
        packages.extend(["gcc", "libc6-dev"]);
    }
    if !runs("strace", &["--version"]) {
        packages.push("strace");
    }
    if !runs("valgrind", &["--version"]) {
        packages.push("valgrind");
    }
    if first_that_runs(PYTHON3, &["-c", CAN_MAKE_ENVIRONMENTS]).is_none() {
        packages.push("python3-venv");
    }
    if !runs("wstest", &["--help"]) && python2().is_none() {
        packages.extend(["python2.7", "python2.7-dev"]);
    }
    packages
}

/// Nothing, where the Node that is there will do. Said before anything else is installed.
fn node_packages(job: &mut Job<'_>) -> Result<&'static [&'static str], Trouble> {
    let found = node();
    if found.will_do() {
        return Ok(&[]);
    }
    let candidate = apt::candidate(job, "nodejs")?;
    found.packages(candidate.as_deref()).map_err(Trouble::Failed)
}

fn node() -> node::Found {
    let version = Some(version_of(Path::new("node"))).filter(|version| !version.is_empty());
    node::Found { node: version, has_npm: runs("npm", &["--version"]) }
}

fn python2() -> Option<String> {
    first_that_runs(PYTHON2, &["-c", CAN_COMPILE])
}

fn python3() -> Result<String, Trouble> {
    let found = first_that_runs(PYTHON3, &["-c", CAN_MAKE_ENVIRONMENTS]);
    found
        .ok_or_else(|| Trouble::Failed("there is no python3 that can make environments".to_owned()))
}

fn clients(job: &mut Job<'_>) -> Verdict {
    // Another one may come first on the path than the one that apt installed.
    let found = node();
    if !found.will_do() {
        return Err(Trouble::Failed(found.lack()));
    }
    let source = job.site.root.join("tests/clients");
    let folder = clients_folder(job.site);
    let files = ["package.json", "package-lock.json", ".npmrc"];
    once(job, "JavaScript clients", &folder, &files.map(|file| source.join(file)), |job| {
        for file in files {
            fs::copy(source.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        job.must(npm, LIMIT).map(|_| ())
    })
}

fn python_sdk(job: &mut Job<'_>) -> Verdict {
    let wanted = job.site.root.join("tests/clients/requirements.txt");
    let folder = job.site.tools.join("python");
    once(job, "Python SDK", &folder, std::slice::from_ref(&wanted), |job| {
        environment(job, &folder)?;
        pip(job, &folder, &["--requirement"], Some(&wanted))
    })
}

fn autobahn(job: &mut Job<'_>) -> Verdict {
    if runs("wstest", &["--help"]) {
        job.note("Autobahn: wstest is on the path");
        return Ok(());
    }
    let Some(python2) = python2() else {
        job.note("!! Autobahn: there is no Python 2.7 with headers, so no wstest");
        return Ok(());
    };
    let wanted = job.site.root.join("tests/conformance/requirements.txt");
    let folder = job.site.tools.join("autobahn");
    once(job, "Autobahn", &folder, std::slice::from_ref(&wanted), |job| {
        let maker = job.site.tools.join("virtualenv");
        environment(job, &maker)?;
        pip(job, &maker, &[VIRTUALENV], None)?;
        let mut virtualenv = Command::new(maker.join("bin/virtualenv"));
        virtualenv.args(["--python", &python2]).arg(&folder);
        job.must(virtualenv, LIMIT)?;
        pip(job, &folder, &["--requirement"], Some(&wanted))
    })
}

/// Does it unless the folder's stamp says that the same was done before. A run that was cut short leaves no stamp.
fn once(
    job: &mut Job<'_>,
    what: &str,
    folder: &Path,
    inputs: &[PathBuf],
    install: impl FnOnce(&mut Job<'_>) -> Verdict,
) -> Verdict {
    let stamp = folder.join("stamp");
    let texts: Result<Vec<String>, _> = inputs.iter().map(fs::read_to_string).collect();
    // Environments hold absolute paths: a folder that was moved is not the same.
    let wanted = format!("{}\n{}", folder.display(), texts?.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        job.note(&format!("{what}: all there"));
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    install(job)?;
    Ok(fs::write(stamp, wanted)?)
}

fn environment(job: &mut Job<'_>, folder: &Path) -> Verdict {
    let mut venv = Command::new(python3()?);
    venv.args(["-m", "venv"]).arg(folder);
    job.must(venv, LIMIT).map(|_| ())
}

fn pip(job: &mut Job<'_>, folder: &Path, arguments: &[&str], file: Option<&Path>) -> Verdict {
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet"]).args(arguments).args(file);
    job.must(pip, LIMIT).map(|_| ())
}

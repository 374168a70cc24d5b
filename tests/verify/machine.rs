//! The machine we are on: where things lie, what is installed, what time it is, and the terminal.
//!
//! The only file of the runner that reads the environment, the clock, or prints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What cargo sets for the programs that it runs, by how the names begin.
const OWN_VARIABLES: &[&str] =
    &["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "LD_LIBRARY_PATH", "OUT_DIR"];

/// Where everything lies, and how strict to be.
pub(crate) struct Site {
    /// The package.
    pub(crate) root: PathBuf,
    /// Cargo's build folder.
    pub(crate) target: PathBuf,
    /// What `install` installs, apt packages apart.
    pub(crate) tools: PathBuf,
    /// What a run leaves to be looked at.
    pub(crate) artefacts: PathBuf,
    /// Whether a skip is a failure.
    pub(crate) ci: bool,
}

impl Site {
    pub(crate) fn survey() -> io::Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        // This program is `TARGET/debug/deps/verify-…`.
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(3).map(Path::to_path_buf);
        let target =
            target.ok_or_else(|| io::Error::other("the runner is not in a build folder"))?;
        let site = Self {
            tools: target.join("verify"),
            artefacts: root.join("artefacts"),
            ci: variable("CI").is_some_and(|value| !value.is_empty() && value != "false"),
            root,
            target,
        };
        fs::create_dir_all(&site.tools)?;
        fs::create_dir_all(site.artefacts.join("logs"))?;
        Ok(site)
    }

    pub(crate) fn log(&self, stage: &str) -> PathBuf {
        self.artefacts.join("logs").join(format!("{stage}.log"))
    }

    /// A command that runs in the package's root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs us, without what it told us about our own package: some build scripts watch these
    /// variables, and everything would be compiled twice, once for us and once for who calls cargo by hand.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(variable("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).env("CARGO_TERM_COLOR", "never");
        for (name, _) in std::env::vars_os() {
            if OWN_VARIABLES.iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes())) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// How long each fuzz target runs.
pub(crate) fn fuzz_seconds() -> u64 {
    variable("STENTOR_FUZZ_SECONDS").and_then(|seconds| seconds.parse().ok()).unwrap_or(5)
}

/// Where programs are looked for.
pub(crate) fn path() -> Vec<PathBuf> {
    std::env::split_paths(&variable("PATH").unwrap_or_default()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runner is told by its environment whether this is CI, and how long to fuzz"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "stages are timed and bounded by the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "the runner is a command; this is its terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Whether a program exists and ends with success. A name on the path may be a shim without a program behind it, so
/// nothing less than running it tells.
pub(crate) fn runs(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The first of these programs that runs.
pub(crate) fn first_that_runs(programs: &[&str], arguments: &[&str]) -> Option<String> {
    programs.iter().find(|program| runs(program, arguments)).map(|program| (*program).to_owned())
}

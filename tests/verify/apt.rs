//! What only the system's package manager can install: a browser, a compiler, tracers, Node, and Python 2.7 for the Autobahn
//! test suite.
//!
//! Debian 12 has no Python 2.7; Debian 11 has. So Debian 11 becomes a second source, from the mirror that the machine
//! uses already, pinned so low that nothing else ever comes from it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::machine::runs;
use crate::stage::{Job, Trouble, Verdict};

const LIMIT: Duration = Duration::from_secs(10 * 60);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const SOURCE: &str = "/etc/apt/sources.list.d/stentor-bullseye.sources";
const PIN: &str = "/etc/apt/preferences.d/stentor-bullseye";
/// Below 100, what is installed wins: nothing is taken from here unless no other source has it.
const PIN_TEXT: &str = "Package: *\nPin: release n=bullseye\nPin-Priority: 50\n";

/// Installs these packages, or notes why it cannot; what needs them then says that it misses them.
pub(crate) fn install(job: &mut Job<'_>, packages: &[&str]) -> Verdict {
    if packages.is_empty() {
        job.note("apt: all there");
        return Ok(());
    }
    let wanted = packages.join(" ");
    if !runs("apt-get", &["--version"]) {
        job.note(&format!("!! this machine has no apt-get; install by hand: {wanted}"));
        return Ok(());
    }
    let Some(root) = Root::find() else {
        job.note(&format!(
            "!! neither root nor sudo without a password; install by hand: {wanted}"
        ));
        return Ok(());
    };
    job.must(root.apt(&["update"]), LIMIT)?;
    if packages.iter().any(|package| package.starts_with("python2.7"))
        && policy(job, "python2.7")?.is_none()
    {
        add_bullseye(job, &root)?;
        job.must(root.apt(&["update"]), LIMIT)?;
    }
    job.must(
        root.apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat()),
        LIMIT,
    )?;
    Ok(())
}

/// The right to install.
enum Root {
    Already,
    Sudo,
}

impl Root {
    fn find() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Some(Self::Already);
        }
        runs("sudo", &["-n", "true"]).then_some(Self::Sudo)
    }

    fn command(&self, program: &str) -> Command {
        match self {
            Self::Already => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", program]);
                command
            }
        }
    }

    /// `env`, because sudo forgets the environment.
    fn apt(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(arguments);
        command
    }
}

/// The version of a package that would be installed, by what is to be had today. `None`: none, or apt cannot be used here.
pub(crate) fn candidate(job: &mut Job<'_>, package: &str) -> Result<Option<String>, Trouble> {
    if !runs("apt-get", &["--version"]) {
        return Ok(None);
    }
    let Some(root) = Root::find() else { return Ok(None) };
    job.must(root.apt(&["update"]), LIMIT)?;
    policy(job, package)
}

fn policy(job: &mut Job<'_>, package: &str) -> Result<Option<String>, Trouble> {
    let mut policy = Command::new("apt-cache");
    policy.args(["policy", package]).env("LC_ALL", "C");
    let text = job.must(policy, LIMIT)?.text;
    let candidate = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(candidate.filter(|version| *version != "(none)").map(str::to_owned))
}

fn add_bullseye(job: &mut Job<'_>, root: &Root) -> Verdict {
    let mirror = mirror(job)?;
    let source = format!(
        "Types: deb\nURIs: {mirror}\nSuites: bullseye\nComponents: main\nSigned-By: {KEYRING}\n"
    );
    for (path, text) in [(SOURCE, source.as_str()), (PIN, PIN_TEXT)] {
        let draft = job.site.tools.join("apt-draft");
        fs::write(&draft, text)?;
        let mut copy = root.command("install");
        copy.args(["-m", "644"]).arg(&draft).arg(path);
        job.must(copy, LIMIT)?;
    }
    Ok(())
}

/// Where this machine gets its own release of Debian from.
fn mirror(job: &mut Job<'_>) -> Result<String, Trouble> {
    let release = fs::read_to_string("/etc/os-release")?;
    let codename =
        release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("");
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(CODENAME) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let text = job.must(targets, LIMIT)?.text;
    let own = format!("{codename} main ");
    let found = text.lines().find_map(|line| line.strip_prefix(&own));
    found.map(|uri| uri.trim_matches(['\'', '"']).to_owned()).ok_or_else(|| {
        Trouble::Failed(format!(
            "apt knows no source for `{codename} main`, so none for Debian 11 either"
        ))
    })
}

//! Whether the machine's Node will do for the clients' tests, and whether the system's would. Knows no machine: what is there it
//! is told, so `tests/runner.rs` can test it.

/// The first with all that the tests are written in: `toSorted`, for one.
const LEAST: u32 = 20;
/// What has Node and npm in Debian.
const PACKAGES: &[&str] = &["nodejs", "npm"];

/// What is on the path.
pub(crate) struct Found {
    /// What `node --version` prints, if there is a Node.
    pub(crate) node: Option<String>,
    pub(crate) has_npm: bool,
}

impl Found {
    pub(crate) fn will_do(&self) -> bool {
        self.has_npm && is_enough(self.node.as_deref())
    }

    /// What apt must install where this will not do and `candidate` is the version that it has, or why that is no help.
    pub(crate) fn packages(
        &self,
        candidate: Option<&str>,
    ) -> Result<&'static [&'static str], String> {
        if is_enough(candidate) {
            return Ok(PACKAGES);
        }
        let candidate = candidate.unwrap_or("not to be had");
        Err(format!("{}, and apt's nodejs is {candidate}: install Node by hand", self.lack()))
    }

    /// What was found and what is needed.
    pub(crate) fn lack(&self) -> String {
        let node = self.node.as_deref().unwrap_or("none");
        let npm = if self.has_npm { "with" } else { "without" };
        format!("the clients' tests need Node {LEAST} or later with npm; found {node} {npm} npm")
    }
}

/// `v20.11.0` says Node, `18.20.4+dfsg-1~deb12u1` says apt, now and then with an epoch before it.
fn is_enough(version: Option<&str>) -> bool {
    let number = version.and_then(|version| version.rsplit(':').next()?.split('.').next());
    let number = number.and_then(|number| number.trim_start_matches('v').parse::<u32>().ok());
    number.is_some_and(|number| number >= LEAST)
}

//! One stage: what it is, what it may do while it runs, and what came of it.

use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::machine::{Site, say};
use crate::process::{self, Ended, Running};
use crate::tally::Tally;

/// How much of a failed stage's output is shown; all of it is in the log.
const TAIL_LINES: usize = 60;

/// A part of the run that passes or fails by itself.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Stages without which this one cannot run.
    pub(crate) needs: &'static [&'static str],
    /// The stage before it in the list, if both run at the same time. Neither may need the other.
    pub(crate) beside: Option<&'static str>,
    pub(crate) run: fn(&mut Job<'_>) -> Verdict,
}

impl Stage {
    pub(crate) const fn new(
        name: &'static str,
        about: &'static str,
        needs: &'static [&'static str],
        run: fn(&mut Job<'_>) -> Verdict,
    ) -> Self {
        Self { name, about, needs, beside: None, run }
    }

    pub(crate) const fn beside(self, other: &'static str) -> Self {
        Self { beside: Some(other), ..self }
    }

    /// `autobahn` asks for `autobahn-1` and `autobahn-4`.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

pub(crate) type Verdict = Result<(), Trouble>;

/// Why a stage did not pass.
pub(crate) enum Trouble {
    Failed(String),
    Interrupted,
    /// This machine cannot run it.
    Skipped(String),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A stage that has run, or could not.
pub(crate) struct Outcome {
    pub(crate) stage: &'static Stage,
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
}

impl Outcome {
    /// What is added to the sum. A stage that fails without a failed test (it did not compile, it ran out of time)
    /// counts as one failure.
    fn counted(&self, site: &Site) -> Tally {
        let mut tally = self.tally;
        match &self.verdict {
            Ok(()) => {}
            Err(Trouble::Skipped(_)) if !site.ci => tally.skipped = tally.skipped.max(1),
            Err(_) => tally.failed = tally.failed.max(1),
        }
        if site.ci {
            tally.failed += std::mem::take(&mut tally.skipped);
        }
        tally
    }

    /// One word for the table.
    fn word(&self) -> &'static str {
        match &self.verdict {
            Ok(()) => "passed",
            Err(Trouble::Failed(_)) => "FAILED",
            Err(Trouble::Interrupted) => "INTERRUPTED",
            Err(Trouble::Skipped(_)) => "SKIPPED",
        }
    }

    pub(crate) fn announce(&self, site: &Site, tail: &str) {
        if let Err(Trouble::Failed(why)) = &self.verdict {
            say(&format!("{tail}\n   why: {why}\n   log: {}", site.log(self.stage.name).display()));
        }
        if let Err(Trouble::Skipped(why)) = &self.verdict {
            say(&format!("   !! SKIPPED {}: {why}", self.stage.name));
        }
        if self.tally.skipped > 0 {
            say(&format!(
                "   !! SKIPPED {} tests of {}; the log names them",
                self.tally.skipped, self.stage.name
            ));
        }
        let (name, seconds) = (self.stage.name, self.took.as_secs_f64());
        say(&format!("   {name} {} in {seconds:.1} s, {}", self.word(), self.tally));
    }
}

/// Prints the table and the sum; the exit status is the sum's. (A stage of tests that ran none has failed by itself.)
pub(crate) fn conclude(site: &Site, outcomes: &[Outcome]) -> ExitCode {
    say("\nstage               time  result");
    let mut sum = Tally::default();
    for outcome in outcomes {
        sum += outcome.counted(site);
        let seconds = outcome.took.as_secs_f64();
        say(&format!(
            "{:<15} {seconds:>6.1} s  {}, {}",
            outcome.stage.name,
            outcome.word(),
            outcome.tally
        ));
    }
    say(&format!("\n{sum}"));
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A stage under way: the commands it runs, what they printed, the tests they counted.
pub(crate) struct Job<'a> {
    pub(crate) site: &'a Site,
    pub(crate) tally: Tally,
    name: &'static str,
    text: String,
}

impl<'a> Job<'a> {
    pub(crate) fn new(site: &'a Site, name: &'static str) -> Self {
        Self { site, tally: Tally::default(), name, text: String::new() }
    }

    /// Runs a command to its end, whatever that is.
    pub(crate) fn attempt(&mut self, command: Command, limit: Duration) -> Result<Ended, Trouble> {
        let line = process::line_of(&command, &self.site.root);
        say(&format!("   $ {line}"));
        self.text.push_str(&format!("$ {line}\n"));
        let ended = Running::start(command)?.finish(limit)?;
        self.text.push_str(&ended.text);
        if process::is_interrupted() {
            return Err(Trouble::Interrupted);
        }
        if ended.timed_out {
            self.text.push_str(&format!("ended after {} s, its limit\n", limit.as_secs()));
        }
        Ok(ended)
    }

    /// Runs a command that must succeed.
    pub(crate) fn must(&mut self, command: Command, limit: Duration) -> Result<Ended, Trouble> {
        let line = process::line_of(&command, &self.site.root);
        let ended = self.attempt(command, limit)?;
        if ended.success {
            Ok(ended)
        } else {
            Err(Trouble::Failed(format!("{}: `{line}`", ended.how())))
        }
    }

    /// Tells something on the terminal and in the log.
    pub(crate) fn note(&mut self, line: &str) {
        say(&format!("   {line}"));
        self.text.push_str(&format!("{line}\n"));
    }

    /// Tells something in the log alone.
    pub(crate) fn keep(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Keeps what the stage printed.
    pub(crate) fn write_log(&self) -> std::io::Result<()> {
        std::fs::write(self.site.log(self.name), &self.text)
    }

    /// The end of what the stage printed.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let kept = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        kept.iter().map(|line| format!("   │ {line}")).collect::<Vec<_>>().join("\n")
    }
}

//! What a program says of itself, for the record: asked in a process of its own, which may not take long.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::clock::{Clock, nanos};
use super::stage::pause;

/// Who takes longer does not answer, but has begun to serve.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Of each of its outputs no more is read.
const MOST_BYTES: usize = 64 * 1024;

/// The name and version of a program, as it answers `--version`, and the commit if it was built together with this one.
pub(crate) fn of_program(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let said = said(command).filter(|said| !said.is_empty())?;
    let name = program.file_name()?.to_string_lossy();
    let named = if said.contains(&*name) { said } else { format!("{name} {said}") };
    Some(if is_own(program) { named + &commit() } else { named })
}

/// Whether cargo has just built it, as it builds the command before it runs a benchmark.
fn is_own(program: &Path) -> bool {
    let own = fs::canonicalize(env!("CARGO_BIN_EXE_stentor"));
    matches!((fs::canonicalize(program), own), (Ok(program), Ok(own)) if program == own)
}

/// `, commit 0123abc`, and `-dirty` behind it if the working tree is not what was committed; nothing where there is no such tree.
pub(crate) fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    said(git).map(|commit| format!(", commit {commit}")).unwrap_or_default()
}

/// The first line that a command prints, if it ends well and soon.
pub(crate) fn said(command: Command) -> Option<String> {
    said_within(command, PATIENCE)
}

/// The same with another patience. Who is not done by then is ended.
pub(crate) fn said_within(mut command: Command, patience: Duration) -> Option<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut text = Vec::new();
    let ended = listen(&mut child, patience, &mut text);
    // It may have ended by itself; then there is nobody to end.
    let _ = child.kill();
    let _ = child.wait();
    let text = String::from_utf8_lossy(&text);
    ended.ok()??.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Hears a child until it ends; `None` if it does not. Its own children may hold the pipes open for longer, so nothing waits for
/// the end of these.
fn listen(
    child: &mut Child,
    patience: Duration,
    text: &mut Vec<u8>,
) -> io::Result<Option<ExitStatus>> {
    let (mut out, mut errors) = (child.stdout.take(), child.stderr.take());
    if let (Some(out), Some(errors)) = (&out, &errors) {
        rustix::io::ioctl_fionbio(out, true)?;
        rustix::io::ioctl_fionbio(errors, true)?;
    }
    let mut complaints = Vec::new();
    let clock = Clock::start();
    let mut status = None;
    while status.is_none() && clock.now() < nanos(patience) {
        pause(clock, LOOK_EVERY);
        status = child.try_wait()?;
        read_some(&mut out, text);
        read_some(&mut errors, &mut complaints);
    }
    // nginx tells its version on standard error.
    text.append(&mut complaints);
    Ok(status)
}

/// Reads what is there, up to the limit.
fn read_some(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) {
    if let Some(pipe) = pipe {
        // That there is no more at the moment is an error, too, and what was read before it is kept.
        let _ = pipe.take((MOST_BYTES - into.len()) as u64).read_to_end(into);
    }
}

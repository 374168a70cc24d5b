//! A child process in a process group of its own, bounded in time, its output gathered.
//!
//! ```text
//!   child ── stdout, stderr ──▶ one pipe ──▶ reader thread ──┐
//!     └──── its end ──────────▶ waiter thread ──────────────┴─▶ one queue of `News` ─▶ whoever waits, with a deadline
//! ```
//!
//! When it ends, in time or not, its whole group is ended: what a test left running does not outlive its stage.

use std::io::{self, BufRead, BufReader, PipeReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::machine::now;

/// How long a group has between the polite signal and the other one.
const GRACE: Duration = Duration::from_secs(5);
/// How long output may lag behind the end of the process.
const DRAIN: Duration = Duration::from_secs(2);
/// How often we look whether someone pressed Ctrl-C.
const TICK: Duration = Duration::from_millis(250);

/// Our children have groups of their own, so Ctrl-C reaches us alone and we end them.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .expect("these two signals may be caught");
    }
    flag
});

pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A command as one would type it in the folder `root`.
pub(crate) fn line_of(command: &Command, root: &Path) -> String {
    let program = Path::new(command.get_program());
    let short = if program.starts_with(root) {
        program.strip_prefix(root).ok()
    } else {
        program.file_name().map(Path::new)
    };
    let words = std::iter::once(short.unwrap_or(program).as_os_str()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    line.replace(&format!("{}/", root.display()), "")
}

enum News {
    Line(String),
    Exited,
}

/// How a process ended, and all it printed.
pub(crate) struct Ended {
    pub(crate) text: String,
    pub(crate) success: bool,
    pub(crate) timed_out: bool,
    status: ExitStatus,
}

impl Ended {
    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        match (self.timed_out, self.status.code(), self.status.signal()) {
            (true, _, _) => "out of time".to_owned(),
            (false, Some(code), _) => format!("exit status {code}"),
            (false, None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
        }
    }
}

/// A process under way. Dropped, it is ended.
pub(crate) struct Running {
    child: Child,
    group: Pid,
    news: Receiver<News>,
    text: String,
    exited: bool,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        LazyLock::force(&INTERRUPTED);
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot run {}: {error}", command.get_program().display()),
            )
        })?;
        // It holds our copies of the pipe's writing end; the reader would never see the end.
        drop(command);
        let group = Pid::from_child(&child);
        let (sender, news) = mpsc::channel();
        let lines = sender.clone();
        thread::spawn(move || read_lines(reader, &lines));
        thread::spawn(move || wait(group, &sender));
        Ok(Self { child, group, news, text: String::new(), exited: false })
    }

    /// Waits for a line that begins like this and returns the rest of it.
    pub(crate) fn wait_for(&mut self, beginning: &str, limit: Duration) -> Option<String> {
        let deadline = now() + limit;
        while !self.exited {
            let news = self.next(deadline)?;
            let found = match &news {
                News::Line(line) => line.strip_prefix(beginning).map(|rest| rest.trim().to_owned()),
                News::Exited => None,
            };
            self.note(news);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Waits until somebody listens there, or the process has ended.
    pub(crate) fn wait_for_listener(&mut self, address: SocketAddr, limit: Duration) -> bool {
        let deadline = now() + limit;
        while !self.exited && now() < deadline && !is_interrupted() {
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            self.listen_for(TICK, true);
        }
        false
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_alive(&mut self) -> bool {
        while let Ok(news) = self.news.try_recv() {
            self.note(news);
        }
        !self.exited
    }

    /// Waits for its end, and ends it when the time is up.
    pub(crate) fn finish(mut self, limit: Duration) -> io::Result<Ended> {
        let deadline = now() + limit;
        while !self.exited {
            match self.next(deadline) {
                Some(news) => self.note(news),
                None => break,
            }
        }
        let timed_out = !self.exited;
        let status = self.end()?;
        let text = std::mem::take(&mut self.text);
        Ok(Ended { text, success: status.success() && !timed_out, timed_out, status })
    }

    /// Ends it now, and says what it printed.
    pub(crate) fn stop(mut self) -> io::Result<String> {
        self.end()?;
        Ok(std::mem::take(&mut self.text))
    }

    fn note(&mut self, news: News) {
        match news {
            News::Line(line) => self.text.push_str(&line),
            News::Exited => self.exited = true,
        }
    }

    /// The next news; `None` when the time is up or someone interrupts.
    fn next(&self, deadline: Instant) -> Option<News> {
        loop {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() || is_interrupted() {
                return None;
            }
            match self.news.recv_timeout(left.min(TICK)) {
                Ok(news) => return Some(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Until `Child::wait` the group's number cannot be given to anybody else, so it is signalled before.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.exited {
            let _ = kill_process_group(self.group, Signal::TERM);
            self.listen_for(GRACE, true);
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        let status = self.child.wait()?;
        self.listen_for(DRAIN, false);
        Ok(status)
    }

    /// Takes news for a bounded time, or until the process or its output ends. Interrupts do not hurry it.
    fn listen_for(&mut self, limit: Duration, until_exit: bool) {
        let deadline = now() + limit;
        while let Ok(news) = self.news.recv_timeout(deadline.saturating_duration_since(now())) {
            self.note(news);
            if until_exit && self.exited {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end();
        }
    }
}

fn read_lines(reader: PipeReader, sender: &Sender<News>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        if sender.send(News::Line(String::from_utf8_lossy(&line).into_owned())).is_err() {
            return;
        }
        line.clear();
    }
}

/// Leaves the dead process to `Child::wait`: as long as that has not been called, its number is its own.
fn wait(process: Pid, sender: &Sender<News>) {
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
    let _ = sender.send(News::Exited);
}

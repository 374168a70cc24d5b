//! The server under test: running already and known by its process id, or started here, waited for, and ended.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::clock::{Clock, nanos};
use super::machine;
use super::process::{self, Sample};
use super::sockets;
use super::stage::pause;

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// A server may find out late that a silent client has gone.
const LET_GO_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The process we measure; `pid: None` if we do not know it, and then measure nothing of it.
pub(crate) struct Server {
    pid: Option<u32>,
    address: SocketAddr,
    /// Ours to end.
    child: Option<Child>,
    clock: Clock,
}

impl Server {
    /// One that runs already.
    pub(crate) fn running(
        pid: Option<u32>,
        cores: Option<&[usize]>,
        address: SocketAddr,
        clock: Clock,
    ) -> io::Result<Self> {
        match (pid, cores) {
            (Some(pid), Some(cores)) => machine::pin_process(pid, cores)?,
            (None, Some(_)) => {
                return Err(io::Error::other("--server-core needs --spawn or --pid"));
            }
            (_, None) => {}
        }
        Ok(Self { pid, address, child: None, clock })
    }

    /// Starts a command, split at blanks, and waits until the address accepts.
    pub(crate) fn spawn(
        command: &str,
        cores: Option<&[usize]>,
        address: SocketAddr,
        clock: Clock,
    ) -> io::Result<Self> {
        let mut words = command.split_whitespace();
        let program = words.next().ok_or_else(|| io::Error::other("--spawn needs a command"))?;
        let mut command = Command::new(program);
        command.args(words).stdout(Stdio::null());
        Self::start(command, cores, address, clock)
    }

    /// Starts a command, without anything to read, and waits until the address accepts.
    pub(crate) fn start(
        mut command: Command,
        cores: Option<&[usize]>,
        address: SocketAddr,
        clock: Clock,
    ) -> io::Result<Self> {
        if TcpStream::connect(address).is_ok() {
            return Err(io::Error::other(format!("something listens on {address} already")));
        }
        command.stdin(Stdio::null());
        // What was linked just now is not on the disk yet, and until it is, the kernel counts its pages as written: by whoever runs
        // it. What is found by its name alone, or lies where nothing can be written, is there already.
        let _ = File::open(command.get_program()).and_then(|program| program.sync_all());
        let mut start = || command.spawn();
        let child = match cores {
            Some(cores) => machine::pinned(cores, start)?,
            None => start()?,
        };
        let mut server = Self { pid: Some(child.id()), address, child: Some(child), clock };
        server.await_start()?;
        Ok(server)
    }

    fn await_start(&mut self) -> io::Result<()> {
        let address = self.address;
        let end = self.clock.now() + nanos(START_PATIENCE);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(io::Error::other(format!("the server ended at once: {status}")));
            }
            if self.clock.now() > end {
                return Err(io::Error::other(format!(
                    "{address} does not accept after {START_PATIENCE:?}"
                )));
            }
            pause(self.clock, LOOK_EVERY);
        }
        Ok(())
    }

    /// Looks at its process; zeros if it is not known.
    pub(crate) fn sample(&self) -> io::Result<Sample> {
        let Some(pid) = self.pid else { return Ok(Sample::default()) };
        let segments = sockets::segments_sent(self.address.port()).ok();
        Ok(Sample { segments, ..process::sample(pid)? })
    }

    /// Its resident memory; 0 if it is not known.
    pub(crate) fn resident(&self) -> u64 {
        self.pid.map_or(0, process::resident)
    }

    /// Its open files; `None` if it is not known.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        self.pid.map(process::descriptors)
    }

    /// Waits until it has no more open files than that, for its clients have gone.
    pub(crate) fn await_descriptors(&self, most: Option<usize>) -> io::Result<()> {
        let end = self.clock.now() + nanos(LET_GO_PATIENCE);
        while let (Some(most), Some(open)) = (most, self.descriptors())
            && open > most
        {
            if self.clock.now() > end {
                return Err(io::Error::other(format!(
                    "{LET_GO_PATIENCE:?} after all clients were cut off the server has {open} open files, and had {most} before"
                )));
            }
            pause(self.clock, LOOK_EVERY);
        }
        Ok(())
    }

    pub(crate) fn is_known(&self) -> bool {
        self.pid().is_some()
    }

    /// `None` if it is not known.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }
}

/// Ends what was started here: first by asking.
impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself; then there is nobody to ask.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let end = self.clock.now() + nanos(STOP_PATIENCE);
        while self.clock.now() < end {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            pause(self.clock, LOOK_EVERY);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

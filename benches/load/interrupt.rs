//! Ctrl-C and its like, caught before a run starts or changes anything that must be ended or put back. Whoever waits looks here; nobody
//! is woken.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const CAUGHT: [(c_int, &str); 3] = [(SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];

/// Which signal wants the run to end. Once this is dropped they end the process again.
pub(crate) struct Interrupt {
    /// The last one that came; 0 if none did.
    came: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Interrupt {
    /// These signals end nothing by themselves for as long as this lives. What `nohup` has the process ignore stays ignored.
    pub(crate) fn watch() -> io::Result<Self> {
        let (came, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (signal, _) in CAUGHT {
            if !is_ignored(&status, signal) {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_over))?;
                signal_hook::flag::register_usize(signal, Arc::clone(&came), number(signal))?;
            }
        }
        Ok(Self { came, is_over })
    }

    /// Its name, if one came.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        let came = self.came.load(Ordering::Relaxed);
        CAUGHT.iter().find_map(|(signal, name)| (number(*signal) == came).then_some(*name))
    }

    /// Fails once one came.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.signal() {
            Some(signal) => Err(io::Error::other(format!(
                "interrupted by {signal}; what was started is ended, and nothing more is recorded"
            ))),
            None => Ok(()),
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn number(signal: c_int) -> usize {
    usize::try_from(signal).expect("signals are counted from 1")
}

/// Reads the set in `/proc/PID/status`: the first signal is its lowest bit.
pub(crate) fn is_ignored(status: &str, signal: c_int) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    set >> (signal - 1) & 1 == 1
}

//! The machine: what it is, how many files it lets us open, and which of its processors we keep to.

use std::fs;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::process::bytes_of;

/// Descriptors that are no connections.
const OWN_DESCRIPTORS: u64 = 64;

/// Raises the soft limit of open files to the hard one; the server that we start inherits it.
pub(crate) fn raise_descriptors() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum)
}

/// Refuses more connections than there are descriptors for.
pub(crate) fn check_descriptors(limit: Option<u64>, connections: usize) -> io::Result<()> {
    match limit {
        Some(limit) if (connections as u64).saturating_add(OWN_DESCRIPTORS) > limit => {
            let most = limit.saturating_sub(OWN_DESCRIPTORS);
            Err(io::Error::other(format!(
                "{connections} connections need more open files than this process may have: at most {most} (ulimit -Hn)"
            )))
        }
        _ => Ok(()),
    }
}

/// Reads `0`, `0,2` or `0-3`.
pub(crate) fn read_cores(text: &str) -> Result<Vec<usize>, String> {
    let wrong = |_| format!("{text:?} is no list of cores such as 0, 0,2 or 0-3");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores
            .extend(first.parse::<usize>().map_err(wrong)?..=last.parse::<usize>().map_err(wrong)?);
    }
    Ok(cores)
}

fn set_of(cores: &[usize]) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("there is no core {core}")));
        }
        set.set(*core);
    }
    Ok(set)
}

/// Keeps this thread, and what it starts, to these cores.
pub(crate) fn pin_self(cores: &[usize]) -> io::Result<()> {
    Ok(sched_setaffinity(None, &set_of(cores)?)?)
}

/// Runs something with this thread kept to these cores, as a process does that is started meanwhile.
pub(crate) fn pinned<T>(cores: &[usize], run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    pin_self(cores)?;
    let result = run();
    sched_setaffinity(None, &before)?;
    result
}

/// Keeps all threads that a process has now to these cores.
pub(crate) fn pin_process(pid: u32, cores: &[usize]) -> io::Result<()> {
    let set = set_of(cores)?;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = task?.file_name();
        let task = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        sched_setaffinity(task, &set)?;
    }
    Ok(())
}

/// `AMD EPYC, 2 cores, 24 GB, Linux 6.1.0`.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = bytes_of(&meminfo, "MemTotal:") / 1_000_000_000;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, {gigabytes} GB, Linux {}", kernel.trim())
}

/// How many processes wanted a core in the last minute, on average: others than ours are noise.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

//! What the server costs, as the kernel accounts for it: processor time and memory of its process and of the
//! processes it started, and what the kernel holds for all sockets of the machine.

use std::fs;
use std::io;
use std::ops::Sub;

/// Clock ticks per second in `/proc`; on Linux 100, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// `/proc/net/sockstat` counts in pages.
const PAGE_BYTES: u64 = 4096;

/// Processor time, in seconds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// Memory, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in full.
    pub(crate) resident: u64,
    /// Resident, shared pages counted by share.
    pub(crate) proportional: u64,
    /// Pages that nobody shares: what would come free.
    pub(crate) private: u64,
    /// What the kernel holds for all sockets of this machine, ours at the other end too: slab, and TCP's buffers.
    pub(crate) kernel: u64,
}

/// One look at the server.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
}

/// Looks at a process and its descendants.
pub(crate) fn sample(pid: u32) -> io::Result<Sample> {
    let mut sample = Sample::default();
    for pid in family(pid) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let cpu =
            cpu_of(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {stat}")))?;
        sample.cpu.user += cpu.user;
        sample.cpu.system += cpu.system;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        sample.memory.resident += bytes_of(&rollup, "Rss:");
        sample.memory.proportional += bytes_of(&rollup, "Pss:");
        sample.memory.private +=
            bytes_of(&rollup, "Private_Clean:") + bytes_of(&rollup, "Private_Dirty:");
    }
    sample.memory.kernel = kernel_bytes(
        &fs::read_to_string("/proc/meminfo")?,
        &fs::read_to_string("/proc/net/sockstat").unwrap_or_default(),
    );
    Ok(sample)
}

/// The process, its children, and theirs.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut asked = 0;
    while let Some(pid) = family.get(asked).copied() {
        asked += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family
                .extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    family
}

/// Reads `/proc/PID/stat`. The second field is a name in parentheses that may hold anything; count after it.
pub(crate) fn cpu_of(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(Cpu { user: user / TICKS_PER_SECOND, system: system / TICKS_PER_SECOND })
}

/// Reads a line `Name:  123 kB`; 0 if there is none.
pub(crate) fn bytes_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

pub(crate) fn kernel_bytes(meminfo: &str, sockstat: &str) -> u64 {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"));
    let pages = tcp
        .and_then(|line| line.split_once("mem ")?.1.split_whitespace().next()?.parse::<u64>().ok());
    bytes_of(meminfo, "SUnreclaim:") + pages.unwrap_or(0) * PAGE_BYTES
}

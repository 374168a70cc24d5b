//! What the server costs, as the kernel accounts for it: processor time, waits and memory of its process and of the
//! processes it started, and what the kernel holds for all sockets of the machine.

use std::fs;
use std::io;
use std::ops::{AddAssign, Sub};

use super::clock::{Nanos, seconds};

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

impl AddAssign for Cpu {
    fn add_assign(&mut self, more: Self) {
        self.user += more.user;
        self.system += more.system;
    }
}

/// Memory, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in full.
    pub(crate) resident: u64,
    /// Resident, shared pages counted by share.
    pub(crate) proportional: u64,
    /// Pages that nobody shares and that were written. The program's own code is not among them: whether somebody shares
    /// that turns on who else runs the same program at the moment.
    pub(crate) private: u64,
    /// What the kernel holds for all sockets of this machine, ours at the other end too: slab, and TCP's buffers. A socket's
    /// inode and name are slab that could be reclaimed, in the kernel's words, though not while the socket lives. Not counted is what
    /// those leave who look into `/proc`.
    pub(crate) kernel: u64,
}

impl Memory {
    /// What one end of the connections takes: all of the process, and half of what the kernel holds for both ends.
    pub(crate) fn one_end(&self) -> u64 {
        self.private + self.kernel / 2
    }
}

/// One look at the server, and at ourselves.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    /// How long its threads ran, to the nanosecond, where [`Cpu`] counts hundredths of a second.
    pub(crate) ran: Nanos,
    /// How often one of its threads went to sleep by itself: as often as one was woken.
    pub(crate) waits: u64,
    /// Segments with data that it sent on the connections it has now, where the kernel tells.
    pub(crate) segments: Option<u64>,
    /// How long the generator's own threads ran.
    pub(crate) generator_ran: Nanos,
}

/// What happened between two looks.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Effort {
    pub(crate) cpu: Cpu,
    pub(crate) ran: Nanos,
    pub(crate) waits: u64,
    pub(crate) segments: Option<u64>,
    pub(crate) generator_ran: Nanos,
}

impl Sub for Sample {
    type Output = Effort;

    /// Threads that ended meanwhile took their accounts with them; so nothing is less than nothing.
    fn sub(self, before: Self) -> Effort {
        Effort {
            cpu: self.cpu - before.cpu,
            ran: self.ran.saturating_sub(before.ran),
            waits: self.waits.saturating_sub(before.waits),
            segments: self
                .segments
                .zip(before.segments)
                .map(|(after, before)| after.saturating_sub(before)),
            generator_ran: self.generator_ran.saturating_sub(before.generator_ran),
        }
    }
}

impl Effort {
    /// Processor time in seconds, as exactly as it is known: threads that ended have taken the fine account with them, and of
    /// these the coarse one tells, user and system each rounded down by a tick at most.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        seconds(self.ran).max(self.cpu.total() - 2.0 / TICKS_PER_SECOND)
    }
}

impl AddAssign for Effort {
    fn add_assign(&mut self, more: Self) {
        self.cpu += more.cpu;
        self.ran += more.ran;
        self.waits += more.waits;
        self.segments = self.segments.or(Some(0)).zip(more.segments).map(|(sum, one)| sum + one);
        self.generator_ran += more.generator_ran;
    }
}

/// Looks at a process and its descendants.
pub(crate) fn sample(root: u32) -> io::Result<Sample> {
    let mut sample = Sample::default();
    for pid in family(root) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        // A child may have ended since it was listed.
        let (stat, rollup) = match (read("stat"), read("smaps_rollup")) {
            (Err(_), _) | (_, Err(_)) if pid != root => continue,
            (stat, rollup) => (stat?, rollup?),
        };
        let cpu =
            cpu_of(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: {stat}")))?;
        sample.cpu.user += cpu.user;
        sample.cpu.system += cpu.system;
        sample.memory.resident += bytes_of(&rollup, "Rss:");
        sample.memory.proportional += bytes_of(&rollup, "Pss:");
        sample.memory.private += bytes_of(&rollup, "Private_Dirty:");
        let (ran, waits) = threads_of(pid);
        sample.ran += ran;
        sample.waits += waits;
    }
    let whole = kernel_bytes(
        &fs::read_to_string("/proc/meminfo")?,
        &fs::read_to_string("/proc/net/sockstat").unwrap_or_default(),
    );
    // Where slab's own account may not be read, the looks of others are counted.
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    sample.memory.kernel = whole.saturating_sub(onlookers_bytes(&slabs));
    sample.generator_ran = threads_of(std::process::id()).0;
    Ok(sample)
}

/// How long the threads that a process has now ran, and how often they went to sleep by themselves.
fn threads_of(pid: u32) -> (Nanos, u64) {
    let (mut ran, mut waits) = (0, 0);
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        // A thread that has just ended has no account any more.
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        ran += first_number(&read("schedstat"));
        let status = read("status");
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits += first_number(count.unwrap_or_default());
    }
    (ran, waits)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The resident memory of a process and its descendants: cheap enough to look at many times a second.
pub(crate) fn resident(pid: u32) -> u64 {
    let pages = |pid| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0)
    };
    family(pid).into_iter().map(pages).sum::<u64>() * PAGE_BYTES
}

/// What TCP holds in its buffers, on the whole machine.
pub(crate) fn buffered() -> u64 {
    kernel_bytes("", &fs::read_to_string("/proc/net/sockstat").unwrap_or_default())
}

/// How often a listener's queue was full when a client came, on the whole machine since it started.
pub(crate) fn listen_overflows() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let value = both.find_map(|(name, value)| (name == "ListenOverflows").then_some(value));
    first_number(value.unwrap_or_default())
}

/// Open files of a process and its descendants. Threads may have tables of their own; of each process the fullest counts.
pub(crate) fn descriptors(pid: u32) -> usize {
    let count =
        |task: fs::DirEntry| fs::read_dir(task.path().join("fd")).map_or(0, Iterator::count);
    let tasks = |pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    family(pid).into_iter().map(|pid| tasks(pid).map(count).max().unwrap_or(0)).sum()
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
    bytes_of(meminfo, "Slab:") + pages.unwrap_or(0) * PAGE_BYTES
}

/// Reads `/proc/slabinfo`: what the names in `/proc` take, each an inode, a dentry and, where there is one, a note of the security
/// module. Whoever lists `/proc/PID/fd`, as monitors do, leaves one for each open file, nearly a kilobyte, and only of
/// processes that have one table of files; a server is not to be charged for it.
pub(crate) fn onlookers_bytes(slabs: &str) -> u64 {
    // The name, objects in use, objects, their size, how many to a slab, and its pages.
    let row = |name: &str| -> Option<(u64, u64)> {
        let line = slabs.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        let mut numbers = line.split_whitespace().skip(1).map_while(|it| it.parse::<u64>().ok());
        let in_use = numbers.next()?;
        let (each, pages) = (numbers.nth(2)?, numbers.next()?);
        Some((in_use, (pages * PAGE_BYTES).checked_div(each)?))
    };
    let bytes = |name| row(name).map_or(0, |(_, bytes)| bytes);
    let (names, inode) = row("proc_inode_cache").unwrap_or_default();
    names * (inode + bytes("dentry") + bytes("lsm_inode_cache"))
}

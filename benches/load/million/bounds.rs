//! What this machine bears, and the kernel's limits that stand in the way: raised where that is allowed, and put back afterwards.

use std::fmt::Write as _;
use std::fs;
use std::io;

use super::super::process::bytes_of;
use super::super::report::{grouped, tell};

/// Descriptors of a table that are no connections, on our side.
const OWN_DESCRIPTORS: usize = 64;
/// What the kernel keeps for both ends of an idle connection (8.6 KB were measured), and we and the server beside it.
const CONNECTION_BYTES: u64 = 10 * 1024;
/// Left to the rest of the machine.
const SPARE_BYTES: u64 = 1024 * 1024 * 1024;
/// Files, and tracked connections, of others.
const SPARE_FILES: u64 = 16 * 1024;
/// Connections that the fullest of the server's cores may have for each 100 that one has on average: the kernel spreads them by a hash.
const UNEVEN_PERCENT: usize = 115;

/// Where the kernel keeps a limit, and why it matters here.
struct Sysctl {
    path: &'static str,
    /// For each connection it needs so many.
    each: u64,
}

const SYSCTLS: &[Sysctl] = &[
    Sysctl { path: "/proc/sys/fs/file-max", each: 2 },
    // There only if the machine tracks connections.
    Sysctl { path: "/proc/sys/net/netfilter/nf_conntrack_max", each: 1 },
];

/// The kernel's limits that were raised. Put back when this is dropped.
#[derive(Default)]
pub(crate) struct Raised {
    before: Vec<(&'static str, String)>,
}

impl Raised {
    /// Raises what so many connections need; gives as many as there is room for.
    pub(crate) fn for_connections(&mut self, wanted: usize) -> (usize, Vec<String>) {
        let (mut count, mut remarks) = (wanted, Vec::new());
        for Sysctl { path, each } in SYSCTLS {
            let Some(now) = read(path) else { continue };
            let needed = wanted as u64 * each + SPARE_FILES;
            if now >= needed {
                continue;
            }
            let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
            match fs::write(path, needed.to_string()) {
                Ok(()) => {
                    self.before.push((path, now.to_string()));
                    remarks.push(format!("{name} was raised from {now} to {needed} for the run."));
                }
                Err(error) => {
                    count = count.min(
                        usize::try_from(now.saturating_sub(SPARE_FILES) / each)
                            .unwrap_or(usize::MAX),
                    );
                    remarks.push(format!("{name} is {now} and cannot be raised ({error})."));
                }
            }
        }
        (count, remarks)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            if let Err(error) = fs::write(path, before) {
                tell(&format!("{path} could not be set back to {before}: {error}"));
            }
        }
    }
}

fn read(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// As many connections as the memory has room for.
pub(crate) fn by_memory(wanted: usize) -> usize {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match bytes_of(&meminfo, "MemAvailable:") {
        // A system that does not say is not kept from trying.
        0 => wanted,
        bytes => wanted.min(
            usize::try_from(bytes.saturating_sub(SPARE_BYTES) / CONNECTION_BYTES).unwrap_or(wanted),
        ),
    }
}

/// So many threads of the generator, and so many cores of the server, have descriptors enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tables {
    pub(crate) threads: usize,
    pub(crate) cores: usize,
}

/// The most cores that the server takes, and ports that an address has here.
const MOST_CORES: usize = 256;
pub(crate) const PORTS: std::ops::Range<u16> = 10_000..32_000;

pub(crate) fn tables(connections: usize, limit: Option<u64>, cpus: usize) -> io::Result<Tables> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let each = limit.saturating_sub(OWN_DESCRIPTORS).min(PORTS.len() - 1000);
    let threads = connections.div_ceil(each.max(1)).max(cpus);
    // Each core has a poller, a waker, a listener and a duplicate in every table.
    let fits = |cores: &usize| {
        let own = OWN_DESCRIPTORS + 4 * cores;
        connections * UNEVEN_PERCENT / 100 / cores + own < limit
    };
    let cores = (cpus..=MOST_CORES).find(fits).filter(|_| each > 0 && threads <= MOST_CORES);
    cores.map(|cores| Tables { threads, cores }).ok_or_else(|| {
        io::Error::other(format!(
            "{connections} connections need more than {MOST_CORES} tables of {limit} open files (ulimit -Hn)"
        ))
    })
}

/// What the kernel holds, as it counts it itself, for the whole machine.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Kernel {
    pub(crate) available: u64,
    pub(crate) slab: u64,
    pub(crate) tcp_pages: u64,
    pub(crate) sockets: u64,
}

impl Kernel {
    pub(crate) fn look() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
        let after = |name: &str| {
            let mut words = tcp.split_whitespace().skip_while(|word| *word != name).skip(1);
            words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Self {
            available: bytes_of(&meminfo, "MemAvailable:"),
            slab: bytes_of(&meminfo, "Slab:"),
            tcp_pages: after("mem"),
            sockets: after("inuse"),
        }
    }
}

/// What else matters and is not changed.
pub(crate) fn surroundings(limit: Option<u64>) -> String {
    let mut text = format!(
        "Open files for each table: {}",
        limit.map_or("no limit".to_owned(), |it| grouped(it as f64))
    );
    for name in [
        "fs/nr_open",
        "net/core/somaxconn",
        "net/ipv4/ip_local_port_range",
        "net/netfilter/nf_conntrack_count",
    ] {
        if let Ok(value) = fs::read_to_string(format!("/proc/sys/{name}")) {
            let value = value.split_whitespace().collect::<Vec<_>>().join("-");
            let _ = write!(text, "; {} {value}", name.replace('/', "."));
        }
    }
    text + "."
}

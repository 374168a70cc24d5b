//! What this machine bears, and the kernel's limits that stand in the way: raised where that is allowed, and put back afterwards.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

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

/// Where the kernel shows its limits as files.
pub(crate) const SYSCTLS: &str = "/proc/sys";

/// A limit of the kernel's, and why it matters here.
struct Sysctl {
    path: &'static str,
    /// For each connection it needs so many.
    each: u64,
}

const NEEDED: &[Sysctl] = &[
    Sysctl { path: "fs/file-max", each: 2 },
    // There only if the machine tracks connections.
    Sysctl { path: "net/netfilter/nf_conntrack_max", each: 1 },
];

/// The kernel's limits that were raised. Put back when this is dropped.
pub(crate) struct Raised {
    folder: PathBuf,
    before: Vec<(&'static str, u64)>,
}

impl Raised {
    /// Nothing yet; the limits are in this folder.
    pub(crate) fn below(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), before: Vec::new() }
    }

    /// Raises what so many connections need; gives as many as there is room for.
    pub(crate) fn for_connections(&mut self, wanted: usize, remarks: &mut Vec<String>) -> usize {
        let mut count = wanted;
        for Sysctl { path, each } in NEEDED {
            let file = self.folder.join(path);
            let now = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            let Some(now): Option<u64> = now else { continue };
            let needed = wanted as u64 * each + SPARE_FILES;
            if now >= needed {
                continue;
            }
            let name = dotted(path);
            match fs::write(file, needed.to_string()) {
                Ok(()) => {
                    self.before.push((path, now));
                    remarks.push(format!("{name} was raised from {now} to {needed} for the run."));
                }
                Err(error) => {
                    let room = now.saturating_sub(SPARE_FILES) / each;
                    count = count.min(usize::try_from(room).unwrap_or(usize::MAX));
                    remarks.push(format!("{name} is {now} and cannot be raised ({error})."));
                }
            }
        }
        count
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        for (path, before) in &self.before {
            let name = dotted(path);
            match fs::write(self.folder.join(path), before.to_string()) {
                Ok(()) => tell(&format!("{name} is {before} again")),
                Err(error) => tell(&format!("{name} could not be set back to {before}: {error}")),
            }
        }
    }
}

/// As `sysctl` names it.
fn dotted(path: &str) -> String {
    path.replace('/', ".")
}

/// As many connections as the memory has room for.
pub(crate) fn by_memory(wanted: usize, remarks: &mut Vec<String>) -> usize {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = bytes_of(&meminfo, "MemAvailable:");
    let room = available.saturating_sub(SPARE_BYTES) / CONNECTION_BYTES;
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    // A system that does not say is not kept from trying.
    if available == 0 || room >= wanted {
        return wanted;
    }
    remarks.push(format!("The memory has room for {} connections.", grouped(room as f64)));
    room
}

/// So many threads of the generator, and so many cores of the server, have descriptors enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tables {
    pub(crate) threads: usize,
    pub(crate) cores: usize,
}

/// The most tables that the server takes, one for each core, and we; and the ports that an address has here.
const MOST_TABLES: usize = 256;
pub(crate) const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// As many connections as have descriptors, and the tables for them: with as many cores as that takes, or as were asked for.
pub(crate) fn tables(
    wanted: usize,
    limit: Option<u64>,
    cpus: usize,
    cores: Option<usize>,
    remarks: &mut Vec<String>,
) -> io::Result<(usize, Tables)> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let each = limit.saturating_sub(OWN_DESCRIPTORS).min(PORTS.len() - 1000);
    // Each core has a poller, a waker, a listener and a duplicate in every table.
    let bears = |cores: usize| {
        let free = limit.saturating_sub(OWN_DESCRIPTORS + 4 * cores);
        cores.saturating_mul(free).saturating_mul(100) / UNEVEN_PERCENT
    };
    let least = cores.unwrap_or(cpus.min(MOST_TABLES));
    let mut possible = least..=cores.unwrap_or(MOST_TABLES);
    let most = possible.clone().map(bears).max().unwrap_or(0).min(each * MOST_TABLES);
    let connections = wanted.min(most);
    let enough = possible.find(|cores| bears(*cores) >= connections);
    let (Some(cores), 1..) = (enough, connections) else {
        return Err(io::Error::other(format!(
            "a table of {limit} open files (ulimit -Hn) has no room for a connection: {} are needed with {least} cores of the server",
            OWN_DESCRIPTORS + 4 * least + 2
        )));
    };
    if most < wanted {
        remarks.push(format!(
            "Tables of {limit} open files (ulimit -Hn) have room for {} connections.",
            grouped(most as f64)
        ));
    }
    Ok((connections, Tables { threads: connections.div_ceil(each).max(cpus), cores }))
}

/// The TCP sockets of the whole machine.
pub(crate) fn tcp_sockets() -> u64 {
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP: inuse "));
    tcp.and_then(|tcp| tcp.split_whitespace().next()?.parse().ok()).unwrap_or(0)
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
        if let Ok(value) = fs::read_to_string(format!("{SYSCTLS}/{name}")) {
            let value = value.split_whitespace().collect::<Vec<_>>().join("-");
            let _ = write!(text, "; {} {value}", dotted(name));
        }
    }
    text + "."
}

//! A core's own table of descriptors.
//!
//! ```text
//!   main thread ── binds, makes pollers and wakers ──▶ table ┬─ copy ─▶ core 0, which accepts into its own
//!                                                            ├─ copy ─▶ core 1, likewise
//!                                                            └─ and goes on to be that of all other threads
//! ```
//!
//! `RLIMIT_NOFILE` holds for each table, not for each process: so many tables, so many times that many connections. And
//! threads that share no table share neither its lock nor its cache lines when they accept and close, and their calls are
//! cheaper: what only one thread can close the kernel need not count itself a user of for the time of each call.
//!
//! What stood in the table when it was copied stands in all copies, and is closed by the kernel when the last of them is
//! given up. So whoever ends something that was made before must say so to the file itself, as `listener.rs` does, and not rely on closing it.

use std::io;
use std::sync::OnceLock;
use std::thread;

/// Whether this system gives a thread a table of its own. Only Linux does, and there a sandbox may forbid it; so a thread that
/// ends at once has tried.
pub(crate) fn is_possible() -> bool {
    static IS_POSSIBLE: OnceLock<bool> = OnceLock::new();
    *IS_POSSIBLE.get_or_init(|| thread::spawn(|| separate().is_ok()).join().is_ok_and(|it| it))
}

/// Gives the calling thread a table of its own, with everything in it that was in the one it shared.
#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "its successor is an `unsafe fn`, because descriptors from another table must not be used; a core uses those \
              of before the split, which mean the same in each copy, and its own"
)]
pub(crate) fn separate() -> io::Result<()> {
    Ok(rustix::thread::unshare(rustix::thread::UnshareFlags::FILES)?)
}

/// Nobody gets here: the option is refused before.
#[cfg(not(target_os = "linux"))]
pub(crate) fn separate() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

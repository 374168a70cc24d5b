//! A core's own table of descriptors.
//!
//! ```text
//!   main thread ── binds, makes pollers and wakers ──▶ table ┬─ copy ─▶ core 0, which accepts into its own
//!                                                            ├─ copy ─▶ core 1, likewise
//!                                                            └─ and goes on to be that of all other threads
//! ```
//!
//! `RLIMIT_NOFILE` holds for each table, not for each process: so many tables, so many times that many connections. And
//! threads that share no table share neither its lock nor its cache lines when they accept and close.
//!
//! What stood in the table when it was copied stands in all copies, and is closed by the kernel when the last of them is
//! given up. So whoever ends something that was made before must say so to the file itself, as `listener.rs` does, and not rely on closing it.

use std::io;

/// Whether this system has it.
pub(crate) const IS_POSSIBLE: bool = cfg!(target_os = "linux");

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

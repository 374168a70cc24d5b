//! Where the threads of a scenario meet, and the main thread measures while they wait.
//!
//! ```text
//!   thread 0 ── fill ──┐ meet        ┌── load ──┐ meet        ┌── …
//!   thread 1 ── fill ──┤             ├── load ──┤             ├── …
//!   main ──────────── gather: sample ┘         gather: sample ┘
//! ```
//!
//! Who waits goes on reading its sockets. Whoever fails sets all free, so nobody waits for ever.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::clock::{Clock, Nanos, nanos};
use super::crowd::{Crowd, LONGEST_WAIT, Part};
use super::interrupt::Interrupt;

/// How often the main thread looks whether all have come.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often it looks, while time passes, whether there is still a reason to wait.
const REST_EVERY: Duration = Duration::from_millis(100);

/// One meeting place for one scenario.
pub(crate) struct Stage {
    threads: usize,
    clock: Clock,
    /// When the whole scenario must be over.
    deadline: Nanos,
    interrupt: Arc<Interrupt>,
    main: Thread,
    /// Arrivals of all threads at all meetings so far.
    arrived: AtomicUsize,
    /// Meetings that are over.
    released: AtomicUsize,
    /// What was said of the first thing that failed.
    failure: OnceLock<String>,
    /// Deliveries of all threads so far.
    pub(crate) delivered: AtomicU64,
    /// Events sent so far; for those who wait until the load is over.
    pub(crate) sent: AtomicU64,
    /// Whether the load is over, until the next meeting.
    pub(crate) is_over: AtomicBool,
    /// Threads whose own share of it is over, until the next meeting.
    settled: AtomicUsize,
}

impl Stage {
    /// Belongs to the calling thread, which alone may gather.
    pub(crate) fn new(
        threads: usize,
        clock: Clock,
        deadline: Nanos,
        interrupt: Arc<Interrupt>,
    ) -> Self {
        Self {
            threads,
            clock,
            deadline,
            interrupt,
            main: thread::current(),
            arrived: AtomicUsize::new(0),
            released: AtomicUsize::new(0),
            failure: OnceLock::new(),
            delivered: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            settled: AtomicUsize::new(0),
        }
    }

    /// Whether there is still a reason to go on.
    pub(crate) fn goes_on(&self) -> bool {
        self.check().is_ok()
    }

    /// Says why not to go on, if that is so.
    fn check(&self) -> io::Result<()> {
        self.interrupt.check()?;
        if let Some(why) = self.failure.get() {
            return Err(io::Error::other(why.clone()));
        }
        if self.clock.now() >= self.deadline {
            return Err(io::Error::other("it took longer than --deadline allows"));
        }
        Ok(())
    }

    /// Passes time on the main thread, as long as there is a reason to.
    pub(crate) fn rest(&self, time: Duration) -> io::Result<()> {
        let end = self.clock.now() + nanos(time);
        loop {
            self.check()?;
            let left = Duration::from_nanos(end.saturating_sub(self.clock.now()));
            if left.is_zero() {
                return Ok(());
            }
            thread::park_timeout(left.min(REST_EVERY));
        }
    }

    /// Sets all free. The first one's reason is that of all.
    pub(crate) fn fail(&self, why: &io::Error) {
        let _ = self.failure.set(why.to_string());
        self.main.unpark();
    }

    /// Says that this thread's share of the load is over.
    pub(crate) fn settle(&self) {
        self.settled.fetch_add(1, Ordering::Release);
    }

    /// Whether all threads have said so.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) >= self.threads
    }

    /// Arrives, and goes on turning until the main thread has measured.
    pub(crate) fn meet(&self, crowd: &mut Crowd, part: &mut dyn Part) -> io::Result<()> {
        self.meet_turning(&mut |wait| crowd.turn(wait, part))
    }

    /// The same for who has more than one crowd to turn.
    pub(crate) fn meet_turning(
        &self,
        turn: &mut dyn FnMut(Duration) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = self.arrived.fetch_add(1, Ordering::Relaxed) / self.threads;
        self.main.unpark();
        while self.released.load(Ordering::Acquire) <= number {
            self.check()?;
            turn(LONGEST_WAIT)?;
        }
        Ok(())
    }

    /// Waits until all threads meet, measures, and lets them go.
    pub(crate) fn gather<T>(&self, measure: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.gather_watching(&mut || {}, measure)
    }

    /// The same, and looks at something again and again until they have come.
    pub(crate) fn gather_watching<T>(
        &self,
        watch: &mut dyn FnMut(),
        measure: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let meeting = self.released.load(Ordering::Relaxed);
        while self.arrived.load(Ordering::Relaxed) < (meeting + 1) * self.threads {
            self.check()?;
            watch();
            thread::park_timeout(LOOK_EVERY);
        }
        let measured = measure().inspect_err(|why| self.fail(why));
        self.is_over.store(false, Ordering::Relaxed);
        self.settled.store(0, Ordering::Relaxed);
        self.released.fetch_add(1, Ordering::Release);
        measured
    }
}

/// Passes time while others work: the measured server, not we.
pub(crate) fn pause(clock: Clock, time: Duration) {
    let end = clock.now() + nanos(time);
    while clock.now() < end {
        thread::park_timeout(Duration::from_nanos(end - clock.now().min(end)));
    }
}

//! Two crowds of one thread, where the first must not wait for the second: few clients whose latency is measured while many others
//! keep the thread busy. The second hears a few sockets at a time, and before each few the first is asked. So what the first waits for
//! is the server, and at most some tens of microseconds of ours. While nothing happens the thread sleeps with the first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Nanos;
use super::crowd::{Crowd, LONGEST_WAIT, PATIENCE, Part, wait_until};
use super::stage::Stage;
use super::target::Target;

/// How many sockets of the second are heard between two looks at the first.
const FEW: usize = 8;

/// How long the second may be left alone at a time. Nothing of it is measured as finely as that.
const NAP: Duration = Duration::from_millis(1);

pub(crate) struct Pair<'a> {
    pub(crate) first: Crowd,
    pub(crate) second: &'a mut Crowd,
    /// Whether the second was silent when it was asked last.
    is_quiet: bool,
}

impl<'a> Pair<'a> {
    /// Puts a crowd before another; it may load another path of the same server.
    pub(crate) fn new(target: Arc<Target>, second: &'a mut Crowd) -> io::Result<Self> {
        let first = Crowd::new(target, second.clock, second.index, second.threads)?;
        second.hear_at_most(FEW);
        Ok(Self { first, second, is_quiet: false })
    }

    pub(crate) fn turn<A: Part, B: Part>(
        &mut self,
        wait: Duration,
        parts: (&mut A, &mut B),
    ) -> io::Result<()> {
        let nap = if self.is_quiet { wait.min(NAP) } else { Duration::ZERO };
        self.first.turn(nap, parts.0)?;
        let heard = self.second.heard();
        self.second.turn(Duration::ZERO, parts.1)?;
        self.is_quiet = self.second.heard() == heard;
        Ok(())
    }

    /// Waits for sockets until that time at most.
    pub(crate) fn turn_until<A: Part, B: Part>(
        &mut self,
        due: Nanos,
        parts: (&mut A, &mut B),
    ) -> io::Result<()> {
        self.turn(wait_until(due, self.first.clock.now()), parts)
    }

    pub(crate) fn meet<A: Part, B: Part>(
        &mut self,
        stage: &Stage,
        parts: (&mut A, &mut B),
    ) -> io::Result<()> {
        stage.meet_turning(&mut |wait| self.turn(wait, (&mut *parts.0, &mut *parts.1)))
    }

    /// Hears what is still to come, until all has come or nothing comes any more.
    pub(crate) fn drain<A: Part, B: Part>(
        &mut self,
        parts: (&mut A, &mut B),
        is_done: impl Fn(&mut A, &mut B) -> bool,
    ) -> io::Result<()> {
        let heard = |pair: &Self| pair.first.heard() + pair.second.heard();
        let clock = self.first.clock;
        let mut last = (heard(self), clock.now());
        while !is_done(parts.0, parts.1) && clock.now() < last.1 + PATIENCE {
            self.turn(LONGEST_WAIT, (&mut *parts.0, &mut *parts.1))?;
            if heard(self) != last.0 {
                last = (heard(self), clock.now());
            }
        }
        Ok(())
    }
}

//! How far a long run is: a bar on a terminal, now and then a line elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use super::super::clock::{Clock, NANOS_PER_SECOND, Nanos};
use super::super::report::grouped;

const BAR: usize = 30;
const LINE_EVERY: Nanos = 10 * NANOS_PER_SECOND;
const DRAW_EVERY: Nanos = NANOS_PER_SECOND / 5;

pub(crate) struct Progress {
    clock: Clock,
    what: &'static str,
    of: u64,
    started: Nanos,
    shown: Nanos,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn start(clock: Clock, what: &'static str, of: u64) -> Self {
        let (started, is_terminal) = (clock.now(), io::stderr().is_terminal());
        Self { clock, what, of, started, shown: started, is_terminal }
    }

    /// Shows it, if it is time to.
    pub(crate) fn show(&mut self, done: u64) {
        let every = if self.is_terminal { DRAW_EVERY } else { LINE_EVERY };
        if self.clock.now() >= self.shown + every {
            self.shown = self.clock.now();
            self.draw(done);
        }
    }

    /// Shows where it ended, and leaves that on the terminal.
    pub(crate) fn end(self, done: u64) {
        self.draw(done);
        if self.is_terminal {
            let _ = writeln!(io::stderr());
        }
    }

    fn draw(&self, done: u64) {
        let share = done as f64 / self.of.max(1) as f64;
        let seconds = super::super::clock::seconds(self.clock.now() - self.started).max(0.001);
        let text = format!(
            "{:>3.0} %  {} of {} {}, {} a second, {seconds:.0} s",
            share * 100.0,
            grouped(done as f64),
            grouped(self.of as f64),
            self.what,
            grouped((done as f64 / seconds).round()),
        );
        // Who closed standard error does not want to know.
        let _ = if self.is_terminal {
            write!(io::stderr(), "\r[{:-<BAR$}] {text}\x1b[K", "#".repeat(bars(share)))
        } else {
            writeln!(io::stderr(), "load: {text}")
        };
    }
}

/// How many signs of the bar that is.
pub(crate) fn bars(share: f64) -> usize {
    (0..BAR).take_while(|bar| ((*bar + 1) as f64) <= share * BAR as f64).count()
}

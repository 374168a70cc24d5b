//! How far a long run is: a bar on a terminal, now and then a line elsewhere. Whatever ends it, what is told next begins on a line
//! of its own.

use std::io::{self, IsTerminal as _, Stderr, Write};

use super::super::clock::{Clock, NANOS_PER_SECOND, Nanos};
use super::super::report::grouped;

const BAR: usize = 30;
const LINE_EVERY: Nanos = 10 * NANOS_PER_SECOND;
const DRAW_EVERY: Nanos = NANOS_PER_SECOND / 5;

/// What it is shown on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A file, or a pipe.
    File,
    Terminal,
}

pub(crate) struct Progress<W: Write> {
    out: W,
    place: Place,
    clock: Clock,
    what: &'static str,
    of: u64,
    started: Nanos,
    shown: Nanos,
}

impl Progress<Stderr> {
    pub(crate) fn start(clock: Clock, what: &'static str, of: u64) -> Self {
        let out = io::stderr();
        let place = if out.is_terminal() { Place::Terminal } else { Place::File };
        Self::on(out, place, clock, what, of)
    }
}

impl<W: Write> Progress<W> {
    pub(crate) fn on(out: W, place: Place, clock: Clock, what: &'static str, of: u64) -> Self {
        let started = clock.now();
        let mut progress = Self { out, place, clock, what, of, started, shown: started };
        progress.draw(0);
        progress
    }

    /// Shows it, if it is time to.
    pub(crate) fn show(&mut self, done: u64) {
        let every = match self.place {
            Place::File => LINE_EVERY,
            Place::Terminal => DRAW_EVERY,
        };
        if self.clock.now() >= self.shown + every {
            self.shown = self.clock.now();
            self.draw(done);
        }
    }

    /// Shows where it ended.
    pub(crate) fn end(mut self, done: u64) {
        self.draw(done);
    }

    fn draw(&mut self, done: u64) {
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
        let _ = match self.place {
            Place::File => writeln!(self.out, "load: {text}"),
            Place::Terminal => {
                write!(self.out, "\r[{:-<BAR$}] {text}\x1b[K", "#".repeat(bars(share)))
            }
        };
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if self.place == Place::Terminal {
            let _ = writeln!(self.out);
        }
    }
}

/// How many signs of the bar that is.
pub(crate) fn bars(share: f64) -> usize {
    (0..BAR).take_while(|bar| ((*bar + 1) as f64) <= share * BAR as f64).count()
}

//! The bookkeeping: what came, how late, and whether it came once and in order. Knows no socket.

use std::fmt;

use hdrhistogram::Histogram;

use super::clock::Nanos;

/// Three digits are kept, up to ten minutes.
const DIGITS: u8 = 3;
const LONGEST: Nanos = 600 * 1_000_000_000;

/// How late things were.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self { histogram: histogram.expect("the bounds are in order and the digits at most 5") }
    }

    /// Counts one from the time it was due. What was later than the histogram reaches counts as its end.
    pub(crate) fn record(&mut self, intended: Nanos, at: Nanos) {
        self.histogram.saturating_record(at.saturating_sub(intended).max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value that this share of all, in percent, does not exceed.
    pub(crate) fn at_percent(&self, percent: f64) -> Nanos {
        self.histogram.value_at_percentile(percent)
    }

    pub(crate) fn max(&self) -> Nanos {
        self.histogram.max()
    }
}

/// What one receiver has seen of one sender's numbers: 0, 1, 2 and so on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    next: u64,
}

impl Order {
    /// For who comes when so many have been sent.
    pub(crate) fn after(sent: u64) -> Self {
        Self { next: sent }
    }

    /// Takes the next number. The first fault is the server's; those that follow from it are not counted again.
    pub(crate) fn take(&mut self, sequence: u64, faults: &mut Faults) {
        if sequence < self.next {
            faults.repeated += 1;
        } else {
            faults.missing += sequence - self.next;
            self.next = sequence + 1;
        }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.next
    }

    /// Counts what never came, of so many that were sent.
    pub(crate) fn end(&self, sent: u64, faults: &mut Faults) {
        faults.missing += sent.saturating_sub(self.next);
        faults.unknown += self.next.saturating_sub(sent);
    }
}

/// What a server must never do. One is enough to spoil a run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Faults {
    /// Sent and never received, or received after a later one.
    pub(crate) missing: u64,
    /// Received again, or after a later one.
    pub(crate) repeated: u64,
    /// Not what was sent.
    pub(crate) garbled: u64,
    /// Received and never sent.
    pub(crate) unknown: u64,
    /// Connections that ended, or never came to be.
    pub(crate) lost: u64,
    /// What was said of the first of those.
    pub(crate) first_loss: Option<String>,
    /// Events that the server did not accept.
    pub(crate) refused: u64,
    /// Bytes that the server kept beyond what its limits allow.
    pub(crate) hoarded: u64,
}

impl Faults {
    pub(crate) fn lose(&mut self, why: &str) {
        self.lost += 1;
        self.first_loss.get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.garbled += other.garbled;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.refused += other.refused;
        self.hoarded += other.hoarded;
        if self.first_loss.is_none() {
            self.first_loss.clone_from(&other.first_loss);
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, repeated, garbled, unknown, lost, first_loss, refused, hoarded } = self;
        write!(
            f,
            "{missing} missing, {repeated} repeated or out of order, {garbled} garbled, {unknown} never sent, \
             {refused} refused, {hoarded} bytes kept beyond the limits, {lost} connections lost"
        )?;
        first_loss.as_ref().map_or(Ok(()), |why| write!(f, " (the first: {why})"))
    }
}

/// What one more costs, by two sizes: what both have in common falls out. `None` if they are one size.
pub(crate) fn slope(from: (usize, u64), to: (usize, u64)) -> Option<f64> {
    let more = to.0 as f64 - from.0 as f64;
    (more != 0.0).then(|| (to.1 as f64 - from.1 as f64) / more)
}

//! Time, as the generator counts it: nanoseconds since it started. The only reader of the clocks here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the generator started.
pub(crate) type Nanos = u64;

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// One start for all threads, so that a time that one writes means the same to the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the generator's only clock")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "the generator's only clock")]
    pub(crate) fn now(&self) -> Nanos {
        nanos(Instant::now() - self.start)
    }
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn seconds(nanos: Nanos) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Events at a steady rate: the `n`th is due at a time that no delay before it changes. So a stall of the server is
/// charged to every event that should have gone out meanwhile, and not hidden by sending them later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Nanos,
    pub(crate) per_second: f64,
}

impl Schedule {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of nanoseconds, far below 2^63"
    )]
    pub(crate) fn due(&self, n: u64) -> Nanos {
        let after = n as f64 / self.per_second * NANOS_PER_SECOND as f64;
        self.start.saturating_add(after.min(i64::MAX as f64) as u64)
    }
}

pub(crate) fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the generator's only calendar")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2031-04-05`, by the proleptic Gregorian calendar.
pub(crate) fn date(unix_seconds: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut days = unix_seconds / 86_400;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

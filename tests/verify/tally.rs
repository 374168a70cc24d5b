//! Tests counted: read from what each runner prints about itself.

use std::fmt;
use std::ops::AddAssign;

/// How many tests went which way.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// A check that is one test by itself.
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// From cargo: `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; …`, once per binary.
    pub(crate) fn of_cargo(text: &str) -> Self {
        let mut sum = Self::default();
        for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("test result: "))
        {
            let number = |word| number_before(line, word);
            sum += Self {
                passed: number(" passed"),
                failed: number(" failed"),
                skipped: number(" ignored"),
            };
        }
        sum
    }

    /// From Node's own reporter: `ℹ pass 12`, `ℹ fail 0`, `ℹ cancelled 0`, `ℹ skipped 0`, `ℹ todo 0`.
    pub(crate) fn of_node(text: &str) -> Self {
        let number = |word: &str| {
            let found = text.lines().rev().find_map(|line| line.strip_prefix(word));
            found.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            passed: number("ℹ pass "),
            failed: number("ℹ fail ") + number("ℹ cancelled "),
            skipped: number("ℹ skipped ") + number("ℹ todo "),
        }
    }

    /// From unittest: `Ran 9 tests in 1.2s`, then `OK (skipped=1)` or `FAILED (failures=1, errors=2)`.
    pub(crate) fn of_unittest(text: &str) -> Self {
        let ran = text.lines().rev().find_map(|line| line.strip_prefix("Ran "));
        let all = ran.map_or(0, |rest| number_before(rest, " test"));
        let last = text
            .lines()
            .rev()
            .find(|line| line.starts_with("OK") || line.starts_with("FAILED"))
            .unwrap_or("");
        let number = |word| number_after(last, word);
        let failed = number("failures=") + number("errors=");
        let skipped = number("skipped=");
        Self { passed: all.saturating_sub(failed + skipped), failed, skipped }
    }
}

/// The digits that end where `word` begins.
fn number_before(text: &str, word: &str) -> usize {
    let head = text.split(word).next().filter(|head| head.len() < text.len()).unwrap_or("");
    let digits = head.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The digits that begin where `word` ends.
fn number_after(text: &str, word: &str) -> usize {
    let tail = text.split_once(word).map_or("", |(_, tail)| tail);
    let digits = tail.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

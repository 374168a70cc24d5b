//! Where decisions come from: a seed, or the bytes of a fuzzer. Whoever asks gets the same answers again. Pure.

/// Decisions that can be repeated.
#[derive(Clone)]
pub(crate) enum Choices<'a> {
    /// The state of a generator (xorshift); never 0.
    Seed(u64),
    /// One or two bytes for each decision; when there are none left, all decisions are for the first.
    Bytes(&'a [u8]),
}

impl Choices<'_> {
    pub(crate) fn of_seed(seed: u64) -> Self {
        // Seeds that are neighbours must not begin alike.
        Self::Seed(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        match self {
            Self::Seed(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                usize::try_from((*state >> 33) % limit as u64).unwrap()
            }
            Self::Bytes(bytes) => {
                let width = if limit > 256 { 2 } else { 1 };
                let (taken, rest) = bytes.split_at(width.min(bytes.len()));
                *bytes = rest;
                taken.iter().fold(0, |number, byte| number * 256 + usize::from(*byte)) % limit
            }
        }
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        // The first decision, which an exhausted fuzzer makes, is no.
        self.below(100) >= 100 - percent
    }

    /// Whether there is nothing left to decide by.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }
}

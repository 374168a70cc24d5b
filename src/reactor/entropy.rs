//! Random bits for socket ids, fetched from the kernel a page at a time.

/// Fills a buffer with unpredictable bytes.
pub(crate) type Source = fn(&mut [u8]);

/// The kernel's generator.
pub(crate) fn kernel(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty())
        {
            Ok(bytes) => filled += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
}

/// A supply of random numbers.
pub(crate) struct Entropy {
    source: Source,
    buffer: [u8; Self::BUFFER_BYTES],
    used: usize,
}

impl Entropy {
    /// A thousand connections for one system call.
    const BUFFER_BYTES: usize = 4096;

    pub(crate) fn new(source: Source) -> Self {
        Self { source, buffer: [0; Self::BUFFER_BYTES], used: Self::BUFFER_BYTES }
    }

    pub(crate) fn next(&mut self) -> u32 {
        if self.used == Self::BUFFER_BYTES {
            (self.source)(&mut self.buffer);
            self.used = 0;
        }
        let mut number = [0; 4];
        number.copy_from_slice(&self.buffer[self.used..self.used + 4]);
        self.used += 4;
        u32::from_ne_bytes(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_do_not_repeat_over_several_refills() {
        let mut entropy = Entropy::new(kernel);
        let numbers: HashSet<u32> = (0..5_000).map(|_| entropy.next()).collect();
        assert!(numbers.len() > 4_990, "32 bits: a few of 5,000 may coincide, not more");
    }
}

//! What is sent, so that who receives it can tell whether it came whole, once, in order, and how late.
//!
//! ```text
//!   ~ 000000000000002a 00000000075bcd15 xxxxxxxx…xxx $          `size` bytes in all, plain in JSON
//!     sequence number  intended time    filler
//! ```

use super::clock::Nanos;

const BEGIN: u8 = b'~';
const END: u8 = b'$';
const FILLER: u8 = b'x';
const DIGITS: usize = 16;

/// Both numbers, and a byte at each end.
pub(crate) const LEAST_BYTES: usize = 2 * DIGITS + 2;

/// The numbers a payload carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    /// When it should have been sent.
    pub(crate) intended: Nanos,
}

/// Makes and reads payloads of one size.
#[derive(Clone, Debug)]
pub(crate) struct Payloads {
    /// A payload with nothing but zeros for numbers.
    template: Vec<u8>,
}

impl Payloads {
    /// A size below [`LEAST_BYTES`] is taken for that.
    pub(crate) fn new(size: usize) -> Self {
        let mut template = vec![FILLER; size.max(LEAST_BYTES)];
        let last = template.len() - 1;
        template[0] = BEGIN;
        template[last] = END;
        template[1..=2 * DIGITS].fill(b'0');
        Self { template }
    }

    pub(crate) fn size(&self) -> usize {
        self.template.len()
    }

    pub(crate) fn write(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.template);
        let (sequence, intended) = out[begin + 1..=begin + 2 * DIGITS].split_at_mut(DIGITS);
        write_hex(stamp.sequence, sequence);
        write_hex(stamp.intended, intended);
    }

    /// Finds the payload in a message and reads its stamp. `None`: it is not there, or not as it was sent.
    pub(crate) fn read(&self, message: &[u8]) -> Option<Stamp> {
        let begin = message.iter().position(|byte| *byte == BEGIN)?;
        let payload = message.get(begin..begin + self.template.len())?;
        let (head, filler) = payload.split_at(2 * DIGITS + 1);
        if *filler != self.template[2 * DIGITS + 1..] {
            return None;
        }
        let (sequence, intended) = head[1..].split_at(DIGITS);
        Some(Stamp { sequence: read_hex(sequence)?, intended: read_hex(intended)? })
    }
}

fn write_hex(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(number.to_le_bytes()[0] & 0xf)];
        number >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

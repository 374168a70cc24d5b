//! What is sent, so that who receives it can tell whether it came whole, once, in order, and how late.
//!
//! ```text
//!   ~ 000000000000002a 00000000075bcd15 xxxxxxxx…xxx $          `size` bytes in all, plain in JSON
//!     sequence number  intended time    filler, one letter or like JSON
//! ```

use super::clock::Nanos;

const BEGIN: u8 = b'~';
const END: u8 = b'$';
const FILLER: u8 = b'x';
/// What a record of the filler that is like JSON is made of. It has no quotes, which would be escaped on the way.
const NAMES: [&str; 8] = ["Ada", "Boris", "Chen", "Dagny", "Emeka", "Fatima", "Goran", "Hanae"];
const CITIES: [&str; 8] = ["Basel", "Chur", "Dover", "Graz", "Kobe", "Lagos", "Oslo", "Turku"];
/// What the numbers in it begin with; any would do, and it is the same in each run.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
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

    /// With a filler of records with names, numbers and cities, each different. With an event's
    /// envelope, deflate leaves some 400 bytes of a KiB of it.
    pub(crate) fn like_json(size: usize) -> Self {
        let mut payloads = Self::new(size);
        let last = payloads.size() - 1;
        let mut filler = Vec::new();
        let mut state = SEED;
        while filler.len() < size {
            state = state.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(23) ^ SEED;
            let [a, b, c, d, name, city, ..] = state.to_le_bytes();
            let id = u32::from_le_bytes([a, b, c, d]);
            let (name, city) = (NAMES[usize::from(name % 8)], CITIES[usize::from(city % 8)]);
            let total = f64::from(id % 100_000) / 100.0;
            let record = format!(
                "{{order:{id},customer:{{name:{name},city:{city}}},total:{total:.2},paid:{}}},",
                a > 99
            );
            filler.extend_from_slice(record.as_bytes());
        }
        let room = &mut payloads.template[2 * DIGITS + 1..last];
        room.copy_from_slice(&filler[..room.len()]);
        payloads
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

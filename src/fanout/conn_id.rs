//! Names of connections, as other cores and the outside know them. *Pure.*

use std::fmt;
use std::str::FromStr;

/// A connection, named for the whole server: its core, its slot there, and how often that core accepted before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnId(u64);

impl ConnId {
    const SLOT_BITS: u32 = 24;
    const GENERATION_BITS: u32 = 31;

    /// Connections one core can name.
    pub(crate) const MOST_SLOTS: usize = 1 << Self::SLOT_BITS;
    /// Generations begin at 1 and start over after this one.
    pub(crate) const LAST_GENERATION: u32 = (1 << Self::GENERATION_BITS) - 1;

    /// Names a connection. The three parts fill 63 bits, so that the number fits wherever a signed 64-bit one does.
    pub(crate) fn new(core: u8, slot: u32, generation: u32) -> Self {
        debug_assert!((slot as usize) < Self::MOST_SLOTS && generation <= Self::LAST_GENERATION);
        let core = u64::from(core) << (Self::SLOT_BITS + Self::GENERATION_BITS);
        Self(core | (u64::from(generation) << Self::SLOT_BITS) | u64::from(slot))
    }

    /// The core that owns the connection.
    pub fn core(self) -> usize {
        usize::from((self.0 >> (Self::SLOT_BITS + Self::GENERATION_BITS)).to_le_bytes()[0])
    }

    /// The name as one number, for the kernel to give back with an event.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The name that `to_bits` gave.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The slot on that core.
    pub(crate) fn slot(self) -> u32 {
        low_half(self.0) & ((1 << Self::SLOT_BITS) - 1)
    }

    /// Which of the slot's tenants.
    pub(crate) fn generation(self) -> u32 {
        low_half(self.0 >> Self::SLOT_BITS) & Self::LAST_GENERATION
    }
}

fn low_half(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A connection's public name in the Pusher protocol: its [`ConnId`], a dot, and 32 random bits, both in decimal.
/// It is computed, never stored, and never given to two connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    /// Who.
    pub conn: ConnId,
    /// Makes the name unguessable: it is the nonce of every channel signature.
    pub entropy: u32,
}

impl SocketId {
    /// Two numbers of 64 and 32 bits, and the dot.
    const MOST_CHARACTERS: usize = 20 + 1 + 10;
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = [0; Self::MOST_CHARACTERS];
        let mut start = room.len();
        let mut put = |byte| {
            start -= 1;
            room[start] = byte;
        };
        put_digits(self.entropy.into(), &mut put);
        put(b'.');
        put_digits(self.conn.0, &mut put);
        // In one piece: it is written into the signature of each subscription.
        f.write_str(str::from_utf8(&room[start..]).unwrap_or_default())
    }
}

/// Puts a number in decimal, its last digit first.
fn put_digits(mut number: u64, put: &mut impl FnMut(u8)) {
    loop {
        let [digit, ..] = (number % 10).to_le_bytes();
        put(b'0' + digit);
        number /= 10;
        if number == 0 {
            return;
        }
    }
}

/// The text is not two decimal numbers joined by a dot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketIdError;

impl fmt::Display for SocketIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a socket_id is two decimal numbers joined by a dot, such as 1234.5678")
    }
}

impl std::error::Error for SocketIdError {}

impl FromStr for SocketId {
    type Err = SocketIdError;

    /// Reads `\A\d+\.\d+\z`, as the server SDKs check it. A well-formed name whose numbers no connection can have is
    /// read as one that nobody has: a publisher may pass on a name that another server gave.
    fn from_str(text: &str) -> Result<Self, SocketIdError> {
        let (first, second) = text.split_once('.').ok_or(SocketIdError)?;
        let is_number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(second) {
            return Err(SocketIdError);
        }
        let nobody = Self { conn: ConnId(u64::MAX), entropy: 0 };
        Ok(match (first.parse(), second.parse()) {
            (Ok(conn), Ok(entropy)) => Self { conn: ConnId(conn), entropy },
            _ => nobody,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_whole_at_their_limits() {
        let id = ConnId::new(255, 0xff_ffff, ConnId::LAST_GENERATION);
        assert_eq!((id.core(), id.slot(), id.generation()), (255, 0xff_ffff, 0x7fff_ffff));
        assert!(i64::try_from(id.0).is_ok());
    }

    #[test]
    fn socket_id_reads_what_it_wrote() {
        let id = SocketId { conn: ConnId::new(3, 77, 9), entropy: 4_000_000_000 };
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn socket_id_is_two_numbers_in_decimal() {
        for (bits, entropy) in [(0, 0), (9, 10), (1_234, 1_234), (u64::MAX, u32::MAX)] {
            let id = SocketId { conn: ConnId(bits), entropy };
            assert_eq!(id.to_string(), format!("{bits}.{entropy}"));
        }
    }

    #[test]
    fn only_two_numbers_joined_by_a_dot_are_a_socket_id() {
        for text in ["", ".", "1", "1.", ".1", "1.2.3", "-1.2", "+1.2", "1.2 ", "a.b", "1,2"] {
            assert_eq!(text.parse::<SocketId>(), Err(SocketIdError), "{text:?}");
        }
        let foreign: SocketId = "99999999999999999999.1".parse().unwrap();
        assert_ne!(foreign.conn.core(), 0);
    }
}

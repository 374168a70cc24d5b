//! Masking (RFC 6455 §5.3): the payload, byte by byte, xor the key over and over. To mask and to unmask is the same.
//!
//! ```text
//! payload   h  e  l  l  o     ...      a read may end anywhere; the next part of the same
//! key       k0 k1 k2 k3 k0    ...      payload goes on at the key byte `offset % 4`
//! ```
//!
//! Knows no frames. The naive twin in the tests is the definition; the words here are only its speed.

/// Unmasks (or masks) one part of a payload in place. `offset` is how many bytes of this payload came before it.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotated(key, offset);
    // Sixteen bytes at a time, in memory order on either endianness. The compiler makes vector code of this loop.
    let wide = u128::from_ne_bytes(repeated(key));
    let (words, tail) = payload.as_chunks_mut::<16>();
    for word in words {
        *word = (u128::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Taking eight and four bytes of the tail at once was tried: whole messages of 16 and 125 bytes gained nothing by it
    // (benches/wire.rs, `receive::text`).
    for (byte, key_byte) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key_byte;
    }
}

/// The key as it stands for the byte at `offset`.
fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    let mut rotated = key;
    rotated.rotate_left(offset % key.len());
    rotated
}

fn repeated(key: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = key;
    [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::unmask;

    /// RFC 6455 §5.3, word for word: `j = i MOD 4; transformed-octet-i = original-octet-i XOR masking-key-octet-j`.
    fn naive(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % 4]).collect()
    }

    fn fast(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        let mut payload = payload.to_vec();
        unmask(&mut payload, key, offset);
        payload
    }

    #[test]
    fn hello_of_the_rfc_is_unmasked() {
        let masked = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(fast(&masked, [0x37, 0xfa, 0x21, 0x3d], 0), b"Hello");
    }

    proptest! {
        #[test]
        fn words_do_what_bytes_do(
            payload in vec(any::<u8>(), 0..200), key in any::<[u8; 4]>(), offset in 0..1000_usize,
        ) {
            prop_assert_eq!(fast(&payload, key, offset), naive(&payload, key, offset));
        }

        #[test]
        fn two_parts_do_what_the_whole_does(
            payload in vec(any::<u8>(), 0..200), key in any::<[u8; 4]>(), cut in 0..200_usize,
        ) {
            let cut = cut.min(payload.len());
            let mut parts = fast(&payload[..cut], key, 0);
            parts.extend(fast(&payload[cut..], key, cut));
            prop_assert_eq!(parts, naive(&payload, key, 0));
        }

        #[test]
        fn unaligned_memory_is_no_matter(
            payload in vec(any::<u8>(), 40..200), key in any::<[u8; 4]>(), start in 0..16_usize,
        ) {
            let mut memory = payload.clone();
            unmask(&mut memory[start..], key, 0);
            prop_assert_eq!(&memory[..start], &payload[..start]);
            prop_assert_eq!(&memory[start..], naive(&payload[start..], key, 0));
        }
    }
}

//! What clients show as `auth`: what was signed holds, and not with one bit changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::signature::fuzz_auths(data));

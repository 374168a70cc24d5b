//! Percent-encoding: each text comes back, and what cannot be undone is named.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::fuzz_percent(data));

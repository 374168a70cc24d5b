//! Bodies that publish: what is taken keeps the limits, and written again is the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::fuzz_events(data));

//! Frames and messages, both roles: any cut of the same bytes gives the same events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::protocol::fuzz_cuts(data));

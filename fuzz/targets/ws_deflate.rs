//! Compressed messages: inflating keeps its limit, and what is deflated comes back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::deflate::fuzz_deflate(data));

//! Frame headers, both roles: one spelling of each, and a beginning says nothing that the whole does not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::frame::fuzz_headers(data));

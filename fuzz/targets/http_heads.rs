//! Request heads: what is read, written again, is read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::http::request::fuzz_heads(data));

//! Queries and signatures: what was signed holds, and not with one byte changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::signature::fuzz_queries(data));

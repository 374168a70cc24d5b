//! Clients' messages: what is understood is JSON, and written again is understood as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::message::fuzz_messages(data));

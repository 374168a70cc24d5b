//! Frames made by the rules, both roles: they lead to what the rules say, however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::protocol::fuzz_messages(data));

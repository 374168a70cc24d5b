//! Names of channels: kind and rules agree with their plain statement.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::pusher::channel::fuzz_channels(data));

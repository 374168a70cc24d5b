//! The settings file: what it sets is kept by its keys, and mistakes name their lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::config::fuzz_file(data));

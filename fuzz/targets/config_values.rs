//! Variables and flags: values come back as they are shown, and settings that stand make options.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::config::fuzz_values(data));

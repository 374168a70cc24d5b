//! Bodies by length and by chunks: any cut of any spelling gives the body, and no more of the stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::http::fuzz_bodies(data));

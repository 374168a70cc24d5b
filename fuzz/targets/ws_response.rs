//! The answer to a client's opening handshake: any cut of the same bytes gives the same verdict.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::client::fuzz_response(data));

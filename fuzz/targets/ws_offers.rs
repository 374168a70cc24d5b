//! Opening handshakes: what the server accepts, the client that asked accepts too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::handshake::fuzz_offers(data));

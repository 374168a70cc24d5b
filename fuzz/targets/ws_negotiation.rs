//! Sec-WebSocket-Extensions: what a server answers, the client agrees to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::ws::deflate::fuzz_negotiation(data));

//! Requests behind one another: any cut of the same bytes gives the same requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::http::protocol::fuzz_requests(data));

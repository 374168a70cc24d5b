//! Laravel's .env: any text has assignments with places, and a quoted value comes back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor::config::fuzz_dotenv(data));

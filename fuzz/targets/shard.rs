//! Whole servers, driven by operations decoded from the bytes, under the laws of the simulation.
#![no_main]

#[expect(dead_code, reason = "the simulation's own tests look at more of it")]
#[path = "../../tests/simulation/world/mod.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    world::fuzz_shard(data);
});

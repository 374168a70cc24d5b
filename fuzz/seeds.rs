//! Every seed of every fuzz target as a plain test: what was a crash once is looked at each time. Compiled into the
//! crate's own unit tests; the fuzzers begin from the same files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{http, ws};

type Target = (&'static str, fn(&[u8]));

const WIRE: [Target; 10] = [
    ("http_bodies", http::fuzz_bodies),
    ("http_heads", http::request::fuzz_heads),
    ("http_requests", http::protocol::fuzz_requests),
    ("ws_cuts", ws::protocol::fuzz_cuts),
    ("ws_deflate", ws::deflate::fuzz_deflate),
    ("ws_headers", ws::frame::fuzz_headers),
    ("ws_messages", ws::protocol::fuzz_messages),
    ("ws_negotiation", ws::deflate::fuzz_negotiation),
    ("ws_offers", ws::handshake::fuzz_offers),
    ("ws_response", ws::client::fuzz_response),
];

#[cfg(feature = "pusher")]
const PROTOCOL: [Target; 9] = [
    ("config_dotenv", crate::config::fuzz_dotenv),
    ("config_file", crate::config::fuzz_file),
    ("config_values", crate::config::fuzz_values),
    ("percent", crate::pusher::fuzz_percent),
    ("pusher_channels", crate::pusher::channel::fuzz_channels),
    ("pusher_events", crate::pusher::fuzz_events),
    ("pusher_messages", crate::pusher::message::fuzz_messages),
    ("pusher_queries", crate::pusher::signature::fuzz_queries),
    ("pusher_signatures", crate::pusher::signature::fuzz_auths),
];

/// Their bodies and the tests of their seeds are in `tests/`.
#[cfg(feature = "pusher")]
const ELSEWHERE: [&str; 1] = ["shard"];

#[cfg(not(feature = "pusher"))]
const PROTOCOL: [Target; 0] = [];

fn files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_seed_of_every_target_holds() {
    for (target, body) in WIRE.iter().chain(&PROTOCOL) {
        let seeds = files(Path::new("seeds").join(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let data = fs::read(&seed).unwrap();
            // A failure names the body; this names the seed.
            let held = std::panic::catch_unwind(|| body(&data));
            assert!(held.is_ok(), "{} does not hold", seed.display());
        }
    }
}

#[cfg(feature = "pusher")]
#[test]
fn every_target_is_listed_here() {
    let here = WIRE.iter().chain(&PROTOCOL).map(|(target, _)| *target);
    let mut listed: Vec<_> = here.chain(ELSEWHERE).map(str::to_owned).collect();
    listed.sort();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    assert_eq!(files("targets").into_iter().map(stem).collect::<Vec<_>>(), listed);
}

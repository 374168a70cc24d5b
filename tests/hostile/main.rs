//! What hostile peers get: each is met by a limit that has a name, each is counted, and others are served meanwhile.
//!
//! ```text
//!   200 who are slow, 5,000 who vanish, one who floods ──▶ server ◀── bystander: what it says comes back, all the time
//!                                                            └─ counters, and for a server in a process of its own its memory
//! ```
//!
//! Where one peer is to starve another both are on the server's one core: with two the kernel may put them apart.
//! Real sockets on port 0. Waits are for events, with a deadline that only a fault reaches; what is asserted is counts
//! and order, and memory with room to spare. Floods that need a Pusher server are in `tests/pusher/floods.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(dead_code, reason = "other tests use more of what is shared")]

mod floods;
mod host;
mod late;
#[path = "../behaviour/process.rs"]
mod process;
mod readers;
mod resets;
mod slow;
#[path = "../behaviour/support.rs"]
mod support;
#[path = "../behaviour/ws_client.rs"]
mod ws_client;

use stentor::Options;

/// The part of the server, when a test wants one in a process of its own.
#[test]
fn plays_the_server_when_told() {
    if process::is_told() {
        resets::raise_descriptors();
        play(Options { cores: 1, ..Options::default() });
    }
}

/// Runs a server until the parent lets go.
fn play(options: Options) {
    process::play(options, |server| {
        let metrics = server.metrics();
        Box::new(move |_| host::Host::new(&metrics))
    });
}

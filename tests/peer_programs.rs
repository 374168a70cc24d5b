//! The program of a comparison's peer, held to its protocol: Node `ws`, under the load generator's own checks.
//!
//! `cargo test --test peer_programs` needs Node and the package ws where `cargo verify install` puts it for the clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../benches/load/main.rs"]
#[expect(dead_code, reason = "its `main` and the scenarios of Pusher servers belong to others")]
mod load;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser as _;

use load::arguments::Arguments;
use load::run;
use load::tally::Faults;

/// The peer's program in a folder of its own, running; both go with the test.
struct NodeWs {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl NodeWs {
    fn start(name: &str) -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let modules = scratch.parent().unwrap().join("verify/clients/node_modules");
        assert!(modules.join("ws").is_dir(), "there is no ws: run `cargo verify install` before");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/node-ws");
        let folder = scratch.join(format!("node-ws-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for file in ["package.json", "server.js"] {
            fs::copy(source.join(file), folder.join(file)).unwrap();
        }
        std::os::unix::fs::symlink(&modules, folder.join("node_modules")).unwrap();
        let mut node = Command::new("node");
        node.args(["server.js", "0"]).current_dir(&folder).stdout(Stdio::piped());
        let mut child = node.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, folder, address: (Ipv4Addr::LOCALHOST, 0).into() };
        // It says its port once it listens, and ends without a line if it cannot.
        let port = out.lines().next().expect("the program ended at once").unwrap();
        peer.address.set_port(port.parse().unwrap());
        peer
    }

    /// Loads it for a second and says what a figure came to.
    fn load(&self, scenario: &str, path: &str, figure: &str) -> f64 {
        let url = format!("ws://{}{path}", self.address);
        let line = format!("load {scenario} --plain {url} --seconds 1 --warm-up 0 --deadline 60");
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let report = run::run(&arguments).unwrap();
        assert_eq!(report.faults, Faults::default(), "{scenario}");
        let figure = report.figures.iter().find(|found| found.name == figure);
        figure.unwrap().value
    }
}

impl Drop for NodeWs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn room_of_node_ws_sends_each_message_to_all_once_and_in_order() {
    let peer = NodeWs::start("room");
    for scenario in ["fanout --connections 20 --rate 50", "fanout --connections 20 --flat-out"] {
        assert!(peer.load(scenario, "/room", "deliveries") > 0.0);
    }
}

#[test]
fn echo_of_node_ws_sends_back_what_came_to_whom_it_came_from() {
    let peer = NodeWs::start("echo");
    for scenario in ["echo --connections 3 --depth 16", "echo --connections 3 --size 16384"] {
        assert!(peer.load(scenario, "/echo", "echoes") > 0.0);
    }
}

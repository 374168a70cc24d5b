//! A server in a process of its own: the test binary itself, told by its environment that it is to play that part.
//!
//! The binary has a test that is empty unless [`is_told`]; then it calls [`play`]. A test that needs a server of its
//! own, to starve it, to trace it or to see it die, starts that one test of the binary as a child.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use stentor::{Handler, Options, Server};

const ROLE: &str = "STENTOR_TEST_SERVER";

/// Whether this process is to be the server.
pub(crate) fn is_told() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Runs a server on a free port until the parent lets go.
pub(crate) fn play<H: Handler>(
    options: Options,
    make: impl Fn(&Server) -> Box<dyn Fn(usize) -> H + Send + Sync>,
) {
    let server = Server::bind_with("127.0.0.1:0", options).unwrap();
    // Past the test runner, which keeps what `println!` says to itself.
    let line = format!("\nlistening {}\n", server.local_addr());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    let stopper = server.stopper();
    std::thread::spawn(move || {
        // The parent holds our standard input open for as long as it lives.
        let _ = std::io::stdin().read(&mut [0]);
        stopper.stop();
    });
    let make = make(&server);
    server.run(make).unwrap();
}

/// The child, ended when this is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Open, so that the child can say at its end how its test went.
    _output: BufReader<ChildStdout>,
}

impl ServerProcess {
    /// Starts this binary's test of that name as a server.
    pub(crate) fn start(test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("listening ").map(|it| it.parse().unwrap()))
            .next()
            .expect("the server says where it listens");
        Self { child, address, _output: output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

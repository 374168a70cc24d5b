//! A server that sends back every message it gets. The Autobahn test suite runs against it.
//!
//! `cargo run --release --example echo -- --port 9001 --cores 4`

use std::io::{self, Write};

use stentor::{Conn, Handler, Message, Options, Server, ws};

/// The largest message of the Autobahn test suite.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        conn.send(message);
    }
}

fn main() -> io::Result<()> {
    let port: u16 = argument("--port", 9001)?;
    let options = Options {
        cores: argument("--cores", 0)?,
        ws: ws::Limits { message_bytes: MESSAGE_BYTES },
        // A client that sends a message of the largest size must be able to get it back.
        outbox_bytes: 2 * MESSAGE_BYTES,
        ..Options::default()
    };
    let server = Server::bind_with(("127.0.0.1", port), options)?;
    writeln!(io::stdout(), "listening on ws://{}", server.local_addr())?;
    server.run(|_core| Echo)
}

/// The number after `name` on the command line.
fn argument<T: std::str::FromStr>(name: &str, default: T) -> io::Result<T> {
    let Some(value) = std::env::args().skip_while(|word| word != name).nth(1) else {
        return Ok(default);
    };
    value
        .parse()
        .map_err(|_| io::Error::other(format!("{name} {value}: not a number, or too large")))
}

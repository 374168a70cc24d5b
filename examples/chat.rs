//! A chat room with its own page: `cargo run --example chat -- --port 9002`, then open http://127.0.0.1:9002/ in two windows.

use std::io::{self, Write};

use stentor::{CloseCode, Conn, Handler, Message, Request, Response, Server};

/// As long as a line of the chat may be, in bytes.
const LONGEST_LINE: usize = 1000;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Chat</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 40rem; margin: 2rem auto; padding: 0 1rem }  input { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit }
</style>
<h1>Chat</h1><form><input id="say" autofocus autocomplete="off" placeholder="Say something"></form><ul id="heard"></ul>
<script>
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  const show = text => heard.prepend(Object.assign(document.createElement('li'), { textContent: text }));
  socket.onmessage = event => show(event.data);  socket.onclose = () => show('The connection is closed.');
  document.forms[0].onsubmit = event => { event.preventDefault(); socket.send(say.value); say.value = ''; };
</script>"#;

struct Chat;

impl Handler for Chat {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if conn.subscribe("room").is_err() {
            conn.close(CloseCode::INTERNAL_ERROR, "no room");
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        conn.send(format!("Welcome to the {topic}."));
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        match message.text() {
            Some(text) if text.len() <= LONGEST_LINE => match conn.publish("room", text) {
                Ok(()) => {}
                Err(error) => conn.send(format!("Not said: {error}")),
            },
            _ => conn.send(format!("A line is text of at most {LONGEST_LINE} bytes.")),
        }
    }

    fn on_request(&mut self, conn: &mut Conn<'_>, _: &Request<'_>) {
        conn.respond(Response::with_body(200, "text/html; charset=utf-8", PAGE.as_bytes()));
    }
}

fn main() -> io::Result<()> {
    let given = std::env::args().skip_while(|word| word != "--port").nth(1);
    let port = given.map_or(Ok(9002), |port| port.parse::<u16>());
    let port = port.map_err(|error| io::Error::other(format!("--port: {error}; such as 9002")))?;
    let server = Server::bind(("127.0.0.1", port))?;
    writeln!(io::stdout(), "open http://{}/ in two windows", server.local_addr())?;
    server.run(|_core| Chat)
}

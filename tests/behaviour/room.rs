//! A handler that does what its clients say: `sub t`, `unsub t`, `pub t text`, `core`, `address`, `agent`, `panic`; the rest is echoed. Who is
//! reviewed is told so.

use std::collections::HashMap;

use stentor::{CloseFrame, Conn, ConnError, ConnId, Handler, Message};

#[derive(Default)]
pub(crate) struct Room {
    /// What each client called itself in its upgrade.
    agents: HashMap<ConnId, String>,
}

impl Handler for Room {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let agent = conn.upgrade().and_then(|request| request.header("User-Agent"));
        if let Some(agent) = agent.map(str::to_owned) {
            self.agents.insert(conn.id(), agent);
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Option<&CloseFrame<'_>>) {
        self.agents.remove(&conn.id());
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        let text = message.text().unwrap_or_default().to_owned();
        let mut words = text.splitn(3, ' ');
        let (verb, topic) = (words.next().unwrap(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default();
        match verb {
            "sub" => conn.subscribe(topic).unwrap(),
            "unsub" => {
                conn.unsubscribe(topic);
                conn.send("unsubscribed");
            }
            "pub" => conn.publish(topic, rest).unwrap(),
            "core" => conn.send(conn.core().to_string()),
            "address" => conn.send(conn.peer_addr().map_or_else(String::new, |it| it.to_string())),
            "agent" => conn.send(self.agents.get(&conn.id()).cloned().unwrap_or_default()),
            "panic" => panic!("as told"),
            _ => conn.send(message),
        }
    }

    fn on_subscribed(&mut self, conn: &mut Conn<'_>, topic: &str) {
        conn.send(format!("subscribed {topic}"));
    }

    fn on_review(&mut self, conn: &mut Conn<'_>) {
        conn.send("reviewed");
    }

    fn on_error(&mut self, conn: &mut Conn<'_>, error: &ConnError) {
        conn.send(format!("error: {error}"));
    }
}

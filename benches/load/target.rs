//! Whom we load, and in which words. Peers are only addresses, and only of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::json;
use stentor::pusher::message::{ServerMessage, write_subscribe};
use stentor::pusher::signature::{Credentials, Secret, channel_signature, signed_query};

use super::clock;

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The path of the URL, without a slash at its end.
    prefix: String,
    /// `None`: plain WebSocket.
    app: Option<App>,
}

/// An app of a Pusher server.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) secret: Secret,
}

impl Target {
    /// Reads `ws://host:port/path`. Refuses all but loopback: a load generator is a weapon elsewhere.
    pub(crate) fn parse(url: &str, app: Option<App>) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::other(format!("{url}: {what}"));
        let rest = url.strip_prefix("ws://").ok_or_else(|| wrong("must begin with ws://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| wrong("must name a port"))?;
        let port = port.parse().map_err(|_| wrong("the port must be a number up to 65535"))?;
        let ip = match host.trim_start_matches('[').trim_end_matches(']') {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => {
                host.parse().map_err(|_| wrong("the host must be an IP address or localhost"))?
            }
        };
        if !ip.is_loopback() {
            return Err(wrong("only addresses of this machine (127.0.0.0/8 or [::1]) are loaded"));
        }
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { address: SocketAddr::new(ip, port), prefix, app })
    }

    pub(crate) fn is_pusher(&self) -> bool {
        self.app.is_some()
    }

    /// Where clients connect.
    pub(crate) fn path(&self) -> String {
        match &self.app {
            Some(app) => {
                format!("{}/app/{}?protocol=7&client=load&version=1", self.prefix, app.key)
            }
            None if self.prefix.is_empty() => "/".to_owned(),
            None => self.prefix.clone(),
        }
    }

    /// What a client says to hear a channel, once it knows its socket id.
    pub(crate) fn subscribe(&self, channel: &str, socket_id: &str, out: &mut Vec<u8>) {
        let sign = |app: &App| {
            let signature = channel_signature(&app.secret, socket_id, channel, None);
            format!("{}:{signature}", app.key)
        };
        let auth = self.app.as_ref().filter(|_| channel.starts_with("private-")).map(sign);
        write_subscribe(out, channel, auth.as_deref(), None);
    }

    /// A signed request that publishes an event to channels.
    pub(crate) fn publish(
        &self,
        channels: &[&str],
        data: &str,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let app = self.app.as_ref().ok_or_else(|| io::Error::other("publishing needs --pusher"))?;
        let body = json!({ "name": "load", "channels": channels, "data": data }).to_string();
        let path = format!("/apps/{}/events", app.id);
        let credentials = Credentials { key: &app.key, secret: &app.secret };
        let query =
            signed_query(credentials, "POST", &path, body.as_bytes(), clock::unix_seconds());
        let head = format!(
            "POST {}{path}?{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.prefix,
            self.address,
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
        Ok(())
    }
}

/// What a Pusher server says about itself and the connection, not about our events.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Established { socket_id: String },
    Failed { why: String },
    Ping,
    Pong,
    Subscribed,
}

impl Word {
    /// `None`: it is none of these, but an event.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let text = str::from_utf8(message).ok()?;
        let message = ServerMessage::read(text).ok()?;
        match &*message.event {
            "pusher:connection_established" => {
                let established = message.established().ok()?;
                Some(Self::Established { socket_id: established.socket_id })
            }
            "pusher:error" | "pusher:subscription_error" => {
                Some(Self::Failed { why: text.to_owned() })
            }
            "pusher:ping" => Some(Self::Ping),
            "pusher:pong" => Some(Self::Pong),
            "pusher_internal:subscription_succeeded" => Some(Self::Subscribed),
            _ => None,
        }
    }
}

//! Addresses of servers, as people type them. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Config;

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) is_tls: bool,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before `/app/` and `/apps/`: empty, or beginning and not ending with a slash.
    pub(super) prefix: String,
}

impl Address {
    /// Reads `https://host:port/prefix`. `ws` and `wss` mean the same as `http` and `https`; without a scheme it is
    /// `http`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mistake = || {
            format!(
                "`{text}` is no address of a server; expected such as https://ws.example.com:443"
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(mistake()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err(mistake());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| mistake())?)
            }
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = match host.strip_prefix('[') {
            Some(bracketed) => {
                bracketed.strip_suffix(']').filter(|host| host.parse::<Ipv6Addr>().is_ok())
            }
            None => Some(host).filter(|host| !host.is_empty() && !host.contains([':', ' '])),
        };
        let host = host.ok_or_else(mistake)?.to_owned();
        Ok(Self { is_tls, host, port, prefix: path.trim_end_matches('/').to_owned() })
    }

    /// Where a server with these settings is, seen from this machine.
    pub(super) fn of(config: &Config) -> Self {
        let host = match config.host().parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1".to_owned(),
            _ => config.host(),
        };
        Self { is_tls: false, host, port: config.port(), prefix: config.path() }
    }

    /// `host:port`, as in the header `Host`.
    pub(super) fn authority(&self) -> String {
        let is_v6 = self.host.contains(':');
        if is_v6 {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            Address::parse(text).ok().map(|address| address.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn addresses_are_read_as_people_type_them() {
        check("https://ws.example.com", Some("https://ws.example.com:443"));
        check("wss://ws.example.com/", Some("https://ws.example.com:443"));
        check("ws://localhost:6001/ws/", Some("http://localhost:6001/ws"));
        check("127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("http://[::1]:8080", Some("http://[::1]:8080"));
        check("http://[::1]", Some("http://[::1]:80"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "ftp://host",
            "http://",
            "http://host:port",
            "http://a:b@host",
            "http://::1",
            "http://host/?q",
            "[x]",
        ] {
            check(text, None);
        }
    }
}

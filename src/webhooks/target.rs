//! Where an app's webhooks go and which of them. What is written in the settings is judged here. Pure.

use std::fmt;

use ureq::http::{HeaderName, HeaderValue, Uri};

use crate::pusher::FactKind;

/// Headers that are the protocol's own, or HTTP's.
const RESERVED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "x-pusher-key",
    "x-pusher-signature",
];

/// One address that an app's webhooks go to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The id of the app.
    pub app: String,
    /// The app's key, sent along.
    pub key: String,
    /// The app's secret, which signs.
    pub secret: String,
    /// Where to.
    pub url: Url,
    /// Which kinds of facts are told.
    pub events: Vec<FactKind>,
    /// How the names of the channels must begin.
    pub channel_prefix: String,
    /// How the names of the channels must end.
    pub channel_suffix: String,
    /// Headers that are sent besides the protocol's own.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// All of an app's events go to that address. The key and the secret are empty.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the address.
    pub fn new(app: impl Into<String>, url: &str) -> Result<Self, UrlError> {
        Ok(Self {
            app: app.into(),
            key: String::new(),
            secret: String::new(),
            url: Url::parse(url)?,
            events: FactKind::ALL.to_vec(),
            channel_prefix: String::new(),
            channel_suffix: String::new(),
            headers: Vec::new(),
        })
    }

    /// Whether it is told of such facts on that channel.
    pub(super) fn wants(&self, kind: FactKind, channel: &str) -> bool {
        self.events.contains(&kind)
            && channel.starts_with(&self.channel_prefix)
            && channel.ends_with(&self.channel_suffix)
    }
}

/// Leaves the secret and what the headers say out: what is debugged is logged.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("app", &self.app)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// An absolute address with `http` or `https`. Shown without its query, where some keep a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Unreadable)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(UrlError::Scheme);
        }
        let authority = uri.authority().ok_or(UrlError::Unreadable)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Password);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err(UrlError::Unreadable);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole of it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('?') {
            Some((address, _)) => write!(f, "{address}?…"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UrlError {
    /// It has a name or a password in it, which a header should carry.
    Password,
    /// It is neither `http` nor `https`.
    Scheme,
    /// It is no absolute address at all.
    Unreadable,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "a name or a password in a URL is not sent; use `headers`",
            Self::Scheme => "the URL must begin with http:// or https://",
            Self::Unreadable => "this is no absolute URL, such as \"https://example.com/webhooks\"",
        })
    }
}

impl std::error::Error for UrlError {}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// Its name has characters that no name may have.
    Name,
    /// It is one of those that the server writes itself.
    Reserved,
    /// Its value has characters that no value may have.
    Value,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "this is no name of a header",
            Self::Reserved => "this header is written by the server itself",
            Self::Value => "the value of a header is text of visible ASCII characters and spaces",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Whether a header may be added to webhooks.
///
/// # Errors
///
/// Says why not.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
    if RESERVED.contains(&known.as_str()) {
        return Err(HeaderError::Reserved);
    }
    match HeaderValue::from_str(value) {
        Ok(value) if value.to_str().is_ok() => Ok(()),
        _ => Err(HeaderError::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_url(text: &str, expected: Result<&str, UrlError>) {
        assert_eq!(
            Url::parse(text).map(|url| url.to_string()),
            expected.map(str::to_owned),
            "{text}"
        );
    }

    #[test]
    fn an_address_is_absolute_and_of_http() {
        check_url("http://127.0.0.1:80/a", Ok("http://127.0.0.1:80/a"));
        check_url("https://example.com", Ok("https://example.com"));
        check_url("http://[::1]:9/", Ok("http://[::1]:9/"));
        check_url("ftp://example.com/", Err(UrlError::Scheme));
        check_url("example.com", Err(UrlError::Scheme));
        check_url("/path", Err(UrlError::Scheme));
        check_url("http://", Err(UrlError::Unreadable));
        check_url("http://a b/", Err(UrlError::Unreadable));
        check_url("http://a:b/", Err(UrlError::Unreadable));
        check_url("https://me:secret@example.com/", Err(UrlError::Password));
    }

    #[test]
    fn the_query_of_an_address_is_not_shown() {
        check_url("http://example.com/a?token=hush", Ok("http://example.com/a?…"));
        let target = Target::new("1", "http://example.com/a?token=hush").unwrap();
        assert!(!format!("{target:?}").contains("hush"));
    }

    fn check(name: &str, value: &str, expected: Result<(), HeaderError>) {
        assert_eq!(check_header(name, value), expected, "{name}: {value}");
    }

    #[test]
    fn headers_that_the_protocol_writes_cannot_be_set() {
        check("X-My", "v w", Ok(()));
        check("Authorization", "Bearer x", Ok(()));
        check("x-pusher-KEY", "v", Err(HeaderError::Reserved));
        check("Content-type", "v", Err(HeaderError::Reserved));
        check("Host", "v", Err(HeaderError::Reserved));
    }

    #[test]
    fn headers_that_would_break_the_request_cannot_be_set() {
        check("X My", "v", Err(HeaderError::Name));
        check("", "v", Err(HeaderError::Name));
        check("X-My", "v\r\nX-Other: w", Err(HeaderError::Value));
        check("X-My", "é", Err(HeaderError::Value));
    }

    #[test]
    fn a_target_takes_what_its_filters_let_through() {
        let mut target = Target::new("1", "http://a/").unwrap();
        assert!(target.wants(FactKind::CacheMiss, "cache-a"));
        target.events = vec![FactKind::CacheMiss];
        (target.channel_prefix, target.channel_suffix) = ("cache-".to_owned(), "-eu".to_owned());
        assert!(target.wants(FactKind::CacheMiss, "cache-a-eu"));
        assert!(!target.wants(FactKind::ChannelOccupied, "cache-a-eu"));
        assert!(!target.wants(FactKind::CacheMiss, "cache-a"));
        assert!(!target.wants(FactKind::CacheMiss, "a-eu"));
    }
}

//! HMAC-SHA256 over what clients, back ends and we agree to sign: channels, users and API requests. Pure: the time is
//! an argument.
//!
//! ```text
//!   channel        ‹socket_id›:‹channel›[:‹channel_data as received›]
//!   user           ‹socket_id›::user::‹user_data as received›
//!   API request    METHOD \n path \n lower(name)=value & … sorted by name, without auth_signature
//! ```
//!
//! Nothing that is signed is ever written anew before it is checked: the signature covers bytes, and two JSON
//! writers rarely agree on spaces.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Deref;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::percent::{self, Plus};
use super::query::{Parameters, Spelling};

/// The signature of a subscription, in hex.
pub fn channel_signature(
    secret: &str,
    socket_id: &str,
    channel: &str,
    channel_data: Option<&str>,
) -> String {
    hex(&channel_mac(&secret.into(), socket_id, channel, channel_data).finalize().into_bytes())
}

/// The signature of a sign-in, in hex.
pub fn user_signature(secret: &str, socket_id: &str, user_data: &str) -> String {
    hex(&mac_of(&secret.into(), format_args!("{socket_id}::user::{user_data}"))
        .finalize()
        .into_bytes())
}

/// Signs the body of a webhook.
pub fn webhook_signature(secret: &str, body: &str) -> String {
    hex(&mac_of(&secret.into(), body).finalize().into_bytes())
}

/// Checks the `auth` of a subscription: `‹app key›:‹hex›`. Allocates nothing, as every check here of what a client sends.
pub fn verify_channel(
    credentials: Credentials<'_>,
    auth: &str,
    socket_id: impl fmt::Display,
    channel: &str,
    channel_data: Option<&str>,
) -> Result<(), AuthError> {
    let signed = channel_mac(credentials.secret, socket_id, channel, channel_data);
    verify_auth(credentials.key, auth, signed)
}

/// Checks the `auth` of a sign-in: `‹app key›:‹hex›`.
pub fn verify_user(
    credentials: Credentials<'_>,
    auth: &str,
    socket_id: impl fmt::Display,
    user_data: &str,
) -> Result<(), AuthError> {
    let signed = mac_of(credentials.secret, format_args!("{socket_id}::user::{user_data}"));
    verify_auth(credentials.key, auth, signed)
}

/// An app secret: its text, and the HMAC that has it as its key. To check a signature begins with a copy of that HMAC, which
/// saves half of what SHA-256 has to do for a short text.
#[derive(Clone)]
pub struct Secret {
    text: Box<str>,
    mac: Hmac<Sha256>,
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        let mac = Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length");
        Self { text: text.into(), mac }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Its text.
impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

/// Leaves the text out: what is debugged is logged.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What an application signs with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The app key: says who signed.
    pub key: &'a str,
    /// The app secret: proves it.
    pub secret: &'a Secret,
}

/// Leaves the secret out.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why the `auth` of a subscription or sign-in does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthError {
    /// It is made with the key of another app.
    Key,
    /// It is missing or empty.
    Missing,
    /// It is not `‹app key›:‹64 lower-case hex digits›`.
    Shape,
    /// The HMAC is another one.
    Signature,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "auth begins with another key than that of this app",
            Self::Missing => "auth is missing; it must be the app key, a colon, and the signature",
            Self::Shape => "auth is not the app key, a colon, and 64 lower-case hex digits",
            Self::Signature => {
                "the signature does not match; check the app secret, and that socket_id, channel and channel_data \
                 are signed as they are sent"
            }
        })
    }
}

impl std::error::Error for AuthError {}

/// A signed request to the HTTP API, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, not decoded.
    pub path: &'a str,
    /// The query, not decoded, without its `?`.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// What a request's time is measured by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Our own time.
    pub unix_seconds: u64,
    /// How far theirs may be off, either way.
    pub tolerance_seconds: u64,
}

impl SignedRequest<'_> {
    /// Checks all that a signed request must have.
    ///
    /// SDKs sign different spellings of the same request: the path raw or decoded, with or without the proxy's
    /// `prefix`; values decoded with `+` as a space, with `+` as itself, or raw. One that matches is enough.
    pub fn verify(
        &self,
        credentials: Credentials<'_>,
        prefix: &str,
        clock: Clock,
    ) -> Result<(), RequestError> {
        let parameters = Parameters::read(self.query, Spelling::Form);
        self.check_key(&parameters, credentials.key)?;
        check_version(&parameters)?;
        check_time(&parameters, clock)?;
        self.check_body(&parameters)?;
        self.check_signature(&parameters, credentials.secret, prefix)
    }

    fn check_key(&self, parameters: &Parameters<'_>, key: &str) -> Result<(), RequestError> {
        let got = require(parameters, "auth_key")?;
        if got == key { Ok(()) } else { Err(RequestError::Key { got: got.to_owned() }) }
    }

    /// A body without `body_md5` would be a body that nobody signed. The other way round is fine: the Python SDK
    /// sends the MD5 of nothing with each GET.
    fn check_body(&self, parameters: &Parameters<'_>) -> Result<(), RequestError> {
        let sent = match parameters.find("body_md5") {
            None if self.body.is_empty() => return Ok(()),
            None => return Err(RequestError::BodyNotSigned { bytes: self.body.len() }),
            Some(sent) => sent,
        };
        let computed = Md5::digest(self.body);
        let digits = sent.bytes().map(|byte| byte.to_ascii_lowercase());
        if digits.eq(computed.iter().copied().flat_map(hex_digits)) {
            return Ok(());
        }
        Err(RequestError::BodyMd5 { sent: sent.to_owned(), computed: hex(&computed) })
    }

    fn check_signature(
        &self,
        parameters: &Parameters<'_>,
        secret: &Secret,
        prefix: &str,
    ) -> Result<(), RequestError> {
        let signature = require(parameters, "auth_signature")?;
        let paths = self.paths(prefix);
        if let Some(digest) = unhex(signature)
            && (self.has_mac(&digest, parameters, &paths, secret)
                || [Spelling::Plus, Spelling::Raw].into_iter().any(|spelling| {
                    let parameters = Parameters::read(self.query, spelling);
                    self.has_mac(&digest, &parameters, &paths, secret)
                }))
        {
            return Ok(());
        }
        let path = paths.first().map_or("", |path| path.as_ref());
        let pairs: Vec<_> = parameters.pairs().collect();
        Err(RequestError::Signature { signed: request_string(self.method, path, &pairs) })
    }

    /// Whether that is the HMAC of the request, with one of the paths.
    fn has_mac(
        &self,
        digest: &[u8; 32],
        parameters: &Parameters<'_>,
        paths: &[Cow<'_, str>],
        secret: &Secret,
    ) -> bool {
        let pairs = signed_pairs(parameters.pairs());
        paths.iter().any(|path| {
            let text = RequestText { method: self.method, path, pairs: &pairs };
            mac_of(secret, text).verify_slice(digest).is_ok()
        })
    }

    /// The spellings of the path, the usual one first.
    fn paths(&self, prefix: &str) -> Vec<Cow<'_, str>> {
        let mut paths = Vec::with_capacity(4);
        let stripped = self.path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
        for path in stripped.into_iter().chain([self.path]) {
            for path in [Cow::Borrowed(path), percent::decode(path, Plus::Literal)] {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        paths
    }
}

fn require<'p>(
    parameters: &'p Parameters<'_>,
    parameter: &'static str,
) -> Result<&'p str, RequestError> {
    parameters.find(parameter).ok_or(RequestError::Missing { parameter })
}

fn check_version(parameters: &Parameters<'_>) -> Result<(), RequestError> {
    match parameters.find("auth_version") {
        None | Some("1.0") => Ok(()),
        Some(got) => Err(RequestError::Version { got: got.to_owned() }),
    }
}

fn check_time(parameters: &Parameters<'_>, clock: Clock) -> Result<(), RequestError> {
    let text = require(parameters, "auth_timestamp")?;
    let Ok(theirs) = text.parse::<u64>() else {
        return Err(RequestError::Timestamp { got: text.to_owned() });
    };
    let seconds = clock.unix_seconds.abs_diff(theirs);
    if seconds <= clock.tolerance_seconds {
        return Ok(());
    }
    let theirs_is = if theirs < clock.unix_seconds { Side::Behind } else { Side::Ahead };
    Err(RequestError::Clocks { seconds, theirs_is, allowed: clock.tolerance_seconds })
}

/// Which way a clock is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It shows a later time than ours.
    Ahead,
    /// It shows an earlier time than ours.
    Behind,
}

/// Why a signed request is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// `body_md5` is not the MD5 of the body that came.
    BodyMd5 {
        /// What was sent.
        sent: String,
        /// What the body has.
        computed: String,
    },
    /// There is a body and no `body_md5`.
    BodyNotSigned {
        /// The length of the body.
        bytes: usize,
    },
    /// The time is too far off.
    Clocks {
        /// By how much.
        seconds: u64,
        /// Which way.
        theirs_is: Side,
        /// How much may be.
        allowed: u64,
    },
    /// `auth_key` is not the key of the app that the path names.
    Key {
        /// What was sent.
        got: String,
    },
    /// A parameter is missing.
    Missing {
        /// Its name.
        parameter: &'static str,
    },
    /// The signature does not match.
    Signature {
        /// What we signed. Shown to nobody but a developer: an attacker could learn how a proxy rewrites requests.
        signed: String,
    },
    /// `auth_timestamp` is not a number.
    Timestamp {
        /// What was sent.
        got: String,
    },
    /// `auth_version` is not `1.0`.
    Version {
        /// What was sent.
        got: String,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyMd5 { sent, computed } => {
                write!(f, "body_md5 is `{sent}`, but the body that arrived has the MD5 `{computed}`")
            }
            Self::BodyNotSigned { bytes } => write!(
                f,
                "the request has a body of {bytes} bytes and no body_md5; the MD5 of the body in hex must be signed \
                 with it"
            ),
            Self::Clocks { seconds, theirs_is, allowed } => {
                let side = match theirs_is {
                    Side::Ahead => "ahead of",
                    Side::Behind => "behind",
                };
                write!(
                    f,
                    "auth_timestamp is {seconds} seconds {side} this server's clock; {allowed} are allowed"
                )
            }
            Self::Key { got } => {
                write!(f, "auth_key `{got}` is not the key of the app that the path names")
            }
            Self::Missing { parameter } => write!(
                f,
                "the query has no {parameter}; a signed request has auth_key, auth_timestamp, auth_version and \
                 auth_signature, and body_md5 if it has a body"
            ),
            Self::Signature { .. } => f.write_str(
                "auth_signature does not match; check the app secret, and that the path and all parameters are \
                 signed as they are sent",
            ),
            Self::Timestamp { got } => {
                write!(f, "auth_timestamp is `{got}`; it must be the Unix time in whole seconds")
            }
            Self::Version { got } => write!(f, "auth_version is `{got}`; it must be `1.0`"),
        }
    }
}

impl std::error::Error for RequestError {}

/// The text that an API request is signed over. Names are lower-cased, the pairs sorted by name.
pub fn request_string(method: &str, path: &str, query: &[(&str, &str)]) -> String {
    let pairs = signed_pairs(query.iter().copied());
    RequestText { method, path, pairs: &pairs }.to_string()
}

/// What of a query is signed: in a list of its own, because it is sorted.
fn signed_pairs<'q>(
    query: impl ExactSizeIterator<Item = (&'q str, &'q str)>,
) -> Vec<(Cow<'q, str>, &'q str)> {
    let mut pairs = Vec::with_capacity(query.len());
    let lower = |name: &'q str| match name
        .bytes()
        .any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase())
    {
        true => Cow::Owned(name.to_lowercase()),
        false => Cow::Borrowed(name),
    };
    pairs.extend(query.map(|(name, value)| (lower(name), value)));
    pairs.retain(|(name, _)| name != "auth_signature");
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

/// The text of a request, written wherever it is needed: most often into a HMAC and nowhere else.
struct RequestText<'a> {
    method: &'a str,
    path: &'a str,
    pairs: &'a [(Cow<'a, str>, &'a str)],
}

impl fmt::Display for RequestText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.chars().flat_map(char::to_uppercase).try_for_each(|c| f.write_char(c))?;
        write!(f, "\n{}\n", self.path)?;
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            let and = if index == 0 { "" } else { "&" };
            write!(f, "{and}{name}={value}")?;
        }
        Ok(())
    }
}

/// The signature of an API request, in hex. Values are given decoded.
pub fn request_signature(secret: &str, method: &str, path: &str, query: &[(&str, &str)]) -> String {
    let pairs = signed_pairs(query.iter().copied());
    let text = RequestText { method, path, pairs: &pairs };
    hex(&mac_of(&secret.into(), text).finalize().into_bytes())
}

/// Signs a request that we make ourselves: the whole query,
/// `auth_key=…&auth_timestamp=…&auth_version=1.0&body_md5=…&auth_signature=…`. Without a body there is no `body_md5`.
pub fn signed_query(
    credentials: Credentials<'_>,
    method: &str,
    path: &str,
    body: &[u8],
    unix_seconds: u64,
) -> String {
    let time = unix_seconds.to_string();
    let md5 = hex(&Md5::digest(body));
    let mut pairs = vec![
        ("auth_key", credentials.key),
        ("auth_timestamp", time.as_str()),
        ("auth_version", "1.0"),
    ];
    if !body.is_empty() {
        pairs.push(("body_md5", md5.as_str()));
    }
    let signature = request_signature(credentials.secret, method, path, &pairs);
    pairs.push(("auth_signature", signature.as_str()));
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        percent::encode_into(&mut query, value);
    }
    query
}

/// An empty `channel_data` is as good as none: signers append nothing then.
fn channel_mac(
    secret: &Secret,
    socket_id: impl fmt::Display,
    channel: &str,
    channel_data: Option<&str>,
) -> Hmac<Sha256> {
    match channel_data {
        Some(data) if !data.is_empty() => {
            mac_of(secret, format_args!("{socket_id}:{channel}:{data}"))
        }
        _ => mac_of(secret, format_args!("{socket_id}:{channel}")),
    }
}

fn verify_auth(key: &str, auth: &str, signed: Hmac<Sha256>) -> Result<(), AuthError> {
    if auth.is_empty() {
        return Err(AuthError::Missing);
    }
    // A key has no rule against colons; the signature has none in it, so the last colon divides them.
    let (got, signature) = auth.rsplit_once(':').ok_or(AuthError::Shape)?;
    if got != key {
        return Err(AuthError::Key);
    }
    let digest = unhex(signature).ok_or(AuthError::Shape)?;
    // Constant time: how much of a guess was right must not show.
    signed.verify_slice(&digest).map_err(|_| AuthError::Signature)
}

/// Of a text that need not be put together anywhere.
fn mac_of(secret: &Secret, text: impl fmt::Display) -> Hmac<Sha256> {
    struct Into(Hmac<Sha256>);
    impl fmt::Write for Into {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut into = Into(secret.mac.clone());
    // A HMAC takes whatever is written.
    let _ = write!(into, "{text}");
    into.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().copied().flat_map(hex_digits).map(char::from).collect()
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// 64 lower-case digits alone: two spellings of one signature would be one too many.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, &[high, low]) in digest.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(digest)
}

/// For fuzzers: no query that nobody signed is believed, whatever is in it; what was signed is; and not once a byte of its
/// path, its query or its body is another. The first two bytes choose which and how.
#[cfg(any(test, fuzzing))]
pub fn fuzz_queries(data: &[u8]) {
    let Some((&[place, change], rest)) = data.split_first_chunk() else { return };
    let credentials = Credentials { key: "app-key", secret: &"app-secret".into() };
    let clock = Clock { unix_seconds: 1_700_000_000, tolerance_seconds: 600 };
    if let Ok(query) = str::from_utf8(rest) {
        for spelling in [Spelling::Form, Spelling::Plus, Spelling::Raw] {
            let parameters = Parameters::read(query, spelling);
            assert!(parameters.pairs().len() <= query.split('&').count());
        }
        let request = SignedRequest { method: "GET", path: "/apps/1/channels", query, body: b"" };
        assert!(request.verify(credentials, "", clock).is_err(), "{query}");
    }
    let cut = rest.len().min(usize::from(place));
    let (path, body) = rest.split_at(cut);
    let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    let path = path.iter().copied().filter(|byte| is_path(*byte)).map(char::from);
    let path: String = std::iter::once('/').chain(path).collect();
    let query = signed_query(credentials, "POST", &path, body, clock.unix_seconds - 600);
    let check = |path: &str, query: &str, body: &[u8]| {
        SignedRequest { method: "POST", path, query, body }.verify(credentials, "", clock)
    };
    assert_eq!(check(&path, &query, body), Ok(()));
    let flip = |bytes: &[u8]| flipped(bytes, usize::from(change), place & 3);
    if !body.is_empty() {
        assert!(check(&path, &query, &flip(body)).is_err());
    }
    let other = String::from_utf8_lossy(&flip(path.as_bytes())).into_owned();
    assert!(check(&other, &query, body).is_err(), "{path} and {other}");
    let other = String::from_utf8_lossy(&flip(query.as_bytes())).into_owned();
    assert!(check(&path, &other, body).is_err(), "{query} and {other}");
}

/// For fuzzers: no `auth` that nobody signed is believed, whatever it is; what was signed is, and not with a bit of it, of the
/// socket_id, of the channel or of the data changed; and what lets a client onto a channel signs nobody in, nor the other way
/// round. The first two bytes choose the bit, the lines of the rest are an `auth`, a socket_id, a channel and data.
#[cfg(any(test, fuzzing))]
pub fn fuzz_auths(data: &[u8]) {
    const SECRET: &str = "app-secret";
    let Some((&[at, bit], rest)) = data.split_first_chunk() else { return };
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.splitn(4, '\n').map(str::to_owned);
    let said: [String; 4] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let credentials = Credentials { key: "app-key", secret: &SECRET.into() };
    let subscribes = |[auth, socket_id, channel, data]: &[String; 4]| {
        verify_channel(credentials, auth, socket_id, channel, Some(data)).is_ok()
    };
    let signs_in = |[auth, socket_id, _, data]: &[String; 4]| {
        verify_user(credentials, auth, socket_id, data).is_ok()
    };
    let [auth, socket_id, channel, data] = &said;
    let with = |auth: &str| [auth.to_owned(), socket_id.clone(), channel.clone(), data.clone()];
    for forged in [auth.clone(), format!("app-key:{auth}")].map(|auth| with(&auth)) {
        assert!(!subscribes(&forged) && !signs_in(&forged), "{forged:?}");
    }
    let signature = channel_signature(SECRET, socket_id, channel, Some(data));
    let subscription = with(&format!("app-key:{signature}"));
    let sign_in = with(&format!("app-key:{}", user_signature(SECRET, socket_id, data)));
    assert!(subscribes(&subscription) && signs_in(&sign_in), "{said:?}");
    // Channels that want a signature begin with `private-` or `presence-`, whatever else an app allows in their names.
    if !channel.is_empty() && !channel.starts_with(':') {
        assert!(!subscribes(&sign_in) && !signs_in(&subscription), "{said:?}");
    }
    let change = |signed: &[String; 4], part: usize| {
        let mut forged = signed.clone();
        let other = flipped(forged[part].as_bytes(), usize::from(at), bit & 7);
        forged[part] = String::from_utf8_lossy(&other).into_owned();
        forged
    };
    for part in 0..said.len() {
        let (to_channel, to_user) = (change(&subscription, part), change(&sign_in, part));
        assert!(to_channel == subscription || !subscribes(&to_channel), "{to_channel:?}");
        // A sign-in has no channel.
        assert!(part == 2 || to_user == sign_in || !signs_in(&to_user), "{to_user:?}");
    }
}

/// The bytes, with one bit of one of them changed, if there are any.
#[cfg(any(test, fuzzing))]
fn flipped(bytes: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
    bytes
}

#[cfg(test)]
mod tests;

//! What a client can do wrong, and which status each earns.
//!
//! Every fault of RFC 9112 that we tell apart has a name, because a log line and a refusal that say "bad request" help
//! nobody. Knows nothing of who raises it; `protocol.rs` writes the refusal.

use std::fmt;

/// The client broke HTTP/1.1 or passed a limit. Answered with its status, then the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A line ends with LF alone. RFC 9112 §2.2 allows to accept it; two readers that differ in it are how requests
    /// are smuggled.
    BareLineFeed,
    /// The body is over the limit.
    BodyTooBig {
        /// What was announced or has come, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The extensions of all chunks together are over the limit.
    ChunkExtensionsTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The chunked coding is broken (RFC 9112 §7.1).
    ChunkInvalid,
    /// CONNECT, which asks for a proxy (RFC 9110 §9.3.6).
    Connect,
    /// Content-Length is not a number in decimal digits.
    ContentLengthInvalid,
    /// Content-Length came more than once. Even equal ones are refused: no client we serve sends them.
    ContentLengthRepeated,
    /// Content-Length and Transfer-Encoding in one request (RFC 9112 §6.3): the mark of smuggling.
    ContentLengthWithTransferEncoding,
    /// A control character in the head or in a trailer.
    ControlCharacter {
        /// The character.
        byte: u8,
    },
    /// Too many empty lines before a request line.
    EmptyLines {
        /// The limit.
        limit: u8,
    },
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationUnknown,
    /// The head, or the trailers, are over the limit.
    HeadTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A header field that goes on in the next line (RFC 9112 §5.2).
    HeaderFolded,
    /// A header line without a colon or with a name that is no token.
    HeaderInvalid,
    /// Whitespace between a field's name and its colon (RFC 9112 §5.1).
    HeaderSpaceBeforeColon,
    /// More header fields than the limit.
    HeadersTooMany {
        /// How many came.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Host is no host (RFC 9112 §3.2).
    HostInvalid,
    /// An HTTP/1.1 request without Host.
    HostMissing,
    /// Host came more than once.
    HostRepeated,
    /// The method is no token.
    MethodInvalid,
    /// The request line is not method, space, target, space, version.
    RequestLineInvalid,
    /// The request line alone is over the limit of the head.
    RequestLineTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The target is of a form that the method does not allow, or has characters that no target has.
    TargetInvalid,
    /// The request did not arrive in time. Raised by whoever has a clock.
    Timeout,
    /// A TLS ClientHello on a plain port. Refused without a word: nothing we write would be understood.
    Tls,
    /// A trailer field that says where a message ends or whom it is for (RFC 9110 §6.5.1).
    TrailerForbidden,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncodingInHttp10,
    /// Transfer-Encoding whose last coding is not `chunked`, or has it twice: where the body ends is anybody's guess.
    TransferEncodingInvalid,
    /// A transfer coding besides `chunked`.
    TransferEncodingUnknown,
    /// The server takes no requests now. Raised by whoever knows that it stops.
    Unavailable,
    /// An HTTP version other than 1.0 and 1.1.
    VersionUnsupported,
}

impl ProtocolError {
    /// The status this error earns (RFC 9110 §15).
    pub fn status(&self) -> u16 {
        match self {
            Self::BareLineFeed
            | Self::ChunkExtensionsTooBig { .. }
            | Self::ChunkInvalid
            | Self::ContentLengthInvalid
            | Self::ContentLengthRepeated
            | Self::ContentLengthWithTransferEncoding
            | Self::ControlCharacter { .. }
            | Self::EmptyLines { .. }
            | Self::HeaderFolded
            | Self::HeaderInvalid
            | Self::HeaderSpaceBeforeColon
            | Self::HostInvalid
            | Self::HostMissing
            | Self::HostRepeated
            | Self::MethodInvalid
            | Self::RequestLineInvalid
            | Self::TargetInvalid
            | Self::Tls
            | Self::TrailerForbidden
            | Self::TransferEncodingInHttp10
            | Self::TransferEncodingInvalid => 400,
            Self::Timeout => 408,
            Self::BodyTooBig { .. } => 413,
            Self::RequestLineTooBig { .. } => 414,
            Self::ExpectationUnknown => 417,
            Self::HeadTooBig { .. } | Self::HeadersTooMany { .. } => 431,
            Self::Connect | Self::TransferEncodingUnknown => 501,
            Self::Unavailable => 503,
            Self::VersionUnsupported => 505,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareLineFeed => f.write_str("a line ends with LF alone; CR LF is required"),
            Self::BodyTooBig { bytes, limit } => {
                write!(f, "a body of {bytes} bytes or more; at most {limit} are allowed")
            }
            Self::ChunkExtensionsTooBig { limit } => {
                write!(f, "more than {limit} bytes of chunk extensions")
            }
            Self::ChunkInvalid => {
                f.write_str("broken chunked coding; size in hex, CR LF, data, CR LF is required")
            }
            Self::Connect => f.write_str("CONNECT is for proxies, and this server is none"),
            Self::ContentLengthInvalid => f.write_str("Content-Length is not a decimal number"),
            Self::ContentLengthRepeated => {
                f.write_str("more than one Content-Length; one is allowed")
            }
            Self::ContentLengthWithTransferEncoding => {
                f.write_str("Content-Length and Transfer-Encoding; one of them is allowed")
            }
            Self::ControlCharacter { byte } => {
                write!(f, "control character 0x{byte:02x} in the head")
            }
            Self::EmptyLines { limit } => {
                write!(f, "more than {limit} empty lines before the request line")
            }
            Self::ExpectationUnknown => {
                f.write_str("unknown expectation; only 100-continue is known")
            }
            Self::HeadTooBig { limit } => write!(f, "a head of more than {limit} bytes"),
            Self::HeaderFolded => {
                f.write_str("a header field over several lines; one line is allowed")
            }
            Self::HeaderInvalid => f.write_str("a header line that is not `name: value`"),
            Self::HeaderSpaceBeforeColon => {
                f.write_str("whitespace before the colon of a header field")
            }
            Self::HeadersTooMany { count, limit } => {
                write!(f, "{count} header fields; at most {limit} are allowed")
            }
            Self::HostInvalid => f.write_str("Host is not a host with an optional port"),
            Self::HostMissing => f.write_str("no Host; HTTP/1.1 requires it"),
            Self::HostRepeated => f.write_str("more than one Host; one is allowed"),
            Self::MethodInvalid => f.write_str("the method is not a token"),
            Self::RequestLineInvalid => {
                f.write_str("the request line is not `METHOD target HTTP/1.1`")
            }
            Self::RequestLineTooBig { limit } => {
                write!(f, "a request line of more than {limit} bytes")
            }
            Self::TargetInvalid => f.write_str("the target is neither a path nor an http address"),
            Self::Timeout => f.write_str("the request did not arrive in time"),
            Self::Tls => f.write_str("a TLS handshake on a port without TLS"),
            Self::TrailerForbidden => f.write_str(
                "Content-Length, Host or Transfer-Encoding behind the body; they belong in the head",
            ),
            Self::TransferEncodingInHttp10 => {
                f.write_str("Transfer-Encoding in HTTP/1.0; 1.1 is required")
            }
            Self::TransferEncodingInvalid => {
                f.write_str("Transfer-Encoding does not end in one chunked; where does the body end?")
            }
            Self::TransferEncodingUnknown => {
                f.write_str("unknown transfer coding; only chunked is known")
            }
            Self::Unavailable => f.write_str("the server takes no requests now"),
            Self::VersionUnsupported => f.write_str("unknown HTTP version; 1.0 and 1.1 are known"),
        }
    }
}

impl std::error::Error for ProtocolError {}

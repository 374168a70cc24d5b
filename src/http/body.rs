//! Bodies by Content-Length and chunked, incremental.
//!
//! A chunked body is undone in place, in the connection's buffer: its data moves down over the chunk heads.
//!
//! ```text
//!   head │ data undone │ done with │ not read yet
//!        start       written      read          end of buffer
//! ```
//!
//! Each byte is looked at once, however the bytes are cut. Knows nothing of heads.

use super::error::ProtocolError;
use super::percent::hex_value;
use super::request::Limits;
use super::request_line::is_token_byte;

/// The extensions of all chunks of one body. Nobody uses them; a proxy may still add some.
const MOST_EXTENSION_BYTES: usize = 1024;

/// A chunk's size in hex: as many digits as 64 bits have.
const MOST_SIZE_DIGITS: u8 = 16;

/// Fields that may not stand behind a body (RFC 9110 §6.5.1): a reader that took them for headers would see another
/// request than we do.
const NO_TRAILERS: [&[u8]; 3] = [b"content-length", b"host", b"transfer-encoding"];

/// The longest of these.
const NAME_BYTES: usize = 17;

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// By its chunks.
    Chunked,
    /// By its length, which is not 0.
    Length(usize),
    /// There is none.
    None,
}

/// A chunked body that is arriving.
#[derive(Debug)]
pub(super) struct Chunked {
    step: Step,
    /// `start <= written <= read <=` the buffer's length.
    start: usize,
    written: usize,
    read: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
    /// How many trailer fields have begun.
    trailers: usize,
    /// The beginning of the trailer's name that is read, and the whole name's length.
    name: [u8; NAME_BYTES],
    name_bytes: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLineFeed { size: u64 },
    Data { left: usize },
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl Chunked {
    /// A body whose first chunk begins at `start` of the buffer.
    pub(super) fn new(start: usize) -> Self {
        Self {
            step: Step::Size { size: 0, digits: 0 },
            start,
            written: start,
            read: start,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: 0,
            name: [0; NAME_BYTES],
            name_bytes: 0,
        }
    }

    /// Reads on. If the body is whole: where its data and where the request ends.
    pub(super) fn receive(
        &mut self,
        buffer: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        while self.step != Step::Done {
            if let Step::Data { left } = self.step {
                let come = left.min(buffer.len().saturating_sub(self.read));
                if come == 0 {
                    break;
                }
                buffer.copy_within(self.read..self.read + come, self.written);
                self.written += come;
                self.read += come;
                self.step =
                    if come == left { Step::DataReturn } else { Step::Data { left: left - come } };
            } else {
                let Some(&byte) = buffer.get(self.read) else { break };
                self.step = self.step_over(byte, limits)?;
                self.read += 1;
            }
        }
        if self.step == Step::Done {
            return Ok(Some((self.written, self.read)));
        }
        // All that has come is read: give back what the chunk heads took, so that a body in many small chunks holds
        // no more than its data.
        buffer.truncate(self.written);
        self.read = self.written;
        Ok(None)
    }

    fn step_over(&mut self, byte: u8, limits: &Limits) -> Result<Step, ProtocolError> {
        match (self.step, byte) {
            (Step::Size { size, digits }, b'\r') if digits > 0 => Ok(Step::SizeLineFeed { size }),
            (Step::Size { size, digits }, b';') if digits > 0 => Ok(Step::Extension { size }),
            (Step::Size { size, digits }, _) => match hex_value(byte) {
                Some(digit) if digits < MOST_SIZE_DIGITS => {
                    Ok(Step::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
                }
                _ => Err(ProtocolError::ChunkInvalid),
            },
            (Step::Extension { size }, b'\r') => Ok(Step::SizeLineFeed { size }),
            (Step::Extension { .. }, _) => {
                self.extension_bytes += 1;
                refuse_control(byte)?;
                if self.extension_bytes > MOST_EXTENSION_BYTES {
                    return Err(ProtocolError::ChunkExtensionsTooBig {
                        limit: MOST_EXTENSION_BYTES,
                    });
                }
                Ok(self.step)
            }
            (Step::SizeLineFeed { size: 0 }, b'\n') => Ok(Step::TrailerStart),
            (Step::SizeLineFeed { size }, b'\n') => self.announce(size, limits.body_bytes),
            (Step::DataReturn, b'\r') => Ok(Step::DataLineFeed),
            (Step::DataLineFeed, b'\n') => Ok(Step::Size { size: 0, digits: 0 }),
            (Step::TrailerStart, b'\r') => Ok(Step::LastLineFeed),
            (Step::TrailerStart | Step::TrailerName | Step::TrailerValue, _) => {
                self.step_over_trailer(byte, limits)
            }
            (Step::TrailerLineFeed, b'\n') => Ok(Step::TrailerStart),
            (Step::LastLineFeed, b'\n') => Ok(Step::Done),
            _ => Err(ProtocolError::ChunkInvalid),
        }
    }

    /// A chunk of `size` bytes begins: refused before its data is kept.
    fn announce(&self, size: u64, limit: usize) -> Result<Step, ProtocolError> {
        let come = self.written - self.start;
        let bytes = u64::try_from(come).unwrap_or(u64::MAX).saturating_add(size);
        match usize::try_from(size) {
            Ok(left) if left <= limit.saturating_sub(come) => Ok(Step::Data { left }),
            _ => Err(ProtocolError::BodyTooBig { bytes, limit }),
        }
    }

    /// Trailers are read as strictly as headers, and dropped (RFC 9110 §6.5.1 allows that).
    fn step_over_trailer(&mut self, byte: u8, limits: &Limits) -> Result<Step, ProtocolError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits.head_bytes {
            return Err(ProtocolError::HeadTooBig { limit: limits.head_bytes });
        }
        match (self.step, byte) {
            (Step::TrailerValue, b'\r') => Ok(Step::TrailerLineFeed),
            (Step::TrailerValue, _) => refuse_control(byte).map(|()| Step::TrailerValue),
            (Step::TrailerName, b':') if self.is_name_forbidden() => {
                Err(ProtocolError::TrailerForbidden)
            }
            (Step::TrailerName, b':') => Ok(Step::TrailerValue),
            (Step::TrailerStart, b' ' | b'\t') => Err(ProtocolError::HeaderFolded),
            (_, b' ' | b'\t') => Err(ProtocolError::HeaderSpaceBeforeColon),
            (Step::TrailerStart, _) if is_token_byte(byte) => {
                self.trailers += 1;
                if self.trailers > limits.headers {
                    let (count, limit) = (self.trailers, limits.headers);
                    return Err(ProtocolError::HeadersTooMany { count, limit });
                }
                self.name_bytes = 0;
                self.note_name(byte);
                Ok(Step::TrailerName)
            }
            _ if is_token_byte(byte) => {
                self.note_name(byte);
                Ok(Step::TrailerName)
            }
            _ => refuse_control(byte).and(Err(ProtocolError::HeaderInvalid)),
        }
    }

    fn note_name(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_bytes) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_bytes += 1;
    }

    fn is_name_forbidden(&self) -> bool {
        self.name.get(..self.name_bytes).is_some_and(|name| NO_TRAILERS.contains(&name))
    }
}

/// Tab apart, no control character has a meaning inside a line (RFC 9110 §5.5).
pub(super) fn refuse_control(byte: u8) -> Result<(), ProtocolError> {
    match byte {
        b'\n' => Err(ProtocolError::BareLineFeed),
        b'\t' => Ok(()),
        _ if byte.is_ascii_control() => Err(ProtocolError::ControlCharacter { byte }),
        _ => Ok(()),
    }
}

/// For fuzzers: a body comes out as it was, by its length and by chunks of any size and spelling, however it is cut; one
/// over the limit is refused; and the next request begins where it ended. The first three bytes choose the size of the
/// chunks, their spelling, and the cut.
#[cfg(any(test, fuzzing))]
pub fn fuzz_bodies(data: &[u8]) {
    use super::protocol::Talk;
    let Some((&[size, spelling, cut], body)) = data.split_first_chunk() else { return };
    let limits = Limits { head_bytes: 256, headers: 8, body_bytes: 96 };
    let next = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    let by_length = [length.as_bytes(), body].concat();
    let mut by_chunks = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(usize::from(size) + 1) {
        by_chunks.extend([&spelled(chunk.len(), spelling), chunk, b"\r\n"].concat());
    }
    by_chunks.extend(spelled(0, spelling));
    by_chunks.extend_from_slice(if spelling & 8 == 0 { b"\r\n" } else { b"Of: a trailer\r\n\r\n" });
    let is_within = body.len() <= limits.body_bytes;
    for rest in [by_length, by_chunks] {
        let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\n", rest.as_slice(), next].concat();
        for part in [bytes.len(), 1, usize::from(cut) + 1] {
            let talk = Talk::listen(bytes.chunks(part), &limits);
            assert_eq!(talk.error.is_none(), is_within, "{:?}", talk.error);
            let whole = format!("POST / {{{}}}", String::from_utf8_lossy(body));
            let expected = if is_within { vec![whole, "GET /next {}".to_owned()] } else { vec![] };
            assert_eq!(talk.requests, expected);
        }
    }
}

/// The head of a chunk, in one of the ways that it may be written.
#[cfg(any(test, fuzzing))]
fn spelled(bytes: usize, spelling: u8) -> Vec<u8> {
    let digits = if spelling & 1 == 0 { format!("{bytes:x}") } else { format!("{bytes:X}") };
    let zeros = if spelling & 2 == 0 { "" } else { "000" };
    let extension = if spelling & 4 == 0 { "" } else { ";by=\"us\"" };
    format!("{zeros}{digits}{extension}\r\n").into_bytes()
}

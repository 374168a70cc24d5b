//! ⑨ What a socket did not take: kept in order on the heap, written when the socket takes more.
//!
//! Most connections never own one. Shared frames are referenced, not copied, and counted in full: the limit speaks of
//! what the connection keeps alive.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::stream::Stream;
use crate::ws::{Form, Prepared};

/// Pieces given to one `writev`.
pub(crate) const MOST_PIECES: usize = 64;

enum Chunk {
    Shared(Prepared, Form),
    Own(Box<[u8]>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(prepared, form) => prepared.frame_as(*form),
            Self::Own(bytes) => bytes,
        }
    }
}

/// Bytes that wait for one socket.
#[derive(Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Of the first chunk, how much is written. `written < chunks[0].len()`
    written: usize,
    /// Whether the peer has the beginning of the first chunk, be it written from here or before it came here.
    has_begun: bool,
    /// What waits, in all.
    bytes: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the connection keeps alive: what waits, and the list of it, which for many small frames is the larger part.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes + self.chunks.len() * size_of::<Chunk>()
    }

    /// Queues a shared frame of which `written` bytes are on their way already (only the first may have begun).
    pub(crate) fn push_shared(&mut self, frame: &Prepared, form: Form, written: usize) {
        self.push(Chunk::Shared(frame.clone(), form), written);
    }

    /// Queues a copy of what follows the `written` bytes that are on their way already (only the first may have begun).
    pub(crate) fn push_own(&mut self, bytes: &[u8], written: usize) {
        if bytes.len() > written {
            self.push(Chunk::Own(bytes[written..].into()), 0);
            self.has_begun |= written > 0;
        }
    }

    fn push(&mut self, chunk: Chunk, written: usize) {
        debug_assert!(written == 0 || self.chunks.is_empty());
        self.bytes += chunk.bytes().len() - written;
        self.written += written;
        self.has_begun |= written > 0;
        self.chunks.push_back(chunk);
        self.invariants();
    }

    /// Drops what has not begun: a frame that has must be finished, or the peer could not read what follows.
    pub(crate) fn keep_begun(&mut self) {
        self.chunks.truncate(usize::from(self.has_begun));
        self.bytes = self.chunks.front().map_or(0, |first| first.bytes().len()) - self.written;
        self.invariants();
    }

    /// Writes until nothing is left or the socket takes no more. True if nothing is left; then its memory is given up.
    pub(crate) fn write_to(&mut self, stream: &mut impl Stream) -> io::Result<bool> {
        while !self.chunks.is_empty() {
            let mut pieces = [IoSlice::new(&[]); MOST_PIECES];
            let mut count = 0;
            for (piece, chunk) in pieces.iter_mut().zip(&self.chunks) {
                let skip = if count == 0 { self.written } else { 0 };
                *piece = IoSlice::new(&chunk.bytes()[skip..]);
                count += 1;
            }
            match stream.write_vectored(&pieces[..count]) {
                Ok(bytes) => self.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *self = Self::default();
        Ok(true)
    }

    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = self.chunks.front() {
            let rest = first.bytes().len() - self.written;
            if bytes < rest {
                self.written += bytes;
                self.has_begun |= bytes > 0;
                break;
            }
            bytes -= rest;
            (self.written, self.has_begun) = (0, false);
            self.chunks.pop_front();
        }
        self.invariants();
    }

    fn invariants(&self) {
        let first = self.chunks.front().map_or(0, |first| first.bytes().len());
        debug_assert!(self.written == 0 || self.written < first);
        debug_assert!(
            self.bytes >= first - self.written && (self.bytes == 0) == self.chunks.is_empty()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::stream::Peer;
    use crate::ws::MessageKind;

    /// Takes so many bytes in all, `step` at a time.
    struct Socket {
        taken: Vec<u8>,
        room: usize,
        step: usize,
    }

    impl Peer for Socket {
        fn address(&self) -> Option<std::net::SocketAddr> {
            None
        }
    }

    impl Stream for Socket {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.room).min(self.step);
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= room;
            self.taken.extend_from_slice(&bytes[..room]);
            Ok(room)
        }
        fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            self.write(&pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>())
        }
        fn finish(&mut self) {}
    }

    #[test]
    fn every_byte_is_written_once_and_in_order_however_the_socket_takes_it() {
        let frame = Prepared::new(MessageKind::Text, b"shared frame");
        for step in 1..40 {
            let mut outbox = Outbox::default();
            let mut socket = Socket { taken: Vec::new(), room: 0, step };
            let mut expected = frame.frame()[3..].to_vec();
            outbox.push_shared(&frame, Form::Plain, 3);
            for _ in 0..100 {
                outbox.push_own(b"own", 0);
                outbox.push_shared(&frame, Form::Plain, 0);
                expected.extend_from_slice(b"own");
                expected.extend_from_slice(frame.frame());
            }
            assert_eq!(outbox.bytes(), expected.len());
            while !outbox.write_to(&mut socket).unwrap() {
                socket.room += 17;
            }
            assert_eq!(socket.taken, expected);
            assert_eq!((outbox.bytes(), outbox.is_empty()), (0, true));
        }
    }

    #[test]
    fn a_frame_that_has_begun_is_kept_and_the_rest_dropped() {
        let frame = Prepared::new(MessageKind::Text, b"0123456789");
        let mut outbox = Outbox::default();
        outbox.push_shared(&frame, Form::Plain, 4);
        outbox.push_shared(&frame, Form::Plain, 0);
        outbox.keep_begun();
        assert_eq!(outbox.bytes(), frame.frame().len() - 4);
        let mut own = Outbox::default();
        own.push_own(b"0123456789", 4);
        own.push_own(b"next", 0);
        own.keep_begun();
        assert_eq!(own.bytes(), 6);
        let mut fresh = Outbox::default();
        fresh.push_shared(&frame, Form::Plain, 0);
        fresh.keep_begun();
        assert!(fresh.is_empty());
    }
}

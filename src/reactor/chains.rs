//! What this turn sends, and to whom.
//!
//! Delivering a frame to a connection appends a link of 8 bytes to that connection's chain; flush turns each chain
//! into one `send` or `writev`.
//!
//! ```text
//! frames  [ shared A | own 0..7 | shared B ]        own  [ pong bytes … ]
//! links   [ A,─┐ | A,─ | own,─ | B,─ ]              slot 5: chain A → B     slot 9: chain A     slot 2: chain own
//!            └──────────────────▲
//! ```
//!
//! Nothing is allocated and no reference is counted for a link: all of it is cleared at once when the last connection
//! has been flushed, and keeps its capacity for the next turn.

use crate::ws::{Deflater, Form, Prepared};

/// No link.
const NONE: u32 = u32::MAX;

/// A connection's part: its first and last link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    head: u32,
    tail: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl Chain {
    pub(crate) fn is_empty(self) -> bool {
        self.head == NONE
    }
}

/// A frame of this turn.
pub(crate) type FrameId = u32;

pub(crate) enum Frame {
    /// The same for many connections.
    Shared(Prepared, Form),
    /// For one connection: a range of `own`.
    Own { start: usize, end: usize },
}

struct Link {
    frame: FrameId,
    next: u32,
}

/// Everything this turn has to send.
#[derive(Default)]
pub(crate) struct Chains {
    frames: Vec<Frame>,
    own: Vec<u8>,
    links: Vec<Link>,
    /// Connections with a chain, in the order in which they got it.
    due: Vec<u32>,
    /// Those before this one have been flushed.
    flushed: usize,
    /// What the frames hold, shared ones in full.
    bytes: usize,
}

impl Chains {
    /// What `own` may keep for the next turn after one that needed more.
    const OWN_KEPT_BYTES: usize = 1024 * 1024;
    /// Links and frames kept for the next turn.
    const KEPT: usize = 1 << 20;

    /// Links that may be outstanding before all is flushed, slices or not: they are given back all at once.
    const MOST_LINKS: usize = 4 << 20;
    /// The same for bytes.
    const MOST_BYTES: usize = 64 * 1024 * 1024;

    /// A frame for any number of connections that take messages in that form.
    pub(crate) fn share(
        &mut self,
        message: &Prepared,
        form: Form,
        deflater: &mut Deflater,
    ) -> FrameId {
        self.bytes += message.in_form(form, deflater).len();
        self.push_frame(Frame::Shared(message.clone(), form))
    }

    /// Appends a frame to the chain of connection `slot`.
    pub(crate) fn append(&mut self, slot: u32, chain: &mut Chain, frame: FrameId) {
        let link = index(self.links.len());
        self.links.push(Link { frame, next: NONE });
        if chain.is_empty() {
            chain.head = link;
            self.due.push(slot);
        } else {
            self.links[chain.tail as usize].next = link;
        }
        chain.tail = link;
    }

    /// Appends bytes for one connection alone, as `write` gives them.
    pub(crate) fn append_own<R>(
        &mut self,
        slot: u32,
        chain: &mut Chain,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let start = self.own.len();
        let result = write(&mut self.own);
        let end = self.own.len();
        if start == end {
            return result;
        }
        self.bytes += end - start;
        // A run of answers to one connection is one piece.
        if !chain.is_empty() {
            let last = self.links[chain.tail as usize].frame;
            if let Frame::Own { end: last_end, .. } = &mut self.frames[last as usize]
                && *last_end == start
            {
                *last_end = end;
                return result;
            }
        }
        let frame = self.push_frame(Frame::Own { start, end });
        self.append(slot, chain, frame);
        result
    }

    /// The pieces of a chain, in order.
    pub(crate) fn pieces(&self, chain: Chain) -> Pieces<'_> {
        Pieces { chains: self, next: chain.head }
    }

    pub(crate) fn bytes<'c>(&'c self, piece: &'c Frame) -> &'c [u8] {
        match piece {
            Frame::Shared(prepared, form) => prepared.frame_as(*form),
            Frame::Own { start, end } => &self.own[*start..*end],
        }
    }

    /// The next connection to be flushed. When there is none, all chains are gone.
    pub(crate) fn next_due(&mut self) -> Option<u32> {
        let Some(&slot) = self.due.get(self.flushed) else {
            self.clear();
            return None;
        };
        self.flushed += 1;
        Some(slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.len() == self.flushed
    }

    /// Whether so much is here, flushed or not, that everything should be flushed before more comes.
    pub(crate) fn is_heavy(&self) -> bool {
        self.links.len() > Self::MOST_LINKS || self.bytes > Self::MOST_BYTES
    }

    fn push_frame(&mut self, frame: Frame) -> FrameId {
        let id = index(self.frames.len());
        self.frames.push(frame);
        id
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.own.clear();
        self.links.clear();
        self.due.clear();
        (self.flushed, self.bytes) = (0, 0);
        self.own.shrink_to(Self::OWN_KEPT_BYTES);
        self.frames.shrink_to(Self::KEPT);
        self.links.shrink_to(Self::KEPT);
        self.due.shrink_to(Self::KEPT);
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length)
        .ok()
        .filter(|index| *index != NONE)
        .expect("chains are flushed long before 2^32 links")
}

/// The pieces of one chain.
pub(crate) struct Pieces<'c> {
    chains: &'c Chains,
    next: u32,
}

impl<'c> Iterator for Pieces<'c> {
    type Item = &'c Frame;

    fn next(&mut self) -> Option<&'c Frame> {
        if self.next == NONE {
            return None;
        }
        let link = &self.chains.links[self.next as usize];
        self.next = link.next;
        Some(&self.chains.frames[link.frame as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Compression, MessageKind};

    fn sent(chains: &Chains, chain: Chain) -> Vec<Vec<u8>> {
        chains.pieces(chain).map(|piece| chains.bytes(piece).to_vec()).collect()
    }

    #[test]
    fn each_connection_gets_its_frames_in_order() {
        let mut chains = Chains::default();
        let (mut five, mut nine) = (Chain::default(), Chain::default());
        let first = Prepared::new(MessageKind::Text, b"first");
        let second = Prepared::new(MessageKind::Text, b"second");
        let mut deflater = Deflater::new(Compression::default());
        let shared = chains.share(&first, Form::Plain, &mut deflater);
        chains.append(5, &mut five, shared);
        chains.append(9, &mut nine, shared);
        chains.append_own(9, &mut nine, |out| out.extend_from_slice(b"pong"));
        let shared = chains.share(&second, Form::Plain, &mut deflater);
        chains.append(5, &mut five, shared);
        assert_eq!(sent(&chains, five), [first.frame(), second.frame()]);
        assert_eq!(sent(&chains, nine), [first.frame(), b"pong"]);
        assert_eq!(
            [chains.next_due(), chains.next_due(), chains.next_due()],
            [Some(5), Some(9), None]
        );
        assert_eq!((chains.links.len(), chains.frames.len(), chains.bytes), (0, 0, 0));
    }

    #[test]
    fn a_run_of_answers_is_one_piece() {
        let mut chains = Chains::default();
        let (mut one, mut two) = (Chain::default(), Chain::default());
        chains.append_own(1, &mut one, |out| out.extend_from_slice(b"ab"));
        chains.append_own(1, &mut one, |out| out.extend_from_slice(b"cd"));
        chains.append_own(2, &mut two, |out| out.extend_from_slice(b"xy"));
        chains.append_own(1, &mut one, |out| out.extend_from_slice(b"ef"));
        chains.append_own(1, &mut one, |_| ());
        assert_eq!(sent(&chains, one), [b"abcd".to_vec(), b"ef".to_vec()]);
        assert_eq!(sent(&chains, two), [b"xy"]);
    }
}

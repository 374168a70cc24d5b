//! A guest's end of its connection, and the network between: bytes are on their way, cut anywhere, held up, or cut off.
//!
//! ```text
//!   say ─▶ up [ … ] ─ carry some ─▶ the server's socket          held: nothing is carried
//!   hear ◀─ take some ◀─ [ room ] ◀─ what the server wrote        stalled: nothing is taken, and room runs out
//! ```

use std::collections::VecDeque;

use stentor::reactor::simulation::Client;

/// How a guest's end ended, by its own doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// It has nothing more to say, and reads on.
    Finish,
    /// It closes the socket: what still comes for it is answered with a reset.
    HangUp,
    /// It cuts the connection.
    Reset,
    /// It is not heard of again, and nobody is told.
    Vanish,
}

/// A guest's end.
pub(crate) struct Line {
    pub(crate) client: Client,
    up: VecDeque<u8>,
    /// What the guest's machine keeps for it; `None` is without limit.
    room: Option<usize>,
    /// Nothing is held up, and all is taken at once.
    pub(crate) is_prompt: bool,
    pub(crate) is_held: bool,
    pub(crate) is_stalled: bool,
    pub(crate) left: Option<Leave>,
    /// The server was told that the guest has nothing more to say.
    is_end_told: bool,
    /// There was a moment at which the server could not write.
    pub(crate) was_narrow: bool,
    /// There was a moment at which the server could not read, or was not read.
    pub(crate) was_slow: bool,
}

impl Line {
    pub(crate) fn new(client: Client, is_prompt: bool, room: Option<usize>) -> Self {
        client.set_room(room);
        Self {
            client,
            up: VecDeque::new(),
            room,
            is_prompt,
            is_held: false,
            is_stalled: false,
            left: None,
            is_end_told: false,
            was_narrow: room.is_some(),
            was_slow: !is_prompt,
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        if self.left.is_none() {
            self.up.extend(bytes);
        }
    }

    /// Carries at most so many bytes to the server. Gives how many.
    pub(crate) fn carry(&mut self, most: usize) -> usize {
        if self.is_held || self.left.is_some_and(|left| left != Leave::Finish) {
            return 0;
        }
        let count = most.min(self.up.len());
        let part: Vec<u8> = self.up.drain(..count).collect();
        self.client.send(&part);
        // Told once, and only when all that was said before has been carried.
        if self.left == Some(Leave::Finish) && self.up.is_empty() && !self.is_end_told {
            self.is_end_told = true;
            self.client.finish();
        }
        count
    }

    /// Takes at most so many bytes of what the server wrote.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        if self.is_stalled || self.left.is_some_and(|left| left != Leave::Finish) {
            return Vec::new();
        }
        let bytes = self.client.take_some(most);
        if !bytes.is_empty() {
            self.make_room();
        }
        bytes
    }

    fn make_room(&self) {
        let left = self.room.map(|room| room.saturating_sub(self.client.untaken_bytes()));
        self.client.set_room(left);
    }

    /// What is under way to the server or to the guest, and would be carried or taken.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_gone = self.left.is_some_and(|left| left != Leave::Finish);
        let is_up_quiet = self.up.is_empty() || self.is_held || self.client.is_dropped();
        let is_down_quiet = self.client.untaken_bytes() == 0 || self.is_stalled;
        is_gone || (is_up_quiet && is_down_quiet)
    }

    pub(crate) fn leave(&mut self, how: Leave) {
        self.left = Some(how);
        match how {
            Leave::Finish | Leave::Vanish => {}
            Leave::HangUp => self.client.finish(),
            Leave::Reset => self.client.reset(),
        }
    }

    /// A machine whose program has closed the socket answers what still comes with a reset.
    pub(crate) fn answer_for_the_gone(&mut self) {
        if self.left == Some(Leave::HangUp) && self.client.untaken_bytes() > 0 {
            self.left = Some(Leave::Reset);
            self.client.reset();
        }
    }

    /// From here on nothing is held up and all is taken at once, unless the guest is gone.
    pub(crate) fn free(&mut self) {
        (self.is_prompt, self.is_held, self.is_stalled, self.room) = (true, false, false, None);
        if self.left.is_none_or(|left| left == Leave::Finish) {
            self.client.set_room(None);
        }
    }
}

//! ⑧ The queue into a core: bounded, lock-free, one wake per batch.
//!
//! ```text
//!  core 0 ─ post ─▶ ┐                                        ┌ wait
//!  core 1 ─ post ─▶ ├─▶ posts   (crossbeam, bounded) ─▶ core │ clear the bell   ← before draining, so that a post
//!  threads ─ letter ┴─▶ letters (crossbeam, bounded) ─▶      │ drain              that comes later rings again
//!                  └──▶ bell: ring once until it is cleared  └ …
//! ```
//!
//! A post that finds the queue full stays with its sender, in order ([`Outgoing`]), and is offered again next turn; a
//! core never blocks on another. Bytes of events under way are counted per core, so that publishers can be told to
//! slow down before memory does.
//!
//! That no post is left unseen with its core asleep is model-checked: `tests/loom.rs` runs all of this with loom's atomics.
//! Knows no socket: waking is the trait [`Wake`].

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool as Unordered;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(not(all(test, loom)))]
use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_channel::{TryRecvError, TrySendError};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(all(test, loom))]
use self::queue::{Receiver, Sender, bounded};
use super::conn_id::{ConnId, SocketId};
use super::directory::{Directory, Keep};
use crate::ws::Prepared;

/// A topic's name, shared between the cores that know it.
pub(crate) type TopicName = Arc<str>;

/// Ends a core's wait for events. Called from any thread.
pub trait Wake: Send + Sync {
    /// The core's next or present wait ends.
    fn wake(&self);
}

/// An event on its way to its topic's home.
pub(crate) struct Event {
    pub(crate) topic: TopicName,
    pub(crate) frame: Prepared,
    pub(crate) except: Option<SocketId>,
    pub(crate) keep: Keep,
}

impl Event {
    /// What it counts for while it is under way.
    fn bytes(&self) -> usize {
        self.frame.frame().len()
    }
}

/// A question on its way to a home: about a topic, or about all of that home's topics.
pub(crate) struct Asked<D: Directory> {
    pub(crate) topic: Option<TopicName>,
    pub(crate) asker: ConnId,
    pub(crate) ticket: u64,
    pub(crate) question: D::Question,
}

/// What one core tells another.
pub(crate) enum Post<D: Directory> {
    /// Home to asker: the answer.
    Answer { asker: ConnId, ticket: u64, answer: D::Answer },
    /// To the home: a question.
    Ask(Asked<D>),
    /// To the home, behind the join of its core: a connection wants to be on the topic. The home's answer repeats the
    /// number of the attendance, which is the core's own.
    Attend { topic: TopicName, conn: ConnId, attendance: u32, note: D::Note },
    /// To the home: so many subscribers are on core `from` now; at least one.
    Counted { topic: TopicName, from: u8, subscribers: u32 },
    /// Home to listening core: an event, in the topic's order.
    Deliver { topic: TopicName, frame: Prepared, except: Option<SocketId> },
    /// To the home: a connection that attended is off the topic.
    Depart { topic: TopicName, conn: ConnId },
    /// To the home: core `from` has its first subscriber.
    Join { topic: TopicName, from: u8 },
    /// Home to listening core: what is ordered from here on comes to you.
    Joined { topic: TopicName },
    /// To the home: core `from` has lost its last subscriber.
    Leave { topic: TopicName, from: u8 },
    /// To the home: an event.
    Publish(Event),
    /// Home to attending connection: you are on the topic from here on, or you are not.
    Welcome {
        topic: TopicName,
        conn: ConnId,
        attendance: u32,
        welcome: Result<D::Welcome, D::Refusal>,
    },
    /// Home to connection.
    Word { conn: ConnId, word: D::Word },
}

impl<D: Directory> Post<D> {
    /// What it counts for while it is under way.
    fn bytes(&self) -> usize {
        match self {
            Self::Deliver { frame, .. } => frame.frame().len(),
            Self::Publish(event) => event.bytes(),
            _ => 0,
        }
    }
}

/// What a thread that owns no core tells a home.
pub(crate) type Letter = Event;

/// One core as the others see it: how to wake it, and how much is under way to it. On cache lines of its own.
#[repr(align(128))]
struct Door {
    /// True from the first ring until the core clears it: rings in between cost one read.
    is_ringing: AtomicBool,
    bytes: AtomicUsize,
    /// Nobody reads any more: what is under way here is under way to nobody. Orders nothing, so the model need not see it.
    is_ended: Unordered,
    waker: Box<dyn Wake>,
}

impl Door {
    fn ring(&self) {
        if !self.is_ringing.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

/// The doors of all cores, and the hash that gives every topic its home. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doors {
    doors: Arc<[Door]>,
    /// Seeded anew in every process, so that nobody can choose topics that share a home.
    hash: RandomState,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Doors({})", self.doors.len())
    }
}

impl Doors {
    pub(crate) fn new(wakers: Vec<Box<dyn Wake>>) -> Self {
        let door = |waker| Door {
            is_ringing: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            is_ended: Unordered::new(false),
            waker,
        };
        Self { doors: wakers.into_iter().map(door).collect(), hash: RandomState::new() }
    }

    pub(crate) fn cores(&self) -> usize {
        self.doors.len()
    }

    /// The home core of a topic.
    pub(crate) fn home_of(&self, topic: &str) -> usize {
        let cores = self.doors.len().max(1) as u64;
        // A remainder by a number of cores is no more than that.
        usize::try_from(self.hash.hash_one(topic) % cores).unwrap_or(0)
    }

    /// The most bytes that are under way to any one core that has not ended.
    pub(crate) fn most_bytes(&self) -> usize {
        let open = self.doors.iter().filter(|door| !door.is_ended.load(Ordering::Relaxed));
        open.map(|door| door.bytes.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Before draining; false if nobody has rung since the last time: then there is nothing that must be drained now. A post
    /// that is sent after this rings again; one that was sent before is drained. A swap, not a mere store: it reads the
    /// ring that it takes back, and so sees all that was written before that ring, which woke nobody.
    pub(crate) fn clear(&self, core: usize) -> bool {
        let is_ringing = &self.doors[core].is_ringing;
        is_ringing.load(Ordering::SeqCst) && is_ringing.swap(false, Ordering::SeqCst)
    }

    fn add_bytes(&self, core: usize, bytes: usize) {
        if bytes > 0 {
            self.doors[core].bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn take_bytes(&self, core: usize, bytes: usize) {
        if bytes > 0 {
            self.doors[core].bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// What all cores are told to do, and how far they are. Beside the queues, so that it gets through when they are full.
#[derive(Default)]
struct Orders {
    is_stopped: AtomicBool,
    /// Cores whose connections are all gone since then.
    closed: AtomicUsize,
    /// A count and not a flag: orders that come while one is carried out are seen, however many.
    reviews: AtomicUsize,
}

/// The letters of one core: the receiving end.
pub(crate) struct Letters {
    core: usize,
    doors: Doors,
    receiver: Receiver<Letter>,
    orders: Arc<Orders>,
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letters({})", self.core)
    }
}

impl Letters {
    /// Whether the server was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.orders.is_stopped.load(Ordering::SeqCst)
    }

    /// How often a review was ordered. Read for each post and each read; written so seldom that every core keeps the line.
    pub(crate) fn reviews(&self) -> usize {
        self.orders.reviews.load(Ordering::SeqCst)
    }

    /// This core has closed what it had when the server was told to stop. To be called once.
    pub(crate) fn note_closed(&self) {
        if self.orders.closed.fetch_add(1, Ordering::SeqCst) + 1 == self.doors.cores() {
            self.doors.doors.iter().for_each(Door::ring);
        }
    }

    /// Whether all cores have.
    pub(crate) fn are_all_closed(&self) -> bool {
        self.orders.closed.load(Ordering::SeqCst) == self.doors.cores()
    }

    /// The next letter.
    pub(crate) fn next(&self) -> Option<Letter> {
        let letter = self.receiver.try_recv().ok()?;
        self.doors.take_bytes(self.core, letter.bytes());
        Some(letter)
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// Where threads that own no core post their letters. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Letterboxes {
    senders: Arc<[Sender<Letter>]>,
    doors: Doors,
    orders: Arc<Orders>,
}

impl fmt::Debug for Letterboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letterboxes({})", self.senders.len())
    }
}

impl Letterboxes {
    /// One letterbox for each door, each holding at most `most` letters.
    pub(crate) fn new(doors: &Doors, most: usize) -> (Self, Vec<Letters>) {
        let orders = Arc::new(Orders::default());
        let (senders, letters): (Vec<_>, Vec<_>) = (0..doors.cores())
            .map(|core| {
                let (sender, receiver) = bounded(most.max(1));
                let (doors, orders) = (doors.clone(), orders.clone());
                (sender, Letters { core, doors, receiver, orders })
            })
            .unzip();
        (Self { senders: senders.into(), doors: doors.clone(), orders }, letters)
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Tells every core to stop.
    pub(crate) fn stop(&self) {
        self.orders.is_stopped.store(true, Ordering::SeqCst);
        self.doors.doors.iter().for_each(Door::ring);
    }

    /// Tells every core to review its connections. What was written before is seen by whoever carries it out.
    pub(crate) fn review(&self) {
        self.orders.reviews.fetch_add(1, Ordering::SeqCst);
        self.doors.doors.iter().for_each(Door::ring);
    }

    /// Posts a letter; false if the box is full or its core has ended.
    pub(crate) fn post(&self, core: usize, letter: Letter) -> bool {
        let bytes = letter.bytes();
        self.doors.add_bytes(core, bytes);
        let is_taken = self.senders[core].try_send(letter).is_ok();
        if !is_taken {
            self.doors.take_bytes(core, bytes);
        }
        self.doors.doors[core].ring();
        is_taken
    }
}

/// The mailbox of one core: the receiving end.
pub(crate) struct Mailbox<D: Directory> {
    core: usize,
    doors: Doors,
    receiver: Receiver<Post<D>>,
}

impl<D: Directory> Mailbox<D> {
    /// The next post.
    pub(crate) fn next(&self) -> Option<Post<D>> {
        match self.receiver.try_recv() {
            Ok(post) => {
                self.doors.take_bytes(self.core, post.bytes());
                Some(post)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// Its core has ended. That it has is told of the whole door, and no bytes are given back one by one: a post that is sent
/// while the mailbox is drained for the last time would still be counted by its sender, and read by nobody.
impl<D: Directory> Drop for Mailbox<D> {
    fn drop(&mut self) {
        self.doors.doors[self.core].is_ended.store(true, Ordering::Relaxed);
    }
}

/// The sending ends of all mailboxes, one set for each core.
pub(crate) fn mailboxes<D: Directory>(
    doors: &Doors,
    most: usize,
) -> Vec<(Mailbox<D>, Outgoing<D>)> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..doors.cores()).map(|_| bounded(most.max(1))).unzip();
    let senders: Arc<[Sender<Post<D>>]> = senders.into();
    let ends = |(core, receiver)| {
        let mailbox = Mailbox { core, doors: doors.clone(), receiver };
        (mailbox, Outgoing::new(senders.clone(), doors.clone()))
    };
    receivers.into_iter().enumerate().map(ends).collect()
}

/// One core's posts to the others: sent at once where there is room, kept in order where there is none.
pub(crate) struct Outgoing<D: Directory> {
    senders: Arc<[Sender<Post<D>>]>,
    doors: Doors,
    waiting: Vec<VecDeque<Post<D>>>,
    /// Cores that were posted to since the last `wake_others`.
    is_due: Vec<bool>,
}

impl<D: Directory> Outgoing<D> {
    fn new(senders: Arc<[Sender<Post<D>>]>, doors: Doors) -> Self {
        let cores = senders.len();
        Self {
            senders,
            doors,
            waiting: (0..cores).map(|_| VecDeque::new()).collect(),
            is_due: vec![false; cores],
        }
    }

    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Posts to another core, behind what still waits for it.
    pub(crate) fn post(&mut self, core: usize, post: Post<D>) {
        self.doors.add_bytes(core, post.bytes());
        self.is_due[core] = true;
        if self.waiting[core].is_empty() {
            match self.senders[core].try_send(post) {
                Ok(()) => {}
                Err(TrySendError::Full(post)) => self.waiting[core].push_back(post),
                // The core has ended, so its connections have too: nobody is left to tell.
                Err(TrySendError::Disconnected(_)) => {}
            }
        } else {
            self.waiting[core].push_back(post);
        }
    }

    /// Offers again what found no room, then rings once at every core that was posted to. True if some still waits.
    pub(crate) fn wake_others(&mut self) -> bool {
        let mut is_waiting = false;
        for (core, due) in self.is_due.iter_mut().enumerate() {
            if !*due {
                continue;
            }
            while let Some(post) = self.waiting[core].pop_front() {
                if let Err(TrySendError::Full(post)) = self.senders[core].try_send(post) {
                    self.waiting[core].push_front(post);
                    break;
                }
            }
            // Still due while some waits: the next turn offers it again.
            *due = !self.waiting[core].is_empty();
            is_waiting |= *due;
            self.doors.doors[core].ring();
        }
        is_waiting
    }

    /// Whether some post found no room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|queue| !queue.is_empty())
    }
}

/// Run by `cargo verify loom`, with `--cfg loom`.
#[cfg(all(test, loom))]
#[path = "tests/loom.rs"]
mod model;

#[cfg(all(test, loom))]
#[path = "tests/queue.rs"]
mod queue;

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::MessageKind;

    #[derive(Clone, Default)]
    struct Rings(Arc<AtomicUsize>);

    impl Wake for Rings {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type Core = (Mailbox<()>, Outgoing<()>);

    fn two_cores(most: usize) -> (Vec<Core>, Doors, Rings) {
        let rings = Rings::default();
        let doors = Doors::new(vec![Box::new(rings.clone()), Box::new(rings.clone())]);
        (mailboxes(&doors, most), doors, rings)
    }

    fn event(frame: &Prepared) -> Post<()> {
        let (topic, frame) = ("t".into(), frame.clone());
        Post::Publish(Event { topic, frame, except: None, keep: Keep::Remember })
    }

    fn leave(number: usize) -> Post<()> {
        Post::Leave { topic: number.to_string().into(), from: 0 }
    }

    fn drain(mailbox: &Mailbox<()>) -> Vec<usize> {
        std::iter::from_fn(|| mailbox.next())
            .map(|post| match post {
                Post::Leave { topic, .. } => topic.parse().unwrap(),
                _ => panic!("another post"),
            })
            .collect()
    }

    #[test]
    fn a_batch_rings_once() {
        let (mut cores, doors, rings) = two_cores(100);
        for number in 0..10 {
            cores[0].1.post(1, leave(number));
        }
        assert!(!cores[0].1.wake_others());
        assert_eq!(rings.0.load(Ordering::SeqCst), 1);
        cores[0].1.post(1, leave(10));
        cores[0].1.wake_others();
        assert_eq!(rings.0.load(Ordering::SeqCst), 1, "the bell was not cleared yet");
        doors.clear(1);
        assert_eq!(drain(&cores[1].0), (0..=10).collect::<Vec<_>>());
        cores[0].1.post(1, leave(11));
        cores[0].1.wake_others();
        assert_eq!(rings.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_full_mailbox_keeps_posts_in_order_and_loses_none() {
        let (mut cores, _, _) = two_cores(3);
        for number in 0..8 {
            cores[0].1.post(1, leave(number));
        }
        let mut seen = Vec::new();
        while cores[0].1.wake_others() {
            seen.extend(drain(&cores[1].0));
        }
        seen.extend(drain(&cores[1].0));
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_under_way_are_counted_until_they_are_read() {
        let (mut cores, doors, _) = two_cores(10);
        let frame = Prepared::new(MessageKind::Text, b"hello");
        let bytes = frame.frame().len();
        for _ in 0..3 {
            cores[0].1.post(1, event(&frame));
        }
        assert_eq!(doors.most_bytes(), 3 * bytes);
        assert!(cores[1].0.next().is_some());
        assert_eq!(doors.most_bytes(), 2 * bytes);
    }

    #[test]
    fn nothing_is_under_way_to_a_core_that_has_ended() {
        let (mut cores, doors, _) = two_cores(2);
        let frame = Prepared::new(MessageKind::Text, b"hello");
        let bytes = frame.frame().len();
        // Two lie in the mailbox, and one waits with its sender.
        (0..3).for_each(|_| cores[0].1.post(1, event(&frame)));
        assert_eq!(doors.most_bytes(), 3 * bytes);
        drop(cores.pop());
        assert_eq!(doors.most_bytes(), 0);
        assert!(!cores[0].1.wake_others(), "nobody will make room for what waits");
        cores[0].1.post(1, event(&frame));
        assert_eq!(doors.most_bytes(), 0);
        cores[0].1.post(0, event(&frame));
        assert_eq!(doors.most_bytes(), bytes, "the other core is there, and counts");
    }

    #[test]
    fn a_full_letterbox_says_so_and_counts_nothing() {
        let (_, doors, rings) = two_cores(1);
        let (boxes, letters) = Letterboxes::new(&doors, 1);
        let letter = || Letter {
            topic: "t".into(),
            frame: Prepared::new(MessageKind::Text, b"x"),
            except: None,
            keep: Keep::Remember,
        };
        assert!(boxes.post(1, letter()));
        let bytes = doors.most_bytes();
        assert!(!boxes.post(1, letter()));
        assert_eq!(doors.most_bytes(), bytes);
        assert_eq!(rings.0.load(Ordering::SeqCst), 1);
        assert!(letters[1].next().is_some() && letters[1].next().is_none());
        assert_eq!(doors.most_bytes(), 0);
    }
}

//! The mailbox under loom: every order in which its threads may take their steps, one after the other.
//!
//! ```text
//!   sender ── post ── ring? ──▶ ┐                     ┌ sleep until woken
//!   sender ── post ── ring? ──▶ ┤ the real mailbox ──▶ │ clear the bell
//!   thread ── letter ─ ring? ─▶ ┘                     └ drain, and sleep again unless all has been seen
//! ```
//!
//! A post that is left unseen with the core asleep is a deadlock: nobody is left who could wake it, and loom says so. The
//! last tests show that it does, by cores that go about it the wrong way.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;
use crate::ws::MessageKind;

/// What the reactor's waker is: it keeps a call that comes while nobody waits.
#[derive(Default)]
struct Bed {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Bed {
    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

struct Alarm(Arc<Bed>);

impl Wake for Alarm {
    fn wake(&self) {
        *self.0.is_woken.lock().unwrap() = true;
        self.0.woken.notify_one();
    }
}

/// One core that listens, and who posts to it.
struct Site {
    bed: Arc<Bed>,
    doors: Doors,
    mailbox: Mailbox<()>,
    letters: Letters,
    boxes: Letterboxes,
    senders: Vec<Outgoing<()>>,
}

/// The core that listens; those after it post.
const HOME: usize = 0;

fn site(senders: usize, most: usize) -> Site {
    let beds: Vec<Arc<Bed>> = (0..=senders).map(|_| Arc::default()).collect();
    let wakers = beds.iter().map(|bed| Box::new(Alarm(bed.clone())) as Box<dyn Wake>);
    let doors = Doors::new(wakers.collect());
    let (boxes, letters) = Letterboxes::new(&doors, most);
    let (mut mailboxes, outgoing): (Vec<_>, Vec<_>) = mailboxes(&doors, most).into_iter().unzip();
    Site {
        bed: beds[HOME].clone(),
        doors,
        mailbox: mailboxes.remove(HOME),
        letters: letters.into_iter().next().unwrap(),
        boxes,
        senders: outgoing.into_iter().skip(1).collect(),
    }
}

fn leave(number: usize) -> Post<()> {
    Post::Leave { topic: number.to_string().into(), from: 0 }
}

fn event() -> Event {
    let frame = Prepared::new(MessageKind::Text, b"hello");
    Event { topic: "t".into(), frame, except: None, keep: Keep::Remember }
}

/// A sender's turn, and further ones while something found no room.
fn send(outgoing: &mut Outgoing<()>, posts: impl IntoIterator<Item = Post<()>>) {
    posts.into_iter().for_each(|post| outgoing.post(HOME, post));
    while outgoing.wake_others() {
        thread::yield_now();
    }
}

/// The core's turns: as `reactor/turn.rs` has them, until so many posts and letters were seen.
fn listen(site: &Site, expected: usize) -> Vec<Post<()>> {
    let mut seen = Vec::new();
    let mut letters = 0;
    while seen.len() + letters < expected {
        site.bed.sleep();
        if !site.doors.clear(HOME) {
            continue;
        }
        seen.extend(std::iter::from_fn(|| site.mailbox.next()));
        letters += std::iter::from_fn(|| site.letters.next()).count();
    }
    seen
}

/// Model-checks. With more threads or steps there are too many orders to try them all: those with few preemptions are.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

#[test]
fn no_post_is_left_unseen_with_the_core_asleep() {
    check(None, || {
        let mut site = site(1, 4);
        let mut sender = site.senders.remove(0);
        let sending = thread::spawn(move || {
            send(&mut sender, [leave(0)]);
            send(&mut sender, [leave(1)]);
        });
        assert_eq!(listen(&site, 2).len(), 2);
        sending.join().unwrap();
    });
}

#[test]
fn posts_of_several_senders_are_all_seen() {
    check(Some(3), || {
        let mut site = site(2, 4);
        let sending: Vec<_> = std::mem::take(&mut site.senders)
            .into_iter()
            .map(|mut sender| thread::spawn(move || send(&mut sender, [leave(0), leave(1)])))
            .collect();
        assert_eq!(listen(&site, 4).len(), 4);
        sending.into_iter().for_each(|sending| sending.join().unwrap());
    });
}

#[test]
fn a_full_queue_loses_nothing_and_keeps_the_order() {
    check(Some(3), || {
        let mut site = site(1, 1);
        let mut sender = site.senders.remove(0);
        let sending = thread::spawn(move || send(&mut sender, (0..3).map(leave)));
        let seen = listen(&site, 3);
        let numbers = seen.iter().map(|post| match post {
            Post::Leave { topic, .. } => topic.parse().unwrap(),
            _ => usize::MAX,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2]);
        sending.join().unwrap();
    });
}

#[test]
fn bytes_under_way_never_pass_what_was_sent_and_end_at_none() {
    check(Some(3), || {
        let mut site = site(1, 1);
        let mut sender = site.senders.remove(0);
        let bytes = event().bytes();
        let sending = thread::spawn(move || {
            send(&mut sender, [Post::Publish(event()), Post::Publish(event())])
        });
        let mut seen = 0;
        while seen < 2 {
            site.bed.sleep();
            site.doors.clear(HOME);
            // A count that went below none would be a huge one.
            assert!(site.doors.most_bytes() <= 2 * bytes);
            seen += std::iter::from_fn(|| site.mailbox.next()).count();
        }
        sending.join().unwrap();
        assert_eq!(site.doors.most_bytes(), 0);
    });
}

#[test]
fn a_core_that_ends_leaves_nothing_under_way() {
    check(Some(3), || {
        let Site { doors, mailbox, mut senders, boxes, .. } = site(1, 1);
        let mut sender = senders.remove(0);
        let sending = thread::spawn(move || {
            sender.post(HOME, Post::Publish(event()));
            sender.post(HOME, Post::Publish(event()));
        });
        let writing = thread::spawn(move || {
            boxes.post(HOME, event());
        });
        mailbox.next();
        drop(mailbox);
        sending.join().unwrap();
        writing.join().unwrap();
        assert_eq!(doors.most_bytes(), 0);
    });
}

#[test]
fn letters_and_posts_wake_one_core_together() {
    check(Some(3), || {
        let mut site = site(1, 2);
        let (mut sender, boxes) = (site.senders.remove(0), site.boxes.clone());
        let posting = thread::spawn(move || send(&mut sender, [leave(0)]));
        let writing = thread::spawn(move || assert!(boxes.post(HOME, event())));
        assert_eq!(listen(&site, 2).len(), 1);
        posting.join().unwrap();
        writing.join().unwrap();
        assert_eq!(site.doors.most_bytes(), 0);
    });
}

#[test]
fn an_order_to_stop_or_to_review_reaches_a_core_that_sleeps() {
    check(None, || {
        let site = site(0, 1);
        let boxes = site.boxes.clone();
        let ordering = thread::spawn(move || {
            boxes.review();
            boxes.stop();
        });
        while !site.letters.is_stopped() {
            site.bed.sleep();
            site.doors.clear(HOME);
        }
        assert_eq!(site.letters.reviews(), 1, "the orders come in their order");
        ordering.join().unwrap();
    });
}

#[test]
fn the_last_core_to_close_wakes_the_others() {
    check(None, || {
        let beds: [Arc<Bed>; 2] = Default::default();
        let wakers = beds.iter().map(|bed| Box::new(Alarm(bed.clone())) as Box<dyn Wake>);
        let doors = Doors::new(wakers.collect());
        let (_, letters) = Letterboxes::new(&doors, 1);
        let close = |core: usize, bed: Arc<Bed>, letters: Letters| {
            letters.note_closed();
            while !letters.are_all_closed() {
                bed.sleep();
                letters.doors.clear(core);
            }
        };
        let [first, second] = beds;
        let mut letters = letters.into_iter();
        let (ours, theirs) = (letters.next().unwrap(), letters.next().unwrap());
        let closing = thread::spawn(move || close(1, second, theirs));
        close(0, first, ours);
        closing.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn clearing_the_bell_after_draining_loses_a_post() {
    check(None, || {
        let mut site = site(1, 4);
        let mut sender = site.senders.remove(0);
        let sending = thread::spawn(move || {
            send(&mut sender, [leave(0)]);
            send(&mut sender, [leave(1)]);
        });
        let mut seen = 0;
        while seen < 2 {
            site.bed.sleep();
            seen += std::iter::from_fn(|| site.mailbox.next()).count();
            site.doors.clear(HOME);
        }
        sending.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn ringing_before_posting_loses_a_post() {
    check(None, || {
        let mut site = site(1, 4);
        let mut sender = site.senders.remove(0);
        let sending = thread::spawn(move || {
            sender.doors.doors[HOME].ring();
            sender.post(HOME, leave(0));
        });
        assert_eq!(listen(&site, 1).len(), 1);
        sending.join().unwrap();
    });
}

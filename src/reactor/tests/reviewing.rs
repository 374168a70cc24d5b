//! Something new outside: every core takes notice, then every open connection is looked at.

use std::cell::Cell;
use std::convert::Infallible;

use super::*;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Announcer;
use crate::reactor::review::REVIEW_SLICE;

/// What lies outside, and what was seen of it.
#[derive(Default)]
struct World {
    edition: Cell<u32>,
    /// Core and edition.
    notices: RefCell<Vec<(usize, u32)>>,
    /// Tag and the edition that its core had taken notice of.
    reviews: RefCell<Vec<(u32, u32)>>,
}

/// Knows the edition that its core took notice of. Its clients name a topic to attend it.
struct Reader {
    core: usize,
    edition: u32,
    world: Rc<World>,
}

/// The edition that this home took notice of.
struct Shelf(u32);

impl Directory for Shelf {
    type Note = ();
    type Welcome = u32;
    type Refusal = Infallible;
    type Question = ();
    type Answer = ();
    type Word = ();

    fn on_attend(
        &mut self,
        _: &str,
        _: ConnId,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) -> Result<u32, Infallible> {
        Ok(self.0)
    }
    fn answer(&mut self, _: &str, _: usize, (): (), _: &mut Announcer<'_, Self>) {}
    fn answer_all<'t>(
        &mut self,
        _: impl Iterator<Item = (&'t str, usize)>,
        (): (),
        _: &mut Announcer<'_, Self>,
    ) {
    }
}

impl Handler<Shelf> for Reader {
    fn on_open(&mut self, conn: &mut Conn<'_, Shelf>) {
        let path = conn.upgrade().map(|request| request.path().to_owned()).unwrap();
        conn.set_tag(path.trim_start_matches('/').parse().unwrap());
        conn.send(format!("edition {}", self.edition));
    }
    fn on_message(&mut self, conn: &mut Conn<'_, Shelf>, message: Message<'_>) {
        conn.attend(message.text().unwrap(), ()).unwrap();
    }
    fn on_welcome(&mut self, conn: &mut Conn<'_, Shelf>, topic: &str, edition: u32) {
        conn.send(format!("{topic} {edition}"));
    }
    fn on_notice(&mut self, shelf: &mut Shelf) {
        self.edition = self.world.edition.get();
        shelf.0 = self.edition;
        self.world.notices.borrow_mut().push((self.core, self.edition));
    }
    /// Odd tags are shown the door.
    fn on_review(&mut self, conn: &mut Conn<'_, Shelf>) {
        self.world.reviews.borrow_mut().push((conn.tag(), self.edition));
        if conn.tag() % 2 == 1 {
            conn.close(CloseCode(4001), "odd");
        }
    }
}

fn library(cores: usize) -> (Simulation<Reader, Shelf>, Rc<World>) {
    let world = Rc::new(World::default());
    let make = |core| (Reader { core, edition: 0, world: world.clone() }, Shelf(0));
    (Simulation::new(super::cores(cores), make), world)
}

/// Many connections to core 0 at once, with these tags.
fn open_all(
    simulation: &mut Simulation<Reader, Shelf>,
    tags: impl Iterator<Item = u32>,
) -> Vec<Ws> {
    let open = |tag| {
        let client = simulation.connect(0);
        client.send(upgrade(tag).as_bytes());
        Ws { client, protocol: ws::Protocol::new(ws::Role::Client) }
    };
    let all: Vec<Ws> = tags.map(open).collect();
    simulation.settle();
    let is_open = |ws: &Ws| ws.client.take_received().starts_with(b"HTTP/1.1 101 ");
    assert!(all.iter().all(is_open));
    all
}

fn announce(simulation: &mut Simulation<Reader, Shelf>, world: &World) {
    world.edition.set(world.edition.get() + 1);
    simulation.review();
}

fn sorted<T: Ord + Copy>(list: &RefCell<Vec<T>>) -> Vec<T> {
    let mut list = list.borrow().clone();
    list.sort_unstable();
    list
}

#[test]
fn every_core_takes_notice_once_and_every_connection_is_reviewed_once() {
    let (mut simulation, world) = library(3);
    let mut all: Vec<Ws> =
        (0..12).map(|tag| Ws::open(&mut simulation, tag as usize % 3, tag)).collect();
    // Neither who has not asked for a WebSocket nor who has left is open.
    let _waiting = simulation.connect(0);
    all[2].close(1000);
    simulation.settle();
    announce(&mut simulation, &world);
    simulation.settle();
    assert_eq!(sorted(&world.notices), [(0, 1), (1, 1), (2, 1)]);
    let open = (0..12).filter(|tag| *tag != 2);
    assert_eq!(sorted(&world.reviews), open.map(|tag| (tag, 1)).collect::<Vec<_>>());
    for (tag, ws) in all.iter_mut().enumerate().filter(|(tag, _)| *tag != 2) {
        let expected: &[&str] = if tag % 2 == 1 { &["<close Some(4001)>"] } else { &[] };
        assert_eq!(ws.heard(), expected, "{tag}");
    }
    simulation.settle();
    assert_eq!(world.reviews.borrow().len(), 11, "once");
}

#[test]
fn a_review_takes_as_many_turns_as_it_takes_slices() {
    let (mut simulation, world) = library(1);
    let most = REVIEW_SLICE * 2 + 10;
    let all = open_all(&mut simulation, (0..most).map(|_| 2));
    announce(&mut simulation, &world);
    for slice in 1..=2 {
        assert!(simulation.turn(0), "there is more");
        assert_eq!(world.reviews.borrow().len(), REVIEW_SLICE * slice);
    }
    simulation.turn(0);
    assert_eq!(world.reviews.borrow().len(), all.len());
}

#[test]
fn who_ends_meanwhile_is_not_reviewed_and_who_comes_meanwhile_finds_it_done() {
    let (mut simulation, world) = library(1);
    let mut all = open_all(&mut simulation, (0..REVIEW_SLICE + 2).map(|_| 2));
    announce(&mut simulation, &world);
    simulation.turn(0);
    // The last two stand behind the first slice.
    all.last_mut().unwrap().close(1000);
    let late = simulation.connect(0);
    late.send(upgrade(4).as_bytes());
    simulation.settle();
    assert_eq!(sorted(&world.reviews), vec![(2, 1); REVIEW_SLICE + 1]);
    assert!(late.take_received().ends_with(b"edition 1"));
}

#[test]
fn a_review_that_is_ordered_during_another_reaches_everybody_once_more() {
    let (mut simulation, world) = library(1);
    let _all = open_all(&mut simulation, (0..2 * REVIEW_SLICE).map(|_| 2));
    announce(&mut simulation, &world);
    simulation.turn(0);
    announce(&mut simulation, &world);
    announce(&mut simulation, &world);
    simulation.settle();
    assert_eq!(*world.notices.borrow(), [(0, 1), (0, 3)]);
    let by = |edition| world.reviews.borrow().iter().filter(|(_, it)| *it == edition).count();
    assert_eq!((by(1), by(3)), (REVIEW_SLICE, 2 * REVIEW_SLICE));
}

#[test]
fn orders_that_never_pause_keep_nobody_from_being_reviewed() {
    let (mut simulation, world) = library(1);
    let most = u32::try_from(3 * REVIEW_SLICE).unwrap();
    let _all = open_all(&mut simulation, (0..most).map(|tag| 2 * tag));
    for _ in 0..3 {
        announce(&mut simulation, &world);
        simulation.turn(0);
    }
    let mut seen: Vec<u32> = world.reviews.borrow().iter().map(|(tag, _)| *tag).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..most).map(|tag| 2 * tag).collect::<Vec<_>>());
}

#[test]
fn what_one_core_knows_is_known_wherever_it_speaks_of_it() {
    let (mut simulation, world) = library(2);
    let mut ws = Ws::open(&mut simulation, 0, 2);
    let topic = topic_at(&simulation, 1);
    announce(&mut simulation, &world);
    simulation.turn(0);
    assert_eq!(sorted(&world.notices), [(0, 1)]);
    ws.say(&topic);
    simulation.turn(0);
    simulation.settle();
    assert_eq!(ws.heard(), [format!("{topic} 1")]);
}

#[test]
fn what_a_peer_says_after_the_order_finds_it_carried_out() {
    let (mut simulation, world) = library(1);
    let mut ws = Ws::open(&mut simulation, 0, 2);
    announce(&mut simulation, &world);
    ws.say("t");
    simulation.turn(0);
    assert_eq!(ws.heard(), ["t 1"]);
}

#[test]
fn a_review_rests_while_a_home_has_no_room_to_hear_who_leaves() {
    let world = Rc::new(World::default());
    let make = |core| (Reader { core, edition: 0, world: world.clone() }, Shelf(0));
    let options = Options { mailbox_posts: 8, ..cores(2) };
    let mut simulation = Simulation::new(options, make);
    let topic = topic_at(&simulation, 1);
    let mut all = open_all(&mut simulation, (0..100).map(|_| 1));
    all.iter_mut().for_each(|ws| ws.say(&topic));
    simulation.settle();
    announce(&mut simulation, &world);
    // Core 1 does not turn.
    for _ in 0..50 {
        simulation.turn(0);
    }
    let reviewed = world.reviews.borrow().len();
    assert!((8..=10).contains(&reviewed), "{reviewed}");
    simulation.settle();
    assert_eq!(world.reviews.borrow().len(), 100);
    assert!(all.iter_mut().all(|ws| ws.heard().last().unwrap() == "<close Some(4001)>"));
    simulation.settle();
    assert_eq!(simulation.homes(), 0);
}

#[test]
fn a_panic_in_a_review_closes_that_connection_and_the_others_are_reviewed() {
    struct Nervous(Rc<Cell<u32>>);
    impl Handler for Nervous {
        fn on_review(&mut self, _: &mut Conn<'_>) {
            self.0.set(self.0.get() + 1);
            assert_ne!(self.0.get(), 1, "as told");
        }
    }
    let count = Rc::new(Cell::new(0));
    let mut simulation = Simulation::new(cores(1), |_| (Nervous(count.clone()), ()));
    let mut all: Vec<Ws> = (0..3).map(|_| Ws::open(&mut simulation, 0, 0)).collect();
    simulation.review();
    simulation.settle();
    assert_eq!(count.get(), 3);
    let heard: Vec<Vec<String>> = all.iter_mut().map(Ws::heard).collect();
    assert_eq!(heard, [vec!["<close Some(1011)>".to_owned()], vec![], vec![]]);
}

#[test]
fn a_shorter_patience_holds_from_the_review_on() {
    struct Hasty(Rc<Cell<u64>>);
    impl Handler for Hasty {
        fn patience(&self, _: u32) -> Option<crate::Patience> {
            let seconds = std::time::Duration::from_secs;
            let ping_after = seconds(self.0.get());
            Some(crate::Patience { ping_after, close_after: seconds(600) })
        }
    }
    let seconds = Rc::new(Cell::new(50));
    let mut simulation = Simulation::new(cores(1), |_| (Hasty(seconds.clone()), ()));
    let mut ws = Ws::open(&mut simulation, 0, 0);
    seconds.set(4);
    simulation.review();
    simulation.settle();
    for _ in 0..6 {
        simulation.advance(std::time::Duration::from_secs(1));
        simulation.settle();
    }
    assert_eq!(ws.heard(), ["<ping>"]);
}

//! Whole servers in one thread with virtual time: what must be true whatever happens. `cargo sim` runs it all.
//!
//! A failing seed is printed with the command that replays it and shows what happened, step by step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use world::host::Flaw;
use world::{Choices, Outcome, Sights};

/// Decisions of one world, before it comes to its end.
const STEPS: usize = 300;
/// Seeds that are tried if nobody says how many, as `cargo sim` does.
const FEW: u64 = 300;
/// A run of many seeds has so many known ones for each of today's.
const KNOWN_FOR_EACH_NEW: u64 = 20;
/// Seeds are seconds here, so that those of two days differ.
const SECONDS_OF_A_DAY: u64 = 86_400;
/// Seeds after which a flaw must have been noticed.
const UNTIL_NOTICED: u64 = 600;
/// What of a trace is shown with a fault.
const TAIL_LINES: usize = 60;

thread_local! {
    /// The seed under way.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Says which seed it was even where no test lives to tell: two panics in callbacks end the process.
fn name_seeds_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("the seed under way is {}", SEED.get());
            before(panic);
        }));
    });
}

fn run(seed: u64, flaw: Option<Flaw>, is_traced: bool) -> Outcome {
    name_seeds_of_panics();
    SEED.set(seed);
    let world = || world::run(Choices::of_seed(seed), STEPS, flaw, is_traced);
    catch_unwind(AssertUnwindSafe(world)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let fault = Some(text.to_owned());
        Outcome { fault, sights: Sights::default(), trace: String::new() }
    })
}

/// A number that was given by name: `STENTOR_SEED` to see one seed again, `STENTOR_SEEDS` to try that many.
fn given(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a seed is replayed by its number")]
    let number = std::env::var(name).ok()?;
    Some(number.parse().expect("a number of seeds, or of one"))
}

/// The first of today's seeds: worlds that nobody has seen before, and the same ones until midnight.
#[expect(clippy::disallowed_methods, reason = "each day has seeds of its own")]
fn first_of_today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() / SECONDS_OF_A_DAY * SECONDS_OF_A_DAY
}

/// Runs one seed after another on all cores of this machine; the first that fails fails the test.
fn run_seeds(seeds: Range<u64>) -> Sights {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut sights = Sights::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(sights);
            }
            let outcome = run(seed, None, false);
            if let Some(fault) = outcome.fault {
                next.store(seeds.end, Ordering::Relaxed);
                return Err((seed, fault));
            }
            sights.add(&outcome.sights);
        }
    };
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sights = Sights::default();
    for result in results {
        match result {
            Ok(seen) => sights.add(&seen),
            Err((seed, fault)) => fail(seed, &fault),
        }
    }
    sights
}

fn fail(seed: u64, fault: &str) -> ! {
    let trace = run(seed, None, true).trace;
    let lines: Vec<&str> = trace.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    panic!(
        "seed {seed}: {fault}\n{tail}\nreplay, and see all of it: STENTOR_SEED={seed} cargo sim wanted_seed"
    );
}

/// Without `STENTOR_SEED` there is nothing to see, and one seed is as good as another.
#[test]
fn the_wanted_seed_breaks_no_law() {
    let Some(seed) = given("STENTOR_SEED") else { return };
    let outcome = run(seed, None, true);
    eprintln!("{}", outcome.trace);
    assert_eq!(outcome.fault, None, "seed {seed}");
}

#[test]
fn no_seed_breaks_a_law_and_together_they_meet_everything() {
    let sights = run_seeds(1..given("STENTOR_SEEDS").unwrap_or(FEW) + 1);
    sights.assert_met();
}

/// Where many seeds are tried, some are new each day, so that a law that no known world breaks is not taken for kept.
#[test]
fn no_seed_of_today_breaks_a_law() {
    let Some(seeds) = given("STENTOR_SEEDS") else { return };
    let first = first_of_today();
    let seeds = first..first + seeds / KNOWN_FOR_EACH_NEW;
    eprintln!("today's seeds: {seeds:?}");
    run_seeds(seeds);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..20 {
        let (once, again) = (run(seed, None, true), run(seed, None, true));
        assert!(once.trace.lines().count() > 50, "seed {seed}");
        assert_eq!(once.trace, again.trace, "seed {seed}");
    }
}

/// Runs seeds until a law notices the flaw, and says one of these.
#[track_caller]
fn check_noticed(flaw: Flaw, expected: &[&str]) {
    let mut found = Vec::new();
    let is_noticed = (1..=UNTIL_NOTICED).any(|seed| {
        let fault = run(seed, Some(flaw), false).fault;
        let is_it = |fault: &String| expected.iter().any(|text| fault.contains(text));
        let is_noticed = fault.as_ref().is_some_and(is_it);
        found.extend(fault);
        is_noticed
    });
    assert!(
        is_noticed,
        "{flaw:?} was noticed in {} of {UNTIL_NOTICED} worlds: {found:?}",
        found.len()
    );
}

#[test]
fn a_confirmation_before_its_time_is_noticed() {
    check_noticed(Flaw::ConfirmsTooEarly, &["missed event", "did not hear event"]);
}

#[test]
fn a_forgotten_answer_is_noticed() {
    check_noticed(Flaw::ForgetsAnswers, &["must come", "never heard"]);
}

#[test]
fn a_forgotten_request_is_noticed() {
    check_noticed(Flaw::ForgetsRequests, &["was never answered", "unanswered", "nothing moved"]);
}

#[test]
fn an_outbox_past_its_limit_is_noticed() {
    check_noticed(Flaw::IsGenerous, &["an outbox holds"]);
}

#[test]
fn a_connection_that_outlives_its_silence_is_noticed() {
    check_noticed(Flaw::IsPatient, &["nothing moved for"]);
}

#[test]
fn a_request_that_never_ends_is_noticed() {
    check_noticed(Flaw::WaitsForRequests, &["has been saying one request"]);
}

#[test]
fn a_server_that_does_not_end_is_noticed() {
    check_noticed(Flaw::WaitsForTheLast, &["did not end within its deadline"]);
}

#[test]
fn too_much_under_way_is_noticed() {
    check_noticed(Flaw::LetsAllPass, &["bytes are under way"]);
}

#[test]
fn what_is_left_behind_is_noticed() {
    check_noticed(Flaw::LeavesThings, &["left something behind"]);
}

/// What comes of it when a core sleeps on.
const LOST: &[&str] = &[
    "asked for",
    "come to rest",
    "did not hear",
    "never answered",
    "never heard",
    "never ordered",
    "without a reason",
];

#[test]
fn a_lost_edge_is_noticed() {
    check_noticed(Flaw::LosesEdges, LOST);
}

#[test]
fn a_lost_ring_is_noticed() {
    check_noticed(Flaw::LosesRings, LOST);
}

#[test]
fn an_event_that_is_published_twice_is_noticed() {
    check_noticed(Flaw::RepeatsEvents, &["ordered twice"]);
}

#[test]
fn a_guest_that_is_left_on_a_topic_is_noticed() {
    check_noticed(Flaw::StaysOn, &["not on topic"]);
}

#[test]
fn an_event_for_whom_it_is_not_is_noticed() {
    check_noticed(Flaw::TellsEverybody, &["which was not for it"]);
}

/// What the fuzzer does with any bytes, done with some, and with those that it begins from.
#[test]
fn any_bytes_make_a_world_that_breaks_no_law() {
    for seed in 1..=50 {
        let mut choices = Choices::of_seed(seed);
        let bytes: Vec<u8> = (0..400).map(|_| u8::try_from(choices.below(256)).unwrap()).collect();
        world::fuzz_shard(&bytes);
    }
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/shard");
    let seeds: Vec<_> =
        std::fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(!seeds.is_empty());
    let mut sights = Sights::default();
    seeds.iter().for_each(|seed| sights.add(&world::fuzz_shard(&std::fs::read(seed).unwrap())));
    assert!(sights.rounds > 0 && sights.inflated > 0, "what the fuzzer begins from: {sights:?}");
}

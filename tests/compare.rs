//! The comparison's own honesty: that it reads the generator's reports rightly, that medians and ratios are what they say, and
//! that a run that failed is told as such and never as a zero. Needs the feature `pusher`.
#![cfg(feature = "pusher")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../benches/compare/main.rs"]
#[expect(dead_code, reason = "what starts other programs belongs to `cargo bench`")]
mod compare;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser as _;
use rustix::process::{Pid, Signal, kill_process};

use compare::arguments::{Arguments, Part, Plan, RECORDS};
use compare::bare::{Bare, Kind};
use compare::goals::{Aim, Goal, Work};
use compare::kits::{Entrant, clear_bodies, installed, make_bodies};
use compare::load::clock::Clock;
use compare::load::interrupt::Interrupt;
use compare::load::run;
use compare::load::tally::Faults;
use compare::outcome::{Figures, Run, Runs, Spread};
use compare::peers::{Door, Peer};
use compare::record::{Record, command};
use compare::rounds::{Trial, check, order, wait_for, words};
use compare::site::tell;
use compare::{chart, generator, load};

const RATE: &str = "deliveries per server CPU-second";

/// A bare loop on a thread of its own; it ends with the test.
struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(kind: Kind) -> Self {
        let mut bare = Bare::bind(kind, 0).unwrap();
        let (address, stop) = (bare.address().unwrap(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                bare.turn(Some(Duration::from_millis(10))).unwrap();
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn load(&self, scenario: &str, door: &str, name: &str) -> Figures {
        load_server(self.address, scenario, door, name)
    }
}

/// Runs the generator against a server and reads its report as `cargo bench --bench compare` does.
fn load_server(address: SocketAddr, scenario: &str, door: &str, name: &str) -> Figures {
    let folder = std::env::temp_dir().join(format!("stentor-compare-{}", std::process::id()));
    let more = format!("--deadline 60 --record {name}");
    let mut words: Vec<_> = scenario.split(' ').map(str::to_owned).collect();
    words.extend(door.replace("ADDRESS", &address.to_string()).split(' ').map(str::to_owned));
    words.extend(more.split(' ').map(str::to_owned));
    words.extend(["--records".to_owned(), folder.display().to_string()]);
    let report = run::run(&generator(words)).unwrap();
    assert_eq!(report.faults, Faults::default());
    let json = report.recorded.unwrap().replace(" and .md", "");
    let figures = Figures::read(&fs::read_to_string(json).unwrap()).unwrap();
    for figure in report.figures.iter().filter(|figure| figure.value.is_finite()) {
        // JSON keeps all but the last bit.
        let difference = figures.named(&figure.name).unwrap() - figure.value;
        assert!(difference.abs() <= figure.value.abs() * 1e-12, "{}", figure.name);
    }
    figures
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn plan(line: &str) -> Plan {
    let words = format!("compare fanout {line}");
    match Arguments::try_parse_from(words.split_whitespace()).unwrap().part {
        Part::Fanout(plan) => plan,
        part => panic!("{part:?}"),
    }
}

/// A report with one figure.
fn report(name: &str, value: f64) -> Figures {
    let json = serde_json::json!({ "figures": { name: { "value": value, "unit": "" } } });
    Figures::read(&json.to_string()).unwrap()
}

/// Runs of servers, round by round; `None`: that one failed.
fn runs(of: &[(Peer, &[Option<f64>])]) -> Runs {
    let mut runs = Runs::default();
    for (peer, values) in of {
        for (round, value) in values.iter().enumerate() {
            let result = value.map(|value| report(RATE, value));
            let result = result.ok_or_else(|| "3 missing | lost".to_owned());
            runs.runs.push(Run { peer: *peer, round, result });
        }
    }
    runs
}

#[test]
fn bare_loop_passes_the_checks_of_the_generator() {
    let brief = "--seconds 1 --warm-up 0 --plain ws://ADDRESS";
    let fanout = Running::start(Kind::Fanout);
    let figures =
        fanout.load("fanout --connections 20 --rate 50", &format!("{brief}/room"), "paced");
    assert!(figures.named("deliveries").unwrap() >= 20.0 * 40.0);
    fanout.load("fanout --connections 20 --flat-out", &format!("{brief}/room"), "flat-out");
    fanout.load("idle --from 5 --to 20 --settle 0 --window 1", "--plain ws://ADDRESS/room", "idle");
    let echo = Running::start(Kind::Echo);
    for scenario in [
        "echo --connections 3 --depth 16",
        "echo --connections 3 --size 16384",
        "echo --connections 2 --depth 3 --size 200000",
    ] {
        assert!(
            echo.load(scenario, &format!("{brief}/echo"), "echo").named("echoes").unwrap() > 0.0
        );
    }
    let connect = Running::start(Kind::Connect);
    let scenario = "connect --connections 20 --rounds 2 --canned";
    let figures = connect.load(scenario, "--pusher ws://ADDRESS", "connect");
    assert_eq!(figures.named("connections"), Ok(40.0));
}

#[test]
fn figure_that_is_not_there_is_an_error_and_no_zero() {
    assert!(Figures::read("").unwrap_err().contains("no JSON"));
    assert!(Figures::read("{}").unwrap_err().contains("no figures"));
    let figures =
        Figures::read(r#"{ "figures": { "a": { "value": null }, "b": { "value": 2.5 } } }"#)
            .unwrap();
    assert!(figures.named("a").unwrap_err().contains("no `a`"));
    assert_eq!(figures.named("b"), Ok(2.5));
    assert!(figures.named("c").is_err());
}

#[test]
fn figure_that_can_be_no_measurement_is_refused() {
    assert_eq!(check(RATE, &report(RATE, 1.0)), Ok(()));
    assert!(check(RATE, &report(RATE, 0.0)).unwrap_err().contains("no measurement"));
    assert!(check(RATE, &report(RATE, -3.0)).is_err());
    assert!(check(RATE, &report("deliveries", 1.0)).unwrap_err().contains(RATE));
}

#[test]
fn median_is_the_one_in_the_middle_or_between_the_two() {
    let spread = |values: &[f64]| Spread::of(values.to_vec());
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[7.0]), Some(Spread { median: 7.0, least: 7.0, most: 7.0, count: 1 }));
    assert_eq!(
        spread(&[9.0, 1.0, 2.0]),
        Some(Spread { median: 2.0, least: 1.0, most: 9.0, count: 3 })
    );
    assert_eq!(spread(&[9.0, 1.0, 2.0, 4.0]).unwrap().median, 3.0);
}

#[test]
fn ratios_are_of_neighbours_and_not_of_medians() {
    // The machine is twice as fast in the second round: the ratio is the same, and that of the medians would be too; in the
    // third only Bun is slow, and that counts once.
    let runs = runs(&[
        (Peer::Stentor, &[Some(120.0), Some(240.0), Some(120.0)]),
        (Peer::Bun, &[Some(100.0), Some(200.0), Some(60.0)]),
    ]);
    let ratios = runs.ratios(Peer::Stentor, Peer::Bun, RATE).unwrap();
    assert_eq!(ratios, Spread { median: 1.2, least: 1.2, most: 2.0, count: 3 });
}

#[test]
fn bare_loop_of_a_round_is_the_mean_of_those_around_it() {
    let bare = [Some(100.0), Some(300.0), None, Some(500.0)];
    let runs =
        runs(&[(Peer::Bare, &bare), (Peer::Stentor, &[Some(100.0), Some(150.0), Some(250.0)])]);
    let ratios = runs.ratios(Peer::Stentor, Peer::Bare, RATE).unwrap();
    // 100 of 200; 150 of 300, the other having failed; 250 of 500.
    assert_eq!(ratios, Spread { median: 0.5, least: 0.5, most: 0.5, count: 3 });
    // The loop that failed is beside the second round and the third.
    assert_eq!(runs.half_bracketed(RATE), [1, 2]);
}

#[test]
fn run_that_failed_has_no_part_in_medians_and_ratios() {
    let runs = runs(&[
        (Peer::Stentor, &[Some(100.0), None, Some(300.0)]),
        (Peer::Bun, &[None, Some(50.0), Some(100.0)]),
        (Peer::Nchan, &[None, None, None]),
    ]);
    assert_eq!(runs.spread(Peer::Stentor, RATE).unwrap().count, 2);
    assert_eq!(runs.spread(Peer::Stentor, RATE).unwrap().median, 200.0);
    assert_eq!(
        runs.ratios(Peer::Stentor, Peer::Bun, RATE).unwrap(),
        Spread { median: 3.0, least: 3.0, most: 3.0, count: 1 }
    );
    assert_eq!(runs.spread(Peer::Nchan, RATE), None);
    assert_eq!(runs.ratios(Peer::Stentor, Peer::Nchan, RATE), None);
    assert_eq!(runs.failures(Peer::Nchan), (3, Some("3 missing | lost")));
    assert_eq!(runs.failures(Peer::Sockudo), (0, None));
}

fn entrants(peers: &[Peer]) -> Vec<Entrant> {
    peers.iter().map(|peer| Entrant { peer: *peer, kit: Err("no network".to_owned()) }).collect()
}

#[test]
fn servers_come_in_turn_between_the_bare_loops() {
    let all = entrants(&[Peer::Bare, Peer::Stentor, Peer::StentorTwo, Peer::Bun, Peer::Nchan]);
    let (bare, ours, bun) = (Peer::Bare, Peer::Stentor, Peer::Bun);
    assert_eq!(
        order(Work::Echo, 2, &all),
        [(0, bare), (0, ours), (0, bun), (1, bare), (1, ours), (1, bun), (2, bare)]
    );
    assert_eq!(
        order(Work::Reactors, 1, &all),
        [(0, bare), (0, ours), (0, Peer::StentorTwo), (1, bare)]
    );
}

#[test]
fn generator_is_told_the_same_of_all_servers_but_the_address() {
    let plan = plan("--seconds 3");
    for scenario in Goal::ALL.iter().flat_map(|goal| goal.scenarios()) {
        let common = |door| {
            let mut words = words(&plan, scenario, door, "1");
            let at = words.iter().position(|word| word.starts_with("ws://")).unwrap();
            words.drain(at - 1..=at);
            words
        };
        assert_eq!(common(Door::Plain("/room")), common(Door::Pusher));
        let mut line = words(&plan, scenario, Door::Pusher, "1");
        line.insert(0, "load".to_owned());
        load::arguments::Arguments::try_parse_from(line).unwrap();
    }
}

#[test]
fn timed_tables_say_how_busy_server_and_generator_were() {
    for scenario in Goal::ALL.iter().flat_map(|goal| goal.scenarios()) {
        let names: Vec<_> = scenario.asides.iter().map(|(_, name)| *name).collect();
        for busy in ["server busy, cores", "generator busy, cores"] {
            assert_eq!(names.contains(&busy), scenario.is_timed, "{}", scenario.name);
        }
    }
}

#[test]
fn descriptors_are_wanted_for_what_is_measured_and_no_more() {
    let plan = plan("--sizes 500,1500");
    let wanted = |goals: &[Goal]| plan.connections(goals);
    assert_eq!(wanted(&[Goal::Echo]), 200);
    assert_eq!(wanted(&[Goal::Fanout, Goal::Reactors]), 1_000);
    assert_eq!(wanted(&[Goal::Memory]), 1_500);
    assert_eq!(wanted(&Goal::ALL), 10_000);
}

fn record() -> Record {
    let scenario = &Goal::Fanout.scenarios()[0];
    let some = |value| [Some(value), Some(value), Some(value)];
    let bare = [Some(130.0), Some(130.0), Some(130.0), None];
    let of: [(Peer, &[Option<f64>]); 4] = [
        (Peer::Bare, &bare),
        (Peer::Stentor, &some(125.0)),
        (Peer::Bun, &[Some(120.0), None, Some(120.0)]),
        (Peer::NodeWs, &[None, None, None]),
    ];
    let trials = [Trial { scenario, runs: runs(&of) }];
    let plan = plan("--rounds 3");
    Record::begin(Goal::Fanout, &plan).end(&plan, &entrants(&[Peer::Nchan]), &trials)
}

#[test]
fn table_tells_who_failed_and_why_and_which_aims_are_met() {
    let record = record();
    let text = record.markdown();
    assert!(record.has_subject());
    for expected in [
        "- nchan could not be had: no network",
        "| Node ws | failed | 3 missing / lost |",
        "(1 of its runs failed: 3 missing / lost)",
        "- Stentor at least 0.95 × bare loop: 0.9615: **met**",
        "- Stentor at least 1.10 × Bun: 1.04: **not met**",
        "a client publishes",
        "- In round 3 one of the two bare loops",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    let json = record.json();
    let rows = &json["tables"][0]["rows"];
    assert_eq!(rows[1]["ratios"]["bun"]["median"].as_f64(), Some(125.0 / 120.0));
    assert!(rows[3]["value"].is_null());
    assert_eq!((rows[2]["failed"].as_u64(), rows[3]["failed"].as_u64()), (Some(1), Some(3)));
}

#[test]
fn chart_draws_what_was_measured_and_nothing_without_it() {
    let json = record().json();
    let names = |bars: Vec<chart::Bar>| bars.into_iter().map(|bar| bar.name).collect::<Vec<_>>();
    assert_eq!(names(chart::bars(&json, "fanout-paced")), ["bare", "stentor", "bun"]);
    assert!(chart::bars(&json, "echo-16-deep").is_empty());
    let records = BTreeMap::from([("compare-fanout".to_owned(), json)]);
    assert!(chart::draw(&records).unwrap_err().contains("fanout-flat-out"));
}

#[test]
fn chart_of_the_readme_is_that_of_the_newest_records() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawn = chart::draw(&chart::newest(&package.join(RECORDS)).unwrap()).unwrap();
    let kept = fs::read_to_string(package.join("docs/figures.svg")).unwrap();
    assert!(drawn == kept, "draw it anew: cargo bench --bench compare -- chart");
}

#[test]
fn aims_are_met_on_the_right_side() {
    let (of, by) = (Peer::Bun, Peer::Stentor);
    let met = |aim: Aim| [0.9, 1.0, 1.1].map(|found| aim.is_met(found));
    assert_eq!(met(Aim::AtLeast { of, by, ratio: 1.0 }), [false, true, true]);
    assert_eq!(met(Aim::AtMost { of, by, ratio: 1.0 }), [true, true, false]);
    assert_eq!(met(Aim::Under { by, value: 1.0 }), [true, true, false]);
}

#[test]
fn every_peer_has_its_program_and_says_what_it_does_less() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    for peer in Peer::ALL {
        let source: Option<PathBuf> = match peer {
            Peer::Bare | Peer::Stentor | Peer::StentorTwo => None,
            Peer::TokioTungstenite | Peer::Fastwebsockets => Some(folder.join("rust")),
            peer => Some(folder.join(peer.name())),
        };
        assert!(source.is_none_or(|source| source.is_dir()), "{}", peer.name());
        for work in [Work::Echo, Work::Fanout] {
            let is_plain = matches!(peer.door(work), Some(Door::Plain(_)));
            assert!(!is_plain || !peer.less(work).is_empty(), "{} {work:?}", peer.name());
        }
    }
}

#[test]
fn version_of_a_composer_package_is_that_of_what_was_installed() {
    let list = r#"{ "packages": [{ "name": "a/b", "version": "v1.2.3" }, { "name": "c/d", "version": "4" }] }"#;
    assert_eq!(installed(list, "a/b").as_deref(), Some("1.2.3"));
    assert_eq!(installed(list, "c/d").as_deref(), Some("4"));
    assert_eq!(installed(list, "b"), None);
    assert_eq!(installed("", "a/b"), None);
}

#[test]
fn folder_made_for_nchan_goes_again_and_no_other_does() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}", std::process::id()));
    let (bodies, mark) = (scratch.join("nginx"), scratch.join("nchan/mark"));
    make_bodies(&bodies, &mark).unwrap();
    fs::create_dir(bodies.join("body")).unwrap();
    clear_bodies(&bodies, &mark).unwrap();
    assert!(!bodies.exists() && !mark.exists());

    make_bodies(&bodies, &mark).unwrap();
    fs::write(bodies.join("other"), "").unwrap();
    assert!(clear_bodies(&bodies, &mark).is_err());
    assert!(bodies.join("other").exists());

    fs::remove_file(&mark).unwrap();
    make_bodies(&bodies, &mark).unwrap();
    clear_bodies(&bodies, &mark).unwrap();
    assert!(bodies.exists());
    fs::remove_dir_all(&scratch).unwrap();
}

#[test]
fn plan_refuses_what_cannot_be_measured() {
    let refusal = |line| plan(line).check(&[Goal::Memory]).unwrap_err().to_string();
    assert!(refusal("--server-core 1").contains("share core 1"));
    assert!(refusal("--sizes 9,5").contains("smaller one first"));
    assert!(refusal("--sizes 9").contains("smaller one first"));
    assert!(Arguments::try_parse_from(["compare", "fanout", "--rounds", "0"]).is_err());
}

#[test]
fn only_who_is_asked_for_comes_and_some_must_be_asked() {
    let some = [Peer::Bare, Peer::Stentor, Peer::StentorTwo, Peer::Bun];
    assert_eq!(plan("--peers bun").entrants(), some);
    let all = plan("").entrants();
    assert!(all.contains(&Peer::Nchan) && !all.contains(&Peer::Sockudo));
    assert!(plan("--peers sockudo,reverb").entrants().contains(&Peer::Reverb));
}

#[test]
fn recorded_commands_name_the_goal_and_keep_remarks_out() {
    let words = ["all", "--rounds", "3", "--note", "n", "--bench"].map(str::to_owned);
    assert_eq!(
        command(Goal::Echo, words.into_iter()),
        "cargo bench --bench compare -- echo --rounds 3"
    );
    let words = ["all", "--note=two words", "--records", "it's here"].map(str::to_owned);
    assert_eq!(
        command(Goal::Echo, words.into_iter()),
        r"cargo bench --bench compare -- echo --records 'it'\''s here'"
    );
}

/// Tells a child of this test that it is one.
const WAITS: &str = "STENTOR_TEST_WAIT";

/// The part of the comparison, in a process of its own: waits for one that sleeps.
#[test]
fn waits_for_a_child_when_told() {
    if std::env::var_os(WAITS).is_some() {
        let interrupt = Interrupt::watch().unwrap();
        let mut sleeper = Command::new("sleep").arg("300").spawn().unwrap();
        tell(&format!("sleeper {}.", sleeper.id()));
        let status = wait_for(&mut sleeper, &interrupt, Clock::start()).unwrap();
        tell(&format!("{status}; {}", interrupt.check().unwrap_err()));
    }
}

#[test]
fn whoever_waits_for_a_child_passes_on_what_ends_it() {
    let mut waiter = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "waits_for_a_child_when_told", "--nocapture"])
        .env(WAITS, "")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waiter.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let sleeper = line.split_once("sleeper ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
    let sleeper = Path::new("/proc").join(sleeper);
    kill_process(Pid::from_child(&waiter), Signal::TERM).unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("signal: 15 (SIGTERM); interrupted by SIGTERM"), "{line}");
    assert!(waiter.wait().unwrap().success());
    assert!(!sleeper.exists(), "the sleeper sleeps on");
}

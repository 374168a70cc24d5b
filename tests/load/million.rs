//! `million`, small: that it hears all, takes what the machine bears, and puts back what it raised.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use clap::Parser as _;

use crate::figure;
use crate::load::arguments::{Arguments, Scenario};
use crate::load::clock::Clock;
use crate::load::interrupt::Interrupt;
use crate::load::million::bounds::{Raised, Tables, tables};
use crate::load::million::end::End;
use crate::load::million::progress::{Place, Progress, bars};
use crate::load::million::{plan, publish};
use crate::load::run;

pub(crate) const SMALL: &str =
    "load million --connections 400 --per-channel 7 --cores 5 --deadline 60";

#[test]
fn a_small_million_is_held_by_one_process_and_hears_all() {
    for (own, each) in [("", 7.0), ("--own-channel private", 1.0)] {
        let line = format!("{SMALL} --events 50 {own}");
        let report = run::run(&Arguments::parse_from(line.split_whitespace())).unwrap();
        assert!(report.faults.is_none(), "{}", report.faults);
        // Of 58 channels the last has one subscriber alone.
        let deliveries = figure(&report, "deliveries");
        assert!(deliveries <= 50.0 * each && deliveries >= 50.0, "{deliveries}");
        assert!(figure(&report, "TCP sockets with all") >= 800.0);
        assert!(figure(&report, "private per connection") > 0.0, "{}", report.table());
        let total = figure(&report, "private per connection")
            + figure(&report, "kernel per connection, both ends") / 2.0;
        let told = figure(&report, "total per connection, the server's end");
        assert!((told - total).abs() <= 1.0, "{}", report.table());
    }
}

#[test]
fn whoever_waits_for_an_answer_to_an_event_keeps_the_deadline() {
    let arguments = Arguments::parse_from(["load", "million", "--deadline", "1"]);
    let Scenario::Million(million) = arguments.scenario else { panic!("another scenario") };
    // The kernel accepts for it, and nobody answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, interrupt) = (silent.local_addr().unwrap(), Interrupt::watch().unwrap());
    let one = (1, Tables { threads: 1, cores: 1 });
    let plan = plan(&million, one, address, Clock::start(), &interrupt).unwrap();
    let error = publish(&plan, 1).unwrap_err().to_string();
    assert!(error.contains("event 0: it took longer than --deadline"), "{error}");
}

#[test]
fn limits_of_the_kernel_are_put_back() {
    let folder = std::env::temp_dir().join(format!("stentor-sysctl-{}", std::process::id()));
    let (files, tracked) =
        (folder.join("fs/file-max"), folder.join("net/netfilter/nf_conntrack_max"));
    fs::create_dir_all(files.parent().unwrap()).unwrap();
    fs::write(&files, "9223372036854775807\n").unwrap();
    let raise = |raised: &mut Raised| {
        let mut remarks = Vec::new();
        (raised.for_connections(1_000_000, &mut remarks), remarks)
    };
    let mut raised = Raised::below(&folder);
    // Enough of the one, and the other is no limit here.
    assert_eq!(raise(&mut raised), (1_000_000, Vec::new()));
    fs::create_dir_all(tracked.parent().unwrap()).unwrap();
    fs::write(&tracked, "262144\n").unwrap();
    let (count, remarks) = raise(&mut raised);
    assert_eq!((count, fs::read_to_string(&tracked).unwrap()), (1_000_000, "1016384".to_owned()));
    assert!(remarks[0].contains("nf_conntrack_max was raised from 262144"), "{remarks:?}");
    drop(raised);
    assert_eq!(fs::read_to_string(&tracked).unwrap(), "262144");
    assert_eq!(fs::read_to_string(&files).unwrap(), "9223372036854775807\n");
    fs::remove_dir_all(&folder).unwrap();
}

fn check_tables(wanted: usize, limit: u64, cores: Option<usize>) -> (usize, Tables, Vec<String>) {
    let mut remarks = Vec::new();
    let (connections, found) = tables(wanted, Some(limit), 2, cores, &mut remarks).unwrap();
    let Tables { threads, cores } = found;
    let limit = usize::try_from(limit).unwrap();
    assert!(threads * (limit - 64) >= connections, "{found:?}");
    // The fullest core has 15 % more than the others.
    assert!(cores * (limit - 64 - 4 * cores) >= connections * 115 / 100, "{found:?}");
    (connections, found, remarks)
}

#[test]
fn a_million_needs_so_many_tables_of_twenty_thousand() {
    let (connections, Tables { threads, cores }, remarks) = check_tables(1_000_000, 20_000, None);
    assert_eq!((connections, remarks), (1_000_000, Vec::new()));
    assert!(threads < 64 && cores < 70, "{threads}, {cores}");
    // Few need no more than there are processors.
    let few = check_tables(2000, 20_000, None);
    assert_eq!(few, (2000, Tables { threads: 2, cores: 2 }, Vec::new()));
    let none = tables(2000, None, 3, None, &mut Vec::new()).unwrap();
    assert_eq!(none, (2000, Tables { threads: 3, cores: 3 }));
}

#[test]
fn small_tables_make_a_million_smaller_and_it_says_so() {
    // More cores have more tables, but each takes some descriptors of every table: 24 bear the most.
    let (connections, Tables { threads, cores }, remarks) = check_tables(1_000_000, 256, None);
    assert!((1_900..2_100).contains(&connections), "{connections}");
    assert!((20..=28).contains(&cores) && threads < 12, "{threads}, {cores}");
    assert!(remarks[0].contains("ulimit -Hn") && remarks[0].contains("256"), "{remarks:?}");
    // Who asks for few cores gets those, and what they bear.
    let (connections, Tables { cores, .. }, remarks) = check_tables(1_000_000, 20_000, Some(1));
    assert!(cores == 1 && (17_000..17_400).contains(&connections), "{connections}");
    assert_eq!(remarks.len(), 1);
    let error = tables(1_000_000, Some(72), 2, None, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("72") && error.contains("ulimit -Hn"), "{error}");
    assert!(error.contains("74 are needed with 2 cores"), "{error}");
    assert_eq!(tables(9, Some(74), 2, None, &mut Vec::new()).unwrap().0, 3);
}

#[test]
fn an_end_of_a_million_is_small() {
    // A descriptor of mio's has more in it without optimisation.
    assert!(size_of::<End>() <= 56, "{}", size_of::<End>());
}

#[test]
fn the_bar_is_full_at_the_end_and_no_sooner() {
    assert_eq!([0.0, 0.5, 0.999, 1.0, 2.0].map(bars), [0, 15, 29, 30, 30]);
}

/// A bar that is cut short, on a terminal: what is told next must not stand behind it.
#[test]
fn what_ends_a_bar_begins_a_line() {
    let mut out = Vec::new();
    drop(Progress::on(&mut out, Place::Terminal, Clock::start(), "connections", 10));
    assert!(out.ends_with(b"\n") && out.starts_with(b"\r["), "{:?}", String::from_utf8(out));
}

//! Servers side by side, in one run on one machine: `cargo bench --bench compare -- --help`.
//!
//! ```text
//!   arguments ─▶ goals     what is measured, which figure is read, what is aimed at
//!        │       peers     who can do it, and what they do less
//!        │       kits      gets them, knows how they start
//!        ▼
//!   rounds:  bare, Stentor, Bun, …  bare, Stentor, Bun, …  bare      one server at a time, on a core of its own
//!        │      └── load, as a process of its own: `compare load …` ── record ──▶ figures
//!        ▼
//!   outcome (medians, ratios pair by pair) ─▶ table · record · chart
//! ```
//!
//! A run that fails is not a zero: it has no figures, is told with its reason, and the others go on. The bare loops
//! (`bare`) are servers like the others: what the kernel itself costs, and so the floor under all of them.

#[path = "../load/main.rs"]
#[expect(dead_code, reason = "its `main` belongs to the benchmark of its own")]
pub(crate) mod load;

pub(crate) mod arguments;
pub(crate) mod bare;
pub(crate) mod chart;
pub(crate) mod goals;
pub(crate) mod kits;
pub(crate) mod outcome;
pub(crate) mod peers;
pub(crate) mod record;
pub(crate) mod rounds;
pub(crate) mod site;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Part, Plan, RECORDS};
use goals::Goal;
use kits::Entrant;
use load::interrupt::Interrupt;
use record::Record;
use site::{Site, tell};

fn main() -> ExitCode {
    let result = match Arguments::parse().part {
        Part::Load { words } => return load::perform(&generator(words)),
        Part::Bare { kind, port } => bare::serve(kind, port),
        Part::Chart => Site::survey().and_then(|site| chart::redraw(&site, Path::new(RECORDS))),
        Part::All(plan) => compare(&Goal::ALL, &plan),
        Part::Connect(plan) => compare(&[Goal::Connect], &plan),
        Part::Echo(plan) => compare(&[Goal::Echo], &plan),
        Part::Fanout(plan) => compare(&[Goal::Fanout], &plan),
        Part::Memory(plan) => compare(&[Goal::Memory], &plan),
        Part::Reactors(plan) => compare(&[Goal::Reactors], &plan),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Reads the words for the load generator, of which the first is the scenario.
pub(crate) fn generator(words: Vec<String>) -> load::arguments::Arguments {
    load::arguments::Arguments::parse_from(std::iter::once("load".to_owned()).chain(words))
}

fn compare(goals: &[Goal], plan: &Plan) -> io::Result<()> {
    let site = Site::survey()?;
    plan.check(goals)?;
    let ended = kits::collect(&site, plan, goals)
        .and_then(|entrants| measure(&site, goals, plan, &entrants));
    kits::clear_away(&site);
    ended
}

/// Goal by goal, so that what is interrupted has told what it knew.
fn measure(site: &Site, goals: &[Goal], plan: &Plan, entrants: &[Entrant]) -> io::Result<()> {
    let interrupt = Interrupt::watch()?;
    let mut is_recorded = false;
    for goal in goals {
        let record = Record::begin(*goal, plan);
        let trials = rounds::run(site, plan, *goal, entrants, &interrupt)?;
        let record = record.end(plan, entrants, &trials);
        load::report::say(&record.markdown());
        if plan.record {
            tell(&format!("recorded {}", record.write(&site.root.join(&plan.records))?));
            is_recorded = true;
        }
        if !record.has_subject() {
            return Err(io::Error::other(format!("{}: not one run of ours is good", goal.name())));
        }
    }
    if is_recorded {
        chart::redraw(site, &plan.records)?;
    }
    Ok(())
}

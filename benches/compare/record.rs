//! What is told of a goal: a table for people, JSON for programs (the chart is drawn from it), both with machine, date,
//! versions and command. Nothing is in it that was not measured: who failed stands there with the reason.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Plan;
use super::goals::{Aim, Best, Goal, Reading, Scenario};
use super::kits::Entrant;
use super::load::report::grouped;
use super::load::{clock, machine};
use super::outcome::{Runs, Spread};
use super::peers::Peer;
use super::rounds::{Trial, words};

/// A goal's figures, and where and how they came to be.
#[derive(Debug)]
pub(crate) struct Record {
    goal: Goal,
    date: String,
    machine: String,
    load_average: String,
    command: String,
    note: Option<String>,
    rounds: u16,
    /// Who was measured: name, title, version.
    servers: Vec<(&'static str, &'static str, String)>,
    /// Who could not be had: title, reason.
    missing: Vec<(&'static str, String)>,
    tables: Vec<Table>,
}

/// One reading of one scenario.
#[derive(Debug)]
struct Table {
    scenario: &'static Scenario,
    reading: &'static Reading,
    /// What the generator was told.
    load: String,
    rows: Vec<Row>,
    /// Each aim, and what was found; `None`: nothing to say whether it is met.
    aims: Vec<(Aim, Option<f64>)>,
    /// What went otherwise than the table says of all.
    remarks: Vec<String>,
    /// The first of its scenario has the figures that explain it, too.
    is_first: bool,
}

/// One server.
#[derive(Debug)]
struct Row {
    peer: Peer,
    /// `None`: not one run is good.
    spread: Option<Spread>,
    /// Against whom, and the ratios pair by pair.
    ratios: Vec<(Peer, Option<Spread>)>,
    /// Medians.
    asides: Vec<Option<f64>>,
    failed: usize,
    first_failure: Option<String>,
    less: &'static str,
}

impl Record {
    /// To be called before the runs: the load of the machine is that of others.
    pub(crate) fn begin(goal: Goal, plan: &Plan) -> Self {
        Self {
            goal,
            date: clock::date(clock::unix_seconds()),
            machine: machine::describe(),
            load_average: machine::load_average(),
            command: command(goal, std::env::args().skip(1)),
            note: plan.note.clone(),
            rounds: plan.rounds,
            servers: Vec::new(),
            missing: Vec::new(),
            tables: Vec::new(),
        }
    }

    pub(crate) fn end(mut self, plan: &Plan, entrants: &[Entrant], trials: &[Trial]) -> Self {
        let is_able = |peer: Peer| {
            self.goal.scenarios().iter().any(|scenario| peer.door(scenario.work).is_some())
        };
        for Entrant { peer, kit } in entrants.iter().filter(|entrant| is_able(entrant.peer)) {
            match kit {
                Ok(kit) => self.servers.push((peer.name(), peer.title(), kit.version.clone())),
                Err(reason) => self.missing.push((peer.title(), reason.clone())),
            }
        }
        for trial in trials {
            for (index, reading) in trial.scenario.readings.iter().enumerate() {
                self.tables.push(table(plan, trial, reading, index == 0));
            }
        }
        self
    }

    /// Whether each table has a figure of ours.
    pub(crate) fn has_subject(&self) -> bool {
        let is_ours = |row: &Row| row.peer == Peer::Stentor && row.spread.is_some();
        self.tables.iter().all(|table| table.rows.iter().any(is_ours))
    }

    /// Writes `DATE-compare-GOAL.json` and `.md` and says where.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<String> {
        let stem = folder.join(format!("{}-compare-{}", self.date, self.goal.name()));
        fs::create_dir_all(folder)?;
        fs::write(stem.with_extension("json"), format!("{:#}\n", self.json()))?;
        fs::write(stem.with_extension("md"), self.markdown())?;
        Ok(format!("{}.json and .md", stem.display()))
    }

    pub(crate) fn json(&self) -> Value {
        let servers: Vec<_> = self
            .servers
            .iter()
            .map(|(name, title, version)| json!({ "name": name, "title": title, "version": version }))
            .collect();
        let missing: Vec<_> = self
            .missing
            .iter()
            .map(|(title, reason)| json!({ "title": title, "reason": reason }))
            .collect();
        json!({
            "name": format!("compare-{}", self.goal.name()),
            "date": self.date,
            "machine": self.machine,
            "load_average_before": self.load_average,
            "command": self.command,
            "note": self.note,
            "rounds": self.rounds,
            "servers": servers,
            "missing": missing,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let Self { goal, date, machine, load_average, command, rounds, .. } = self;
        let mut text = format!(
            "# {} beside others\n\n- date: {date}\n- machine: {machine}; load average before: {load_average}\n\
             - command: `{command}`\n- rounds: {rounds}, servers in turn; ratios are of neighbours, pair by pair\n",
            goal.name()
        );
        let versions: Vec<_> =
            self.servers.iter().map(|(_, title, version)| format!("{title} ({version})")).collect();
        let _ = writeln!(text, "- servers: {}", versions.join("; "));
        for (title, reason) in &self.missing {
            let _ = writeln!(text, "- {title} could not be had: {}", cell(reason));
        }
        if let Some(note) = &self.note {
            let _ = writeln!(text, "- note: {note}");
        }
        self.tables.iter().for_each(|table| table.write_markdown(&mut text));
        text
    }
}

fn table(plan: &Plan, trial: &Trial, reading: &'static Reading, is_first: bool) -> Table {
    let Trial { scenario, runs } = trial;
    let mut peers: Vec<Peer> = Vec::new();
    for run in &runs.runs {
        if !peers.contains(&run.peer) {
            peers.push(run.peer);
        }
    }
    let aims = reading.aims.iter().map(|aim| (*aim, found(*aim, runs, reading.figure))).collect();
    let door = Peer::Stentor.door(scenario.work);
    Table {
        scenario,
        reading,
        load: door.map(|door| words(plan, scenario, door, "PORT").join(" ")).unwrap_or_default(),
        rows: peers.iter().map(|peer| row(*peer, runs, scenario, reading)).collect(),
        aims,
        remarks: remarks(runs, reading),
        is_first,
    }
}

fn remarks(runs: &Runs, reading: &Reading) -> Vec<String> {
    if !reading.against.contains(&Peer::Bare) {
        return Vec::new();
    }
    let remark = |round| {
        format!(
            "In round {} one of the two bare loops around the others failed: the ratios to it are to the other one alone.",
            round + 1
        )
    };
    runs.half_bracketed(reading.figure).into_iter().map(remark).collect()
}

fn row(peer: Peer, runs: &Runs, scenario: &Scenario, reading: &Reading) -> Row {
    let against = reading.against.iter().filter(|against| **against != peer);
    let median = |name| Some(runs.spread(peer, name)?.median);
    let (failed, first_failure) = runs.failures(peer);
    Row {
        peer,
        spread: runs.spread(peer, reading.figure),
        ratios: against
            .map(|against| (*against, runs.ratios(peer, *against, reading.figure)))
            .collect(),
        asides: scenario.asides.iter().map(|(_, name)| median(name)).collect(),
        failed,
        first_failure: first_failure.map(str::to_owned),
        less: peer.less(scenario.work),
    }
}

fn found(aim: Aim, runs: &Runs, figure: &str) -> Option<f64> {
    let spread = match aim {
        Aim::AtLeast { of, by, .. } | Aim::AtMost { of, by, .. } => runs.ratios(by, of, figure),
        Aim::Under { by, .. } => runs.spread(by, figure),
    };
    spread.map(|spread| spread.median)
}

impl Table {
    fn json(&self) -> Value {
        let aims: Vec<_> = self
            .aims
            .iter()
            .map(|(aim, found)| {
                json!({ "aim": aim.text(), "found": found, "is_met": found.map(|found| aim.is_met(found)) })
            })
            .collect();
        json!({
            "scenario": self.scenario.name,
            "title": self.scenario.title,
            "figure": self.reading.title,
            "best": if self.reading.best == Best::Most { "most" } else { "least" },
            "load": self.load,
            "rows": self.rows.iter().map(|row| row.json(self.scenario)).collect::<Vec<_>>(),
            "aims": aims,
            "remarks": self.remarks,
        })
    }

    fn write_markdown(&self, out: &mut String) {
        let Self { scenario, reading, .. } = self;
        let less = if reading.best == Best::Least { ", the less the better" } else { "" };
        if self.is_first {
            let _ = write!(out, "\n## {}\n\nGenerator: `{}`\n", scenario.title, self.load);
        }
        let _ = write!(out, "\n{}{less}:\n\n", reading.title);
        let asides = if self.is_first { scenario.asides } else { &[] };
        let against = reading.against.iter().map(|peer| format!("of {}", peer.title()));
        let heads: Vec<_> =
            against.chain(asides.iter().map(|(head, _)| (*head).to_owned())).collect();
        let _ = write!(out, "| | median | least – most ");
        for head in &heads {
            let _ = write!(out, "| {head} ");
        }
        let _ = writeln!(
            out,
            "| what it does less |\n|---|---:|---:{}|---|",
            "|---:".repeat(heads.len())
        );
        for row in &self.rows {
            row.write_markdown(reading, asides.len(), out);
        }
        let _ = writeln!(out);
        for (aim, found) in &self.aims {
            let verdict = match found {
                Some(found) if aim.is_met(*found) => format!("{}: **met**", grouped(*found)),
                Some(found) => format!("{}: **not met**", grouped(*found)),
                None => "not measured".to_owned(),
            };
            let _ = writeln!(out, "- {}: {verdict}", aim.text());
        }
        for remark in &self.remarks {
            let _ = writeln!(out, "- {remark}");
        }
    }
}

impl Row {
    fn json(&self, scenario: &Scenario) -> Value {
        let spread = |spread: &Option<Spread>| {
            spread.map(|Spread { median, least, most, count }| {
                json!({ "median": median, "least": least, "most": most, "runs": count })
            })
        };
        let ratios: serde_json::Map<_, _> = self
            .ratios
            .iter()
            .map(|(of, ratio)| (of.name().to_owned(), json!(spread(ratio))))
            .collect();
        let asides: serde_json::Map<_, _> = scenario
            .asides
            .iter()
            .zip(&self.asides)
            .map(|((_, name), value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({
            "server": self.peer.name(),
            "title": self.peer.title(),
            "value": spread(&self.spread),
            "ratios": ratios,
            "asides": asides,
            "failed": self.failed,
            "first_failure": self.first_failure,
            "does_less": self.less,
        })
    }

    fn write_markdown(&self, reading: &Reading, asides: usize, out: &mut String) {
        let title = self.peer.title();
        let Some(spread) = &self.spread else {
            let why = self.first_failure.as_deref().unwrap_or("it has no such figure");
            let _ = writeln!(
                out,
                "| {title} | failed | {} |{} {} |",
                cell(why),
                " |".repeat(reading.against.len() + asides),
                self.less
            );
            return;
        };
        let _ = write!(
            out,
            "| {title} | {} | {} – {} ",
            grouped(spread.median.round()),
            grouped(spread.least.round()),
            grouped(spread.most.round())
        );
        for against in reading.against {
            let ratio = self.ratios.iter().find(|(of, _)| of == against);
            let text = ratio.and_then(|(_, ratio)| *ratio).map_or_else(String::new, |ratio| {
                format!("**{:.2}** ({:.2} – {:.2})", ratio.median, ratio.least, ratio.most)
            });
            let _ = write!(out, "| {text} ");
        }
        for aside in &self.asides[..asides] {
            let _ = write!(out, "| {} ", aside.map_or_else(String::new, grouped));
        }
        let failed = match (&self.first_failure, self.failed) {
            (Some(why), failed) => format!(" ({failed} of its runs failed: {})", cell(why)),
            (None, _) => String::new(),
        };
        let _ = writeln!(out, "| {}{failed} |", self.less);
    }
}

/// A text that breaks no table.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

/// The command that repeats this goal, without what stands beside it or is cargo's.
pub(crate) fn command(goal: Goal, arguments: impl Iterator<Item = String>) -> String {
    let mut command = format!("cargo bench --bench compare -- {}", goal.name());
    let mut arguments = arguments.filter(|argument| argument != "--bench").skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--note" {
            arguments.next();
        } else if !argument.starts_with("--note=") {
            let _ = write!(command, " {}", quoted(&argument));
        }
    }
    command
}

/// As a shell wants it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

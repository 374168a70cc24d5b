//! What the runs say together: medians, and ratios of runs that were neighbours. Pure; knows no server and no file.

use super::peers::Peer;

use std::collections::BTreeMap;

use serde_json::Value;

/// What the generator reported of one run, by name.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Figures {
    values: BTreeMap<String, f64>,
}

impl Figures {
    /// Reads the generator's record.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        let record: Value = serde_json::from_str(json)
            .map_err(|error| format!("the report is no JSON: {error}"))?;
        let figures = record["figures"].as_object().ok_or("the report has no figures")?;
        let mut values = BTreeMap::new();
        for (name, figure) in figures {
            // What is not a number, as the slope of a run that had none, is left out and so missed by who asks for it.
            values.extend(figure["value"].as_f64().map(|value| (name.clone(), value)));
        }
        Ok(Self { values })
    }

    /// `Err`: it is not there, and a figure that is not there is not 0.
    pub(crate) fn named(&self, name: &str) -> Result<f64, String> {
        self.values.get(name).copied().ok_or_else(|| format!("the report has no `{name}`"))
    }
}

/// One server in one round.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) peer: Peer,
    /// From 0. The bare loop has one more than the others: it opens each round and closes the last.
    pub(crate) round: usize,
    pub(crate) result: Result<Figures, String>,
}

/// The middle, and how far the others are from it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) count: usize,
}

impl Spread {
    /// `None`: there is nothing to be in the middle of.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[half - 1] + values[half]) / 2.0
        } else {
            values[half]
        };
        Some(Self { median, least, most, count: values.len() })
    }
}

/// All runs of one scenario.
#[derive(Clone, Default, Debug)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
}

impl Runs {
    /// A server's figure in one round; `None`: it failed, or has no such figure.
    fn value(&self, peer: Peer, round: usize, figure: &str) -> Option<f64> {
        let run = self.runs.iter().find(|run| (run.peer, run.round) == (peer, round))?;
        run.result.as_ref().ok()?.named(figure).ok()
    }

    /// What a server's figure is compared with in a round: the other's in the same round; the bare loop's is the mean of
    /// the two around it, so that a machine that grows slower on the way does not count.
    fn reference(&self, against: Peer, round: usize, figure: &str) -> Option<f64> {
        if against != Peer::Bare {
            return self.value(against, round, figure);
        }
        let around = [round, round + 1].map(|round| self.value(Peer::Bare, round, figure));
        let found: Vec<f64> = around.into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }

    /// The rounds of which only one of the two bare loops around them has this figure: what is divided by the bare loop there is
    /// divided by that one.
    pub(crate) fn half_bracketed(&self, figure: &str) -> Vec<usize> {
        let last = self.rounds(Peer::Bare).max().unwrap_or(0);
        let is_there = |round| self.value(Peer::Bare, round, figure).is_some();
        (0..last).filter(|round| is_there(*round) != is_there(round + 1)).collect()
    }

    fn rounds(&self, peer: Peer) -> impl Iterator<Item = usize> {
        self.runs.iter().filter(move |run| run.peer == peer).map(|run| run.round)
    }

    pub(crate) fn spread(&self, peer: Peer, figure: &str) -> Option<Spread> {
        Spread::of(self.rounds(peer).filter_map(|round| self.value(peer, round, figure)).collect())
    }

    /// The ratios of a server's runs to another's, pair by pair. A pair of which one failed is none.
    pub(crate) fn ratios(&self, peer: Peer, against: Peer, figure: &str) -> Option<Spread> {
        let ratio = |round| {
            let of = self.reference(against, round, figure).filter(|of| *of > 0.0)?;
            Some(self.value(peer, round, figure)? / of)
        };
        Spread::of(self.rounds(peer).filter_map(ratio).collect())
    }

    /// How many of a server's runs failed, and why the first one did.
    pub(crate) fn failures(&self, peer: Peer) -> (usize, Option<&str>) {
        let own = self.runs.iter().filter(|run| run.peer == peer);
        let mut reasons = own.filter_map(|run| run.result.as_ref().err());
        let first = reasons.next();
        (usize::from(first.is_some()) + reasons.count(), first.map(String::as_str))
    }
}

//! The command line.

use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::bare::Kind;
use super::goals::Goal;
use super::load::machine;
use super::peers::Peer;

/// Where the package keeps its records.
pub(crate) const RECORDS: &str = "benches/records";

const EXAMPLES: &str = "\
Examples (after `cargo bench --bench compare --`):
  fanout                                  five rounds of all that can be had, 10 minutes
  echo --peers bun --rounds 3 --seconds 4
  all --record --note 'nothing else ran'  the records and the chart of the README
  fanout --peers bun,sockudo              Sockudo is built first, which takes long: only on request
  chart                                   draws docs/figures.svg anew from the newest records

A server that cannot be had, and a run that fails, are told with the reason; the others go on.";

/// Stentor, other servers and bare loops side by side, in turn, each on a core of its own
#[derive(Parser, Debug)]
#[command(name = "compare", after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) part: Part,
    /// What cargo says to every benchmark
    #[arg(long, hide = true, global = true)]
    pub(crate) bench: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Part {
    /// Everything below
    All(Plan),
    /// Connections that come, subscribe to a private channel, and go
    Connect(Plan),
    /// Messages that come back: 1 deep, 16 deep, and of 16 KiB
    Echo(Plan),
    /// One event to 1,000 subscribers: paced, and flat out
    Fanout(Plan),
    /// What an idle subscribed connection takes, between 5,000 and 19,000
    Memory(Plan),
    /// One reactor and two, between bare loops
    Reactors(Plan),
    /// Draw docs/figures.svg from the newest records
    Chart,
    /// The load generator, as `cargo bench --bench load`
    #[command(hide = true)]
    Load {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// A bare loop
    #[command(hide = true)]
    Bare { kind: Kind, port: u16 },
}

/// How to measure, and whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// How often each server is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// How long a timed run measures
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Who is measured besides the bare loop and Stentor [default: all but sockudo, reverb and ratchet]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// The core of the servers
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The core of the load generator
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub(crate) client_core: usize,
    /// The two sizes between which memory is measured
    #[arg(long, value_name = "FROM,TO", value_delimiter = ',', default_value = "5000,19000")]
    pub(crate) sizes: Vec<usize>,
    /// Write the figures to benches/records/DATE-compare-GOAL.json and .md, and draw the chart anew
    #[arg(long)]
    pub(crate) record: bool,
    /// Where records go, relative to the package; elsewhere the chart goes there, too
    #[arg(long, value_name = "FOLDER", default_value = RECORDS)]
    pub(crate) records: PathBuf,
    /// A remark for the record, on noise for instance
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

impl Plan {
    /// Refuses what the machine cannot do, before anything is installed.
    pub(crate) fn check(&self, goals: &[Goal]) -> io::Result<()> {
        if self.server_core == self.client_core {
            return Err(io::Error::other(format!(
                "server and generator would share core {}: name two with --server-core and --client-core",
                self.server_core
            )));
        }
        match self.sizes[..] {
            [from, to] if 0 < from && from < to => {
                machine::check_descriptors(machine::raise_descriptors()?, self.connections(goals))
            }
            _ => Err(io::Error::other("--sizes are two, the smaller one first, as 5000,19000")),
        }
    }

    /// The most connections at a time of all that is to be measured.
    pub(crate) fn connections(&self, goals: &[Goal]) -> usize {
        let scenarios = goals.iter().flat_map(|goal| goal.scenarios());
        scenarios.map(|scenario| scenario.connections(&self.sizes)).max().unwrap_or(0)
    }

    /// Everybody who is asked for, in the order of a round.
    pub(crate) fn entrants(&self) -> Vec<Peer> {
        let is_asked_for = |peer: &Peer| match peer {
            Peer::Bare | Peer::Stentor | Peer::StentorTwo => true,
            peer if self.peers.is_empty() => !peer.is_on_request(),
            peer => self.peers.contains(peer),
        };
        Peer::ALL.into_iter().filter(is_asked_for).collect()
    }
}

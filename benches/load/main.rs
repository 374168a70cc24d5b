//! A load generator: idle connections, fan-out, echo, comers and goers, for any Pusher server and any plain WebSocket server
//! of this machine. `cargo bench --bench load -- --help`.
//!
//! ```text
//!   arguments ─▶ run ─┬─▶ server    start it, pin it, sample it (process), end it
//!                     ├─▶ threads   one Crowd each: Clients, perhaps the Publisher; a Part plays the scenario
//!                     │     idle · fanout · echo · churn · connect     ▲ meet
//!                     │     bystanders · slow · herd                   │
//!                     ├─▶ stage     where threads meet and `run` measures
//!                     └─▶ report    table, and a record with machine, date, command
//! ```
//!
//! `million` stands beside these: it starts its own server and has threads of its own.
//!
//! Two rules make the figures honest. Time counts from when an event was due (`clock::Schedule`), so a server that stalls
//! cannot hide it. And every payload carries its number (`payload`, `tally::Order`), so a server that drops, repeats or reorders fails.

pub(crate) mod arguments;
pub(crate) mod bystanders;
pub(crate) mod churn;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod connect;
pub(crate) mod course;
pub(crate) mod crowd;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod herd;
pub(crate) mod idle;
pub(crate) mod interrupt;
pub(crate) mod machine;
pub(crate) mod million;
pub(crate) mod pair;
pub(crate) mod payload;
pub(crate) mod process;
pub(crate) mod publisher;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod sleepers;
pub(crate) mod slow;
pub(crate) mod sockets;
pub(crate) mod stage;
pub(crate) mod tally;
pub(crate) mod target;
pub(crate) mod version;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;

fn main() -> ExitCode {
    perform(&Arguments::parse())
}

/// Runs, prints, and says by the exit code whether the server did everything right.
pub(crate) fn perform(arguments: &Arguments) -> ExitCode {
    let report = match run::run(arguments) {
        Ok(report) => report,
        Err(error) => {
            report::tell(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    report::say(&report.table());
    if let Some(files) = &report.recorded {
        report::tell(&format!("recorded {files}"));
    }
    if report.faults.is_none() {
        return ExitCode::SUCCESS;
    }
    report::tell(&format!("THE SERVER FAILED, nothing is recorded: {}", report.faults));
    ExitCode::FAILURE
}

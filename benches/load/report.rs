//! What came out, as a table for people and as JSON for those who compare.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, json};

use super::clock::{self, Nanos, seconds};
use super::process::{Effort, Memory};
use super::tally::{Faults, Latencies, slope};

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Bytes,
    Count,
    Microseconds,
    Percent,
    PerSecond,
    Seconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "",
            Self::Microseconds => "µs",
            Self::Percent => "%",
            Self::PerSecond => "per second",
            Self::Seconds => "s",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    unit: Unit,
}

/// What was done meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) count: u64,
    pub(crate) what: &'static str,
    pub(crate) took: Nanos,
}

/// The figures of one run.
#[derive(Clone, Default, Debug)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    /// What must be known to read the figures rightly.
    pub(crate) remarks: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) faults: Faults,
    /// Where it was recorded.
    pub(crate) recorded: Option<String>,
}

impl Report {
    pub(crate) fn new(scenario: impl Into<String>) -> Self {
        Self { scenario: scenario.into(), ..Self::default() }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: Unit) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    pub(crate) fn add_latencies(&mut self, name: &str, latencies: &Latencies) {
        let microseconds = |nanos: Nanos| seconds(nanos) * 1e6;
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let value = microseconds(latencies.at_percent(percent));
            self.add(format!("{name} p{percent}"), value, Unit::Microseconds);
        }
        self.add(format!("{name} max"), microseconds(latencies.max()), Unit::Microseconds);
    }

    /// The server's processor time, and how much of the work one second of it does.
    pub(crate) fn add_cpu(&mut self, effort: &Effort, work: u64, what: &str) {
        self.add("server CPU, user", effort.cpu.user, Unit::Seconds);
        self.add("server CPU, system", effort.cpu.system, Unit::Seconds);
        let spent = effort.cpu_seconds();
        if spent > 0.0 {
            self.add(format!("{what} per server CPU-second"), work as f64 / spent, Unit::PerSecond);
        }
    }

    /// What the server did for it: [`Self::add_cpu`], and how busy both sides were. A generator that is busy all the time while the
    /// server is not was what was measured.
    pub(crate) fn add_effort(&mut self, effort: &Effort, work: Work) {
        let Work { count, what, took } = work;
        self.add_cpu(effort, count, what);
        let cores = |ran: Nanos| ran as f64 / took.max(1) as f64;
        self.add("server busy, cores", cores(effort.ran), Unit::Count);
        self.add("generator busy, cores", cores(effort.generator_ran), Unit::Count);
        self.add("server waits", effort.waits as f64, Unit::Count);
        let each = count as f64 / effort.waits.max(1) as f64;
        self.add(format!("{what} per server wait"), each, Unit::Count);
    }

    /// How many the server sent at a time. For work whose connections live on: the kernel forgets what those sent that end.
    pub(crate) fn add_segments(&mut self, effort: &Effort, work: Work) {
        match effort.segments {
            Some(segments) => {
                let each = work.count as f64 / segments.max(1) as f64;
                self.add(format!("{} per segment", work.what), each, Unit::Count);
                let per_second = segments as f64 / effort.cpu_seconds();
                self.add("segments per server CPU-second", per_second, Unit::PerSecond);
            }
            None => self.remarks.push(
                "The kernel lists no sockets here (sock_diag): segments are not known.".to_owned(),
            ),
        }
    }

    pub(crate) fn add_memory(&mut self, when: &str, memory: Memory) {
        self.add(format!("resident {when}"), memory.resident as f64, Unit::Bytes);
        self.add(format!("private {when}"), memory.private as f64, Unit::Bytes);
    }

    /// What one more connection takes, by two numbers of them.
    pub(crate) fn add_memory_costs(&mut self, from: (usize, Memory), to: (usize, Memory)) {
        let each = |of: fn(&Memory) -> u64| {
            slope((from.0, of(&from.1)), (to.0, of(&to.1))).unwrap_or(f64::NAN)
        };
        let costs = [
            ("private per connection", each(|memory| memory.private)),
            ("resident per connection", each(|memory| memory.resident)),
            ("proportional per connection", each(|memory| memory.proportional)),
            ("kernel per connection, both ends", each(|memory| memory.kernel)),
            ("total per connection, the server's end", each(Memory::one_end)),
        ];
        for (name, cost) in costs {
            self.add(name, cost, Unit::Bytes);
        }
        self.remarks.push(
            "Kernel memory is that of the whole machine: both ends of the connections, and whatever others do meanwhile. The total of the \
             server's end takes half of it, for both ends are made of the same things."
                .to_owned(),
        );
    }

    pub(crate) fn table(&self) -> String {
        let width =
            self.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.scenario);
        for Figure { name, value, unit } in &self.figures {
            let _ = writeln!(text, "  {name:<width$}  {:>14} {}", grouped(*value), unit.name());
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "  note: {remark}");
        }
        text
    }

    /// Writes `DATE-NAME.json` and `DATE-NAME.md` and says where.
    pub(crate) fn record(
        &self,
        folder: &Path,
        name: &str,
        setting: &Setting,
    ) -> io::Result<String> {
        let date = clock::date(setting.unix_seconds);
        let stem = folder.join(format!("{date}-{name}"));
        let figures: Map<_, _> = self
            .figures
            .iter()
            .map(|figure| {
                let value = json!({ "value": figure.value, "unit": figure.unit.name() });
                (figure.name.clone(), value)
            })
            .collect();
        let json = json!({
            "name": name,
            "date": date,
            "scenario": self.scenario,
            "machine": setting.machine,
            "server": setting.server,
            "command": setting.command,
            "load_average_before": setting.load_average,
            "remarks": self.remarks,
            "figures": figures,
        });
        fs::create_dir_all(folder)?;
        fs::write(stem.with_extension("json"), format!("{json:#}\n"))?;
        fs::write(stem.with_extension("md"), self.markdown(name, &date, setting))?;
        Ok(format!("{}.json and .md", stem.display()))
    }

    fn markdown(&self, name: &str, date: &str, setting: &Setting) -> String {
        let Setting { machine, server, command, load_average, .. } = setting;
        let scenario = &self.scenario;
        let mut text = format!(
            "# {name}\n\n{scenario}\n\n- date: {date}\n- machine: {machine}; load average before: {load_average}\n\
             - server: {server}\n- command: `{command}`\n\n| what | value | |\n|---|---:|---|\n"
        );
        for Figure { name, value, unit } in &self.figures {
            let _ = writeln!(text, "| {name} | {} | {} |", grouped(*value), unit.name());
        }
        for remark in &self.remarks {
            let _ = write!(text, "\n{remark}\n");
        }
        text
    }
}

/// Where and how a run was made.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) unix_seconds: u64,
    pub(crate) machine: String,
    pub(crate) load_average: String,
    pub(crate) server: String,
    pub(crate) command: String,
}

/// `1 048 576`, `12.34`, `0.0123`: three significant digits at least, and long numbers in threes.
pub(crate) fn grouped(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 || size == 0.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let is_whole = value.fract() == 0.0;
    let text = if is_whole { format!("{value:.0}") } else { format!("{value:.digits$}") };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out + rest
}

/// Results go to standard output.
pub(crate) fn say(text: &str) {
    // Who closed the pipe does not want to know.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Everything else goes to standard error.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "load: {text}");
}

//! Plays the rounds: one server at a time, on a core of its own, with the generator as a process of its own on another.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::arguments::Plan;
use super::goals::{Goal, Scenario, Work};
use super::kits::{Entrant, Kit};
use super::load::clock::Clock;
use super::load::interrupt::Interrupt;
use super::load::report::grouped;
use super::load::server::Server;
use super::load::stage::pause;
use super::outcome::{Figures, Run, Runs};
use super::peers::{Door, Peer};
use super::site::{Site, last_line, tell};

/// Ports to try, one after the other, below those that the system gives to clients.
const PORTS: std::ops::Range<u16> = 18_500..19_500;

/// How long a run may take beyond the time it measures, in seconds: for 19,000 connections and what they wait for.
const GRACE: u64 = 180;

const WARM_UP: u64 = 2;

/// While the generator is waited for: seldom, for it measures.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// All runs of one scenario.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) scenario: &'static Scenario,
    pub(crate) runs: Runs,
}

/// Plays all scenarios of a goal.
pub(crate) fn run(
    site: &Site,
    plan: &Plan,
    goal: Goal,
    entrants: &[Entrant],
    interrupt: &Interrupt,
) -> io::Result<Vec<Trial>> {
    let mut stage = Stage { site, plan, interrupt, clock: Clock::start(), ports: PORTS };
    let mut trials = Vec::new();
    for scenario in goal.scenarios() {
        let mut runs = Runs::default();
        for (round, peer) in order(scenario.work, usize::from(plan.rounds), entrants) {
            let kit = entrants.iter().find(|entrant| entrant.peer == peer);
            let Some(Ok(kit)) = kit.map(|entrant| &entrant.kit) else { continue };
            let result = stage.run(scenario, peer, kit);
            interrupt.check()?;
            let word = match &result {
                Ok(figures) => first_figure(scenario, figures),
                Err(reason) => format!("FAILED: {reason}"),
            };
            let when = match u16::try_from(round) {
                Ok(round) if round < plan.rounds => format!("{}/{}", round + 1, plan.rounds),
                _ => "at the end".to_owned(),
            };
            tell(&format!("{} {when}: {}: {word}", scenario.name, peer.title()));
            runs.runs.push(Run { peer, round, result });
        }
        trials.push(Trial { scenario, runs });
    }
    Ok(trials)
}

/// Who comes when: all in turn, round by round, and the bare loop once more at the end.
pub(crate) fn order(work: Work, rounds: usize, entrants: &[Entrant]) -> Vec<(usize, Peer)> {
    let able =
        || entrants.iter().map(|entrant| entrant.peer).filter(|peer| peer.door(work).is_some());
    let mut order: Vec<_> =
        (0..rounds).flat_map(|round| able().map(move |peer| (round, peer))).collect();
    order.extend(able().filter(|peer| *peer == Peer::Bare).map(|peer| (rounds, peer)));
    order
}

fn first_figure(scenario: &Scenario, figures: &Figures) -> String {
    let mut named = scenario.readings.iter().map(|reading| reading.figure);
    let first = named.next().and_then(|name| Some((name, figures.named(name).ok()?)));
    first.map_or_else(String::new, |(name, value)| format!("{} {name}", grouped(value)))
}

/// What each run needs.
struct Stage<'a> {
    site: &'a Site,
    plan: &'a Plan,
    interrupt: &'a Interrupt,
    clock: Clock,
    ports: std::ops::Range<u16>,
}

impl Stage<'_> {
    fn run(&mut self, scenario: &Scenario, peer: Peer, kit: &Kit) -> Result<Figures, String> {
        let door = peer.door(scenario.work).ok_or("it does not do this")?;
        let port = self.free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = kit.command(self.site, scenario.work, port)?;
        let log = self.site.log(&format!("{}-{}", peer.name(), scenario.name));
        let errors = File::create(&log).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, errors) = errors.map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdout(out).stderr(errors);
        let cores = match peer {
            Peer::StentorTwo => vec![self.plan.server_core, self.plan.client_core],
            _ => vec![self.plan.server_core],
        };
        let server = Server::start(command, Some(&cores), address, self.clock)
            .map_err(|error| format!("{error}: {}", last_line(&log)))?;
        let pid = server.pid().ok_or("the server has no process")?;
        let figures = self.load(scenario, door, port, pid, peer);
        drop(server);
        let figures = figures?;
        // A figure that is missing spoils the run now, not the table later.
        for reading in scenario.readings {
            check(reading.figure, &figures)?;
        }
        Ok(figures)
    }

    /// Runs the generator and reads what it reports.
    fn load(
        &self,
        scenario: &Scenario,
        door: Door,
        port: u16,
        pid: u32,
        peer: Peer,
    ) -> Result<Figures, String> {
        let folder = self.site.tools.join("run");
        let renew = || {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)
        };
        renew().map_err(|error| format!("{}: {error}", folder.display()))?;
        let log = self.site.log("load");
        let mut command = Command::new(&self.site.own);
        command.arg("load").args(words(self.plan, scenario, door, &port.to_string()));
        command.args(["--pid", &pid.to_string(), "--server-name", peer.name()]);
        command.args(["--record", "run", "--records"]).arg(&folder);
        let ended = File::create(&log).and_then(|out| {
            let errors = out.try_clone()?;
            let mut child = command.stdout(out).stderr(errors).spawn()?;
            wait_for(&mut child, self.interrupt, self.clock)
        });
        let status = ended.map_err(|error| format!("the load generator: {error}"))?;
        if !status.success() {
            return Err(last_line(&log).trim_start_matches("load: ").to_owned());
        }
        let entries = fs::read_dir(&folder).map_err(|error| error.to_string())?;
        let json = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|kind| kind == "json"))
            .ok_or("the load generator left no report")?;
        Figures::read(&fs::read_to_string(json).map_err(|error| error.to_string())?)
    }

    /// A port of its own for each run: none waits for the connections of the last one to be forgotten.
    fn free_port(&mut self) -> Result<u16, String> {
        for _ in PORTS {
            let port = self.ports.next().unwrap_or_else(|| {
                self.ports = PORTS.start + 1..PORTS.end;
                PORTS.start
            });
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(format!("all ports from {} to {} are taken", PORTS.start, PORTS.end))
    }
}

/// Waits for a child, and ends it by asking once a signal came that ends us.
pub(crate) fn wait_for(
    child: &mut Child,
    interrupt: &Interrupt,
    clock: Clock,
) -> io::Result<ExitStatus> {
    let mut is_asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if !is_asked && interrupt.signal().is_some() {
            // Nobody else waits for it, so the number is still its own.
            kill_process(Pid::from_child(child), Signal::TERM)?;
            is_asked = true;
        }
        pause(clock, LOOK_EVERY);
    }
}

/// What the generator is told of whom to load and how; the same for all servers of a scenario but for the address.
pub(crate) fn words(plan: &Plan, scenario: &Scenario, door: Door, port: &str) -> Vec<String> {
    let mut words: Vec<String> = scenario.load.split(' ').map(str::to_owned).collect();
    let (kind, path) = match door {
        Door::Plain(path) => ("--plain", path),
        Door::Canned | Door::Pusher => ("--pusher", ""),
    };
    if door == Door::Canned {
        words.push("--canned".to_owned());
    }
    words.extend([kind.to_owned(), format!("ws://127.0.0.1:{port}{path}")]);
    if scenario.is_timed {
        words.extend(["--seconds".to_owned(), plan.seconds.to_string()]);
        words.extend(["--warm-up".to_owned(), WARM_UP.to_string()]);
    }
    if let (Work::Idle | Work::IdlePrivate, [from, to]) = (scenario.work, &plan.sizes[..]) {
        words.extend(["--from".to_owned(), from.to_string(), "--to".to_owned(), to.to_string()]);
    }
    words.extend(["--client-core".to_owned(), plan.client_core.to_string()]);
    words.extend(["--deadline".to_owned(), (plan.seconds + GRACE).to_string()]);
    words
}

/// Refuses what no such figure can be.
pub(crate) fn check(name: &str, figures: &Figures) -> Result<(), String> {
    let value = figures.named(name)?;
    if value > 0.0 {
        return Ok(());
    }
    Err(format!("`{name}` is {}, which is no measurement", grouped(value)))
}

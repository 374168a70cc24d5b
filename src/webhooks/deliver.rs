//! The threads and the clock of the webhooks: one that collects and decides, some that wait for targets.
//!
//! ```text
//!   events ─▶┐                                   ┌─▶ worker: sign, POST, look at the status ─┐
//!   orders ─▶├─ Collector: grace, lanes ── jobs ─┼─▶ worker                                  ├─▶ reports ─▶ Collector
//!            │                                   └─▶ worker                                  ┘
//! ```
//!
//! Workers are started as they are needed, and stay. Nothing is decided here that `batch/` and `grace.rs` could decide.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::batch::{Job, Lanes, Verdict};
use super::drops::Drops;
use super::event::Event;
use super::grace::Grace;
use super::target::Target;
use super::{Options, Shared, sign};
use crate::metrics::Counter;

/// How many events are taken before it is seen to the lanes again.
const SLICE: usize = 1024;

/// When nothing is due.
const LONG: Duration = Duration::from_secs(3600);

/// What is read of an answer, so that its connection can be used again.
const MOST_ANSWER_BYTES: u64 = 64 * 1024;

/// How long a connection is kept for the next request. Servers in Node close theirs after 5 seconds: a request that
/// crosses that would fail for nothing.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// What the webhooks thread is told from outside.
#[derive(Debug)]
pub(super) enum Order {
    /// Try what waits once more, and end.
    End,
    /// These are the targets from here on.
    Replace(Vec<Target>),
}

/// The webhooks thread.
pub(super) struct Collector {
    options: Arc<Options>,
    shared: Arc<Shared>,
    started: Instant,
    grace: Grace,
    lanes: Lanes,
    crew: Crew,
    /// On its way from the grace to the lanes; empty between calls.
    told: Vec<Event>,
    drops: Drops,
}

impl Collector {
    pub(super) fn new(options: Options, targets: Vec<Target>, shared: Arc<Shared>) -> Self {
        let options = Arc::new(options);
        Self {
            shared,
            started: now(),
            grace: Grace::new(options.grace, options.queue),
            lanes: Lanes::new(Arc::clone(&options), targets),
            crew: Crew::new(&options),
            told: Vec::new(),
            drops: Drops::default(),
            options,
        }
    }

    /// Runs in a thread of its own. `end` is dropped when it has ended.
    pub(super) fn start(
        self,
        events: Receiver<Event>,
        orders: Receiver<Order>,
        end: Sender<()>,
    ) -> io::Result<()> {
        let body = move || {
            let _end = end;
            self.run(&events, &orders);
        };
        thread::Builder::new().name("webhooks".to_owned()).spawn(body).map(|_| ())
    }

    fn run(mut self, events: &Receiver<Event>, orders: &Receiver<Order>) {
        let mut is_over = false;
        while !is_over {
            select! {
                recv(events) -> event => {
                    let Ok(event) = event else { break };
                    // What was ordered before the event was told holds for it.
                    is_over = orders.try_iter().any(|order| self.obey(order));
                    self.take(event);
                    events.try_iter().take(SLICE).for_each(|event| self.take(event));
                }
                recv(self.crew.reports) -> report => {
                    if let Ok(report) = report {
                        self.judge(&report);
                    }
                }
                recv(orders) -> order => is_over = order.map_or(true, |order| self.obey(order)),
                default(self.patience()) => {}
            }
            self.see_to_it();
        }
        self.end(events);
    }

    /// True if it was the last order.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::End => true,
            Order::Replace(targets) => {
                self.replace(targets);
                false
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        self.grace.take(event, now, &mut self.told);
        self.line_up(now);
    }

    fn line_up(&mut self, now: Duration) {
        for event in self.told.drain(..) {
            self.lanes.add(&Arc::new(event), now);
        }
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Duration {
        let due = [self.grace.next_timeout(), self.lanes.next_timeout(), self.drops.next_log()];
        due.into_iter().flatten().min().map_or(LONG, |due| due.saturating_sub(self.now()))
    }

    /// Does whatever is due.
    fn see_to_it(&mut self) {
        let now = self.now();
        self.grace.handle_timeout(now, &mut self.told);
        self.line_up(now);
        while let Some(job) = self.lanes.next_job(now) {
            self.crew.give(job);
        }
        self.note_drops(now);
    }

    fn note_drops(&mut self, now: Duration) {
        let of_lanes = self.lanes.take_dropped();
        self.shared.metrics.add(Counter::WebhooksDropped, of_lanes);
        let lost = of_lanes + self.shared.dropped.swap(0, Ordering::Relaxed);
        if let Some(events) = self.drops.add(lost, now) {
            tracing::warn!(
                "{events} webhook events are lost: more wait than webhooks.queue, .lane or .bytes allow"
            );
        }
    }

    fn judge(&mut self, report: &Report) {
        self.crew.busy = self.crew.busy.saturating_sub(1);
        let verdict = self.lanes.report(report.lane, report.failure.is_none(), self.now());
        let why = report.failure.as_deref().unwrap_or_default();
        if report.failure.is_some() {
            self.shared.metrics.add(Counter::WebhookFailures, 1);
        }
        match verdict {
            Verdict::Delivered { events } => self.count(Counter::WebhookEvents, events),
            Verdict::Gone => {}
            Verdict::GivenUp { target, attempts, events } => {
                self.count(Counter::WebhooksGivenUp, events);
                let Target { app, url, .. } = &*target;
                tracing::warn!(
                    "webhook of app {app} to {url}: {events} events are given up after {attempts} attempts: {why}"
                );
            }
            Verdict::Rests { target, attempts: 1, rest } => {
                let Target { app, url, .. } = &*target;
                tracing::warn!(
                    "webhook of app {app} to {url} failed, next attempt in {rest:?}: {why}"
                );
            }
            Verdict::Rests { target, attempts, rest } => {
                let Target { app, url, .. } = &*target;
                tracing::debug!(
                    "webhook of app {app} to {url}: attempt {attempts} failed, next in {rest:?}: {why}"
                );
            }
        }
    }

    fn count(&self, counter: Counter, events: usize) {
        self.shared.metrics.add(counter, u64::try_from(events).unwrap_or(u64::MAX));
    }

    fn replace(&mut self, targets: Vec<Target>) {
        let events = self.lanes.replace(targets);
        if events > 0 {
            self.count(Counter::WebhooksGivenUp, events);
            tracing::warn!(
                "{events} webhook events are given up: their targets are no longer in the settings"
            );
        }
    }

    /// All that waits is tried once more, while there is time.
    fn end(mut self, events: &Receiver<Event>) {
        events.try_iter().take(self.options.queue).for_each(|event| self.take(event));
        let now = self.now();
        self.grace.flush(&mut self.told);
        self.line_up(now);
        self.lanes.end(now);
        let deadline = now + self.options.stop_within;
        loop {
            self.see_to_it();
            let left = deadline.saturating_sub(self.now());
            if self.lanes.len() == 0 || left.is_zero() {
                break;
            }
            if let Ok(report) = self.crew.reports.recv_timeout(left.min(self.patience())) {
                self.judge(&report);
            }
        }
        let events = self.lanes.len();
        if events > 0 {
            self.count(Counter::WebhooksGivenUp, events);
            tracing::warn!("{events} webhook events are given up: the server ends");
        }
    }
}

/// How an attempt ended.
struct Report {
    lane: u64,
    failure: Option<String>,
}

/// The threads that wait for targets.
struct Crew {
    jobs: Sender<Job>,
    offered: Receiver<Job>,
    reports: Receiver<Report>,
    report: Sender<Report>,
    hired: usize,
    /// Jobs given whose reports have not been judged.
    busy: usize,
    most: usize,
    agent: ureq::Agent,
}

impl Crew {
    /// Nobody yet. There are never more requests under way than threads, so neither queue is ever full.
    fn new(options: &Options) -> Self {
        let (jobs, offered) = bounded(options.threads);
        let (report, reports) = bounded(options.threads);
        let agent = agent(options);
        Self { jobs, offered, reports, report, hired: 0, busy: 0, most: options.threads, agent }
    }

    fn give(&mut self, job: Job) {
        self.busy += 1;
        if self.busy > self.hired && self.hired < self.most {
            self.hire();
        }
        if self.hired == 0 {
            let failure = Some("the system gives no thread".to_owned());
            let _ = self.report.send(Report { lane: job.lane, failure });
        } else {
            let _ = self.jobs.send(job);
        }
    }

    fn hire(&mut self) {
        let (offered, report, agent) =
            (self.offered.clone(), self.report.clone(), self.agent.clone());
        let body = move || {
            for job in offered {
                let attempt = catch_unwind(AssertUnwindSafe(|| attempt(&agent, &job)));
                let failure =
                    attempt.unwrap_or_else(|_| Err("a fault of the server".to_owned())).err();
                if report.send(Report { lane: job.lane, failure }).is_err() {
                    return;
                }
            }
        };
        let name = format!("webhooks-{}", self.hired);
        self.hired += usize::from(thread::Builder::new().name(name).spawn(body).is_ok());
    }
}

/// Goes straight to the target: no proxy of the environment, no redirect.
fn agent(options: &Options) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(options.timeout))
        .max_redirects(0)
        .proxy(None)
        .max_idle_connections(options.threads)
        .max_idle_age(IDLE_FOR);
    config.build().into()
}

/// One request, signed now. An error says what is wrong with the answer, or why there is none.
fn attempt(agent: &ureq::Agent, job: &Job) -> Result<(), String> {
    let body = sign::body(unix_milliseconds(), job.events.iter().map(|event| &*event.json));
    let mut request = agent.post(job.target.url.as_str());
    for (name, value) in sign::headers(&job.target, &body) {
        request = request.header_raw(&name, value.as_bytes());
    }
    let mut response = request.send(body.as_bytes()).map_err(|error| error.to_string())?;
    let status = response.status();
    // An answer that does not end is no failure: the status says what there is to say.
    let _ = response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own needs a clock of its own; the decisions take the time as an argument"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "each attempt says when it was made")]
fn unix_milliseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

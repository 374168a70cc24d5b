//! A Pusher server in threads of its own, and what it counts.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use stentor::metrics::{Counter, Metrics};
use stentor::pusher::hooks::Pages;
use stentor::pusher::{self, App, Apps, Directory, Pusher, Reload};
use stentor::webhooks::{self, Target, Webhooks};
use stentor::{Options, Publisher, Request, Response, Reviewer, Server, Stopper};

/// Far longer than anything here takes: whoever waits this long has found a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const CORES: usize = 4;

/// What a test may want otherwise.
pub(crate) struct Setup {
    pub(crate) apps: Vec<App>,
    pub(crate) engine: Options,
    pub(crate) pusher: pusher::Options,
    pub(crate) webhooks: webhooks::Options,
    /// Without one there are no webhooks.
    pub(crate) targets: Vec<Target>,
    pub(crate) gate: Option<Gate>,
}

/// Holds a core up: a request for `/wait` takes until the other end is dropped.
#[derive(Clone)]
pub(crate) struct Gate(Receiver<()>);

impl Gate {
    pub(crate) fn new() -> (Self, Sender<()>) {
        let (hold, gate) = bounded(0);
        (Self(gate), hold)
    }
}

impl Pages for Gate {
    fn page(&self, _: &Apps, request: &Request<'_>) -> Option<Response> {
        if request.path() == "/wait" {
            let _ = self.0.recv();
        }
        None
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            apps: apps(),
            engine: Options { cores: CORES, shutdown_linger: Duration::ZERO, ..Options::default() },
            pusher: pusher::Options { path_prefix: "/ws".to_owned(), ..pusher::Options::default() },
            webhooks: webhooks::Options::default(),
            targets: Vec::new(),
            gate: None,
        }
    }
}

/// Two that are served, one that is switched off, and one that has room for one connection.
pub(crate) fn apps() -> Vec<App> {
    let mut off = App::new("3", "off", "secret-3");
    off.enabled = false;
    let mut small = App::new("4", "small", "secret-4");
    small.max_connections = Some(1);
    vec![App::new("1", "key", "secret"), App::new("2", "other", "secret-2"), off, small]
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) publisher: Publisher,
    reload: Reload,
    reviewer: Reviewer,
    pub(crate) webhooks: Option<Webhooks>,
    stopper: Stopper,
    ended: mpsc::Receiver<io::Result<()>>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let Setup { apps, engine, pusher, webhooks, targets, gate } = setup;
        let (apps, pusher) = (Arc::new(Apps::new(apps).unwrap()), Arc::new(pusher));
        let server = Server::bind_with("127.0.0.1:0", engine).unwrap();
        let (address, stopper) = (server.local_addr(), server.stopper());
        let (metrics, publisher) = (server.metrics(), server.publisher());
        let reviewer = server.reviewer();
        let (reload, incoming) = Reload::new(Arc::clone(&apps), server.cores());
        let (end, ended) = mpsc::channel();
        let start = || Webhooks::start(webhooks, targets.clone(), server.metrics()).unwrap();
        let webhooks = (!targets.is_empty()).then(start);
        let observer = webhooks.clone();
        let make = move |core: usize| {
            let directory = Directory::new(Arc::clone(&apps), &pusher);
            let handler = Pusher::new(Arc::clone(&apps), Arc::clone(&pusher));
            let handler = handler.with_incoming(incoming[core].clone());
            let handler = match &gate {
                Some(gate) => handler.with_pages(Box::new(gate.clone())),
                None => handler,
            };
            let Some(webhooks) = &observer else { return (handler, directory) };
            let handler = handler.with_observer(Box::new(webhooks.clone()));
            (handler, directory.with_observer(Box::new(webhooks.clone())))
        };
        thread::spawn(move || end.send(server.run_with(make)));
        Self { address, metrics, publisher, reload, reviewer, webhooks, stopper, ended }
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.metrics.total(counter)
    }

    /// A channel of app 1 whose home is that core. Different marks make different names.
    pub(crate) fn channel_at(&self, home: usize, mark: &str) -> String {
        let mut names = (0..).map(|number| format!("{mark}-{number}"));
        names.find(|name| self.publisher.home_of(&format!("1/{name}")) == home).unwrap()
    }

    /// Gives it other apps. Returns before the cores have taken notice.
    pub(crate) fn reload(&mut self, apps: Vec<App>) {
        self.reload.replace(apps).unwrap();
        self.reviewer.review();
    }

    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let end = self.ended.recv_timeout(PATIENCE);
        if let Some(webhooks) = &self.webhooks {
            webhooks.stop();
        }
        // A test that fails already has more to say than this.
        if !thread::panicking() {
            end.expect("the server ends when it is stopped").unwrap();
            assert_eq!(self.count(Counter::Panics), 0, "a callback panicked");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test on real sockets waits in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What is left until a deadline; fails once nothing is.
pub(crate) fn left(deadline: Instant) -> Duration {
    let left = deadline.checked_duration_since(now()).filter(|left| !left.is_zero());
    left.expect("what is waited for comes in time")
}

//! `Server`: cores, pinning, shutdown; `Publisher`, `Reviewer` and `Stopper` for other threads.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::fanout::conn_id::SocketId;
use crate::fanout::directory::{Directory, Keep};
use crate::fanout::mailbox::{self, Doors, Letter, Letterboxes, Letters, mailboxes};
use crate::metrics::{Counter, Metrics};
use crate::reactor::core::Parts;
use crate::reactor::descriptors;
use crate::reactor::entropy::{self, Entropy};
use crate::reactor::handler::{Handler, Outgoing, PublishError};
use crate::reactor::listener;
use crate::reactor::options::Options;
use crate::reactor::shard::Shard;
use crate::reactor::timers::LONGEST_SILENCE;
use crate::reactor::turn::{self, Turn, Watch};

/// A server that is bound and not running yet: clients that connect now wait.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    options: Arc<Options>,
    listeners: Vec<TcpListener>,
    watches: Vec<Watch>,
    letters: Vec<Letters>,
    letterboxes: Letterboxes,
    metrics: Metrics,
}

impl Server {
    /// Binds with default options.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, Options::default())
    }

    /// Binds. Port 0 takes a free one; [`Server::local_addr`] tells which.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody listens there already; `InvalidInput` if an option is out of its range; else what the
    /// system says.
    pub fn bind_with(address: impl ToSocketAddrs, options: Options) -> io::Result<Self> {
        check(&options)?;
        let cores = match options.cores {
            0 => thread::available_parallelism()?.get().min(Options::MOST_CORES),
            cores => cores,
        };
        let address = address.to_socket_addrs()?.next();
        let address = address.ok_or_else(|| invalid("the address names no host".to_owned()))?;
        listener::check_free(address)?;
        let first = listener::bind(address)?;
        let address = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..cores {
            listeners.push(listener::bind(address)?);
        }
        let watches = (0..cores).map(|_| Watch::new()).collect::<io::Result<Vec<_>>>()?;
        let wakers = watches.iter().map(Watch::waker).collect::<io::Result<_>>()?;
        let doors = Doors::new(wakers);
        let (letterboxes, letters) = Letterboxes::new(&doors, options.mailbox_posts);
        let metrics = Metrics::new(cores);
        Ok(Self {
            address,
            options: Arc::new(options),
            listeners,
            watches,
            letters,
            letterboxes,
            metrics,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How many cores it runs on.
    pub fn cores(&self) -> usize {
        self.watches.len()
    }

    /// Publishes from any thread.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            letterboxes: self.letterboxes.clone(),
            options: self.options.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Has all connections reviewed from any thread.
    pub fn reviewer(&self) -> Reviewer {
        Reviewer { letterboxes: self.letterboxes.clone() }
    }

    /// Stops the server from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { letterboxes: self.letterboxes.clone() }
    }

    /// What the cores count.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Runs until it is stopped. `make` is called once on each core's own thread with the core's number.
    ///
    /// # Errors
    ///
    /// What the system says if a core cannot wait for events; the other cores are stopped then.
    pub fn run<H: Handler>(
        self,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> io::Result<()> {
        self.run_with(move |core| (make(core), ()))
    }

    /// As [`Server::run`], with the application's part of the home cores.
    ///
    /// # Errors
    ///
    /// As [`Server::run`].
    pub fn run_with<D: Directory, H: Handler<D>>(
        mut self,
        make: impl Fn(usize) -> (H, D) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let mut boxes = mailboxes::<D>(self.letterboxes.doors(), self.options.mailbox_posts);
        let cpus = self.options.pin.then(|| core_affinity::get_core_ids().unwrap_or_default());
        let (mut letters, mut watches) =
            (mem::take(&mut self.letters), mem::take(&mut self.watches));
        let seats = (0..=u8::MAX)
            .zip(&self.listeners)
            .zip(&mut watches)
            .zip(letters.drain(..))
            .zip(boxes.drain(..));
        let (server, make) = (&self, &make);
        thread::scope(|scope| {
            // In here, so that whoever waits at the gate goes home if this ends early.
            let (gate, waits) = Gate::new(server.listeners.len());
            let mut threads = Vec::new();
            for ((((number, socket), watch), letters), (mailbox, outgoing)) in seats {
                let core = usize::from(number);
                let cpus = cpus.as_deref();
                // Whether this core ends in good order or by a fault, or never begins: never half a server that still accepts.
                let stop_all = StopOnDrop(server.stopper());
                let begin = waits.clone();
                let body = move || {
                    let _stop_all = stop_all;
                    cpus.map(|cpus| pin(core, cpus, core_affinity::set_for_current));
                    if !begin.pass(server.options.own_descriptor_tables) {
                        return Ok(());
                    }
                    let (handler, directory) = make(core);
                    let parts = server.parts(number, directory, outgoing);
                    let shard = Shard::new(handler, parts, mailbox, letters);
                    Turn { watch, shard }.run(socket)
                };
                let name = format!("stentor-{core}");
                threads.push(thread::Builder::new().name(name).spawn_scoped(scope, body)?);
            }
            drop(waits);
            gate.open()?;
            let joined = |thread: ScopedJoinHandle<'_, io::Result<()>>| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a core panicked")))
            };
            threads.into_iter().map(joined).fold(Ok(()), Result::and)
        })
    }

    /// What a core is made of, on its own thread.
    fn parts<D: Directory>(
        &self,
        number: u8,
        directory: D,
        outgoing: mailbox::Outgoing<D>,
    ) -> Parts<D> {
        Parts {
            number,
            options: Rc::new(Options::clone(&self.options)),
            directory,
            outgoing,
            metrics: self.metrics.clone(),
            entropy: Entropy::new(entropy::kernel),
            now: turn::now(),
        }
    }
}

/// Holds the cores back until each has its table of descriptors. A connection that is accepted while others still copy theirs would stand
/// in them too, and stay open there when it is closed.
struct Gate {
    arrivals: Receiver<io::Result<()>>,
    go: Sender<()>,
    cores: usize,
}

/// A core's side of the gate.
#[derive(Clone)]
struct AtGate {
    arrive: Sender<io::Result<()>>,
    go: Receiver<()>,
}

impl Gate {
    fn new(cores: usize) -> (Self, AtGate) {
        let (arrive, arrivals) = bounded(cores);
        let (opener, go) = bounded(cores);
        (Self { arrivals, go: opener, cores }, AtGate { arrive, go })
    }

    /// Lets all cores in, if all have come; else none.
    fn open(self) -> io::Result<()> {
        for _ in 0..self.cores {
            let arrived = self.arrivals.recv();
            arrived.unwrap_or_else(|_| Err(io::Error::other("a core panicked at start")))?;
        }
        (0..self.cores).try_for_each(|_| self.go.send(()).map_err(io::Error::other))
    }
}

impl AtGate {
    /// Waits until all cores are there; false if the server does not start.
    fn pass(self, with_own_table: bool) -> bool {
        let table = if with_own_table { descriptors::separate() } else { Ok(()) };
        self.arrive.send(table).is_ok() && self.go.recv().is_ok()
    }
}

/// Keeps the calling thread on one of the CPUs, if the system allows it. It serves all the same where it does not.
fn pin(core: usize, cpus: &[CoreId], set: impl FnOnce(CoreId) -> bool) -> bool {
    let is_pinned = cpus.get(core % cpus.len().max(1)).is_some_and(|cpu| set(*cpu));
    if !is_pinned {
        tracing::warn!(
            "core {core} is not pinned: the system does not let its thread stay on one CPU"
        );
    }
    is_pinned
}

/// A core that ends takes the others with it.
struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Options out of their range are refused before anything is bound.
fn check(options: &Options) -> io::Result<()> {
    if options.cores > Options::MOST_CORES {
        return Err(invalid(format!(
            "cores is {}; at most {} can be named",
            options.cores,
            Options::MOST_CORES
        )));
    }
    if options.own_descriptor_tables && !descriptors::is_possible() {
        return Err(invalid(
            "own_descriptor_tables is true; only Linux gives a thread a table of its own, and a sandbox may forbid the call \
             unshare there"
                .to_owned(),
        ));
    }
    let silence = options.patience.ping_after.saturating_add(options.patience.close_after);
    if silence > LONGEST_SILENCE {
        return Err(invalid(format!(
            "ping_after and close_after are {silence:?} together; at most {LONGEST_SILENCE:?} can be told"
        )));
    }
    Ok(())
}

/// Publishes from threads that own no core. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    letterboxes: Letterboxes,
    options: Arc<Options>,
    metrics: Metrics,
}

impl Publisher {
    /// Publishes to all subscribers of a topic but one. Events of one publisher on one topic keep their order.
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when too much is under way, or the server has ended.
    pub fn publish<'m>(
        &self,
        topic: &str,
        message: impl Into<Outgoing<'m>>,
        except: Option<SocketId>,
    ) -> Result<(), PublishError> {
        if topic.len() > self.options.topic_bytes {
            return Err(PublishError::TopicTooLong {
                bytes: topic.len(),
                limit: self.options.topic_bytes,
            });
        }
        let (queued, limit) = (self.letterboxes.doors().most_bytes(), self.options.in_flight_bytes);
        let letter = Letter {
            topic: topic.into(),
            frame: message.into().prepare(),
            except,
            keep: Keep::Remember,
        };
        if queued <= limit && self.letterboxes.post(self.home_of(topic), letter) {
            Ok(())
        } else {
            self.metrics.add(Counter::PublishesRefused, 1);
            Err(PublishError::Busy { queued, limit })
        }
    }

    /// The home core of a topic.
    pub fn home_of(&self, topic: &str) -> usize {
        self.letterboxes.doors().home_of(topic)
    }
}

/// Tells the handlers that something has changed outside: [`Handler::on_notice`] once on each core, then
/// [`Handler::on_review`] for every open WebSocket.
///
/// It carries no value. Put what is new where the handlers find it, then call [`Reviewer::review`].
#[derive(Clone, Debug)]
pub struct Reviewer {
    letterboxes: Letterboxes,
}

impl Reviewer {
    /// Returns at once; what peers send after that is handled by handlers that were told. Calls in quick succession may
    /// be answered as one, by what is in force at the last.
    pub fn review(&self) {
        self.letterboxes.review();
    }
}

/// Stops a running server: [`Handler::on_shutdown`] for every WebSocket, at [`Options::shutdown_rate`], while who comes
/// is still served; then no more accepts, and the end, within [`Options::shutdown_deadline`].
#[derive(Clone, Debug)]
pub struct Stopper {
    letterboxes: Letterboxes,
}

impl Stopper {
    /// Begins to stop. `Server::run` returns when all connections are gone or the deadline has passed.
    pub fn stop(&self) {
        self.letterboxes.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_publish_past_the_room_there_is_is_refused_and_counted() {
        let options = Options { cores: 1, mailbox_posts: 2, ..Options::default() };
        // It does not run, so nothing is read.
        let server = Server::bind_with("127.0.0.1:0", options).unwrap();
        let publisher = server.publisher();
        let publish = || publisher.publish("topic", "event", None);
        assert_eq!((publish(), publish()), (Ok(()), Ok(())));
        assert!(matches!(publish(), Err(PublishError::Busy { .. })));
        assert_eq!(server.metrics().total(Counter::PublishesRefused), 1);
    }

    #[test]
    fn cores_are_pinned_to_the_cpus_in_turn_where_the_system_allows() {
        let cpus = [CoreId { id: 3 }, CoreId { id: 5 }];
        for (core, expected) in [(0, 3), (1, 5), (2, 3)] {
            assert!(pin(core, &cpus, |cpu| cpu.id == expected));
        }
        assert!(!pin(0, &cpus, |_| false), "the system says no");
        assert!(!pin(0, &[], |_| true), "it does not even say which there are");
    }
}

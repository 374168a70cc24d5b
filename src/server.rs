//! `Server`: cores, pinning, shutdown; `Publisher`, `Reviewer` and `Stopper` for other threads.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use crate::fanout::conn_id::SocketId;
use crate::fanout::directory::{Directory, Keep};
use crate::fanout::mailbox::{Doors, Letter, Letterboxes, Letters, mailboxes};
use crate::metrics::Metrics;
use crate::reactor::core::Parts;
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
        Publisher { letterboxes: self.letterboxes.clone(), options: self.options.clone() }
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
        let make = Arc::new(make);
        let doors = self.letterboxes.doors().clone();
        let boxes = mailboxes::<D>(&doors, self.options.mailbox_posts);
        let pins = if self.options.pin {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            Vec::new()
        };
        let parts = self
            .listeners
            .drain(..)
            .zip(self.watches.drain(..))
            .zip(self.letters.drain(..))
            .zip(boxes);
        let mut threads = Vec::new();
        for (core, (((socket, watch), letters), (mailbox, outgoing))) in parts.enumerate() {
            let (make, doors, options, metrics) =
                (make.clone(), doors.clone(), self.options.clone(), self.metrics.clone());
            let pin = pins.get(core % pins.len().max(1)).copied();
            // Whether this core ends in good order or by a fault, or never begins: never half a server that still accepts.
            let stop_all = StopOnDrop(Stopper { letterboxes: self.letterboxes.clone() });
            let number = u8::try_from(core).map_err(io::Error::other)?;
            let body = move || {
                let _stop_all = stop_all;
                pin.map(core_affinity::set_for_current);
                let (handler, directory) = make(core);
                let options = Rc::new(Options::clone(&options));
                let entropy = Entropy::new(entropy::kernel);
                let parts = Parts {
                    number,
                    options,
                    directory,
                    outgoing,
                    metrics,
                    entropy,
                    now: turn::now(),
                };
                let shard = Shard::new(handler, parts, mailbox, letters);
                Turn { core, watch, doors, shard }.run(socket)
            };
            threads.push(thread::Builder::new().name(format!("stentor-{core}")).spawn(body)?);
        }
        let mut result = Ok(());
        for thread in threads {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a core panicked")));
            result = result.and(ended);
        }
        result
    }
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

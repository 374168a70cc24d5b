//! Ctrl-C for a command that waits on a socket.
//!
//! ```text
//!  SIGINT ─▶ thread: is_set, then ends the reading half of the socket it was given last, then rings
//!                        └─▶ a read in progress returns 0        └─▶ a wait in progress ends
//! ```
//!
//! The writing half stays, so that the close frame still goes out.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether the user wants to end.
pub(super) struct Interrupt {
    is_set: Arc<AtomicBool>,
    sockets: Sender<TcpStream>,
    /// The thread's end of it, from which a socket is taken that was given before: it would stay open until a signal.
    given: Receiver<TcpStream>,
    bell: mpsc::Receiver<()>,
}

impl Interrupt {
    /// Takes SIGINT and SIGTERM. The second one ends the process at once.
    pub(super) fn install() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let is_set = Arc::new(AtomicBool::new(false));
        let (sockets, given) = bounded::<TcpStream>(1);
        let (ring, bell) = mpsc::channel();
        let theirs = given.clone();
        let flag = Arc::clone(&is_set);
        let watch = move || {
            for _ in signals.forever() {
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                if let Ok(socket) = theirs.try_recv() {
                    // A socket that is gone already needs no ending.
                    let _ = socket.shutdown(Shutdown::Read);
                }
                let _ = ring.send(());
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        Ok(Self { is_set, sockets, given, bell })
    }

    /// The socket to wake from. A signal finds either the socket in the thread's hands or, coming before that, the
    /// caller at [`Interrupt::is_set`]: look there after this call.
    pub(super) fn guard(&self, socket: &TcpStream) -> io::Result<()> {
        let socket = socket.try_clone()?;
        let _ = self.given.try_recv();
        // There is room now. The thread lives as long as the process; should it be gone, so is the need.
        let _ = self.sockets.try_send(socket);
        Ok(())
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Waits, less long if it is interrupted.
    pub(super) fn wait(&self, time: Duration) {
        let _ = self.bell.recv_timeout(time);
    }
}

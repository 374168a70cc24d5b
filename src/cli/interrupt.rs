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
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether the user wants to end.
pub(super) struct Interrupt {
    is_set: Arc<AtomicBool>,
    sockets: Sender<TcpStream>,
    bell: Receiver<()>,
}

impl Interrupt {
    /// Takes SIGINT and SIGTERM. The second one ends the process at once.
    pub(super) fn install() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let is_set = Arc::new(AtomicBool::new(false));
        let (sockets, given) = channel::<TcpStream>();
        let (ring, bell) = channel();
        let flag = Arc::clone(&is_set);
        let watch = move || {
            for _ in signals.forever() {
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                if let Some(socket) = given.try_iter().last() {
                    // A socket that is gone already needs no ending.
                    let _ = socket.shutdown(Shutdown::Read);
                }
                let _ = ring.send(());
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        Ok(Self { is_set, sockets, bell })
    }

    /// The socket to wake from. A signal finds either the socket in the thread's hands or, coming before that, the
    /// caller at [`Interrupt::is_set`]: look there after this call.
    pub(super) fn guard(&self, socket: &TcpStream) -> io::Result<()> {
        // The thread lives as long as the process; should it be gone, so is the need.
        let _ = self.sockets.send(socket.try_clone()?);
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

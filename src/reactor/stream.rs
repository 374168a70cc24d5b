//! ② A socket as the reactor needs it: bytes in and out, never waiting. TLS will be a second kind of it, and the
//! simulation brings its own.

use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

/// A byte stream that answers `WouldBlock` instead of waiting.
pub(crate) trait Stream: Peer {
    /// Reads what is there; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes what fits.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes what fits of several pieces, in one system call.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Says that nothing more will be written.
    fn finish(&mut self);
}

/// The other end.
pub(crate) trait Peer {
    /// Its address; `None` if the socket is gone.
    fn address(&self) -> Option<SocketAddr>;
}

/// Reads and writes go straight to the kernel. The C library would note before and after each that the thread may be
/// cancelled, as none is here.
impl Stream for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, buffer, rustix::net::RecvFlags::empty())?.0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self, bytes, rustix::net::SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(self, pieces)
    }

    fn finish(&mut self) {
        // It fails only if the peer is gone already, which the next read tells.
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Peer for TcpStream {
    fn address(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

//! What carries the bytes between a test and a server: TCP to a live one, or nothing at all to one in memory.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use stentor::Options;
use stentor::pusher::{App, Directory, Pusher};
use stentor::reactor::simulation::{self, Simulation};

use crate::memory::in_memory;
use crate::server::{PATIENCE, Running};

/// One connection.
pub(crate) trait Wire: Write {
    /// What comes within that time; 0 bytes are the end.
    fn read_within(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize>;
}

/// What can be connected to.
pub(crate) trait Side {
    type Wire: Wire;

    fn connect(&self) -> Self::Wire;
}

impl Wire for TcpStream {
    fn read_within(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.set_read_timeout(Some(patience))?;
        self.read(buffer)
    }
}

impl Side for Running {
    type Wire = TcpStream;

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// A server without sockets and threads. Each connection is on the next core.
pub(crate) struct InMemory {
    simulation: Rc<RefCell<Simulation<Pusher, Directory>>>,
    cores: usize,
    connected: Cell<usize>,
}

impl InMemory {
    pub(crate) fn new(options: Options, apps: Vec<App>) -> Self {
        let cores = options.cores;
        let simulation = Rc::new(RefCell::new(in_memory(options, apps)));
        Self { simulation, cores, connected: Cell::new(0) }
    }
}

impl Side for InMemory {
    type Wire = MemoryWire;

    fn connect(&self) -> MemoryWire {
        let core = self.connected.replace(self.connected.get() + 1) % self.cores;
        let client = self.simulation.borrow_mut().connect(core);
        MemoryWire { simulation: Rc::clone(&self.simulation), client, unread: Vec::new() }
    }
}

pub(crate) struct MemoryWire {
    simulation: Rc<RefCell<Simulation<Pusher, Directory>>>,
    client: simulation::Client,
    unread: Vec<u8>,
}

impl Write for MemoryWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.send(bytes);
        self.simulation.borrow_mut().settle();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for MemoryWire {
    /// What is not there once everything has settled will never come.
    fn read_within(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
        self.unread.extend(self.client.take_received());
        let is_over = self.client.is_finished() || self.client.is_dropped();
        if self.unread.is_empty() && !is_over {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

//! A back end that is told by webhooks: HTTP on a port of its own, as friendly or as hostile as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::{io, thread};

use serde_json::Value;
use stentor::pusher::signature::webhook_signature;

use crate::server::{PATIENCE, left, now};

/// One request, as it came.
pub(crate) struct Told {
    /// The request line.
    pub(crate) line: String,
    /// The names in the letter case in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.json()["events"].as_array().unwrap().clone()
    }

    pub(crate) fn check_signed(&self, key: &str, secret: &str) {
        assert_eq!(self.header("Content-Type"), Some("application/json"), "{:?}", self.headers);
        assert_eq!(self.header("X-Pusher-Key"), Some(key), "{:?}", self.headers);
        let signature = webhook_signature(secret, &self.body);
        assert_eq!(self.header("X-Pusher-Signature"), Some(&*signature), "{:?}", self.headers);
    }
}

/// What it does with a request, by its number.
type Answer = dyn Fn(usize) -> Option<String> + Send + Sync;

/// It takes requests until this is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    told: mpsc::Receiver<Told>,
    is_over: Arc<AtomicBool>,
}

impl Receiver {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::answering(|_| Some("200 OK\r\n".to_owned()))
    }

    /// Answers each request with such a status and fields; with `None`, never.
    pub(crate) fn answering(
        answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let answer: Arc<Answer> = Arc::new(answer);
        let (count, last) = (Arc::default(), PATIENCE);
        thread::spawn(move || {
            let mut streams: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                stream.set_write_timeout(Some(last)).unwrap();
                streams.push(stream.try_clone().unwrap());
                let (tell, answer, count) = (tell.clone(), Arc::clone(&answer), Arc::clone(&count));
                thread::spawn(move || serve(&stream, &tell, &*answer, &count));
            }
            for stream in streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Self { address, told, is_over }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?from=stentor", self.address)
    }

    pub(crate) fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("a webhook comes in time")
    }

    /// So many events, from as many requests of app 1 as it takes.
    pub(crate) fn events(&self, count: usize) -> Vec<Value> {
        let deadline = now() + PATIENCE;
        let mut events = Vec::new();
        while events.len() < count {
            let told = self.told.recv_timeout(left(deadline));
            let told = told.unwrap_or_else(|_| panic!("only {events:?} instead of {count}"));
            told.check_signed("key", "secret");
            events.extend(told.events());
        }
        events
    }

    /// Nothing is here that was not read.
    pub(crate) fn check_silent(&self) {
        assert!(self.told.try_recv().is_err(), "there is more");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

fn serve(
    stream: &TcpStream,
    tell: &mpsc::Sender<Told>,
    answer: &Answer,
    count: &std::sync::atomic::AtomicUsize,
) {
    let mut reader = BufReader::new(stream);
    while let Ok(told) = read(&mut reader) {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if tell.send(told).is_err() {
            return;
        }
        let Some(status) = answer(number) else { return wait_for_the_end(&mut reader) };
        let answer = format!("HTTP/1.1 {status}Content-Length: 2\r\n\r\nok");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn wait_for_the_end(reader: &mut impl Read) {
    let _ = io::copy(reader, &mut io::sink());
}

fn read(reader: &mut impl BufRead) -> io::Result<Told> {
    let mut line = || {
        let mut line = String::new();
        match reader.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let first: io::Result<String> = line();
    let first = first?;
    let mut headers = Vec::new();
    loop {
        let field = line()?;
        let Some((name, value)) = field.split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body)?;
    Ok(Told { line: first, headers, body: String::from_utf8(body).unwrap() })
}

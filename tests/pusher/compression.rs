//! permessage-deflate on real sockets: who offers it gets long events compressed, who does not gets them as they are, and both
//! hear one order.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use serde_json::Value;
use stentor::SocketId;
use stentor::metrics::Counter;
use stentor::ws::client::ClientRequest;
use stentor::ws::frame::Header;
use stentor::ws::{
    Compression, Deflater, Event, Inflater, Input, Limits, MessageKind, Protocol, Reply, Role,
};

use crate::backend::Backend;
use crate::client::{decoded, subscribe, succeeded, upgrade};
use crate::server::{PATIENCE, Running};
use crate::wire::{Side as _, Wire as _};

const CHANNEL: &str = "news";
/// The default of `limits.compression_threshold`.
const THRESHOLD: usize = 1024;
const PUBLISHERS: usize = 4;
/// Of each publisher.
const EVENTS: usize = 24;

/// A client that looks at frames before it reads them.
struct Listener {
    stream: TcpStream,
    ws: Protocol,
    inflater: Inflater,
    unread: Vec<u8>,
    core: usize,
}

/// One frame: a whole message of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    /// RSV1 was set.
    is_compressed: bool,
    bytes: usize,
    text: String,
}

impl Listener {
    /// A client of app 1, which has been greeted and hears the channel.
    fn join(server: &Running, offers_deflate: bool) -> Self {
        let mut stream = server.connect();
        let request = ClientRequest { offers_deflate, ..upgrade("/app/key?protocol=7") };
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut handshake = request.handshake();
        let accepted = loop {
            let mut buffer = [0; 4096];
            let count = stream.read_within(&mut buffer, PATIENCE).unwrap();
            assert_ne!(count, 0, "the end instead of a response");
            if let Some(accepted) = handshake.receive(&buffer[..count]).unwrap() {
                break accepted;
            }
        };
        assert_eq!(accepted.deflate.is_some(), offers_deflate);
        let mut listener = Self {
            stream,
            ws: Protocol::new(Role::Client).with_deflate(accepted.deflate),
            inflater: Inflater::default(),
            unread: accepted.rest,
            core: 0,
        };
        let greeting: Value = serde_json::from_str(&listener.frame().text).unwrap();
        let data: Value = serde_json::from_str(greeting["data"].as_str().unwrap()).unwrap();
        let socket_id = data["socket_id"].as_str().unwrap().parse::<SocketId>().unwrap();
        listener.core = socket_id.conn.core();
        listener.say(&subscribe(CHANNEL));
        let answer = decoded(&listener.frame().text);
        assert_eq!(answer, succeeded(CHANNEL));
        listener
    }

    /// One on each core that offers compression, and one that does not: the kernel chooses the core.
    fn pairs(server: &Running, cores: usize) -> Vec<Self> {
        let mut found = Vec::new();
        for offers_deflate in [true, false] {
            let mut own: Vec<Option<Self>> = (0..cores).map(|_| None).collect();
            while own.iter().any(Option::is_none) {
                let listener = Self::join(server, offers_deflate);
                let core = listener.core;
                own[core].get_or_insert(listener);
            }
            found.extend(own.into_iter().flatten());
        }
        found
    }

    /// Speaks compressed where that is agreed and shorter.
    fn say(&mut self, text: &str) {
        let everything = Compression { threshold_bytes: 0, ..Compression::default() };
        let mut bytes = Vec::new();
        let mut reply = Reply { bytes: &mut bytes, masking_key: [1, 2, 3, 4] };
        let mut deflater = Deflater::new(everything);
        self.ws.send_with(&mut deflater, MessageKind::Text, text.as_bytes(), &mut reply).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn frame(&mut self) -> Frame {
        loop {
            let header = Header::decode_agreed(&self.unread, Role::Client, self.ws.deflate());
            if let Some((header, header_bytes)) = header.unwrap() {
                let bytes = header_bytes + usize::try_from(header.payload_bytes).unwrap();
                if bytes <= self.unread.len() {
                    return self.take(&header, bytes);
                }
            }
            let mut buffer = vec![0; 64 * 1024];
            let count = self.stream.read_within(&mut buffer, PATIENCE).unwrap();
            assert_ne!(count, 0, "the end instead of a frame");
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }

    fn take(&mut self, header: &Header, bytes: usize) -> Frame {
        let rest = self.unread.split_off(bytes);
        let mut frame = std::mem::replace(&mut self.unread, rest);
        let mut input = Input { bytes: &mut frame };
        let mut answer = Vec::new();
        let mut reply = Reply { bytes: &mut answer, masking_key: [0; 4] };
        let limits = Limits { message_bytes: usize::MAX };
        let inflater = &mut self.inflater;
        let event = self.ws.receive_with(inflater, &mut input, &limits, &mut reply).unwrap();
        let Some(Event::Message(message)) = event else { panic!("{event:?} instead of a message") };
        let text = message.text().expect("text frames").to_owned();
        Frame { is_compressed: header.is_compressed, bytes, text }
    }
}

/// The data of a publisher's event. Their messages are short, long, one byte below the threshold, and just there.
fn data(publisher: usize, number: usize) -> String {
    let begin = format!("{publisher}-{number}: ");
    let envelope = r#"{"event":"count","channel":"news","data":""}"#.len();
    let bytes = match number % 4 {
        0 => 20,
        1 => 20_000,
        2 => THRESHOLD - 1 - envelope,
        _ => THRESHOLD - envelope,
    };
    let filler = "one is added to it, and one more; ".repeat(bytes / 34 + 1);
    format!("{begin}{}", &filler[..bytes - begin.len()])
}

fn check_one_order(cores: usize) {
    let server = Running::with(|setup| setup.engine.cores = cores);
    let mut listeners = Listener::pairs(&server, cores);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut backend = Backend::new(&server);
            scope.spawn(move || {
                for number in 0..EVENTS {
                    backend.publish(CHANNEL, "count", &data(publisher, number));
                }
            });
        }
    });
    let all: Vec<Vec<Frame>> = listeners
        .iter_mut()
        .map(|listener| (0..PUBLISHERS * EVENTS).map(|_| listener.frame()).collect())
        .collect();
    let texts = |frames: &[Frame]| frames.iter().map(|frame| frame.text.clone()).collect();
    let order: Vec<String> = texts(&all[0]);
    check_whole(&order);
    for bytes in [THRESHOLD - 1, THRESHOLD] {
        assert!(order.iter().any(|text| text.len() == bytes), "no message of {bytes} bytes");
    }
    for (listener, frames) in listeners.iter().zip(&all) {
        assert_eq!(texts(frames), order, "core {}", listener.core);
        for Frame { is_compressed, bytes, text } in frames {
            let is_due = listener.ws.deflate().is_some() && text.len() >= THRESHOLD;
            assert_eq!(*is_compressed, is_due, "{} bytes", text.len());
            assert_eq!(*bytes < text.len() / 4, is_due, "{bytes} for {}", text.len());
        }
    }
    // Each once; two cores that try at the same moment both do the work.
    let (long, cores) = ((PUBLISHERS * EVENTS / 2) as u64, cores as u64);
    let compressed = server.count(Counter::Compressed);
    assert!((long..=long * cores).contains(&compressed), "{compressed}");
}

/// All events are there, and those of one publisher in its order.
fn check_whole(texts: &[String]) {
    let mut heard = vec![Vec::new(); PUBLISHERS];
    for text in texts {
        let message: Value = serde_json::from_str(text).unwrap();
        let data = message["data"].as_str().unwrap();
        let publisher: usize = data[..1].parse().unwrap();
        heard[publisher].push(data.to_owned());
    }
    for (publisher, heard) in heard.iter().enumerate() {
        let sent: Vec<String> = (0..EVENTS).map(|number| data(publisher, number)).collect();
        assert_eq!(*heard, sent);
    }
}

#[test]
fn compressing_and_plain_clients_hear_one_order_on_one_core() {
    check_one_order(1);
}

#[test]
fn compressing_and_plain_clients_hear_one_order_on_four_cores() {
    check_one_order(4);
}

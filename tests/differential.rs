//! Random streams of frames, sound and broken, through our `ws::Protocol` and through tungstenite: both must hear the same,
//! answer the same, and close with the same code or fail alike. Where they differ, `argued` says why we are right, by RFC 6455.
//!
//! ```text
//!   seed ──▶ frames, most of them sound ──▶ bytes ──┬──▶ ours, in parts ──▶ Outcome ──┐
//!                                                   └──▶ theirs, whole ───▶ Outcome ──┴──▶ equal, or argued
//! ```
//!
//! A failure prints the seed and the bytes. No extension is agreed to: tungstenite has none. Each argument must be needed by some stream, or it would hide what it does not
//! explain.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use stentor::ws::frame::{self, Opcode};
use stentor::ws::{Event, Input, Limits, Protocol, ProtocolError, Reply, Role};
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const STREAMS: u64 = 30_000;
/// The limit of most streams: small, so that many pass it.
const FEW_BYTES: usize = 300;
/// The limit of the others: their lengths take two bytes, or eight.
const MANY_BYTES: usize = 70_000;
/// One stream in so many has the larger limit.
const LARGE_ONE_IN: usize = 40;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What one side made of a stream.
#[derive(PartialEq, Debug)]
struct Outcome<F> {
    said: Vec<Said>,
    pongs: Vec<Vec<u8>>,
    end: End<F>,
}

#[derive(Clone, PartialEq, Debug)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code alone: what else the peer said is compared by the unit tests.
    Close(Option<u16>),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum End<F> {
    /// For more bytes.
    Waits,
    /// By the peer's close frame, answered with this code.
    Closed(Option<u16>),
    /// The connection was failed.
    Failed(F),
}

/// The same numbers for the same seed, on every machine.
struct Random(u64);

impl Random {
    /// SplitMix64, which needs no more than a counter.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// One time in so many.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What both sides are given.
struct Stream {
    bytes: Vec<u8>,
    /// The longest message that is taken.
    limit: usize,
}

/// A stream of a few frames. Whether one may follow another is left to chance, with a bias towards what may.
fn stream(random: &mut Random, from: Role) -> Stream {
    let limit = if random.one_in(LARGE_ONE_IN) { MANY_BYTES } else { FEW_BYTES };
    let mut bytes = Vec::new();
    let mut is_inside = false;
    for _ in 0..1 + random.below(6) {
        let follows = if is_inside {
            Opcode::Continuation
        } else {
            random.pick(&[Opcode::Text, Opcode::Binary])
        };
        let any = [Opcode::Ping, Opcode::Pong, Opcode::Close, Opcode::Text, Opcode::Continuation];
        let opcode = if random.one_in(3) { random.pick(&any) } else { follows };
        let is_final = opcode.is_control() || random.one_in(2);
        if !opcode.is_control() {
            is_inside = !is_final;
        }
        let payload = payload(random, opcode, limit);
        let key = (from == Role::Client).then_some(KEY);
        let start = bytes.len();
        if random.one_in(40) {
            let has_top_bit = random.one_in(8);
            push_wide(&mut bytes, is_final, opcode, key, &payload, has_top_bit);
        } else {
            frame::encode(is_final, opcode, key, &payload, &mut bytes);
        }
        // A broken header: reserved bits and opcodes, the mask's bit, fragmented control frames, other lengths.
        if random.one_in(12) {
            let at = start + random.below(2);
            bytes[at] ^= 1 << random.below(8);
        }
    }
    if random.one_in(10) {
        bytes.truncate(random.below(bytes.len()));
    }
    if random.one_in(20) {
        bytes.extend((0..random.below(12)).map(|_| random.byte()));
    }
    Stream { bytes, limit }
}

fn payload(random: &mut Random, opcode: Opcode, limit: usize) -> Vec<u8> {
    match opcode {
        Opcode::Close => {
            let code = match random.below(4) {
                0 => 999 + u16::from(random.byte() % 20),
                1 => random.pick(&[1016, 1100, 2999, 3000, 4999, 5000, 65_535, 0]),
                _ => random.pick(&[1000, 1001, 1011, 4001]),
            };
            let reason: &[u8] = random.pick(&[b"", b"bye", "né".as_bytes(), b"\xff"]);
            let body = [&code.to_be_bytes(), reason].concat();
            let shorter = random.pick(&[0, 1, body.len(), body.len(), body.len()]);
            body[..shorter].to_vec()
        }
        Opcode::Ping | Opcode::Pong => vec![random.byte(); random.pick(&[0, 1, 5, 124, 125, 126])],
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            let pieces: [&[u8]; 9] = [
                b"hello ",
                "é".as_bytes(),
                "€".as_bytes(),
                "𝄞".as_bytes(),
                b"\xe2\x82",
                b"\xac",
                b"\xf0\x9d",
                b"\xff",
                b"",
            ];
            let mut payload = Vec::new();
            for _ in 0..random.below(4) {
                // The last few are no text, or not by themselves.
                let among = if random.one_in(6) { pieces.len() } else { 4 };
                payload.extend_from_slice(pieces[random.below(among)]);
            }
            let borders: &[usize] = match limit {
                FEW_BYTES => &[125, 126, 299, 300, 301],
                _ => &[126, 300, 65_535, 65_536, 69_999, 70_000, 70_001],
            };
            if random.one_in(if limit == FEW_BYTES { 8 } else { 3 }) {
                payload.resize(random.pick(borders), b'x');
            }
            payload
        }
    }
}

/// A frame whose length takes more bytes than it needs, or has the top bit set as well.
fn push_wide(
    bytes: &mut Vec<u8>,
    is_final: bool,
    opcode: Opcode,
    key: Option<[u8; 4]>,
    payload: &[u8],
    has_top_bit: bool,
) {
    let mut whole = Vec::new();
    frame::encode(is_final, opcode, key, payload, &mut whole);
    let mask = if key.is_some() { 0x80 } else { 0 };
    bytes.extend([whole[0], mask | 127]);
    let top = u64::from(has_top_bit) << 63;
    bytes.extend((payload.len() as u64 | top).to_be_bytes());
    bytes.extend(&whole[whole.len() - payload.len() - key.map_or(0, |key| key.len())..]);
}

/// Our side, fed with parts of any length.
fn ours(role: Role, bytes: &[u8], limit: usize, random: &mut Random) -> Outcome<ProtocolError> {
    let (mut protocol, limits) = (Protocol::new(role), Limits { message_bytes: limit });
    let longest_part = if limit == FEW_BYTES { 40 } else { 4_000 };
    let (mut said, mut answers, mut end) = (Vec::new(), Vec::new(), None);
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        let length = (1 + random.below(longest_part)).min(rest.len());
        let (part, after) = rest.split_at_mut(length);
        rest = after;
        let mut input = Input { bytes: part };
        loop {
            let mut reply = Reply { bytes: &mut answers, masking_key: [9, 8, 7, 6] };
            match protocol.receive(&mut input, &limits, &mut reply) {
                Ok(None) => break,
                Ok(Some(event)) => said.push(Said::from(event)),
                Err(error) => end = Some(End::Failed(error)),
            }
        }
    }
    let (pongs, close) = answered(&answers);
    let end = match (end, close) {
        (Some(End::Failed(error)), close) => {
            assert_eq!(close, Some(Some(error.close_code().0)), "a failure is told");
            End::Failed(error)
        }
        (_, Some(code)) => End::Closed(code),
        (_, None) => End::Waits,
    };
    Outcome { said, pongs, end }
}

impl Said {
    /// Whether its length takes eight bytes, if it came in one frame.
    fn is_long(&self) -> bool {
        match self {
            Self::Text(text) => text.len() > usize::from(u16::MAX),
            Self::Binary(payload) => payload.len() > usize::from(u16::MAX),
            _ => false,
        }
    }
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => match message.text() {
                Some(text) => Self::Text(text.to_owned()),
                None => Self::Binary(message.bytes().to_vec()),
            },
            Event::Ping(payload) => Self::Ping(payload.into_owned()),
            Event::Pong(payload) => Self::Pong(payload.into_owned()),
            Event::Close(close) => Self::Close(close.map(|close| close.code.0)),
        }
    }
}

/// A socket that has bytes for a while, and keeps what is written.
struct Socket {
    bytes: io::Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Their side. A failure is the close code that it would earn.
fn theirs(role: Role, bytes: &[u8], limit: usize) -> Outcome<u16> {
    let config =
        WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    let socket = Socket { bytes: io::Cursor::new(bytes.to_vec()), written: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(socket, role, Some(config));
    let mut said = Vec::new();
    let failed = loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.to_string())),
            Ok(Message::Binary(payload)) => said.push(Said::Binary(payload.to_vec())),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
            Ok(Message::Close(close)) => {
                said.push(Said::Close(close.map(|close| u16::from(close.code))));
                break None;
            }
            Ok(Message::Frame(_)) => unreachable!("frames are not asked for"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
            Err(Error::Protocol(_)) => break Some(1002),
            Err(Error::Utf8(_)) => break Some(1007),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => break Some(1009),
            Err(error) => panic!("{error:?}"),
        }
    };
    let _ = socket.flush();
    let (pongs, close) = answered(&socket.get_ref().written);
    let end = match (failed, close) {
        (Some(code), _) => End::Failed(code),
        (None, Some(code)) => End::Closed(code),
        (None, None) => End::Waits,
    };
    Outcome { said, pongs, end }
}

/// The pongs among the frames that one side wrote, and the code of its close frame.
fn answered(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Option<u16>>) {
    let (mut pongs, mut close) = (Vec::new(), None);
    while let [first, second, rest @ ..] = bytes {
        assert!(close.is_none(), "nothing follows a close frame");
        let (key, rest) = rest.split_at(if second & 0x80 == 0 { 0 } else { 4 });
        let (payload, after) = rest.split_at(usize::from(second & 0x7f));
        let unmasked =
            payload.iter().enumerate().map(|(at, byte)| byte ^ key.get(at % 4).unwrap_or(&0));
        let payload: Vec<u8> = unmasked.collect();
        match first {
            0x8a => pongs.push(payload),
            0x88 => close = Some(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            other => panic!("an answer that begins with {other:#x}"),
        }
        bytes = after;
    }
    (pongs, close)
}

/// Where a stream ends.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Last {
    /// Behind a frame.
    Whole,
    /// Inside a frame's header.
    InHeader,
    /// So many bytes before a frame's end.
    Lacks(usize),
}

/// Where the first frame begins that announces more than the limit, if one does, and where the stream ends.
fn frames(whole: &[u8], limit: usize) -> (Option<usize>, Last) {
    let mut first_long = None;
    let mut bytes = whole;
    while let [_, second, rest @ ..] = bytes {
        let start = whole.len() - bytes.len();
        let (length, rest) = match second & 0x7f {
            126 => (rest.first_chunk().map(|b| u64::from(u16::from_be_bytes(*b))), rest.get(2..)),
            127 => (rest.first_chunk().map(|b| u64::from_be_bytes(*b)), rest.get(8..)),
            short => (Some(u64::from(short)), Some(rest)),
        };
        let (Some(length), Some(rest)) = (length, rest) else {
            return (first_long, Last::InHeader);
        };
        if length > limit as u64 {
            first_long = first_long.or(Some(start));
        }
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(key);
        let Some(after) = rest.get(end..) else {
            return (first_long, Last::Lacks(end - rest.len()));
        };
        bytes = after;
    }
    (first_long, if bytes.is_empty() { Last::Whole } else { Last::InHeader })
}

/// The stream, and what its last frame lacks; of a frame that is too long the header alone.
fn completed(bytes: &[u8], limit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    loop {
        match frames(&bytes, limit).1 {
            Last::InHeader => bytes.push(0),
            Last::Lacks(count) if count <= limit + KEY.len() => {
                bytes.resize(bytes.len() + count, 0)
            }
            // The key, which may be cut as well.
            Last::Lacks(_) => return [bytes.as_slice(), &[0; 4]].concat(),
            Last::Whole => return bytes,
        }
    }
}

/// Why they differ, and why ours is right: the section, and what it says of the case. `None` fails the test.
fn argued(
    role: Role,
    ours: &Outcome<ProtocolError>,
    theirs: &Outcome<u16>,
    Stream { bytes, limit }: &Stream,
) -> Option<&'static str> {
    use ProtocolError as E;
    // 1014 was assigned after the RFC, by the registry that its section 11.7 makes. They do not know it.
    if ours.end == End::Closed(Some(1014)) && theirs.end == End::Closed(Some(1002)) {
        let (last, before) = theirs.said.split_last()?;
        let is_same = ours.said == [before, &[Said::Close(Some(1014))]].concat();
        let is_so = is_same && *last == Said::Close(Some(1002)) && ours.pongs == theirs.pongs;
        return is_so.then_some("11.7, 1014");
    }
    let End::Failed(error) = ours.end else { return None };
    let same_until_then =
        theirs.said.starts_with(&ours.said) && theirs.pongs.starts_with(&ours.pongs);
    let same_but_the_end = ours.said == theirs.said && ours.pongs == theirs.pongs;
    let (first_long, last) = frames(bytes, *limit);
    let is_the_long_one =
        |start: usize| self::ours(role, &bytes[..start], *limit, &mut Random(0)).end == End::Waits;
    // What they make of it once the last frame is whole.
    let whole = self::theirs(role, &completed(bytes, *limit), *limit);
    match (error, theirs.end) {
        // "The minimal number of bytes MUST be used to encode the length". They read on.
        (E::LengthNotMinimal { .. }, _) if same_until_then => Some("5.2, minimal lengths"),
        // The same of a control frame, which never needs more than the seven bits (5.5: "125 bytes or less"). They take one whose
        // wide length is a short one, and look into its body.
        (E::ControlTooLong { .. }, _)
            if same_until_then
                && (whole.said.len() > ours.said.len() || whole.end == End::Failed(1007)) =>
        {
            Some("5.5, short control frames")
        }
        // "The most significant bit MUST be 0": a broken frame, not one that is merely too big for us.
        (E::LengthTopBit { .. }, End::Failed(1009)) if same_but_the_end => Some("5.2, the top bit"),
        // Section 7.4: 1005 and its like "MUST NOT be set as a status code in a Close control frame". Both answer with 1002;
        // they hand that to the application as if the peer had said it.
        (E::CloseCode { .. }, End::Closed(Some(1002))) => {
            let said = [ours.said.as_slice(), &[Said::Close(Some(1002))]].concat();
            (theirs.said == said && theirs.pongs == ours.pongs).then_some("7.4, codes set aside")
        }
        // A close frame with a wrong code and a reason that is no text: both are faults, and we tell the first.
        (E::CloseCode { .. }, End::Failed(1007)) if same_but_the_end => Some("5.5.1, two faults"),
        // The header is wrong, and long as well. Which is told is ours to choose (7.1.7 asks for a fitting code); that the
        // protocol was broken says more, and is the same whatever our limit is.
        (fault, End::Failed(1009))
            if fault.close_code().0 == 1002
                && same_but_the_end
                && first_long.is_some_and(is_the_long_one) =>
        {
            Some("7.1.7, wrong and long")
        }
        // What is wrong is known before the frame has come to its end, and 7.1.7 has us fail the connection for it. They look
        // when the frame is whole, and then find the same, or that it is long as well.
        (fault, End::Waits) if same_but_the_end && last != Last::Whole => {
            let code = fault.close_code().0;
            let is_found = match whole.end {
                End::Failed(1009) => code == 1002 || code == 1009,
                End::Failed(found) => found == code,
                _ => false,
            };
            is_found.then_some("7.1.7, at once")
        }
        _ => None,
    }
}

fn compare(role: Role) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut long = 0;
    for seed in 0..STREAMS {
        let mut random = Random(seed);
        let peer = if role == Role::Server { Role::Client } else { Role::Server };
        let stream = stream(&mut random, peer);
        let Stream { bytes, limit } = &stream;
        let (ours, theirs) = (ours(role, bytes, *limit, &mut random), theirs(role, bytes, *limit));
        long += usize::from(ours.said.iter().any(Said::is_long));
        let is_same_end = match (ours.end, theirs.end) {
            (End::Failed(error), End::Failed(code)) => error.close_code().0 == code,
            (End::Closed(ours), End::Closed(theirs)) => ours == theirs,
            (End::Waits, End::Waits) => true,
            _ => false,
        };
        let reason = if is_same_end && ours.said == theirs.said && ours.pongs == theirs.pongs {
            "the same"
        } else {
            argued(role, &ours, &theirs, &stream).unwrap_or_else(|| {
                panic!(
                    "{role:?}, seed {seed}: {bytes:02x?}\n  ours:   {ours:?}\n  theirs: {theirs:?}"
                )
            })
        };
        *reasons.entry(reason).or_default() += 1;
        let end = format!("{:?}", ours.end);
        *ends.entry(end.split([' ', '{']).next().unwrap().to_owned()).or_default() += 1;
    }
    // What came of the streams, by `--nocapture`; and each argument is needed, and most streams need none.
    eprintln!("{role:?}: {reasons:?}\n  {ends:?}\n  {long} with a length of eight bytes");
    assert!(long > 50, "{long} streams had a message whose length takes eight bytes");
    assert_eq!(reasons.len(), 9, "an argument that no stream needs: {reasons:?}");
    assert!(reasons["the same"] > STREAMS * 8 / 10, "{reasons:?}");
    let failures = ends.keys().filter(|end| end.starts_with("Failed")).count();
    assert!(ends.len() > failures && failures >= 12, "too few kinds of ends: {ends:?}");
}

#[test]
fn our_server_hears_what_theirs_hears() {
    compare(Role::Server);
}

#[test]
fn our_client_hears_what_theirs_hears() {
    compare(Role::Client);
}

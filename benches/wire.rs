//! Micro-benchmarks of the wire: mask, UTF-8, frame headers, and the whole way of small messages through `Protocol`.
//!
//! `cargo bench --bench wire`; one part of it: `cargo bench --bench wire -- mask`. Where two ways are compared, the one
//! in use is named `ours`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use stentor::ws::frame::{self, Header, Opcode};
use stentor::ws::{Input, Limits, MessageKind, Prepared, Protocol, Reply, Role};

fn main() {
    divan::main();
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

mod mask {
    use super::*;

    const LENGTHS: [usize; 4] = [16, 125, 1024, 65_536];

    #[divan::bench(args = LENGTHS)]
    fn ours(bencher: Bencher<'_, '_>, length: usize) {
        let mut payload = vec![b'x'; length];
        bencher
            .counter(BytesCount::new(length))
            .bench_local(|| stentor::ws::mask::unmask(black_box(&mut payload), KEY, 0));
    }

    #[divan::bench(args = LENGTHS)]
    fn byte_by_byte(bencher: Bencher<'_, '_>, length: usize) {
        let mut payload = vec![b'x'; length];
        bencher.counter(BytesCount::new(length)).bench_local(|| {
            for (i, byte) in black_box(&mut payload).iter_mut().enumerate() {
                *byte ^= KEY[i % 4];
            }
        });
    }
}

mod utf8 {
    use super::*;

    const LENGTHS: [usize; 5] = [16, 64, 256, 1024, 65_536];

    fn ascii(length: usize) -> String {
        r#"{"event":"update","data":"0123"}"#.chars().cycle().take(length).collect()
    }

    fn mixed(length: usize) -> String {
        let text: String = "Grüße, 世界! 🦀 ".chars().cycle().take(length).collect();
        text[..text.floor_char_boundary(length)].to_owned()
    }

    fn bench(bencher: Bencher<'_, '_>, text: &str, check: fn(&[u8]) -> bool) {
        bencher.counter(BytesCount::new(text.len())).bench(|| check(black_box(text.as_bytes())));
    }

    fn ours(bytes: &[u8]) -> bool {
        stentor::ws::utf8::check_whole(bytes).is_ok()
    }

    fn std(bytes: &[u8]) -> bool {
        str::from_utf8(bytes).is_ok()
    }

    #[divan::bench(args = LENGTHS)]
    fn ascii_ours(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &ascii(length), ours);
    }

    #[divan::bench(args = LENGTHS)]
    fn ascii_std(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &ascii(length), std);
    }

    #[divan::bench(args = LENGTHS)]
    fn mixed_ours(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &mixed(length), ours);
    }

    #[divan::bench(args = LENGTHS)]
    fn mixed_std(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &mixed(length), std);
    }

    /// In parts of a network packet's size.
    #[divan::bench(args = [1024, 65_536])]
    fn mixed_incremental(bencher: Bencher<'_, '_>, length: usize) {
        let text = mixed(length);
        bencher.counter(BytesCount::new(text.len())).bench(|| {
            let mut all = stentor::ws::utf8::Incremental::with_capacity(length);
            for part in black_box(text.as_bytes()).chunks(1449) {
                all.push(part).expect("it is text");
            }
            all.finish().expect("it is text")
        });
    }
}

mod header {
    use super::*;

    const LENGTHS: [usize; 3] = [16, 1024, 65_536];

    fn masked(length: usize) -> Header {
        let payload_bytes = length as u64;
        Header {
            is_final: true,
            is_compressed: false,
            opcode: Opcode::Text,
            masking_key: Some(KEY),
            payload_bytes,
        }
    }

    #[divan::bench(args = LENGTHS)]
    fn decode(bencher: Bencher<'_, '_>, length: usize) {
        let mut bytes = Vec::new();
        masked(length).encode(&mut bytes);
        bencher.bench(|| Header::decode(black_box(&bytes), Role::Server));
    }

    #[divan::bench(args = LENGTHS)]
    fn encode(bencher: Bencher<'_, '_>, length: usize) {
        let header = masked(length);
        let mut out = Vec::with_capacity(64);
        bencher.bench_local(|| {
            out.clear();
            black_box(&header).encode(&mut out);
            black_box(&out);
        });
    }

    /// What a publisher pays once per message.
    #[divan::bench(args = [16, 125, 1024])]
    fn prepare(bencher: Bencher<'_, '_>, length: usize) {
        let payload = vec![b'x'; length];
        bencher.bench(|| Prepared::new(MessageKind::Text, black_box(&payload)));
    }
}

mod receive {
    use super::*;

    /// Frames in one read.
    const FRAMES: usize = 100;
    const LIMITS: Limits = Limits { message_bytes: 1 << 20 };

    fn frames(opcode: Opcode, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..FRAMES {
            frame::encode(true, opcode, Some(KEY), &vec![b'x'; length], &mut out);
        }
        out
    }

    /// Unmasking changes the bytes, so each round has its own; making them is not counted.
    fn bench(bencher: Bencher<'_, '_>, bytes: &[u8], step: usize) {
        let mut answers = Vec::with_capacity(256 * FRAMES);
        bencher
            .counter(ItemsCount::new(FRAMES))
            .counter(BytesCount::new(bytes.len()))
            .with_inputs(|| bytes.to_vec())
            .bench_local_refs(|bytes| {
                answers.clear();
                let mut us = Protocol::new(Role::Server);
                for part in bytes.chunks_mut(step) {
                    let mut input = Input { bytes: part };
                    let mut reply = Reply { bytes: &mut answers, masking_key: KEY };
                    while let Some(event) =
                        us.receive(&mut input, &LIMITS, &mut reply).expect("the frames are sound")
                    {
                        black_box(&event);
                    }
                }
            });
    }

    /// 100 text messages in one read.
    #[divan::bench(args = [16, 125, 1024])]
    fn text(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &frames(Opcode::Text, length), usize::MAX);
    }

    /// 100 pings in one read, answered.
    #[divan::bench]
    fn ping(bencher: Bencher<'_, '_>) {
        bench(bencher, &frames(Opcode::Ping, 4), usize::MAX);
    }

    /// 100 text messages cut without regard to frames.
    #[divan::bench(args = [125, 1024])]
    fn text_cut(bencher: Bencher<'_, '_>, length: usize) {
        bench(bencher, &frames(Opcode::Text, length), 499);
    }
}

mod send {
    use super::*;

    #[divan::bench(args = [(Role::Server, 125), (Role::Client, 125), (Role::Server, 1024), (Role::Client, 1024)])]
    fn text(bencher: Bencher<'_, '_>, (role, length): (Role, usize)) {
        let us = Protocol::new(role);
        let payload = vec![b'x'; length];
        let mut bytes = Vec::with_capacity(2048);
        bencher.counter(BytesCount::new(length)).bench_local(|| {
            bytes.clear();
            let mut out = Reply { bytes: &mut bytes, masking_key: KEY };
            us.send(MessageKind::Text, black_box(&payload), &mut out)
        });
    }
}

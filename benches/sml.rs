//! SML frames per second, beside crate sml-rs on the same frames.
//!
//! `whole`: from a frame's bytes to checks of the frame and of every message, and to every number of its list with its
//! power of ten. `stream`: the same from a hundred frames that arrive in pieces of 256 bytes (sml-rs takes byte by byte).
//! Both sides of sml-rs are shown: `streaming` gives entry by entry as ours does, `complete` a tree.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gridkeeper::codec::obis::Obis;
use gridkeeper::codec::sml::{Decoder, Field, encode, entry};
use sml_rs::parser::common::{ListEntry, Value};
use sml_rs::parser::{complete, streaming};
use sml_rs::transport;
use sml_rs::util::ArrayBuf;

const SERVER: &[u8] = b"\x0A\x01GKT\x00\x00\x00\x00\x01";
const ENERGY: [Obis; 2] = [Obis::new(1, 0, 1, 8, 0), Obis::new(1, 0, 2, 8, 0)];
const POWER: Obis = Obis::new(1, 0, 16, 7, 0);

fn household() -> Vec<Vec<u8>> {
    vec![
        entry(Obis { f: 1, ..Obis::new(1, 0, 96, 50, 1) }, None, None, 0, Field::Octets(b"GKT")),
        entry(Obis::new(1, 0, 96, 1, 0), None, None, 0, Field::Octets(SERVER)),
        entry(ENERGY[0], Some(0x001C_0104), Some(30), -1, Field::Uint(123_456_789, 5)),
        entry(ENERGY[1], None, Some(30), -1, Field::Uint(4711, 5)),
        entry(POWER, None, Some(27), -2, Field::Int(-10_550, 4)),
    ]
}

/// With everything that a three-phase meter says when its PIN was entered.
fn three_phases() -> Vec<Vec<u8>> {
    let mut entries = household();
    for (base, unit, scaler) in [(36, 27, -1), (31, 33, -2), (32, 35, -1)] {
        for phase in 0..3 {
            let code = Obis::new(1, 0, base + 20 * phase, 7, 0);
            entries.push(entry(code, None, Some(unit), scaler, Field::Int(2300 + i64::from(phase), 4)));
        }
    }
    for angle in 0..5 {
        let code = Obis { f: 255, ..Obis::new(1, 0, 81, 7, angle) };
        entries.push(entry(code, None, Some(8), 0, Field::Uint(120, 2)));
    }
    entries.push(entry(Obis::new(1, 0, 14, 7, 0), None, Some(44), -1, Field::Uint(500, 2)));
    entries
}

/// Numbers of a frame, and frames.
#[derive(Default, PartialEq, Debug)]
struct Sum {
    numbers: usize,
    total: f64,
    frames: usize,
}

impl Sum {
    fn add(&mut self, number: f64) {
        self.numbers += 1;
        self.total += black_box(number);
    }
}

fn ours(decoder: &mut Decoder, mut bytes: &[u8], sum: &mut Sum) {
    while let Some(frame) = decoder.decode(&mut bytes) {
        let frame = frame.unwrap();
        frame.check().unwrap();
        for entry in frame.entries() {
            if let Some(number) = entry.unwrap().decimal() {
                sum.add(number.as_f64());
            }
        }
        sum.frames += 1;
    }
}

fn number(entry: &ListEntry<'_>) -> Option<f64> {
    let raw = match entry.value {
        Value::I8(it) => f64::from(it),
        Value::I16(it) => f64::from(it),
        Value::I32(it) => f64::from(it),
        Value::I64(it) => it as f64,
        Value::U8(it) => f64::from(it),
        Value::U16(it) => f64::from(it),
        Value::U32(it) => f64::from(it),
        Value::U64(it) => it as f64,
        Value::Bool(_) | Value::Bytes(_) | Value::List(_) => return None,
    };
    Some(raw * 10_f64.powi(i32::from(entry.scaler.unwrap_or(0))))
}

fn theirs_streaming(bytes: &[u8], sum: &mut Sum) {
    let mut frames = transport::decode_streaming::<ArrayBuf<{ 8 * 1024 }>>(bytes);
    while let Some(payload) = frames.next() {
        for event in streaming::Parser::new(payload.unwrap()) {
            if let streaming::ParseEvent::ListEntry(entry) = event.unwrap()
                && let Some(number) = number(&entry)
            {
                sum.add(number);
            }
        }
        sum.frames += 1;
    }
}

fn theirs_complete(bytes: &[u8], sum: &mut Sum) {
    let mut frames = transport::decode_streaming::<ArrayBuf<{ 8 * 1024 }>>(bytes);
    while let Some(payload) = frames.next() {
        for message in complete::parse(payload.unwrap()).unwrap().messages {
            if let complete::MessageBody::GetListResponse(list) = message.message_body {
                list.val_list.iter().filter_map(number).for_each(|it| sum.add(it));
            }
        }
        sum.frames += 1;
    }
}

fn frames(criterion: &mut Criterion) {
    for (name, entries) in [("household", household()), ("three phases", three_phases())] {
        let frame = encode(SERVER, &entries);
        let all = |read: &mut dyn FnMut(&mut Sum)| {
            let mut sum = Sum::default();
            read(&mut sum);
            sum
        };
        // All three say the same, or there is nothing to compare.
        let expected = all(&mut |sum| ours(&mut Decoder::new(), &frame, sum));
        assert_eq!((expected.frames, expected.numbers > 2), (1, true));
        let near = |it: Sum| {
            (it.total - expected.total).abs() < 1e-6 && (it.numbers, it.frames) == (expected.numbers, expected.frames)
        };
        assert!(near(all(&mut |sum| theirs_streaming(&frame, sum))));
        assert!(near(all(&mut |sum| theirs_complete(&frame, sum))));

        let mut group = criterion.benchmark_group(format!("sml/{name}/{} bytes", frame.len()));
        group.throughput(Throughput::Elements(1));
        group.bench_function("whole/gridkeeper", |bencher| {
            let mut decoder = Decoder::new();
            bencher.iter(|| all(&mut |sum| ours(&mut decoder, black_box(&frame), sum)));
        });
        group.bench_function("whole/sml-rs streaming", |bencher| {
            bencher.iter(|| all(&mut |sum| theirs_streaming(black_box(&frame), sum)));
        });
        group.bench_function("whole/sml-rs complete", |bencher| {
            bencher.iter(|| all(&mut |sum| theirs_complete(black_box(&frame), sum)));
        });

        const MANY: usize = 100;
        let stream = frame.repeat(MANY);
        group.throughput(Throughput::Elements(MANY as u64));
        group.bench_function("stream/gridkeeper", |bencher| {
            let mut decoder = Decoder::new();
            bencher.iter(|| {
                let mut sum = Sum::default();
                for piece in black_box(&stream).chunks(256) {
                    ours(&mut decoder, piece, &mut sum);
                }
                assert_eq!(sum.frames, MANY);
            });
        });
        group.bench_function("stream/sml-rs streaming", |bencher| {
            bencher.iter(|| {
                let mut sum = Sum::default();
                theirs_streaming(black_box(&stream), &mut sum);
                assert_eq!(sum.frames, MANY);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);

//! P1 telegrams per second, beside crate dsmr5 on the same telegrams.
//!
//! `whole`: from a telegram's bytes to checked CRC and everything that the appliance makes of it (the controller's reading,
//! the values that are published, the gas meter), which is what dsmr5's `State` holds and more. `reading`: to the
//! controller's reading alone. `stream`: as `whole`, from a hundred telegrams that arrive in pieces of 256 bytes (dsmr5
//! reads byte by byte). Ours also looks for a header in any noise, keeps what it drops, and accepts telegrams up to 16 KiB.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gridkeeper::codec::p1::{Decoder, encode};
use gridkeeper::device::ToControl;
use gridkeeper::device::meter::p1::{Listener, Mapping, reading};
use gridkeeper::quantity::{Mono, Watt};
use gridkeeper::reading::MeterReading;

/// One phase, gas, six long failures: what a DSMR 5 meter sends to most houses.
fn dsmr5_shape() -> Vec<u8> {
    encode(
        "/GKT5\\2BENCH-1012",
        [
            "1-3:0.2.8(50)",
            "0-0:1.0.0(240320181403W)",
            "0-0:96.1.1(4530303030303030303030303030303031)",
            "1-0:1.8.1(000576.239*kWh)",
            "1-0:1.8.2(000465.162*kWh)",
            "1-0:2.8.1(000000.000*kWh)",
            "1-0:2.8.2(000000.000*kWh)",
            "0-0:96.14.0(0002)",
            "1-0:1.7.0(00.193*kW)",
            "1-0:2.7.0(00.000*kW)",
            "0-0:96.7.21(00009)",
            "0-0:96.7.9(00008)",
            "1-0:99.97.0(6)(0-0:96.7.19)(190201235231W)(0000003231*s)(190212214204W)(0000001489*s)(190212215426W)\
             (0000000315*s)(190310230314W)(0000000295*s)(190316085447W)(0000000230*s)(190316123141W)(0000000516*s)",
            "1-0:32.32.0(00006)",
            "1-0:32.36.0(00001)",
            "0-0:96.13.0()",
            "1-0:32.7.0(236.1*V)",
            "1-0:31.7.0(001*A)",
            "1-0:21.7.0(00.193*kW)",
            "1-0:22.7.0(00.000*kW)",
            "0-1:24.1.0(003)",
            "0-1:96.1.0(4730303030303030303030303030303031)",
            "0-1:24.2.1(240320181003W)(00304.089*m3)",
        ],
    )
}

/// Three phases, gas, a long failure log: DSMR 4.2.
fn dsmr42_shape() -> Vec<u8> {
    encode(
        "/GKT5BENCH-METER",
        [
            "1-3:0.2.8(42)",
            "0-0:1.0.0(240901152201S)",
            "0-0:96.1.1(4530303030303030303030303030303032)",
            "1-0:1.8.1(006285.065*kWh)",
            "1-0:1.8.2(006565.005*kWh)",
            "1-0:2.8.1(000000.000*kWh)",
            "1-0:2.8.2(000000.000*kWh)",
            "0-0:96.14.0(0002)",
            "1-0:1.7.0(01.228*kW)",
            "1-0:2.7.0(00.000*kW)",
            "0-0:96.7.21(00007)",
            "0-0:96.7.9(00006)",
            "1-0:99.97.0(6)(0-0:96.7.19)(190201235231W)(0000003231*s)(190212214204W)(0000001489*s)(190212215426W)\
             (0000000315*s)(190310230314W)(0000000295*s)(190316085447W)(0000000230*s)(190316123141W)(0000000516*s)",
            "1-0:32.32.0(00000)",
            "1-0:52.32.0(00000)",
            "1-0:72.32.0(00000)",
            "1-0:32.36.0(00000)",
            "1-0:52.36.0(00000)",
            "1-0:72.36.0(00000)",
            "0-0:96.13.1()",
            "0-0:96.13.0()",
            "1-0:31.7.0(003*A)",
            "1-0:51.7.0(001*A)",
            "1-0:71.7.0(001*A)",
            "1-0:21.7.0(00.676*kW)",
            "1-0:41.7.0(00.278*kW)",
            "1-0:61.7.0(00.274*kW)",
            "1-0:22.7.0(00.000*kW)",
            "1-0:42.7.0(00.000*kW)",
            "1-0:62.7.0(00.000*kW)",
            "0-1:24.1.0(003)",
            "0-1:96.1.0(4730303030303030303030303030303032)",
            "0-1:24.2.1(240901150000S)(05629.583*m3)",
        ],
    )
}

fn whole(decoder: &mut Decoder, listener: &mut Listener, mut bytes: &[u8], mut each: impl FnMut(ToControl)) {
    while let Some(item) = decoder.decode(&mut bytes) {
        let telegram = item.unwrap();
        telegram.check().unwrap();
        each(listener.understand(&telegram, 0, Mono(0), |register| panic!("{register}")));
    }
}

fn to_reading(decoder: &mut Decoder, mut bytes: &[u8], mut each: impl FnMut(MeterReading)) {
    let mapping = Mapping::default();
    while let Some(item) = decoder.decode(&mut bytes) {
        let telegram = item.unwrap();
        telegram.check().unwrap();
        each(reading(&telegram, &mapping, Mono(0), |register| panic!("{register}")));
    }
}

fn theirs(readout: &dsmr5::Readout) -> dsmr5::state::State {
    dsmr5::state::State::try_from(&readout.to_telegram().unwrap()).unwrap()
}

fn telegrams(criterion: &mut Criterion) {
    for (name, telegram) in [("dsmr5", dsmr5_shape()), ("dsmr42", dsmr42_shape())] {
        let mut group = criterion.benchmark_group(format!("p1/{name}/{} bytes", telegram.len()));
        group.throughput(Throughput::Elements(1));
        group.bench_function("whole/gridkeeper", |bencher| {
            let (mut decoder, mut listener) = (Decoder::new(None), Listener::new(Mapping::default()));
            bencher.iter(|| {
                whole(&mut decoder, &mut listener, black_box(&telegram), |message| {
                    black_box(message);
                })
            });
        });
        group.bench_function("reading/gridkeeper", |bencher| {
            let mut decoder = Decoder::new(None);
            to_reading(&mut decoder, &telegram, |reading| assert!(reading.power_total > Some(Watt(0))));
            bencher.iter(|| {
                to_reading(&mut decoder, black_box(&telegram), |reading| {
                    black_box(reading);
                })
            });
        });
        group.bench_function("whole/dsmr5", |bencher| {
            let mut readout = dsmr5::Readout { buffer: [0; 2048] };
            readout.buffer[..telegram.len()].copy_from_slice(&telegram);
            assert!(theirs(&readout).power_delivered > Some(0.0));
            bencher.iter(|| black_box(theirs(black_box(&readout))));
        });

        const MANY: usize = 100;
        let stream = telegram.repeat(MANY);
        group.throughput(Throughput::Elements(MANY as u64));
        group.bench_function("stream/gridkeeper", |bencher| {
            let (mut decoder, mut listener) = (Decoder::new(None), Listener::new(Mapping::default()));
            bencher.iter(|| {
                let mut seen = 0;
                for piece in black_box(&stream).chunks(256) {
                    whole(&mut decoder, &mut listener, piece, |message| {
                        black_box(message);
                        seen += 1;
                    });
                }
                assert_eq!(seen, MANY);
            });
        });
        group.bench_function("stream/dsmr5", |bencher| {
            bencher.iter(|| {
                let bytes = black_box(&stream).iter().map(|&byte| Ok::<u8, Infallible>(byte));
                let mut seen = 0;
                for readout in dsmr5::Reader::new(bytes) {
                    black_box(theirs(&readout.unwrap()));
                    seen += 1;
                }
                assert_eq!(seen, MANY);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, telegrams);
criterion_main!(benches);

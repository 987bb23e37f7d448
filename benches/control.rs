//! One step of the controller: a meter frame and an answer of every charger in, orders, states and reasons out.
//!
//! `steady`: cars charge at their shares and nothing changes. `busy`: the house load jumps with every frame, so that
//! shares, cuts and raises are computed anew.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gridkeeper::control::Controller;

#[path = "../tests/control_allocations/garage.rs"]
mod garage;

use garage::{Garage, setup};

fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("control_step");
    for chargers in [1, 5, 20] {
        for busy in [false, true] {
            let name = if busy { "busy" } else { "steady" };
            group.bench_function(BenchmarkId::new(name, chargers), |bencher| {
                let mut controller = Controller::new(setup(chargers), Garage::start());
                let mut garage = Garage::new(chargers, busy);
                for _ in 0..600 {
                    garage.second(&mut controller);
                }
                bencher.iter(|| black_box(garage.second(&mut controller)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);

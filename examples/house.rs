//! A simulated house in a process of its own, for the tests against real peers (`tests/realworld`).
//!
//! It prints where its devices are as one line of JSON, then answers each line on standard input with one:
//!
//! | line | does |
//! |---|---|
//! | `view` | nothing; the answer has what the last telegram could have said, and the chargers |
//! | `load 2.5 0 1` | this many amperes on L1, L2, L3 from now on, import positive |
//! | `plug 0`, `unplug 0` | the car of that charger |
//! | `period 0.2` | seconds between telegrams |
//!
//! It ends with its standard input. `gridkeeper demo` has another house, which changes by itself.

use std::io::BufRead as _;

use gridkeeper::quantity::{Milliamp, Phases, Span};
use gridkeeper::simulator::{CarPlan, ChargerPlan, FaultHandle, MeterPlan, Plan, Simulator, View};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let car = CarPlan { max_current: Milliamp::from_amps(16), ..CarPlan::swift() };
    let plan = Plan {
        meter: Some(MeterPlan::default()),
        ..Plan::quiet(vec![ChargerPlan::teltocharge(car.clone()), ChargerPlan::evse_din(car)])
            .with_load([2.0, 3.0, 4.0])
    };
    let house = runtime.block_on(Simulator::start(plan))?;
    say(&json!({
        "meter": house.meter_connection(),
        "chargers": [house.charger_connection(0), house.charger_connection(1)],
    }));
    for line in std::io::stdin().lock().lines() {
        match obey(&house.faults(), &line?) {
            Ok(()) => say(&view(&house.view())),
            Err(what) => say(&json!({ "error": what })),
        }
    }
    runtime.block_on(house.stop());
    Ok(())
}

fn obey(house: &FaultHandle, line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let what = words.next().unwrap_or_default();
    let numbers: Vec<f64> =
        words.map(str::parse).collect::<Result<_, _>>().map_err(|error| format!("`{line}`: {error}"))?;
    match (what, numbers.as_slice()) {
        ("view", []) => {}
        ("load", &[l1, l2, l3]) => house.load(Some([l1, l2, l3])),
        ("period", &[seconds]) => house.meter_period(Span::from_secs_f64(seconds), Span::ZERO),
        ("plug", &[charger]) => house.plug(charger as usize),
        ("unplug", &[charger]) => house.unplug(charger as usize),
        _ => return Err(format!("`{line}` is none of view, load, period, plug, unplug with their numbers")),
    }
    Ok(())
}

fn view(view: &View) -> Value {
    let amps = |phases: Phases<Milliamp>| phases.0.map(Milliamp::as_f64);
    let chargers = view.chargers.iter().map(
        |it| json!({ "set_point_a": it.set_point.as_f64(), "offered_a": it.offered.as_f64(), "draw_a": amps(it.draw) }),
    );
    json!({ "grid_a": amps(view.grid), "telegrams": view.telegrams, "chargers": chargers.collect::<Vec<_>>() })
}

#[expect(clippy::print_stdout, reason = "the answers are its output")]
fn say(answer: &Value) {
    println!("{answer}");
}

//! Row: clock jump. Control uses the monotonic clock only.

use gridkeeper::quantity::Phases;

use crate::site::{MeterFault, Site, amps, setup};

fn trace(wall: impl Fn(i64) -> Option<i64>) -> Vec<(f64, f64)> {
    let mut site = Site::new(setup(2));
    let mut trace = Vec::new();
    for second in 0..300 {
        site.set_wall(wall(second));
        match second {
            60 => site.house = Phases::all(amps(12.0)),
            120 => site.fault = MeterFault::Silent,
            150 => site.fault = MeterFault::None,
            200 => site.house = Phases::all(amps(1.0)),
            _ => {}
        }
        site.tick();
        trace.push((site.offer(0), site.offer(1)));
    }
    trace
}

#[test]
fn the_wall_clock_may_be_unset_or_jump_and_nothing_changes() {
    let steady = trace(|second| Some(1_700_000_000 + second));
    assert_eq!(trace(|_| None), steady);
    assert_eq!(trace(|second| Some(if second % 7 == 0 { 0 } else { 4_000_000_000 - second * 1000 })), steady);
}

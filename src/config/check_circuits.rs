//! Circuits below the grid connection: fuses, meters, and who hangs below whom.

use super::check::{Checker, amps, seconds};
use super::check_devices::{Raw, RawDevice, missing};
use super::model::{Circuit, Grid};
use super::raw;
use super::source::At;
use crate::quantity::{Milliamp, Watt};

/// The name of the grid connection where a circuit is meant.
const ROOT: &str = "grid";

/// The models of all circuits. Who is below itself gets an error, and the grid connection for a parent.
pub(super) fn build(checker: &mut Checker<'_>, grid: &Grid, devices: &Raw) -> Vec<Circuit> {
    let mut circuits: Vec<Circuit> = Vec::with_capacity(devices.circuits.len());
    let mut meters: Vec<(usize, String)> = grid.meter.iter().map(|it| (*it, "[grid]".to_owned())).collect();
    for it in &devices.circuits {
        let made = circuit(checker, it, &mut meters, devices);
        circuits.push(made);
    }
    for index in 0..circuits.len() {
        let mut above = circuits[index].parent;
        let mut steps = 0;
        while let Some(it) = above {
            steps += 1;
            if steps > circuits.len() {
                break;
            }
            above = circuits[it].parent;
        }
        if above.is_some() {
            let RawDevice { head, raw } = &devices.circuits[index];
            if let Some((parent, at)) = raw.parent.set() {
                let message = format!("the circuits above {} lead back to {parent:?}", head.shown());
                let help = "every circuit must lead to the grid connection";
                checker.report.error(at, &format!("{}.parent", head.path), message, help);
            }
            circuits[index].parent = None;
        }
    }
    for (it, made) in devices.circuits.iter().zip(&circuits) {
        let bound = made.parent.map_or(grid.fuse, |parent| Some(circuits[parent].fuse));
        if let (Some((fuse, at)), Some(above)) = (it.raw.fuse_a.set(), bound)
            && Milliamp::from_f64(*fuse) > above
        {
            let message = format!("`fuse_a` = {fuse} is above the fuse before it ({above})");
            let help = "allowed, but the fuse before it blows first: is the rating right?";
            checker.report.warn(at, &format!("{}.fuse_a", it.head.path), message, help);
        }
    }
    circuits
}

fn circuit(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Circuit>,
    meters: &mut Vec<(usize, String)>,
    devices: &Raw,
) -> Circuit {
    let RawDevice { head, raw } = device;
    let path = |key: &str| format!("{}.{key}", head.path);
    if raw.fuse_a.is_absent() {
        missing(checker, head, "fuse_a", "write the rating of its fuse or breaker, for example fuse_a = 20");
    }
    let parent = raw.parent.set().and_then(|(id, at)| index_of(checker, id, at, &path("parent"), devices));
    let meter = raw.meter.set().and_then(|(id, at)| {
        let index = checker.meter_index(id, at, &path("meter"), devices)?;
        if let Some((_, user)) = meters.iter().find(|(it, _)| *it == index) {
            let message = format!("the meter `{id}` is already the meter of {user}");
            checker.report.error(at, &path("meter"), message, "a circuit's meter measures what is behind its fuse");
        } else {
            meters.push((index, format!("circuit {}", head.shown())));
        }
        Some(index)
    });
    if let Some(fuse) = raw.fuse_a.get() {
        checker.not_above(&raw.reserve_a, &path("reserve_a"), *fuse, "fuse_a");
    }
    if let (Some((_, at)), Some(_)) = (raw.reserve_a.set(), meter) {
        let message = "`reserve_a` does nothing where the circuit has a meter";
        checker.report.error(at, &path("reserve_a"), message, "take it out: the meter sees the other loads");
    }
    if raw.meter.is_absent() {
        let (late, lost, current) = (&raw.meter_late_s, &raw.meter_lost_s, &raw.meter_lost_current_a);
        checker.without_meter(late, lost, current, &head.path, "the circuit");
    }
    checker.late_before_lost(&raw.meter_late_s, &raw.meter_lost_s, meter, devices, &head.path);
    Circuit {
        id: head.id.clone().unwrap_or_default(),
        parent,
        fuse: amps(&raw.fuse_a).unwrap_or(Milliamp::ZERO),
        max_power: raw.max_kw.get().map(|it| Watt::from_kw(*it)),
        meter,
        reserve: amps(&raw.reserve_a).unwrap_or(Milliamp::ZERO),
        meter_late: seconds(&raw.meter_late_s),
        meter_lost: seconds(&raw.meter_lost_s),
        meter_lost_current: amps(&raw.meter_lost_current_a).unwrap_or(Milliamp::ZERO),
    }
}

/// The circuit that is named there; `None` is the grid connection, or an error that was said.
pub(super) fn index_of(checker: &mut Checker<'_>, id: &str, at: At, path: &str, devices: &Raw) -> Option<usize> {
    if id == ROOT {
        return None;
    }
    let found = devices.circuits.iter().position(|it| it.head.id.as_deref() == Some(id));
    if found.is_none() {
        let mut allowed = format!("{ROOT:?}");
        for other in devices.circuits.iter().filter_map(|it| it.head.id.as_deref()) {
            allowed.push_str(&format!(", {other:?}"));
        }
        checker.report.error(at, path, format!("there is no circuit `{id}`"), format!("allowed: {allowed}"));
    }
    found
}

//! From a sample to what the controller and the views are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::p1::Mapping;
use crate::codec::sample::{Quantity as Q, Sample};
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::{Identity, MeterValues, Value};

/// Puts phases and direction right; afterwards L1 is the grid's L1 and import is positive.
pub(super) fn mapped(mut sample: Sample, mapping: &Mapping) -> Sample {
    if mapping.invert {
        sample.invert();
    }
    sample.map_phases(mapping.phases);
    sample
}

/// For the controller.
pub(super) fn reading(sample: &Sample, received_at: Mono) -> MeterReading {
    let energy = |quantity| sample.get(quantity).map(|kwh| WattHour::from_f64(kwh * 1000.0));
    let mut reading = MeterReading {
        received_at,
        stamp: sample.stamp,
        current_signed: sample.current_signed,
        current_step: Milliamp(if sample.current_coarse { 1000 } else { 1 }),
        power_total: sample.get(Q::Power).map(Watt::from_f64),
        energy_import: energy(Q::EnergyImport),
        energy_export: energy(Q::EnergyExport),
        demand: sample.get(Q::Demand).map(Watt::from_kw),
        ..MeterReading::default()
    };
    for phase in Phase::ALL {
        let at = phase.index();
        reading.current[phase] = sample.get(Q::CURRENT[at]).map(Milliamp::from_f64);
        reading.power[phase] = sample.get(Q::PHASE_POWER[at]).map(Watt::from_f64);
        reading.voltage[phase] = sample.get(Q::VOLTAGE[at]).map(Millivolt::from_f64);
    }
    reading
}

/// For MQTT, the page and the demo.
pub(super) fn values(sample: &Sample, received_at: Mono, identity: Identity) -> MeterValues {
    let mut values: BTreeMap<Arc<str>, Value> = sample
        .iter()
        .map(|(quantity, value)| {
            let value = match quantity {
                Q::Tariff => Value::Text(format!("{value:.0}")),
                _ => Value::Number { value, unit: quantity.unit(), decimals: quantity.decimals() },
            };
            (Arc::from(quantity.key()), value)
        })
        .collect();
    for phase in Phase::ALL {
        let quantity = Q::CURRENT[phase.index()];
        if let Some(value) = sample.signed_current(phase) {
            let decimals = if sample.current_coarse { 0 } else { quantity.decimals() };
            values.insert(quantity.key().into(), Value::Number { value, unit: quantity.unit(), decimals });
        }
    }
    MeterValues { received_at: Some(received_at), wall_ms: None, values, identity }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_gets_sizes_and_the_views_get_directions() {
        let mut sample = Sample::default();
        for (quantity, value) in [
            (Q::Power, -842.4),
            (Q::PowerL1, -842.4),
            (Q::CurrentL1, 3.661),
            (Q::VoltageL1, 232.05),
            (Q::EnergyImport, 902.5689),
            (Q::Tariff, 2.0),
            (Q::Demand, 1.25),
        ] {
            sample.put(quantity, value);
        }
        let sample = mapped(sample, &Mapping { phases: [Phase::L2, Phase::L3, Phase::L1], invert: false });
        let told = reading(&sample, Mono(5));
        assert_eq!((told.power_total, told.power[Phase::L2]), (Some(Watt(-842)), Some(Watt(-842))));
        assert_eq!((told.current[Phase::L2], told.current_signed), (Some(Milliamp(3661)), false));
        assert_eq!((told.current[Phase::L1], told.voltage[Phase::L2]), (None, Some(Millivolt(232_050))));
        assert_eq!((told.energy_import, told.energy_export), (Some(WattHour(902_569)), None));
        assert_eq!(told.demand, Some(Watt(1250)));
        let shown = values(&sample, Mono(5), Identity::default()).values;
        assert_eq!(shown["current_l2_a"], Value::Number { value: -3.661, unit: "A", decimals: 3 });
        assert_eq!(shown["tariff"], Value::Text("2".into()));
        assert!(!shown.contains_key("current_l1_a"));
    }
}

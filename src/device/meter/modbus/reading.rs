//! What control and the views are told of a meter's registers.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::model::{Key, Quantity};
use crate::device::meter::p1::Mapping;
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::{Identity, MeterValues, Value};

use super::image::word;

/// Tariffs that a meter may have.
const MOST_TARIFFS: u8 = 8;

/// One moment's values, by register.
#[derive(Debug)]
pub(super) struct View {
    mapping: Mapping,
    phases: u8,
    values: BTreeMap<Key, (f64, i8)>,
    /// Registers of the model without a value, although the meter does not say that it has none.
    lacking: BTreeSet<Key>,
}

impl View {
    pub(super) fn new(mapping: Mapping, phases: u8) -> Self {
        Self { mapping, phases, values: BTreeMap::new(), lacking: BTreeSet::new() }
    }

    pub(super) fn put(&mut self, key: Key, value: f64, decimals: i8) {
        self.values.insert(key, (value, decimals));
    }

    /// A register that is known to be there and has no value now.
    pub(super) fn lacks(&mut self, key: Key) {
        self.lacking.insert(key);
    }

    fn get(&self, quantity: Quantity, phase: Option<Phase>) -> Option<f64> {
        self.values.get(&Key { quantity, phase, tariff: 0 }).map(|it| it.0)
    }

    fn direction(&self) -> f64 {
        if self.mapping.invert { -1.0 } else { 1.0 }
    }

    /// Import positive: the register of both directions, or import less export. A model without an export is one of a
    /// meter that never exports; an export that could not be read is not zero.
    fn power(&self, phase: Option<Phase>) -> Option<f64> {
        let net = || {
            let import = self.get(Quantity::PowerImport, phase)?;
            match self.get(Quantity::PowerExport, phase) {
                Some(export) => Some(import - export),
                None if self.lacking.contains(&Key { quantity: Quantity::PowerExport, phase, tariff: 0 }) => None,
                None => Some(import),
            }
        };
        self.get(Quantity::Power, phase).or_else(net).map(|power| power * self.direction())
    }

    /// By the meter's own phase. A meter with one phase connected has its total there.
    fn phase_power(&self) -> [Option<f64>; 3] {
        let mut power = Phase::ALL.map(|phase| self.power(Some(phase)));
        if power == [None; 3] && self.is_single_phase() {
            power[0] = self.power(None);
        }
        power
    }

    /// Import positive. The phases' sum where they are all there: it is of the same moment.
    fn power_total(&self) -> Option<f64> {
        let power = self.phase_power();
        if self.phases == 1 {
            return power[0];
        }
        match power {
            [Some(a), Some(b), Some(c)] => Some(a + b + c),
            _ => self.power(None).or_else(|| self.is_single_phase().then_some(power[0]).flatten()),
        }
    }

    /// The others have neither voltage nor current.
    fn is_single_phase(&self) -> bool {
        let known = |phase| {
            self.get(Quantity::Voltage, Some(phase)).is_some() || self.get(Quantity::Current, Some(phase)).is_some()
        };
        self.phases == 1 || (known(Phase::L1) && !known(Phase::L2) && !known(Phase::L3))
    }

    fn currents(&self) -> [Option<f64>; 3] {
        Phase::ALL.map(|phase| self.get(Quantity::Current, Some(phase)))
    }

    /// A meter that sends a negative current knows the direction; all others send its size.
    fn current_signed(&self) -> bool {
        self.currents().iter().flatten().any(|current| *current < 0.0)
    }

    /// The register of all tariffs, or their sum where every one that the model has is there.
    fn energy(&self, quantity: Quantity) -> Option<f64> {
        if let Some(total) = self.get(quantity, None) {
            return Some(total);
        }
        let tariffs = || (1..=MOST_TARIFFS).map(|tariff| Key { quantity, phase: None, tariff });
        if tariffs().any(|key| self.lacking.contains(&key)) {
            return None;
        }
        tariffs().filter_map(|key| self.values.get(&key)).map(|it| it.0).reduce(|a, b| a + b)
    }

    /// Import and export, exchanged where the clamps are mounted backwards.
    fn directions(&self, import: Quantity, export: Quantity) -> [Quantity; 2] {
        if self.mapping.invert { [export, import] } else { [import, export] }
    }

    /// What control needs.
    pub(super) fn reading(&self, received_at: Mono) -> MeterReading {
        let [import, export] = self.directions(Quantity::EnergyImport, Quantity::EnergyExport);
        let signed = self.current_signed();
        let mut reading = MeterReading {
            received_at,
            stamp: self.get(Quantity::Time, None).map(|time| time as i64),
            current_signed: signed,
            current_step: self.current_step(),
            power_total: self.power_total().map(Watt::from_f64),
            energy_import: self.energy(import).map(WattHour::from_f64),
            energy_export: self.energy(export).map(WattHour::from_f64),
            ..MeterReading::default()
        };
        // Only a signed current has a direction to turn round.
        let direction = if signed { self.direction() } else { 1.0 };
        let (power, current) = (self.phase_power(), self.currents());
        for (own, &phase) in self.mapping.phases.iter().enumerate() {
            reading.current[phase] = current[own].map(|it| Milliamp::from_f64(it * direction));
            reading.power[phase] = power[own].map(Watt::from_f64);
            let voltage = self.get(Quantity::Voltage, Some(Phase::ALL[own]));
            reading.voltage[phase] = voltage.map(Millivolt::from_f64);
        }
        reading
    }

    /// Resolution of the coarsest current.
    fn current_step(&self) -> Milliamp {
        let decimals = |phase| {
            let key = Key { quantity: Quantity::Current, phase: Some(phase), tariff: 0 };
            self.values.get(&key).map(|it| it.1)
        };
        match Phase::ALL.into_iter().filter_map(decimals).min() {
            Some(..=0) => Milliamp(1000),
            Some(1) => Milliamp(100),
            Some(2) => Milliamp(10),
            Some(3..) => Milliamp(1),
            None => Milliamp::ZERO,
        }
    }

    /// What MQTT and the page show.
    pub(super) fn values(&self, received_at: Mono, identity: Identity) -> MeterValues {
        let mut values = BTreeMap::new();
        let mut put = |key: String, value: Option<f64>, unit: &'static str, decimals: i8| {
            if let Some(value) = value {
                // At most three: no register of these meters is worth more.
                let decimals = decimals.clamp(0, 3) as u8;
                let tens = 10_f64.powi(i32::from(decimals));
                // A zero has no direction: -0.0 + 0.0 is 0.0.
                let value = Value::Number { value: (value * tens).round() / tens + 0.0, unit, decimals };
                values.insert(key.into(), value);
            }
        };
        let decimals = |quantity: Quantity| {
            let of = |it: (&Key, &(f64, i8))| (it.0.quantity == quantity).then_some(it.1.1);
            self.values.iter().filter_map(of).min().unwrap_or(0)
        };
        let finest = decimals(Quantity::Power).max(decimals(Quantity::PowerImport));
        put("power_w".into(), self.power_total(), "W", finest);
        let (power, current) = (self.phase_power(), self.currents());
        let signed = self.current_signed();
        for (own, &phase) in self.mapping.phases.iter().enumerate() {
            let name = word(phase);
            put(format!("power_{name}_w"), power[own], "W", finest);
            let direction = match (signed, power[own]) {
                (true, _) => self.direction(),
                (false, Some(..0.0)) => -1.0,
                (false, _) => 1.0,
            };
            let amps = current[own].map(|current| current * direction);
            put(format!("current_{name}_a"), amps, "A", decimals(Quantity::Current));
            let volts = self.get(Quantity::Voltage, Some(Phase::ALL[own]));
            put(format!("voltage_{name}_v"), volts, "V", decimals(Quantity::Voltage));
        }
        for (quantity, key, unit) in [
            (Quantity::ReactivePower, "reactive_power_var", "var"),
            (Quantity::ApparentPower, "apparent_power_va", "VA"),
            (Quantity::PowerFactor, "power_factor", ""),
            (Quantity::Frequency, "frequency_hz", "Hz"),
        ] {
            let lone = || (self.phases == 1).then(|| self.get(quantity, Some(Phase::L1))).flatten();
            put(key.into(), self.get(quantity, None).or_else(lone), unit, decimals(quantity));
        }
        let [import, export] = self.directions(Quantity::EnergyImport, Quantity::EnergyExport);
        let [more, less] = self.directions(Quantity::ReactiveEnergyImport, Quantity::ReactiveEnergyExport);
        for (quantity, name, unit, ending) in [
            (import, "energy_import", "kWh", "kwh"),
            (export, "energy_export", "kWh", "kwh"),
            (more, "reactive_energy_import", "kvarh", "kvarh"),
            (less, "reactive_energy_export", "kvarh", "kvarh"),
        ] {
            let thousandths = decimals(quantity).saturating_add(3);
            put(format!("{name}_{ending}"), self.energy(quantity).map(|it| it / 1e3), unit, thousandths);
            for tariff in 1..=MOST_TARIFFS {
                let key = Key { quantity, phase: None, tariff };
                let energy = self.values.get(&key).map(|it| it.0 / 1e3);
                put(format!("{name}_t{tariff}_{ending}"), energy, unit, thousandths);
            }
        }
        MeterValues { received_at: Some(received_at), wall_ms: None, values, identity }
    }
}

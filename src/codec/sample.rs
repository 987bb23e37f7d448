//! What an electricity meter said at one moment, whatever its protocol: the measured quantities under the keys of the
//! MQTT contract, in the meter's own phase order.

use std::fmt;

use crate::quantity::Phase;

macro_rules! quantities {
    ($( $(#[doc = $doc:literal])+ $name:ident = $key:literal, $unit:literal, $decimals:literal, $min:literal ..= $max:literal; )+) => {
        /// A measured quantity.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quantity {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Quantity {
            /// All of them.
            pub const ALL: [Self; [$($key),+].len()] = [$( Self::$name ),+];

            /// Its key on MQTT and in the configuration.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $( Self::$name => $key, )+ }
            }

            /// Unit as Home Assistant writes it.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $( Self::$name => $unit, )+ }
            }

            /// Decimals that are published.
            #[must_use]
            pub const fn decimals(self) -> u8 {
                match self { $( Self::$name => $decimals, )+ }
            }

            /// What a number can be that is a measurement at all.
            #[must_use]
            pub const fn range(self) -> (f64, f64) {
                match self { $( Self::$name => ($min, $max), )+ }
            }
        }
    };
}

quantities! {
    /// Active power of all phases, import positive.
    Power = "power_w", "W", 1, -1e8 ..= 1e8;
    /// Active power, import only: for meters that tell the directions apart.
    PowerImport = "power_import_w", "W", 1, 0.0 ..= 1e8;
    /// Active power, export only.
    PowerExport = "power_export_w", "W", 1, 0.0 ..= 1e8;
    /// Active power of L1, import positive.
    PowerL1 = "power_l1_w", "W", 1, -1e8 ..= 1e8;
    /// Active power of L2, import positive.
    PowerL2 = "power_l2_w", "W", 1, -1e8 ..= 1e8;
    /// Active power of L3, import positive.
    PowerL3 = "power_l3_w", "W", 1, -1e8 ..= 1e8;
    /// Current of L1; see [`Sample::current_signed`].
    CurrentL1 = "current_l1_a", "A", 3, -1e5 ..= 1e5;
    /// Current of L2.
    CurrentL2 = "current_l2_a", "A", 3, -1e5 ..= 1e5;
    /// Current of L3.
    CurrentL3 = "current_l3_a", "A", 3, -1e5 ..= 1e5;
    /// Voltage of L1 to neutral.
    VoltageL1 = "voltage_l1_v", "V", 1, 0.0 ..= 1e5;
    /// Voltage of L2 to neutral.
    VoltageL2 = "voltage_l2_v", "V", 1, 0.0 ..= 1e5;
    /// Voltage of L3 to neutral.
    VoltageL3 = "voltage_l3_v", "V", 1, 0.0 ..= 1e5;
    /// Reactive power of all phases.
    ReactivePower = "reactive_power_var", "var", 1, -1e8 ..= 1e8;
    /// Apparent power of all phases.
    ApparentPower = "apparent_power_va", "VA", 1, -1e8 ..= 1e8;
    /// Power factor of all phases.
    PowerFactor = "power_factor", "", 2, -1.1 ..= 1.1;
    /// Grid frequency.
    Frequency = "frequency_hz", "Hz", 2, 0.0 ..= 1000.0;
    /// Import counter.
    EnergyImport = "energy_import_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Export counter.
    EnergyExport = "energy_export_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Import counter of tariff 1.
    EnergyImportT1 = "energy_import_t1_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Import counter of tariff 2.
    EnergyImportT2 = "energy_import_t2_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Import counter of tariff 3.
    EnergyImportT3 = "energy_import_t3_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Import counter of tariff 4.
    EnergyImportT4 = "energy_import_t4_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Export counter of tariff 1.
    EnergyExportT1 = "energy_export_t1_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Export counter of tariff 2.
    EnergyExportT2 = "energy_export_t2_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Export counter of tariff 3.
    EnergyExportT3 = "energy_export_t3_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Export counter of tariff 4.
    EnergyExportT4 = "energy_export_t4_kwh", "kWh", 3, 0.0 ..= 1e9;
    /// Reactive import counter.
    ReactiveEnergyImport = "reactive_energy_import_kvarh", "kvarh", 3, 0.0 ..= 1e9;
    /// Reactive export counter.
    ReactiveEnergyExport = "reactive_energy_export_kvarh", "kvarh", 3, 0.0 ..= 1e9;
    /// Mean import of the running quarter of an hour, where the meter computes it.
    Demand = "demand_import_kw", "kW", 3, 0.0 ..= 1e5;
    /// Highest quarter of an hour of the month.
    PeakMonth = "peak_month_kw", "kW", 3, 0.0 ..= 1e5;
    /// How full a battery is.
    StateOfCharge = "soc_percent", "%", 1, 0.0 ..= 100.0;
    /// Number of the active tariff.
    Tariff = "tariff", "", 0, 0.0 ..= 9999.0;
}

use Quantity as Q;

impl Quantity {
    /// Active power of each phase.
    pub const PHASE_POWER: [Self; 3] = [Q::PowerL1, Q::PowerL2, Q::PowerL3];
    /// Current of each phase.
    pub const CURRENT: [Self; 3] = [Q::CurrentL1, Q::CurrentL2, Q::CurrentL3];
    /// Voltage of each phase.
    pub const VOLTAGE: [Self; 3] = [Q::VoltageL1, Q::VoltageL2, Q::VoltageL3];
    /// Import counters of the tariffs.
    pub const IMPORT_TARIFFS: [Self; 4] = [Q::EnergyImportT1, Q::EnergyImportT2, Q::EnergyImportT3, Q::EnergyImportT4];
    /// Export counters of the tariffs.
    pub const EXPORT_TARIFFS: [Self; 4] = [Q::EnergyExportT1, Q::EnergyExportT2, Q::EnergyExportT3, Q::EnergyExportT4];

    /// By its key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.key() == key)
    }
}

/// A number that cannot be a measurement of its quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impossible {
    /// Of what.
    pub quantity: Quantity,
    /// As it came.
    pub value: f64,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = self.quantity.range();
        let Self { quantity, value } = self;
        write!(f, "{} = {value} is not used: allowed are {min} to {max} {}", quantity.key(), quantity.unit())
    }
}

/// All that one answer or message said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    values: [Option<f64>; Quantity::ALL.len()],
    /// What the device has, whether or not it gave a value for it.
    has: [bool; Quantity::ALL.len()],
    /// The currents carry the direction; else they are sizes.
    pub current_signed: bool,
    /// The currents are whole amperes.
    pub current_coarse: bool,
    /// The device's own time of the sample in seconds of an epoch of its own.
    pub stamp: Option<i64>,
    /// What an operator should know although the sample is good.
    pub notes: Vec<String>,
}

impl Sample {
    /// The value of a quantity.
    #[must_use]
    pub fn get(&self, quantity: Quantity) -> Option<f64> {
        self.values[quantity as usize]
    }

    /// The device has this: a sum of which it is a part is known only when it has a value.
    pub fn expect(&mut self, quantity: Quantity) {
        self.has[quantity as usize] = true;
    }

    /// Puts a value; one that is no measurement is left out and noted.
    pub fn put(&mut self, quantity: Quantity, value: impl Into<Option<f64>>) {
        let Some(value) = value.into() else { return };
        self.expect(quantity);
        let (min, max) = quantity.range();
        if (min..=max).contains(&value) {
            self.values[quantity as usize] = Some(value);
        } else {
            self.notes.push(Impossible { quantity, value }.to_string());
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, quantity: Quantity) {
        self.values[quantity as usize] = None;
    }

    /// Nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// What is known, in the order of [`Quantity::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Quantity, f64)> {
        Quantity::ALL.into_iter().filter_map(|it| Some((it, self.get(it)?)))
    }

    /// Adds what another answer of the same device said; what is known already stays.
    pub fn join(&mut self, other: &Self) {
        for (has, others) in self.has.iter_mut().zip(other.has) {
            *has |= others;
        }
        for (quantity, value) in other.iter() {
            self.values[quantity as usize].get_or_insert(value);
        }
    }

    /// Fills what follows from the rest: totals from directions, phases or tariffs, and which currents are signed. A
    /// total is filled only when every part that the device has is there.
    pub fn complete(&mut self) {
        let has = |part: &Quantity| self.has[*part as usize];
        let sum = |parts: &[Quantity]| {
            let known = parts.iter().copied().filter(has).map(|it| self.get(it));
            known.reduce(|a, b| Some(a? + b?)).flatten()
        };
        let by_direction = match (self.get(Q::PowerImport), self.get(Q::PowerExport)) {
            (Some(import), Some(export)) => Some(import - export),
            (Some(import), None) if !has(&Q::PowerExport) => Some(import),
            _ => None,
        };
        let derived = [
            (Q::Power, by_direction.or_else(|| sum(&Q::PHASE_POWER))),
            (Q::EnergyImport, sum(&Q::IMPORT_TARIFFS)),
            (Q::EnergyExport, sum(&Q::EXPORT_TARIFFS)),
        ];
        for (quantity, value) in derived {
            if self.get(quantity).is_none() {
                self.put(quantity, value);
            }
        }
        let mut currents = Q::CURRENT.into_iter().filter_map(|it| self.get(it));
        self.current_signed |= currents.any(|it| it < 0.0);
    }

    /// Import and export are exchanged: the clamps are mounted backwards.
    pub fn invert(&mut self) {
        let swap = |values: &mut [Option<f64>], a: Q, b: Q| values.swap(a as usize, b as usize);
        swap(&mut self.values, Q::PowerImport, Q::PowerExport);
        swap(&mut self.values, Q::EnergyImport, Q::EnergyExport);
        swap(&mut self.values, Q::ReactiveEnergyImport, Q::ReactiveEnergyExport);
        for (import, export) in Q::IMPORT_TARIFFS.into_iter().zip(Q::EXPORT_TARIFFS) {
            swap(&mut self.values, import, export);
        }
        // The meter's mean import is an export then, which nobody asked for.
        self.remove(Q::Demand);
        self.remove(Q::PeakMonth);
        let mut signed = vec![Q::Power, Q::PowerL1, Q::PowerL2, Q::PowerL3, Q::ReactivePower];
        if self.current_signed {
            signed.extend(Q::CURRENT);
        }
        for quantity in signed {
            let value = &mut self.values[quantity as usize];
            // Not -it: a zero has no direction.
            *value = value.map(|it| 0.0 - it);
        }
    }

    /// The meter's own L1, L2, L3 become the grid's phases given.
    pub fn map_phases(&mut self, phases: [Phase; 3]) {
        let before = self.values;
        for group in [Q::PHASE_POWER, Q::CURRENT, Q::VOLTAGE] {
            for (own, grid) in group.into_iter().zip(phases) {
                self.values[group[grid.index()] as usize] = before[own as usize];
            }
        }
    }

    /// The current of a phase with the sign of its power where it has none of its own.
    #[must_use]
    pub fn signed_current(&self, phase: Phase) -> Option<f64> {
        let current = self.get(Q::CURRENT[phase.index()])?;
        let export = !self.current_signed && self.get(Q::PHASE_POWER[phase.index()]).is_some_and(|it| it < 0.0);
        Some(if export { -current } else { current })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_finds_its_quantity() {
        for quantity in Quantity::ALL {
            assert_eq!(Quantity::from_key(quantity.key()), Some(quantity));
        }
        assert_eq!(Quantity::from_key("power_l4_w"), None);
    }

    #[test]
    fn what_is_no_measurement_is_left_out_and_noted() {
        let mut sample = Sample::default();
        sample.put(Q::VoltageL1, -1.0);
        sample.put(Q::Power, f64::NAN);
        sample.put(Q::Power, f64::INFINITY);
        sample.put(Q::EnergyImport, 1e12);
        assert!(sample.is_empty());
        assert_eq!(sample.notes.len(), 4);
        assert_eq!(sample.notes[0], "voltage_l1_v = -1 is not used: allowed are 0 to 100000 V");
    }

    #[test]
    fn totals_follow_from_their_parts_and_never_replace_what_was_sent() {
        let mut sample = Sample::default();
        sample.put(Q::PowerImport, 0.0);
        sample.put(Q::PowerExport, 1500.0);
        sample.put(Q::EnergyImportT1, 10.0);
        sample.put(Q::EnergyImportT2, 5.5);
        sample.complete();
        assert_eq!(sample.get(Q::Power), Some(-1500.0));
        assert_eq!(sample.get(Q::EnergyImport), Some(15.5));
        assert_eq!(sample.get(Q::EnergyExport), None);
        let mut sample = Sample::default();
        sample.put(Q::PowerL1, 100.0);
        sample.put(Q::PowerL3, -300.0);
        sample.put(Q::EnergyImport, 7.0);
        sample.put(Q::EnergyImportT1, 1.0);
        sample.complete();
        assert_eq!((sample.get(Q::Power), sample.get(Q::EnergyImport)), (Some(-200.0), Some(7.0)));
    }

    #[test]
    fn no_total_is_made_of_a_part_of_its_parts() {
        let completed = |values: &[(Q, f64)], without: &[Q]| {
            let mut sample = Sample::default();
            values.iter().for_each(|(quantity, value)| sample.put(*quantity, *value));
            without.iter().for_each(|it| sample.expect(*it));
            sample.complete();
            [Q::Power, Q::EnergyImport, Q::EnergyExport].map(|it| sample.get(it))
        };
        let phases = [(Q::PowerL1, 1510.2), (Q::PowerL2, -842.0)];
        assert_eq!(completed(&phases, &[Q::PowerL3]), [None; 3]);
        assert_eq!(completed(&phases, &[])[0], Some(1510.2 - 842.0));
        let tariffs = [(Q::EnergyImportT1, 10.0), (Q::EnergyExportT1, 4.0), (Q::EnergyExportT2, 1.0)];
        assert_eq!(completed(&tariffs, &[Q::EnergyImportT2]), [None, None, Some(5.0)]);
        // What came and is no measurement is there as well.
        let odd = [(Q::EnergyImportT1, 10.0), (Q::EnergyImportT2, -1.0), (Q::PowerImport, 0.0), (Q::PowerExport, -3.5)];
        assert_eq!(completed(&odd, &[]), [None; 3]);
        assert_eq!(completed(&[(Q::PowerImport, 80.0)], &[])[0], Some(80.0), "a meter without an export");
        assert_eq!(completed(&[(Q::PowerImport, 80.0)], &[Q::PowerExport])[0], None);
    }

    #[test]
    fn clamps_mounted_backwards_and_phases_out_of_order_are_put_right() {
        let mut sample = Sample::default();
        for (quantity, value) in [
            (Q::Power, 230.0),
            (Q::PowerL1, 230.0),
            (Q::CurrentL1, 1.0),
            (Q::VoltageL1, 231.0),
            (Q::EnergyImport, 5.0),
            (Q::EnergyExport, 7.0),
        ] {
            sample.put(quantity, value);
        }
        sample.invert();
        sample.map_phases([Phase::L3, Phase::L1, Phase::L2]);
        assert_eq!(sample.get(Q::PowerL3), Some(-230.0));
        assert_eq!((sample.get(Q::CurrentL3), sample.signed_current(Phase::L3)), (Some(1.0), Some(-1.0)));
        assert_eq!((sample.get(Q::VoltageL3), sample.get(Q::VoltageL1)), (Some(231.0), None));
        assert_eq!((sample.get(Q::EnergyImport), sample.get(Q::EnergyExport)), (Some(7.0), Some(5.0)));
    }
}

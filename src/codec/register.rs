//! What the registers of an electricity meter mean: key and unit under which they are published, and a name for people.

use super::obis::Obis;
use super::value::Unit;

/// A known register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Key without the phase; `#` stands for `l1`, `l2`, `l3`.
    pub key: &'static str,
    /// What its value is.
    pub form: Form,
    /// The meter's own phase 0 to 2.
    pub phase: Option<usize>,
    /// For people.
    pub name: &'static str,
}

/// What the value of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number published in this unit.
    In(Unit),
    /// A number without a unit.
    Number,
    /// A word, a time or a code, as sent.
    Word,
    /// A text, often as pairs of hexadecimal digits.
    Text,
}

const W: Form = Form::In(Unit::Watt(0));
const KW: Form = Form::In(Unit::Watt(3));
const KWH: Form = Form::In(Unit::WattHour(3));
const VAR: Form = Form::In(Unit::Var(0));
const KVARH: Form = Form::In(Unit::VarHour(3));
const VA: Form = Form::In(Unit::VoltAmpere(0));
const V: Form = Form::In(Unit::Volt);
const A: Form = Form::In(Unit::Ampere);
const HZ: Form = Form::In(Unit::Hertz);

/// The register of this code; `None` where it is published under its code.
#[must_use]
pub fn lookup(code: Obis) -> Option<Register> {
    let known = |key, form, name| Some(Register { key, form, phase: None, name });
    match (code.a, code.b, code.c, code.d, code.e) {
        (1, 0, c, d, e) => electricity(c, d, e),
        // Sagemcom XT211 counts under channel 1; Luxembourg has other things there.
        (1, 1, c @ (1 | 2), d @ (6 | 8), e) => electricity(c, d, e),
        (0, 0, 96, 14, 0) => known("tariff", Form::Word, "active tariff"),
        (0, 0, 1, 0, 0) => known("meter_time", Form::Word, "time of the telegram"),
        (0, 0, 96, 1, 0 | 1) => known("serial_number", Form::Text, "serial number"),
        (0, 0, 96, 1, 4) => known("p1_version", Form::Word, "version of the Belgian P1 port"),
        (1, 3, 0, 2, 8) => known("p1_version", Form::Word, "version of the P1 port"),
        (0, 0, 96, 3, 10) => known("breaker_state", Form::Word, "breaker state"),
        (0, 0, 96, 13, 0) => known("message", Form::Text, "message"),
        (0, 0, 96, 13, 1) => known("message_code", Form::Text, "numeric message"),
        (0, 0, 96, 7, 21) => known("power_failures", Form::Number, "power failures"),
        (0, 0, 96, 7, 9) => known("long_power_failures", Form::Number, "long power failures"),
        _ => None,
    }
}

fn electricity(c: u8, d: u8, e: u8) -> Option<Register> {
    let known = |key, form, name| Some(Register { key, form, phase: None, name });
    // Registers of L2 and L3 lie 20 and 40 above those of L1.
    if (21..81).contains(&c) {
        let phase = usize::from((c - 21) / 20);
        let (key, form, name) = match (c - 20 * phase as u8, d, e) {
            (21, 7, 0) => ("power_import_#_w", W, "active power, import"),
            (22, 7, 0) => ("power_export_#_w", W, "active power, export"),
            (23, 7, 0) => ("reactive_power_import_#_var", VAR, "reactive power, import"),
            (24, 7, 0) => ("reactive_power_export_#_var", VAR, "reactive power, export"),
            (29, 7, 0) => ("apparent_power_import_#_va", VA, "apparent power, import"),
            (30, 7, 0) => ("apparent_power_export_#_va", VA, "apparent power, export"),
            (31, 7, 0) => ("current_#_a", A, "current"),
            (31, 4, 0) => ("fuse_threshold_#_a", A, "threshold of the fuse supervision"),
            (32, 7, 0) => ("voltage_#_v", V, "voltage"),
            (32, 32, 0) => ("voltage_sags_#", Form::Number, "voltage sags"),
            (32, 36, 0) => ("voltage_swells_#", Form::Number, "voltage swells"),
            (33, 7, 0) => ("power_factor_#", Form::Number, "power factor"),
            (36, 7, 0) => ("net_power_#_w", W, "active power, import minus export"),
            _ => return None,
        };
        return Some(Register { key, form, phase: Some(phase), name });
    }
    match (c, d, e) {
        (1, 7, 0) => known("power_import_w", W, "active power, import"),
        (2, 7, 0) => known("power_export_w", W, "active power, export"),
        (16, 7, 0) => known("net_power_w", W, "active power, import minus export"),
        (3, 7, 0) => known("reactive_power_import_var", VAR, "reactive power, import"),
        (4, 7, 0) => known("reactive_power_export_var", VAR, "reactive power, export"),
        (5, 7, 0) => known("reactive_power_q1_var", VAR, "reactive power, quadrant 1"),
        (6, 7, 0) => known("reactive_power_q2_var", VAR, "reactive power, quadrant 2"),
        (7, 7, 0) => known("reactive_power_q3_var", VAR, "reactive power, quadrant 3"),
        (8, 7, 0) => known("reactive_power_q4_var", VAR, "reactive power, quadrant 4"),
        (9, 7, 0) => known("apparent_power_import_va", VA, "apparent power, import"),
        (10, 7, 0) => known("apparent_power_export_va", VA, "apparent power, export"),
        (13, 7, 0) => known("power_factor", Form::Number, "power factor"),
        (13, 3, 0) => known("power_factor_minimum", Form::Number, "lowest power factor"),
        (14, 7, 0) => known("frequency_hz", HZ, "frequency"),
        (1, 8, 0) => known("energy_import_kwh", KWH, "energy, import"),
        (1, 8, 1) => known("energy_import_t1_kwh", KWH, "energy, import, tariff 1"),
        (1, 8, 2) => known("energy_import_t2_kwh", KWH, "energy, import, tariff 2"),
        (1, 8, 3) => known("energy_import_t3_kwh", KWH, "energy, import, tariff 3"),
        (1, 8, 4) => known("energy_import_t4_kwh", KWH, "energy, import, tariff 4"),
        (2, 8, 0) => known("energy_export_kwh", KWH, "energy, export"),
        (2, 8, 1) => known("energy_export_t1_kwh", KWH, "energy, export, tariff 1"),
        (2, 8, 2) => known("energy_export_t2_kwh", KWH, "energy, export, tariff 2"),
        (2, 8, 3) => known("energy_export_t3_kwh", KWH, "energy, export, tariff 3"),
        (2, 8, 4) => known("energy_export_t4_kwh", KWH, "energy, export, tariff 4"),
        (15, 8, 0) => known("energy_absolute_kwh", KWH, "energy, import plus export"),
        (3, 8, 0) => known("reactive_energy_import_kvarh", KVARH, "reactive energy, import"),
        (4, 8, 0) => known("reactive_energy_export_kvarh", KVARH, "reactive energy, export"),
        (5, 8, 0) => known("reactive_energy_q1_kvarh", KVARH, "reactive energy, quadrant 1"),
        (6, 8, 0) => known("reactive_energy_q2_kvarh", KVARH, "reactive energy, quadrant 2"),
        (7, 8, 0) => known("reactive_energy_q3_kvarh", KVARH, "reactive energy, quadrant 3"),
        (8, 8, 0) => known("reactive_energy_q4_kvarh", KVARH, "reactive energy, quadrant 4"),
        (1, 4, 0) => known("demand_import_kw", KW, "mean import of the running quarter of an hour"),
        (2, 4, 0) => known("demand_export_kw", KW, "mean export of the running quarter of an hour"),
        (1, 6, 0) => known("peak_month_kw", KW, "highest quarter of an hour of the month, import"),
        _ => None,
    }
}

/// What the devices on the M-Bus send, for people.
#[must_use]
pub fn bus_name(code: Obis) -> Option<&'static str> {
    if code.a != 0 || code.b == 0 {
        return None;
    }
    match (code.c, code.d, code.e) {
        (24, 1, 0) => Some("type of the device"),
        (24, 2, _) | (24, 3, 0) => Some("counter of the device"),
        (24, 4, 0) => Some("valve of the device"),
        (96, 1, _) => Some("serial number of the device"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_lie_twenty_apart() {
        for (c, phase) in [(21, 0), (41, 1), (61, 2)] {
            let found = lookup(Obis::new(1, 0, c, 7, 0)).unwrap();
            assert_eq!((found.key, found.phase), ("power_import_#_w", Some(phase)));
        }
        let highest = lookup(Obis::new(1, 0, 76, 7, 0)).unwrap();
        assert_eq!((highest.key, highest.phase), ("net_power_#_w", Some(2)));
        assert_eq!(lookup(Obis::new(1, 0, 81, 7, 0)), None);
        assert_eq!(lookup(Obis::new(1, 0, 94, 32, 1)), None);
    }

    #[test]
    fn no_key_is_used_twice_among_the_electric_ones() {
        let mut seen = std::collections::BTreeMap::new();
        for c in 0..=255 {
            for d in 0..=40 {
                for e in 0..=20 {
                    if let Some(register) = lookup(Obis::new(1, 0, c, d, e)) {
                        let before = seen.insert((register.key, register.phase), (c, d, e));
                        assert_eq!(before, None, "{}", register.key);
                    }
                }
            }
        }
        assert!(seen.len() > 50);
    }
}

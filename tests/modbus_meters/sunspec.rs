//! All eight SunSpec meter models, as the alliance publishes them: a single phase (201, 211), a split phase of two (202, 212),
//! a star (203, 213) and a delta (204, 214).
//!
//! The places are those of github sunspec/models, smdx_00201.xml to smdx_00204.xml and smdx_00211.xml to smdx_00214.xml:
//! each list of a model of integers begins behind number and length with A, AphA to AphC, A_SF; at 5 PhV, PhVphA to PhVphC,
//! the voltages between phases, V_SF; at 14 Hz; at 16 W, WphA to WphC, W_SF; at 36 TotWhExp; at 44 TotWhImp; at 52 TotWh_SF.
//! Of floats each takes two: A at 0, PhV at 8, Hz at 24, W at 26, TotWhExp at 58, TotWhImp at 66. What a meter does not
//! measure is 0x8000 or not a number. `cases.rs` has 203 and 213 as a Fronius meter sends them.

use super::*;

/// What a meter of this number sends, what must come out, and what must not be there.
struct Sent {
    number: u16,
    case: Case,
    absent: &'static [&'static str],
}

#[rustfmt::skip]
const ALL_NUMBERS: &[Sent] = &[
    Sent {
        number: 201,
        case: Case { model: "sunspec-meter", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00C9, 0x0069]),
            (3, 40071, &[0x041A, 0x041A, 0x8000, 0x8000, 0xFFFE]),
            (3, 40076, &[0x08FD, 0x08FD, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0xFFFF]),
            (3, 40085, &[0x1389, 0xFFFE]),
            (3, 40087, &[0x0960, 0x8000, 0x8000, 0x8000, 0x0000]),
            (3, 40092, &[0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000]),
            (3, 40107, &[0x0000, 0xDBBA]),
            (3, 40115, &[0x0012, 0xD644]),
            (3, 40123, &[0x0000]),
        ], expected: &[
            ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_w", 2400.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5),
            ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l2_v", "current_l2_a", "power_l2_w", "reactive_power_var"],
    },
    Sent {
        number: 202,
        case: Case { model: "sunspec-meter", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00CA, 0x0069]),
            (3, 40071, &[0x0627, 0x041A, 0x020D, 0x8000, 0xFFFE]),
            (3, 40076, &[0x04B0, 0x04B1, 0x04AF, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0xFFFF]),
            (3, 40085, &[0x1389, 0xFFFE]),
            (3, 40087, &[0x0751, 0x04ED, 0x0264, 0x8000, 0x0000]),
            (3, 40092, &[0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000]),
            (3, 40107, &[0x0000, 0xDBBA]),
            (3, 40115, &[0x0012, 0xD644]),
            (3, 40123, &[0x0000]),
        ], expected: &[
            ("voltage_l1_v", 120.1), ("voltage_l2_v", 119.9), ("current_l1_a", 10.5), ("current_l2_a", 5.25), ("power_l1_w", 1261.0),
            ("power_l2_w", 612.0), ("power_w", 1873.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l3_v", "current_l3_a", "power_l3_w"],
    },
    Sent {
        number: 203,
        case: Case { model: "sunspec-meter", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00CB, 0x0069]),
            (3, 40071, &[0x055F, 0x041A, 0x0019, 0x012C, 0xFFFE]),
            (3, 40076, &[0x08FE, 0x08FD, 0x0908, 0x08F5, 0x8000, 0x8000, 0x8000, 0x8000, 0xFFFF]),
            (3, 40085, &[0x1389, 0xFFFE]),
            (3, 40087, &[0x0BD9, 0x0960, 0xFFC7, 0x02B2, 0x0000]),
            (3, 40092, &[0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000]),
            (3, 40107, &[0x0000, 0xDBBA]),
            (3, 40115, &[0x0012, 0xD644]),
            (3, 40123, &[0x0000]),
        ], expected: &[
            ("voltage_l1_v", 230.1), ("voltage_l2_v", 231.2), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
            ("current_l3_a", 3.0), ("power_l2_w", -57.0), ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["reactive_power_var", "apparent_power_va"],
    },
    Sent {
        number: 204,
        case: Case { model: "sunspec-meter", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00CC, 0x0069]),
            (3, 40071, &[0x0578, 0x041A, 0x00FA, 0x012C, 0xFFFE]),
            (3, 40076, &[0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0xFFFF]),
            (3, 40085, &[0x1389, 0xFFFE]),
            (3, 40087, &[0xEFFC, 0x8000, 0x8000, 0x8000, 0x0000]),
            (3, 40092, &[0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000]),
            (3, 40107, &[0x0000, 0xDBBA]),
            (3, 40115, &[0x0012, 0xD644]),
            (3, 40123, &[0x0000]),
        ], expected: &[
            ("current_l1_a", 10.5), ("current_l2_a", 2.5), ("current_l3_a", 3.0), ("power_w", -4100.0), ("frequency_hz", 50.01),
            ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l1_v", "voltage_l2_v", "power_l1_w"],
    },
    Sent {
        number: 211,
        case: Case { model: "sunspec-meter-float", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00D3, 0x007C]),
            (3, 40071, &[0x4128, 0x0000, 0x4128, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40079, &[0x4366, 0x199A, 0x4366, 0x199A, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40087, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40095, &[0x4248, 0x0A3D, 0x4516, 0x0800]),
            (3, 40099, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40105, &[0x7FC0, 0x0000]),
            (3, 40113, &[0x7FC0, 0x0000]),
            (3, 40129, &[0x475B, 0xBA00]),
            (3, 40137, &[0x4996, 0xB220]),
        ], expected: &[
            ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_w", 2400.5), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5),
            ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l2_v", "current_l2_a", "power_l2_w", "reactive_power_var"],
    },
    Sent {
        number: 212,
        case: Case { model: "sunspec-meter-float", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00D4, 0x007C]),
            (3, 40071, &[0x417C, 0x0000, 0x4128, 0x0000, 0x40A8, 0x0000, 0x7FC0, 0x0000]),
            (3, 40079, &[0x42F0, 0x0000, 0x42F0, 0x3333, 0x42EF, 0xCCCD, 0x7FC0, 0x0000]),
            (3, 40087, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40095, &[0x4248, 0x0A3D, 0x44EA, 0x3000]),
            (3, 40099, &[0x449D, 0xA000, 0x4419, 0x2000, 0x7FC0, 0x0000]),
            (3, 40105, &[0x7FC0, 0x0000]),
            (3, 40113, &[0x7FC0, 0x0000]),
            (3, 40129, &[0x475B, 0xBA00]),
            (3, 40137, &[0x4996, 0xB220]),
        ], expected: &[
            ("voltage_l1_v", 120.1), ("voltage_l2_v", 119.9), ("current_l1_a", 10.5), ("current_l2_a", 5.25), ("power_l1_w", 1261.0),
            ("power_l2_w", 612.5), ("power_w", 1873.5), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l3_v", "current_l3_a", "power_l3_w"],
    },
    Sent {
        number: 213,
        case: Case { model: "sunspec-meter-float", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00D5, 0x007C]),
            (3, 40071, &[0x415C, 0x0000, 0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
            (3, 40079, &[0x4366, 0x3333, 0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
            (3, 40087, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40095, &[0x4248, 0x0A3D, 0x453D, 0x9000]),
            (3, 40099, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
            (3, 40105, &[0x7FC0, 0x0000]),
            (3, 40113, &[0x7FC0, 0x0000]),
            (3, 40129, &[0x475B, 0xBA00]),
            (3, 40137, &[0x4996, 0xB220]),
        ], expected: &[
            ("voltage_l1_v", 230.1), ("voltage_l2_v", 231.2), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
            ("current_l3_a", 3.0), ("power_l2_w", -57.5), ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["reactive_power_var", "apparent_power_va"],
    },
    Sent {
        number: 214,
        case: Case { model: "sunspec-meter-float", registers: &[
            (3, 40000, &[0x5375, 0x6E53]),
            (3, 40002, &[0x0001, 0x0041]),
            (3, 40069, &[0x00D6, 0x007C]),
            (3, 40071, &[0x4160, 0x0000, 0x4128, 0x0000, 0x4020, 0x0000, 0x4040, 0x0000]),
            (3, 40079, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40087, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40095, &[0x4248, 0x0A3D, 0xC580, 0x2400]),
            (3, 40099, &[0x7FC0, 0x0000, 0x7FC0, 0x0000, 0x7FC0, 0x0000]),
            (3, 40105, &[0x7FC0, 0x0000]),
            (3, 40113, &[0x7FC0, 0x0000]),
            (3, 40129, &[0x475B, 0xBA00]),
            (3, 40137, &[0x4996, 0xB220]),
        ], expected: &[
            ("current_l1_a", 10.5), ("current_l2_a", 2.5), ("current_l3_a", 3.0), ("power_w", -4100.5), ("frequency_hz", 50.01),
            ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
        ] },
        absent: &["voltage_l1_v", "voltage_l2_v", "power_l1_w"],
    },
];

#[tokio::test]
async fn every_sunspec_meter_model_is_read_as_it_is_published() {
    let mut numbers: Vec<u16> = Vec::new();
    for Sent { number, case, absent } in ALL_NUMBERS {
        let registers = map(case);
        let peer = Peer::start(Medium::Tcp, move |ask| serve(&registers, ask)).await;
        let running = start(model(case.model), &peer.connection);
        let what = format!("SunSpec model {number}");
        expect(&running, case, &what).await;
        let (_, values) = running.reading(&what, |_, _| true).await;
        for key in *absent {
            assert!(!values.values.contains_key(*key), "{what}: {key} is not measured: {values:?}");
        }
        numbers.push(*number);
    }
    let mut known: Vec<u16> =
        ["sunspec-meter", "sunspec-meter-float"].iter().flat_map(|id| model(id).sunspec).collect();
    known.sort_unstable();
    assert_eq!(numbers, known);
}

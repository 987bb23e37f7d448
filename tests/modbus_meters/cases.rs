//! Raw words of every embedded model and what they mean, written down from the makers' and drivers' tables, not from
//! the model files: a wrong address, type, scale or sign in a file shows here.

/// One meter: what its registers hold and what must come out.
pub(crate) struct Case {
    pub(crate) model: &'static str,
    /// Function, first register, words.
    pub(crate) registers: &'static [(u8, u16, &'static [u16])],
    /// Key of the state and value.
    pub(crate) expected: &'static [(&'static str, f64)],
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case { model: "eastron-sdm120", registers: &[
        (4, 0, &[0x4367, 0x8000]),
        (4, 6, &[0x40C8, 0x0000]),
        (4, 12, &[0xC4B4, 0xC000]),
        (4, 70, &[0x4248, 0x147B]),
        (4, 72, &[0x449A, 0x5000, 0x4261, 0x0000]),
        (3, 64512, &[0x0122, 0xD9F2]),
    ], expected: &[
        ("voltage_l1_v", 231.5), ("current_l1_a", -6.25), ("power_w", -1446.0), ("power_l1_w", -1446.0),
        ("frequency_hz", 50.02), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "eastron-sdm630", registers: &[
        (4, 0, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (4, 6, &[0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (4, 12, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
        (4, 60, &[0xC2F1, 0x0000]),
        (4, 70, &[0x4247, 0xEB85]),
        (4, 72, &[0x47C0, 0xE6C0, 0x4587, 0x0A00]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
        ("current_l3_a", 3.0), ("power_l2_w", -57.5), ("power_w", 3033.0), ("reactive_power_var", -120.5),
        ("frequency_hz", 49.98), ("energy_import_kwh", 98765.5), ("energy_export_kwh", 4321.25),
    ] },
    Case { model: "eastron-sdm72", registers: &[
        (4, 52, &[0xC4BB, 0x9000]),
        (4, 72, &[0x4442, 0x5000, 0x4148, 0x0000]),
    ], expected: &[
        ("power_w", -1500.5), ("energy_import_kwh", 777.25), ("energy_export_kwh", 12.5),
    ] },
    Case { model: "eastron-sdm72-v2", registers: &[
        (4, 0, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (4, 6, &[0x3FC0, 0x0000, 0x4020, 0x0000, 0x4060, 0x0000]),
        (4, 12, &[0x43AC, 0x8000, 0x4410, 0x8000, 0x4448, 0x8000]),
        (4, 72, &[0x4442, 0x5000, 0x4148, 0x0000]),
    ], expected: &[
        ("voltage_l2_v", 231.2), ("current_l3_a", 3.5), ("power_l1_w", 345.0), ("power_w", 1725.0),
        ("energy_import_kwh", 777.25), ("energy_export_kwh", 12.5),
    ] },
    Case { model: "carlo-gavazzi-em24", registers: &[
        (4, 0, &[0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5, 0x0000]),
        (4, 12, &[0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8, 0x0000]),
        (4, 18, &[0x5DC5, 0x0000, 0xFDC1, 0xFFFF, 0x1AF4, 0x0000]),
        (3, 4353, &[0x0007]),
        (4, 55, &[0x01F4]),
        (4, 62, &[0xE240, 0x0001]),
        (4, 92, &[0x1ED2, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
        ("power_l1_w", 2400.5), ("power_l2_w", -57.5), ("power_w", 3033.0), ("frequency_hz", 50.0),
        ("energy_import_kwh", 12345.6), ("energy_export_kwh", 789.0),
    ] },
    Case { model: "carlo-gavazzi-em24-e1", registers: &[
        (4, 0, &[0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5, 0x0000]),
        (4, 12, &[0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8, 0x0000]),
        (4, 18, &[0x5DC5, 0x0000, 0xFDC1, 0xFFFF, 0x1AF4, 0x0000]),
        (3, 40960, &[0x0007]),
        (4, 51, &[0x01F3]),
        (4, 52, &[0xE240, 0x0001]),
        (4, 78, &[0x1ED2, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
        ("power_l1_w", 2400.5), ("power_l2_w", -57.5), ("power_w", 3033.0), ("frequency_hz", 49.9),
        ("energy_import_kwh", 12345.6), ("energy_export_kwh", 789.0),
    ] },
    Case { model: "carlo-gavazzi-em1xx", registers: &[
        (4, 0, &[0x08FD, 0x0000, 0xD6FC, 0xFFFF, 0xA23B, 0xFFFF]),
        (3, 4355, &[0x0001]),
        (4, 15, &[0x01F4]),
        (4, 16, &[0xE240, 0x0001]),
        (4, 32, &[0xE12E, 0xFFFF]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", -10.5), ("power_w", -2400.5), ("energy_import_kwh", 12345.6),
        ("energy_export_kwh", 789.0),
    ] },
    Case { model: "carlo-gavazzi-em3xx", registers: &[
        (4, 0, &[0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5, 0x0000]),
        (4, 12, &[0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8, 0x0000]),
        (4, 18, &[0x5DC5, 0x0000, 0xFDC1, 0xFFFF, 0x1AF4, 0x0000]),
        (3, 4355, &[0x0001]),
        (4, 51, &[0x01F4]),
        (4, 52, &[0xE240, 0x0001]),
        (4, 78, &[0x1ED2, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
        ("power_l1_w", 2400.5), ("power_l2_w", -57.5), ("power_w", 3033.0), ("frequency_hz", 50.0),
        ("energy_import_kwh", 12345.6), ("energy_export_kwh", 789.0),
    ] },
    Case { model: "carlo-gavazzi-em5xx", registers: &[
        (4, 0, &[0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5, 0x0000]),
        (4, 12, &[0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8, 0x0000]),
        (4, 18, &[0x5DC5, 0x0000, 0xFDC1, 0xFFFF, 0x1AF4, 0x0000]),
        (3, 4355, &[0x0002]),
        (4, 51, &[0x01F4]),
        (4, 52, &[0xE240, 0x0001]),
        (4, 78, &[0x1ED2, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("voltage_l3_v", 229.3), ("current_l1_a", 10.5), ("current_l2_a", -0.25),
        ("power_l1_w", 2400.5), ("power_l2_w", -57.5), ("power_w", 3033.0), ("frequency_hz", 50.0),
        ("energy_import_kwh", 12345.6), ("energy_export_kwh", 789.0),
    ] },
    Case { model: "siemens-pac", registers: &[
        (3, 1, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 13, &[0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (3, 25, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
        (3, 55, &[0x4248, 0x0A3D]),
        (3, 801, &[0x412E, 0x8480, 0x0000, 0x0000, 0x411E, 0x8480, 0x0000, 0x0000, 0x40A7, 0x7000, 0x0000, 0x0000, 0x40AF, 0x4000, 0x0000, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l3_w", 690.0),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1500.0), ("energy_import_t1_kwh", 1000.0),
        ("energy_import_t2_kwh", 500.0), ("energy_export_kwh", 7.0),
    ] },
    Case { model: "siemens-pac1600", registers: &[
        (3, 1, &[0x0000, 0x59E2, 0x0000, 0x5A50, 0x0000, 0x5992, 0x0001, 0x9A28, 0x0000, 0x09C4, 0x0000, 0x7530]),
        (3, 19, &[0x0003, 0xA9B2, 0xFFFF, 0xE98A, 0x0001, 0x0D88]),
        (3, 49, &[0x0000, 0x1389]),
        (3, 6687, &[0x00BC, 0x614E, 0x000C, 0x0A14]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l1_w", 2400.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 12345.678), ("energy_export_kwh", 789.012),
    ] },
    Case { model: "abb-ab", registers: &[
        (3, 23296, &[0x0000, 0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5]),
        (3, 23308, &[0x0000, 0x041A, 0x0000, 0x0019, 0x0000, 0x012C]),
        (3, 23316, &[0x0004, 0xA0C4, 0x0003, 0xA9B2, 0xFFFF, 0xE98A, 0x0001, 0x0D88]),
        (3, 23340, &[0x138A]),
        (3, 20480, &[0x0000, 0x0000, 0x0012, 0xD687, 0x0000, 0x0000, 0x0000, 0x22C5]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("frequency_hz", 50.02), ("energy_import_kwh", 12345.67), ("energy_export_kwh", 89.01),
    ] },
    Case { model: "inepro-pro", registers: &[
        (3, 20482, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 20488, &[0x4248, 0x0A3D]),
        (3, 20492, &[0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (3, 20498, &[0x4042, 0x1CAC, 0x4019, 0xA1CB, 0xBD6B, 0x851F, 0x3F30, 0xA3D7]),
        (3, 24588, &[0x449A, 0x5000, 0x447A, 0x1000, 0x436A, 0x4000]),
        (3, 24600, &[0x4263, 0x0000]),
    ], expected: &[
        ("voltage_l2_v", 231.2), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("energy_import_kwh", 1234.5), ("energy_import_t1_kwh", 1000.25), ("energy_import_t2_kwh", 234.25),
        ("energy_export_kwh", 56.75),
    ] },
    Case { model: "chint-ddsu666", registers: &[
        (3, 8192, &[0x4367, 0x8000, 0x40C8, 0x0000, 0xBFB9, 0x1687]),
        (3, 8206, &[0x4248, 0x147B]),
        (3, 16384, &[0x449A, 0x5000]),
        (3, 16394, &[0x4261, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 231.5), ("current_l1_a", -6.25), ("power_w", -1446.0), ("frequency_hz", 50.02),
        ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "chint-dtsu666", registers: &[
        (3, 6, &[0x0001, 0x000A]),
        (3, 8198, &[0x450F, 0xD000, 0x4510, 0x8000, 0x450F, 0x5000, 0x4624, 0x1000, 0x437A, 0x0000, 0x453B, 0x8000, 0x46EC, 0xF400, 0x46BB, 0x8A00, 0xC40F, 0xC000, 0x45D7, 0xA000]),
        (3, 8260, &[0x459C, 0x4800]),
        (3, 4126, &[0x449A, 0x5000]),
        (3, 4136, &[0x4261, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l1_w", 2400.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "entes-emm", registers: &[
        (3, 0, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 14, &[0x4624, 0x1000, 0x437A, 0x0000, 0x453B, 0x8000]),
        (3, 24, &[0x4248, 0x0A3D]),
        (3, 26, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
        (3, 38, &[0x453D, 0x9000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l1_w", 2400.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01),
    ] },
    Case { model: "entes-mpr", registers: &[
        (3, 0, &[0x0000, 0x08FD, 0x0000, 0x0908, 0x0000, 0x08F5]),
        (3, 14, &[0x0000, 0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8]),
        (3, 24, &[0x0000, 0x1389]),
        (3, 26, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
        (3, 38, &[0x453D, 0x9000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l1_w", 2400.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01),
    ] },
    Case { model: "acrel-adl400", registers: &[
        (3, 97, &[0x08FD, 0x0908, 0x08F5, 0x041A, 0x0019, 0x012C]),
        (3, 356, &[0x0000, 0x0960, 0xFFFF, 0xFFC7, 0x0000, 0x02B2]),
        (3, 119, &[0x1389]),
        (3, 10, &[0x0001, 0xE240, 0x0001, 0x86A0, 0x0000, 0x2710, 0x0000, 0x2710, 0x0000, 0x0D80, 0x0000, 0x1ED2]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l1_w", 2400.0),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.56), ("energy_import_t1_kwh", 1000.0),
        ("energy_import_t4_kwh", 34.56), ("energy_export_kwh", 78.9),
    ] },
    Case { model: "acrel-adl3000", registers: &[
        (3, 97, &[0x08FD, 0x0908, 0x08F5, 0x041A, 0x0019, 0x012C, 0x0960, 0xFFC7, 0x02B2, 0x0BD9]),
        (3, 119, &[0x1389]),
        (3, 10, &[0x0001, 0xE240]),
        (3, 20, &[0x0000, 0x1ED2]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_l2_w", -57.0), ("power_w", 3033.0),
        ("energy_import_kwh", 1234.56), ("energy_export_kwh", 78.9),
    ] },
    Case { model: "acrel-adw300", registers: &[
        (3, 20, &[0x08FD, 0x0908, 0x08F5]),
        (3, 26, &[0x041A, 0x0019, 0x012C]),
        (3, 30, &[0x0000, 0x0960, 0xFFFF, 0xFFC7, 0x0000, 0x02B2, 0x0000, 0x0BD9]),
        (3, 62, &[0x0001, 0xE240, 0x0000, 0x1ED2]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_l2_w", -57.0), ("power_w", 3033.0),
        ("energy_import_kwh", 1234.56), ("energy_export_kwh", 78.9),
    ] },
    Case { model: "acrel-acr10r", registers: &[
        (4, 97, &[0x090B]),
        (4, 100, &[0x0271]),
        (4, 103, &[0xFA5A]),
        (4, 119, &[0x138A]),
        (4, 71, &[0x449A, 0x5000, 0x4261, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 231.5), ("current_l1_a", -6.25), ("power_w", -1446.0), ("frequency_hz", 50.02),
        ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "acrel-acr10r-d16te4", registers: &[
        (4, 243, &[0x08FD, 0x0908, 0x08F5]),
        (4, 249, &[0x0069, 0x0002, 0x001E, 0x1389]),
        (4, 253, &[0x0000, 0x0960, 0xFFFF, 0xFFC7, 0x0000, 0x02B2, 0x0000, 0x0BD9]),
        (4, 365, &[0x0000, 0x04D2, 0x0000, 0x0038]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_l2_w", -57.0), ("power_w", 3033.0),
        ("frequency_hz", 50.01), ("energy_import_kwh", 1234.0), ("energy_export_kwh", 56.0),
    ] },
    Case { model: "acrel-single-phase", registers: &[
        (4, 11, &[0x090B, 0x0271, 0xFA5A]),
        (4, 17, &[0x138A]),
        (4, 60, &[0x0001, 0xE23A, 0x0000, 0x15F9]),
    ], expected: &[
        ("voltage_l1_v", 231.5), ("current_l1_a", -6.25), ("power_w", -1446.0), ("frequency_hz", 50.02),
        ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "iskra-wm3m4", registers: &[
        (4, 105, &[0xFD00, 0xC35A]),
        (4, 107, &[0xFE00, 0x59E2, 0xFE00, 0x5A50, 0xFE00, 0x5992]),
        (4, 126, &[0xFD00, 0x2904, 0xFD00, 0x00FA, 0xFD00, 0x0BB8]),
        (4, 140, &[0xFF00, 0x767A, 0xFF00, 0x5DC5, 0xFFFF, 0xFDC1, 0x0000, 0x02B2]),
        (4, 414, &[0x0001, 0x0000]),
        (4, 418, &[0x0012, 0xD687, 0x0000, 0xDBBA]),
        (4, 1, &[0x574D, 0x334D, 0x3443]),
        (4, 9, &[0x494B, 0x3132, 0x3334, 0x3536]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 12345.67), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "iskra-mc", registers: &[
        (4, 2500, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (4, 2516, &[0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (4, 2530, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000, 0x453D, 0x9000]),
        (4, 2584, &[0x4248, 0x0A3D]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_l2_w", -57.5), ("power_w", 3033.0),
        ("frequency_hz", 50.01),
    ] },
    Case { model: "janitza-umg", registers: &[
        (3, 19000, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 19012, &[0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (3, 19020, &[0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000, 0x453D, 0x9000]),
        (3, 19050, &[0x4248, 0x0A3D]),
        (3, 19068, &[0x4B3C, 0x609C]),
        (3, 19076, &[0x475B, 0xBA00]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("power_l2_w", -57.5), ("power_w", 3033.0),
        ("frequency_hz", 50.01), ("energy_import_kwh", 12345.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "shelly-pro-3em", registers: &[
        (4, 1020, &[0x199A, 0x4366]),
        (4, 1022, &[0x0000, 0x4128]),
        (4, 1024, &[0x0800, 0x4516]),
        (4, 1040, &[0x3333, 0x4367]),
        (4, 1042, &[0x0000, 0x3E80]),
        (4, 1044, &[0x0000, 0xC266]),
        (4, 1060, &[0x4CCD, 0x4365]),
        (4, 1062, &[0x0000, 0x4040]),
        (4, 1064, &[0x8000, 0x442C]),
        (4, 1033, &[0x0000, 0x4248]),
        (4, 1162, &[0xB220, 0x4996]),
        (4, 1164, &[0xBA00, 0x475B]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("frequency_hz", 50.0), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "smartstuff-p1", registers: &[
        (3, 0, &[0x6AB1, 0x3B80, 0x000F, 0x4434, 0x0003, 0x9210, 0x0000, 0xDBBA, 0x0000, 0x0000, 0x0012, 0xD644, 0x0000, 0xDBBA, 0x0000, 0x0000, 0x0000, 0x0039]),
        (3, 18, &[0x0003, 0x82D4, 0x0003, 0x8720, 0x0003, 0x7FB4, 0x0000, 0x2710, 0x0000, 0x03E8, 0x0000, 0x0BB8]),
        (3, 38, &[0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x02B2, 0x0000, 0x02EB, 0x0000, 0x0000, 0x0000, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", -10.0), ("current_l3_a", 3.0), ("power_l1_w", -747.0),
        ("power_l3_w", 690.0), ("power_w", -57.0), ("energy_import_kwh", 1234.5), ("energy_import_t1_kwh", 1000.5),
        ("energy_export_kwh", 56.25),
    ] },
    Case { model: "smartstuff-p1-float", registers: &[
        (3, 0, &[0x6AB1, 0x3B80]),
        (3, 2, &[0x447A, 0x2000, 0x436A, 0x0000, 0x4261, 0x0000, 0x0000, 0x0000, 0x449A, 0x5000, 0x4261, 0x0000]),
        (3, 18, &[0xC266, 0x0000]),
        (3, 20, &[0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 26, &[0xC120, 0x0000, 0x3F80, 0x0000, 0x4040, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", -10.0), ("power_w", -57.5), ("energy_import_kwh", 1234.5),
        ("energy_export_kwh", 56.25),
    ] },
    Case { model: "smartstuff-p1-tcp", registers: &[
        (3, 0, &[0x6AB1, 0x3B80, 0x000F, 0x4434, 0x0003, 0x9210, 0x0000, 0xDBBA, 0x0000, 0x0000, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0x0000, 0x0000, 0x0000, 0x0039]),
        (3, 18, &[0x0003, 0x82D4, 0x0003, 0x8720, 0x0003, 0x7FB4, 0x0000, 0x2710, 0x0000, 0x03E8, 0x0000, 0x0BB8]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.0), ("power_w", -57.0), ("energy_import_kwh", 1234.5),
        ("energy_export_kwh", 56.25),
    ] },
    Case { model: "esp-p1-modbus", registers: &[
        (3, 0, &[0x000F, 0x4434, 0x0003, 0x9210, 0x0000, 0xDBBA, 0x0000, 0x0000]),
        (3, 10, &[0x0000, 0x0BD9, 0x0000, 0x0000]),
        (3, 30, &[0x0003, 0x82D4, 0x0003, 0x8720, 0x0003, 0x7FB4, 0x0000, 0x2904, 0x0000, 0x00FA, 0x0000, 0x0BB8, 0x0000, 0x0960, 0x0000, 0x0000, 0x0000, 0x02B2, 0x0000, 0x0000, 0x0000, 0x0039, 0x0000, 0x0000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.0),
        ("power_w", 3033.0), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "kostal-ksem", registers: &[
        (3, 40, &[0x0000, 0x5DC5, 0x0000, 0x0000]),
        (3, 60, &[0x0000, 0x2904, 0x0003, 0x82D4]),
        (3, 80, &[0x0000, 0x0000, 0x0000, 0x023F]),
        (3, 100, &[0x0000, 0x00FA, 0x0003, 0x8720]),
        (3, 120, &[0x0000, 0x1AF4, 0x0000, 0x0000]),
        (3, 140, &[0x0000, 0x0BB8, 0x0003, 0x7FB4]),
        (3, 26, &[0x0000, 0xC35A]),
        (3, 512, &[0x0000, 0x0000, 0x075B, 0xC618, 0x0000, 0x0000, 0x0008, 0x9544]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 12345.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "sunspec-meter", registers: &[
        (3, 40000, &[0x5375, 0x6E53]),
        (3, 40002, &[0x0001, 0x0041]),
        (3, 40069, &[0x00CB, 0x0069]),
        (3, 40071, &[0x055F, 0x041A, 0x0019, 0x012C, 0xFFFE]),
        (3, 40076, &[0x08FE, 0x08FD, 0x0908, 0x08F5, 0x0000, 0x0000, 0x0000, 0x0000, 0xFFFF]),
        (3, 40085, &[0x1389, 0xFFFE]),
        (3, 40087, &[0x0BD9, 0x0960, 0xFFC7, 0x02B2, 0x0000]),
        (3, 40107, &[0x0000, 0xDBBA]),
        (3, 40115, &[0x0012, 0xD644]),
        (3, 40123, &[0x0000]),
        (3, 40096, &[0x8000]),
        (3, 40101, &[0x8000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.0),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    // Imports 3 kW by the meter's own sign, in which an import is negative.
    Case { model: "solaredge-meter", registers: &[
        (3, 40000, &[0x5375, 0x6E53]),
        (3, 40002, &[0x0001, 0x0041]),
        (3, 40069, &[0x0067, 0x0032]),
        (3, 40121, &[0x0001, 0x0041]),
        (3, 40188, &[0x00CB, 0x0069]),
        (3, 40190, &[0x055F, 0x041A, 0xFFE7, 0x012C, 0xFFFE]),
        (3, 40195, &[0x08FE, 0x08FD, 0x0908, 0x08F5, 0x0000, 0x0000, 0x0000, 0x0000, 0xFFFF]),
        (3, 40204, &[0x1389, 0xFFFE]),
        (3, 40206, &[0xF427, 0xF6A0, 0x0039, 0xFD4E, 0x0000]),
        (3, 40226, &[0x0000, 0xDBBA]),
        (3, 40234, &[0x0012, 0xD644]),
        (3, 40242, &[0x0000]),
        (3, 40215, &[0x8000]),
        (3, 40220, &[0x8000]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.0),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
    Case { model: "sunspec-meter-float", registers: &[
        (3, 40000, &[0x5375, 0x6E53]),
        (3, 40002, &[0x0001, 0x0041]),
        (3, 40069, &[0x00D5, 0x007C]),
        (3, 40071, &[0x415C, 0x0000, 0x4128, 0x0000, 0x3E80, 0x0000, 0x4040, 0x0000]),
        (3, 40079, &[0x4366, 0x3333, 0x4366, 0x199A, 0x4367, 0x3333, 0x4365, 0x4CCD]),
        (3, 40095, &[0x4248, 0x0A3D, 0x453D, 0x9000, 0x4516, 0x0800, 0xC266, 0x0000, 0x442C, 0x8000]),
        (3, 40129, &[0x475B, 0xBA00]),
        (3, 40137, &[0x4996, 0xB220]),
    ], expected: &[
        ("voltage_l1_v", 230.1), ("current_l1_a", 10.5), ("current_l2_a", -0.25), ("power_l2_w", -57.5),
        ("power_w", 3033.0), ("frequency_hz", 50.01), ("energy_import_kwh", 1234.5), ("energy_export_kwh", 56.25),
    ] },
];

//! The codec against the tables of the wiki page.

use proptest::prelude::*;

use super::*;
use crate::reading::OwnLimit;

/// A charger on three phases that charges with 16 A.
fn charging() -> [u16; COUNT] {
    let mut words = [0; COUNT];
    words[..=5].copy_from_slice(&[231, 229, 230, 158, 157, 159]);
    words[7] = 0x1170; // 70 000 s
    words[8] = 1;
    words[9] = EVSE_ID;
    words[10] = 1;
    words[11] = 1;
    words[12] = 32;
    words[13] = 6;
    words[14] = 6;
    words[15] = 16;
    words[19] = 30;
    words[20] = 6;
    words[22] = 1;
    words[23] = 1234;
    words[24] = 0xCD15; // 123 456 789
    words[25] = 0x075B;
    words[26] = 11_204;
    words[27] = 3;
    words[28] = 30;
    words[29] = 20;
    words[30] = 1;
    words[31] = 315;
    words[33] = 4;
    words[36] = 6;
    words[37] = 2;
    words[38] = 10_900;
    words[39] = 512;
    words[40] = 3600;
    words[41..].copy_from_slice(&[0x2345, 0x0001, 0, 0]);
    words
}

fn decode(words: &[u16]) -> Result<Readout, RegisterError> {
    let mut image = Image::default();
    image.take(0, words);
    image.decode()
}

fn with(changes: &[(usize, u16)]) -> Readout {
    let mut words = charging();
    for (register, word) in changes {
        words[*register] = *word;
    }
    decode(&words).unwrap()
}

fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

#[test]
fn the_whole_map_is_read() {
    let expected = Readout {
        voltage: Phases([Some(Millivolt(231_000)), Some(Millivolt(229_000)), Some(Millivolt(230_000))]),
        current: Phases([Some(Milliamp(15_800)), Some(Milliamp(15_700)), Some(Milliamp(15_900))]),
        status: Some(EvseStatus::Charging),
        status_time: Some(Span::from_secs(70_000)),
        three_phase_possible: Some(true),
        phase_change_possible: Some(true),
        amp_limit: Some(amps(32)),
        phase_connected: Some(PhaseSet::All),
        phase_to_use: Some(PhaseSet::All),
        set_point: amps(16),
        stop_request: Some(0),
        authorize_request: Some(false),
        lock_request: Some(0),
        watchdog: Some(Watchdog { timeout: Span::from_secs(30), fail_safe: amps(6) }),
        reboot_request: Some(false),
        requires_authorization: Some(true),
        product_code: Some(1234),
        serial: Some(123_456_789),
        firmware: Some(11_204),
        charge_point_state: Some(ChargePointState::Charging),
        max_from_grid: Some(amps(30)),
        user_limit: Some(amps(20)),
        locked: Some(true),
        temperature_tenths: Some(315),
        ocpp_connected: Some(false),
        iec_state: Some(IecState::C2),
        warning: Flags { bits: Some(0), names: WARNINGS },
        error: Flags { bits: Some(0), names: ERRORS },
        limit_cause: Some(LimitCause::LoadBalance),
        max_supported_power: Some(MaxSupportedPower::Kw22),
        power: Some(Watt(10_900)),
        session_energy: Some(WattHour(5120)),
        session_time: Some(Span::from_secs(3600)),
        energy: Some(WattHour(0x1_2345 * 10)),
        complaints: Vec::new(),
    };
    assert_eq!(decode(&charging()).unwrap(), expected);
}

#[test]
fn the_report_carries_the_lower_of_the_boxs_own_limits() {
    let report = with(&[]).report();
    assert_eq!(report.state, PilotState::C);
    assert_eq!(report.set_point, Some(amps(16)));
    assert_eq!(report.own_limit, Some(amps(20)));
    assert_eq!(report.own_limit_cause, None, "load balance is ourselves");
    assert_eq!(report.phases_connected, Some(3));
    let report = with(&[(12, 13), (36, 3)]).report();
    assert_eq!((report.own_limit, report.own_limit_cause), (Some(amps(13)), Some(OwnLimit::Cable)));
    assert_eq!(with(&[(12, 0)]).report().own_limit, Some(Milliamp::ZERO));
    assert_eq!(with(&[(12, MISSING)]).report().own_limit, Some(amps(20)));
}

#[test]
fn table_a_maps_to_pilot_states_and_zero_is_charging() {
    use PilotState::{A, B, C, D, E, F};
    for (code, state) in [C, B, B, B, D, B, B, A, F, E].into_iter().enumerate() {
        let readout = with(&[(6, code as u16)]);
        assert_eq!(readout.report().state, state, "status {code}");
        assert!(readout.complaints.is_empty());
    }
}

#[test]
fn a_status_outside_the_table_is_a_fault_and_never_no_car() {
    let readout = with(&[(6, 10)]);
    assert_eq!(readout.report().state, PilotState::F);
    assert_eq!(readout.complaints, [RegisterError { register: 6, name: "EVSE status", value: 10, allowed: "0 to 9" }]);
}

#[test]
fn tables_b_and_c_are_complete() {
    for code in 0..=9 {
        let state = with(&[(27, code)]).charge_point_state.unwrap();
        assert_eq!(state as u16, code);
    }
    assert_eq!(with(&[(27, 10)]).complaints[0].register, 27);
    for code in 0..=8 {
        let state = with(&[(33, code)]).iec_state.unwrap();
        assert_eq!(state as u16, code);
    }
    assert_eq!(with(&[(33, 9)]).complaints[0].register, 33);
}

#[test]
fn tables_d_and_e_name_their_bits() {
    let readout = with(&[(34, 0b10_0000_0010), (35, 1 << 10 | 1 << 4 | 1 << 15)]);
    assert_eq!(readout.report().warning.to_string(), "temperature warning, NFC module fault");
    assert_eq!(readout.report().fault.to_string(), "overcurrent, internal error, bit 15");
    assert_eq!((WARNINGS.len(), ERRORS.len()), (11, 11));
}

#[test]
fn table_f_says_whose_limit_it_is() {
    use OwnLimit::{Cable, Car, Setting, Temperature};
    let causes = [Some(Setting), Some(Setting), Some(Setting), Some(Cable), Some(Car), Some(Setting), None];
    for (code, cause) in causes.into_iter().chain([Some(Temperature), None]).enumerate() {
        assert_eq!(with(&[(36, code as u16)]).report().own_limit_cause, cause, "cause {code}");
    }
    assert_eq!(with(&[(36, 9)]).complaints[0].register, 36);
}

#[test]
fn authorisation_is_asked_for_where_the_charger_waits_for_it() {
    assert!(with(&[(6, 5)]).needs_authorization());
    assert!(with(&[(6, 1), (27, 1)]).needs_authorization());
    assert!(with(&[(6, 1), (33, 1)]).needs_authorization());
    assert!(!with(&[(6, 1), (27, 1), (33, 1), (22, 0)]).needs_authorization(), "not required");
    assert!(!with(&[(6, 7), (27, 1)]).needs_authorization(), "no car");
    assert!(!with(&[]).needs_authorization());
}

#[test]
fn another_device_is_refused() {
    let mut words = charging();
    words[9] = 0x4354;
    assert_eq!(decode(&words).unwrap_err().to_string(), "register 9 (EVSE ID) holds 17236, allowed is 21571 (\"TC\")");
    assert_eq!(decode(&[0; COUNT]).unwrap_err().register, 9, "all zero would read as charging");
    assert_eq!(decode(&[]).unwrap_err().register, 9);
}

#[test]
fn without_state_or_set_point_there_is_no_answer() {
    let mut words = charging();
    words[6] = MISSING;
    assert_eq!(decode(&words).unwrap_err().register, 6);
    let mut words = charging();
    for wrong in [MISSING, 81] {
        words[15] = wrong;
        assert_eq!(decode(&words).unwrap_err().register, 15);
    }
}

#[test]
fn a_set_point_of_another_master_is_shown_and_named() {
    for odd in [1, 5, 33, 80] {
        let readout = with(&[(15, odd)]);
        assert_eq!(readout.report().set_point, Some(amps(i32::from(odd))));
        assert_eq!(readout.complaints[0].register, 15);
    }
}

#[test]
fn each_range_is_checked_at_both_ends() {
    // register, values that are taken, values that are not
    let ranges: &[(usize, &[u16], &[u16])] = &[
        (0, &[0, 500], &[501, 0x8000]),
        (3, &[0, 1000, 0xFFF6], &[1001, 0xFFF5, 0x8000]),
        (10, &[0, 1], &[2]),
        (11, &[0, 1], &[2]),
        (12, &[0, 6, 32], &[1, 5, 33]),
        (13, &[0, 7], &[8]),
        (14, &[0, 7], &[8]),
        (16, &[0, 2], &[3]),
        (17, &[0, 1], &[2]),
        (18, &[0, 2], &[3]),
        (19, &[0, 600], &[601]),
        (20, &[0, 6, 32], &[1, 5, 33]),
        (21, &[0, 1], &[2]),
        (22, &[0, 1], &[2]),
        (23, &[0, 9999], &[10_000]),
        (26, &[11_200, 29_999], &[11_199, 30_000]),
        (28, &[6, 1000], &[5, 1001]),
        (29, &[6, 32], &[0, 5, 33]),
        (30, &[0, 1], &[2]),
        (31, &[0xFE70, 1250, MISSING], &[0xFE6F, 1251]),
        (32, &[0, 1], &[2]),
        (37, &[0, 2], &[3]),
    ];
    for (register, good, bad) in ranges {
        for word in *good {
            assert_eq!(with(&[(*register, *word)]).complaints, [], "register {register} holds {word}");
        }
        for word in *bad {
            let complaints = with(&[(*register, *word)]).complaints;
            assert_eq!(complaints.len(), 1, "register {register} holds {word}");
            assert_eq!(usize::from(complaints[0].register), *register);
        }
    }
}

#[test]
fn a_register_without_a_value_is_missing_and_not_wrong() {
    let mut words = [MISSING; COUNT];
    words[6] = 7;
    words[9] = EVSE_ID;
    words[15] = 0;
    words[31] = 0x8000;
    let readout = decode(&words).unwrap();
    assert_eq!(readout.complaints.iter().map(|it| it.register).collect::<Vec<_>>(), [31]);
    let report = readout.report();
    assert_eq!(
        report,
        ChargerReport {
            set_point: Some(Milliamp::ZERO),
            fault: Flags { bits: None, names: ERRORS },
            warning: Flags { bits: None, names: WARNINGS },
            ..ChargerReport::default()
        }
    );
}

#[test]
fn a_broken_word_order_of_the_counter_is_no_energy() {
    assert_eq!(with(&[(41, 0), (44, 1)]).energy, None);
    assert_eq!(with(&[(41, 0), (44, 1)]).complaints[0].register, 41);
    assert_eq!(with(&[(41, 7), (42, 0)]).energy, Some(WattHour(70)));
}

#[test]
fn windows_complete_each_other() {
    let words = charging();
    let mut image = Image::default();
    image.take(0, &words[..usize::from(NEEDED)]);
    let short = image.decode().unwrap();
    assert_eq!((short.energy, short.user_limit, short.report().own_limit), (None, None, Some(amps(32))));
    image.take(NEEDED, &words[usize::from(NEEDED)..]);
    assert_eq!(image.decode(), decode(&words));
    image.take(40, &[0; 100]);
    image.take(u16::MAX, &[1]);
    assert_eq!(image.word(44), Some(0));
    assert_eq!(image.word(45), None);
}

#[test]
fn phase_sets_by_count() {
    let code = |count, line| PhaseSet::of(count, line).map(PhaseSet::code);
    assert_eq!([code(1, None), code(2, None), code(3, None), code(0, None)], [Some(0), Some(3), Some(6), None]);
    assert_eq!(
        [code(1, Some(0)), code(1, Some(1)), code(1, Some(2)), code(1, Some(3))],
        [Some(0), Some(1), Some(2), None]
    );
    assert_eq!(code(3, Some(1)), Some(6));
    for (code, set) in PhaseSet::TABLE.into_iter().enumerate() {
        assert_eq!(usize::from(set.code()), code);
    }
}

proptest! {
    #[test]
    fn no_content_panics_and_what_is_believed_is_in_range(
        words in proptest::collection::vec(any::<u16>(), 0..60), genuine in any::<bool>(), first in 0..50_u16,
    ) {
        let mut image = Image::default();
        image.take(first, &words);
        if genuine {
            image.take(9, &[EVSE_ID]);
            image.take(6, &[words.first().copied().unwrap_or(0) % 16]);
            image.take(15, &[words.last().copied().unwrap_or(0) % 90]);
        }
        if let Ok(readout) = image.decode() {
            let report = readout.report();
            prop_assert!(report.set_point.is_some_and(|it| it <= amps(80)));
            prop_assert!(report.own_limit.is_none_or(|it| it <= amps(32)));
            prop_assert_eq!(report.state == PilotState::A, image.word(6) == Some(7));
            let _ = (readout.identity(), report.fault.to_string());
        }
    }
}

#[test]
fn the_lock_is_shown_as_it_is_set() {
    let shown = |code| with(&[(18, code)]).report().lock;
    assert_eq!([0, 1, 2].map(shown), [Some(Lock::Auto), Some(Lock::Locked), Some(Lock::Unlock)]);
    assert_eq!(shown(3), None);
}

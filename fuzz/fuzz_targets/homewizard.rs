//! Bodies and WebSocket messages of HomeWizard devices.
//!
//! Every number that is given is possible; texts are short; the same JSON written in another way gives the same; what is
//! pushed is read as what is fetched.
#![no_main]

use gridkeeper_fuzz::codec::homewizard::{
    Measurement, Push, device, error, is_token, push, token, v1_data, v2_measurement,
};
use gridkeeper_fuzz::codec::json::Malformed;
use gridkeeper_fuzz::{assert_sane, same, written_anew};
use libfuzzer_sys::fuzz_target;

fn is_sane(measurement: &Measurement) {
    assert_sane(&measurement.sample);
    assert!(measurement.external.len() <= 64);
    for it in &measurement.external {
        assert!(it.value.is_finite() && it.value.abs() < 1e12, "{it:?}");
        assert!(it.id.chars().count() <= 80 && !it.id.contains(char::is_control), "{it:?}");
    }
}

fn read(body: &[u8]) -> [Result<Measurement, Malformed>; 2] {
    let all = [v1_data(body), v2_measurement(body)];
    for it in &all {
        match it {
            Ok(measurement) => is_sane(measurement),
            Err(error) => assert!(error.to_string().len() <= 2000, "{error}"),
        }
    }
    all
}

fn agree(one: &Result<Measurement, Malformed>, other: &Result<Measurement, Malformed>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert!(same(&one.sample, &other.sample), "{one:?} {other:?}");
            assert_eq!(one.external.len(), other.external.len());
            assert_eq!(one.sample.stamp, other.sample.stamp);
        }
        (Err(_), Err(_)) => {}
        _ => panic!("{one:?} {other:?}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let all = read(data);
    if let Ok(device) = device(data) {
        assert!(device.product_type.chars().count() <= 64);
    }
    assert!(error(data).is_none_or(|it| it.chars().count() <= 200), "a message for people");
    assert!(token(data).is_ok_and(|it| is_token(&it)) || token(data).is_err());
    match push(data) {
        Ok(Push::Measurement(measurement)) => is_sane(&measurement),
        Ok(Push::Refused(why)) => assert!(why.chars().count() <= 80),
        Ok(Push::AuthorizationRequested | Push::Authorized | Push::Other) | Err(_) => {}
    }
    let Some(again) = written_anew(data) else { return };
    for (one, other) in all.iter().zip(&read(&again)) {
        agree(one, other);
    }
    let pushed = [br#"{"type":"measurement","data":"#, &again[..], b"}"].concat();
    let pushed = push(&pushed).map(|it| match it {
        Push::Measurement(measurement) => *measurement,
        other => panic!("{other:?}"),
    });
    // A body at the limit of nesting is beyond it when it is pushed.
    if !(pushed.is_err() && all[1].is_ok()) {
        agree(&pushed, &v2_measurement(&again));
    }
});

//! Bodies and login challenges of Shelly devices.
//!
//! Every number that is given is possible; messages are short; the same JSON written in another way gives the same; an
//! answer to a challenge is one header line.
#![no_main]

use gridkeeper_fuzz::codec::http_auth::{Credentials, Scheme, scheme};
use gridkeeper_fuzz::codec::json::Malformed;
use gridkeeper_fuzz::codec::sample::Sample;
use gridkeeper_fuzz::codec::shelly::{device, gen1, rpc, uptime};
use gridkeeper_fuzz::{assert_sane, same, written_anew};
use libfuzzer_sys::fuzz_target;

/// What every reader makes of a body.
fn read(body: &[u8]) -> Vec<Result<Sample, Malformed>> {
    let mut samples = vec![
        rpc::em(body),
        rpc::em_data(body),
        rpc::em1(body),
        rpc::em1_data(body),
        rpc::switch(body),
        gen1::status(body, gen1::Source::Phases),
    ];
    for at in 0..4 {
        samples.extend([gen1::status(body, gen1::Source::Clamp(at)), gen1::status(body, gen1::Source::Relay(at))]);
    }
    for sample in &samples {
        match sample {
            Ok(sample) => assert_sane(sample),
            Err(error) => assert!(error.to_string().len() <= 8000, "{error}"),
        }
    }
    samples
}

fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Scheme::Digest(challenge)) = scheme(text) {
        let who = Credentials { username: "admin", password: "secret" };
        let answer = challenge.answer(who, "GET", "/rpc/EM.GetStatus?id=0", 1, "0a4f113b");
        assert!(answer.starts_with("Digest ") && answer.len() <= text.len() * 2 + 500);
        // What the device sent may not begin a header of its own.
        assert!(text.contains(['\r', '\n']) || !answer.contains(['\r', '\n']), "{answer:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    challenge(data);
    let samples = read(data);
    if let Ok(device) = device(data) {
        assert!(device.generation >= 1 && device.model.is_none_or(|it| it.chars().count() <= 64));
    }
    for channel in [None, Some(0), Some(3)] {
        let _ = (rpc::source(data, channel), gen1::source(data, channel));
    }
    let _ = (rpc::output(data), rpc::input(data), gen1::relay(data), gen1::input(data, 1), uptime(data));
    if let Some(again) = written_anew(data) {
        for (one, other) in samples.iter().zip(&read(&again)) {
            match (one, other) {
                (Ok(one), Ok(other)) => assert!(same(one, other), "{one:?} {other:?}"),
                (Err(_), Err(_)) => {}
                _ => panic!("{one:?} {other:?}"),
            }
        }
    }
});

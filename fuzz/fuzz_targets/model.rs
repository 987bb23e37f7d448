//! Answers of Modbus meters through every embedded model, and model files.
//!
//! Every value that is given is finite and plausible, and there is one outcome for each value of the poll; a shorter
//! answer never gives a value that the longer one does not; both word orders agree on turned words; a chain of SunSpec
//! blocks always comes to an end; a file that is accepted decodes like one of ours.
#![no_main]

use std::sync::LazyLock;

use gridkeeper_fuzz::codec::model::{Chain, ChainStep, Kind, Model, Poll, WordOrder};
use libfuzzer_sys::fuzz_target;

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/models");
    let files = std::fs::read_dir(folder).expect("the models of this repository");
    let models: Vec<Model> = files
        .map(|it| {
            let text = std::fs::read_to_string(it.expect("a folder entry").path()).expect("a text");
            Model::parse("embedded", &text).expect("our own files are right")
        })
        .collect();
    assert!(models.len() > 20);
    models
});

fn decodes(poll: &Poll, words: &[u16]) {
    let whole: Vec<_> = poll.decode(words).collect();
    assert_eq!(whole.len(), poll.values.len());
    for (decoded, value) in whole.iter().zip(&poll.values) {
        let (low, high) = value.key.quantity.nature().plausible;
        let Ok(number) = decoded.value else { continue };
        assert!(number.is_finite() && (low..=high).contains(&number), "{decoded:?}");
        assert!((value.plausible.0..=value.plausible.1).contains(&number), "{decoded:?}");
    }
    let half = &words[..words.len() / 2];
    for (short, long) in poll.decode(half).zip(&whole) {
        assert!(short.value.is_err() || short.value == long.value, "{short:?} {long:?}");
    }
}

fn orders_agree(words: &[u16]) {
    let kinds = [Kind::U16, Kind::I16, Kind::U32, Kind::I32, Kind::U64, Kind::I64, Kind::F32, Kind::F64];
    for kind in kinds.into_iter().chain([Kind::IskraT5, Kind::IskraT6, Kind::IskraT7]) {
        let Some(own) = words.get(..usize::from(kind.words())) else { continue };
        let turned: Vec<u16> = own.iter().rev().copied().collect();
        assert_eq!(kind.read(own, WordOrder::HighFirst), kind.read(&turned, WordOrder::LowFirst));
        assert_eq!(kind.read(&words[..own.len() - 1], WordOrder::HighFirst), None);
    }
}

fn chain_ends(words: &[u16]) {
    let (mut chain, mut asked) = (Chain::new(), 0);
    let mut answers = words.chunks_exact(2).map(|it| [it[0], it[1]]);
    loop {
        asked += 1;
        assert!(asked <= 80, "a chain without an end");
        // The marker, so that most inputs get past it.
        let answer = if asked == 1 { Some([0x5375, 0x6E53]) } else { answers.next() };
        match chain.take(answer, &[203, 213]) {
            Ok(ChainStep::Read(at)) => assert_eq!(at, chain.next()),
            Ok(ChainStep::Found { model, .. }) => {
                assert!(model == 203 || model == 213);
                return;
            }
            Err(_) => return,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let words: Vec<u16> = data.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
    for poll in MODELS.iter().flat_map(|it| &it.polls) {
        decodes(poll, &words);
    }
    orders_agree(&words);
    chain_ends(&words);
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Model::parse("fuzz", text) {
        Ok(model) => {
            assert!(!model.polls.is_empty());
            for poll in &model.polls {
                assert!((1..=125).contains(&poll.count));
                decodes(poll, &words);
            }
        }
        Err(errors) => {
            assert!((1..=50).contains(&errors.list.len()), "{errors}");
            assert!(errors.to_string().len() <= 100_000, "{errors}");
        }
    }
});

//! An input that follows the tariff word in the telegrams of a P1 meter (0-0:96.14.0). Which word means low tariff
//! differs between countries: 0001 in the Netherlands, 0002 in Belgium. So the configuration names the words.

use crate::quantity::Mono;
use crate::reading::InputReading;
use crate::status::{MeterValues, Value};

/// Key of the word among a meter's values.
const KEY: &str = "tariff";
/// A meter that sends telegrams without the word for so many frames in a row has none.
const WITHOUT: u32 = 3;

/// One such input.
#[derive(Clone, Debug)]
pub struct TariffInput {
    /// Place of the input in the configuration.
    pub input: usize,
    /// Place of the meter.
    pub meter: usize,
    words: Vec<String>,
    without: u32,
    lost: bool,
}

impl TariffInput {
    /// Active while the meter's word is one of `words`.
    #[must_use]
    pub fn new(input: usize, meter: usize, words: Vec<String>) -> Self {
        Self { input, meter, words, without: 0, lost: false }
    }

    /// A frame of its meter; `None`: it says nothing about the tariff yet.
    pub fn frame(&mut self, values: &MeterValues, at: Mono) -> Option<InputReading> {
        let word = match values.values.get(KEY) {
            Some(Value::Text(word)) => Some(word.as_str()),
            Some(Value::Number { .. }) | None => None,
        };
        let active = match word {
            Some(word) => {
                self.without = 0;
                Some(self.words.iter().any(|it| same(it, word)))
            }
            None => {
                self.without = self.without.saturating_add(1);
                if self.without < WITHOUT {
                    return None;
                }
                None
            }
        };
        self.lost = active.is_none();
        Some(InputReading { received_at: at, active })
    }

    /// Its meter is lost, or is not any more: `Some` when that has to be told.
    pub fn meter_lost(&mut self, lost: bool, now: Mono) -> Option<InputReading> {
        let news = lost && !self.lost;
        self.lost |= lost;
        news.then_some(InputReading { received_at: now, active: None })
    }
}

/// Meters send four digits, people write one.
fn same(configured: &str, word: &str) -> bool {
    let plain = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    match (plain(configured), plain(word)) {
        (Some(a), Some(b)) => a == b,
        _ => configured == word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(word: Option<&str>) -> MeterValues {
        let mut values = MeterValues::default();
        if let Some(word) = word {
            values.values.insert(KEY.into(), Value::Text(word.into()));
        }
        values
    }

    #[test]
    fn the_configured_words_are_active_whatever_the_country() {
        let mut dutch = TariffInput::new(0, 0, vec!["0001".into()]);
        let mut belgian = TariffInput::new(0, 0, vec!["2".into()]);
        let mut active = |word| {
            let values = frame(Some(word));
            [&mut dutch, &mut belgian].map(|it| it.frame(&values, Mono(5)).and_then(|it| it.active))
        };
        assert_eq!(active("0001"), [Some(true), Some(false)]);
        assert_eq!(active("0002"), [Some(false), Some(true)]);
        assert_eq!(active("0003"), [Some(false), Some(false)]);
        assert_eq!(active("peak"), [Some(false), Some(false)]);
    }

    #[test]
    fn a_meter_without_the_word_is_a_lost_input_and_one_frame_without_is_not() {
        let mut input = TariffInput::new(0, 0, vec!["1".into()]);
        assert!(input.frame(&frame(Some("0001")), Mono(0)).is_some());
        assert_eq!(input.frame(&frame(None), Mono(1)), None);
        assert_eq!(input.frame(&frame(None), Mono(2)), None);
        let lost = input.frame(&frame(None), Mono(3));
        assert_eq!(lost, Some(InputReading { received_at: Mono(3), active: None }));
        assert_eq!(input.frame(&frame(Some("0001")), Mono(4)).and_then(|it| it.active), Some(true));
    }

    #[test]
    fn it_is_lost_with_its_meter_and_told_once() {
        let mut input = TariffInput::new(0, 0, vec!["1".into()]);
        input.frame(&frame(Some("0001")), Mono(0));
        assert_eq!(input.meter_lost(false, Mono(1)), None);
        assert_eq!(input.meter_lost(true, Mono(2)), Some(InputReading { received_at: Mono(2), active: None }));
        assert_eq!(input.meter_lost(true, Mono(3)), None);
        assert!(input.frame(&frame(Some("0001")), Mono(4)).is_some());
        assert!(input.meter_lost(true, Mono(5)).is_some());
    }
}

//! One input: its level after the debounce time, and when it is lost.

use crate::quantity::Mono;
use crate::reading::InputReading;

use super::interface::{InputSetup, InputStatus};

/// What changed about being readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Lost,
    Back,
}

/// An input with its past.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) setup: InputSetup,
    born: Mono,
    /// `None` while it is unknown or lost.
    active: Option<bool>,
    heard_at: Option<Mono>,
    /// A level that differs, and since when.
    changing: Option<(bool, Mono)>,
    told_lost: bool,
}

impl Input {
    pub(super) fn new(setup: InputSetup, born: Mono) -> Self {
        Self { setup, born, active: None, heard_at: None, changing: None, told_lost: false }
    }

    pub(super) fn active(&self) -> Option<bool> {
        self.active
    }

    /// Takes in what was read. After an unknown time the first good reading counts at once.
    pub(super) fn hear(&mut self, reading: InputReading) -> Option<Turn> {
        let Some(level) = reading.active else { return self.lose() };
        self.heard_at = Some(reading.received_at);
        let known = *self.active.get_or_insert(level);
        if level == known {
            self.changing = None;
        } else if self.changing.is_none_or(|(to, _)| to != level) {
            self.changing = Some((level, reading.received_at));
        }
        self.settle(reading.received_at);
        std::mem::take(&mut self.told_lost).then_some(Turn::Back)
    }

    /// Lets time pass: a change comes into force, an old reading goes out of it.
    pub(super) fn tick(&mut self, now: Mono) -> Option<Turn> {
        if self.lapses_at().is_some_and(|end| now >= end) {
            return self.lose();
        }
        self.settle(now);
        None
    }

    /// When `tick` will next change something.
    pub(super) fn next_turn(&self) -> Option<Mono> {
        let settles = self.changing.map(|(_, since)| since + self.setup.debounce);
        let lapses = self.lapses_at().filter(|_| !self.told_lost);
        [settles, lapses].into_iter().flatten().min()
    }

    pub(super) fn status(&self) -> InputStatus {
        InputStatus { active: self.active, heard_at: self.heard_at }
    }

    fn lapses_at(&self) -> Option<Mono> {
        self.setup.max_age.map(|age| self.heard_at.unwrap_or(self.born) + age)
    }

    fn settle(&mut self, now: Mono) {
        if let Some((level, since)) = self.changing
            && now.since(since) >= self.setup.debounce
        {
            self.active = Some(level);
            self.changing = None;
        }
    }

    fn lose(&mut self) -> Option<Turn> {
        self.active = None;
        self.changing = None;
        (!std::mem::replace(&mut self.told_lost, true)).then_some(Turn::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::interface::InputMeaning;
    use crate::quantity::Span;

    fn input(debounce: i64, max_age: Option<i64>) -> Input {
        let setup = InputSetup {
            id: "tariff".to_owned(),
            meaning: InputMeaning::LowTariff,
            max_age: max_age.map(Span::from_secs),
            debounce: Span(debounce),
        };
        Input::new(setup, Mono(0))
    }

    fn hear(input: &mut Input, at: i64, active: Option<bool>) -> Option<Turn> {
        input.hear(InputReading { received_at: Mono(at), active })
    }

    #[test]
    fn a_contact_that_chatters_changes_nothing_until_it_rests() {
        let mut input = input(1_000, None);
        assert_eq!(hear(&mut input, 0, Some(false)), None);
        assert_eq!(input.active(), Some(false), "the first reading counts at once");
        for at in (1_000..4_000).step_by(300) {
            hear(&mut input, at, Some(at % 600 == 100));
            assert_eq!(input.active(), Some(false));
        }
        hear(&mut input, 4_000, Some(true));
        assert_eq!(input.next_turn(), Some(Mono(4_700)), "active since its last change, at 3.7 s");
        input.tick(Mono(4_699));
        assert_eq!(input.active(), Some(false));
        input.tick(Mono(4_700));
        assert_eq!((input.active(), input.next_turn()), (Some(true), None));
    }

    #[test]
    fn an_old_reading_is_no_reading() {
        let mut input = input(0, Some(30));
        assert_eq!(input.tick(Mono(29_999)), None);
        assert_eq!(input.tick(Mono(30_000)), Some(Turn::Lost), "never heard");
        assert_eq!(input.tick(Mono(31_000)), None, "told once");
        assert_eq!(hear(&mut input, 40_000, Some(true)), Some(Turn::Back));
        assert_eq!((input.active(), input.next_turn()), (Some(true), Some(Mono(70_000))));
        assert_eq!(input.tick(Mono(70_000)), Some(Turn::Lost));
        assert_eq!(input.active(), None);
        assert_eq!(hear(&mut input, 71_000, None), None, "told already");
        assert_eq!(hear(&mut input, 72_000, Some(false)), Some(Turn::Back));
        assert_eq!(input.active(), Some(false), "a change is not debounced when nothing was known before");
    }
}

//! The registers that decide whether a meter's signs and sizes can be believed: what they have said, and what follows.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::model::{Mode, Model};

/// What a register has said holds for so long. Each is asked again much oftener.
const HOLDS: Duration = Duration::from_secs(300);
/// Refused so often one after the other, and for so long, a register is not there: a meter that starts up refuses
/// registers that it has.
const REFUSALS: u32 = 3;
const STARTING: Duration = Duration::from_secs(60);
/// Asked so often in vain, it is not waited for any longer where only signs hang on it. Fewer than the failed rounds after
/// which a meter counts as gone, or it would be gone first.
const SILENT: u32 = 2;

/// What of a meter can be believed; later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Everything.
    All,
    /// Whatever has a direction may be wrong.
    NoSigns,
    /// Every reading may be wrong.
    Nothing,
}

/// What is known of a register.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Finding {
    /// Nobody has answered.
    #[default]
    Unknown,
    Word {
        word: u16,
        at: Instant,
    },
    /// With this exception, so often one after the other.
    Refused {
        code: u8,
        times: u32,
        since: Instant,
    },
    /// So often it gave neither an answer nor a refusal of its own.
    Silent {
        times: u32,
    },
}

impl Finding {
    /// It says what it should, and has said so lately.
    fn is_right(self, mode: &Mode, now: Instant) -> bool {
        matches!(self, Self::Word { word, at } if mode.wanted.contains(&word) && now.duration_since(at) < HOLDS)
    }

    /// There is no such register.
    fn is_absent(self, now: Instant) -> bool {
        matches!(self, Self::Refused { times: REFUSALS.., since, .. } if now.duration_since(since) >= STARTING)
    }

    fn is_wrong(self, mode: &Mode) -> bool {
        matches!(self, Self::Word { word, .. } if !mode.wanted.contains(&word))
    }
}

/// Per mode register of the model: what it has said since the meter was there.
#[derive(Debug)]
pub(super) struct Modes {
    findings: Vec<Finding>,
}

impl Modes {
    pub(super) fn new(model: &Model) -> Self {
        Self { findings: vec![Finding::Unknown; model.modes.len()] }
    }

    /// Those without which nothing can be told: they have neither answered nor refused yet. One on which only signs hang
    /// is given up where it stays silent.
    pub(super) fn unknown(&self, modes: &[Mode]) -> Vec<usize> {
        let is_unknown = |(mode, finding): (&Mode, &Finding)| match finding {
            Finding::Unknown => true,
            Finding::Silent { times } => mode.everything || *times < SILENT,
            Finding::Word { .. } | Finding::Refused { .. } => false,
        };
        (0..modes.len()).filter(|index| is_unknown((&modes[*index], &self.findings[*index]))).collect()
    }

    /// Nobody has said anything about the register.
    pub(super) fn silent(&mut self, index: usize) {
        let finding = &mut self.findings[index];
        match finding {
            Finding::Unknown => *finding = Finding::Silent { times: 1 },
            Finding::Silent { times } => *times = times.saturating_add(1),
            // What it has said once it has said.
            Finding::Word { .. } | Finding::Refused { .. } => {}
        }
    }

    pub(super) fn answered(&mut self, index: usize, word: u16, now: Instant) {
        self.findings[index] = Finding::Word { word, at: now };
    }

    /// The register is said not to be there. That takes nothing back: one that was wrong stays so until it is right.
    pub(super) fn refused(&mut self, index: usize, mode: &Mode, code: u8, now: Instant) {
        let finding = &mut self.findings[index];
        if finding.is_wrong(mode) || finding.is_right(mode, now) {
            return;
        }
        let (times, since) =
            if let Finding::Refused { times, since, .. } = finding { (*times, *since) } else { (0, now) };
        *finding = Finding::Refused { code, times: times.saturating_add(1), since };
    }

    /// It need not be asked again soon.
    pub(super) fn is_settled(&self, index: usize, now: Instant) -> bool {
        let finding = self.findings[index];
        matches!(finding, Finding::Word { .. }) || finding.is_absent(now)
    }

    /// What can be believed, and the risk in one sentence where that is not all, or could not be looked at.
    pub(super) fn judge(&self, modes: &[Mode], now: Instant) -> (Trust, Option<String>) {
        let mut trust = Trust::All;
        let mut complaints = Vec::new();
        for (mode, finding) in modes.iter().zip(&self.findings) {
            if finding.is_right(mode, now) {
                continue;
            }
            let Mode { address, otherwise, .. } = mode;
            complaints.push(match finding {
                Finding::Word { word, .. } if finding.is_wrong(mode) => {
                    format!("{otherwise} (register {address} is {word})")
                }
                Finding::Refused { code, .. } => {
                    format!("it may be that {otherwise} (register {address} is refused with exception {code})")
                }
                Finding::Word { .. } => {
                    format!("it may be that {otherwise} (register {address} does not answer any more)")
                }
                Finding::Unknown | Finding::Silent { .. } => {
                    format!("it may be that {otherwise} (register {address} has not answered yet)")
                }
            });
            // Clones and old firmware have no such register; their signs are those of the file. Nobody can know their ratio.
            trust = trust.max(match (mode.everything, finding.is_absent(now)) {
                (true, _) => Trust::Nothing,
                (false, true) => Trust::All,
                (false, false) => Trust::NoSigns,
            });
        }
        if complaints.is_empty() {
            return (trust, None);
        }
        let what = match trust {
            Trust::All => "its signs are taken as they come: compare them with its display",
            Trust::NoSigns => "its powers and counters are not used, its currents count as import",
            Trust::Nothing => "nothing of it is used",
        };
        (trust, Some(format!("{}; {what}", complaints.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meter_models;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn model(id: &str) -> Model {
        meter_models::embedded().into_iter().find(|it| it.id == id).unwrap()
    }

    #[test]
    fn a_register_that_is_refused_again_and_again_is_not_there_and_that_is_a_risk() {
        let (model, start) = (model("carlo-gavazzi-em24"), Instant::now());
        let mode = &model.modes[0];
        let mut modes = Modes::new(&model);
        assert_eq!(modes.judge(&model.modes, start).0, Trust::NoSigns);
        for second in (0..60).step_by(5) {
            modes.refused(0, mode, 2, after(start, second));
            let now = after(start, second);
            assert_eq!(
                (modes.judge(&model.modes, now).0, modes.is_settled(0, now)),
                (Trust::NoSigns, false),
                "{second}"
            );
        }
        let start = after(start, 60);
        modes.refused(0, mode, 2, start);
        assert!(modes.is_settled(0, start));
        let (trust, risk) = modes.judge(&model.modes, start);
        let risk = risk.unwrap();
        assert_eq!(trust, Trust::All);
        assert!(risk.contains("register 4353 is refused with exception 2") && risk.contains("display"), "{risk}");
        modes.answered(0, 7, start);
        assert_eq!(modes.judge(&model.modes, start), (Trust::All, None));
    }

    #[test]
    fn a_ratio_that_cannot_be_known_is_never_believed() {
        let (model, start) = (model("chint-dtsu666"), Instant::now());
        let mut modes = Modes::new(&model);
        modes.answered(1, 10, start);
        for second in 0..100 {
            modes.refused(0, &model.modes[0], 2, after(start, second));
        }
        let (trust, risk) = modes.judge(&model.modes, after(start, 100));
        assert_eq!(trust, Trust::Nothing);
        assert!(risk.unwrap().ends_with("exception 2); nothing of it is used"));
    }

    #[test]
    fn what_was_wrong_stays_so_through_refusals_and_what_was_right_holds_for_minutes() {
        let (model, start) = (model("carlo-gavazzi-em24"), Instant::now());
        let mode = &model.modes[0];
        let mut modes = Modes::new(&model);
        modes.answered(0, 0, start);
        for second in 0..600 {
            modes.refused(0, mode, 2, after(start, second));
        }
        assert_eq!(modes.judge(&model.modes, after(start, 600)).0, Trust::NoSigns);
        modes.answered(0, 7, start);
        modes.refused(0, mode, 2, after(start, 299));
        assert_eq!(modes.judge(&model.modes, after(start, 299)), (Trust::All, None));
        let (trust, risk) = modes.judge(&model.modes, after(start, 300));
        assert_eq!(trust, Trust::NoSigns);
        assert!(risk.unwrap().contains("does not answer any more"));
    }
}

//! Which mode is in force: the chosen one, unless the session has had its energy or the low tariff changes it.

use crate::control::charger::Charger;
use crate::control::controller::{Controller, Signals};
use crate::control::interface::{Detail, LimitReason, Mode};
use crate::control::want::Want;
use crate::quantity::Milliamp;

/// It runs on what the sun leaves.
pub(super) fn follows_sun(mode: Mode) -> bool {
    matches!(mode, Mode::Eco | Mode::EcoPlus | Mode::Solar)
}

/// The mode in force now; `None` where the session has ended by its limit and no other mode follows.
pub(in crate::control) fn mode(charger: &Charger, signals: Signals) -> Option<Mode> {
    let settings = &charger.settings;
    // What was had stays had where its counter falls.
    let had = charger.session_energy().or_else(|| charger.session.counted_at_least());
    let spent = settings.session_limit.is_some_and(|limit| had.is_some_and(|had| had >= limit));
    let chosen = if spent { settings.mode_after_session? } else { settings.mode };
    let cheap = settings.low_tariff_fast && signals.low_tariff == Some(true);
    Some(if cheap && chosen != Mode::Off { Mode::Fast } else { chosen })
}

impl Controller {
    /// The mode and the tariff as ceilings of one charger; what follows the sun gets its ceiling when all are known.
    pub(in crate::control) fn want_by_mode(&self, charger: &Charger, want: &mut Want) {
        let settings = &charger.settings;
        match mode(charger, self.signals) {
            None => want.forbid(LimitReason::SessionLimit),
            Some(Mode::Off) => want.forbid(LimitReason::Off),
            Some(Mode::Fixed) => want.lower(settings.fixed_current, LimitReason::Fixed),
            Some(Mode::Fast | Mode::Eco | Mode::EcoPlus | Mode::Solar) => {}
        }
        let low = self.signals.low_tariff == Some(true);
        if settings.low_tariff_only && !low {
            want.forbid(LimitReason::Tariff);
        } else if low && (settings.low_tariff_only || settings.low_tariff_fast) {
            let cap = settings.low_tariff_max;
            want.lower_with(cap, LimitReason::Tariff, Detail::LowTariffMax, Some(cap));
        }
        if want.cap < Milliamp::ZERO {
            want.cap = Milliamp::ZERO;
        }
    }
}

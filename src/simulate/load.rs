//! Currents of three phases with what is reactive in them.

/// In A per phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// In phase with the voltage, import positive.
    pub(super) active: [f64; 3],
    /// A quarter of a period away from it.
    pub(super) reactive: [f64; 3],
}

impl Load {
    /// Nothing of it is reactive.
    pub(super) fn of(active: [f64; 3]) -> Self {
        Self { active, reactive: [0.0; 3] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for phase in 0..3 {
            self.active[phase] += other.active[phase];
            self.reactive[phase] += other.reactive[phase];
        }
    }

    /// What flows, with the sign of the active part, as meters tell it.
    pub(super) fn flows(&self) -> [f64; 3] {
        let mut flows = self.active;
        for (active, reactive) in flows.iter_mut().zip(self.reactive) {
            *active = active.hypot(reactive).copysign(*active);
        }
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_is_more_than_what_is_active() {
        let mut load = Load::of([3.0, -3.0, 5.0]);
        load.add(&Load { active: [0.0; 3], reactive: [4.0, -4.0, 0.0] });
        assert_eq!(load.flows(), [5.0, -5.0, 5.0]);
    }
}

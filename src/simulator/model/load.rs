//! The house behind the meter: appliances that switch, a roof that shines.

use super::random::Random;
use crate::quantity::{Mono, Phases, Span};
use crate::simulator::plan::{Appliance, HousePlan, Sun};

/// One appliance with its switch.
#[derive(Clone, Debug)]
struct Switched {
    plan: Appliance,
    on_since: Option<Mono>,
    next: Mono,
}

impl Switched {
    fn new(plan: Appliance, random: &mut Random) -> Self {
        Self { plan, on_since: None, next: Mono(0) + random.span(plan.first) }
    }

    /// Ampere per phase at `now`.
    fn current(&mut self, now: Mono, random: &mut Random) -> [f64; 3] {
        while now >= self.next {
            let switched_at = self.next;
            let range = if self.on_since.is_some() { self.plan.off } else { self.plan.on };
            self.on_since = if self.on_since.is_some() { None } else { Some(switched_at) };
            self.next = switched_at + Span(random.span(range).0.max(1));
        }
        let Some(since) = self.on_since else { return [0.0; 3] };
        let mut running = now.since(since);
        if let Some((heats, rests)) = self.plan.duty {
            running = Span(running.0 % (heats.0 + rests.0).max(1));
            if running >= heats {
                return [0.0; 3];
            }
        }
        let factor = match self.plan.inrush {
            Some((factor, how_long)) if running < how_long => factor,
            _ => 1.0,
        };
        self.plan.current.0.map(|it| it.as_f64() * factor)
    }
}

/// A sky whose clouds come and go, followed smoothly.
#[derive(Clone, Debug)]
struct Sky {
    plan: Sun,
    clear: f64,
    goal: f64,
    next: Mono,
}

impl Sky {
    fn watts(&mut self, now: Mono, step: Span, random: &mut Random) -> f64 {
        if now >= self.next {
            self.goal = 1.0 - self.plan.clouds * random.unit();
            let period = self.plan.cloud_period.0.max(1) as f64;
            self.next = now + Span(random.between(0.5 * period, 1.5 * period) as i64);
        }
        // An edge of a cloud takes about two seconds to pass the roof.
        self.clear += (self.goal - self.clear) * (step.as_secs_f64() / 2.0).min(1.0);
        f64::from(self.plan.peak.0) * self.clear
    }
}

/// Everything that is not a charger.
#[derive(Clone, Debug)]
pub(super) struct Load {
    appliances: Vec<Switched>,
    sky: Option<Sky>,
    /// What the sky gave last, in W.
    sun: f64,
}

impl Load {
    pub(super) fn new(plan: &HousePlan, random: &mut Random) -> Self {
        Self {
            appliances: plan.appliances.iter().map(|it| Switched::new(*it, random)).collect(),
            sky: plan.sun.clone().map(|plan| Sky { clear: 1.0 - plan.clouds / 2.0, goal: 1.0, next: Mono(0), plan }),
            sun: 0.0,
        }
    }

    /// What the roof gives now, in W.
    pub(super) fn sun(&self) -> f64 {
        self.sun
    }

    /// Ampere per phase, import positive.
    pub(super) fn current(&mut self, now: Mono, step: Span, voltage: f64, random: &mut Random) -> Phases<f64> {
        let mut sum = Phases([0.0; 3]);
        for appliance in &mut self.appliances {
            let current = appliance.current(now, random);
            for (total, part) in sum.0.iter_mut().zip(current) {
                *total += part;
            }
        }
        if let Some(sky) = &mut self.sky {
            self.sun = sky.watts(now, step, random);
            let amps = self.sun / voltage / sky.plan.phases.len().max(1) as f64;
            for &phase in &sky.plan.phases {
                sum[phase] -= amps;
            }
        }
        sum
    }
}

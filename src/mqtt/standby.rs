//! Who of two on one base topic speaks: what follows from what [`Peers`](super::peers::Peers) knows.

use tokio::time::Instant;

use super::command::shorten;
use super::link::Role;
use super::outbox::Outbox;
use super::peers::Verdict;
use super::service::{Phase, Service};
use super::status::LinkState;
use crate::quantity::Mono;

impl Service {
    /// Somebody else may live on this base: what follows from what is known now.
    pub(super) fn decide(&mut self) {
        let now = self.now();
        let at = |until: Mono| Instant::now() + until.since(now).to_std();
        let looking = self.looking;
        let patience = self.peers.patience_ends(self.options.tuning.take_over).filter(|until| looking && now < *until);
        let verdict = match (self.peers.verdict(now), patience) {
            (Verdict::Alone | Verdict::Unsure(_), Some(until)) => Verdict::Taken(until),
            (verdict, _) => verdict,
        };
        match (verdict, self.phase) {
            (_, Phase::Down) => {}
            (Verdict::Alone, Phase::Serving) => {}
            (Verdict::Alone | Verdict::Unsure(_), Phase::Arriving(until)) => {
                if Instant::now() >= until {
                    self.serve();
                }
            }
            (_, Phase::Serving) => {
                if self.peers.must_yield(now) {
                    self.stand_by(at(now));
                }
            }
            (Verdict::Alone, _) if looking => {
                // Once more, this time with a last will.
                self.phase = Phase::Down;
                self.looking = false;
                self.report(LinkState::Connecting, None);
                self.link.become_role(Role::Serve);
            }
            (Verdict::Alone, _) => self.arrive(),
            (Verdict::Unsure(until), _) => {
                self.phase = Phase::Doubting(at(until));
                if !looking {
                    let other = shorten(self.peers.other().unwrap_or("?"));
                    let problem = format!(
                        "traces of another instance (`{other}`) on base topic `{}`: waiting whether it is alive",
                        self.topics.base()
                    );
                    self.report(LinkState::Connecting, Some(problem));
                }
            }
            (Verdict::Taken(until), _) if looking => self.phase = Phase::Standby(at(until)),
            (Verdict::Taken(until), _) => self.stand_by(at(until)),
        }
    }

    fn stand_by(&mut self, until: Instant) {
        let problem = self.taken();
        tracing::warn!("MQTT: {problem}");
        self.phase = Phase::Standby(until);
        self.looking = true;
        self.link.close();
        self.link.send(Outbox::drop_queue);
        self.report(LinkState::Standby, Some(problem));
        self.link.become_role(Role::Look);
    }

    pub(super) fn taken(&self) -> String {
        let other = shorten(self.peers.other().unwrap_or("?"));
        if self.peers.is_copy() {
            return format!(
                "another appliance with our own name (`{other}`) serves base topic `{}`, as after a copied data \
                 directory: publishing and obeying nothing, charging is controlled as before; delete `instance` in the \
                 data directory of one, and give it another [mqtt] base_topic",
                self.topics.base()
            );
        }
        format!(
            "another instance (`{other}`) serves base topic `{}`: publishing and obeying nothing, charging is \
             controlled as before; give one of them another [mqtt] base_topic",
            self.topics.base()
        )
    }
}

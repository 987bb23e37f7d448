//! The decision: a pure function of time, readings, settings and its own state. No clock, no I/O, no async.
//!
//! A step runs through these files: `meter` (with `sampling`) and `charger` (with `link`, `obey`, `session`, `taper`,
//! `draw`) and `input` take in what was heard, `house` and `circuit` turn it into room per fuse and phase, `want` and `demand`
//! say what each charger may get of it, `decide` divides the room (`allocate`) and holds back raises (`raise`), `publish` says what was
//! decided and `reason` why.

mod allocate;
mod budget;
mod charger;
mod circuit;
mod controller;
mod cut;
mod decide;
mod demand;
mod dim;
mod draw;
mod flow;
mod house;
mod input;
pub mod interface;
mod link;
mod lost;
mod masked;
mod meter;
mod obey;
mod overload;
mod phase_choice;
mod phase_switch;
mod phases;
mod publish;
mod quarter;
mod raise;
mod reason;
mod running_mean;
mod sampling;
mod session;
mod settings;
mod taper;
mod turn;
mod wake;
mod want;

pub use controller::{Controller, Decision};
pub use interface::*;
pub use session::{ModeAfter, SessionMemory};
pub(crate) use settings::{
    ACTIONS as ACTION_SETTINGS, CHARGER as CHARGER_SETTINGS, SITE as SITE_SETTINGS, among, boolean, pressed,
};
pub use settings::{MOST_KW, SESSION_KWH};

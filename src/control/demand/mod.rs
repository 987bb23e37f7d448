//! What a charger may take by its mode: surplus, tariff, session. The fuses come after, and only ever leave less.
//!
//! `sun` finds the surplus, `battery` what comes before it, `account` decides who runs on it, `level` how high, `share`
//! goes through cars and relays in one order of priority, `claim` says how much of it each may keep from the next,
//! `tariff` says which mode is in force, `relay` switches the relays, `room` says what the fuses leave for them, `shed` has
//! cars make room for them.

mod account;
mod battery;
mod claim;
mod level;
mod relay;
mod room;
mod share;
mod shed;
mod sun;
mod tariff;

pub(in crate::control) use level::Solar;
pub(in crate::control) use relay::{Relay, Turn as RelayTurn};
pub(in crate::control) use share::{Member, Order};
pub(in crate::control) use sun::Sun;
pub(in crate::control) use tariff::mode;

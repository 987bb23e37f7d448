//! The appliance around the controller: what its device tasks do while nobody decides.

use crate::command::{ChargerCommand, Contact};
use crate::quantity::{Mono, Span};

use super::Seam;
use super::scenario::ApplianceTurn;

/// The lease of an order; past it a device task acts by itself.
const LEASE: Span = Span::from_secs(5);

/// Whether it runs, and what it left behind.
#[derive(Debug)]
pub(super) struct Appliance {
    turn: ApplianceTurn,
    since: Mono,
    orders: Vec<ChargerCommand>,
}

impl Appliance {
    pub(super) fn new() -> Self {
        Self { turn: ApplianceTurn::Started, since: Mono(0), orders: Vec::new() }
    }

    pub(super) fn runs(&self) -> bool {
        self.turn == ApplianceTurn::Started
    }

    pub(super) fn turn(&mut self, now: Mono, turn: ApplianceTurn) {
        (self.turn, self.since) = (turn, now);
    }

    /// What the device tasks write in this second.
    pub(super) fn orders(&mut self, now: Mono, seam: &Seam) -> &[ChargerCommand] {
        self.orders.clone_from(&seam.controller.decision().commands);
        let silent = |order: &mut ChargerCommand| order.contact = Contact::Quiet;
        let age = now.since(self.since);
        match self.turn {
            ApplianceTurn::Started => {}
            ApplianceTurn::Killed => self.orders.iter_mut().for_each(silent),
            ApplianceTurn::Stopped if age == Span::ZERO => {
                for (order, last) in self.orders.iter_mut().zip(seam.controller.orderly_stop()) {
                    order.offer = Some(last);
                }
            }
            ApplianceTurn::Hung if age < LEASE => {}
            ApplianceTurn::Hung if age == LEASE => {
                for order in &mut self.orders {
                    order.offer = order.offer.map(|offer| offer.min(order.fail_safe));
                }
            }
            ApplianceTurn::Stopped | ApplianceTurn::Hung => self.orders.iter_mut().for_each(silent),
        }
        &self.orders
    }
}

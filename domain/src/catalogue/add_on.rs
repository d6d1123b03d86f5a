//! Add-ons: features that are sold beside a tier. Here only the catalogue's entry.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Code, Money, Text};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

events! {
    /// What can have happened to an add-on.
    pub enum Event {
        /// The add-on is offered like this from now on.
        AddOnPublished = "add_on_published" 1 "catalogue.add_on.publish" {
            /// Which.
            add_on: Code,
            /// The name that people read.
            name: Text,
            /// Price of a month.
            price_month: Money,
            /// What it includes, in the unit of each limit.
            limits: BTreeMap<Code, u64>,
            /// What it switches on.
            features: BTreeSet<Code>,
        }
    }
}

/// What can be asked of an add-on's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Offer it like this.
    Publish(Box<AddOnPublished>),
}

/// Why an add-on's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A price below zero.
    #[error("the price of an add-on cannot be negative")]
    NegativePrice,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NegativePrice => "ADD_ON_PRICE_NEGATIVE",
        }
    }
}

/// An add-on as it is offered now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddOn {
    /// The offer; `None` when there never was one.
    pub offer: Option<AddOnPublished>,
}

impl Aggregate for AddOn {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "add_on";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Publish(offer) = command;
        if offer.price_month.minor() < 0 {
            return Err(Refusal::NegativePrice);
        }
        if self.offer.as_ref() == Some(&*offer) {
            return Ok(vec![]);
        }
        Ok(vec![Event::AddOnPublished(*offer)])
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::AddOnPublished(offer) => self.offer = Some(offer.clone()),
        }
        self
    }
}

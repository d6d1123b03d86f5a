//! Credit packs: credits that are sold at the pack's own price.
//!
//! What a credit is worth when it is spent does not depend on what was paid for it; the difference
//! is margin and is recorded with the purchase.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Code, Credits, Money};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

events! {
    /// What can have happened to a credit pack.
    pub enum Event {
        /// The pack is offered like this from now on.
        CreditPackPublished = "credit_pack_published" 1 "catalogue.credit_pack.publish" {
            /// Which.
            credit_pack: Code,
            /// How many credits are in it.
            credits: Credits,
            /// What it costs.
            price: Money,
            /// The tiers it is sold to; without any, to all.
            tiers: BTreeSet<Code>,
        }
    }
}

/// What can be asked of a credit pack's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Offer it like this.
    Publish(Box<CreditPackPublished>),
}

/// Why a credit pack's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credits, or a price below zero.
    #[error("a credit pack has more than no credits and no negative price")]
    Empty,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "CREDIT_PACK_EMPTY",
        }
    }
}

/// A credit pack as it is offered now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreditPack {
    /// The offer; `None` when there never was one.
    pub offer: Option<CreditPackPublished>,
}

impl Aggregate for CreditPack {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "credit_pack";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Publish(offer) = command;
        if !offer.credits.is_positive() || offer.price.minor() < 0 {
            return Err(Refusal::Empty);
        }
        if self.offer.as_ref() == Some(&*offer) {
            return Ok(vec![]);
        }
        Ok(vec![Event::CreditPackPublished(*offer)])
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::CreditPackPublished(offer) => self.offer = Some(offer.clone()),
        }
        self
    }
}

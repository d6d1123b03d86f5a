//! The rate card: what is charged where no model's price list says it.
//!
//! A meter that the card does not name has no price, and a record of it is set aside for a person:
//! what is free is stated as a price of zero.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Amount, Code};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of a model's power a call asks for; the price follows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PowerLevel {
    /// The least.
    Eco,
    /// In between.
    Balanced,
    /// All of it, at list price.
    #[default]
    Precision,
}

impl PowerLevel {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[Self::Eco, Self::Balanced, Self::Precision];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eco => "eco",
            Self::Balanced => "balanced",
            Self::Precision => "precision",
        }
    }
}

impl std::str::FromStr for PowerLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|level| level.as_str() == text);
        found
            .copied()
            .ok_or_else(|| format!("{text:?} is not a power level; use eco, balanced or precision"))
    }
}

/// What one version of the card says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// From when it holds.
    pub effective_from: Instant,
    /// What a power level multiplies the price by.
    pub power: BTreeMap<PowerLevel, Amount>,
    /// Dollars for 1,000 tokens of a provider whose model is on no price list.
    pub provider_per_1000_tokens: BTreeMap<Code, Amount>,
    /// The same for a provider that is not named.
    pub unknown_per_1000_tokens: Amount,
    /// Dollars for one unit of a meter.
    pub meters: BTreeMap<Code, Amount>,
}

events! {
    /// What can have happened to the rate card.
    pub enum Event {
        /// A version holds.
        RateCardPublished = "rate_card_published" 1 "catalogue.rate_card.publish" {
            /// 1, 2, 3, …
            version: u32,
            /// What it says.
            rates: Rates,
        }
    }
}

/// What can be asked of the rate card's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Let the next version hold.
    Publish(Box<Rates>),
}

/// Why the rate card's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rate below zero.
    #[error("a rate cannot be negative")]
    Negative,
    /// A power level without a factor.
    #[error("the card has no factor for power level {0}")]
    PowerMissing(&'static str),
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Negative => "RATE_NEGATIVE",
            Self::PowerMissing(_) => "RATE_POWER_MISSING",
        }
    }
}

/// The rate card and its newest version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateCard {
    /// The newest version; `None` when there never was one.
    pub newest: Option<RateCardPublished>,
}

impl Aggregate for RateCard {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "rate_card";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Publish(rates) = command;
        let amounts = rates
            .power
            .values()
            .chain(rates.provider_per_1000_tokens.values())
            .chain(rates.meters.values())
            .chain([&rates.unknown_per_1000_tokens]);
        if amounts.into_iter().any(|amount| amount.is_negative()) {
            return Err(Refusal::Negative);
        }
        if let Some(level) = PowerLevel::ALL.iter().find(|level| !rates.power.contains_key(level)) {
            return Err(Refusal::PowerMissing(level.as_str()));
        }
        if self.newest.as_ref().is_some_and(|newest| newest.rates == *rates) {
            return Ok(vec![]);
        }
        let version = self.newest.as_ref().map_or(1, |newest| newest.version.saturating_add(1));
        Ok(vec![RateCardPublished { version, rates: *rates }.into()])
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::RateCardPublished(published) => self.newest = Some(published.clone()),
        }
        self
    }
}

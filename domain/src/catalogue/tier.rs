//! A tier and its versions: what it costs a month, what it includes, what a call is marked up by.
//!
//! Versions are immutable and numbered 1, 2, 3, …; an organization keeps the version it was put on.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Code, Credits, Money, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A limit that may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most so many.
    AtMost(u64),
    /// No limit.
    Unlimited,
}

/// How a model call is priced on a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPricing {
    /// The platform pays the provider and adds this many percent.
    Markup {
        /// Percent on top of the list price.
        percent: u32,
    },
    /// The organization pays the provider with its own key; the platform takes a fee.
    OwnKeyFee {
        /// Percent of the list price.
        percent: u32,
        /// At least so many credits a call.
        minimum: Credits,
    },
}

/// What one version of a tier says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The name that people read.
    pub name: Text,
    /// From when the version is offered.
    pub effective_from: Instant,
    /// Price of a month, when it is sold by the month.
    pub price_month: Option<Money>,
    /// Price of a year, when it is sold by the year.
    pub price_year: Option<Money>,
    /// API calls a month.
    pub api_calls: Limit,
    /// Seats.
    pub seats: u32,
    /// Whether own provider keys may be used.
    pub own_keys: bool,
    /// Whether support answers first.
    pub priority_support: bool,
    /// Whether it is only given by invitation.
    pub invite_only: bool,
    /// Credits that come with a month; `None` when a contract says how many.
    pub monthly_credits: Option<Credits>,
    /// How a model call is priced.
    pub calls: CallPricing,
    /// What is switched on.
    pub features: BTreeSet<Code>,
}

events! {
    /// What can have happened to a tier.
    pub enum Event {
        /// A version is offered.
        TierVersionPublished = "tier_version_published" 1 "tier.version.publish" {
            /// Which tier.
            tier: Code,
            /// 1, 2, 3, …
            version: u32,
            /// What it says.
            terms: Terms,
        }
    }
}

/// What can be asked of a tier's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Offer the next version.
    Publish {
        /// Which tier.
        tier: Code,
        /// What it says.
        terms: Box<Terms>,
    },
}

/// Why a tier's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Versions follow each other in time.
    #[error("version {version} is effective from {since}; the next cannot be effective earlier")]
    Earlier {
        /// The newest version.
        version: u32,
        /// Since when.
        since: Instant,
    },
    /// A price below zero.
    #[error("a price of a tier cannot be negative")]
    NegativePrice,
    /// Credits below zero.
    #[error("monthly credits cannot be negative")]
    NegativeCredits,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Earlier { .. } => "TIER_VERSION_EARLIER",
            Self::NegativePrice => "TIER_PRICE_NEGATIVE",
            Self::NegativeCredits => "TIER_CREDITS_NEGATIVE",
        }
    }
}

/// A tier as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// Version 1 first.
    pub versions: Vec<Terms>,
}

impl Tier {
    /// The terms of a version.
    #[must_use]
    pub fn version(&self, version: u32) -> Option<&Terms> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.versions.get(index)
    }

    /// The newest version that is effective at a moment, with its number.
    #[must_use]
    pub fn effective_at(&self, at: Instant) -> Option<(u32, &Terms)> {
        (1_u32..).zip(&self.versions).filter(|(_, terms)| terms.effective_from <= at).last()
    }
}

impl Aggregate for Tier {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "tier";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Command::Publish { tier, terms } = command;
        let negative = |price: &Option<Money>| price.is_some_and(|price| price.minor() < 0);
        if negative(&terms.price_month) || negative(&terms.price_year) {
            return Err(Refusal::NegativePrice);
        }
        let minimum = match terms.calls {
            CallPricing::Markup { .. } => Credits::ZERO,
            CallPricing::OwnKeyFee { minimum, .. } => minimum,
        };
        if terms.monthly_credits.is_some_and(|credits| credits < Credits::ZERO)
            || minimum < Credits::ZERO
        {
            return Err(Refusal::NegativeCredits);
        }
        let newest = (1_u32..).zip(&self.versions).last();
        if let Some((version, current)) = newest {
            if *current == *terms {
                return Ok(vec![]);
            }
            if terms.effective_from < current.effective_from {
                return Err(Refusal::Earlier { version, since: current.effective_from });
            }
        }
        let version = newest.map_or(1, |(version, _)| version.saturating_add(1));
        Ok(vec![TierVersionPublished { tier, version, terms: *terms }.into()])
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::TierVersionPublished(published) => self.versions.push(published.terms.clone()),
        }
        self
    }
}

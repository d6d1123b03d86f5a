//! What a charge for usage says: its lines, and the prices they were made by.

use crate::catalogue::tier::CallPricing;
use crate::metering::Unpriceable;
use crate::values::{Amount, ChargeId, Code, Credits, MicroDollars, ModelName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The prices that lines of a charge share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceUsed {
    /// The model that was called, when one was.
    pub model: Option<ModelName>,
    /// The version of its entry in the price list; `None` when the rate card's fallback was used.
    pub model_version: Option<u32>,
    /// The factor of the power level.
    pub power: Amount,
    /// Dollars for one unit of each meter.
    pub unit_prices: BTreeMap<Code, Amount>,
}

/// What became of one usage record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was charged.
    Rated {
        /// Which of the charge's prices.
        price: u32,
        /// Dollars before rounding.
        exact: Amount,
        /// Dollars charged.
        charge: MicroDollars,
    },
    /// It has no price and waits for a person.
    Quarantined {
        /// Why.
        reason: Unpriceable,
    },
}

/// One usage record in a charge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChargeLine {
    /// Where the usage record stands in the log.
    pub usage_position: i64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What usage costs, before it is known what pays for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// Its id.
    pub charge_id: ChargeId,
    /// The month in which the usage occurred: `2026-11`.
    pub period: String,
    /// When the earliest of the usage occurred.
    pub occurred_at: crate::Instant,
    /// The organization's tier.
    pub tier: Code,
    /// The version of the tier.
    pub tier_version: u32,
    /// The version of the rate card.
    pub rate_card_version: u32,
    /// The tier's rule.
    pub pricing: CallPricing,
    /// The prices used.
    pub prices: Vec<PriceUsed>,
    /// One line for each usage record, in the order of the log.
    pub lines: Vec<ChargeLine>,
}

impl ChargeLine {
    /// What the line charges; nothing while it is set aside.
    #[must_use]
    pub const fn charge(&self) -> MicroDollars {
        match self.verdict {
            Verdict::Rated { charge, .. } => charge,
            Verdict::Quarantined { .. } => MicroDollars::ZERO,
        }
    }
}

impl Charge {
    /// The sum of the lines in dollars and in credits; `None` when it does not fit.
    #[must_use]
    pub fn total(&self) -> Option<(MicroDollars, Credits)> {
        let sum =
            self.lines.iter().try_fold(MicroDollars::ZERO, |sum, line| sum.plus(line.charge()))?;
        Some((sum, sum.in_credits()?))
    }
}

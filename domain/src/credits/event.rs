//! What can have happened to a credit account.

use super::burn_down::Consumed;
use super::charge::{ChargeLine, PriceUsed};
use crate::Instant;
use crate::catalogue::tier::CallPricing;
use crate::events::events;
use crate::values::{
    ChargeId, Code, Credits, GrantId, HoldId, MicroDollars, PurchaseId, SpendId, Text,
};
use serde::{Deserialize, Serialize};

/// What kind of credits a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Given away.
    Promotional,
    /// Paid for.
    Purchased,
    /// Part of a tier.
    MonthlyAllocation,
}

impl GrantKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promotional => "promotional",
            Self::Purchased => "purchased",
            Self::MonthlyAllocation => "monthly_allocation",
        }
    }
}

/// Where a grant comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSource {
    /// A tier's credits.
    Tier {
        /// Which tier.
        tier: Code,
        /// Which version.
        version: u32,
    },
    /// A purchase.
    Purchase {
        /// Which.
        purchase_id: PurchaseId,
    },
    /// Somebody with the right to.
    Manual {
        /// Why.
        reason: Text,
    },
}

events! {
    /// What can have happened to a credit account.
    pub enum Event {
        /// There are more credits.
        CreditsGranted = "credits_granted" 1 "credit.grant" {
            /// Which grant.
            grant_id: GrantId,
            /// How many credits.
            credits: Credits,
            /// Of which kind.
            kind: GrantKind,
            /// Where from.
            source: GrantSource,
            /// Lower numbers are spent first.
            priority: u16,
            /// Pays only for what occurred from then on; for anything when `None`.
            effective_at: Option<Instant>,
            /// When what is left is gone.
            expires_at: Option<Instant>,
        }
        /// What was left of a grant is gone.
        GrantExpired = "grant_expired" 1 "credit.expire" {
            /// Which grant.
            grant_id: GrantId,
            /// How many credits.
            credits: Credits,
        }
        /// Part of a grant was taken back.
        GrantVoided = "grant_voided" 1 "credit.refund" {
            /// Which grant.
            grant_id: GrantId,
            /// How many credits.
            credits: Credits,
            /// Why.
            reason: Text,
        }
        /// Credits were spent.
        CreditsSpent = "credits_spent" 1 "credit.capture" {
            /// Which spend.
            spend_id: SpendId,
            /// How many credits.
            credits: Credits,
            /// What for.
            reason: Text,
            /// From which grants.
            consumed: Vec<Consumed>,
        }
        /// Usage was charged.
        UsageCharged = "usage_charged" 1 "credit.capture" {
            /// Which charge.
            charge_id: ChargeId,
            /// The month in which the usage occurred: `2026-11`.
            period: String,
            /// When the earliest of the usage occurred.
            occurred_at: Instant,
            /// The organization's tier.
            tier: Code,
            /// The version of the tier.
            tier_version: u32,
            /// The version of the rate card.
            rate_card_version: u32,
            /// The tier's rule.
            pricing: CallPricing,
            /// The prices used.
            prices: Vec<PriceUsed>,
            /// One line for each usage record, in the order of the log.
            lines: Vec<ChargeLine>,
            /// The sum of the lines, in dollars.
            total: MicroDollars,
            /// What paid for it.
            consumed: Vec<Consumed>,
            /// What nothing paid for, in credits.
            owed: Credits,
        }
        /// New credits paid what was owed.
        OwedSettled = "owed_settled" 1 "credit.capture" {
            /// From which grants.
            consumed: Vec<Consumed>,
        }
        /// Credits are set aside.
        HoldPlaced = "hold_placed" 1 "credit.hold" {
            /// Which hold.
            hold_id: HoldId,
            /// From which grants.
            held: Vec<Consumed>,
            /// When they are free again.
            expires_at: Instant,
            /// What for.
            reason: Text,
        }
        /// Part of a hold was spent and the rest is free again.
        HoldCaptured = "hold_captured" 1 "credit.capture" {
            /// Which hold.
            hold_id: HoldId,
            /// From which grants.
            consumed: Vec<Consumed>,
            /// What is free again.
            released: Vec<Consumed>,
        }
        /// Nothing of the hold was spent.
        HoldReleased = "hold_released" 1 "credit.release" {
            /// Which hold.
            hold_id: HoldId,
            /// What is free again.
            released: Vec<Consumed>,
        }
        /// Nobody came back for the hold.
        HoldExpired = "hold_expired" 1 "credit.release" {
            /// Which hold.
            hold_id: HoldId,
            /// What is free again.
            released: Vec<Consumed>,
        }
    }
}

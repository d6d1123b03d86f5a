//! The ledger: every event of a credit account as entries that balance.
//!
//! Credits move between sub-accounts; what one gains another loses, so that the entries of any
//! event add up to zero. Balances are sums of entries and nothing else.

use super::burn_down::Consumed;
use super::event::{Event, GrantKind};
use crate::values::{Credits, GrantId};
use std::collections::BTreeMap;

/// Where credits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubAccount {
    /// Issued by the platform: what all others were filled from.
    Issued,
    /// Given, and neither spent nor held.
    Granted,
    /// Bought, and neither spent nor held.
    Purchased,
    /// Set aside.
    Held,
    /// Spent.
    Consumed,
    /// Gone because their time was over.
    Expired,
    /// Taken back.
    Voided,
    /// Owed by the organization.
    Receivable,
}

impl SubAccount {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Granted => "granted",
            Self::Purchased => "purchased",
            Self::Held => "held",
            Self::Consumed => "consumed",
            Self::Expired => "expired",
            Self::Voided => "voided",
            Self::Receivable => "receivable",
        }
    }
}

/// One side of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub account: SubAccount,
    /// How many credits more, or less when negative.
    pub credits: Credits,
}

/// Turns events into entries; knows which grant is of which kind from the grants it has seen.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    kinds: BTreeMap<GrantId, GrantKind>,
}

impl Ledger {
    /// Tells it of a grant that it has not seen made.
    pub fn know(&mut self, grant_id: GrantId, kind: GrantKind) {
        self.kinds.insert(grant_id, kind);
    }

    /// The entries of one event, which add up to zero.
    pub fn entries(&mut self, event: &Event) -> Vec<Entry> {
        let mut entries = Vec::new();
        match event {
            Event::CreditsGranted(granted) => {
                self.kinds.insert(granted.grant_id, granted.kind);
                let part = Consumed { grant_id: granted.grant_id, credits: granted.credits };
                self.fill_grants(&mut entries, &[part], SubAccount::Issued);
            }
            Event::GrantExpired(over) => {
                let part = Consumed { grant_id: over.grant_id, credits: over.credits };
                self.drain_grants(&mut entries, &[part], SubAccount::Expired);
            }
            Event::GrantVoided(voided) => {
                let part = Consumed { grant_id: voided.grant_id, credits: voided.credits };
                self.drain_grants(&mut entries, &[part], SubAccount::Voided);
            }
            Event::CreditsSpent(spent) => {
                self.drain_grants(&mut entries, &spent.consumed, SubAccount::Consumed);
            }
            Event::UsageCharged(charged) => {
                self.drain_grants(&mut entries, &charged.consumed, SubAccount::Consumed);
                if charged.owed.is_positive() {
                    // Consumed on account: nothing was taken from a grant yet.
                    movement(
                        &mut entries,
                        SubAccount::Receivable,
                        SubAccount::Consumed,
                        charged.owed,
                    );
                }
            }
            Event::OwedSettled(settled) => {
                self.drain_grants(&mut entries, &settled.consumed, SubAccount::Receivable);
            }
            Event::HoldPlaced(placed) => {
                self.drain_grants(&mut entries, &placed.held, SubAccount::Held);
            }
            Event::HoldCaptured(captured) => {
                for part in &captured.consumed {
                    let credits = part.credits;
                    movement(&mut entries, SubAccount::Held, SubAccount::Consumed, credits);
                }
                self.fill_grants(&mut entries, &captured.released, SubAccount::Held);
            }
            Event::HoldReleased(released) => {
                self.fill_grants(&mut entries, &released.released, SubAccount::Held);
            }
            Event::HoldExpired(expired) => {
                self.fill_grants(&mut entries, &expired.released, SubAccount::Held);
            }
        }
        entries
    }

    fn of_grant(&self, grant_id: GrantId) -> SubAccount {
        match self.kinds.get(&grant_id) {
            Some(GrantKind::Purchased) => SubAccount::Purchased,
            Some(GrantKind::Promotional | GrantKind::MonthlyAllocation) | None => {
                SubAccount::Granted
            }
        }
    }

    fn drain_grants(&self, entries: &mut Vec<Entry>, parts: &[Consumed], to: SubAccount) {
        for part in parts {
            movement(entries, self.of_grant(part.grant_id), to, part.credits);
        }
    }

    fn fill_grants(&self, entries: &mut Vec<Entry>, parts: &[Consumed], from: SubAccount) {
        for part in parts {
            movement(entries, from, self.of_grant(part.grant_id), part.credits);
        }
    }
}

fn movement(entries: &mut Vec<Entry>, from: SubAccount, to: SubAccount, credits: Credits) {
    entries.push(Entry { account: from, credits: Credits::ZERO.saturating_minus(credits) });
    entries.push(Entry { account: to, credits });
}

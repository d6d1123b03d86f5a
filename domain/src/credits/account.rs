//! The credit account of an organization: grants, spends, charges, holds, what is owed.

use super::burn_down::{Consumed, consume, is_usable, total};
use super::charge::Charge;
use super::event::{
    CreditsGranted, CreditsSpent, Event, GrantExpired, GrantKind, GrantSource, GrantVoided,
    HoldCaptured, HoldExpired, HoldPlaced, HoldReleased, OwedSettled, UsageCharged,
};
use crate::Instant;
use crate::aggregate::Aggregate;
use crate::values::{Credits, GrantId, HoldId, SpendId, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be asked of a credit account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Add credits.
    Grant {
        /// The grant.
        grant: Box<CreditsGranted>,
        /// Now.
        at: Instant,
    },
    /// Take back credits of a grant that nobody spent.
    Void {
        /// Which grant.
        grant_id: GrantId,
        /// How many.
        credits: Credits,
        /// Why.
        reason: Text,
        /// Now.
        at: Instant,
    },
    /// Spend credits now, all or nothing.
    Spend {
        /// The spend.
        spend_id: SpendId,
        /// How many.
        credits: Credits,
        /// What for.
        reason: Text,
        /// Now.
        at: Instant,
    },
    /// Charge usage; what is there pays, the rest is owed.
    ChargeUsage {
        /// The charge.
        charge: Box<Charge>,
        /// Now.
        at: Instant,
    },
    /// Set credits aside.
    PlaceHold {
        /// The hold.
        hold_id: HoldId,
        /// How many at most.
        credits: Credits,
        /// Until when.
        expires_at: Instant,
        /// What for.
        reason: Text,
        /// Now.
        at: Instant,
    },
    /// Spend part of a hold and free the rest.
    CaptureHold {
        /// Which hold.
        hold_id: HoldId,
        /// How many.
        credits: Credits,
        /// Now.
        at: Instant,
    },
    /// Free a hold.
    ReleaseHold {
        /// Which hold.
        hold_id: HoldId,
        /// Now.
        at: Instant,
    },
    /// Let go of what is due: grants and holds whose time is over.
    ExpireDue {
        /// Now.
        at: Instant,
    },
}

/// Why a credit account says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More credits can be bought; nothing was spent.
    #[error("{needed} credits are needed and {available} are available")]
    TooFew {
        /// What can be spent.
        available: Credits,
        /// What it takes.
        needed: Credits,
    },
    /// None, or less than none.
    #[error("a number of credits must be more than zero")]
    NotPositive,
    /// More than can be kept.
    #[error("the account cannot hold that many credits")]
    TooMany,
    /// There is no such grant.
    #[error("there is no such grant")]
    NoSuchGrant,
    /// A part of it was spent.
    #[error("{unspent} credits of the grant are unspent; no more can be taken back")]
    Spent {
        /// What is left of the grant.
        unspent: Credits,
    },
    /// There is no such hold, or it is over.
    #[error("there is no such hold, or it was captured, released or has expired")]
    NoSuchHold,
    /// More than was held.
    #[error("{held} credits are held; {wanted} is more")]
    BeyondHold {
        /// What is held.
        held: Credits,
        /// What was asked.
        wanted: Credits,
    },
    /// A hold that is over when it begins.
    #[error("a hold must expire later than now")]
    AlreadyOver,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "CREDITS_TOO_FEW",
            Self::NotPositive => "CREDITS_NOT_POSITIVE",
            Self::TooMany => "CREDITS_TOO_MANY",
            Self::NoSuchGrant => "GRANT_NOT_FOUND",
            Self::Spent { .. } => "GRANT_SPENT",
            Self::NoSuchHold => "HOLD_NOT_FOUND",
            Self::BeyondHold { .. } => "HOLD_EXCEEDED",
            Self::AlreadyOver => "HOLD_ALREADY_OVER",
        }
    }
}

/// A grant and what is left of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Which.
    pub grant_id: GrantId,
    /// Of which kind.
    pub kind: GrantKind,
    /// Where from.
    pub source: GrantSource,
    /// Lower numbers are spent first.
    pub priority: u16,
    /// Pays only for what occurred from then on.
    pub effective_at: Option<Instant>,
    /// When what is left is gone.
    pub expires_at: Option<Instant>,
    /// What is neither spent nor held.
    pub remaining: Credits,
}

/// Credits that are set aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// From which grants.
    pub held: Vec<Consumed>,
    /// When they are free again.
    pub expires_at: Instant,
}

/// What one organization may spend, and what it owes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// In the order of granting; a grant that is used up stays, so that it can be unwound.
    pub grants: Vec<Grant>,
    /// Open holds.
    pub holds: BTreeMap<HoldId, Hold>,
    /// What no credits paid for yet.
    pub owed: Credits,
    /// Usage up to here is charged: no record at or before it is ever charged again.
    pub charged_through: i64,
}

impl Account {
    /// What can be spent now.
    #[must_use]
    pub fn available(&self, at: Instant) -> Credits {
        self.grants
            .iter()
            .filter(|grant| is_usable(grant, at, at))
            .fold(Credits::ZERO, |sum, grant| sum.saturating_plus(grant.remaining))
    }

    /// What is neither spent, held, expired nor voided, whether or not it can be used yet.
    #[must_use]
    pub fn balance(&self) -> Credits {
        self.grants.iter().fold(Credits::ZERO, |sum, grant| sum.saturating_plus(grant.remaining))
    }

    fn grant(&self, grant_id: GrantId) -> Result<&Grant, Refusal> {
        self.grants.iter().find(|grant| grant.grant_id == grant_id).ok_or(Refusal::NoSuchGrant)
    }

    /// What has to be let go first, because its time is over.
    fn due(&self, at: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let mut account = self.clone();
        for (hold_id, hold) in &self.holds {
            if hold.expires_at <= at {
                let released = hold.held.clone();
                events.push(HoldExpired { hold_id: *hold_id, released }.into());
            }
        }
        for event in &events {
            account = account.evolve(event);
        }
        for grant in &account.grants {
            let over = grant.expires_at.is_some_and(|end| end <= at);
            if over && grant.remaining.is_positive() {
                let (grant_id, credits) = (grant.grant_id, grant.remaining);
                events.push(GrantExpired { grant_id, credits }.into());
            }
        }
        events
    }

    fn add(&self, granted: CreditsGranted, at: Instant) -> Result<Vec<Event>, Refusal> {
        positive(granted.credits)?;
        if self.grants.iter().any(|grant| grant.grant_id == granted.grant_id) {
            return Ok(vec![]);
        }
        self.balance().plus(granted.credits).ok_or(Refusal::TooMany)?;
        let unrestricted = granted.effective_at.is_none();
        let event: Event = granted.into();
        let after = self.clone().evolve(&event);
        let mut events = vec![event];
        if unrestricted && after.owed.is_positive() {
            let consumed = consume(&after.grants, after.owed, at, at);
            if !consumed.is_empty() {
                events.push(OwedSettled { consumed }.into());
            }
        }
        Ok(events)
    }

    fn spend(
        &self,
        spend_id: SpendId,
        credits: Credits,
        reason: Text,
        at: Instant,
    ) -> Result<Vec<Event>, Refusal> {
        let consumed = self.take(credits, at)?;
        Ok(vec![CreditsSpent { spend_id, credits, reason, consumed }.into()])
    }

    /// Takes exactly so many credits from the grants, or refuses.
    fn take(&self, credits: Credits, at: Instant) -> Result<Vec<Consumed>, Refusal> {
        positive(credits)?;
        let consumed = consume(&self.grants, credits, at, at);
        if total(&consumed) < credits {
            return Err(Refusal::TooFew { available: self.available(at), needed: credits });
        }
        Ok(consumed)
    }

    fn charge(&self, mut charge: Charge, at: Instant) -> Result<Vec<Event>, Refusal> {
        charge.lines.retain(|line| line.usage_position > self.charged_through);
        if charge.lines.is_empty() {
            return Ok(vec![]);
        }
        let (sum, credits) = charge.total().ok_or(Refusal::TooMany)?;
        let consumed = consume(&self.grants, credits, at, charge.occurred_at);
        let owed = credits.saturating_minus(total(&consumed));
        self.owed.plus(owed).ok_or(Refusal::TooMany)?;
        Ok(vec![
            UsageCharged {
                charge_id: charge.charge_id,
                period: charge.period,
                occurred_at: charge.occurred_at,
                tier: charge.tier,
                tier_version: charge.tier_version,
                rate_card_version: charge.rate_card_version,
                pricing: charge.pricing,
                prices: charge.prices,
                lines: charge.lines,
                total: sum,
                consumed,
                owed,
            }
            .into(),
        ])
    }

    fn void(
        &self,
        grant_id: GrantId,
        credits: Credits,
        reason: Text,
    ) -> Result<Vec<Event>, Refusal> {
        positive(credits)?;
        let unspent = self.grant(grant_id)?.remaining;
        if unspent < credits {
            return Err(Refusal::Spent { unspent });
        }
        Ok(vec![GrantVoided { grant_id, credits, reason }.into()])
    }

    fn capture(&self, hold_id: HoldId, credits: Credits) -> Result<Vec<Event>, Refusal> {
        positive(credits)?;
        let hold = self.holds.get(&hold_id).ok_or(Refusal::NoSuchHold)?;
        let held = total(&hold.held);
        if credits > held {
            return Err(Refusal::BeyondHold { held, wanted: credits });
        }
        let mut left = credits;
        let (mut consumed, mut released) = (Vec::new(), Vec::new());
        for part in &hold.held {
            let taken = part.credits.at_most(left);
            left = left.saturating_minus(taken);
            let rest = part.credits.saturating_minus(taken);
            let of = |credits| Consumed { grant_id: part.grant_id, credits };
            consumed.extend(taken.is_positive().then(|| of(taken)));
            released.extend(rest.is_positive().then(|| of(rest)));
        }
        Ok(vec![HoldCaptured { hold_id, consumed, released }.into()])
    }

    fn decide_now(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Grant { grant, at } => self.add(*grant, at),
            Command::Void { grant_id, credits, reason, at: _ } => {
                self.void(grant_id, credits, reason)
            }
            Command::Spend { spend_id, credits, reason, at } => {
                self.spend(spend_id, credits, reason, at)
            }
            Command::ChargeUsage { charge, at } => self.charge(*charge, at),
            Command::PlaceHold { expires_at, at, .. } if expires_at <= at => {
                Err(Refusal::AlreadyOver)
            }
            Command::PlaceHold { hold_id, credits, expires_at, reason, at } => {
                if self.holds.contains_key(&hold_id) {
                    return Ok(vec![]);
                }
                let held = self.take(credits, at)?;
                Ok(vec![HoldPlaced { hold_id, held, expires_at, reason }.into()])
            }
            Command::CaptureHold { hold_id, credits, at: _ } => self.capture(hold_id, credits),
            Command::ReleaseHold { hold_id, at: _ } => {
                let hold = self.holds.get(&hold_id).ok_or(Refusal::NoSuchHold)?;
                Ok(vec![HoldReleased { hold_id, released: hold.held.clone() }.into()])
            }
            Command::ExpireDue { at: _ } => Ok(vec![]),
        }
    }

    fn change(&mut self, parts: &[Consumed], by: impl Fn(Credits, Credits) -> Credits) {
        for part in parts {
            for grant in &mut self.grants {
                if grant.grant_id == part.grant_id {
                    grant.remaining = by(grant.remaining, part.credits);
                }
            }
        }
    }

    fn pay(&mut self, parts: &[Consumed]) {
        self.change(parts, Credits::saturating_minus);
    }

    fn give_back(&mut self, parts: &[Consumed]) {
        self.change(parts, Credits::saturating_plus);
    }
}

fn positive(credits: Credits) -> Result<(), Refusal> {
    if credits.is_positive() { Ok(()) } else { Err(Refusal::NotPositive) }
}

impl Command {
    const fn at(&self) -> Instant {
        match self {
            Self::Grant { at, .. }
            | Self::Void { at, .. }
            | Self::Spend { at, .. }
            | Self::ChargeUsage { at, .. }
            | Self::PlaceHold { at, .. }
            | Self::CaptureHold { at, .. }
            | Self::ReleaseHold { at, .. }
            | Self::ExpireDue { at } => *at,
        }
    }
}

impl Aggregate for Account {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "credit_account";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        // What is over is let go before anything else is decided, in the same append.
        let mut events = self.due(command.at());
        let decided = if events.is_empty() {
            self.decide_now(command)?
        } else {
            events.iter().fold(self.clone(), Self::evolve).decide_now(command)?
        };
        events.extend(decided);
        Ok(events)
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::CreditsGranted(granted) => self.grants.push(Grant {
                grant_id: granted.grant_id,
                kind: granted.kind,
                source: granted.source.clone(),
                priority: granted.priority,
                effective_at: granted.effective_at,
                expires_at: granted.expires_at,
                remaining: granted.credits,
            }),
            Event::GrantExpired(GrantExpired { grant_id, credits })
            | Event::GrantVoided(GrantVoided { grant_id, credits, .. }) => {
                self.pay(&[Consumed { grant_id: *grant_id, credits: *credits }]);
            }
            Event::CreditsSpent(spent) => self.pay(&spent.consumed),
            Event::UsageCharged(charged) => {
                self.pay(&charged.consumed);
                self.owed = self.owed.saturating_plus(charged.owed);
                if let Some(last) = charged.lines.last() {
                    self.charged_through = self.charged_through.max(last.usage_position);
                }
            }
            Event::OwedSettled(settled) => {
                self.pay(&settled.consumed);
                self.owed = self.owed.saturating_minus(total(&settled.consumed));
            }
            Event::HoldPlaced(placed) => {
                self.pay(&placed.held);
                let (held, expires_at) = (placed.held.clone(), placed.expires_at);
                self.holds.insert(placed.hold_id, Hold { held, expires_at });
            }
            Event::HoldCaptured(HoldCaptured { hold_id, released, .. })
            | Event::HoldReleased(HoldReleased { hold_id, released })
            | Event::HoldExpired(HoldExpired { hold_id, released }) => {
                self.give_back(released);
                self.holds.remove(hold_id);
            }
        }
        self
    }
}

//! Credits: what an organization may spend.
//!
//! A balance is never recorded: it is what grants, spends, charges and holds add up to. Three rules
//! hold whatever the history:
//!
//! * what is available never goes below zero, however many spend at once;
//! * a usage record is charged once, however often it is delivered;
//! * what the balance cannot cover is owed: never lost, never free.
//!
//! To spend a credit is [`Command::Spend`], decided by [`Account`] in `account.rs`. Where credits
//! come from is [`commerce`](crate::commerce); what usage costs is [`metering`](crate::metering).

mod account;
mod burn_down;
mod charge;
mod event;
pub mod ledger;
#[cfg(test)]
mod tests;

pub use account::{Account, Command, Grant, Hold, Refusal};
pub use burn_down::Consumed;
pub use charge::{Charge, ChargeLine, PriceUsed, Verdict};
pub use event::{
    CreditsGranted, CreditsSpent, Event, GrantExpired, GrantKind, GrantSource, GrantVoided,
    HoldCaptured, HoldExpired, HoldPlaced, HoldReleased, OwedSettled, UsageCharged,
};

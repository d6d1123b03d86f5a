//! The values that the whole domain speaks: exact numbers, money, credits, ids.
//!
//! None of them is a floating-point number and none can hold a value that has no meaning: each is
//! built through a checked constructor and read from text, never from a JSON number.

mod amount;
mod credits;
mod ids;
mod money;
mod names;

pub use amount::{Amount, AmountError, Rounding};
pub use credits::{Credits, MICRO_CREDITS_PER_MICRO_DOLLAR, MicroDollars};
pub use ids::{
    ApiKeyId, ChargeId, GrantId, HoldId, IdError, LegalHoldId, OrganizationId, PurchaseId,
    RefundId, ServiceActionId, ServiceId, SpendId, UserId,
};
pub use money::{Currency, Money, MoneyError};
pub use names::{Code, CodeError, ModelName, Text, TextError};

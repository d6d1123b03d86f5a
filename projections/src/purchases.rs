//! Purchases: one row each, as far as it has come.
//!
//! A purchase whose event cannot be applied is set aside with its later events; the others go on.

use crate::columns::{micro_credits, micro_dollars};
use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Scope, Select};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::commerce::purchase::{self, PurchaseInitiated, PurchaseRefunded};
use domain::values::{
    Code, Credits, GrantId, MicroDollars, Money, OrganizationId, PurchaseId, Text,
};
use domain::{Event, Instant};
use event_log::Position;
use sqlx::PgPool;

table! {
    /// A purchase of a credit pack.
    pub struct Purchase in "purchase" (purchase_id: PurchaseId) {
        /// Which.
        purchase_id: PurchaseId = "text collate \"C\" not null",
        /// For whom.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// What was bought.
        credit_pack: Code = "text not null",
        /// `initiated`, `paid`, `fulfilled`, `partially_refunded`, `refunded` or `failed`.
        state: String = "text not null",
        /// How many credits.
        #[serde(with = "micro_credits")]
        credits: Credits = "bigint not null",
        /// What was asked.
        price: Money = "jsonb not null",
        /// What the credits are worth when spent.
        #[serde(with = "micro_dollars")]
        worth: MicroDollars = "bigint not null",
        /// What arrived.
        paid: Option<Money> = "jsonb",
        /// The bank's reference.
        reference: Option<Text> = "text",
        /// The grant that gave the credits.
        grant_id: Option<GrantId> = "text",
        /// Credits that were taken back.
        #[serde(with = "micro_credits")]
        refunded_credits: Credits = "bigint not null",
        /// Money that was given back.
        refunded: Money = "jsonb not null",
        /// Why it failed or was refunded, as said last.
        reason: Option<Text> = "text",
        /// When it was begun.
        initiated_at: Instant = "timestamptz not null",
        /// When the money arrived.
        paid_at: Option<Instant> = "timestamptz",
        /// When the credits were there.
        fulfilled_at: Option<Instant> = "timestamptz",
        /// When it failed, or money was given back last.
        ended_at: Option<Instant> = "timestamptz",
        /// The event that began it.
        initiated_position: Position = "bigint not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "organization_id, initiated_position"
    index "initiated_position"
}

row_set! {
    /// The rows of purchases.
    pub struct Rows {
        /// Purchases.
        purchases: Purchase,
    }
}

/// What was bought, paid and given back.
#[derive(Debug)]
pub struct Purchases;

impl Projection for Purchases {
    const NAME: &'static str = "purchases";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Of(&[purchase::Event::NAMES]);
    const PARKS: bool = true;
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        let Event::Purchase(event) = &occurrence.event else {
            return Ok(());
        };
        let at = occurrence.recorded_at;
        let mut change =
            |id: PurchaseId, change: &dyn Fn(&mut Purchase) -> Result<(), ApplyError>| {
                rows.purchases.change(&(id,), |row| {
                    change(row)?;
                    row.position = occurrence.position;
                    Ok(())
                })
            };
        match event {
            purchase::Event::PurchaseInitiated(it) => {
                rows.purchases.put(initiated(occurrence, it));
                Ok(())
            }
            purchase::Event::PurchasePaid(it) => change(it.purchase_id, &|row| {
                "paid".clone_into(&mut row.state);
                row.paid = Some(it.amount);
                row.reference = Some(it.reference.clone());
                row.paid_at = Some(at);
                Ok(())
            }),
            purchase::Event::PurchaseFulfilled(it) => change(it.purchase_id, &|row| {
                "fulfilled".clone_into(&mut row.state);
                row.grant_id = Some(it.grant_id);
                row.fulfilled_at = Some(at);
                Ok(())
            }),
            purchase::Event::PurchaseFailed(it) => change(it.purchase_id, &|row| {
                "failed".clone_into(&mut row.state);
                row.reason = Some(it.reason.clone());
                row.ended_at = Some(at);
                Ok(())
            }),
            purchase::Event::PurchaseRefunded(it) => change(it.purchase_id, &|row| {
                row.ended_at = Some(at);
                refund(row, it)
            }),
        }
    }
}

fn initiated(occurrence: &Occurrence, it: &PurchaseInitiated) -> Purchase {
    Purchase {
        purchase_id: it.purchase_id,
        organization_id: it.organization_id,
        credit_pack: it.credit_pack.clone(),
        state: "initiated".to_owned(),
        credits: it.credits,
        price: it.price,
        worth: it.worth,
        paid: None,
        reference: None,
        grant_id: None,
        refunded_credits: Credits::ZERO,
        refunded: Money::new(0, it.price.currency()),
        reason: None,
        initiated_at: occurrence.recorded_at,
        paid_at: None,
        fulfilled_at: None,
        ended_at: None,
        initiated_position: occurrence.position,
        position: occurrence.position,
    }
}

fn refund(row: &mut Purchase, it: &PurchaseRefunded) -> Result<(), ApplyError> {
    let too_much = ApplyError::Overflow { what: "a refund" };
    row.refunded_credits = row.refunded_credits.plus(it.credits).ok_or(too_much)?;
    row.refunded = row
        .refunded
        .plus(it.amount)
        .map_err(|error| ApplyError::Senseless(format!("a refund of {}: {error}", it.amount)))?;
    row.reason = Some(it.reason.clone());
    let is_whole = row.refunded_credits >= row.credits;
    let state = if is_whole { "refunded" } else { "partially_refunded" };
    state.clone_into(&mut row.state);
    Ok(())
}

/// One purchase.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn purchase(pool: &PgPool, id: PurchaseId) -> Result<Option<Purchase>, ReadError> {
    Select::from::<Purchase>().and("purchase_id = ", id.to_string()).one(pool).await
}

/// Purchases in a state, or in any, along the positions at which they were begun.
pub async fn purchases(
    pool: &PgPool,
    scope: Scope,
    state: Option<&str>,
    walk: &Walk<Position>,
) -> Result<Vec<Purchase>, ReadError> {
    Select::from::<Purchase>()
        .within(scope)
        .and_if("state = ", state.map(str::to_owned))
        .walk(pool, "initiated_position", walk)
        .await
}

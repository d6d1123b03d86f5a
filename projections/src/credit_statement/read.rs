//! How statements, balances, grants and holds are read.

use super::rows::{Balance, Grant, Hold, StatementLine};
use crate::columns::{micro_credits, micro_dollars};
use crate::read::{ReadError, Scope, Select, View};
use crate::walk::Walk;
use domain::Instant;
use domain::values::{Credits, HoldId, MicroDollars, OrganizationId};
use event_log::Position;
use serde::Deserialize;
use sqlx::PgPool;

/// The balance of an organization; none before anything moved.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn balance<'a>(
    view: impl Into<View<'a>>,
    organization_id: OrganizationId,
) -> Result<Option<Balance>, ReadError> {
    let view = view.into();
    let id = organization_id.to_string();
    Select::of_view::<Balance>(view).and("organization_id = ", id).one(view.pool).await
}

/// Balances along the organizations' ids.
pub async fn balances<'a>(
    view: impl Into<View<'a>>,
    scope: Scope,
    walk: &Walk<OrganizationId>,
) -> Result<Vec<Balance>, ReadError> {
    let view = view.into();
    Select::of_view::<Balance>(view)
        .within(scope)
        .walk(view.pool, "organization_id", &walk.map(ToString::to_string))
        .await
}

/// Movements of an organization's credits along their positions.
pub async fn statement(
    pool: &PgPool,
    organization_id: OrganizationId,
    from: Option<Instant>,
    walk: &Walk<Position>,
) -> Result<Vec<StatementLine>, ReadError> {
    Select::from::<StatementLine>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("recorded_at >= ", from)
        .walk(pool, "position", walk)
        .await
}

/// Grants of an organization along the positions at which they were granted.
pub async fn grants<'a>(
    view: impl Into<View<'a>>,
    organization_id: OrganizationId,
    walk: &Walk<Position>,
) -> Result<Vec<Grant>, ReadError> {
    let view = view.into();
    Select::of_view::<Grant>(view)
        .and("organization_id = ", organization_id.to_string())
        .walk(view.pool, "granted_position", walk)
        .await
}

/// Holds of an organization in a state, or in any, along their ids, which is the order they were
/// placed in.
pub async fn holds<'a>(
    view: impl Into<View<'a>>,
    organization_id: OrganizationId,
    state: Option<&str>,
    walk: &Walk<HoldId>,
) -> Result<Vec<Hold>, ReadError> {
    let view = view.into();
    Select::of_view::<Hold>(view)
        .and("organization_id = ", organization_id.to_string())
        .and_if("state = ", state.map(str::to_owned))
        .walk(view.pool, "hold_id", &walk.map(ToString::to_string))
        .await
}

/// What all organizations have and owe together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Sums {
    /// How many organizations have an account.
    pub organizations: i64,
    /// Neither spent, held, expired nor taken back.
    #[serde(with = "micro_credits")]
    pub available: Credits,
    /// Set aside.
    #[serde(with = "micro_credits")]
    pub held: Credits,
    /// Every credit that was ever given or bought.
    #[serde(with = "micro_credits")]
    pub issued: Credits,
    /// What no credits paid for yet.
    #[serde(with = "micro_credits")]
    pub owed: Credits,
    /// What usage was charged, in dollars.
    #[serde(with = "micro_dollars")]
    pub charged: MicroDollars,
}

/// What all organizations have and owe together.
pub async fn sums<'a>(view: impl Into<View<'a>>) -> Result<Sums, ReadError> {
    let view = view.into();
    let sums = Select::over::<Balance>(
        view,
        "select json_build_object(
                    'organizations', count(*), 'available', coalesce(sum(available), 0),
                    'held', coalesce(sum(held), 0), 'issued', coalesce(sum(issued), 0),
                    'owed', coalesce(sum(owed), 0), 'charged', coalesce(sum(charged), 0))::text",
    );
    let none = ReadError::Unavailable(sqlx::Error::RowNotFound);
    sums.one(view.pool).await?.ok_or(none)
}

//! How statements, balances, grants and holds are read.

use super::rows::{Balance, Grant, Hold, StatementLine};
use crate::read::{ReadError, Scope, Select};
use domain::Instant;
use domain::values::OrganizationId;
use event_log::Position;
use sqlx::PgPool;

/// The balance of an organization; none before anything moved.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn balance(
    pool: &PgPool,
    organization_id: OrganizationId,
) -> Result<Option<Balance>, ReadError> {
    let id = organization_id.to_string();
    Select::from::<Balance>().and("organization_id = ", id).one(pool).await
}

/// Balances in the order of the organizations' ids.
pub async fn balances(
    pool: &PgPool,
    scope: Scope,
    after: Option<OrganizationId>,
    first: usize,
) -> Result<Vec<Balance>, ReadError> {
    Select::from::<Balance>()
        .within(scope)
        .and_if("organization_id > ", after.map(|id| id.to_string()))
        .page(pool, "organization_id", first)
        .await
}

/// Movements of an organization's credits, newest first; a page begins before a position.
pub async fn statement(
    pool: &PgPool,
    organization_id: OrganizationId,
    from: Option<Instant>,
    before: Option<Position>,
    first: usize,
) -> Result<Vec<StatementLine>, ReadError> {
    Select::from::<StatementLine>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("recorded_at >= ", from)
        .and_if("position < ", before)
        .page(pool, "position desc", first)
        .await
}

/// Grants of an organization in the order they were granted; a page begins after the position of
/// the last one's granting.
pub async fn grants(
    pool: &PgPool,
    organization_id: OrganizationId,
    after: Option<Position>,
    first: usize,
) -> Result<Vec<Grant>, ReadError> {
    Select::from::<Grant>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("granted_position > ", after)
        .page(pool, "granted_position", first)
        .await
}

/// Holds of an organization in a state, or in any, newest first.
pub async fn holds(
    pool: &PgPool,
    organization_id: OrganizationId,
    state: Option<&str>,
    before: Option<domain::values::HoldId>,
    first: usize,
) -> Result<Vec<Hold>, ReadError> {
    Select::from::<Hold>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("state = ", state.map(str::to_owned))
        .and_if("hold_id < ", before.map(|id| id.to_string()))
        .page(pool, "hold_id desc", first)
        .await
}

//! How statements, balances, grants and holds are read.

use super::rows::{Balance, Grant, Hold, StatementLine};
use crate::read::{ReadError, Scope, Select};
use crate::walk::Walk;
use domain::Instant;
use domain::values::{HoldId, OrganizationId};
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

/// Balances along the organizations' ids.
pub async fn balances(
    pool: &PgPool,
    scope: Scope,
    walk: &Walk<OrganizationId>,
) -> Result<Vec<Balance>, ReadError> {
    Select::from::<Balance>()
        .within(scope)
        .walk(pool, "organization_id", &walk.map(ToString::to_string))
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
pub async fn grants(
    pool: &PgPool,
    organization_id: OrganizationId,
    walk: &Walk<Position>,
) -> Result<Vec<Grant>, ReadError> {
    Select::from::<Grant>()
        .and("organization_id = ", organization_id.to_string())
        .walk(pool, "granted_position", walk)
        .await
}

/// Holds of an organization in a state, or in any, along their ids, which is the order they were
/// placed in.
pub async fn holds(
    pool: &PgPool,
    organization_id: OrganizationId,
    state: Option<&str>,
    walk: &Walk<HoldId>,
) -> Result<Vec<Hold>, ReadError> {
    Select::from::<Hold>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("state = ", state.map(str::to_owned))
        .walk(pool, "hold_id", &walk.map(ToString::to_string))
        .await
}

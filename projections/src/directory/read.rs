//! How the directory is read.

use super::rows::{ApiKey, Member, Organization, Role, TierVersion, User};
use crate::read::{ReadError, Scope, Select};
use crate::walk::Walk;
use domain::values::{Code, OrganizationId, UserId};
use sqlx::PgPool;

/// One user.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn user(pool: &PgPool, user_id: UserId) -> Result<Option<User>, ReadError> {
    let user_id = user_id.to_string();
    Select::from::<User>().and("user_id = ", user_id).one(pool).await
}

/// Users with these ids, in any order.
pub async fn users_by_id(pool: &PgPool, ids: &[UserId]) -> Result<Vec<User>, ReadError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Select::from::<User>().and("user_id = any(", ids).text(")").all(pool, "user_id").await
}

/// Organizations with these ids, in any order.
pub async fn organizations_by_id(
    pool: &PgPool,
    ids: &[OrganizationId],
) -> Result<Vec<Organization>, ReadError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let select = Select::from::<Organization>().and("organization_id = any(", ids).text(")");
    select.all(pool, "organization_id").await
}

/// Users along their ids, which is the order they were invited in.
pub async fn users(
    pool: &PgPool,
    status: Option<&str>,
    walk: &Walk<UserId>,
) -> Result<Vec<User>, ReadError> {
    Select::from::<User>()
        .and_if("status = ", status.map(str::to_owned))
        .walk(pool, "user_id", &walk.map(ToString::to_string))
        .await
}

/// One organization.
pub async fn organization(
    pool: &PgPool,
    organization_id: OrganizationId,
) -> Result<Option<Organization>, ReadError> {
    let id = organization_id.to_string();
    Select::from::<Organization>().and("organization_id = ", id).one(pool).await
}

/// The organization with a short name.
pub async fn organization_by_slug(
    pool: &PgPool,
    slug: &Code,
) -> Result<Option<Organization>, ReadError> {
    Select::from::<Organization>().and("slug = ", slug.to_string()).one(pool).await
}

/// Organizations along their ids, which is the order they were created in.
pub async fn organizations(
    pool: &PgPool,
    scope: Scope,
    walk: &Walk<OrganizationId>,
) -> Result<Vec<Organization>, ReadError> {
    Select::from::<Organization>()
        .within(scope)
        .walk(pool, "organization_id", &walk.map(ToString::to_string))
        .await
}

/// Members of an organization along their ids.
pub async fn members(
    pool: &PgPool,
    organization_id: OrganizationId,
    walk: &Walk<UserId>,
) -> Result<Vec<Member>, ReadError> {
    Select::from::<Member>()
        .and("organization_id = ", organization_id.to_string())
        .walk(pool, "user_id", &walk.map(ToString::to_string))
        .await
}

/// The organizations somebody belongs to.
pub async fn memberships(pool: &PgPool, user_id: UserId) -> Result<Vec<Member>, ReadError> {
    let user_id = user_id.to_string();
    Select::from::<Member>().and("user_id = ", user_id).all(pool, "organization_id").await
}

/// The roles that were defined here.
pub async fn roles(pool: &PgPool) -> Result<Vec<Role>, ReadError> {
    Select::from::<Role>().all(pool, "role").await
}

/// The API key with a public part.
pub async fn api_key_by_public_part(
    pool: &PgPool,
    public_part: &str,
) -> Result<Option<ApiKey>, ReadError> {
    let public_part = public_part.to_owned();
    Select::from::<ApiKey>().and("public_part = ", public_part).one(pool).await
}

/// The API keys that act for somebody.
pub async fn api_keys_of_user(pool: &PgPool, user_id: UserId) -> Result<Vec<ApiKey>, ReadError> {
    let user_id = user_id.to_string();
    Select::from::<ApiKey>().and("user_id = ", user_id).all(pool, "api_key_id").await
}

/// Every version of every tier, or of one.
pub async fn tier_versions(
    pool: &PgPool,
    tier: Option<&Code>,
) -> Result<Vec<TierVersion>, ReadError> {
    Select::from::<TierVersion>()
        .and_if("tier = ", tier.map(ToString::to_string))
        .all(pool, "tier, version")
        .await
}

//! How the directory is read.

use super::rows::{ApiKey, Member, Organization, Role, TierVersion, User};
use crate::read::{ReadError, Scope, Select, View};
use crate::walk::Walk;
use domain::values::{Code, OrganizationId, UserId};
use sqlx::PgPool;

/// One user.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn user<'a>(
    view: impl Into<View<'a>>,
    user_id: UserId,
) -> Result<Option<User>, ReadError> {
    let view = view.into();
    let user_id = user_id.to_string();
    Select::of_view::<User>(view).and("user_id = ", user_id).one(view.pool).await
}

/// Users with these ids, in any order.
pub async fn users_by_id(pool: &PgPool, ids: &[UserId]) -> Result<Vec<User>, ReadError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Select::from::<User>().and("user_id = any(", ids).text(")").all(pool, "user_id").await
}

/// Organizations with these ids, in any order.
pub async fn organizations_by_id<'a>(
    view: impl Into<View<'a>>,
    ids: &[OrganizationId],
) -> Result<Vec<Organization>, ReadError> {
    let view = view.into();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let select = Select::of_view::<Organization>(view).and("organization_id = any(", ids);
    select.text(")").all(view.pool, "organization_id").await
}

/// Users along their ids, which is the order they were invited in.
pub async fn users<'a>(
    view: impl Into<View<'a>>,
    status: Option<&str>,
    walk: &Walk<UserId>,
) -> Result<Vec<User>, ReadError> {
    let view = view.into();
    Select::of_view::<User>(view)
        .and_if("status = ", status.map(str::to_owned))
        .walk(view.pool, "user_id", &walk.map(ToString::to_string))
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
pub async fn organizations<'a>(
    view: impl Into<View<'a>>,
    scope: Scope,
    walk: &Walk<OrganizationId>,
) -> Result<Vec<Organization>, ReadError> {
    let view = view.into();
    Select::of_view::<Organization>(view)
        .within(scope)
        .walk(view.pool, "organization_id", &walk.map(ToString::to_string))
        .await
}

/// Members of an organization along their ids.
pub async fn members<'a>(
    view: impl Into<View<'a>>,
    organization_id: OrganizationId,
    walk: &Walk<UserId>,
) -> Result<Vec<Member>, ReadError> {
    let view = view.into();
    Select::of_view::<Member>(view)
        .and("organization_id = ", organization_id.to_string())
        .walk(view.pool, "user_id", &walk.map(ToString::to_string))
        .await
}

/// The organizations somebody belongs to.
pub async fn memberships<'a>(
    view: impl Into<View<'a>>,
    user_id: UserId,
) -> Result<Vec<Member>, ReadError> {
    let view = view.into();
    let user_id = user_id.to_string();
    Select::of_view::<Member>(view)
        .and("user_id = ", user_id)
        .all(view.pool, "organization_id")
        .await
}

/// The roles that were defined here.
pub async fn roles<'a>(view: impl Into<View<'a>>) -> Result<Vec<Role>, ReadError> {
    let view = view.into();
    Select::of_view::<Role>(view).all(view.pool, "role").await
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
pub async fn api_keys_of_user<'a>(
    view: impl Into<View<'a>>,
    user_id: UserId,
) -> Result<Vec<ApiKey>, ReadError> {
    let view = view.into();
    let user_id = user_id.to_string();
    Select::of_view::<ApiKey>(view).and("user_id = ", user_id).all(view.pool, "api_key_id").await
}

/// Every version of every tier, or of one.
pub async fn tier_versions<'a>(
    view: impl Into<View<'a>>,
    tier: Option<&Code>,
) -> Result<Vec<TierVersion>, ReadError> {
    let view = view.into();
    Select::of_view::<TierVersion>(view)
        .and_if("tier = ", tier.map(ToString::to_string))
        .all(view.pool, "tier, version")
        .await
}

//! Roles and API keys.

use super::asking;
use super::outcome::{Asked, carry_out, payload};
use super::scalars::{DateTime, Id, SafeInt, Word};
use crate::problem::{Code as ProblemCode, Problem};
use crate::reading::{AsOf, Asking, at_position, fold, view};
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use commands::{AccessCommand, NewKey, Outcome, Subject};
use domain::access::permission::{BUILT_IN_ROLES, built_in_permissions};
use domain::access::{Action, Permission, Resource, Scope};
use domain::identity::api_key::{PrintedKey, hash_secret};
use domain::values::{ApiKeyId, Code, OrganizationId, Text, UserId};
use projections::Projection as _;
use projections::directory::{self, Directory};
use uuid::Uuid;

/// A role: a set of permissions, each written `resource:action`.
#[derive(SimpleObject)]
pub(crate) struct Role {
    /// Its name.
    code: String,
    /// Whether every installation has it and nobody can change it.
    is_built_in: bool,
    /// What it may do.
    permissions: Vec<String>,
}

fn defined(row: &directory::Role) -> Role {
    Role {
        code: row.role.to_string(),
        is_built_in: false,
        permissions: row.permissions.iter().map(ToString::to_string).collect(),
    }
}

fn built_in() -> impl Iterator<Item = Role> {
    BUILT_IN_ROLES.iter().filter_map(|name| {
        let permissions = built_in_permissions(&name.parse().ok()?)?;
        Some(Role {
            code: (*name).to_owned(),
            is_built_in: true,
            permissions: permissions.iter().map(ToString::to_string).collect(),
        })
    })
}

/// An API key; never its secret.
pub(crate) struct ApiKey(directory::ApiKey);

/// An API key; never its secret.
#[Object]
impl ApiKey {
    /// `key_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.api_key_id.to_string())
    }

    /// What it is for, in its owner's words.
    async fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// The part it is found by: the twelve characters after the environment.
    async fn public_part(&self) -> &str {
        &self.0.public_part
    }

    /// Whom it acts for.
    async fn user_id(&self) -> ID {
        ID(self.0.user_id.to_string())
    }

    /// The one organization it is limited to, if it is.
    async fn organization_id(&self) -> Option<ID> {
        self.0.organization_id.map(|id| ID(id.to_string()))
    }

    /// What it may do at most; without any, what its user may.
    async fn scopes(&self) -> Vec<String> {
        self.0.scopes.iter().map(ToString::to_string).collect()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it stops working, if it does.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// When it was revoked.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }

    /// Why it was revoked.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_ref().map(Text::as_str)
    }

    /// The key that takes over.
    async fn replaced_by(&self) -> Option<ID> {
        self.0.replaced_by.map(|id| ID(id.to_string()))
    }

    /// Until when it works after a rotation.
    async fn valid_until(&self) -> Option<DateTime> {
        self.0.valid_until.map(DateTime)
    }
}

#[derive(Default)]
pub(crate) struct AccessQuery;

#[Object]
impl AccessQuery {
    /// Every role: the built-in ones, then those defined here, now or as of a moment.
    async fn roles(&self, ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Vec<Role>, Problem> {
        let asking = asking(ctx)?;
        asking.may_read(Resource::Settings).await?;
        let at = at_position(asking, as_of).await?;
        let rows = directory::roles(view(asking, Directory::NAME, at).await?).await?;
        Ok(built_in().chain(rows.iter().map(defined)).collect())
    }

    /// API keys of a user, now or as of a moment; of whoever asks when none is named.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        user_id: Option<Id<UserId>>,
        as_of: Option<AsOf>,
    ) -> Result<Vec<ApiKey>, Problem> {
        api_keys(asking(ctx)?, user_id.map(|id| id.0), as_of).await
    }
}

async fn api_keys(
    asking: &Asking,
    user_id: Option<UserId>,
    as_of: Option<AsOf>,
) -> Result<Vec<ApiKey>, Problem> {
    asking.signed_in()?;
    let own = asking.caller.user_id();
    let user_id = user_id.or(own);
    let user_id = user_id.ok_or_else(|| Problem::input("userId", "say whose keys to list"))?;
    if own != Some(user_id) {
        asking.may_read(Resource::ApiKeys).await?;
    }
    let at = at_position(asking, as_of).await?;
    let then = view(asking, Directory::NAME, at).await?;
    let rows = directory::api_keys_of_user(then, user_id).await?;
    let visible = |row: &directory::ApiKey| {
        let only = asking.caller.only_organization();
        only.is_none() || row.organization_id == only
    };
    Ok(rows.into_iter().filter(visible).map(ApiKey).collect())
}

/// One key, for its owner, its organization's administrators, or who may read all.
pub(crate) async fn api_key(
    asking: &Asking,
    id: ApiKeyId,
    as_of: Option<AsOf>,
) -> Result<ApiKey, Problem> {
    asking.signed_in()?;
    let none = || Problem::not_found("API key", &id.to_string());
    let at = at_position(asking, as_of).await?;
    let rows = fold::<Directory>(asking, "api_key", &id.to_string(), at).await?;
    let row = rows.api_keys.rows().into_iter().next().cloned().ok_or_else(none)?;
    if asking.caller.user_id() == Some(row.user_id) {
        return Ok(ApiKey(row));
    }
    let scope = row.organization_id.map_or(Scope::Platform, Scope::Organization);
    match asking.require(Resource::ApiKeys, Action::Read, scope).await {
        Ok(()) => Ok(ApiKey(row)),
        Err(problem) if problem.code == ProblemCode::Forbidden => Err(none()),
        Err(problem) => Err(problem),
    }
}

async fn role_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Role>, Problem> {
    let Subject::Role(code) = &outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Directory::NAME, outcome.receipt.position).await?;
    let rows = directory::roles(pool).await?;
    Ok(rows.iter().find(|row| row.role == *code).map(defined))
}

async fn key_of(asking: &Asking, outcome: &Outcome) -> Result<Option<ApiKey>, Problem> {
    let Subject::ApiKey(id) = outcome.subject else { return Ok(None) };
    let rows = fold::<Directory>(asking, "api_key", &id.to_string(), None).await?;
    Ok(rows.api_keys.rows().into_iter().next().cloned().map(ApiKey))
}

payload! {
    /// What became of a command about a role.
    RolePayload {
        /// The role; null when it was deleted.
        role: Role = role_of
    }
}

payload! {
    /// What became of a command about an API key.
    ApiKeyPayload {
        /// The key, without its secret.
        api_key: ApiKey = key_of
    }
    shows
        /// The key as it is shown once: null for a repeat, and for whatever makes no key.
        printed_key
}

/// A role and what it may do.
#[derive(InputObject)]
struct RoleDefineInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Its name.
    role: Word<Code>,
    /// What it may do: `billing:r`, `users:w`, …
    permissions: Vec<Word<Permission>>,
}

/// A role.
#[derive(InputObject)]
struct RoleDeleteInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Its name.
    role: Word<Code>,
}

/// A new API key.
#[derive(InputObject)]
struct ApiKeyCreateInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Whom it acts for; for whoever asks when not said.
    user_id: Option<Id<UserId>>,
    /// The one organization it is limited to.
    organization_id: Option<Id<OrganizationId>>,
    /// What it is for.
    name: Word<Text>,
    /// What it may do at most; without any, what its user may.
    #[graphql(default)]
    scopes: Vec<Word<Permission>>,
    /// When it stops working.
    expires_at: Option<DateTime>,
}

/// An API key and why it is revoked.
#[derive(InputObject)]
struct ApiKeyRevokeInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which key.
    api_key_id: Id<ApiKeyId>,
    /// Why.
    reason: Word<Text>,
}

/// An API key that another takes over from.
#[derive(InputObject)]
struct ApiKeyRotateInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Which key.
    api_key_id: Id<ApiKeyId>,
    /// For how many seconds both work.
    #[graphql(default)]
    overlap_seconds: u32,
}

/// Makes a key: what is kept of it, and what is shown once.
pub(crate) fn new_key() -> Result<(NewKey, String), Problem> {
    let no_chance = |_| Problem::fault("the system gives no random numbers");
    let (mut public, mut secret) = ([0; 12], [0; 32]);
    getrandom::fill(&mut public).map_err(no_chance)?;
    getrandom::fill(&mut secret).map_err(no_chance)?;
    let environment = "live".parse().map_err(|_| Problem::fault("an environment without name"))?;
    let printed = PrintedKey::new(environment, public, &secret);
    let secret_hash = hash_secret(&printed.secret);
    let kept = NewKey { public_part: printed.public_part.clone(), secret_hash };
    Ok((kept, printed.print()))
}

#[derive(Default)]
pub(crate) struct AccessMutation;

#[Object]
impl AccessMutation {
    /// Says what a role may do.
    async fn role_define(
        &self,
        ctx: &Context<'_>,
        input: RoleDefineInput,
    ) -> Result<RolePayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let permissions = input.permissions.into_iter().map(|it| it.0).collect();
        let define = AccessCommand::RoleDefine { role: input.role.0, permissions };
        carry_out(ctx, asked, define).await.map(RolePayload)
    }

    /// Takes everything from a role.
    async fn role_delete(
        &self,
        ctx: &Context<'_>,
        input: RoleDeleteInput,
    ) -> Result<RolePayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let delete = AccessCommand::RoleDelete { role: input.role.0 };
        carry_out(ctx, asked, delete).await.map(RolePayload)
    }

    /// Makes an API key and shows it once.
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        input: ApiKeyCreateInput,
    ) -> Result<ApiKeyPayload, Problem> {
        let own = asking(ctx)?.caller.user_id();
        let user_id = input.user_id.map(|id| id.0).or(own);
        let (key, printed) = new_key()?;
        let create = AccessCommand::ApiKeyCreate {
            user_id: user_id.ok_or(commands::Failure::Unauthenticated)?,
            organization_id: input.organization_id.map(|id| id.0),
            name: input.name.0,
            scopes: input.scopes.into_iter().map(|scope| scope.0).collect(),
            expires_at: input.expires_at.map(|at| at.0),
            key,
        };
        let answer = carry_out(ctx, Asked::once(input.command_id), create).await?;
        Ok(ApiKeyPayload(answer.with_secret(printed)))
    }

    /// Stops an API key.
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        input: ApiKeyRevokeInput,
    ) -> Result<ApiKeyPayload, Problem> {
        let (api_key_id, reason) = (input.api_key_id.0, input.reason.0);
        let revoke = AccessCommand::ApiKeyRevoke { api_key_id, reason };
        carry_out(ctx, Asked::once(input.command_id), revoke).await.map(ApiKeyPayload)
    }

    /// Lets a new key take over from an old one, and shows it once.
    async fn api_key_rotate(
        &self,
        ctx: &Context<'_>,
        input: ApiKeyRotateInput,
    ) -> Result<ApiKeyPayload, Problem> {
        let (key, printed) = new_key()?;
        let (api_key_id, overlap_seconds) = (input.api_key_id.0, input.overlap_seconds);
        let rotate = AccessCommand::ApiKeyRotate { api_key_id, overlap_seconds, key };
        let answer = carry_out(ctx, Asked::once(input.command_id), rotate).await?;
        Ok(ApiKeyPayload(answer.with_secret(printed)))
    }
}

//! What changes an organization or who belongs to it.

use super::{Organization, OrganizationRole};
use crate::graphql::outcome::{Asked, carry_out, payload};
use crate::graphql::scalars::{Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object};
use commands::{Outcome, Subject, TenancyCommand};
use domain::values::{Code, OrganizationId, Text, UserId};
use projections::Projection as _;
use projections::directory::{self, Directory};
use uuid::Uuid;

async fn organization_of(
    asking: &Asking,
    outcome: &Outcome,
) -> Result<Option<Organization>, Problem> {
    let Subject::Organization(id) = outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Directory::NAME, outcome.receipt.position).await?;
    let found = directory::organization(pool, id).await?;
    Ok(found.map(|row| Organization { row, at: None }))
}

payload! {
    /// What became of a command about an organization.
    OrganizationPayload {
        /// The organization as the command left it.
        organization: Organization = organization_of
    }
}

/// A new organization.
#[derive(InputObject)]
struct OrganizationCreateInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The short name that people type.
    slug: Word<Code>,
    /// The name that people read.
    name: Word<Text>,
    /// Its first owner.
    owner: Id<UserId>,
    /// The code of its tier.
    tier: Word<Code>,
}

/// An organization and its other name.
#[derive(InputObject)]
struct OrganizationRenameInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
    /// The name that people read.
    name: Word<Text>,
}

/// An organization and its other tier.
#[derive(InputObject)]
struct OrganizationTierChangeInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
    /// The code of the tier; its newest effective version is taken.
    tier: Word<Code>,
    /// Why.
    reason: Word<Text>,
}

/// An organization.
#[derive(InputObject)]
struct OrganizationInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
}

/// An organization, and why.
#[derive(InputObject)]
struct OrganizationReasonInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
    /// Why.
    reason: Word<Text>,
}

/// A member and a role in the organization.
#[derive(InputObject)]
struct MemberInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
    /// Who.
    user_id: Id<UserId>,
    /// As what.
    role: OrganizationRole,
}

/// A member who leaves.
#[derive(InputObject)]
struct MemberRemoveInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which organization.
    organization_id: Id<OrganizationId>,
    /// Who.
    user_id: Id<UserId>,
}

#[derive(Default)]
pub(crate) struct TenancyMutation;

#[Object]
impl TenancyMutation {
    /// Brings an organization into being, with its tier's credits.
    async fn organization_create(
        &self,
        ctx: &Context<'_>,
        input: OrganizationCreateInput,
    ) -> Result<OrganizationPayload, Problem> {
        let OrganizationCreateInput { command_id, slug, name, owner, tier } = input;
        let (slug, name, owner, tier) = (slug.0, name.0, owner.0, tier.0);
        let create = TenancyCommand::OrganizationCreate { slug, name, owner, tier };
        carry_out(ctx, Asked::once(command_id), create).await.map(OrganizationPayload)
    }

    /// Gives an organization another name.
    async fn organization_rename(
        &self,
        ctx: &Context<'_>,
        input: OrganizationRenameInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, name) = (input.organization_id.0, input.name.0);
        let rename = TenancyCommand::OrganizationRename { organization_id, name };
        carry_out(ctx, asked, rename).await.map(OrganizationPayload)
    }

    /// Puts an organization on the newest version of a tier.
    async fn organization_tier_change(
        &self,
        ctx: &Context<'_>,
        input: OrganizationTierChangeInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let organization_id = input.organization_id.0;
        let (tier, reason) = (input.tier.0, input.reason.0);
        let change = TenancyCommand::OrganizationTierChange { organization_id, tier, reason };
        carry_out(ctx, asked, change).await.map(OrganizationPayload)
    }

    /// Stops everything in an organization's name.
    async fn organization_suspend(
        &self,
        ctx: &Context<'_>,
        input: OrganizationReasonInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, reason) = (input.organization_id.0, input.reason.0);
        let suspend = TenancyCommand::OrganizationSuspend { organization_id, reason };
        carry_out(ctx, asked, suspend).await.map(OrganizationPayload)
    }

    /// Ends a suspension.
    async fn organization_reactivate(
        &self,
        ctx: &Context<'_>,
        input: OrganizationInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let organization_id = input.organization_id.0;
        let reactivate = TenancyCommand::OrganizationReactivate { organization_id };
        carry_out(ctx, asked, reactivate).await.map(OrganizationPayload)
    }

    /// Ends an organization for good.
    async fn organization_close(
        &self,
        ctx: &Context<'_>,
        input: OrganizationReasonInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, reason) = (input.organization_id.0, input.reason.0);
        let close = TenancyCommand::OrganizationClose { organization_id, reason };
        carry_out(ctx, asked, close).await.map(OrganizationPayload)
    }

    /// Lets somebody belong to an organization.
    async fn member_add(
        &self,
        ctx: &Context<'_>,
        input: MemberInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, user_id) = (input.organization_id.0, input.user_id.0);
        let role = input.role.into();
        let add = TenancyCommand::MemberAdd { organization_id, user_id, role };
        carry_out(ctx, asked, add).await.map(OrganizationPayload)
    }

    /// Gives a member another role.
    async fn member_role_change(
        &self,
        ctx: &Context<'_>,
        input: MemberInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, user_id) = (input.organization_id.0, input.user_id.0);
        let role = input.role.into();
        let change = TenancyCommand::MemberRoleChange { organization_id, user_id, role };
        carry_out(ctx, asked, change).await.map(OrganizationPayload)
    }

    /// Lets a member go.
    async fn member_remove(
        &self,
        ctx: &Context<'_>,
        input: MemberRemoveInput,
    ) -> Result<OrganizationPayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (organization_id, user_id) = (input.organization_id.0, input.user_id.0);
        let remove = TenancyCommand::MemberRemove { organization_id, user_id };
        carry_out(ctx, asked, remove).await.map(OrganizationPayload)
    }
}

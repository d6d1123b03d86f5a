//! Plans about organizations and their members.

use super::{CLAIM_SLUG, Planner};
use crate::access::Authority;
use crate::command::TenancyCommand;
use crate::failure::{Failure, Refusal};
use domain::catalogue::tier::Tier;
use domain::identity::user::{self, Status, User};
use domain::tenancy::organization::{self, Organization, OrganizationCreated};
use domain::values::{Code, OrganizationId, UserId};

impl Planner<'_> {
    pub(super) async fn plan_tenancy(&mut self, command: TenancyCommand) -> Result<(), Failure> {
        use organization::Command as C;
        match command {
            TenancyCommand::OrganizationCreate { slug, name, owner, tier } => {
                self.person(owner).await?;
                let organization_id = OrganizationId::new(self.id("organization"));
                let tier_version = self.newest_tier_version(&tier).await?;
                self.claim(CLAIM_SLUG, slug.as_str(), organization_id.to_string());
                let created =
                    OrganizationCreated { organization_id, slug, name, owner, tier, tier_version };
                self.organization(organization_id, C::Create(Box::new(created))).await
            }
            TenancyCommand::OrganizationRename { organization_id, name } => {
                self.organization(organization_id, C::Rename { name }).await
            }
            TenancyCommand::OrganizationTierChange { organization_id, tier, reason } => {
                let tier_version = self.newest_tier_version(&tier).await?;
                let change = C::ChangeTier { tier, tier_version, reason };
                self.organization(organization_id, change).await
            }
            TenancyCommand::OrganizationSuspend { organization_id, reason } => {
                self.organization(organization_id, C::Suspend { reason }).await
            }
            TenancyCommand::OrganizationReactivate { organization_id } => {
                self.organization(organization_id, C::Reactivate).await
            }
            TenancyCommand::OrganizationClose { organization_id, reason } => {
                self.organization(organization_id, C::Close { reason }).await
            }
            TenancyCommand::MemberAdd { organization_id, user_id, role } => {
                self.person(user_id).await?;
                let by_owner = self.by_owner(organization_id).await?;
                let add = C::AddMember { user_id, role, by_owner };
                self.organization(organization_id, add).await
            }
            TenancyCommand::MemberRoleChange { organization_id, user_id, role } => {
                let by_owner = self.by_owner(organization_id).await?;
                let change = C::ChangeMemberRole { user_id, role, by_owner };
                self.organization(organization_id, change).await
            }
            TenancyCommand::MemberRemove { organization_id, user_id } => {
                let by_owner = self.by_owner(organization_id).await?;
                let remove = C::RemoveMember { user_id, by_owner };
                self.organization(organization_id, remove).await
            }
        }
    }

    async fn organization(
        &mut self,
        organization_id: OrganizationId,
        command: organization::Command,
    ) -> Result<(), Failure> {
        let id = organization_id.to_string();
        self.decide::<Organization>(&id, organization_id.uuid(), command).await
    }

    /// A member is somebody who exists and has not left for good.
    async fn person(&self, user_id: UserId) -> Result<(), Failure> {
        let user = self.read::<User>(&user_id.to_string()).await?;
        match user.status {
            Status::Invited | Status::Active | Status::Suspended => Ok(()),
            Status::Unknown | Status::Deactivated | Status::Erasing | Status::Erased => {
                Err(Refusal::User(user::Refusal::NotFound).into())
            }
        }
    }

    async fn newest_tier_version(&self, tier: &Code) -> Result<u32, Failure> {
        let known = self.read::<Tier>(tier.as_str()).await?;
        known
            .effective_at(self.now)
            .map(|(version, _)| version)
            .ok_or_else(|| Refusal::Unknown { what: "tier", name: tier.to_string() }.into())
    }

    async fn by_owner(&self, organization_id: OrganizationId) -> Result<bool, Failure> {
        Authority::new(self.executor).acts_as_owner(&self.request.caller, organization_id).await
    }
}

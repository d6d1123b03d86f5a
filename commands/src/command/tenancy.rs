//! Commands about organizations and their members.

use super::{Right, of, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::access::{Action, Resource};
use domain::tenancy::OrganizationRole;
use domain::values::{Code, OrganizationId, Text, UserId};
use serde::Serialize;
use uuid::Uuid;

/// About organizations and their members.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum TenancyCommand {
    /// Bring an organization into being, with its tier's credits.
    OrganizationCreate { slug: Code, name: Text, owner: UserId, tier: Code },
    /// Give it another name.
    OrganizationRename { organization_id: OrganizationId, name: Text },
    /// Put it on the newest version of a tier.
    OrganizationTierChange { organization_id: OrganizationId, tier: Code, reason: Text },
    /// Stop everything in its name.
    OrganizationSuspend { organization_id: OrganizationId, reason: Text },
    /// End a suspension.
    OrganizationReactivate { organization_id: OrganizationId },
    /// End it for good.
    OrganizationClose { organization_id: OrganizationId, reason: Text },
    /// Let somebody belong to it.
    MemberAdd { organization_id: OrganizationId, user_id: UserId, role: OrganizationRole },
    /// Give a member another role.
    MemberRoleChange { organization_id: OrganizationId, user_id: UserId, role: OrganizationRole },
    /// Let a member go.
    MemberRemove { organization_id: OrganizationId, user_id: UserId },
}

impl TenancyCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OrganizationCreate { .. } => "organization_create",
            Self::OrganizationRename { .. } => "organization_rename",
            Self::OrganizationTierChange { .. } => "organization_tier_change",
            Self::OrganizationSuspend { .. } => "organization_suspend",
            Self::OrganizationReactivate { .. } => "organization_reactivate",
            Self::OrganizationClose { .. } => "organization_close",
            Self::MemberAdd { .. } => "member_add",
            Self::MemberRoleChange { .. } => "member_role_change",
            Self::MemberRemove { .. } => "member_remove",
        }
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::OrganizationCreate { .. }
            | Self::OrganizationSuspend { .. }
            | Self::OrganizationReactivate { .. } => {
                platform(Resource::Organizations, Action::Write)
            }
            Self::OrganizationRename { organization_id, .. }
            | Self::MemberAdd { organization_id, .. }
            | Self::MemberRoleChange { organization_id, .. }
            | Self::MemberRemove { organization_id, .. } => {
                of(*organization_id, Resource::Organizations, Action::Write)
            }
            Self::OrganizationClose { organization_id, .. } => {
                of(*organization_id, Resource::Organizations, Action::Delete)
            }
            Self::OrganizationTierChange { .. } => platform(Resource::Billing, Action::Write),
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::OrganizationCreate { .. } => {
                Subject::Organization(OrganizationId::new(derived_id(command_id, "organization")))
            }
            Self::OrganizationRename { organization_id, .. }
            | Self::OrganizationTierChange { organization_id, .. }
            | Self::OrganizationSuspend { organization_id, .. }
            | Self::OrganizationReactivate { organization_id }
            | Self::OrganizationClose { organization_id, .. }
            | Self::MemberAdd { organization_id, .. }
            | Self::MemberRoleChange { organization_id, .. }
            | Self::MemberRemove { organization_id, .. } => Subject::Organization(*organization_id),
        }
    }
}

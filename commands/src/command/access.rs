//! Commands about people, roles, keys and the first administrator.

use super::{NewKey, Right, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::Instant;
use domain::access::{Action, Permission, Resource};
use domain::identity::user::ErasureGround;
use domain::values::{ApiKeyId, Code, OrganizationId, Text, UserId};
use serde::Serialize;
use std::collections::BTreeSet;
use uuid::Uuid;

/// About people, roles, keys and the first administrator.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum AccessCommand {
    /// Print a setup link; earlier ones stop working.
    SetupLinkIssue {
        #[serde(skip)]
        token_hash: String,
        #[serde(skip)]
        expires_at: Instant,
    },
    /// Use the setup link: the first administrator and a first key.
    SetupComplete {
        token: String,
        email: String,
        name: String,
        #[serde(skip)]
        key: Option<NewKey>,
    },
    /// Let the log go on from here, although something else was signed before.
    LogEpochOpen { epoch: u64, reason: Text, signed_position: i64, signed_note: Option<String> },
    /// Ask somebody to join.
    UserInvite { email: String, name: String },
    /// Let a user sign in.
    UserActivate { user_id: UserId },
    /// Stop a user at once.
    UserSuspend { user_id: UserId, reason: Text },
    /// End a suspension.
    UserReactivate { user_id: UserId },
    /// End it for good.
    UserDeactivate { user_id: UserId, reason: Text },
    /// Give a platform role.
    UserRoleAssign { user_id: UserId, role: Code },
    /// Take a platform role away.
    UserRoleRemove { user_id: UserId, role: Code },
    /// Destroy a person's data.
    PersonErase { user_id: UserId, ground: ErasureGround, reference: Option<Code> },
    /// Say that it is destroyed; asked by whoever destroyed the key.
    PersonErasureFinish { user_id: UserId },
    /// Say what a role may do.
    RoleDefine { role: Code, permissions: BTreeSet<Permission> },
    /// Take everything from a role.
    RoleDelete { role: Code },
    /// Make an API key.
    ApiKeyCreate {
        user_id: UserId,
        organization_id: Option<OrganizationId>,
        name: Text,
        scopes: BTreeSet<Permission>,
        expires_at: Option<Instant>,
        #[serde(skip)]
        key: NewKey,
    },
    /// Stop an API key.
    ApiKeyRevoke { api_key_id: ApiKeyId, reason: Text },
    /// Let a new key take over from an old one.
    ApiKeyRotate {
        api_key_id: ApiKeyId,
        overlap_seconds: u32,
        #[serde(skip)]
        key: NewKey,
    },
}

impl AccessCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SetupLinkIssue { .. } => "setup_link_issue",
            Self::SetupComplete { .. } => "setup_complete",
            Self::LogEpochOpen { .. } => "log_epoch_open",
            Self::UserInvite { .. } => "user_invite",
            Self::UserActivate { .. } => "user_activate",
            Self::UserSuspend { .. } => "user_suspend",
            Self::UserReactivate { .. } => "user_reactivate",
            Self::UserDeactivate { .. } => "user_deactivate",
            Self::UserRoleAssign { .. } => "user_role_assign",
            Self::UserRoleRemove { .. } => "user_role_remove",
            Self::PersonErase { .. } => "person_erase",
            Self::PersonErasureFinish { .. } => "person_erasure_finish",
            Self::RoleDefine { .. } => "role_define",
            Self::RoleDelete { .. } => "role_delete",
            Self::ApiKeyCreate { .. } => "api_key_create",
            Self::ApiKeyRevoke { .. } => "api_key_revoke",
            Self::ApiKeyRotate { .. } => "api_key_rotate",
        }
    }

    /// Whether personal data is among its inputs.
    pub(crate) const fn is_personal(&self) -> bool {
        matches!(self, Self::SetupComplete { .. } | Self::UserInvite { .. })
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::SetupComplete { .. } => Right::TokenInside,
            Self::SetupLinkIssue { .. }
            | Self::LogEpochOpen { .. }
            | Self::PersonErasureFinish { .. } => Right::SystemOnly,
            Self::PersonErase { .. } => platform(Resource::PersonalData, Action::Delete),
            Self::UserInvite { .. }
            | Self::UserActivate { .. }
            | Self::UserSuspend { .. }
            | Self::UserReactivate { .. } => platform(Resource::Users, Action::Write),
            Self::UserDeactivate { .. } => platform(Resource::Users, Action::Delete),
            // Whoever may give any role could take all rights: an administrator's matter.
            Self::UserRoleAssign { .. } | Self::UserRoleRemove { .. } => {
                platform(Resource::Users, Action::Execute)
            }
            Self::RoleDefine { .. } | Self::RoleDelete { .. } => {
                platform(Resource::Settings, Action::Execute)
            }
            Self::ApiKeyCreate { user_id, organization_id, .. } => {
                Right::NewKeyFor(*user_id, *organization_id)
            }
            Self::ApiKeyRotate { api_key_id, .. } => Right::OfKey(*api_key_id, Action::Write),
            Self::ApiKeyRevoke { api_key_id, .. } => Right::OfKey(*api_key_id, Action::Delete),
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::SetupLinkIssue { .. } | Self::LogEpochOpen { .. } => Subject::Installation,
            Self::SetupComplete { .. } | Self::UserInvite { .. } => {
                Subject::User(UserId::new(derived_id(command_id, "user")))
            }
            Self::UserActivate { user_id }
            | Self::UserSuspend { user_id, .. }
            | Self::UserReactivate { user_id }
            | Self::UserDeactivate { user_id, .. }
            | Self::UserRoleAssign { user_id, .. }
            | Self::UserRoleRemove { user_id, .. }
            | Self::PersonErase { user_id, .. }
            | Self::PersonErasureFinish { user_id } => Subject::User(*user_id),
            Self::RoleDefine { role, .. } | Self::RoleDelete { role } => {
                Subject::Role(role.clone())
            }
            Self::ApiKeyCreate { .. } | Self::ApiKeyRotate { .. } => {
                Subject::ApiKey(ApiKeyId::new(derived_id(command_id, "api_key")))
            }
            Self::ApiKeyRevoke { api_key_id, .. } => Subject::ApiKey(*api_key_id),
        }
    }
}

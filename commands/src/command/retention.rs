//! Commands about legal holds and retention.

use super::{Right, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::access::{Action, Resource};
use domain::retention::{HoldTarget, RecordKind};
use domain::values::{LegalHoldId, OrganizationId, Text};
use serde::Serialize;
use uuid::Uuid;

/// About legal holds and retention.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum RetentionCommand {
    /// Let nothing of a person or an organization be destroyed.
    LegalHoldPlace { target: HoldTarget, reason: Text },
    /// Let a hold go.
    LegalHoldRelease { target: HoldTarget, legal_hold_id: LegalHoldId, reason: Text },
    /// Say for how long bodies are kept; without an organization, the platform's own.
    RetentionPolicySet {
        organization_id: Option<OrganizationId>,
        kind: RecordKind,
        /// Counted from when an event was recorded.
        keep_days: u32,
    },
    /// Destroy bodies whose time is over, as many as one purge takes.
    RetentionPurge { organization_id: Option<OrganizationId>, kind: RecordKind },
}

impl RetentionCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LegalHoldPlace { .. } => "legal_hold_place",
            Self::LegalHoldRelease { .. } => "legal_hold_release",
            Self::RetentionPolicySet { .. } => "retention_policy_set",
            Self::RetentionPurge { .. } => "retention_purge",
        }
    }

    /// Who may ask it: the platform's, never an organization's own people, who could destroy what
    /// speaks against them.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::LegalHoldPlace { .. }
            | Self::LegalHoldRelease { .. }
            | Self::RetentionPolicySet { .. } => platform(Resource::PersonalData, Action::Write),
            Self::RetentionPurge { .. } => platform(Resource::PersonalData, Action::Execute),
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::LegalHoldPlace { target, .. } => {
                Subject::LegalHold(*target, LegalHoldId::new(derived_id(command_id, "legal_hold")))
            }
            Self::LegalHoldRelease { target, legal_hold_id, .. } => {
                Subject::LegalHold(*target, *legal_hold_id)
            }
            Self::RetentionPolicySet { organization_id, .. }
            | Self::RetentionPurge { organization_id, .. } => Subject::Retention(*organization_id),
        }
    }
}

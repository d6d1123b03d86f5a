//! Commands about credits.

use super::{Right, of, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::Instant;
use domain::access::{Action, Resource};
use domain::credits::{Charge, GrantKind, GrantSource};
use domain::values::{Credits, GrantId, HoldId, OrganizationId, SpendId, Text};
use serde::Serialize;
use uuid::Uuid;

/// About credits.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum CreditCommand {
    /// Give credits.
    CreditGrant {
        organization_id: OrganizationId,
        credits: Credits,
        kind: GrantKind,
        source: GrantSource,
        priority: u16,
        effective_at: Option<Instant>,
        expires_at: Option<Instant>,
    },
    /// Take back credits of a grant that nobody spent.
    CreditVoid {
        organization_id: OrganizationId,
        grant_id: GrantId,
        credits: Credits,
        reason: Text,
    },
    /// Spend credits, all or nothing.
    CreditSpend { organization_id: OrganizationId, credits: Credits, reason: Text },
    /// Set credits aside.
    CreditHoldPlace {
        organization_id: OrganizationId,
        credits: Credits,
        seconds: u32,
        reason: Text,
    },
    /// Spend part of a hold and free the rest.
    CreditHoldCapture { organization_id: OrganizationId, hold_id: HoldId, credits: Credits },
    /// Free a hold.
    CreditHoldRelease { organization_id: OrganizationId, hold_id: HoldId },
    /// Let go of grants and holds whose time is over.
    CreditExpireDue { organization_id: OrganizationId },
    /// Charge usage; asked by the charging flow.
    UsageCharge {
        organization_id: OrganizationId,
        first_position: i64,
        last_position: i64,
        #[serde(skip)]
        charge: Box<Charge>,
    },
}

impl CreditCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreditGrant { .. } => "credit_grant",
            Self::CreditVoid { .. } => "credit_void",
            Self::CreditSpend { .. } => "credit_spend",
            Self::CreditHoldPlace { .. } => "credit_hold_place",
            Self::CreditHoldCapture { .. } => "credit_hold_capture",
            Self::CreditHoldRelease { .. } => "credit_hold_release",
            Self::CreditExpireDue { .. } => "credit_expire_due",
            Self::UsageCharge { .. } => "usage_charge",
        }
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::CreditGrant { .. } | Self::CreditVoid { .. } => {
                platform(Resource::Billing, Action::Write)
            }
            Self::CreditSpend { organization_id, .. }
            | Self::CreditHoldPlace { organization_id, .. }
            | Self::CreditHoldCapture { organization_id, .. }
            | Self::CreditHoldRelease { organization_id, .. } => {
                of(*organization_id, Resource::Billing, Action::Execute)
            }
            Self::CreditExpireDue { .. } | Self::UsageCharge { .. } => Right::SystemOnly,
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::CreditGrant { organization_id, .. } => {
                Subject::Grant(*organization_id, GrantId::new(derived_id(command_id, "grant")))
            }
            Self::CreditVoid { organization_id, grant_id, .. } => {
                Subject::Grant(*organization_id, *grant_id)
            }
            Self::CreditSpend { organization_id, .. } => {
                Subject::Spend(*organization_id, SpendId::new(derived_id(command_id, "spend")))
            }
            Self::CreditHoldPlace { organization_id, .. } => {
                Subject::Hold(*organization_id, HoldId::new(derived_id(command_id, "hold")))
            }
            Self::CreditHoldCapture { organization_id, hold_id, .. }
            | Self::CreditHoldRelease { organization_id, hold_id } => {
                Subject::Hold(*organization_id, *hold_id)
            }
            Self::CreditExpireDue { organization_id }
            | Self::UsageCharge { organization_id, .. } => Subject::CreditAccount(*organization_id),
        }
    }
}

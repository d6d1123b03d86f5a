//! Commands about purchases.

use super::{Right, of, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::access::{Action, Resource};
use domain::values::{Code, Credits, GrantId, Money, OrganizationId, PurchaseId, Text};
use serde::Serialize;
use uuid::Uuid;

/// About purchases.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum PurchaseCommand {
    /// Begin to buy a credit pack.
    PurchaseInitiate { organization_id: OrganizationId, credit_pack: Code },
    /// Record that the money arrived.
    PurchasePay { purchase_id: PurchaseId, amount: Money, reference: Text },
    /// Record that the credits are there; asked by the fulfilment flow.
    PurchaseFulfil { purchase_id: PurchaseId, grant_id: GrantId },
    /// Record that it came to nothing.
    PurchaseFail { purchase_id: PurchaseId, reason: Text },
    /// Give money back for credits that nobody spent.
    PurchaseRefund { purchase_id: PurchaseId, credits: Option<Credits>, reason: Text },
}

impl PurchaseCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PurchaseInitiate { .. } => "purchase_initiate",
            Self::PurchasePay { .. } => "purchase_pay",
            Self::PurchaseFulfil { .. } => "purchase_fulfil",
            Self::PurchaseFail { .. } => "purchase_fail",
            Self::PurchaseRefund { .. } => "purchase_refund",
        }
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::PurchaseInitiate { organization_id, .. } => {
                of(*organization_id, Resource::Purchases, Action::Write)
            }
            Self::PurchasePay { .. } | Self::PurchaseFail { .. } => {
                platform(Resource::Purchases, Action::Execute)
            }
            Self::PurchaseRefund { .. } => platform(Resource::Purchases, Action::Delete),
            Self::PurchaseFulfil { .. } => Right::SystemOnly,
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::PurchaseInitiate { .. } => {
                Subject::Purchase(PurchaseId::new(derived_id(command_id, "purchase")))
            }
            Self::PurchasePay { purchase_id, .. }
            | Self::PurchaseFulfil { purchase_id, .. }
            | Self::PurchaseFail { purchase_id, .. }
            | Self::PurchaseRefund { purchase_id, .. } => Subject::Purchase(*purchase_id),
        }
    }
}

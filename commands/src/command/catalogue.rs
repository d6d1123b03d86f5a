//! Commands about what is offered and at which price.

use super::{Right, platform};
use crate::command::Subject;
use domain::access::{Action, Resource};
use domain::catalogue::{
    add_on::AddOnPublished, credit_pack::CreditPackPublished, meter::MeterDefined,
    model::ModelPriced, rate_card::Rates, tier::Terms,
};
use domain::values::Code;
use serde::Serialize;
use uuid::Uuid;

/// About what is offered and at which price.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum CatalogueCommand {
    /// Offer the next version of a tier.
    TierPublish { tier: Code, terms: Box<Terms> },
    /// Offer an add-on.
    AddOnPublish(Box<AddOnPublished>),
    /// Offer a credit pack.
    CreditPackPublish(Box<CreditPackPublished>),
    /// Say how a meter counts.
    MeterDefine(MeterDefined),
    /// State a model's prices.
    ModelPrice(Box<ModelPriced>),
    /// Let the next version of the rate card hold.
    RateCardPublish(Box<Rates>),
}

impl CatalogueCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TierPublish { .. } => "tier_publish",
            Self::AddOnPublish(_) => "add_on_publish",
            Self::CreditPackPublish(_) => "credit_pack_publish",
            Self::MeterDefine(_) => "meter_define",
            Self::ModelPrice(_) => "model_price",
            Self::RateCardPublish(_) => "rate_card_publish",
        }
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::TierPublish { .. }
            | Self::AddOnPublish(_)
            | Self::CreditPackPublish(_)
            | Self::RateCardPublish(_) => platform(Resource::Billing, Action::Write),
            Self::MeterDefine(_) => platform(Resource::Settings, Action::Write),
            Self::ModelPrice(_) => platform(Resource::Models, Action::Write),
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, _command_id: Uuid) -> Subject {
        match self {
            Self::TierPublish { tier, .. } => Subject::Tier(tier.clone()),
            Self::AddOnPublish(offer) => Subject::AddOn(offer.add_on.clone()),
            Self::CreditPackPublish(offer) => Subject::CreditPack(offer.credit_pack.clone()),
            Self::MeterDefine(meter) => Subject::Meter(meter.meter.clone()),
            Self::ModelPrice(entry) => Subject::Model(entry.model.clone()),
            Self::RateCardPublish(_) => Subject::RateCard,
        }
    }
}

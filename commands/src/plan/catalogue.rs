//! Plans about what is offered and at which price.

use super::Planner;
use crate::command::CatalogueCommand;
use crate::failure::Failure;
use domain::catalogue::add_on::{self, AddOn};
use domain::catalogue::credit_pack::{self, CreditPack};
use domain::catalogue::meter::{self, Meter};
use domain::catalogue::model::{self, Model};
use domain::catalogue::rate_card::{self, RateCard};
use domain::catalogue::tier::{self, Tier};
use uuid::Uuid;

impl Planner<'_> {
    pub(super) async fn plan_catalogue(
        &mut self,
        command: CatalogueCommand,
    ) -> Result<(), Failure> {
        let platform = Uuid::nil();
        match command {
            CatalogueCommand::TierPublish { tier, terms } => {
                let id = tier.to_string();
                self.decide::<Tier>(&id, platform, tier::Command::Publish { tier, terms }).await
            }
            CatalogueCommand::AddOnPublish(offer) => {
                let id = offer.add_on.to_string();
                self.decide::<AddOn>(&id, platform, add_on::Command::Publish(offer)).await
            }
            CatalogueCommand::CreditPackPublish(offer) => {
                let id = offer.credit_pack.to_string();
                let publish = credit_pack::Command::Publish(offer);
                self.decide::<CreditPack>(&id, platform, publish).await
            }
            CatalogueCommand::MeterDefine(defined) => {
                let id = defined.meter.to_string();
                self.decide::<Meter>(&id, platform, meter::Command::Define(defined)).await
            }
            CatalogueCommand::ModelPrice(entry) => {
                let id = entry.model.to_string();
                self.decide::<Model>(&id, platform, model::Command::Price(entry)).await
            }
            CatalogueCommand::RateCardPublish(rates) => {
                let publish = rate_card::Command::Publish(rates);
                self.decide::<RateCard>("default", platform, publish).await
            }
        }
    }
}

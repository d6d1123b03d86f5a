//! What the demonstration offers: the standard catalogue and a small price list, as commands to
//! publish them.

use super::prices;
use commands::CatalogueCommand;
use domain::catalogue::standard::{self, Mistake};
use domain::values::Code;
use std::collections::HashMap;

/// Every offer with the name of its step, in an order in which they can be published.
pub(super) fn offers() -> Result<Vec<(String, CatalogueCommand)>, Mistake> {
    let mut offers = Vec::new();
    let mut versions = HashMap::<Code, u32>::new();
    for (tier, terms) in standard::tiers()? {
        let version = versions.entry(tier.clone()).or_default();
        *version += 1;
        let step = format!("tier/{tier}/{version}");
        offers.push((step, CatalogueCommand::TierPublish { tier, terms: Box::new(terms) }));
    }
    for offer in standard::add_ons()? {
        let step = format!("add_on/{}", offer.add_on);
        offers.push((step, CatalogueCommand::AddOnPublish(Box::new(offer))));
    }
    for offer in standard::credit_packs()? {
        let step = format!("credit_pack/{}", offer.credit_pack);
        offers.push((step, CatalogueCommand::CreditPackPublish(Box::new(offer))));
    }
    for meter in standard::meters()? {
        let step = format!("meter/{}", meter.meter);
        offers.push((step, CatalogueCommand::MeterDefine(meter)));
    }
    for model in prices::models()? {
        let step = format!("model/{}", model.model);
        offers.push((step, CatalogueCommand::ModelPrice(Box::new(model))));
    }
    let rates = CatalogueCommand::RateCardPublish(Box::new(standard::rates()?));
    offers.push(("rate_card".to_owned(), rates));
    Ok(offers)
}

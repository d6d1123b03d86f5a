//! What was offered, and at which price.

use super::Shown;
use domain::catalogue::add_on::AddOn;
use domain::catalogue::credit_pack::CreditPack;
use domain::catalogue::meter::Meter;
use domain::catalogue::model::Model;
use domain::catalogue::rate_card::RateCard;
use domain::catalogue::tier::Tier;
use serde_json::{Value, json};

impl Shown for Tier {
    fn show(&self) -> Value {
        let versions: Vec<Value> = (1..)
            .zip(&self.versions)
            .map(|(version, terms): (u32, _)| json!({ "version": version, "terms": terms }))
            .collect();
        json!({ "versions": versions })
    }
}

impl Shown for AddOn {
    fn show(&self) -> Value {
        json!(self.offer)
    }
}

impl Shown for CreditPack {
    fn show(&self) -> Value {
        json!(self.offer)
    }
}

impl Shown for Meter {
    fn show(&self) -> Value {
        json!(self.defined)
    }
}

impl Shown for Model {
    fn show(&self) -> Value {
        json!(self.priced)
    }
}

impl Shown for RateCard {
    fn show(&self) -> Value {
        json!(self.newest)
    }
}

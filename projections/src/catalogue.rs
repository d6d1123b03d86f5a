//! The catalogue: meters, models and their prices, add-ons, credit packs, the rate card.
//!
//! Prices are exact decimals, kept as text inside the entry. Of a model, an add-on and a credit
//! pack the newest entry is here, with its version; older ones are in the log and are read as of a
//! moment.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Select, View};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::catalogue::add_on::{self, AddOnPublished};
use domain::catalogue::credit_pack::{self, CreditPackPublished};
use domain::catalogue::meter::{self, Aggregation};
use domain::catalogue::model::{self, ModelPriced};
use domain::catalogue::rate_card::{self, Rates};
use domain::values::{Code, ModelName};
use domain::{Event, Instant};
use event_log::Position;

table! {
    /// A meter.
    pub struct Meter in "catalogue_meter" (meter: Code), temporal {
        /// Which.
        meter: Code = "text collate \"C\" not null",
        /// How single records become one figure.
        aggregation: Aggregation = "text not null",
        /// The base unit of a quantity.
        unit: Code = "text not null",
        /// The event that defined it.
        position: Position = "bigint not null",
    }
}

table! {
    /// A model and its newest prices.
    pub struct Model in "catalogue_model" (model: ModelName), temporal {
        /// Which.
        model: ModelName = "text collate \"C\" not null",
        /// Who runs it.
        provider: String = "text collate \"C\" not null",
        /// What it does, when the price list says.
        mode: Option<String> = "text",
        /// The version of its entry.
        version: u32 = "integer not null",
        /// The entry, with every price.
        entry: ModelPriced = "jsonb not null",
        /// When it was priced.
        priced_at: Instant = "timestamptz not null",
        /// The event that priced it.
        position: Position = "bigint not null",
    }
    index "provider, model"
}

table! {
    /// An add-on as it is offered now.
    pub struct AddOn in "catalogue_add_on" (add_on: Code), temporal {
        /// Which.
        add_on: Code = "text collate \"C\" not null",
        /// The offer.
        offer: AddOnPublished = "jsonb not null",
        /// The event that published it.
        position: Position = "bigint not null",
    }
}

table! {
    /// A credit pack as it is offered now.
    pub struct CreditPack in "catalogue_credit_pack" (credit_pack: Code), temporal {
        /// Which.
        credit_pack: Code = "text collate \"C\" not null",
        /// The offer.
        offer: CreditPackPublished = "jsonb not null",
        /// The event that published it.
        position: Position = "bigint not null",
    }
}

table! {
    /// One version of the rate card.
    pub struct RateCard in "catalogue_rate_card" (version: u32), temporal {
        /// 1, 2, 3, …
        version: u32 = "integer not null",
        /// From when it holds.
        effective_from: Instant = "timestamptz not null",
        /// What it says.
        rates: Rates = "jsonb not null",
        /// The event that published it.
        position: Position = "bigint not null",
    }
}

row_set! {
    /// The rows of the catalogue.
    pub struct Rows {
        /// Meters.
        meters: Meter,
        /// Models.
        models: Model,
        /// Add-ons.
        add_ons: AddOn,
        /// Credit packs.
        credit_packs: CreditPack,
        /// Versions of the rate card.
        rate_cards: RateCard,
    }
}

/// What is offered and what it costs.
#[derive(Debug)]
pub struct Catalogue;

impl Projection for Catalogue {
    const NAME: &'static str = "catalogue";
    const VERSION: i32 = 2;
    const TAKES: Takes = Takes::Of(&[
        meter::Event::NAMES,
        model::Event::NAMES,
        add_on::Event::NAMES,
        credit_pack::Event::NAMES,
        rate_card::Event::NAMES,
    ]);
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        let position = occurrence.position;
        match &occurrence.event {
            Event::Meter(meter::Event::MeterDefined(it)) => rows.meters.put(Meter {
                meter: it.meter.clone(),
                aggregation: it.aggregation,
                unit: it.unit.clone(),
                position,
            }),
            Event::Model(model::Event::ModelPriced(it)) => rows.models.put(Model {
                model: it.model.clone(),
                provider: it.provider.to_string(),
                mode: it.mode.as_ref().map(ToString::to_string),
                version: it.version,
                entry: it.clone(),
                priced_at: occurrence.recorded_at,
                position,
            }),
            Event::AddOn(add_on::Event::AddOnPublished(it)) => {
                rows.add_ons.put(AddOn { add_on: it.add_on.clone(), offer: it.clone(), position });
            }
            Event::CreditPack(credit_pack::Event::CreditPackPublished(it)) => {
                rows.credit_packs.put(CreditPack {
                    credit_pack: it.credit_pack.clone(),
                    offer: it.clone(),
                    position,
                });
            }
            Event::RateCard(rate_card::Event::RateCardPublished(it)) => {
                rows.rate_cards.put(RateCard {
                    version: it.version,
                    effective_from: it.rates.effective_from,
                    rates: it.rates.clone(),
                    position,
                });
            }
            Event::Usage(_)
            | Event::CreditAccount(_)
            | Event::User(_)
            | Event::ApiKey(_)
            | Event::Organization(_)
            | Event::Role(_)
            | Event::Tier(_)
            | Event::Purchase(_)
            | Event::Service(_)
            | Event::Installation(_)
            | Event::Security(_)
            | Event::LegalHold(_)
            | Event::Retention(_)
            | Event::Purged(_) => {}
        }
        Ok(())
    }
}

/// Every meter.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn meters<'a>(view: impl Into<View<'a>>) -> Result<Vec<Meter>, ReadError> {
    let view = view.into();
    Select::of_view::<Meter>(view).all(view.pool, "meter").await
}

/// Models along their names, of one provider or of all.
pub async fn models<'a>(
    view: impl Into<View<'a>>,
    provider: Option<&str>,
    walk: &Walk<ModelName>,
) -> Result<Vec<Model>, ReadError> {
    let view = view.into();
    Select::of_view::<Model>(view)
        .and_if("provider = ", provider.map(str::to_owned))
        .walk(view.pool, "model", &walk.map(ToString::to_string))
        .await
}

/// One model.
pub async fn model<'a>(
    view: impl Into<View<'a>>,
    name: &ModelName,
) -> Result<Option<Model>, ReadError> {
    let view = view.into();
    Select::of_view::<Model>(view).and("model = ", name.to_string()).one(view.pool).await
}

/// Every add-on.
pub async fn add_ons<'a>(view: impl Into<View<'a>>) -> Result<Vec<AddOn>, ReadError> {
    let view = view.into();
    Select::of_view::<AddOn>(view).all(view.pool, "add_on").await
}

/// Every credit pack.
pub async fn credit_packs<'a>(view: impl Into<View<'a>>) -> Result<Vec<CreditPack>, ReadError> {
    let view = view.into();
    Select::of_view::<CreditPack>(view).all(view.pool, "credit_pack").await
}

/// Every version of the rate card, oldest first.
pub async fn rate_cards<'a>(view: impl Into<View<'a>>) -> Result<Vec<RateCard>, ReadError> {
    let view = view.into();
    Select::of_view::<RateCard>(view).all(view.pool, "version").await
}

//! The price book: everything that a usage record is priced by, as it was at a position.
//!
//! Folded from the catalogue's streams; a price that changed counts from its own position on, so
//! that pricing the same record again gives the same charge, whenever it is done.

use crate::failure::Failure;
use domain::Event;
use domain::catalogue::model::ModelPriced;
use domain::catalogue::rate_card::{Event as RateCardEvent, RateCardPublished};
use domain::catalogue::tier::{CallPricing, Event as TierEvent, Terms};
use domain::catalogue::{meter, model};
use domain::metering::rating::{Explanation, Prices, rate};
use domain::metering::{Unpriceable, UsageRecorded};
use domain::values::{Code, ModelName};
use event_log::{EventLog, Position, Recorded};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The kinds of streams that the book is folded from.
const KINDS: [&str; 4] = ["tier", "meter", "model", "rate_card"];

/// Prices, meters and tiers at one position.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    position: Position,
    tiers: HashMap<Code, Vec<Terms>>,
    meters: BTreeSet<Code>,
    models: HashMap<ModelName, Arc<ModelPriced>>,
    rate_card: Option<RateCardPublished>,
}

impl PriceBook {
    /// The book as it was at a position.
    ///
    /// # Errors
    /// That the log could not be read.
    pub async fn at(log: &EventLog, position: Position) -> Result<Self, Failure> {
        let mut book = Self { position, ..Self::default() };
        for kind in KINDS {
            for recorded in log.read_kind(kind, Some(position)).await? {
                book.take_in(&decode(&recorded)?);
            }
        }
        Ok(book)
    }

    /// Takes in one event; those of other kinds change nothing.
    pub fn take_in(&mut self, event: &Event) {
        match event {
            Event::Tier(TierEvent::TierVersionPublished(published)) => {
                let versions = self.tiers.entry(published.tier.clone()).or_default();
                versions.push(published.terms.clone());
            }
            Event::Meter(meter::Event::MeterDefined(defined)) => {
                self.meters.insert(defined.meter.clone());
            }
            Event::Model(model::Event::ModelPriced(priced)) => {
                self.models.insert(priced.model.clone(), Arc::new(priced.clone()));
            }
            Event::RateCard(RateCardEvent::RateCardPublished(published)) => {
                self.rate_card = Some(published.clone());
            }
            Event::Usage(_)
            | Event::CreditAccount(_)
            | Event::User(_)
            | Event::ApiKey(_)
            | Event::Organization(_)
            | Event::Role(_)
            | Event::AddOn(_)
            | Event::CreditPack(_)
            | Event::Purchase(_)
            | Event::Service(_)
            | Event::Installation(_)
            | Event::Security(_)
            | Event::LegalHold(_)
            | Event::Retention(_)
            | Event::Purged(_) => {}
        }
    }

    /// The position it was read at.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether a meter is defined.
    #[must_use]
    pub fn has_meter(&self, meter: &Code) -> bool {
        self.meters.contains(meter)
    }

    /// Every meter that is defined.
    pub fn meters(&self) -> impl Iterator<Item = &Code> {
        self.meters.iter()
    }

    /// The price list's entry of a model.
    #[must_use]
    pub fn model(&self, name: &ModelName) -> Option<&Arc<ModelPriced>> {
        self.models.get(name)
    }

    /// Every model on the price list.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.models.keys()
    }

    /// The version of the rate card; zero when there is none.
    #[must_use]
    pub fn rate_card_version(&self) -> u32 {
        self.rate_card.as_ref().map_or(0, |card| card.version)
    }

    /// How a version of a tier prices a call.
    #[must_use]
    pub fn pricing(&self, tier: &Code, version: u32) -> Option<CallPricing> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.tiers.get(tier)?.get(index).map(|terms| terms.calls)
    }

    /// The terms of a version of a tier.
    #[must_use]
    pub fn terms(&self, tier: &Code, version: u32) -> Option<&Terms> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.tiers.get(tier)?.get(index)
    }

    /// Prices one usage record under a tier's rule.
    ///
    /// # Errors
    /// [`Unpriceable`] says what is missing; without any rate card nothing has a price.
    pub fn rate(
        &self,
        usage: &UsageRecorded,
        pricing: CallPricing,
    ) -> Result<Explanation, Unpriceable> {
        let Some(card) = &self.rate_card else {
            let meter = usage.quantities.keys().next().cloned();
            return Err(meter.map_or(Unpriceable::NoModel, Unpriceable::NoRate));
        };
        let model = usage.model.as_ref().and_then(|name| self.models.get(name)).map(|m| &**m);
        rate(usage, Prices { model, rates: &card.rates, pricing })
    }
}

/// Reads a stored event.
pub(crate) fn decode(recorded: &Recorded) -> Result<Event, Failure> {
    Ok(Event::decode(&recorded.type_name, recorded.schema_version, &recorded.payload)?)
}

/// The newest book of this process, read again when the catalogue has news.
#[derive(Default)]
pub(crate) struct PriceBooks(tokio::sync::RwLock<Option<Arc<PriceBook>>>);

impl PriceBooks {
    /// The book as it is now.
    pub(crate) async fn newest(&self, log: &EventLog) -> Result<Arc<PriceBook>, Failure> {
        let mut newest = Position::default();
        for kind in KINDS {
            newest = newest.max(log.newest_of_kind(kind).await?);
        }
        if let Some(book) = self.0.read().await.as_ref().filter(|book| book.position >= newest) {
            return Ok(Arc::clone(book));
        }
        let book = Arc::new(PriceBook::at(log, newest).await?);
        *self.0.write().await = Some(Arc::clone(&book));
        Ok(book)
    }
}

//! What was in force when: versions of tiers, of the rate card and of prices, each with the
//! position of the event that published it, and the organization's tier through time.
//!
//! A usage record is priced by what was published before it, however late it is charged.

use crate::history::{decode, stream_page};
use crate::{Failure, session};
use domain::Event;
use domain::catalogue::model::{Event as ModelEvent, ModelPriced};
use domain::catalogue::rate_card::{Event as RateCardEvent, RateCardPublished};
use domain::catalogue::tier::{Event as TierEvent, TierVersionPublished};
use domain::credits::UsageCharged;
use domain::events::OfAnotherKind;
use domain::tenancy::Event as OrganizationEvent;
use domain::values::{Code, ModelName, OrganizationId};
use event_log::{EventLog, Position, Recorded};
use std::collections::BTreeMap;

const PAGE: i64 = 500;

/// Something with versions, oldest first.
#[derive(Debug)]
pub(super) struct Versions<T>(Vec<(i64, T)>);

/// What the lines of one charge are priced by.
#[derive(Debug)]
pub(super) struct Catalogue {
    tier: Versions<TierVersionPublished>,
    rate_card: Versions<RateCardPublished>,
    models: BTreeMap<ModelName, Versions<ModelPriced>>,
    organization: Versions<(Code, u32)>,
}

impl<T> Versions<T> {
    /// The newest published before a position, and where.
    pub(super) fn before(&self, position: i64) -> Option<(i64, &T)> {
        let newest = self.0.iter().rev().find(|(published, _)| *published < position);
        newest.map(|(published, version)| (*published, version))
    }

    /// Where a version was published; they are numbered from 1.
    fn position(&self, version: u32) -> Option<i64> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.0.get(index).map(|(position, _)| *position)
    }
}

impl Catalogue {
    /// Reads what a charge rests on; the prices of models come with its lines.
    pub(super) async fn of_charge(
        log: &EventLog,
        recorded: &Recorded,
        charge: &UsageCharged,
    ) -> Result<Self, Failure> {
        let to = recorded.position;
        let organization = OrganizationId::new(recorded.tenant).to_string();
        let tier = versions(log, "tier", charge.tier.as_str(), to, |event: TierEvent| {
            let TierEvent::TierVersionPublished(published) = event;
            Some(published)
        });
        let rate_card = versions(log, "rate_card", "default", to, |event: RateCardEvent| {
            let RateCardEvent::RateCardPublished(published) = event;
            Some(published)
        });
        let tiers = versions(log, "organization", &organization, to, tier_of);
        Ok(Self {
            tier: tier.await?,
            rate_card: rate_card.await?,
            models: BTreeMap::new(),
            organization: tiers.await?,
        })
    }

    /// Where a version of the charge's tier was published.
    pub(super) fn tier_position(&self, version: u32) -> Option<i64> {
        self.tier.position(version)
    }

    /// Where a version of the rate card was published.
    pub(super) fn rate_card_position(&self, version: u32) -> Option<i64> {
        self.rate_card.position(version)
    }

    /// A version of the charge's tier, if it was published before a position.
    pub(super) fn terms(&self, version: u32, before: i64) -> Option<&TierVersionPublished> {
        let published = self.tier.0.iter().find(|(_, published)| published.version == version);
        published.filter(|(position, _)| *position < before).map(|(_, published)| published)
    }

    /// The rate card before a position, and where it was published.
    pub(super) fn rate_card(&self, before: i64) -> Option<(i64, &RateCardPublished)> {
        self.rate_card.before(before)
    }

    /// The organization's tier and version before a position.
    pub(super) fn tier_of_organization(&self, before: i64) -> Option<&(Code, u32)> {
        self.organization.before(before).map(|(_, tier)| tier)
    }

    /// A model's prices before a position, and where they were published.
    pub(super) fn model(&self, name: &ModelName, before: i64) -> Option<(i64, &ModelPriced)> {
        self.models.get(name)?.before(before)
    }

    /// Reads the prices of a model, once.
    pub(super) async fn read_model(
        &mut self,
        log: &EventLog,
        name: &ModelName,
        to: Position,
    ) -> Result<(), Failure> {
        if !self.models.contains_key(name) {
            let read = prices(log, name, to).await?;
            self.models.insert(name.clone(), read);
        }
        Ok(())
    }
}

async fn prices(
    log: &EventLog,
    name: &ModelName,
    to: Position,
) -> Result<Versions<ModelPriced>, Failure> {
    versions(log, "model", name.as_str(), to, |event: ModelEvent| {
        let ModelEvent::ModelPriced(priced) = event;
        Some(priced)
    })
    .await
}

/// The tier that an event puts an organization on, if it does.
fn tier_of(event: OrganizationEvent) -> Option<(Code, u32)> {
    match event {
        OrganizationEvent::OrganizationCreated(created) => {
            Some((created.tier, created.tier_version))
        }
        OrganizationEvent::OrganizationTierChanged(changed) => {
            Some((changed.tier, changed.tier_version))
        }
        OrganizationEvent::OrganizationRenamed(_)
        | OrganizationEvent::MemberAdded(_)
        | OrganizationEvent::MemberRoleChanged(_)
        | OrganizationEvent::MemberRemoved(_)
        | OrganizationEvent::OrganizationSuspended(_)
        | OrganizationEvent::OrganizationReactivated(_)
        | OrganizationEvent::OrganizationClosed(_) => None,
    }
}

async fn versions<E, T>(
    log: &EventLog,
    kind: &str,
    id: &str,
    to: Position,
    pick: impl Fn(E) -> Option<T>,
) -> Result<Versions<T>, Failure>
where
    E: TryFrom<Event, Error = OfAnotherKind>,
{
    let stream = session::stream(kind, id)?;
    let (mut versions, mut after) = (Vec::new(), 0);
    loop {
        let page = stream_page(log, &stream, after, to, PAGE).await?;
        for recorded in &page {
            let event = E::try_from(decode(recorded)?).map_err(|error| {
                Failure::Problem(format!("position {}: {error}", recorded.position))
            })?;
            let picked = pick(event);
            versions.extend(picked.map(|version| (recorded.position.0, version)));
        }
        match page.last().and_then(|last| last.stream_version) {
            Some(version) => after = version,
            None => return Ok(Versions(versions)),
        }
    }
}

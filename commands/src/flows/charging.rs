//! Charging: recorded usage is priced and charged to the organization's credits.
//!
//! Usage is read in the order of the log. Each organization's records are gathered into charges of
//! at most [`LINES_MAX`] records of one month, priced by the price book and the tier as they were
//! at the record's own position, so that charging again gives the same figures. That a record is
//! charged once is the account's own rule: it knows up to which position it is charged.

use super::{PAGE, advance, ask, pause, position};
use crate::command::CreditCommand;
use crate::executor::Executor;
use crate::failure::Failure;
use crate::ids::flow_command_id;
use crate::price_book::{PriceBook, decode};
use domain::Event;
use domain::credits::{Charge, ChargeLine, PriceUsed, Verdict};
use domain::metering::rating::Explanation;
use domain::metering::{Event as UsageEvent, UsageRecorded};
use domain::tenancy::{Event as OrganizationEvent, Organization};
use domain::values::{ChargeId, Code, OrganizationId};
use event_log::{Position, Recorded};
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, HashMap};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The flow's name, under which its position is kept.
pub const NAME: &str = "flow.charging";
/// The most usage records in one charge: large enough to be quick, small enough to be read.
pub const LINES_MAX: usize = 256;

/// What charging knows while it reads: prices, and each organization's tier, at one position.
struct Charging {
    book: PriceBook,
    tiers: HashMap<Uuid, (Code, u32)>,
    at: Position,
}

/// A charge that is being gathered.
struct Gathering {
    charge: Charge,
    first: i64,
    last: i64,
}

/// Runs the flow until it is stopped.
pub(super) async fn run(executor: Executor, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(failure) = follow(&executor, &stop).await {
            pause(&stop, NAME, &failure).await;
        }
    }
}

async fn follow(executor: &Executor, stop: &CancellationToken) -> Result<(), Failure> {
    let mut charging = Charging::begin(executor).await?;
    let mut follower = executor.log().follow(charging.at);
    while let Some(page) = stop.run_until_cancelled(follower.next_settled_page(PAGE)).await {
        if !charging.work_off(executor, &page?).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Charges everything up to a position; `progress` is told how many events were read.
///
/// # Errors
/// What kept it from going on.
pub async fn catch_up(
    executor: &Executor,
    to: Position,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<(), Failure> {
    let mut charging = Charging::begin(executor).await?;
    while charging.at < to {
        let page = executor.log().read_settled(charging.at, to, PAGE).await?;
        if page.is_empty() {
            break;
        }
        progress(page.len());
        if !charging.work_off(executor, &page).await? {
            // Another process runs the flow as well: go on from where it is.
            charging = Charging::begin(executor).await?;
        }
    }
    Ok(())
}

/// Up to which position usage is charged.
///
/// # Errors
/// That it could not be read.
pub async fn charged_to(executor: &Executor) -> Result<Position, Failure> {
    position(executor, NAME).await
}

impl Charging {
    async fn begin(executor: &Executor) -> Result<Self, Failure> {
        let at = position(executor, NAME).await?;
        let book = PriceBook::at(executor.log(), at).await?;
        Ok(Self { book, tiers: HashMap::new(), at })
    }

    /// Charges the usage of a page; `false` when another process was faster with it.
    async fn work_off(&mut self, executor: &Executor, page: &[Recorded]) -> Result<bool, Failure> {
        let Some(end) = page.last().map(|recorded| recorded.position) else {
            return Ok(true);
        };
        let mut gathered: BTreeMap<Uuid, Vec<Gathering>> = BTreeMap::new();
        for recorded in page {
            match decode(recorded)? {
                Event::Usage(UsageEvent::UsageRecorded(usage)) => {
                    self.know_tier(executor, recorded).await?;
                    let charges = gathered.entry(recorded.tenant).or_default();
                    self.gather(recorded, &usage, charges)?;
                }
                Event::Organization(event) => self.take_in(&event),
                event => self.book.take_in(&event),
            }
        }
        // Organizations do not wait for each other; within one, charges are in the log's order.
        try_join_all(
            gathered.into_iter().map(|(tenant, charges)| {
                charge_all(executor, OrganizationId::new(tenant), charges)
            }),
        )
        .await?;
        let mine = advance(executor, NAME, self.at, end).await?;
        self.at = end;
        Ok(mine)
    }

    fn take_in(&mut self, event: &OrganizationEvent) {
        match event {
            OrganizationEvent::OrganizationCreated(created) => {
                let tier = (created.tier.clone(), created.tier_version);
                self.tiers.insert(created.organization_id.uuid(), tier);
            }
            OrganizationEvent::OrganizationTierChanged(changed) => {
                let tier = (changed.tier.clone(), changed.tier_version);
                self.tiers.insert(changed.organization_id.uuid(), tier);
            }
            OrganizationEvent::OrganizationRenamed(_)
            | OrganizationEvent::MemberAdded(_)
            | OrganizationEvent::MemberRoleChanged(_)
            | OrganizationEvent::MemberRemoved(_)
            | OrganizationEvent::OrganizationSuspended(_)
            | OrganizationEvent::OrganizationReactivated(_)
            | OrganizationEvent::OrganizationClosed(_) => {}
        }
    }

    /// Reads the tier of an organization that was last heard of before this flow began to read.
    async fn know_tier(&mut self, executor: &Executor, recorded: &Recorded) -> Result<(), Failure> {
        if self.tiers.contains_key(&recorded.tenant) {
            return Ok(());
        }
        let id = OrganizationId::new(recorded.tenant).to_string();
        let loader = &executor.inner.loader;
        let state = loader.load_at::<Organization>(&id, recorded.position).await?.state;
        let tier = state.tier.ok_or_else(|| {
            Failure::Internal(format!("{} is of no organization", recorded.position).into())
        })?;
        self.tiers.insert(recorded.tenant, tier);
        Ok(())
    }

    /// Adds a record to the charges of its organization. A tier whose terms are not in the book is
    /// a damaged history: nothing is guessed then.
    fn gather(
        &self,
        recorded: &Recorded,
        usage: &UsageRecorded,
        charges: &mut Vec<Gathering>,
    ) -> Result<(), Failure> {
        let terms = self.tiers.get(&recorded.tenant).and_then(|(tier, version)| {
            self.book.pricing(tier, *version).map(|pricing| (tier, version, pricing))
        });
        let Some((tier, tier_version, pricing)) = terms else {
            let what = format!("usage at {} is on no published tier", recorded.position);
            return Err(Failure::Internal(what.into()));
        };
        let period = recorded.occurred_at.format("%Y-%m").to_string();
        let position = recorded.position.0;
        let goes_on = charges.last().is_some_and(|gathering| {
            let charge = &gathering.charge;
            charge.lines.len() < LINES_MAX
                && charge.period == period
                && (&charge.tier, charge.tier_version) == (tier, *tier_version)
                && charge.rate_card_version == self.book.rate_card_version()
        });
        if !goes_on {
            let charge_id = ChargeId::new(flow_command_id(NAME, position, "charge"));
            charges.push(Gathering {
                charge: Charge {
                    charge_id,
                    period,
                    occurred_at: recorded.occurred_at,
                    tier: tier.clone(),
                    tier_version: *tier_version,
                    rate_card_version: self.book.rate_card_version(),
                    pricing,
                    prices: Vec::new(),
                    lines: Vec::new(),
                },
                first: position,
                last: position,
            });
        }
        if let Some(gathering) = charges.last_mut() {
            gathering.last = position;
            let charge = &mut gathering.charge;
            charge.occurred_at = charge.occurred_at.min(recorded.occurred_at);
            let verdict = match self.book.rate(usage, pricing) {
                Ok(explanation) => rated(&self.book, usage, &explanation, &mut charge.prices),
                Err(reason) => Verdict::Quarantined { reason },
            };
            charge.lines.push(ChargeLine { usage_position: position, verdict });
        }
        Ok(())
    }
}

/// The line of a priced record; prices that several lines share are kept once.
fn rated(
    book: &PriceBook,
    usage: &UsageRecorded,
    explanation: &Explanation,
    prices: &mut Vec<PriceUsed>,
) -> Verdict {
    let used = PriceUsed {
        model: usage.model.clone(),
        model_version: usage
            .model
            .as_ref()
            .and_then(|name| book.model(name))
            .map(|entry| entry.version),
        power: explanation.power,
        unit_prices: explanation
            .parts
            .iter()
            .map(|part| (part.meter.clone(), part.unit_price))
            .collect(),
    };
    let place = prices.iter().position(|known| *known == used).unwrap_or_else(|| {
        prices.push(used);
        prices.len() - 1
    });
    let price = u32::try_from(place).unwrap_or(u32::MAX);
    Verdict::Rated { price, exact: explanation.exact, charge: explanation.charge }
}

async fn charge_all(
    executor: &Executor,
    organization_id: OrganizationId,
    charges: Vec<Gathering>,
) -> Result<(), Failure> {
    for Gathering { charge, first, last } in charges {
        let command_id = flow_command_id(NAME, first, &format!("{organization_id}/{last}"));
        let command = CreditCommand::UsageCharge {
            organization_id,
            first_position: first,
            last_position: last,
            charge: Box::new(charge),
        };
        ask(executor, NAME, command_id, command.into()).await?;
    }
    Ok(())
}

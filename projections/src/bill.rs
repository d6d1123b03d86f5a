//! The bill of a period: what usage of a month was charged, by model and by meter, and every
//! charge.
//!
//! A period is the month in which usage occurred, as the charge says. What has no price is counted
//! apart, so that it is seen and never taken for free.

use crate::columns::{micro_credits, micro_dollars};
use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Select};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::credits::{self, ChargeLine, UsageCharged, Verdict};
use domain::metering::Unpriceable;
use domain::values::{ChargeId, Code, Credits, MicroDollars, OrganizationId};
use domain::{Event, Instant};
use event_log::Position;
use serde::Deserialize;
use sqlx::PgPool;

table! {
    /// What one organization was charged for one item in one period.
    pub struct BillLine in "bill_line"
        (organization_id: OrganizationId, period: String, kind: String, item: String)
    {
        /// Whose bill.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// The month: `2026-11`.
        period: String = "text collate \"C\" not null",
        /// `model`, `meter` or `unpriced`.
        kind: String = "text collate \"C\" not null",
        /// The model or the meters; for what has no price, why.
        item: String = "text collate \"C\" not null",
        /// How many usage records were charged.
        records: i64 = "bigint not null",
        /// What they were charged.
        #[serde(with = "micro_dollars")]
        charge: MicroDollars = "bigint not null",
        /// How many usage records wait for a person because they have no price.
        quarantined: i64 = "bigint not null",
    }
}

table! {
    /// One charge.
    pub struct Charge in "bill_charge" (charge_id: ChargeId) {
        /// Which.
        charge_id: ChargeId = "text collate \"C\" not null",
        /// The event.
        position: Position = "bigint not null",
        /// Whose.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// The month: `2026-11`.
        period: String = "text collate \"C\" not null",
        /// The organization's tier.
        tier: Code = "text not null",
        /// The version of the tier.
        tier_version: u32 = "integer not null",
        /// The version of the rate card.
        rate_card_version: u32 = "integer not null",
        /// What was charged.
        #[serde(with = "micro_dollars")]
        total: MicroDollars = "bigint not null",
        /// What no credits paid for at that time.
        #[serde(with = "micro_credits")]
        owed: Credits = "bigint not null",
        /// How many usage records it covers.
        lines: i64 = "bigint not null",
        /// How many of them have no price.
        quarantined: i64 = "bigint not null",
        /// The first usage record it covers.
        first_usage: Position = "bigint not null",
        /// The last usage record it covers.
        last_usage: Position = "bigint not null",
        /// When the earliest of the usage occurred.
        occurred_at: Instant = "timestamptz not null",
        /// When it was recorded.
        recorded_at: Instant = "timestamptz not null",
    }
    index "organization_id, position"
    index "organization_id, first_usage"
}

row_set! {
    /// The rows of bills.
    pub struct Rows {
        /// Lines of bills.
        lines: BillLine,
        /// Charges.
        charges: Charge,
    }
}

/// What usage was charged.
#[derive(Debug)]
pub struct Bill;

impl Projection for Bill {
    const NAME: &'static str = "bill";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Of(&[credits::Event::NAMES]);
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        let Event::CreditAccount(credits::Event::UsageCharged(charged)) = &occurrence.event else {
            return Ok(());
        };
        for line in &charged.lines {
            take_line(occurrence.owner(), charged, line, rows)?;
        }
        rows.charges.put(charge(occurrence, charged)?);
        Ok(())
    }
}

fn take_line(
    organization_id: OrganizationId,
    charged: &UsageCharged,
    line: &ChargeLine,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    let (kind, item) = item_of(charged, line)?;
    let (kind, period) = (kind.to_owned(), charged.period.clone());
    let key = (organization_id, period, kind, item);
    let first = || {
        let (organization_id, period, kind, item) = key.clone();
        BillLine {
            organization_id,
            period,
            kind,
            item,
            records: 0,
            charge: MicroDollars::ZERO,
            quarantined: 0,
        }
    };
    rows.lines.merge(&key, first, |row| {
        match &line.verdict {
            Verdict::Rated { charge, .. } => {
                row.records += 1;
                row.charge = row.charge.plus(*charge).ok_or(TOO_MUCH)?;
            }
            Verdict::Quarantined { .. } => row.quarantined += 1,
        }
        Ok(())
    })
}

const TOO_MUCH: ApplyError = ApplyError::Overflow { what: "a charge" };

/// What a line is about.
fn item_of(
    charged: &UsageCharged,
    line: &ChargeLine,
) -> Result<(&'static str, String), ApplyError> {
    match &line.verdict {
        Verdict::Rated { price, .. } => {
            let used = usize::try_from(*price).ok().and_then(|at| charged.prices.get(at));
            let used = used.ok_or_else(|| {
                let ChargeLine { usage_position, .. } = line;
                ApplyError::Senseless(format!(
                    "the line of usage {usage_position} names price {price}, which the charge lacks"
                ))
            })?;
            Ok(match &used.model {
                Some(model) => ("model", model.to_string()),
                None => {
                    let meters: Vec<&str> = used.unit_prices.keys().map(Code::as_str).collect();
                    ("meter", meters.join(" + "))
                }
            })
        }
        Verdict::Quarantined { reason } => Ok((
            "unpriced",
            match reason {
                Unpriceable::NotByToken(model) => format!("not by token: {model}"),
                Unpriceable::NoModel => "no model".to_owned(),
                Unpriceable::NoRate(meter) => format!("no rate: {meter}"),
                Unpriceable::TooLarge => "too large".to_owned(),
            },
        )),
    }
}

fn charge(occurrence: &Occurrence, charged: &UsageCharged) -> Result<Charge, ApplyError> {
    let positions = charged.lines.iter().map(|line| line.usage_position);
    let (Some(first), Some(last)) = (positions.clone().min(), positions.max()) else {
        return Err(ApplyError::Senseless(format!("charge {} has no lines", charged.charge_id)));
    };
    let is_quarantined = |line: &&ChargeLine| matches!(line.verdict, Verdict::Quarantined { .. });
    let quarantined = charged.lines.iter().filter(is_quarantined).count();
    Ok(Charge {
        charge_id: charged.charge_id,
        position: occurrence.position,
        organization_id: occurrence.owner(),
        period: charged.period.clone(),
        tier: charged.tier.clone(),
        tier_version: charged.tier_version,
        rate_card_version: charged.rate_card_version,
        total: charged.total,
        owed: charged.owed,
        lines: i64::try_from(charged.lines.len()).map_err(|_| TOO_MUCH)?,
        quarantined: i64::try_from(quarantined).map_err(|_| TOO_MUCH)?,
        first_usage: Position(first),
        last_usage: Position(last),
        occurred_at: charged.occurred_at,
        recorded_at: occurrence.recorded_at,
    })
}

/// The lines of a bill.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn lines(
    pool: &PgPool,
    organization_id: OrganizationId,
    period: &str,
) -> Result<Vec<BillLine>, ReadError> {
    Select::from::<BillLine>()
        .and("organization_id = ", organization_id.to_string())
        .and("period = ", period.to_owned())
        .all(pool, "kind, item")
        .await
}

/// A bill as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Period {
    /// The month: `2026-11`.
    pub period: String,
    /// How many usage records were charged.
    pub records: i64,
    /// What they were charged.
    #[serde(with = "micro_dollars")]
    pub charge: MicroDollars,
    /// How many usage records wait for a person because they have no price.
    pub quarantined: i64,
}

/// The bills of an organization, newest period first.
pub async fn periods(
    pool: &PgPool,
    organization_id: OrganizationId,
) -> Result<Vec<Period>, ReadError> {
    Select::of(
        "bill_line",
        "select json_build_object('period', period, 'records', sum(records),
                                  'charge', sum(charge), 'quarantined', sum(quarantined))::text
           from read_model.bill_line",
    )
    .and("organization_id = ", organization_id.to_string())
    .text(" group by period")
    .all(pool, "period desc")
    .await
}

/// One charge.
pub async fn charge_by_id(pool: &PgPool, id: ChargeId) -> Result<Option<Charge>, ReadError> {
    Select::from::<Charge>().and("charge_id = ", id.to_string()).one(pool).await
}

/// The charge that covers a usage record, once there is one.
pub async fn charge_of_usage(
    pool: &PgPool,
    organization_id: OrganizationId,
    usage: Position,
) -> Result<Option<Charge>, ReadError> {
    // Charges of one organization cover its usage in order and do not overlap.
    Ok(Select::from::<Charge>()
        .and("organization_id = ", organization_id.to_string())
        .and("first_usage <= ", usage)
        .page::<Charge>(pool, "first_usage desc", 1)
        .await?
        .pop()
        .filter(|charge| usage <= charge.last_usage))
}

/// Charges of an organization along their positions.
pub async fn charges(
    pool: &PgPool,
    organization_id: OrganizationId,
    period: Option<&str>,
    walk: &Walk<Position>,
) -> Result<Vec<Charge>, ReadError> {
    Select::from::<Charge>()
        .and("organization_id = ", organization_id.to_string())
        .and_if("period = ", period.map(str::to_owned))
        .walk(pool, "position", walk)
        .await
}

//! Usage: organization × meter × model × hour.
//!
//! The hour is that in which the usage occurred, whenever the record arrived. A row keeps the sum
//! and the largest quantity of its records, and which of them is the figure is the meter's to say:
//! so neither the order of records nor that of records and meters changes anything. A record that
//! names a model is one API call, unless it states itself how many it stands for.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Select};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::catalogue::meter::{self, Aggregation};
use domain::metering::{self, UsageRecorded};
use domain::values::{Code, ModelName, OrganizationId};
use domain::{Event, Instant};
use serde::Deserialize;
use sqlx::PgPool;
use std::sync::LazyLock;

table! {
    /// What one organization used of one meter with one model in one hour.
    pub struct UsageHour in "usage_hour"
        (organization_id: OrganizationId, meter: Code, model: String, hour: Instant)
    {
        /// Whose usage.
        organization_id: OrganizationId = "text collate \"C\" not null",
        /// Of which meter.
        meter: Code = "text collate \"C\" not null",
        /// With which model; empty where none was named.
        model: String = "text collate \"C\" not null",
        /// The hour in which it occurred, in UTC.
        hour: Instant = "timestamptz not null",
        /// How many records.
        records: i64 = "bigint not null",
        /// The sum of their quantities.
        total: i64 = "bigint not null",
        /// The largest of their quantities.
        largest: i64 = "bigint not null",
    }
    index "organization_id, hour"
}

table! {
    /// How a meter counts.
    pub struct UsageMeter in "usage_meter" (meter: Code) {
        /// Which.
        meter: Code = "text collate \"C\" not null",
        /// How single records become one figure.
        aggregation: Aggregation = "text not null",
    }
}

row_set! {
    /// The rows of usage.
    pub struct Rows {
        /// Figures by the hour.
        hours: UsageHour,
        /// Meters.
        meters: UsageMeter,
    }
}

/// The meter of calls that name a model.
static API_CALLS: LazyLock<Option<Code>> = LazyLock::new(|| "api_calls".parse().ok());

/// What was used, for dashboards and for comparing with what was charged.
#[derive(Debug)]
pub struct Usage;

impl Projection for Usage {
    const NAME: &'static str = "usage";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Of(&[metering::Event::NAMES, meter::Event::NAMES]);
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        match &occurrence.event {
            Event::Usage(metering::Event::UsageRecorded(record)) => {
                take_record(occurrence, record, rows)
            }
            Event::Meter(meter::Event::MeterDefined(defined)) => {
                rows.meters.put(UsageMeter {
                    meter: defined.meter.clone(),
                    aggregation: defined.aggregation,
                });
                Ok(())
            }
            Event::CreditAccount(_)
            | Event::User(_)
            | Event::ApiKey(_)
            | Event::Organization(_)
            | Event::Role(_)
            | Event::Tier(_)
            | Event::AddOn(_)
            | Event::CreditPack(_)
            | Event::Model(_)
            | Event::RateCard(_)
            | Event::Purchase(_)
            | Event::Service(_)
            | Event::Installation(_)
            | Event::Security(_)
            | Event::LegalHold(_)
            | Event::Retention(_)
            | Event::Purged(_) => Ok(()),
        }
    }
}

/// The start of the hour of a moment.
#[must_use]
pub fn hour_of(at: Instant) -> Instant {
    let within = at.timestamp().rem_euclid(3_600);
    Instant::from_timestamp(at.timestamp() - within, 0).unwrap_or(at)
}

fn take_record(
    occurrence: &Occurrence,
    record: &UsageRecorded,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    let (owner, hour) = (occurrence.owner(), hour_of(occurrence.occurred_at));
    let model = record.model.as_ref().map_or("", ModelName::as_str);
    let call = record.model.is_some().then_some(&*API_CALLS).and_then(Option::as_ref);
    // A record that names a model is one call, unless it says itself how many it stands for.
    let of_call = call.filter(|meter| !record.quantities.contains_key(*meter)).map(|m| (m, 1));
    let stated = record.quantities.iter().map(|(meter, quantity)| (meter, *quantity));
    for (meter, quantity) in stated.chain(of_call) {
        let overflow = || ApplyError::Overflow { what: "a quantity" };
        let quantity = i64::try_from(quantity).map_err(|_| overflow())?;
        let key = (owner, meter.clone(), model.to_owned(), hour);
        let first = || UsageHour {
            organization_id: owner,
            meter: meter.clone(),
            model: model.to_owned(),
            hour,
            records: 0,
            total: 0,
            largest: 0,
        };
        rows.hours.merge(&key, first, |row| {
            row.records += 1;
            row.total = row.total.checked_add(quantity).ok_or_else(overflow)?;
            row.largest = row.largest.max(quantity);
            Ok(())
        })?;
    }
    Ok(())
}

/// Which usage is asked for.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose.
    pub organization_id: OrganizationId,
    /// Of which meter; of all when `None`.
    pub meter: Option<Code>,
    /// With which model; with any or none when `None`.
    pub model: Option<ModelName>,
    /// From this hour on.
    pub from: Option<Instant>,
    /// Up to this hour, exclusively.
    pub until: Option<Instant>,
}

impl Filter {
    /// All usage of an organization.
    #[must_use]
    pub const fn of(organization_id: OrganizationId) -> Self {
        Self { organization_id, meter: None, model: None, from: None, until: None }
    }

    fn narrow(&self, select: Select) -> Select {
        select
            .and("organization_id = ", self.organization_id.to_string())
            .and_if("meter = ", self.meter.as_ref().map(ToString::to_string))
            .and_if("model = ", self.model.as_ref().map(ToString::to_string))
            .and_if("hour >= ", self.from)
            .and_if("hour < ", self.until)
    }
}

/// A figure of one meter over any number of hours and models.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Figure {
    /// Of which meter.
    pub meter: Code,
    /// Added up as the meter says.
    pub quantity: i64,
    /// How many records.
    pub records: i64,
}

/// What tells one hour of usage from the others of an organization.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The hour.
    pub hour: Instant,
    /// The meter.
    pub meter: Code,
    /// The model.
    pub model: String,
}

/// Usage along its hours, and within an hour along meters and models.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn hours(
    pool: &PgPool,
    filter: &Filter,
    walk: &Walk<Cursor>,
) -> Result<Vec<UsageHour>, ReadError> {
    let mut select = filter.narrow(Select::from::<UsageHour>());
    if let Some(cursor) = &walk.beyond {
        let beyond = walk.direction.either("(hour, meter, model) > (", "(hour, meter, model) < (");
        select = select
            .and(beyond, cursor.hour)
            .then(", ", cursor.meter.to_string())
            .then(", ", cursor.model.clone())
            .text(")");
    }
    let order = walk.direction.either("hour, meter, model", "hour desc, meter desc, model desc");
    select.page(pool, order, walk.rows).await
}

/// How every meter counts.
pub async fn aggregations(pool: &PgPool) -> Result<Vec<UsageMeter>, ReadError> {
    Select::from::<UsageMeter>().all(pool, "meter").await
}

/// The figure of each meter over all hours and models that the filter names.
pub async fn totals(pool: &PgPool, filter: &Filter) -> Result<Vec<Figure>, ReadError> {
    let figures = Select::of(
        "usage_hour",
        "select json_build_object(
                    'meter', t.meter,
                    'quantity', case when max(m.aggregation) = 'max' then max(t.largest)
                                     else sum(t.total) end,
                    'records', sum(t.records))::text
           from read_model.usage_hour t
           left join read_model.usage_meter m using (meter)",
    );
    filter.narrow(figures).text(" group by t.meter").all(pool, "t.meter").await
}

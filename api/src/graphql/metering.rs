//! Usage and what it was charged: figures by the hour, charges, bills.

mod billing;
mod record;

pub(crate) use billing::{BillingQuery, Charge, charge};
pub(crate) use record::{MeteringMutation, RECORDS_MAX, Recording, record};

use super::asking;
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use domain::Instant;
use domain::access::Resource;
use domain::catalogue::meter;
use domain::values::{Code, ModelName, OrganizationId};
use projections::usage::{self, Filter, Usage, UsageHour};
use projections::{Projection as _, Walk};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What was used of one meter with one model in one hour.
pub(crate) struct UsageOfHour {
    row: UsageHour,
    aggregations: Arc<BTreeMap<Code, meter::Aggregation>>,
}

/// What was used of one meter with one model in one hour, in UTC, in which it occurred.
#[Object]
impl UsageOfHour {
    /// The start of the hour.
    async fn hour(&self) -> DateTime {
        DateTime(self.row.hour)
    }

    /// Of which meter.
    async fn meter(&self) -> &str {
        self.row.meter.as_str()
    }

    /// With which model; null where none was named.
    async fn model(&self) -> Option<&str> {
        Some(self.row.model.as_str()).filter(|model| !model.is_empty())
    }

    /// The figure, added up as the meter says.
    async fn quantity(&self) -> SafeInt {
        SafeInt(match self.aggregations.get(&self.row.meter) {
            Some(meter::Aggregation::Max) => self.row.largest,
            Some(meter::Aggregation::Count | meter::Aggregation::Sum) | None => self.row.total,
        })
    }

    /// How many records.
    async fn records(&self) -> SafeInt {
        SafeInt(self.row.records)
    }
}

connection!(UsageConnection, UsageEdge of UsageOfHour);

/// The figure of one meter over all hours and models that were asked for.
#[derive(SimpleObject)]
pub(crate) struct UsageTotal {
    /// Of which meter.
    meter: String,
    /// Added up as the meter says.
    quantity: SafeInt,
    /// How many records.
    records: SafeInt,
}

/// What usage is put together by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum UsageGroup {
    /// By the hour, with meter and model.
    #[default]
    Hour,
}

/// Which usage.
#[derive(InputObject, Default, Clone)]
pub(crate) struct UsageFilter {
    /// Of which meter.
    meter: Option<Word<Code>>,
    /// With which model.
    model: Option<Word<ModelName>>,
    /// From this hour on.
    from: Option<DateTime>,
    /// Before this hour.
    to: Option<DateTime>,
}

impl UsageFilter {
    fn of(self, organization_id: OrganizationId) -> Filter {
        Filter {
            organization_id,
            meter: self.meter.map(|meter| meter.0),
            model: self.model.map(|model| model.0),
            from: self.from.map(|from| from.0),
            until: self.to.map(|to| to.0),
        }
    }
}

/// The key of an hour of usage, as a cursor holds it.
struct Key(usage::Cursor);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage::Cursor { hour, meter, model } = &self.0;
        write!(f, "{} {meter} {model}", hour.timestamp())
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ' ');
        let mut next = || parts.next().ok_or(());
        let seconds = next()?.parse().map_err(|_| ())?;
        let hour = Instant::from_timestamp(seconds, 0).ok_or(())?;
        let meter = next()?.parse().map_err(|_| ())?;
        Ok(Self(usage::Cursor { hour, meter, model: next()?.to_owned() }))
    }
}

#[derive(Default)]
pub(crate) struct MeteringQuery;

#[Object]
impl MeteringQuery {
    /// An organization's usage by the hour, oldest first.
    async fn usage(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        r#where: Option<UsageFilter>,
        #[graphql(default)] group_by: UsageGroup,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<UsageConnection, Problem> {
        let UsageGroup::Hour = group_by;
        let filter = r#where.unwrap_or_default().of(organization_id.0);
        let page = PageArguments { first, after, last, before, order_by };
        hours(asking(ctx)?, filter, page).await
    }

    /// An organization's usage of each meter over everything that is asked for.
    async fn usage_totals(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        r#where: Option<UsageFilter>,
    ) -> Result<Vec<UsageTotal>, Problem> {
        let filter = r#where.unwrap_or_default().of(organization_id.0);
        totals(asking(ctx)?, filter).await
    }
}

async fn hours(
    asking: &Asking,
    filter: Filter,
    page: PageArguments,
) -> Result<UsageConnection, Problem> {
    asking.may_read_of(filter.organization_id, Resource::Metering).await?;
    let plan = page.plan::<Key>(ListOrder::Ascending)?.map(|key| key.0.clone());
    let pool = asking.model(Usage::NAME).await?;
    let rows = usage::hours(pool, &filter, &plan.walk).await?;
    let known = usage::aggregations(pool).await?;
    let known: BTreeMap<_, _> = known.into_iter().map(|it| (it.meter, it.aggregation)).collect();
    let known = Arc::new(known);
    let key = |row: &UsageHour| {
        let (hour, meter, model) = (row.hour, row.meter.clone(), row.model.clone());
        Key(usage::Cursor { hour, meter, model })
    };
    let object = |row| UsageOfHour { row, aggregations: Arc::clone(&known) };
    let page = Page::new(rows, &plan, key, object);
    Ok(UsageConnection::new(page, move |asking, most| {
        let filter = filter.clone();
        Box::pin(async move {
            let pool = asking.model(Usage::NAME).await?;
            Ok(usage::hours(pool, &filter, &Walk::ascending(most)).await?.len())
        })
    }))
}

async fn totals(asking: &Asking, filter: Filter) -> Result<Vec<UsageTotal>, Problem> {
    asking.may_read_of(filter.organization_id, Resource::Metering).await?;
    let figures = usage::totals(asking.model(Usage::NAME).await?, &filter).await?;
    let total = |figure: usage::Figure| UsageTotal {
        meter: figure.meter.to_string(),
        quantity: SafeInt(figure.quantity),
        records: SafeInt(figure.records),
    };
    Ok(figures.into_iter().map(total).collect())
}

//! What usage was charged: single charges, and the bill of a month.

use crate::graphql::page::{Cursor, ListOrder, Page, PageArguments, connection};
use crate::graphql::scalars::{DateTime, Decimal, Id, SafeInt};
use crate::graphql::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::access::Resource;
use domain::values::{ChargeId, MicroDollars, OrganizationId};
use event_log::Position;
use projections::bill::{self, Bill};
use projections::{Projection as _, Walk};

/// One charge: up to 256 usage records of one month, each a line of its own in the log.
pub(crate) struct Charge(bill::Charge);

/// One charge: up to 256 usage records of one month, each a line of its own in the log.
#[Object]
impl Charge {
    /// `chg_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.charge_id.to_string())
    }

    /// Whose.
    async fn organization_id(&self) -> ID {
        ID(self.0.organization_id.to_string())
    }

    /// The month in which the usage occurred: `2026-11`.
    async fn period(&self) -> &str {
        &self.0.period
    }

    /// What was charged, in dollars.
    async fn total_usd(&self) -> Decimal {
        self.0.total.into()
    }

    /// What no credits paid for at that time, in credits.
    async fn owed(&self) -> Decimal {
        self.0.owed.into()
    }

    /// The code of the organization's tier.
    async fn tier(&self) -> &str {
        self.0.tier.as_str()
    }

    /// The version of the tier.
    async fn tier_version(&self) -> u32 {
        self.0.tier_version
    }

    /// The version of the rate card.
    async fn rate_card_version(&self) -> u32 {
        self.0.rate_card_version
    }

    /// How many usage records it covers.
    async fn lines(&self) -> SafeInt {
        SafeInt(self.0.lines)
    }

    /// How many of them have no price and wait for a person.
    async fn quarantined(&self) -> SafeInt {
        SafeInt(self.0.quarantined)
    }

    /// The event; `explain charge` shows every step of its arithmetic.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.0.position))
    }

    /// When the earliest of the usage occurred.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// When it was recorded.
    async fn recorded_at(&self) -> DateTime {
        DateTime(self.0.recorded_at)
    }
}

connection!(ChargeConnection, ChargeEdge of Charge);

/// What was charged for one item in one month.
#[derive(SimpleObject)]
pub(crate) struct BillLine {
    /// `model`, `meter` or `unpriced`.
    kind: String,
    /// The model or the meters; for what has no price, why.
    item: String,
    /// How many usage records were charged.
    records: SafeInt,
    /// What they were charged, in dollars.
    charge_usd: Decimal,
    /// How many usage records wait for a person because they have no price.
    quarantined: SafeInt,
}

/// What an organization's usage of one month was charged.
#[derive(SimpleObject)]
#[graphql(name = "Bill")]
pub(crate) struct BillOfPeriod {
    /// Whose.
    organization_id: ID,
    /// The month: `2026-11`.
    period: String,
    /// The sum of the lines, in dollars.
    total_usd: Decimal,
    /// By model and by meter.
    lines: Vec<BillLine>,
}

/// Which charges.
#[derive(InputObject, Default, Clone)]
pub(crate) struct ChargeFilter {
    /// Of one month: `2026-11`.
    period: Option<String>,
}

#[derive(Default)]
pub(crate) struct BillingQuery;

#[Object]
impl BillingQuery {
    /// One charge.
    async fn charge(&self, ctx: &Context<'_>, id: Id<ChargeId>) -> Result<Charge, Problem> {
        charge(asking(ctx)?, id.0).await
    }

    /// An organization's charges, newest first.
    async fn charges(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        r#where: Option<ChargeFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<ChargeConnection, Problem> {
        let period = r#where.unwrap_or_default().period;
        let page = PageArguments { first, after, last, before, order_by };
        charges(asking(ctx)?, organization_id.0, period, page).await
    }

    /// What an organization's usage of one month was charged: the open month when none is named.
    async fn bill(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        period: Option<String>,
    ) -> Result<BillOfPeriod, Problem> {
        bill_of(asking(ctx)?, organization_id.0, period).await
    }
}

pub(crate) async fn charge(asking: &Asking, id: ChargeId) -> Result<Charge, Problem> {
    asking.signed_in()?;
    let none = || Problem::not_found("charge", &id.to_string());
    let found = bill::charge_by_id(asking.model(Bill::NAME).await?, id).await?;
    let row = found.ok_or_else(none)?;
    match asking.may_read_of(row.organization_id, Resource::Billing).await {
        Ok(()) => Ok(Charge(row)),
        Err(problem) if problem.is_denial() => Err(none()),
        Err(problem) => Err(problem),
    }
}

async fn charges(
    asking: &Asking,
    id: OrganizationId,
    period: Option<String>,
    page: PageArguments,
) -> Result<ChargeConnection, Problem> {
    asking.may_read_of(id, Resource::Billing).await?;
    let plan = page.plan::<i64>(ListOrder::Descending)?.map(|at| Position(*at));
    let pool = asking.model(Bill::NAME).await?;
    let rows = bill::charges(pool, id, period.as_deref(), &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.position, Charge);
    Ok(ChargeConnection::new(page, move |asking, most| {
        let period = period.clone();
        Box::pin(async move {
            let pool = asking.model(Bill::NAME).await?;
            let walk = Walk::ascending(most);
            Ok(bill::charges(pool, id, period.as_deref(), &walk).await?.len())
        })
    }))
}

async fn bill_of(
    asking: &Asking,
    id: OrganizationId,
    period: Option<String>,
) -> Result<BillOfPeriod, Problem> {
    asking.may_read_of(id, Resource::Billing).await?;
    let now = asking.services.executor.clock().now();
    let period = period.unwrap_or_else(|| now.format("%Y-%m").to_string());
    let rows = bill::lines(asking.model(Bill::NAME).await?, id, &period).await?;
    let total = rows.iter().try_fold(MicroDollars::ZERO, |sum, row| sum.plus(row.charge));
    let total = total.ok_or_else(|| Problem::fault("a bill that does not fit"))?;
    let line = |row: bill::BillLine| BillLine {
        kind: row.kind,
        item: row.item,
        records: SafeInt(row.records),
        charge_usd: row.charge.into(),
        quarantined: SafeInt(row.quarantined),
    };
    Ok(BillOfPeriod {
        organization_id: ID(id.to_string()),
        period,
        total_usd: total.into(),
        lines: rows.into_iter().map(line).collect(),
    })
}

//! The statement: every movement of an organization's credits.

use crate::graphql::page::{ListOrder, Page, PageArguments, connection};
use crate::graphql::scalars::{DateTime, Decimal, SafeInt};
use crate::graphql::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object};
use domain::access::Resource;
use domain::values::OrganizationId;
use event_log::Position;
use projections::credit_statement::{self, CreditStatement, StatementLine};
use projections::{Projection as _, Walk};

/// One movement of credits.
pub(crate) struct CreditStatementLine(StatementLine);

/// One movement of credits.
#[Object]
impl CreditStatementLine {
    /// The event.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.0.position))
    }

    /// What it was, as the audit trail calls it: `credit.grant`.
    async fn action(&self) -> &str {
        &self.0.action
    }

    /// What happened: the event's name.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The grant, spend, charge or hold it is about.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// The purchase or tier that a grant comes from.
    async fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// In words, when somebody said so.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// What the available credits changed by.
    async fn change(&self) -> Decimal {
        self.0.change.into()
    }

    /// The available credits after it.
    async fn balance(&self) -> Decimal {
        self.0.balance.into()
    }

    /// What was owed after it.
    async fn owed(&self) -> Decimal {
        self.0.owed.into()
    }

    /// What was charged for usage, in dollars.
    async fn charged_usd(&self) -> Decimal {
        self.0.charged.into()
    }

    /// How many usage records a charge covers.
    async fn lines(&self) -> SafeInt {
        SafeInt(self.0.lines)
    }

    /// When it was recorded.
    async fn recorded_at(&self) -> DateTime {
        DateTime(self.0.recorded_at)
    }

    /// When it happened.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }
}

connection!(CreditStatementConnection, CreditStatementEdge of CreditStatementLine);

/// Which movements.
#[derive(InputObject, Default, Clone)]
pub(crate) struct CreditStatementFilter {
    /// Recorded from then on.
    from: Option<DateTime>,
}

pub(super) async fn statement(
    asking: &Asking,
    id: OrganizationId,
    filter: CreditStatementFilter,
    page: PageArguments,
) -> Result<CreditStatementConnection, Problem> {
    asking.may_read_of(id, Resource::Billing).await?;
    let plan = page.plan::<i64>(ListOrder::Descending)?.map(|at| Position(*at));
    let from = filter.from.map(|from| from.0);
    let pool = asking.model(CreditStatement::NAME).await?;
    let rows = credit_statement::statement(pool, id, from, &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.position, CreditStatementLine);
    Ok(CreditStatementConnection::new(page, move |asking, most| {
        Box::pin(async move {
            let pool = asking.model(CreditStatement::NAME).await?;
            let walk = Walk::ascending(most);
            Ok(credit_statement::statement(pool, id, from, &walk).await?.len())
        })
    }))
}

//! Credits: balances, statements, grants and holds, and what moves them.

mod moves;
mod statement;

pub(crate) use moves::CreditMutation;

use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Decimal, Id};
use super::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, view};
use async_graphql::{Context, ID, Object};
use domain::access::Resource;
use domain::credits::GrantSource;
use domain::values::{Credits, HoldId, MicroDollars, OrganizationId};
use event_log::Position;
use projections::credit_statement::{self, Balance, CreditStatement};
use projections::{Projection as _, Walk};
use statement::{CreditStatementConnection, CreditStatementFilter, statement};

/// Where the credits of an organization are.
pub(crate) struct CreditBalance {
    row: Balance,
    /// As of when; its grants and holds are of the same moment.
    at: Option<Position>,
}

/// Where the credits of an organization are. One credit is worth exactly $0.001 when spent.
#[Object]
impl CreditBalance {
    /// Whose.
    async fn organization_id(&self) -> ID {
        ID(self.row.organization_id.to_string())
    }

    /// Neither spent, held, expired nor taken back.
    async fn available(&self) -> Decimal {
        self.row.available.into()
    }

    /// Of these, given ones.
    async fn granted(&self) -> Decimal {
        self.row.granted.into()
    }

    /// Of these, bought ones.
    async fn purchased(&self) -> Decimal {
        self.row.purchased.into()
    }

    /// Set aside.
    async fn held(&self) -> Decimal {
        self.row.held.into()
    }

    /// Spent, also on account.
    async fn consumed(&self) -> Decimal {
        self.row.consumed.into()
    }

    /// Gone because their time was over.
    async fn expired(&self) -> Decimal {
        self.row.expired.into()
    }

    /// Taken back.
    async fn voided(&self) -> Decimal {
        self.row.voided.into()
    }

    /// Every credit that was ever given or bought.
    async fn issued(&self) -> Decimal {
        self.row.issued.into()
    }

    /// What no credits paid for yet.
    async fn owed(&self) -> Decimal {
        self.row.owed.into()
    }

    /// What usage was charged, in dollars.
    async fn charged_usd(&self) -> Decimal {
        self.row.charged.into()
    }

    /// Usage up to here is charged.
    async fn charged_through(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.row.charged_through))
    }

    /// The last event that changed it.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.row.position))
    }

    /// The grants, oldest first, at the same moment.
    async fn grants(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<CreditGrantConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        grants(asking(ctx)?, (self.row.organization_id, self.at), page).await
    }

    /// The holds, newest first, at the same moment.
    async fn holds(
        &self,
        ctx: &Context<'_>,
        state: Option<String>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<CreditHoldConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        holds(asking(ctx)?, (self.row.organization_id, self.at), state, page).await
    }
}

/// A grant and what is left of it.
pub(crate) struct CreditGrant(credit_statement::Grant);

/// A grant and what is left of it.
#[Object]
impl CreditGrant {
    /// `grt_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.grant_id.to_string())
    }

    /// `promotional`, `purchased` or `monthly_allocation`.
    async fn kind(&self) -> &str {
        self.0.kind.as_str()
    }

    /// Where it comes from: a tier and its version, a purchase, or a person's reason.
    async fn source(&self) -> String {
        match &self.0.source {
            GrantSource::Tier { tier, version } => format!("tier {tier} version {version}"),
            GrantSource::Purchase { purchase_id } => purchase_id.to_string(),
            GrantSource::Manual { reason } => reason.to_string(),
        }
    }

    /// How many credits it gave.
    async fn credits(&self) -> Decimal {
        self.0.granted.into()
    }

    /// What is neither spent nor held.
    async fn remaining(&self) -> Decimal {
        self.0.remaining.into()
    }

    /// Lower numbers are spent first.
    async fn priority(&self) -> u16 {
        self.0.priority
    }

    /// Pays only for what occurred from then on.
    async fn effective_at(&self) -> Option<DateTime> {
        self.0.effective_at.map(DateTime)
    }

    /// When what is left is gone.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// When it was granted.
    async fn granted_at(&self) -> DateTime {
        DateTime(self.0.granted_at)
    }
}

connection!(CreditGrantConnection, CreditGrantEdge of CreditGrant);

/// Credits that were set aside.
pub(crate) struct CreditHold(credit_statement::Hold);

/// Credits that were set aside.
#[Object]
impl CreditHold {
    /// `hld_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.hold_id.to_string())
    }

    /// `placed`, `captured`, `released` or `expired`.
    async fn state(&self) -> &str {
        &self.0.state
    }

    /// How many credits were set aside.
    async fn credits(&self) -> Decimal {
        self.0.held.into()
    }

    /// How many of them were spent.
    async fn captured(&self) -> Decimal {
        self.0.captured.into()
    }

    /// What for.
    async fn reason(&self) -> &str {
        &self.0.reason
    }

    /// When they are free again.
    async fn expires_at(&self) -> DateTime {
        DateTime(self.0.expires_at)
    }

    /// When it was placed.
    async fn placed_at(&self) -> DateTime {
        DateTime(self.0.placed_at)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}

connection!(CreditHoldConnection, CreditHoldEdge of CreditHold);

#[derive(Default)]
pub(crate) struct CreditQuery;

#[Object]
impl CreditQuery {
    /// Where the credits of an organization are, now or as of a moment.
    async fn credit_balance(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        as_of: Option<AsOf>,
    ) -> Result<CreditBalance, Problem> {
        let asking = asking(ctx)?;
        let at = at_position(asking, as_of).await?;
        balance_of(asking, organization_id.0, at).await
    }

    /// What moved an organization's credits, newest first.
    async fn credit_statement(
        &self,
        ctx: &Context<'_>,
        organization_id: Id<OrganizationId>,
        r#where: Option<CreditStatementFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<CreditStatementConnection, Problem> {
        let filter = r#where.unwrap_or_default();
        let page = PageArguments { first, after, last, before, order_by };
        statement(asking(ctx)?, organization_id.0, filter, page).await
    }
}

/// The balance of an organization, now or at a position.
pub(super) async fn balance_of(
    asking: &Asking,
    id: OrganizationId,
    at: Option<Position>,
) -> Result<CreditBalance, Problem> {
    asking.may_read_of(id, Resource::Billing).await?;
    let then = view(asking, CreditStatement::NAME, at).await?;
    let found = credit_statement::balance(then, id).await?;
    // An account begins with its first movement; until then it is empty.
    Ok(CreditBalance { row: found.unwrap_or_else(|| nothing(id)), at })
}

const fn nothing(organization_id: OrganizationId) -> Balance {
    Balance {
        organization_id,
        available: Credits::ZERO,
        granted: Credits::ZERO,
        purchased: Credits::ZERO,
        held: Credits::ZERO,
        consumed: Credits::ZERO,
        expired: Credits::ZERO,
        voided: Credits::ZERO,
        issued: Credits::ZERO,
        owed: Credits::ZERO,
        charged: MicroDollars::ZERO,
        charged_through: Position::START,
        position: Position::START,
    }
}

async fn grants(
    asking: &Asking,
    (id, at): (OrganizationId, Option<Position>),
    page: PageArguments,
) -> Result<CreditGrantConnection, Problem> {
    let plan = page.plan::<i64>(ListOrder::Ascending)?.map(|at| Position(*at));
    let then = view(asking, CreditStatement::NAME, at).await?;
    let rows = credit_statement::grants(then, id, &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.granted_position, CreditGrant);
    Ok(CreditGrantConnection::new(page, move |asking, most| {
        Box::pin(async move {
            let then = view(asking, CreditStatement::NAME, at).await?;
            Ok(credit_statement::grants(then, id, &Walk::ascending(most)).await?.len())
        })
    }))
}

async fn holds(
    asking: &Asking,
    (id, at): (OrganizationId, Option<Position>),
    state: Option<String>,
    page: PageArguments,
) -> Result<CreditHoldConnection, Problem> {
    let plan = page.plan::<HoldId>(ListOrder::Descending)?;
    let then = view(asking, CreditStatement::NAME, at).await?;
    let rows = credit_statement::holds(then, id, state.as_deref(), &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.hold_id, CreditHold);
    Ok(CreditHoldConnection::new(page, move |asking, most| {
        let state = state.clone();
        Box::pin(async move {
            let then = view(asking, CreditStatement::NAME, at).await?;
            let walk = Walk::ascending(most);
            Ok(credit_statement::holds(then, id, state.as_deref(), &walk).await?.len())
        })
    }))
}

//! Purchases of credit packs.

use super::asking;
use super::outcome::{Asked, carry_out, payload};
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Decimal, Id, MoneyInput, MoneyObject, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, version};
use async_graphql::{Context, ID, InputObject, Object};
use commands::{Outcome, PurchaseCommand, Subject};
use domain::access::Resource;
use domain::values::{Code, OrganizationId, PurchaseId, Text};
use event_log::Position;
use projections::purchases::{self, Purchases};
use projections::{Projection as _, Scope, Walk};
use uuid::Uuid;

/// A purchase of a credit pack.
pub(crate) struct Purchase(purchases::Purchase, Option<Position>);

impl Purchase {
    /// As it is now.
    const fn now(row: purchases::Purchase) -> Self {
        Self(row, None)
    }
}

/// A purchase of a credit pack.
#[Object]
impl Purchase {
    /// `pur_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.purchase_id.to_string())
    }

    /// How many events its history has: the `expectedVersion` of a change that was decided on this.
    async fn version(&self, ctx: &Context<'_>) -> Result<SafeInt, Problem> {
        version(asking(ctx)?, "purchase", &self.0.purchase_id.to_string(), self.1)
            .await
            .map(SafeInt)
    }

    /// For whom.
    async fn organization_id(&self) -> ID {
        ID(self.0.organization_id.to_string())
    }

    /// What was bought.
    async fn credit_pack(&self) -> &str {
        self.0.credit_pack.as_str()
    }

    /// `initiated`, `paid`, `fulfilled`, `partially_refunded`, `refunded` or `failed`.
    async fn state(&self) -> &str {
        &self.0.state
    }

    /// How many credits.
    async fn credits(&self) -> Decimal {
        self.0.credits.into()
    }

    /// What was asked.
    async fn price(&self) -> MoneyObject {
        self.0.price.into()
    }

    /// What the credits are worth when spent, in dollars; the difference to the price is margin.
    async fn worth_usd(&self) -> Decimal {
        self.0.worth.into()
    }

    /// What arrived.
    async fn paid(&self) -> Option<MoneyObject> {
        self.0.paid.map(Into::into)
    }

    /// The bank's reference.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_ref().map(Text::as_str)
    }

    /// The grant that gave the credits.
    async fn grant_id(&self) -> Option<ID> {
        self.0.grant_id.map(|id| ID(id.to_string()))
    }

    /// Credits that were taken back.
    async fn refunded_credits(&self) -> Decimal {
        self.0.refunded_credits.into()
    }

    /// Money that was given back.
    async fn refunded(&self) -> MoneyObject {
        self.0.refunded.into()
    }

    /// Why it failed or was refunded, as said last.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_ref().map(Text::as_str)
    }

    /// When it was begun.
    async fn initiated_at(&self) -> DateTime {
        DateTime(self.0.initiated_at)
    }

    /// When the money arrived.
    async fn paid_at(&self) -> Option<DateTime> {
        self.0.paid_at.map(DateTime)
    }

    /// When the credits were there.
    async fn fulfilled_at(&self) -> Option<DateTime> {
        self.0.fulfilled_at.map(DateTime)
    }

    /// When it failed, or money was given back last.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}

connection!(PurchaseConnection, PurchaseEdge of Purchase);

/// Which purchases.
#[derive(InputObject, Default, Clone)]
pub(crate) struct PurchaseFilter {
    /// Of one organization.
    organization_id: Option<Id<OrganizationId>>,
    /// `initiated`, `paid`, `fulfilled`, `partially_refunded`, `refunded` or `failed`.
    state: Option<String>,
}

#[derive(Default)]
pub(crate) struct CommerceQuery;

#[Object]
impl CommerceQuery {
    /// One purchase, now or as of a moment.
    async fn purchase(
        &self,
        ctx: &Context<'_>,
        id: Id<PurchaseId>,
        as_of: Option<AsOf>,
    ) -> Result<Purchase, Problem> {
        purchase(asking(ctx)?, id.0, as_of).await
    }

    /// Purchases, newest first; of everybody for whoever may see that.
    async fn purchases(
        &self,
        ctx: &Context<'_>,
        r#where: Option<PurchaseFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<PurchaseConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        purchases(asking(ctx)?, r#where.unwrap_or_default(), page).await
    }
}

pub(crate) async fn purchase(
    asking: &Asking,
    id: PurchaseId,
    as_of: Option<AsOf>,
) -> Result<Purchase, Problem> {
    let none = || Problem::not_found("purchase", &id.to_string());
    let at = at_position(asking, as_of).await?;
    let found = match at {
        None => purchases::purchase(asking.model(Purchases::NAME).await?, id).await?,
        at => {
            let rows = fold::<Purchases>(asking, "purchase", &id.to_string(), at).await?;
            rows.purchases.rows().into_iter().next().cloned()
        }
    };
    let Some(row) = found else {
        // Whoever may see none of all is told the same for what exists and what does not.
        asking.signed_in()?;
        return Err(none());
    };
    match asking.may_read_of(row.organization_id, Resource::Purchases).await {
        Ok(()) => Ok(Purchase(row, at)),
        Err(problem) if problem.is_denial() => Err(none()),
        Err(problem) => Err(problem),
    }
}

async fn purchases(
    asking: &Asking,
    filter: PurchaseFilter,
    page: PageArguments,
) -> Result<PurchaseConnection, Problem> {
    let scope = asking.scope(filter.organization_id.map(|id| id.0), Resource::Purchases).await?;
    let plan = page.plan::<i64>(ListOrder::Descending)?.map(|at| Position(*at));
    let (pool, state) = (asking.model(Purchases::NAME).await?, filter.state);
    let rows = purchases::purchases(pool, scope, state.as_deref(), &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.initiated_position, Purchase::now);
    Ok(PurchaseConnection::new(page, move |asking, most| {
        let state = state.clone();
        Box::pin(async move { count(asking, scope, state.as_deref(), most).await })
    }))
}

async fn count(
    asking: &Asking,
    scope: Scope,
    state: Option<&str>,
    most: usize,
) -> Result<usize, Problem> {
    let pool = asking.model(Purchases::NAME).await?;
    Ok(purchases::purchases(pool, scope, state, &Walk::ascending(most)).await?.len())
}

async fn purchase_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Purchase>, Problem> {
    let Subject::Purchase(id) = outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Purchases::NAME, outcome.receipt.position).await?;
    Ok(purchases::purchase(pool, id).await?.map(Purchase::now))
}

payload! {
    /// What became of a command about a purchase.
    PurchasePayload {
        /// The purchase as the command left it.
        purchase: Purchase = purchase_of
    }
}

/// A new purchase.
#[derive(InputObject)]
struct PurchaseInitiateInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// For whom.
    organization_id: Id<OrganizationId>,
    /// What.
    credit_pack: Word<Code>,
}

/// Money that arrived.
#[derive(InputObject)]
struct PurchasePayInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// For which purchase.
    purchase_id: Id<PurchaseId>,
    /// How much.
    amount: MoneyInput,
    /// The bank's reference; it pays for one purchase only.
    reference: Word<Text>,
}

/// A purchase that comes to nothing.
#[derive(InputObject)]
struct PurchaseFailInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which purchase.
    purchase_id: Id<PurchaseId>,
    /// Why.
    reason: Word<Text>,
}

/// Money that is given back.
#[derive(InputObject)]
struct PurchaseRefundInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// For which purchase.
    purchase_id: Id<PurchaseId>,
    /// For how many credits; for all that are left of the purchase when not said.
    credits: Option<Decimal>,
    /// Why.
    reason: Word<Text>,
}

#[derive(Default)]
pub(crate) struct CommerceMutation;

#[Object]
impl CommerceMutation {
    /// Begins to buy a credit pack.
    async fn purchase_initiate(
        &self,
        ctx: &Context<'_>,
        input: PurchaseInitiateInput,
    ) -> Result<PurchasePayload, Problem> {
        let (organization_id, credit_pack) = (input.organization_id.0, input.credit_pack.0);
        let initiate = PurchaseCommand::PurchaseInitiate { organization_id, credit_pack };
        carry_out(ctx, Asked::once(input.command_id), initiate).await.map(PurchasePayload)
    }

    /// Records that the money of a purchase arrived.
    async fn purchase_pay(
        &self,
        ctx: &Context<'_>,
        input: PurchasePayInput,
    ) -> Result<PurchasePayload, Problem> {
        let pay = PurchaseCommand::PurchasePay {
            purchase_id: input.purchase_id.0,
            amount: input.amount.read("input.amount")?,
            reference: input.reference.0,
        };
        let asked = Asked::at(input.command_id, input.expected_version);
        carry_out(ctx, asked, pay).await.map(PurchasePayload)
    }

    /// Records that a purchase came to nothing.
    async fn purchase_fail(
        &self,
        ctx: &Context<'_>,
        input: PurchaseFailInput,
    ) -> Result<PurchasePayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (purchase_id, reason) = (input.purchase_id.0, input.reason.0);
        let fail = PurchaseCommand::PurchaseFail { purchase_id, reason };
        carry_out(ctx, asked, fail).await.map(PurchasePayload)
    }

    /// Gives money back for credits that nobody spent.
    async fn purchase_refund(
        &self,
        ctx: &Context<'_>,
        input: PurchaseRefundInput,
    ) -> Result<PurchasePayload, Problem> {
        let credits = input.credits.map(|credits| credits.as_of("input.credits")).transpose()?;
        let refund = PurchaseCommand::PurchaseRefund {
            purchase_id: input.purchase_id.0,
            credits,
            reason: input.reason.0,
        };
        let asked = Asked::at(input.command_id, input.expected_version);
        carry_out(ctx, asked, refund).await.map(PurchasePayload)
    }
}

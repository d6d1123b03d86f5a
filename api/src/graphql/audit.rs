//! The audit trail: who did what to which thing, with which result.

use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Id, SafeInt};
use super::{LogPosition, asking, shown};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, ID, InputObject, Object};
use domain::access::Resource;
use domain::values::OrganizationId;
use event_log::Position;
use projections::audit_trail::{self, AuditTrail, Filter};
use projections::{Projection as _, Walk};
use uuid::Uuid;

/// One thing that was done, or was tried.
pub(crate) struct AuditEntry(audit_trail::AuditEntry);

/// One thing that was done, or was tried. What changed stands in the log at its positions.
#[Object]
impl AuditEntry {
    /// Where it stands in the log; the first record of a batch.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.0.position))
    }

    /// The last record of a batch; else the position.
    async fn last_position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.0.last_position))
    }

    /// How many events it stands for.
    async fn events(&self) -> SafeInt {
        SafeInt(self.0.events)
    }

    /// Whose it is; null for what belongs to the platform itself.
    async fn organization_id(&self) -> Option<ID> {
        self.0.organization_id.map(|id| ID(id.to_string()))
    }

    /// Who: `user/usr_…`, `api_key/key_…/usr_…`, `system/…` or `anonymous`.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// On whose behalf, when it is not their own.
    async fn on_behalf_of(&self) -> Option<ID> {
        self.0.on_behalf_of.map(|id| ID(id.to_string()))
    }

    /// Where from: an address, or the part of the installation; null for whoever was erased.
    async fn origin(&self, ctx: &Context<'_>) -> Result<Option<String>, Problem> {
        let Some(origin) = &self.0.origin else { return Ok(None) };
        match (origin.parse(), self.0.person()) {
            (Ok(item), Some(user_id)) => asking(ctx)?.open_kept(user_id, item).await,
            (Ok(_), None) | (Err(_), _) => Ok(Some(origin.clone())),
        }
    }

    /// What: `credit.grant`.
    async fn action(&self) -> &str {
        &self.0.action
    }

    /// To which thing.
    async fn target(&self) -> &str {
        &self.0.target
    }

    /// `success`, `failure` or `denied`.
    async fn result(&self) -> &str {
        &self.0.result
    }

    /// Why, when somebody said so.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Which command was asked for, by name.
    async fn command(&self) -> Option<&str> {
        self.0.command.as_deref()
    }

    /// The command or event that caused it.
    async fn command_id(&self) -> Option<Uuid> {
        self.0.command_id
    }

    /// What it is known by in logs and traces.
    async fn correlation(&self) -> Option<Uuid> {
        self.0.correlation
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

connection!(AuditTrailConnection, AuditTrailEdge of AuditEntry);

/// Which entries.
#[derive(InputObject, Default, Clone)]
pub(crate) struct AuditFilter {
    /// Of one organization.
    organization_id: Option<Id<OrganizationId>>,
    /// By whom: an actor as entries name it.
    actor: Option<String>,
    /// What: an action, or the beginning of one that ends with a dot: `credit.`.
    action: Option<String>,
    /// To which thing.
    target: Option<String>,
    /// With which result: `success`, `failure` or `denied`.
    result: Option<String>,
    /// By which command.
    command_id: Option<Uuid>,
    /// Recorded from then on.
    from: Option<DateTime>,
    /// Recorded before then.
    to: Option<DateTime>,
}

#[derive(Default)]
pub(crate) struct AuditQuery;

#[Object]
impl AuditQuery {
    /// What was done and what was tried, newest first; of everybody for whoever may see that.
    async fn audit_trail(
        &self,
        ctx: &Context<'_>,
        r#where: Option<AuditFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<AuditTrailConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        entries(asking(ctx)?, r#where.unwrap_or_default(), page).await
    }
}

async fn entries(
    asking: &Asking,
    given: AuditFilter,
    page: PageArguments,
) -> Result<AuditTrailConnection, Problem> {
    let organization = given.organization_id.map(|id| id.0);
    let filter = Filter {
        scope: asking.scope(organization, Resource::Audit).await?,
        actor: given.actor,
        action: given.action,
        target: given.target,
        result: given.result,
        command_id: given.command_id,
        from: given.from.map(|from| from.0),
        until: given.to.map(|to| to.0),
    };
    let plan = page.plan::<i64>(ListOrder::Descending)?.map(|at| Position(*at));
    let pool = asking.model(AuditTrail::NAME).await?;
    let rows = audit_trail::entries(pool, &filter, &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.position, AuditEntry);
    Ok(AuditTrailConnection::new(page, move |asking, most| {
        let filter = filter.clone();
        Box::pin(async move {
            let pool = asking.model(AuditTrail::NAME).await?;
            Ok(audit_trail::entries(pool, &filter, &Walk::ascending(most)).await?.len())
        })
    }))
}

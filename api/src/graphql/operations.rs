//! Services and the actions on them.

mod act;

pub(crate) use act::OperationsMutation;

use super::asking;
use super::page::{Cursor, ListOrder, Page, PageArguments, connection};
use super::scalars::{DateTime, Id, SafeInt};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold, version};
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use domain::access::Resource;
use domain::operations::service::{Observation, Verb};
use domain::values::{ServiceActionId, ServiceId, Text};
use event_log::Position;
use projections::services::{self, Services};
use projections::{Projection as _, Walk};

/// What can be done to a service: a closed set.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "Verb")]
pub(crate) enum ServiceVerb {
    /// Make it run.
    Start,
    /// Make it stop.
    Stop,
    /// Stop it and make it run again.
    Restart,
    /// Freeze it.
    Pause,
    /// Unfreeze it.
    Unpause,
}

/// What was seen of a service at one moment.
#[derive(SimpleObject)]
pub(crate) struct ServiceObservation {
    /// `not_created`, `starting`, `healthy`, `unhealthy`, `paused`, `stopped`, `error`, `unknown`.
    state: &'static str,
    /// Since when it runs, as the engine says.
    started_at: Option<DateTime>,
    /// How it ended, when it does not run.
    exit_code: Option<SafeInt>,
}

impl From<&Observation> for ServiceObservation {
    fn from(seen: &Observation) -> Self {
        Self {
            state: seen.state.as_str(),
            started_at: seen.started_at.map(DateTime),
            exit_code: seen.exit_code.map(SafeInt),
        }
    }
}

/// A service.
pub(crate) struct Service(services::Service, Option<Position>);

impl Service {
    /// As it is now.
    const fn now(row: services::Service) -> Self {
        Self(row, None)
    }
}

/// A service.
#[Object]
impl Service {
    /// `svc_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.service_id.to_string())
    }

    /// How many events its history has: the `expectedVersion` of a change that was decided on this.
    async fn version(&self, ctx: &Context<'_>) -> Result<SafeInt, Problem> {
        version(asking(ctx)?, "service", &self.0.service_id.to_string(), self.1).await.map(SafeInt)
    }

    /// Its short name.
    async fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// The container's name at the engine.
    async fn container(&self) -> &str {
        self.0.container.as_str()
    }

    /// What may be done to it.
    async fn verbs(&self) -> Vec<ServiceVerb> {
        self.0.verbs.iter().map(|verb| (*verb).into()).collect()
    }

    /// Whether it may be a target.
    async fn is_registered(&self) -> bool {
        self.0.is_registered
    }

    /// What it was last seen to be, which is when an action on it began or ended.
    async fn observed(&self) -> Option<ServiceObservation> {
        self.0.observed.as_ref().map(Into::into)
    }

    /// When it was seen.
    async fn observed_at(&self) -> Option<DateTime> {
        self.0.observed_at.map(DateTime)
    }

    /// The last action on it.
    async fn last_action(&self, ctx: &Context<'_>) -> Result<Option<ServiceAction>, Problem> {
        let Some(id) = self.0.last_action_id else { return Ok(None) };
        let pool = asking(ctx)?.model(Services::NAME).await?;
        Ok(services::action(pool, id).await?.map(ServiceAction))
    }

    /// Actions on it, newest first.
    async fn actions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<ServiceActionConnection, Problem> {
        let page = PageArguments { first, after, last, before, order_by };
        actions(asking(ctx)?, Some(self.0.service_id), page).await
    }

    /// When it was registered.
    async fn registered_at(&self) -> DateTime {
        DateTime(self.0.registered_at)
    }
}

/// An action on a service.
pub(crate) struct ServiceAction(services::ServiceAction);

/// An action on a service.
#[Object]
impl ServiceAction {
    /// `act_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.action_id.to_string())
    }

    /// Of which service.
    async fn service_id(&self) -> ID {
        ID(self.0.service_id.to_string())
    }

    /// What.
    async fn verb(&self) -> ServiceVerb {
        self.0.verb.into()
    }

    /// `requested`, `dispatched`, `succeeded`, `failed` or `timed_out`.
    async fn state(&self) -> &str {
        &self.0.state
    }

    /// Who asked for it, as the audit trail names actors.
    async fn requested_by(&self) -> &str {
        &self.0.requested_by
    }

    /// Why.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_ref().map(Text::as_str)
    }

    /// Which worker took it on.
    async fn worker(&self) -> Option<&str> {
        self.0.worker.as_deref()
    }

    /// Why it failed.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }

    /// What the service was before.
    async fn before(&self) -> Option<ServiceObservation> {
        self.0.before.as_ref().map(Into::into)
    }

    /// What it was after.
    async fn after(&self) -> Option<ServiceObservation> {
        self.0.after.as_ref().map(Into::into)
    }

    /// When it was asked for.
    async fn requested_at(&self) -> DateTime {
        DateTime(self.0.requested_at)
    }

    /// When it is over in any case.
    async fn deadline(&self) -> DateTime {
        DateTime(self.0.deadline)
    }

    /// When a worker took it on.
    async fn dispatched_at(&self) -> Option<DateTime> {
        self.0.dispatched_at.map(DateTime)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}

connection!(ServiceActionConnection, ServiceActionEdge of ServiceAction);

/// Which actions.
#[derive(InputObject, Default, Clone)]
pub(crate) struct ServiceActionFilter {
    /// On one service.
    service_id: Option<Id<ServiceId>>,
}

#[derive(Default)]
pub(crate) struct OperationsQuery;

#[Object]
impl OperationsQuery {
    /// One service, now or as of a moment.
    async fn service(
        &self,
        ctx: &Context<'_>,
        id: Id<ServiceId>,
        as_of: Option<AsOf>,
    ) -> Result<Service, Problem> {
        service(asking(ctx)?, id.0, as_of).await
    }

    /// Services in the order of their names.
    async fn services(
        &self,
        ctx: &Context<'_>,
        #[graphql(default)] with_deregistered: bool,
    ) -> Result<Vec<Service>, Problem> {
        let asking = asking(ctx)?;
        asking.may_read(Resource::Services).await?;
        let pool = asking.model(Services::NAME).await?;
        let rows = services::services(pool, with_deregistered).await?;
        Ok(rows.into_iter().map(Service::now).collect())
    }

    /// Actions on services, newest first.
    async fn service_actions(
        &self,
        ctx: &Context<'_>,
        r#where: Option<ServiceActionFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
        order_by: Option<ListOrder>,
    ) -> Result<ServiceActionConnection, Problem> {
        let service_id = r#where.unwrap_or_default().service_id.map(|id| id.0);
        let page = PageArguments { first, after, last, before, order_by };
        actions(asking(ctx)?, service_id, page).await
    }
}

pub(crate) async fn service(
    asking: &Asking,
    id: ServiceId,
    as_of: Option<AsOf>,
) -> Result<Service, Problem> {
    asking.may_read(Resource::Services).await?;
    let at = at_position(asking, as_of).await?;
    let found = match at {
        None => services::service(asking.model(Services::NAME).await?, id).await?,
        at => {
            let rows = fold::<Services>(asking, "service", &id.to_string(), at).await?;
            rows.services.rows().into_iter().next().cloned()
        }
    };
    found.map(|row| Service(row, at)).ok_or_else(|| Problem::not_found("service", &id.to_string()))
}

pub(crate) async fn service_action(
    asking: &Asking,
    id: ServiceActionId,
) -> Result<ServiceAction, Problem> {
    asking.may_read(Resource::Services).await?;
    let found = services::action(asking.model(Services::NAME).await?, id).await?;
    found.map(ServiceAction).ok_or_else(|| Problem::not_found("service action", &id.to_string()))
}

async fn actions(
    asking: &Asking,
    service_id: Option<ServiceId>,
    page: PageArguments,
) -> Result<ServiceActionConnection, Problem> {
    asking.may_read(Resource::Services).await?;
    let plan = page.plan::<i64>(ListOrder::Descending)?.map(|at| Position(*at));
    let pool = asking.model(Services::NAME).await?;
    let rows = services::actions(pool, service_id, &plan.walk).await?;
    let page = Page::new(rows, &plan, |row| row.requested_position, ServiceAction);
    Ok(ServiceActionConnection::new(page, move |asking, most| {
        Box::pin(async move {
            let pool = asking.model(Services::NAME).await?;
            Ok(services::actions(pool, service_id, &Walk::ascending(most)).await?.len())
        })
    }))
}

//! Services and the actions on them.

use super::asking;
use super::outcome::{Answer, Asked, carry_out, payload};
use super::page::{Cursor, Page, connection, key_of, rows_wanted};
use super::scalars::{DateTime, Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::{AsOf, Asking, at_position, fold};
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use commands::{Outcome, ServiceCommand, Subject};
use domain::access::Resource;
use domain::operations::service::{Observation, Verb};
use domain::values::{Code, ServiceActionId, ServiceId, Text};
use event_log::Position;
use projections::Projection as _;
use projections::services::{self, Services};
use uuid::Uuid;

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
pub(crate) struct Service(services::Service);

/// A service.
#[Object]
impl Service {
    /// `svc_…`
    pub(crate) async fn id(&self) -> ID {
        ID(self.0.service_id.to_string())
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
    ) -> Result<ServiceActionConnection, Problem> {
        actions(asking(ctx)?, Some(self.0.service_id), first, after).await
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
        Ok(rows.into_iter().map(Service).collect())
    }

    /// Actions on services, newest first.
    async fn service_actions(
        &self,
        ctx: &Context<'_>,
        r#where: Option<ServiceActionFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Result<ServiceActionConnection, Problem> {
        let service_id = r#where.unwrap_or_default().service_id.map(|id| id.0);
        actions(asking(ctx)?, service_id, first, after).await
    }
}

pub(crate) async fn service(
    asking: &Asking,
    id: ServiceId,
    as_of: Option<AsOf>,
) -> Result<Service, Problem> {
    asking.may_read(Resource::Services).await?;
    let found = match at_position(asking, as_of).await? {
        None => services::service(asking.model(Services::NAME).await?, id).await?,
        at => {
            let rows = fold::<Services>(asking, "service", &id.to_string(), at).await?;
            rows.services.rows().into_iter().next().cloned()
        }
    };
    found.map(Service).ok_or_else(|| Problem::not_found("service", &id.to_string()))
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
    first: Option<i32>,
    after: Option<Cursor>,
) -> Result<ServiceActionConnection, Problem> {
    asking.may_read(Resource::Services).await?;
    let wanted = rows_wanted(first)?;
    let before = key_of::<i64>(after.as_ref())?.map(Position);
    let pool = asking.model(Services::NAME).await?;
    let rows = services::actions(pool, service_id, before, wanted + 1).await?;
    let cursor = |row: &services::ServiceAction| Cursor::of(&row.requested_position);
    let page = Page::new(rows, wanted, after.is_some(), cursor, ServiceAction);
    Ok(ServiceActionConnection::new(page, move |asking, most| {
        Box::pin(async move {
            let pool = asking.model(Services::NAME).await?;
            Ok(services::actions(pool, service_id, None, most).await?.len())
        })
    }))
}

async fn service_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Service>, Problem> {
    let (Subject::Service(id) | Subject::ServiceAction(id, _)) = outcome.subject else {
        return Ok(None);
    };
    let pool = asking.model_after(Services::NAME, outcome.receipt.position).await?;
    Ok(services::service(pool, id).await?.map(Service))
}

async fn action_of(asking: &Asking, outcome: &Outcome) -> Result<Option<ServiceAction>, Problem> {
    let Subject::ServiceAction(_, id) = outcome.subject else { return Ok(None) };
    let pool = asking.model_after(Services::NAME, outcome.receipt.position).await?;
    Ok(services::action(pool, id).await?.map(ServiceAction))
}

payload! {
    /// What became of a command about a service.
    ServicePayload {
        /// The service as the command left it.
        service: Service = service_of
    }
}

payload! {
    /// What became of asking for an action: that it was asked for. How it ends is for `action` to
    /// tell later.
    ServiceActionPayload {
        /// The action.
        action: ServiceAction = action_of
    }
    names
        /// `act_…`
        action_id
}

/// A new service.
#[derive(InputObject)]
struct ServiceRegisterInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// Its short name.
    name: Word<Code>,
    /// The container's name at the engine.
    container: Word<Text>,
    /// What may be done to it.
    verbs: Vec<ServiceVerb>,
}

/// A service that is a target no more.
#[derive(InputObject)]
struct ServiceDeregisterInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which service.
    service_id: Id<ServiceId>,
    /// Why.
    reason: Word<Text>,
}

/// A service that something is to be done to.
#[derive(InputObject)]
struct ServiceActInput {
    /// Chosen by the caller; the same for every repeat.
    command_id: Uuid,
    /// The version that the caller had seen.
    expected_version: Option<SafeInt>,
    /// Which service.
    service_id: Id<ServiceId>,
    /// Why.
    reason: Option<Word<Text>>,
}

#[derive(Default)]
pub(crate) struct OperationsMutation;

#[Object]
impl OperationsMutation {
    /// Lets a service be a target.
    async fn service_register(
        &self,
        ctx: &Context<'_>,
        input: ServiceRegisterInput,
    ) -> Result<ServicePayload, Problem> {
        let (name, container) = (input.name.0, input.container.0);
        let verbs = input.verbs.into_iter().map(Verb::from).collect();
        let register = ServiceCommand::ServiceRegister { name, container, verbs };
        carry_out(ctx, Asked::once(input.command_id), register).await.map(ServicePayload)
    }

    /// Lets a service be a target no more.
    async fn service_deregister(
        &self,
        ctx: &Context<'_>,
        input: ServiceDeregisterInput,
    ) -> Result<ServicePayload, Problem> {
        let asked = Asked::at(input.command_id, input.expected_version);
        let (service_id, reason) = (input.service_id.0, input.reason.0);
        let deregister = ServiceCommand::ServiceDeregister { service_id, reason };
        carry_out(ctx, asked, deregister).await.map(ServicePayload)
    }

    /// Asks for a service to be started.
    async fn service_start(
        &self,
        ctx: &Context<'_>,
        input: ServiceActInput,
    ) -> Result<ServiceActionPayload, Problem> {
        act(ctx, input, Verb::Start).await.map(ServiceActionPayload)
    }

    /// Asks for a service to be stopped.
    async fn service_stop(
        &self,
        ctx: &Context<'_>,
        input: ServiceActInput,
    ) -> Result<ServiceActionPayload, Problem> {
        act(ctx, input, Verb::Stop).await.map(ServiceActionPayload)
    }

    /// Asks for a service to be stopped and started again.
    async fn service_restart(
        &self,
        ctx: &Context<'_>,
        input: ServiceActInput,
    ) -> Result<ServiceActionPayload, Problem> {
        act(ctx, input, Verb::Restart).await.map(ServiceActionPayload)
    }

    /// Asks for a service to be frozen.
    async fn service_pause(
        &self,
        ctx: &Context<'_>,
        input: ServiceActInput,
    ) -> Result<ServiceActionPayload, Problem> {
        act(ctx, input, Verb::Pause).await.map(ServiceActionPayload)
    }

    /// Asks for a service to be unfrozen.
    async fn service_unpause(
        &self,
        ctx: &Context<'_>,
        input: ServiceActInput,
    ) -> Result<ServiceActionPayload, Problem> {
        act(ctx, input, Verb::Unpause).await.map(ServiceActionPayload)
    }
}

async fn act(ctx: &Context<'_>, input: ServiceActInput, verb: Verb) -> Result<Answer, Problem> {
    let asked = Asked::at(input.command_id, input.expected_version);
    let (service_id, reason) = (input.service_id.0, input.reason.map(|reason| reason.0));
    let act = ServiceCommand::ServiceAct { service_id, verb, reason };
    carry_out(ctx, asked, act).await
}

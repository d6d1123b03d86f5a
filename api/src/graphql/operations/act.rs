//! What registers services and asks for actions on them.

use super::{Service, ServiceAction, ServiceVerb};
use crate::graphql::outcome::{Answer, Asked, carry_out, payload};
use crate::graphql::scalars::{Id, SafeInt, Word};
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::{Context, InputObject, Object};
use commands::{Outcome, ServiceCommand, Subject};
use domain::operations::service::Verb;
use domain::values::{Code, ServiceId, Text};
use projections::Projection as _;
use projections::services::{self, Services};
use uuid::Uuid;

async fn service_of(asking: &Asking, outcome: &Outcome) -> Result<Option<Service>, Problem> {
    let (Subject::Service(id) | Subject::ServiceAction(id, _)) = outcome.subject else {
        return Ok(None);
    };
    let pool = asking.model_after(Services::NAME, outcome.receipt.position).await?;
    Ok(services::service(pool, id).await?.map(Service::now))
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

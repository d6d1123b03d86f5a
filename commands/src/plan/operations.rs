//! Plans about services and the actions on them.

use super::{CLAIM_SERVICE, Planner};
use crate::command::ServiceCommand;
use crate::failure::Failure;
use domain::operations::service::{self, Service, ServiceRegistered};
use domain::values::{ServiceActionId, ServiceId};
use uuid::Uuid;

/// How long an action may take from the moment it was asked for.
const ACTION_SECONDS: i64 = 30;

impl Planner<'_> {
    pub(super) async fn plan_operations(&mut self, command: ServiceCommand) -> Result<(), Failure> {
        use service::Command as C;
        match command {
            ServiceCommand::ServiceRegister { name, container, verbs } => {
                let service_id = ServiceId::new(self.id("service"));
                self.claim(CLAIM_SERVICE, name.as_str(), service_id.to_string());
                let registered = ServiceRegistered { service_id, name, container, verbs };
                self.service(service_id, C::Register(Box::new(registered))).await
            }
            ServiceCommand::ServiceDeregister { service_id, reason } => {
                self.service(service_id, C::Deregister { reason }).await
            }
            ServiceCommand::ServiceAct { service_id, verb, reason } => {
                let action_id = ServiceActionId::new(self.id("service_action"));
                let deadline = self.now + chrono::TimeDelta::seconds(ACTION_SECONDS);
                let request = C::Request { action_id, verb, reason, deadline };
                self.service(service_id, request).await
            }
            ServiceCommand::ServiceActionDispatch {
                service_id,
                action_id,
                worker,
                lease_until,
                before,
            } => {
                let dispatch = C::Dispatch { action_id, worker, lease_until, before };
                self.service(service_id, dispatch).await
            }
            ServiceCommand::ServiceActionFinish { service_id, action_id, outcome } => {
                self.service(service_id, C::Finish { action_id, outcome }).await
            }
        }
    }

    async fn service(
        &mut self,
        service_id: ServiceId,
        command: service::Command,
    ) -> Result<(), Failure> {
        self.decide::<Service>(&service_id.to_string(), Uuid::nil(), command).await
    }
}

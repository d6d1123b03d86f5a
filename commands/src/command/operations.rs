//! Commands about services and the actions on them.

use super::{Right, platform};
use crate::command::Subject;
use crate::ids::derived_id;
use domain::Instant;
use domain::access::{Action, Resource};
use domain::operations::service::{Observation, Outcome, Verb};
use domain::values::{Code, ServiceActionId, ServiceId, Text};
use serde::Serialize;
use std::collections::BTreeSet;
use uuid::Uuid;

/// About services and the actions on them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[expect(missing_docs, reason = "the fields are the inputs, documented where the domain has them")]
pub enum ServiceCommand {
    /// Let a service be a target.
    ServiceRegister { name: Code, container: Text, verbs: BTreeSet<Verb> },
    /// Let a service be a target no more.
    ServiceDeregister { service_id: ServiceId, reason: Text },
    /// Ask for an action on a service.
    ServiceAct { service_id: ServiceId, verb: Verb, reason: Option<Text> },
    /// Take an action on; asked by a worker.
    ServiceActionDispatch {
        service_id: ServiceId,
        action_id: ServiceActionId,
        worker: String,
        lease_until: Instant,
        #[serde(skip)]
        before: Observation,
    },
    /// Say how an action ended; asked by a worker.
    ServiceActionFinish {
        service_id: ServiceId,
        action_id: ServiceActionId,
        #[serde(skip)]
        outcome: Outcome,
    },
}

impl ServiceCommand {
    /// The name that the API and the audit trail use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ServiceRegister { .. } => "service_register",
            Self::ServiceDeregister { .. } => "service_deregister",
            Self::ServiceAct { .. } => "service_act",
            Self::ServiceActionDispatch { .. } => "service_action_dispatch",
            Self::ServiceActionFinish { .. } => "service_action_finish",
        }
    }

    /// Who may ask it.
    #[must_use]
    pub const fn right(&self) -> Right {
        match self {
            Self::ServiceRegister { .. } => platform(Resource::Services, Action::Write),
            Self::ServiceDeregister { .. } => platform(Resource::Services, Action::Delete),
            Self::ServiceAct { .. } => platform(Resource::Services, Action::Execute),
            Self::ServiceActionDispatch { .. } | Self::ServiceActionFinish { .. } => {
                Right::SystemOnly
            }
        }
    }

    /// What it makes or changes.
    pub(super) fn subject(&self, command_id: Uuid) -> Subject {
        match self {
            Self::ServiceRegister { .. } => {
                Subject::Service(ServiceId::new(derived_id(command_id, "service")))
            }
            Self::ServiceDeregister { service_id, .. } => Subject::Service(*service_id),
            Self::ServiceAct { service_id, .. } => {
                let action_id = ServiceActionId::new(derived_id(command_id, "service_action"));
                Subject::ServiceAction(*service_id, action_id)
            }
            Self::ServiceActionDispatch { service_id, action_id, .. }
            | Self::ServiceActionFinish { service_id, action_id, .. } => {
                Subject::ServiceAction(*service_id, *action_id)
            }
        }
    }
}

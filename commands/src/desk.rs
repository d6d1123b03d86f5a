//! The log as a worker of service actions sees it.

use crate::caller::Caller;
use crate::command::ServiceCommand;
use crate::executor::{Executor, Request};
use crate::failure::{Failure, Refusal};
use crate::ids::{flow_command_id, new_command_id};
use crate::loader::{Loaded, fold_into};
use crate::workers::{ActionDesk, DeskError, OpenAction, Taken};
use domain::Instant;
use domain::operations::service::{self, Observation, Outcome, Service};
use domain::values::{ServiceActionId, ServiceId};
use event_log::{Position, Recorded};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// How long a worker sleeps at most before it looks again.
const POLL: Duration = Duration::from_secs(1);

impl ActionDesk for Executor {
    async fn open_actions(&self) -> Result<Vec<OpenAction>, DeskError> {
        let newest = self.log().newest_of_kind("service").await.map_err(unavailable)?;
        let known = self.inner.open_actions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((position, open)) = known
            && position == newest
        {
            return Ok(open);
        }
        let open = read_open_actions(self, newest).await?;
        let read = Some((newest, open.clone()));
        *self.inner.open_actions.lock().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(open)
    }

    async fn dispatch(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        worker: &str,
        lease_until: Instant,
        before: Observation,
    ) -> Result<Taken, DeskError> {
        let worker_name = worker.to_owned();
        let command = ServiceCommand::ServiceActionDispatch {
            service_id,
            action_id,
            worker: worker_name,
            lease_until,
            before,
        };
        let request = Request {
            // A new id each time: a stored receipt must never say "yours" to the next life.
            command_id: new_command_id(),
            caller: Caller::system(worker),
            expected_version: None,
            command: command.into(),
        };
        match self.execute_quietly(&request).await {
            Ok(_) => Ok(Taken::Mine),
            Err(Failure::Refused(Refusal::Service(
                service::Refusal::Dispatched
                | service::Refusal::NoSuchAction
                | service::Refusal::NotRegistered,
            ))) => Ok(Taken::NotMine),
            Err(failure) => Err(desk_error(failure)),
        }
    }

    async fn finish(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        outcome: Outcome,
    ) -> Result<(), DeskError> {
        let finish = ServiceCommand::ServiceActionFinish { service_id, action_id, outcome };
        let request = Request {
            command_id: flow_command_id("service_action_finish", 0, &action_id.to_string()),
            caller: Caller::system("worker.service_actions"),
            expected_version: None,
            command: finish.into(),
        };
        match self.execute_quietly(&request).await {
            Ok(_) => Ok(()),
            // It has an end already, and that one stays.
            Err(Failure::Refused(Refusal::Service(service::Refusal::NoSuchAction))) => Ok(()),
            Err(failure) => Err(desk_error(failure)),
        }
    }

    async fn wait_for_news(&self) {
        // Either is a reason to look: what was asked here, or the time that others need.
        let _ = tokio::time::timeout(POLL, self.inner.service_news.notified()).await;
    }

    fn now(&self) -> Instant {
        self.clock().now()
    }
}

fn unavailable(error: event_log::ReadError) -> DeskError {
    DeskError::Unavailable(Box::new(error))
}

fn desk_error(failure: Failure) -> DeskError {
    match failure {
        Failure::Refused(refusal) => DeskError::Refused(refusal.to_string()),
        Failure::Unauthenticated
        | Failure::Forbidden { .. }
        | Failure::CommandReused { .. }
        | Failure::TooLarge(_) => DeskError::Refused(failure.to_string()),
        Failure::VersionConflict { .. }
        | Failure::Busy
        | Failure::Halted(_)
        | Failure::Unavailable(_)
        | Failure::Internal(_) => DeskError::Unavailable(Box::new(failure)),
    }
}

/// Every action without an end, folded from the services' histories up to a position.
async fn read_open_actions(
    executor: &Executor,
    at: Position,
) -> Result<Vec<OpenAction>, DeskError> {
    let recorded = executor.log().read_kind("service", Some(at)).await.map_err(unavailable)?;
    let mut histories: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for event in recorded {
        if let Some(stream) = &event.stream {
            histories.entry(stream.to_string()).or_default().push(event);
        }
    }
    let mut open = Vec::new();
    for history in histories.values() {
        let nothing = Loaded { state: Service::default(), version: 0 };
        let service = fold_into(nothing, history).map_err(desk_error)?.state;
        if let (Some(registered), Some(running)) = (service.registered, service.running) {
            let (service_id, container) = (registered.service_id, registered.container);
            open.push(OpenAction { service_id, container, running });
        }
    }
    Ok(open)
}

//! Services and what was done to them.
//!
//! A service is as it was last seen, which is when an action on it began or ended: readings in
//! between are telemetry. A service whose event cannot be applied is set aside with its later
//! events; the others go on.

use crate::occurrence::Occurrence;
use crate::projection::{ApplyError, Projection, Takes};
use crate::read::{ReadError, Select};
use crate::table::{row_set, table};
use crate::walk::Walk;
use domain::operations::service::{
    self, Observation, ServiceActionFailed, ServiceActionRequested, ServiceActionSucceeded,
    ServiceActionTimedOut, ServiceRegistered, Verb,
};
use domain::values::{Code, ServiceActionId, ServiceId, Text};
use domain::{Event, Instant};
use event_log::Position;
use sqlx::PgPool;
use std::collections::BTreeSet;

table! {
    /// A service.
    pub struct Service in "service" (service_id: ServiceId) {
        /// Which.
        service_id: ServiceId = "text collate \"C\" not null",
        /// Its short name.
        name: Code = "text collate \"C\" not null",
        /// The container's name at the engine.
        container: Text = "text not null",
        /// What may be done to it.
        verbs: BTreeSet<Verb> = "jsonb not null",
        /// Whether it may be a target.
        is_registered: bool = "boolean not null",
        /// What it was last seen to be.
        observed: Option<Observation> = "jsonb",
        /// When it was seen.
        observed_at: Option<Instant> = "timestamptz",
        /// The last action on it.
        last_action_id: Option<ServiceActionId> = "text",
        /// When it was registered.
        registered_at: Instant = "timestamptz not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "name"
}

table! {
    /// An action on a service.
    pub struct ServiceAction in "service_action" (action_id: ServiceActionId) {
        /// Which.
        action_id: ServiceActionId = "text collate \"C\" not null",
        /// Of which service.
        service_id: ServiceId = "text collate \"C\" not null",
        /// What.
        verb: Verb = "text not null",
        /// `requested`, `dispatched`, `succeeded`, `failed` or `timed_out`.
        state: String = "text not null",
        /// Who asked for it.
        requested_by: String = "text collate \"C\" not null",
        /// Why.
        reason: Option<Text> = "text",
        /// Which worker took it on.
        worker: Option<String> = "text",
        /// Why it failed.
        failure: Option<String> = "text",
        /// What the service was before.
        before: Option<Observation> = "jsonb",
        /// What it was after.
        after: Option<Observation> = "jsonb",
        /// When it was asked for.
        requested_at: Instant = "timestamptz not null",
        /// When it is over in any case.
        deadline: Instant = "timestamptz not null",
        /// When a worker took it on.
        dispatched_at: Option<Instant> = "timestamptz",
        /// When it ended.
        ended_at: Option<Instant> = "timestamptz",
        /// The event that asked for it.
        requested_position: Position = "bigint not null",
        /// The last event that changed this row.
        position: Position = "bigint not null",
    }
    index "service_id, requested_position"
    index "requested_position"
}

row_set! {
    /// The rows of services.
    pub struct Rows {
        /// Services.
        services: Service,
        /// Actions.
        actions: ServiceAction,
    }
}

/// What may be operated, and how that went.
#[derive(Debug)]
pub struct Services;

impl Projection for Services {
    const NAME: &'static str = "services";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Of(&[service::Event::NAMES]);
    const PARKS: bool = true;
    type Rows = Rows;

    fn apply(occurrence: &Occurrence, rows: &mut Rows) -> Result<(), ApplyError> {
        use service::Event as It;
        let Event::Service(event) = &occurrence.event else {
            return Ok(());
        };
        match event {
            It::ServiceRegistered(it) => register(occurrence, it, rows),
            It::ServiceDeregistered(it) => rows.services.change(&(it.service_id,), |row| {
                row.is_registered = false;
                row.position = occurrence.position;
                Ok(())
            }),
            It::ServiceActionRequested(it) => request(occurrence, it, rows),
            It::ServiceActionDispatched(it) => {
                see(occurrence, it.service_id, Some(&it.before), rows)?;
                rows.actions.change(&(it.action_id,), |row| {
                    "dispatched".clone_into(&mut row.state);
                    row.worker = Some(it.worker.clone());
                    row.before = Some(it.before.clone());
                    row.dispatched_at = Some(occurrence.recorded_at);
                    row.position = occurrence.position;
                    Ok(())
                })
            }
            It::ServiceActionSucceeded(ServiceActionSucceeded { service_id, action_id, after }) => {
                let end = End::new("succeeded", None, Some(after));
                end.take(occurrence, (*service_id, *action_id), rows)
            }
            It::ServiceActionFailed(ServiceActionFailed {
                service_id,
                action_id,
                reason,
                after,
            }) => {
                let end = End::new("failed", Some(reason), after.as_ref());
                end.take(occurrence, (*service_id, *action_id), rows)
            }
            It::ServiceActionTimedOut(ServiceActionTimedOut { service_id, action_id, after }) => {
                let end = End::new("timed_out", None, after.as_ref());
                end.take(occurrence, (*service_id, *action_id), rows)
            }
        }
    }
}

fn register(
    occurrence: &Occurrence,
    it: &ServiceRegistered,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    let registered = Service {
        service_id: it.service_id,
        name: it.name.clone(),
        container: it.container.clone(),
        verbs: it.verbs.clone(),
        is_registered: true,
        observed: None,
        observed_at: None,
        last_action_id: None,
        registered_at: occurrence.recorded_at,
        position: occurrence.position,
    };
    // Registered again after it was let go: what was seen and done before stays.
    let first = || registered.clone();
    rows.services.merge(&(it.service_id,), first, |row| {
        *row = Service {
            observed: row.observed.clone(),
            observed_at: row.observed_at,
            last_action_id: row.last_action_id,
            ..registered.clone()
        };
        Ok(())
    })
}

fn request(
    occurrence: &Occurrence,
    it: &ServiceActionRequested,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    rows.services.change(&(it.service_id,), |row| {
        row.last_action_id = Some(it.action_id);
        row.position = occurrence.position;
        Ok(())
    })?;
    rows.actions.put(ServiceAction {
        action_id: it.action_id,
        service_id: it.service_id,
        verb: it.verb,
        state: "requested".to_owned(),
        requested_by: occurrence.actor.clone(),
        reason: it.reason.clone(),
        worker: None,
        failure: None,
        before: None,
        after: None,
        requested_at: occurrence.recorded_at,
        deadline: it.deadline,
        dispatched_at: None,
        ended_at: None,
        requested_position: occurrence.position,
        position: occurrence.position,
    });
    Ok(())
}

/// Takes in what a service was seen to be.
fn see(
    occurrence: &Occurrence,
    service_id: ServiceId,
    seen: Option<&Observation>,
    rows: &mut Rows,
) -> Result<(), ApplyError> {
    rows.services.change(&(service_id,), |row| {
        if let Some(seen) = seen {
            row.observed = Some(seen.clone());
            row.observed_at = Some(occurrence.recorded_at);
        }
        row.position = occurrence.position;
        Ok(())
    })
}

/// How an action ended.
struct End<'a> {
    state: &'static str,
    failure: Option<&'a String>,
    after: Option<&'a Observation>,
}

impl<'a> End<'a> {
    const fn new(
        state: &'static str,
        failure: Option<&'a String>,
        after: Option<&'a Observation>,
    ) -> Self {
        Self { state, failure, after }
    }

    fn take(
        &self,
        occurrence: &Occurrence,
        (service_id, action_id): (ServiceId, ServiceActionId),
        rows: &mut Rows,
    ) -> Result<(), ApplyError> {
        see(occurrence, service_id, self.after, rows)?;
        rows.actions.change(&(action_id,), |row| {
            self.state.clone_into(&mut row.state);
            row.failure = self.failure.cloned();
            row.after = self.after.cloned();
            row.ended_at = Some(occurrence.recorded_at);
            row.position = occurrence.position;
            Ok(())
        })
    }
}

/// Services in the order of their names; those that were let go only when asked for.
///
/// # Errors
/// See [`ReadError`]; so for all of these.
pub async fn services(pool: &PgPool, with_deregistered: bool) -> Result<Vec<Service>, ReadError> {
    Select::from::<Service>()
        .and_if("is_registered = ", (!with_deregistered).then_some(true))
        .all(pool, "name, service_id")
        .await
}

/// One service.
pub async fn service(pool: &PgPool, id: ServiceId) -> Result<Option<Service>, ReadError> {
    Select::from::<Service>().and("service_id = ", id.to_string()).one(pool).await
}

/// The registered service of a name.
pub async fn service_by_name(pool: &PgPool, name: &Code) -> Result<Option<Service>, ReadError> {
    Select::from::<Service>()
        .and("name = ", name.to_string())
        .and("is_registered = ", true)
        .one(pool)
        .await
}

/// One action.
pub async fn action(
    pool: &PgPool,
    id: ServiceActionId,
) -> Result<Option<ServiceAction>, ReadError> {
    Select::from::<ServiceAction>().and("action_id = ", id.to_string()).one(pool).await
}

/// Actions on one service or on all, along the positions at which they were asked for.
pub async fn actions(
    pool: &PgPool,
    service_id: Option<ServiceId>,
    walk: &Walk<Position>,
) -> Result<Vec<ServiceAction>, ReadError> {
    Select::from::<ServiceAction>()
        .and_if("service_id = ", service_id.map(|id| id.to_string()))
        .walk(pool, "requested_position", walk)
        .await
}

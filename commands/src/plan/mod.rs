//! What a command does: which streams it decides on, with which recorded inputs, under which
//! claims.

mod access;
mod catalogue;
mod commerce;
mod credits;
mod operations;
mod retention;
mod tenancy;

use crate::caller::Caller;
use crate::command::Command;
use crate::executor::{Executor, Request};
use crate::failure::{Failure, Refusal};
use crate::ids::derived_id;
use crate::loader::{Freshness, Loaded, Loader, stream_of};
use domain::{Aggregate, Event, Instant, OfAnotherKind, Personal};
use event_log::purge::Purge;
use event_log::{Append, ClaimChange, CommandKey, Condition, KeyError, NewEvent, StreamId};
use serde_json::json;
use std::borrow::Cow;
use uuid::Uuid;

pub(crate) use retention::{DENIALS, retention_id};

/// Claims: what may be held once. Each is hashed with a key of the installation.
pub(crate) const CLAIM_EMAIL: &str = "user.email";
pub(crate) const CLAIM_SLUG: &str = "organization.slug";
pub(crate) const CLAIM_KEY: &str = "api_key.public_part";
pub(crate) const CLAIM_SERVICE: &str = "service.name";
pub(crate) const CLAIM_REFERENCE: &str = "payment.reference";

/// What people call what a claim keeps unique.
pub(crate) fn claim_name(scope: &str) -> &'static str {
    match scope {
        CLAIM_EMAIL => "the e-mail address",
        CLAIM_SLUG => "the organization's short name",
        CLAIM_SERVICE => "the service's name",
        CLAIM_REFERENCE => "the payment's reference",
        _ => "the value",
    }
}

/// One stream's part of a plan.
struct Write {
    stream: StreamId,
    version: i64,
    events: Vec<NewEvent>,
    keep: Box<dyn Fn(&Loader) + Send + Sync>,
}

/// Everything that one append carries.
pub(crate) struct Plan {
    tenant: Uuid,
    writes: Vec<Write>,
    claims: Vec<ClaimChange>,
    /// Streams that are not written and must still be at the version they were read at.
    relied_on: Vec<Condition>,
    /// Bodies that are destroyed with it.
    pub(crate) purge: Option<Purge>,
}

impl Plan {
    pub(crate) fn append(&self, command: CommandKey) -> Append {
        let changing = || self.writes.iter().filter(|write| !write.events.is_empty());
        Append {
            command,
            tenant: self.tenant,
            conditions: changing()
                .map(|write| Condition::StreamVersion {
                    stream: write.stream.clone(),
                    version: write.version,
                })
                .chain(self.relied_on.iter().cloned())
                .collect(),
            // Nothing happens twice: claims belong to what happens.
            claims: if changing().next().is_some() { self.claims.clone() } else { vec![] },
            events: changing().flat_map(|write| write.events.clone()).collect(),
        }
    }

    /// Keeps the states that the append led to.
    pub(crate) fn keep(&self, loader: &Loader) {
        for write in &self.writes {
            (write.keep)(loader);
        }
    }
}

/// Makes the plan of one request.
pub(crate) struct Planner<'a> {
    executor: &'a Executor,
    request: &'a Request,
    freshness: Freshness,
    now: Instant,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(executor: &'a Executor, request: &'a Request, freshness: Freshness) -> Self {
        let plan = Plan {
            tenant: Uuid::nil(),
            writes: Vec::new(),
            claims: Vec::new(),
            relied_on: Vec::new(),
            purge: None,
        };
        Self { executor, request, freshness, now: executor.clock().now(), plan }
    }

    pub(crate) async fn plan(mut self) -> Result<Plan, Failure> {
        match self.request.command.clone() {
            Command::Access(command) => self.plan_access(command).await?,
            Command::Tenancy(command) => self.plan_tenancy(command).await?,
            Command::Catalogue(command) => self.plan_catalogue(command).await?,
            Command::Credits(command) => self.plan_credits(command).await?,
            Command::Commerce(command) => self.plan_commerce(command).await?,
            Command::Operations(command) => self.plan_operations(command).await?,
            Command::Retention(command) => self.plan_retention(command).await?,
        }
        Ok(self.plan)
    }

    /// Loads, decides, and adds what happens to the plan. `tenant` is whose history it is.
    async fn decide<A>(
        &mut self,
        id: &str,
        tenant: Uuid,
        command: A::Command,
    ) -> Result<(), Failure>
    where
        A: Aggregate,
        A::Command: Clone,
        A::Event: Into<Event> + TryFrom<Event, Error = OfAnotherKind>,
        Refusal: From<A::Refusal>,
    {
        let loader = &self.executor.inner.loader;
        let mut loaded: Loaded<A> = loader.load(id, self.freshness).await?;
        let mut decided = loaded.state.decide(command.clone());
        let changes = decided.as_ref().is_ok_and(|events| !events.is_empty());
        if self.freshness == Freshness::Kept && !changes {
            // Neither "no" nor "done already" is said on a state that may be old.
            loaded = loader.load(id, Freshness::Now).await?;
            decided = loaded.state.decide(command);
        }
        self.check_version(loaded.version)?;
        let events = decided.map_err(Refusal::from)?;
        self.write(id, tenant, loaded, events).await
    }

    /// The first stream that a command decides on is the one its caller has seen.
    fn check_version(&self, actual: i64) -> Result<(), Failure> {
        match self.request.expected_version {
            Some(expected) if self.plan.writes.is_empty() && expected != actual => {
                Err(Failure::VersionConflict { expected, actual })
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn write<A>(
        &mut self,
        id: &str,
        tenant: Uuid,
        loaded: Loaded<A>,
        events: Vec<A::Event>,
    ) -> Result<(), Failure>
    where
        A: Aggregate,
        A::Event: Into<Event> + TryFrom<Event, Error = OfAnotherKind>,
    {
        let stream = stream_of::<A>(id)?;
        let version = loaded.version;
        let state = events.iter().fold(loaded.state, A::evolve);
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let after = Loaded { state, version: version.saturating_add(count) };
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            new.push(self.record(tenant, &stream, event.into()).await?);
        }
        let kept = stream.clone();
        let keep = Box::new(move |loader: &Loader| loader.keep(&kept, &after));
        self.plan.writes.push(Write { stream, version, events: new, keep });
        Ok(())
    }

    async fn record(
        &self,
        tenant: Uuid,
        stream: &StreamId,
        event: Event,
    ) -> Result<NewEvent, Failure> {
        let name = self.request.command.name();
        let from = Origin { command: name, command_id: self.request.command_id, at: self.now };
        new_event(self.executor, &self.request.caller, from, (tenant, Some(stream)), event).await
    }

    /// Reads an aggregate that a decision needs as an input, as it is now.
    async fn read<A>(&self, id: &str) -> Result<A, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        Ok(self.executor.inner.loader.load::<A>(id, Freshness::Now).await?.state)
    }

    /// The same, and it must not have moved when the command takes effect.
    async fn rely_on<A>(&mut self, id: &str) -> Result<A, Failure>
    where
        A: Aggregate,
        A::Event: TryFrom<Event, Error = OfAnotherKind>,
    {
        let loaded = self.executor.inner.loader.load::<A>(id, Freshness::Now).await?;
        let (stream, version) = (stream_of::<A>(id)?, loaded.version);
        self.plan.relied_on.push(Condition::StreamVersion { stream, version });
        Ok(loaded.state)
    }

    fn claim(&mut self, scope: &str, value: &str, holder: String) {
        let value_hash = self.executor.keys().blind(scope, value.as_bytes());
        self.plan.claims.push(ClaimChange::Take { scope: scope.to_owned(), value_hash, holder });
    }

    fn id(&self, purpose: &str) -> Uuid {
        derived_id(self.request.command_id, purpose)
    }
}

/// Which command an event comes from, and when.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) command: &'a str,
    pub(crate) command_id: Uuid,
    pub(crate) at: Instant,
}

/// Makes an event ready for the log: personal data sealed, who and why beside it.
pub(crate) async fn new_event(
    executor: &Executor,
    caller: &Caller,
    from: Origin<'_>,
    (tenant, stream): (Uuid, Option<&StreamId>),
    mut event: Event,
) -> Result<NewEvent, Failure> {
    let mut subjects = Vec::new();
    for (subject, personal) in event.personal_fields() {
        if let Personal::Clear(text) = personal {
            let sealed = executor.keys().seal(Uuid::nil(), subject, text.as_bytes()).await?;
            *personal = Personal::Sealed(sealed);
        }
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let meta = json!({
        "command": from.command,
        "on_behalf_of": caller.on_behalf_of,
        "origin": origin_of(executor, caller).await?,
    });
    Ok(NewEvent {
        tenant,
        stream: stream.cloned(),
        type_name: Cow::Borrowed(event.type_name()),
        schema_version: event.schema_version(),
        event_id: crate::ids::new_uuid(),
        occurred_at: from.at,
        actor: caller.actor.to_string(),
        causation: Some(from.command_id),
        correlation: caller.correlation,
        meta: meta.to_string().into_bytes(),
        payload: event.encode()?,
        tags: Vec::new(),
        subjects,
    })
}

/// Where a caller comes from, as it may be kept for ever. Where a person is tells of them: it goes
/// to their vault, and the event names the item.
async fn origin_of(executor: &Executor, caller: &Caller) -> Result<Option<String>, Failure> {
    let (Some(origin), Some(user_id)) = (&caller.origin, caller.user_id()) else {
        return Ok(caller.origin.clone());
    };
    match executor.keys().keep(Uuid::nil(), user_id.uuid(), origin.as_bytes()).await {
        Ok(item) => Ok(Some(item.to_string())),
        // Nothing more can be kept for whoever was erased.
        Err(KeyError::Erased { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

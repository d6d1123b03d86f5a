//! What was refused or forbidden is recorded too.
//!
//! The first of its kind (who, what, on what, why) is recorded at once; those that follow within a
//! minute are counted and recorded together, so that a flood of wrong requests is one more line and
//! not a flood of events.

use crate::executor::{Executor, Request};
use crate::failure::Failure;
use crate::ids::new_uuid;
use crate::plan::{DENIALS, Origin, new_event};
use domain::access::security::{CommandDenied, CommandRefused, Event};
use event_log::{Append, CommandKey, StreamId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// How many kinds are counted at once; what goes beyond is counted as one kind.
const KINDS_MAX: usize = 4_096;

/// Kinds of denials that were recorded within this minute, and how often they came again.
#[derive(Default)]
pub(crate) struct Denials(Mutex<HashMap<Kind, Counted>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    actor: String,
    command: &'static str,
    target: String,
    code: String,
}

struct Counted {
    repeated: u64,
    request: Request,
    event: Event,
}

impl Denials {
    pub(crate) async fn record(
        &self,
        executor: &Executor,
        request: &Request,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let Some((event, code)) = denial(request, failure) else {
            return Ok(());
        };
        let kind = Kind {
            actor: request.caller.actor.to_string(),
            command: request.command.name(),
            target: target(request),
            code,
        };
        if !self.is_first(kind, request, &event) {
            return Ok(());
        }
        append(executor, request, event).await
    }

    fn is_first(&self, mut kind: Kind, request: &Request, event: &Event) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= KINDS_MAX && !counted.contains_key(&kind) {
            kind = Kind {
                actor: "many".to_owned(),
                command: "many",
                target: "many".to_owned(),
                code: "MANY".to_owned(),
            };
        }
        if let Some(known) = counted.get_mut(&kind) {
            known.repeated = known.repeated.saturating_add(1);
            return false;
        }
        let fresh = Counted { repeated: 0, request: request.clone(), event: event.clone() };
        counted.insert(kind, fresh);
        true
    }

    /// Records what was only counted, and begins anew.
    pub(crate) async fn flush(&self, executor: &Executor) {
        let counted: Vec<Counted> = {
            let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counted.drain().map(|(_, counted)| counted).collect()
        };
        for Counted { repeated, request, mut event, .. } in counted {
            if repeated == 0 {
                continue;
            }
            match &mut event {
                Event::CommandDenied(denied) => denied.repeated = repeated,
                Event::CommandRefused(refused) => refused.repeated = repeated,
            }
            if let Err(error) = append(executor, &request, event).await {
                tracing::warn!(error = %error, repeated, "repeated denials could not be recorded");
            }
        }
    }
}

/// The event of a denial and its code; `None` for a failure that is nobody's denial.
fn denial(request: &Request, failure: &Failure) -> Option<(Event, String)> {
    let command = request.command.name().to_owned();
    let target = target(request);
    let repeated = 0;
    match failure {
        Failure::Refused(refusal) => {
            let (code, reason) = (refusal.code().to_owned(), refusal.to_string());
            let refused = CommandRefused { command, target, code: code.clone(), reason, repeated };
            Some((refused.into(), code))
        }
        Failure::Forbidden { permission, reason } => {
            let (permission, reason) = (permission.to_string(), (*reason).to_owned());
            let code = "FORBIDDEN".to_owned();
            Some((CommandDenied { command, target, permission, reason, repeated }.into(), code))
        }
        Failure::Unauthenticated => {
            let permission = String::new();
            let reason = failure.to_string();
            let code = "UNAUTHENTICATED".to_owned();
            Some((CommandDenied { command, target, permission, reason, repeated }.into(), code))
        }
        Failure::VersionConflict { .. }
        | Failure::CommandReused { .. }
        | Failure::TooLarge(_)
        | Failure::Busy
        | Failure::Halted(_)
        | Failure::Unavailable(_)
        | Failure::Internal(_) => None,
    }
}

/// What a request was about.
fn target(request: &Request) -> String {
    request.command.subject(request.command_id).target()
}

async fn append(executor: &Executor, request: &Request, event: Event) -> Result<(), Failure> {
    let stream = StreamId::new(DENIALS.0, DENIALS.1)?;
    let from = Origin {
        command: request.command.name(),
        command_id: request.command_id,
        at: executor.clock().now(),
    };
    let place = (request.command.right().tenant(), Some(&stream));
    let event = new_event(executor, &request.caller, from, place, event.into()).await?;
    let command = CommandKey { id: new_uuid(), content_hash: [0; 32] };
    let append = Append {
        command,
        tenant: Uuid::nil(),
        conditions: vec![],
        claims: vec![],
        events: vec![event],
    };
    executor.log().append(append).await.map_err(crate::executor::of_append)?;
    Ok(())
}

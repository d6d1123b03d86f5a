//! Services as they were.

use super::Shown;
use crate::Failure;
use crate::history::decode;
use domain::operations::service::{Event, Observation, Running, Service};
use domain::values::ServiceId;
use event_log::{EventLog, Position};
use serde_json::{Map, Value, json};

impl Shown for Service {
    fn show(&self) -> Value {
        json!({
            "registered": self.registered,
            "running": self.running.as_ref().map(running),
            "last_action_id": self.last,
        })
    }

    fn note(event: &Event, facts: &mut Map<String, Value>) {
        let seen: Option<&Observation> = match event {
            Event::ServiceActionDispatched(dispatched) => Some(&dispatched.before),
            Event::ServiceActionSucceeded(succeeded) => Some(&succeeded.after),
            Event::ServiceActionFailed(failed) => failed.after.as_ref(),
            Event::ServiceActionTimedOut(timed_out) => timed_out.after.as_ref(),
            Event::ServiceRegistered(_)
            | Event::ServiceDeregistered(_)
            | Event::ServiceActionRequested(_) => None,
        };
        if let Some(seen) = seen {
            facts.insert("observed".to_owned(), json!(seen));
        }
    }
}

fn running(action: &Running) -> Value {
    let dispatched = action.dispatched.as_ref();
    json!({
        "action_id": action.action_id,
        "verb": action.verb,
        "deadline": action.deadline,
        "worker": dispatched.map(|(worker, _, _)| worker),
        "lease_until": dispatched.map(|(_, until, _)| until),
    })
}

/// A service by its id, or by the name it was registered under last.
pub(super) async fn find(log: &EventLog, name: &str, at: Position) -> Result<ServiceId, Failure> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let mut newest = None;
    for recorded in log.read_kind("service", Some(at)).await? {
        if let Ok(Event::ServiceRegistered(registered)) = Event::try_from(decode(&recorded)?)
            && registered.name.as_str() == name
        {
            newest = newest.max(Some((recorded.position, registered.service_id)));
        }
    }
    newest.map(|(_, id)| id).ok_or_else(|| {
        Failure::Usage(format!("there was no service {name:?} at position {at}; ids are svc_…"))
    })
}

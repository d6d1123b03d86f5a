//! A service and the actions on it.
//!
//! Only a registered service may be a target, only a verb that it allows may be asked, and one
//! action runs at a time. An action: requested → dispatched → succeeded, failed or timed out. It is
//! dispatched once: whoever dispatched it alone may carry it out, so that a lost worker leads to an
//! observed end and never to a second attempt.

use crate::Instant;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{Code, ServiceActionId, ServiceId, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::str::FromStr;

/// What can be done to a service: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
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

impl Verb {
    /// Every one of them.
    pub const ALL: &'static [Self] =
        &[Self::Start, Self::Stop, Self::Restart, Self::Pause, Self::Unpause];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|verb| verb.as_str() == text);
        found.copied().ok_or_else(|| {
            format!("{text:?} is not an action; use start, stop, restart, pause or unpause")
        })
    }
}

/// What a service was seen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The engine has no such container.
    NotCreated,
    /// It runs and does not answer for itself yet.
    Starting,
    /// It runs and is well.
    Healthy,
    /// It runs and is not well.
    Unhealthy,
    /// It is frozen.
    Paused,
    /// It does not run.
    Stopped,
    /// It ended badly.
    Error,
    /// Nobody could say.
    Unknown,
}

impl State {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCreated => "not_created",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// What was seen of a service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What it was.
    pub state: State,
    /// Which container the engine says it is.
    pub container_id: Option<String>,
    /// Since when it runs, as the engine says.
    pub started_at: Option<Instant>,
    /// How it ended, when it does not run.
    pub exit_code: Option<i64>,
}

events! {
    /// What can have happened to a service.
    pub enum Event {
        /// The service may be a target from now on.
        ServiceRegistered = "service_registered" 1 "service.configure" {
            /// Which.
            service_id: ServiceId,
            /// Its short name.
            name: Code,
            /// The container's name at the engine.
            container: Text,
            /// What may be done to it.
            verbs: BTreeSet<Verb>,
        }
        /// The service is a target no more.
        ServiceDeregistered = "service_deregistered" 1 "service.configure" {
            /// Which.
            service_id: ServiceId,
            /// Why.
            reason: Text,
        }
        /// Somebody wants something done.
        ServiceActionRequested = "service_action_requested" 1 "service.action.request" {
            /// Which service.
            service_id: ServiceId,
            /// Which action.
            action_id: ServiceActionId,
            /// What.
            verb: Verb,
            /// Why.
            reason: Option<Text>,
            /// When it is over in any case.
            deadline: Instant,
        }
        /// A worker is about to carry it out, and nobody else will.
        ServiceActionDispatched = "service_action_dispatched" 1 "service.action.dispatch" {
            /// Which service.
            service_id: ServiceId,
            /// Which action.
            action_id: ServiceActionId,
            /// Which worker.
            worker: String,
            /// When its lease ends.
            lease_until: Instant,
            /// What the service was before.
            before: Observation,
        }
        /// It was done, as was seen.
        ServiceActionSucceeded = "service_action_succeeded" 1 "service.action.succeed" {
            /// Which service.
            service_id: ServiceId,
            /// Which action.
            action_id: ServiceActionId,
            /// What the service was seen to be after.
            after: Observation,
        }
        /// It was not done.
        ServiceActionFailed = "service_action_failed" 1 "service.action.fail" {
            /// Which service.
            service_id: ServiceId,
            /// Which action.
            action_id: ServiceActionId,
            /// Why, in words that show no internals.
            reason: String,
            /// What the service was seen to be after, when it could be seen.
            after: Option<Observation>,
        }
        /// Nobody answered in time.
        ServiceActionTimedOut = "service_action_timed_out" 1 "service.action.time_out" {
            /// Which service.
            service_id: ServiceId,
            /// Which action.
            action_id: ServiceActionId,
            /// What the service was seen to be after, when it could be seen.
            after: Option<Observation>,
        }
    }
}

/// What can be asked of a service.
#[derive(Clone, Debug)]
pub enum Command {
    /// Let it be a target.
    Register(Box<ServiceRegistered>),
    /// Let it be a target no more.
    Deregister {
        /// Why.
        reason: Text,
    },
    /// Ask for an action.
    Request {
        /// Which action.
        action_id: ServiceActionId,
        /// What.
        verb: Verb,
        /// Why.
        reason: Option<Text>,
        /// When it is over in any case.
        deadline: Instant,
    },
    /// Take an action on, alone.
    Dispatch {
        /// Which action.
        action_id: ServiceActionId,
        /// Which worker.
        worker: String,
        /// When its lease ends.
        lease_until: Instant,
        /// What the service is now.
        before: Observation,
    },
    /// Say how an action ended.
    Finish {
        /// Which action.
        action_id: ServiceActionId,
        /// How.
        outcome: Outcome,
    },
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done, as was seen.
    Succeeded {
        /// What was seen.
        after: Observation,
    },
    /// It was not done.
    Failed {
        /// Why.
        reason: String,
        /// What was seen.
        after: Option<Observation>,
    },
    /// Nobody answered in time.
    TimedOut {
        /// What was seen.
        after: Option<Observation>,
    },
}

/// Why a service says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a target.
    #[error("there is no such service; only a registered one can be a target")]
    NotRegistered,
    /// The id is taken.
    #[error("a service with this id exists already")]
    Exists,
    /// Not one of its verbs.
    #[error("{verb} is not among what may be done to this service: {allowed}")]
    VerbNotAllowed {
        /// What was asked.
        verb: &'static str,
        /// What may be.
        allowed: String,
    },
    /// One at a time.
    #[error("{verb} is still under way for this service; wait for its end")]
    Busy {
        /// What runs.
        verb: &'static str,
    },
    /// There is no such action, or another is under way.
    #[error("there is no such action under way")]
    NoSuchAction,
    /// Somebody else took it on.
    #[error("the action was taken on by another worker")]
    Dispatched,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRegistered => "SERVICE_NOT_FOUND",
            Self::Exists => "SERVICE_EXISTS",
            Self::VerbNotAllowed { .. } => "SERVICE_ACTION_NOT_ALLOWED",
            Self::Busy { .. } => "SERVICE_BUSY",
            Self::NoSuchAction => "SERVICE_ACTION_NOT_FOUND",
            Self::Dispatched => "SERVICE_ACTION_DISPATCHED",
        }
    }
}

/// An action under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Which action.
    pub action_id: ServiceActionId,
    /// What.
    pub verb: Verb,
    /// When it is over in any case.
    pub deadline: Instant,
    /// Who took it on, until when, and what the service was before; `None` while nobody did.
    pub dispatched: Option<(String, Instant, Observation)>,
}

/// A service as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// How it is registered; `None` when it is not.
    pub registered: Option<ServiceRegistered>,
    /// The action under way.
    pub running: Option<Running>,
    /// Actions that came to an end, newest last; only the newest is kept.
    pub last: Option<ServiceActionId>,
}

impl Service {
    fn registered(&self) -> Result<&ServiceRegistered, Refusal> {
        self.registered.as_ref().ok_or(Refusal::NotRegistered)
    }

    fn request(
        &self,
        action_id: ServiceActionId,
        verb: Verb,
        reason: Option<Text>,
        deadline: Instant,
    ) -> Result<Vec<Event>, Refusal> {
        let registered = self.registered()?;
        if !registered.verbs.contains(&verb) {
            let allowed: Vec<&str> = registered.verbs.iter().map(|verb| verb.as_str()).collect();
            let allowed = allowed.join(", ");
            return Err(Refusal::VerbNotAllowed { verb: verb.as_str(), allowed });
        }
        match &self.running {
            Some(same) if same.action_id == action_id => Ok(vec![]),
            Some(other) => Err(Refusal::Busy { verb: other.verb.as_str() }),
            None => {
                let service_id = registered.service_id;
                let requested =
                    ServiceActionRequested { service_id, action_id, verb, reason, deadline };
                Ok(vec![requested.into()])
            }
        }
    }

    fn running(&self, action_id: ServiceActionId) -> Result<&Running, Refusal> {
        self.running
            .as_ref()
            .filter(|running| running.action_id == action_id)
            .ok_or(Refusal::NoSuchAction)
    }

    fn finish(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        outcome: Outcome,
    ) -> Result<Vec<Event>, Refusal> {
        if self.last == Some(action_id) {
            return Ok(vec![]);
        }
        self.running(action_id)?;
        Ok(vec![match outcome {
            Outcome::Succeeded { after } => {
                ServiceActionSucceeded { service_id, action_id, after }.into()
            }
            Outcome::Failed { reason, after } => {
                ServiceActionFailed { service_id, action_id, reason, after }.into()
            }
            Outcome::TimedOut { after } => {
                ServiceActionTimedOut { service_id, action_id, after }.into()
            }
        }])
    }
}

impl Aggregate for Service {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "service";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Register(registered) => match &self.registered {
                None => Ok(vec![Event::ServiceRegistered(*registered)]),
                Some(same) if *same == *registered => Ok(vec![]),
                Some(_) => Err(Refusal::Exists),
            },
            Command::Deregister { reason } => {
                let service_id = self.registered()?.service_id;
                match &self.running {
                    Some(running) => Err(Refusal::Busy { verb: running.verb.as_str() }),
                    None => Ok(vec![ServiceDeregistered { service_id, reason }.into()]),
                }
            }
            Command::Request { action_id, verb, reason, deadline } => {
                self.request(action_id, verb, reason, deadline)
            }
            Command::Dispatch { action_id, worker, lease_until, before } => {
                let service_id = self.registered()?.service_id;
                match &self.running(action_id)?.dispatched {
                    Some(_) => Err(Refusal::Dispatched),
                    None => {
                        let taken = ServiceActionDispatched {
                            service_id,
                            action_id,
                            worker,
                            lease_until,
                            before,
                        };
                        Ok(vec![taken.into()])
                    }
                }
            }
            Command::Finish { action_id, outcome } => {
                self.finish(self.registered()?.service_id, action_id, outcome)
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::ServiceRegistered(registered) => self.registered = Some(registered.clone()),
            Event::ServiceDeregistered(_) => self.registered = None,
            Event::ServiceActionRequested(requested) => {
                self.running = Some(Running {
                    action_id: requested.action_id,
                    verb: requested.verb,
                    deadline: requested.deadline,
                    dispatched: None,
                });
            }
            Event::ServiceActionDispatched(taken) => {
                if let Some(running) = &mut self.running {
                    let (worker, before) = (taken.worker.clone(), taken.before.clone());
                    running.dispatched = Some((worker, taken.lease_until, before));
                }
            }
            Event::ServiceActionSucceeded(ServiceActionSucceeded { action_id, .. })
            | Event::ServiceActionFailed(ServiceActionFailed { action_id, .. })
            | Event::ServiceActionTimedOut(ServiceActionTimedOut { action_id, .. }) => {
                self.running = None;
                self.last = Some(*action_id);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::given;
    use chrono::DateTime;
    use uuid::Uuid;

    const fn action(number: u128) -> ServiceActionId {
        ServiceActionId::new(Uuid::from_u128(number))
    }

    fn later() -> Instant {
        DateTime::from_timestamp(30, 0).expect("a moment")
    }

    fn registered() -> Event {
        Event::ServiceRegistered(ServiceRegistered {
            service_id: ServiceId::new(Uuid::from_u128(1)),
            name: "vllm".parse().expect("a code"),
            container: "vllm-1".parse().expect("a text"),
            verbs: [Verb::Start, Verb::Restart].into(),
        })
    }

    fn request(number: u128, verb: Verb) -> Command {
        Command::Request { action_id: action(number), verb, reason: None, deadline: later() }
    }

    fn dispatch(worker: &str) -> Command {
        let before = Observation {
            state: State::Healthy,
            container_id: None,
            started_at: None,
            exit_code: None,
        };
        let worker = worker.to_owned();
        Command::Dispatch { action_id: action(1), worker, lease_until: later(), before }
    }

    #[test]
    fn an_unregistered_service_is_no_target() {
        given::<Service>(&[]).when(request(1, Verb::Start)).refused(&Refusal::NotRegistered);
    }

    #[test]
    fn a_verb_that_the_service_does_not_allow_is_refused() {
        given::<Service>(&[registered()])
            .when(request(1, Verb::Stop))
            .refused(&Refusal::VerbNotAllowed { verb: "stop", allowed: "start, restart".into() });
    }

    #[test]
    fn one_action_runs_at_a_time_and_is_taken_on_once() {
        let mut history = vec![registered()];
        history.extend(given::<Service>(&history).when(request(1, Verb::Restart)).accepted());
        given::<Service>(&history).when(request(1, Verb::Restart)).happened(&[]);
        given::<Service>(&history)
            .when(request(2, Verb::Start))
            .refused(&Refusal::Busy { verb: "restart" });
        history.extend(given::<Service>(&history).when(dispatch("a")).accepted());
        given::<Service>(&history).when(dispatch("b")).refused(&Refusal::Dispatched);
        let end =
            Command::Finish { action_id: action(1), outcome: Outcome::TimedOut { after: None } };
        history.extend(given::<Service>(&history).when(end.clone()).accepted());
        given::<Service>(&history).when(end).happened(&[]);
        given::<Service>(&history).when(request(2, Verb::Start)).accepted();
    }
}

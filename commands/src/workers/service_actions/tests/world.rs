//! A stand-in for the outside: a log in memory under the real rules of the domain, and a scripted
//! engine with containers that are only numbers. It lives on when a worker dies.

use super::super::goal;
use crate::workers::{EngineError, OpenAction};
use chrono::{DateTime, TimeDelta};
use domain::operations::service::{
    Command, Event, Observation, Outcome, Refusal, Service, ServiceRegistered, State, Verb,
};
use domain::values::{ServiceActionId, ServiceId};
use domain::{Aggregate, Instant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// What the scripted engine does when it is asked to perform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Script {
    /// Does it after so long; answers at once.
    Obeys(Duration),
    /// Does it, and the answer is lost.
    ObeysInSilence,
    /// Answers that it will, and does nothing.
    Ignores,
    /// Neither does it nor answers.
    Hangs,
    /// Refuses.
    Refuses,
    /// Starts it; it ends at once with this exit code.
    Ends(i64),
    /// Cannot be reached until then.
    UnreachableUntil(Duration),
}

/// One container of the scripted engine.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) state: State,
    pub(super) starts: u32,
    pub(super) performs: u32,
    becomes: Option<(Instant, State, u32)>,
}

/// How the log answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Taking on lasts so long.
    pub(super) dispatch_lasts: Duration,
    /// So many answers to taking on are lost after it was appended.
    pub(super) dispatch_answers_lost: u32,
    /// So many ends are not taken.
    pub(super) ends_lost: u32,
}

/// The log and the engine; they live on when a process dies.
pub(super) struct World {
    script: Mutex<Script>,
    pub(super) weather: Mutex<Weather>,
    pub(super) news: Notify,
    services: Mutex<BTreeMap<ServiceId, (Service, Vec<Event>)>>,
    containers: Mutex<BTreeMap<String, Container>>,
    ends: Notify,
    began: tokio::time::Instant,
}

pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// How often everything is looked at; seldom, because every look is a point to die at.
pub(super) const POLL: Duration = Duration::from_secs(3);

impl World {
    pub(super) fn new(script: Script) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script),
            weather: Mutex::default(),
            services: Mutex::default(),
            containers: Mutex::default(),
            news: Notify::new(),
            ends: Notify::new(),
            began: tokio::time::Instant::now(),
        })
    }

    pub(super) fn now(&self) -> Instant {
        let passed = TimeDelta::from_std(self.began.elapsed()).expect("a short test");
        DateTime::from_timestamp(1_700_000_000, 0).expect("a moment") + passed
    }

    pub(super) fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// A registered service whose container is in the state that `verb` is usually asked in.
    pub(super) fn service(&self, number: u128, verb: Verb) -> ServiceId {
        let service_id = ServiceId::new(uuid::Uuid::from_u128(number));
        let state = match verb {
            Verb::Start => State::Stopped,
            Verb::Unpause => State::Paused,
            Verb::Stop | Verb::Restart | Verb::Pause => State::Healthy,
        };
        let container = Container { state, starts: 1, performs: 0, becomes: None };
        let mut containers = self.containers.lock().expect("containers");
        containers.insert(format!("container-{number}"), container);
        let registered = ServiceRegistered {
            service_id,
            name: format!("service-{number}").parse().expect("a code"),
            container: format!("container-{number}").parse().expect("a text"),
            verbs: Verb::ALL.iter().copied().collect(),
        };
        self.decide(service_id, Command::Register(Box::new(registered))).expect("registered");
        service_id
    }

    /// Asks for an action on it; the action has the number of the service.
    pub(super) fn request(&self, service_id: ServiceId, verb: Verb) -> ServiceActionId {
        let action_id = ServiceActionId::new(service_id.uuid());
        let deadline = self.now() + DEADLINE;
        let command = Command::Request { action_id, verb, reason: None, deadline };
        self.decide(service_id, command).expect("requested");
        action_id
    }

    pub(super) fn decide(&self, id: ServiceId, command: Command) -> Result<(), Refusal> {
        let mut services = self.services.lock().expect("services");
        let (service, history) = services.entry(id).or_default();
        for event in service.decide(command)? {
            *service = std::mem::take(service).evolve(&event);
            history.push(event);
        }
        self.news.notify_waiters();
        self.ends.notify_waiters();
        Ok(())
    }

    pub(super) fn open_actions(&self) -> Vec<OpenAction> {
        let services = self.services.lock().expect("services").clone();
        let open = services.into_iter().filter_map(|(service_id, (service, _))| {
            let (container, running) = (service.registered?.container, service.running?);
            Some(OpenAction { service_id, container, running })
        });
        open.collect()
    }

    /// What the engine will do, if it can be reached.
    pub(super) fn script(&self) -> Result<Script, EngineError> {
        let script = *self.script.lock().expect("the script");
        match script {
            Script::UnreachableUntil(then) if self.began.elapsed() < then => {
                Err(EngineError::Unreachable)
            }
            reached => Ok(reached),
        }
    }

    pub(super) fn container(&self, id: ServiceId) -> Container {
        let mut containers = self.containers();
        containers.get_mut(&format!("container-{}", id.uuid().as_u128())).expect("it").clone()
    }

    pub(super) fn remove_container(&self, id: ServiceId) {
        self.containers().remove(&format!("container-{}", id.uuid().as_u128()));
    }

    /// The containers as they are by now.
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        let mut containers = self.containers.lock().expect("containers");
        for container in containers.values_mut() {
            if let Some((_, state, starts)) =
                container.becomes.filter(|(at, _, _)| *at <= self.now())
            {
                (container.state, container.starts) = (state, starts);
                container.becomes = None;
            }
        }
        containers
    }

    pub(super) fn look(&self, container: &str) -> Observation {
        self.containers().get(container).map_or(
            Observation {
                state: State::NotCreated,
                container_id: None,
                started_at: None,
                exit_code: None,
            },
            |it| Observation {
                state: it.state,
                container_id: Some(container.to_owned()),
                started_at: DateTime::from_timestamp(i64::from(it.starts), 0),
                exit_code: (it.state == State::Error).then_some(3),
            },
        )
    }

    pub(super) fn act(&self, name: &str, verb: Verb, script: Script) -> Result<(), EngineError> {
        let now = self.now();
        let mut containers = self.containers();
        let container = containers.get_mut(name).ok_or(EngineError::NoSuchContainer)?;
        container.performs += 1;
        let starts = container.starts;
        let target = match verb {
            Verb::Start | Verb::Restart => (State::Healthy, starts + 1),
            Verb::Unpause => (State::Healthy, starts),
            Verb::Stop => (State::Stopped, starts),
            Verb::Pause => (State::Paused, starts),
        };
        match script {
            Script::Obeys(after) => container.becomes = Some((now + after, target.0, target.1)),
            Script::ObeysInSilence | Script::UnreachableUntil(_) => {
                container.becomes = Some((now, target.0, target.1));
            }
            Script::Ends(_) => container.becomes = Some((now, State::Error, target.1)),
            Script::Refuses => return Err(EngineError::Refused("it does not want to".into())),
            Script::Ignores | Script::Hangs => {}
        }
        Ok(())
    }

    pub(super) fn history(&self, id: ServiceId) -> Vec<Event> {
        self.services.lock().expect("services")[&id].1.clone()
    }

    /// How the actions of a service ended, from its history.
    pub(super) fn ends(&self, id: ServiceId) -> Vec<Outcome> {
        let end = |event: &Event| match event.clone() {
            Event::ServiceActionSucceeded(end) => Some(Outcome::Succeeded { after: end.after }),
            Event::ServiceActionFailed(end) => {
                Some(Outcome::Failed { reason: end.reason, after: end.after })
            }
            Event::ServiceActionTimedOut(end) => Some(Outcome::TimedOut { after: end.after }),
            Event::ServiceRegistered(_)
            | Event::ServiceDeregistered(_)
            | Event::ServiceActionRequested(_)
            | Event::ServiceActionDispatched(_) => None,
        };
        self.history(id).iter().filter_map(end).collect()
    }

    /// Waits until each of these services has an end.
    pub(super) async fn all_ended(&self, ids: &[ServiceId]) {
        loop {
            let mut changed = std::pin::pin!(self.ends.notified());
            changed.as_mut().enable();
            if ids.iter().all(|id| !self.ends(*id).is_empty()) {
                return;
            }
            changed.await;
        }
    }

    /// What must hold of every action, whatever died: performed at most once, ended once, truly.
    pub(super) fn check_end(&self, id: ServiceId, verb: Verb, story: &str) -> Outcome {
        let container = self.container(id);
        assert!(container.performs <= 1, "performed {} times: {story}", container.performs);
        let ends = self.ends(id);
        assert_eq!(ends.len(), 1, "{ends:?}: {story}");
        let now = self.look(&format!("container-{}", id.uuid().as_u128()));
        let before = Observation { started_at: DateTime::from_timestamp(1, 0), ..now.clone() };
        let is_so = goal::judge(verb, &before, &now) == goal::Verdict::Reached;
        match &ends[0] {
            Outcome::Succeeded { after } => {
                assert!(is_so, "called done and is not: {container:?}: {story}");
                assert_eq!(*after, now, "{story}");
            }
            Outcome::TimedOut { after } => {
                assert!(!is_so, "is done and called timed out: {container:?}: {story}");
                assert_eq!(after.as_ref(), Some(&now), "{story}");
                assert!(self.seconds() >= DEADLINE.as_secs(), "given up too early: {story}");
            }
            Outcome::Failed { .. } => assert!(!is_so, "is done and called failed: {story}"),
        }
        ends[0].clone()
    }
}

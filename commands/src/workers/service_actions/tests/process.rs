//! A stand-in for one life of a worker process, between the worker and the [`World`].
//!
//! It can be told to die at its nth step; a step stands before and after every effect, so that
//! each crash point of the protocol is one number.

use super::super::{ServiceActionWorker, Settings};
use super::world::{DEADLINE, POLL, Script, World};
use crate::workers::{ActionDesk, ContainerEngine, DeskError, EngineError, OpenAction, Taken};
use domain::Instant;
use domain::operations::service::{Command, Observation, Outcome, Verb};
use domain::values::{ServiceActionId, ServiceId};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// One life of a worker process, which may die at its nth step.
pub(super) struct Process {
    world: Arc<World>,
    name: String,
    dies_at: Option<usize>,
    steps: AtomicUsize,
    died: Notify,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, name: &str, dies_at: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            name: name.to_owned(),
            dies_at,
            steps: AtomicUsize::new(0),
            died: Notify::new(),
        })
    }

    pub(super) fn worker(self: &Arc<Self>) -> ServiceActionWorker<Self, Self> {
        let observe_every = POLL;
        let settings = Settings { observe_every, ..Settings::new(self.name.clone()) };
        ServiceActionWorker::new(self.clone(), self.clone(), settings)
    }

    /// Lets it live until these services have an end, or until it dies; says whether it lived.
    pub(super) async fn lives_until_ended(self: &Arc<Self>, ids: &[ServiceId]) -> bool {
        let worker = self.worker();
        tokio::select! {
            () = worker.run(pending()) => false,
            () = self.died.notified() => false,
            () = self.world.all_ended(ids) => true,
            () = tokio::time::sleep(DEADLINE * 10) => panic!("{ids:?} never end"),
        }
    }

    /// Something is about to happen. Nothing is waited for, so that an effect may come with the
    /// very first poll.
    async fn before(&self) {
        if Some(self.steps.fetch_add(1, Ordering::Relaxed) + 1) == self.dies_at {
            self.died.notify_one();
            pending::<()>().await;
        }
    }

    /// Something happened, and others may come first before it is known.
    async fn after(&self) {
        tokio::task::yield_now().await;
        self.before().await;
    }
}

impl ContainerEngine for Process {
    async fn observe(&self, container: &str) -> Result<Observation, EngineError> {
        self.before().await;
        self.world.script()?;
        let seen = self.world.look(container);
        self.after().await;
        Ok(seen)
    }

    async fn perform(&self, container: &str, verb: Verb) -> Result<(), EngineError> {
        self.before().await;
        let script = self.world.script()?;
        self.world.act(container, verb, script)?;
        self.after().await;
        match script {
            Script::ObeysInSilence | Script::Hangs => pending().await,
            Script::Obeys(_)
            | Script::Ignores
            | Script::Refuses
            | Script::Ends(_)
            | Script::UnreachableUntil(_) => Ok(()),
        }
    }
}

impl ActionDesk for Process {
    async fn open_actions(&self) -> Result<Vec<OpenAction>, DeskError> {
        self.before().await;
        let open = self.world.open_actions();
        self.after().await;
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
        self.before().await;
        let worker = worker.to_owned();
        let command = Command::Dispatch { action_id, worker, lease_until, before };
        let decided = self.world.decide(service_id, command);
        self.after().await;
        let weather = *self.world.weather.lock().expect("the weather");
        tokio::time::sleep(weather.dispatch_lasts).await;
        if weather.dispatch_answers_lost > 0 {
            self.world.weather.lock().expect("the weather").dispatch_answers_lost -= 1;
            return Err(DeskError::Unavailable("the answer was lost".into()));
        }
        Ok(if decided.is_ok() { Taken::Mine } else { Taken::NotMine })
    }

    async fn finish(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        outcome: Outcome,
    ) -> Result<(), DeskError> {
        self.before().await;
        let weather = *self.world.weather.lock().expect("the weather");
        if weather.ends_lost > 0 {
            self.world.weather.lock().expect("the weather").ends_lost -= 1;
            return Err(DeskError::Unavailable("the log is away".into()));
        }
        let command = Command::Finish { action_id, outcome };
        let decided = self.world.decide(service_id, command);
        self.after().await;
        decided.map_err(|refusal| DeskError::Refused(refusal.to_string()))
    }

    async fn wait_for_news(&self) {
        drop(tokio::time::timeout(POLL, self.world.news.notified()).await);
    }

    fn now(&self) -> Instant {
        self.world.now()
    }
}

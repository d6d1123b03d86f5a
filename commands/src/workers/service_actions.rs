//! The worker that carries out service actions on containers.
//!
//! One action: observe → dispatch → perform → observe until the target or the deadline → finish.
//! What holds whatever dies, and however many workers there are:
//!
//! * an action is performed at most once: only who won its dispatch performs it, and only in the
//!   same run of the same process, before the deadline;
//! * an action found dispatched by a lost worker (its lease is over, or it is this worker's name
//!   from an earlier run) is observed and ended, and never performed again;
//! * every end is one that was seen: accepted by the engine is not yet done, and at the deadline
//!   the observed state decides.
//!
//! Taking on comes before any end, also where nothing will be performed (no container, no engine,
//! too late): two workers that saw different things must not both speak.

mod goal;
#[cfg(test)]
mod tests;

use super::{ActionDesk, ContainerEngine, DeskError, EngineError, OpenAction, Taken};
use domain::Instant;
use domain::operations::service::{Observation, Outcome, State};
use domain::values::ServiceActionId;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt, unfold};
use goal::Verdict;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in the log. A name that stays the same over restarts lets the next run end at
    /// once what this one left behind; no two live processes may share it.
    pub name: String,
    /// How often a service is looked at while an action waits for its target.
    pub observe_every: Duration,
    /// How long one look may take.
    pub observe_timeout: Duration,
    /// How long an engine that cannot be reached is tried before the action is given up.
    pub engine_patience: Duration,
    /// How long after its deadline an action still belongs to who took it on. Longer than
    /// `observe_timeout`, so that the last look and the end fit in; clocks of several machines
    /// may differ by the rest.
    pub lease_grace: Duration,
    /// How long to wait before the log is asked again after it could not be reached.
    pub retry_after: Duration,
}

impl Settings {
    /// The usual ones, for a worker of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            observe_every: Duration::from_millis(200),
            observe_timeout: Duration::from_secs(5),
            engine_patience: Duration::from_secs(3),
            lease_grace: Duration::from_secs(15),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Carries out service actions through an engine.
pub struct ServiceActionWorker<D, E> {
    desk: Arc<D>,
    engine: Arc<E>,
    settings: Settings,
}

impl<D: ActionDesk, E: ContainerEngine> ServiceActionWorker<D, E> {
    /// A worker; it does nothing before [`run`](Self::run).
    #[must_use]
    pub const fn new(desk: Arc<D>, engine: Arc<E>, settings: Settings) -> Self {
        Self { desk, engine, settings }
    }

    /// Works until `stop` comes; then takes on nothing new and brings to an end what it has, which
    /// lasts as long as the deadlines of those actions. May be dropped at any point instead.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        let mut rounds = pin!(self.rounds());
        let mut in_hand = BTreeSet::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = under_way.next() => {
                    in_hand.remove(&ended);
                }
                Some(open) = rounds.next() => {
                    for action in open {
                        if self.may_be_ended(&action) && in_hand.insert(action.running.action_id) {
                            under_way.push(self.bring_to_an_end(action));
                        }
                    }
                }
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// What is open, at once and then whenever there is news. A stream, so that what is under way
    /// goes on while the log is asked.
    fn rounds(&self) -> impl Stream<Item = Vec<OpenAction>> + Send {
        unfold(false, move |waits| async move {
            if waits {
                self.desk.wait_for_news().await;
            }
            loop {
                match self.desk.open_actions().await {
                    Ok(open) => return Some((open, true)),
                    Err(error) => {
                        let what = "open actions could not be read";
                        self.pause_after(what, &error).await;
                    }
                }
            }
        })
    }

    /// Nobody took it on, or who did is gone. What this run itself has in hand is known to `run`.
    fn may_be_ended(&self, action: &OpenAction) -> bool {
        match &action.running.dispatched {
            None => true,
            Some((worker, lease_until, _)) => {
                *worker == self.settings.name || *lease_until <= self.desk.now()
            }
        }
    }

    async fn bring_to_an_end(&self, action: OpenAction) -> ServiceActionId {
        match &action.running.dispatched {
            None => self.take_on(&action).await,
            Some((lost, _, before)) => {
                tracing::info!(
                    action = %action.running.action_id, lost,
                    "an action was left behind; it is observed and not carried out again"
                );
                let outcome = match goal::hopeless(before) {
                    Some(reason) => failed(reason, self.observe(&action).await.ok()),
                    None => self.follow(&action, before).await,
                };
                self.finish(&action, outcome).await;
            }
        }
        action.running.action_id
    }

    async fn take_on(&self, action: &OpenAction) {
        let before = self.observe_patiently(action).await;
        let deadline = action.running.deadline;
        let lease_until = deadline.max(self.desk.now()) + self.settings.lease_grace;
        let dispatched = self.desk.dispatch(
            action.service_id,
            action.running.action_id,
            &self.settings.name,
            lease_until,
            before.clone(),
        );
        match dispatched.await {
            Ok(Taken::Mine) => {}
            Ok(Taken::NotMine) => return,
            // Perhaps it was appended after all; then a later round finds it, and only observes.
            Err(error) => {
                return self.pause_after("an action could not be taken on", &error).await;
            }
        }
        let outcome = match goal::hopeless(&before) {
            Some(reason) => failed(reason, known(before)),
            None => self.carry_out(action, &before).await,
        };
        self.finish(action, outcome).await;
    }

    /// Performs the verb, this once, and sees what comes of it.
    async fn carry_out(&self, action: &OpenAction, before: &Observation) -> Outcome {
        let verb = action.running.verb;
        // Nobody may have had time for it, taking on may have lasted, or the process was frozen:
        // after the deadline others may speak for this action, so nothing must be done any more.
        let left = self.left(action.running.deadline);
        if left.is_zero() {
            return Outcome::TimedOut { after: self.observe(action).await.ok() };
        }
        let performed = self.engine.perform(action.container.as_str(), verb);
        match timeout(left, performed).await {
            // Whether the request arrived is unknown without an answer: what is seen decides.
            Ok(Ok(()) | Err(EngineError::Timeout)) | Err(_) => self.follow(action, before).await,
            Ok(Err(error)) => {
                let after = self.observe(action).await.ok();
                match after {
                    // Such as freezing what is frozen, which some engines refuse.
                    Some(after) if goal::judge(verb, before, &after) == Verdict::Reached => {
                        Outcome::Succeeded { after }
                    }
                    after => failed(&error.to_string(), after),
                }
            }
        }
    }

    /// Looks until the target is reached or cannot be any more, at the latest once after the
    /// deadline.
    async fn follow(&self, action: &OpenAction, before: &Observation) -> Outcome {
        loop {
            let left = self.left(action.running.deadline);
            let seen = self.observe(action).await.ok();
            if let Some(after) = &seen {
                match goal::judge(action.running.verb, before, after) {
                    Verdict::Reached => {
                        return Outcome::Succeeded { after: after.clone() };
                    }
                    Verdict::Missed(reason) => return failed(&reason, seen),
                    Verdict::Open => {}
                }
            }
            if left.is_zero() {
                return Outcome::TimedOut { after: seen };
            }
            sleep(left.min(self.settings.observe_every)).await;
        }
    }

    /// What the service is before anything is done; unknown when the engine cannot be reached for
    /// a while, which may only be it being restarted.
    async fn observe_patiently(&self, action: &OpenAction) -> Observation {
        let give_up = self.desk.now() + self.settings.engine_patience;
        let give_up = give_up.min(action.running.deadline);
        loop {
            match self.observe(action).await {
                Ok(observation) => return observation,
                Err(EngineError::Unreachable | EngineError::Timeout)
                    if !self.left(give_up).is_zero() =>
                {
                    sleep(self.settings.observe_every).await;
                }
                Err(error) => {
                    let container = action.container.as_str();
                    tracing::warn!(container, %error, "a service could not be observed");
                    return UNKNOWN;
                }
            }
        }
    }

    async fn observe(&self, action: &OpenAction) -> Result<Observation, EngineError> {
        let observed = self.engine.observe(action.container.as_str());
        timeout(self.settings.observe_timeout, observed).await.unwrap_or(Err(EngineError::Timeout))
    }

    /// Hands in the end, as often as it takes: an action without an end blocks its service.
    async fn finish(&self, action: &OpenAction, outcome: Outcome) {
        let (service, id) = (action.service_id, action.running.action_id);
        tracing::info!(%service, action = %id, verb = action.running.verb.as_str(), ?outcome);
        while let Err(error) = self.desk.finish(service, id, outcome.clone()).await {
            self.pause_after("the end of an action could not be recorded", &error).await;
            match error {
                DeskError::Unavailable(_) => {}
                DeskError::Refused(_) => return,
            }
        }
    }

    async fn pause_after(&self, what: &str, error: &DeskError) {
        tracing::warn!(error = error as &dyn std::error::Error, "{what}");
        sleep(self.settings.retry_after).await;
    }

    /// How long it is until then; zero when it is past.
    fn left(&self, until: Instant) -> Duration {
        (until - self.desk.now()).to_std().unwrap_or(Duration::ZERO)
    }
}

const UNKNOWN: Observation =
    Observation { state: State::Unknown, container_id: None, started_at: None, exit_code: None };

/// An observation, if it is one.
fn known(observation: Observation) -> Option<Observation> {
    (observation.state != State::Unknown).then_some(observation)
}

fn failed(reason: &str, after: Option<Observation>) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), after }
}

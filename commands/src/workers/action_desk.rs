//! Where a worker finds open service actions, takes them on and hands in how they ended.
//!
//! This is all that a worker knows of the log: behind it the commands `Dispatch` and `Finish` of
//! [`domain::operations::service`] are decided and appended like any other.

use domain::Instant;
use domain::operations::service::{Observation, Outcome, Running};
use domain::values::{ServiceActionId, ServiceId, Text};
use std::future::Future;

/// An action that was requested and has no end yet.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAction {
    /// The target.
    pub service_id: ServiceId,
    /// The target's name at the engine, as registered.
    pub container: Text,
    /// What is asked, until when, and who took it on.
    pub running: Running,
}

/// Who an action belongs to after somebody tried to take it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// This call took it on: its caller may carry it out, once.
    Mine,
    /// Somebody else did, or it is over.
    NotMine,
}

/// Why the desk gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The log cannot be reached, or what became of the request is unknown. Asking again is safe.
    #[error("the log cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rules say no, and will say so again.
    #[error("refused: {0}")]
    Refused(String),
}

/// The log, as a worker of service actions sees it.
pub trait ActionDesk: Send + Sync + 'static {
    /// Every action without an end. May lag behind the log: what is decided is decided by
    /// [`dispatch`](Self::dispatch) and [`finish`](Self::finish).
    fn open_actions(&self) -> impl Future<Output = Result<Vec<OpenAction>, DeskError>> + Send;

    /// Takes an action on for `worker`, unless somebody did before.
    ///
    /// [`Taken::Mine`] is said at most once per action, whatever is asked how often and by whom,
    /// this worker included. So each call is a command of its own, with a new id: a stored
    /// receipt must not tell the next life of a worker that the action is still its to carry out.
    fn dispatch(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        worker: &str,
        lease_until: Instant,
        before: Observation,
    ) -> impl Future<Output = Result<Taken, DeskError>> + Send;

    /// Records how an action ended. Where it has an end already, that one stays and this is `Ok`.
    fn finish(
        &self,
        service_id: ServiceId,
        action_id: ServiceActionId,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), DeskError>> + Send;

    /// Returns when there may be something new, and after a second in any case: a lease runs out
    /// without a word.
    fn wait_for_news(&self) -> impl Future<Output = ()> + Send;

    /// What time it is.
    fn now(&self) -> Instant;
}

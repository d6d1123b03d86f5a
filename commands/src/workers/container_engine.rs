//! What a worker needs of a container engine, and what can stand in its way.
//!
//! Messages of [`EngineError`] become the recorded reason of a failed action, so they say what to
//! do next and show nothing of the engine's insides: no paths, no ids, no traces.

use domain::operations::service::{Observation, Verb};
use std::future::Future;

/// Observes containers and carries out verbs on them.
///
/// Containers are addressed by the name that was registered. Everything here may be called from
/// several workers at once.
pub trait ContainerEngine: Send + Sync + 'static {
    /// What the engine says the container is now.
    ///
    /// A container that is not there is an observation as well: `not_created`.
    fn observe(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<Observation, EngineError>> + Send;

    /// Carries out one verb; returns when the engine answered, not when the target is reached.
    ///
    /// Sends one request and never repeats it by itself.
    fn perform(
        &self,
        container: &str,
        verb: Verb,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;
}

/// Why an engine gave no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request certainly never got there.
    #[error(
        "the container engine cannot be reached; check that it runs, that DOCKER_HOST names it and \
         that this account may use it"
    )]
    Unreachable,
    /// The engine knows no such container.
    #[error("the engine has no container of this name; create it, or correct the registration")]
    NoSuchContainer,
    /// The engine answered that it will not, or could not.
    #[error("the container engine refused: {0}")]
    Refused(String),
    /// The request may have got there, and no answer came back that could be read.
    #[error("the container engine gave no answer in time")]
    Timeout,
}

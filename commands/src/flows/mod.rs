//! Flows: what happens because something happened.
//!
//! A flow reads the log in order, as far as it is on disk, and asks for commands. The commands' ids
//! follow from the flow's name and the position that caused them, so that reading a page twice does
//! nothing twice; the flow's own position moves by compare-and-set after the page was worked off.
//! Any number of processes may run the same flow.
//!
//! * [`charging`]: recorded usage is priced and charged to credits.
//! * [`reactions`]: a new organization gets its tier's credits; a paid purchase its own.
//! * `erasures`: what was asked to be erased is, by whoever comes first.
//! * [`deadlines`]: what has a time limit is let go when its time is over.

pub mod charging;
pub mod deadlines;
pub(crate) mod erasures;
pub mod reactions;

use crate::caller::Caller;
use crate::command::Command;
use crate::executor::{Executor, Request};
use crate::failure::Failure;
use event_log::Position;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many events a flow reads at once.
pub(crate) const PAGE: usize = 4_096;
/// How long a flow waits before it tries again what could not be done.
const RETRY: Duration = Duration::from_millis(500);
/// How often repeated denials are written down.
const DENIALS: Duration = Duration::from_secs(60);

/// Every flow of this process, running.
pub struct Flows {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Flows {
    /// Starts all flows.
    #[must_use]
    pub fn start(executor: &Executor) -> Self {
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(charging::run(executor.clone(), stop.clone())),
            tokio::spawn(reactions::run(executor.clone(), stop.clone())),
            tokio::spawn(deadlines::run(executor.clone(), stop.clone())),
            tokio::spawn(write_denials(executor.clone(), stop.clone())),
        ];
        Self { stop, tasks }
    }

    /// Lets every flow finish what it is doing, then returns.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "a flow ended abnormally");
            }
        }
    }
}

/// Works everything off that follows from the log up to now, and from what that leads to. Returns
/// the head at which nothing was left. For commands that run without a server.
///
/// # Errors
/// What kept a flow from going on.
pub async fn settle(executor: &Executor) -> Result<Position, Failure> {
    loop {
        let head = executor.log().head().await?;
        reactions::catch_up(executor, head).await?;
        charging::catch_up(executor, head, &mut |_| {}).await?;
        deadlines::fire_due(executor).await?;
        if executor.log().head().await? == head {
            return Ok(head);
        }
    }
}

async fn write_denials(executor: Executor, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(DENIALS)).await.is_some() {
        executor.flush_denials().await;
    }
    executor.flush_denials().await;
}

/// Asks for a command in the name of a flow. A refusal is final and is recorded; what could not be
/// decided is for the caller to try again.
pub(crate) async fn ask(
    executor: &Executor,
    flow: &str,
    command_id: Uuid,
    command: Command,
) -> Result<(), Failure> {
    let caller = Caller::system(flow);
    let request = Request { command_id, caller, expected_version: None, command };
    match executor.execute(request).await {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) => {
            tracing::warn!(flow, %refusal, "what a flow asked for was refused");
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// Waits before something is tried again, or until the flow is to stop.
pub(crate) async fn pause(stop: &CancellationToken, flow: &str, failure: &Failure) {
    tracing::warn!(flow, error = %failure, "a flow tries again");
    let _ = stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
}

/// Where a flow stands.
pub(crate) async fn position(executor: &Executor, flow: &str) -> Result<Position, Failure> {
    let mut connection = executor.log().pool().acquire().await.map_err(unavailable)?;
    event_log::consumer_position(&mut connection, flow).await.map_err(unavailable)
}

/// Moves a flow on; `false` when another process did.
pub(crate) async fn advance(
    executor: &Executor,
    flow: &str,
    from: Position,
    to: Position,
) -> Result<bool, Failure> {
    let mut connection = executor.log().pool().acquire().await.map_err(unavailable)?;
    event_log::advance(&mut connection, flow, from, to).await.map_err(unavailable)
}

pub(crate) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Unavailable(Box::new(error))
}

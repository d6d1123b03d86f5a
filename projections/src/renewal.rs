//! Read models that have to be made anew, while the others are kept up to date.
//!
//! One whose handlers have changed since its rows were written, and one that is so far behind that
//! folding everything is faster. They are made one after the other, so that memory holds the rows
//! of one; readers see the rows that are there until then.

use crate::control::{self, Standing, State};
use crate::projection::Definition;
use crate::rebuild::{Promote, RebuildError, rebuild};
use event_log::EventLog;
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long to wait after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(1);

/// What is made anew by this process.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lists: Mutex<Lists>,
    done: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    /// They are being made, or wait for it.
    under_way: BTreeSet<&'static str>,
    /// They cannot be made from the beginning: their rows go on by themselves.
    given_up: BTreeSet<&'static str>,
}

/// A read model to be made anew.
struct Due {
    definition: Definition,
    standing: Standing,
    /// Its rows are of no use to these handlers.
    is_changed: bool,
}

impl Shared {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewal {
    /// Whether a read model is being made anew here, or waits for it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.shared.lists().under_way.contains(name)
    }

    /// Returns once one was made, or could not be.
    pub(crate) async fn progress(&self) {
        self.shared.done.notified().await;
    }

    /// Begins with what is due, unless something is being made already.
    pub(crate) async fn begin(
        &mut self,
        log: &EventLog,
        definitions: &[Definition],
        rebuild_events: i64,
    ) -> Result<(), RebuildError> {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let head = log.head().await?;
        let mut due = Vec::new();
        for standing in control::standings(log.pool()).await? {
            let found = definitions.iter().find(|it| it.name == standing.name);
            let Some(definition) = found.copied().filter(|_| standing.state == State::Live) else {
                continue;
            };
            let is_changed = is_older(&standing, &definition);
            let behind = head.0 - standing.position.0;
            let is_far = behind > rebuild_events && behind > head.0 / 4 * 3;
            let may_be = !self.shared.lists().given_up.contains(definition.name);
            if is_changed || (is_far && is_ours(&standing, &definition) && may_be) {
                due.push(Due { definition, standing, is_changed });
            }
        }
        {
            // Whoever died on the way left its names here.
            let mut lists = self.shared.lists();
            lists.under_way = due.iter().map(|it| it.definition.name).collect();
        }
        if !due.is_empty() {
            self.task = Some(tokio::spawn(make_all(log.clone(), due, Arc::clone(&self.shared))));
        }
        Ok(())
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        // What is unfinished goes with the next rebuild.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn make_all(log: EventLog, due: Vec<Due>, shared: Arc<Shared>) {
    for due in due {
        let name = due.definition.name;
        tracing::info!(name, version = due.definition.version, "a read model is made anew");
        let is_given_up =
            match rebuild(&log, &due.definition, Promote::Always, &mut |_, _| ()).await {
                Ok(made) => {
                    tracing::info!(name, position = made.position.0, rows = made.rows, "made");
                    false
                }
                Err(error) => cannot(log.pool(), &due, error).await,
            };
        let mut lists = shared.lists();
        lists.under_way.remove(name);
        if is_given_up {
            lists.given_up.insert(name);
        }
        shared.done.notify_one();
    }
}

/// Deals with a read model that cannot be made anew; true when that is for good.
async fn cannot(pool: &PgPool, due: &Due, error: RebuildError) -> bool {
    let name = due.definition.name;
    match error {
        // The rows that are there go on by themselves, up to the event in question.
        RebuildError::Handler { .. } if !due.is_changed => true,
        RebuildError::Handler { position, error } => {
            let version = due.definition.version;
            let error = format!("version {version} cannot be made: {error}");
            tracing::error!(name, position = position.0, error, "stopped");
            let stopped = match pool.acquire().await {
                Ok(mut connection) => {
                    control::stop(&mut connection, &due.standing, &error, Some(position)).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = stopped {
                tracing::warn!(name, %error, "that it stopped cannot be written down just now");
            }
            false
        }
        // Tried again by whoever looks next.
        error @ (RebuildError::Log(_)
        | RebuildError::Rows(_)
        | RebuildError::Busy(_)
        | RebuildError::Unknown(_)
        | RebuildError::TooLarge { .. }
        | RebuildError::NothingKept { .. }) => {
            tracing::warn!(name, %error, "a read model cannot be made anew just now");
            tokio::time::sleep(PAUSE).await;
            false
        }
    }
}

/// Whether rows are made by these handlers.
pub(crate) fn is_ours(standing: &Standing, definition: &Definition) -> bool {
    standing.code_version == definition.version && standing.layout == definition.layout()
}

/// Whether rows are made by newer handlers: a newer program keeps them up to date.
pub(crate) fn is_newer(standing: &Standing, definition: &Definition) -> bool {
    standing.code_version > definition.version
}

/// Whether rows are made by older handlers, or for other columns.
fn is_older(standing: &Standing, definition: &Definition) -> bool {
    !is_newer(standing, definition) && !is_ours(standing, definition)
}

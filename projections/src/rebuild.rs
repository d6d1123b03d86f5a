//! A new generation of a read model, built beside the live one, compared with it, and promoted.
//!
//! Nobody is kept waiting meanwhile. Events are folded in memory and the rows copied in, keys and
//! indexes after; a read model that does not fit into memory goes on page by page. Then the new
//! generation catches up in steps, until it is about as far as the live one. Both are compared
//! byte for byte in one snapshot of the database in which they are at the same position. Only for
//! the last events the live generation is held still: they are taken in, the rows that they touch
//! compared, and readers see the new generation from one commit on, never an older position.
//!
//! Whoever makes a generation owns it by a lock of the session that writes it (`builds.rs`):
//! of two rebuilds of one read model one works and the other says so, and what a killed one left
//! is cleaned up by the next.

use crate::builds;
use crate::control::{self, Standing};
use crate::projection::Definition;
use crate::rows_sql::RowsError;
use event_log::{EventLog, Position, ReadError};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

mod back;
mod build;
mod compare;
mod pages;
mod throwaway;

pub use back::roll_back;
pub use compare::{Comparison, Difference};
pub use throwaway::{Past, build_to, rows_at};

/// How many rows a rebuild keeps in memory before it goes on page by page.
/// Measured, a row takes up to 1.4 KiB there with what is said of it, so this is some 700 MiB.
const ROWS_IN_MEMORY_MAX: usize = 500_000;
/// How long somebody waits for a rebuild that may just be ending.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often they look.
const LOOK: Duration = Duration::from_millis(50);

/// Holds the live generation still, and lets readers see another. A reader in the middle of a long
/// statement is not waited for: all others would wait behind.
const SWAP: &str = "begin; set local synchronous_commit = on; set local lock_timeout = '1s'; \
                    set local idle_in_transaction_session_timeout = '10s'";
/// How often that is tried while somebody's reading is in the way, and the pause in between.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// When a new generation takes the place of the live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// Never: it is thrown away after the comparison.
    Never,
    /// When its rows are those of the live one.
    IfEqual,
    /// In any case: when handlers have changed, or the live rows are known to be wrong.
    Always,
}

/// What came of a rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebuilt {
    /// Which read model.
    pub name: String,
    /// The number of the new generation.
    pub generation: i32,
    /// It has taken in every event up to here.
    pub position: Position,
    /// How many rows were written.
    pub rows: usize,
    /// How it compares with the live one.
    pub comparison: Comparison,
    /// Whether readers see it now.
    pub promoted: bool,
    /// How long reading and folding took.
    pub folding: Duration,
    /// How long writing rows and making indexes took.
    pub writing: Duration,
}

/// Why there is no new generation.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// An event makes no sense to the handlers.
    #[error("event {position} cannot be taken in: {error}")]
    Handler {
        /// Which event.
        position: Position,
        /// Why.
        error: String,
    },
    /// The read model was never made.
    #[error("there is no read model {0}; start the server once to make it")]
    Unknown(String),
    /// Somebody else makes or brings back a generation of it.
    #[error(
        "somebody else is rebuilding {0}; `opscenter-replay rebuild --status` shows how far that \
         is, try again when it is over"
    )]
    Busy(String),
    /// There is nothing to go back to.
    #[error("{name} has no earlier generation of version {version} to go back to; rebuild it")]
    NothingKept {
        /// Which read model.
        name: String,
        /// The version of these handlers.
        version: i32,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Rows cannot be written.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// More rows than memory was allowed for.
    #[error("{rows} rows are more than the {limit} that a copy in memory may have")]
    TooLarge {
        /// How many there were when it was given up.
        rows: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Rows(error.into())
    }
}

impl RebuildError {
    /// Whether a lock could not be had in time: somebody reads for long, and it may be tried again.
    fn is_lock_timeout(&self) -> bool {
        let Self::Rows(RowsError::Database(error)) = self else { return false };
        error.as_database_error().and_then(|it| it.code()).is_some_and(|code| code == "55P03")
    }
}

/// Builds a new generation of a read model, compares it, and promotes it or not. `watch` is told
/// how far it is and where it goes.
///
/// # Errors
/// See [`RebuildError`]; readers see what they saw then.
pub async fn rebuild(
    log: &EventLog,
    definition: &Definition,
    promote: Promote,
    watch: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Rebuilt, RebuildError> {
    rebuild_within(log, definition, promote, ROWS_IN_MEMORY_MAX, watch).await
}

/// The same with as many rows in memory, about, before it goes on page by page.
///
/// # Errors
/// As [`rebuild`].
pub async fn rebuild_within(
    log: &EventLog,
    definition: &Definition,
    promote: Promote,
    rows_in_memory: usize,
    watch: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Rebuilt, RebuildError> {
    let mut owner = own(log, definition.name).await?;
    let made = build::make(log, &mut owner, definition, (promote, rows_in_memory), watch).await;
    disown(owner, definition.name).await;
    made
}

/// Opens the session that a generation of a read model is made in.
async fn own(log: &EventLog, name: &str) -> Result<PgConnection, RebuildError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(owner) = builds::own(log.pool(), name).await? {
            return Ok(owner);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(RebuildError::Busy(name.to_owned()));
        }
        // Somebody who was killed a moment ago may still seem to be there.
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the session. What it leaves unfinished goes, now or with the next rebuild.
async fn disown(mut owner: PgConnection, name: &str) {
    let discarded = builds::discard(&mut owner, name).await;
    let released = match discarded {
        Ok(()) => builds::release(&mut owner, name).await,
        Err(error) => Err(error),
    };
    if let Err(error) = released {
        tracing::warn!(name, %error, "an unfinished generation is left for the next rebuild");
        return;
    }
    // Nothing depends on how it ends any more.
    let _ended = owner.close().await;
}

async fn shown(
    connection: &mut PgConnection,
    definition: &Definition,
    lock: bool,
) -> Result<Standing, RebuildError> {
    let found = control::shown(connection, definition.name, lock).await?;
    found.ok_or_else(|| RebuildError::Unknown(definition.name.to_owned()))
}

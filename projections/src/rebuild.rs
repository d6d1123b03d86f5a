//! A new generation of a read model, built beside the live one, compared with it, and promoted.
//!
//! The whole of it is one transaction: whatever happens in between, either readers see the new
//! generation or nothing of it is left. Events are folded in memory and the rows written in bulk,
//! keys and indexes after; a read model that does not fit into memory goes on page by page. At the
//! end the live generation is held still for a moment, so that both are at the same position when
//! they are compared, and readers never go back.

use crate::control::{self, Standing, State};
use crate::occurrence::Occurrence;
use crate::page::{Decoder, Page, chain};
use crate::projection::{Definition, Projection};
use crate::reader::{Applied, Reader};
use crate::rows_sql::{self, RowsError, Write};
use crate::table::RowSet;
use event_log::{EventLog, Position, ReadError};
use sqlx::postgres::PgConnection;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

mod back;
mod compare;

pub use back::roll_back;
pub use compare::{Comparison, Difference};

/// How many rows a rebuild keeps in memory before it goes on page by page.
const ROWS_IN_MEMORY_MAX: usize = 2_000_000;
/// How many events are read at once.
const PAGE_EVENTS: usize = 2_000;
/// The transaction of a rebuild is idle while it folds.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = 0; \
                     set local statement_timeout = 0";

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

/// Builds a new generation of a read model, compares it, and promotes it or not. `watch` is told
/// how far it is and where it goes.
///
/// # Errors
/// See [`RebuildError`]; nothing has changed then.
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
    let mut transaction = log.pool().begin_with(BEGIN).await?;
    control::lock_rebuild(&mut transaction, definition.name).await?;
    let live = shown(&mut transaction, definition, false).await?;
    let target = match compare::obstacle(definition, &live) {
        None => live.position,
        Some(_) => log.head().await?,
    };
    let mut build = Build::begin(log, &mut transaction, definition, &live).await?;
    build.whole(target, rows_in_memory, watch).await?;
    // From here on the live generation stands still.
    let live = shown(build.connection, definition, true).await?;
    let obstacle = compare::obstacle(definition, &live);
    let target = match obstacle {
        None => live.position,
        Some(_) => log.head().await?.max(live.position),
    };
    build.go_on(target).await?;
    let (standing, mut rebuilt) = (build.reader.standing, build.rebuilt);
    rebuilt.position = standing.position;
    rebuilt.comparison = match obstacle {
        Some(why) => Comparison::Impossible(why),
        None => {
            let generations = (live.generation, standing.generation);
            compare::compare(&mut transaction, definition, generations).await?
        }
    };
    rebuilt.promoted = match promote {
        Promote::Never => false,
        Promote::IfEqual => !matches!(rebuilt.comparison, Comparison::Different(_)),
        Promote::Always => true,
    };
    if rebuilt.promoted {
        control::retire_shown(&mut transaction, definition.name).await?;
        let (generation, position) = (standing.generation, standing.position);
        control::insert(&mut transaction, definition, generation, position).await?;
        rows_sql::show(&mut transaction, definition, generation).await?;
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(rebuilt)
}

async fn shown(
    connection: &mut PgConnection,
    definition: &Definition,
    lock: bool,
) -> Result<Standing, RebuildError> {
    let found = control::shown(connection, definition.name, lock).await?;
    found.ok_or_else(|| RebuildError::Unknown(definition.name.to_owned()))
}

/// A generation in the making.
struct Build<'a> {
    log: &'a EventLog,
    connection: &'a mut PgConnection,
    reader: Reader,
    rebuilt: Rebuilt,
}

impl<'a> Build<'a> {
    async fn begin(
        log: &'a EventLog,
        connection: &'a mut PgConnection,
        definition: &Definition,
        live: &Standing,
    ) -> Result<Self, RebuildError> {
        let generation = control::next_generation(connection, definition.name).await?;
        rows_sql::create_tables(connection, definition, generation).await?;
        let standing = Standing {
            generation,
            code_version: definition.version,
            state: State::Live,
            position: Position::START,
            ..live.clone()
        };
        let reader = Reader::open(connection, *definition, standing, 0).await?;
        let rebuilt = Rebuilt {
            name: definition.name.to_owned(),
            generation,
            position: Position::START,
            rows: 0,
            comparison: Comparison::Impossible(String::new()),
            promoted: false,
            folding: Duration::ZERO,
            writing: Duration::ZERO,
        };
        Ok(Self { log, connection, reader, rebuilt })
    }

    /// Folds in memory and writes in bulk.
    async fn whole(
        &mut self,
        target: Position,
        rows_in_memory: usize,
        watch: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), RebuildError> {
        let (begun, mut parked) = (Instant::now(), Vec::new());
        let mut pages = pages(self.log, self.reader.definition, Position::START, target);
        while let Some(page) = pages.recv().await {
            let applied = self.reader.fold(&page?, target);
            check(&applied)?;
            parked.extend(applied.parked);
            watch(applied.to, target);
            if self.reader.rows_in_memory() > rows_in_memory {
                break;
            }
        }
        drop(pages);
        self.rebuilt.folding = begun.elapsed();
        let begun = Instant::now();
        self.rebuilt.rows = self.reader.write(self.connection, &parked, Write::Fresh).await?;
        let generation = self.reader.standing.generation;
        rows_sql::create_indexes(self.connection, &self.reader.definition, generation).await?;
        self.rebuilt.writing = begun.elapsed();
        self.go_on(target).await
    }

    /// Goes on page by page, over the rows that are there.
    async fn go_on(&mut self, target: Position) -> Result<(), RebuildError> {
        let from = self.reader.standing.position;
        if from >= target {
            return Ok(());
        }
        let mut pages = pages(self.log, self.reader.definition, from, target);
        while let Some(page) = pages.recv().await {
            let applied = self.reader.apply(self.connection, &page?, target).await?;
            check(&applied)?;
            self.rebuilt.rows +=
                self.reader.write(self.connection, &applied.parked, Write::Over).await?;
            self.reader.standing.position = applied.to;
        }
        Ok(())
    }
}

fn check(applied: &Applied) -> Result<(), RebuildError> {
    match &applied.stopped {
        None => Ok(()),
        Some((position, error)) => {
            Err(RebuildError::Handler { position: *position, error: error.clone() })
        }
    }
}

/// Reads and decodes ahead of whoever takes the pages.
fn pages(
    log: &EventLog,
    definition: Definition,
    after: Position,
    to: Position,
) -> mpsc::Receiver<Result<Page, ReadError>> {
    let (sender, receiver) = mpsc::channel(2);
    let types = definition.takes.names();
    let mut stretches = log.read_ahead(after, to, types.as_deref(), PAGE_EVENTS);
    tokio::spawn(async move {
        let decoder = Decoder::new(&[definition]);
        while let Some(stretch) = stretches.recv().await {
            let page = stretch.map(|stretch| decoder.stretch(stretch));
            if sender.send(page).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The rows of a read model as they were at a position: a copy in memory, for whoever asks about
/// the past.
///
/// # Errors
/// [`RebuildError::TooLarge`] beyond `rows_max` rows; see [`RebuildError`] for the rest.
pub async fn build_to<P: Projection>(
    log: &EventLog,
    to: Position,
    rows_max: usize,
) -> Result<P::Rows, RebuildError> {
    let mut rows = P::Rows::default();
    let mut set_aside = std::collections::BTreeSet::new();
    let to = to.min(log.head().await?);
    let mut pages = pages(log, Definition::of::<P>(), Position::START, to);
    while let Some(page) = pages.recv().await {
        for entry in page?.of(0, Position::START, to) {
            if P::PARKS && set_aside.contains(&entry.thing()) {
                continue;
            }
            let take = |occurrence: &Occurrence| {
                if P::PARKS {
                    rows.tables().into_iter().for_each(|table| table.begin());
                }
                P::apply(occurrence, &mut rows)
            };
            let Err(error) = entry.occurrence().and_then(take) else {
                continue;
            };
            if !P::PARKS {
                return Err(RebuildError::Handler {
                    position: entry.position,
                    error: chain(&error),
                });
            }
            rows.tables().into_iter().for_each(|table| table.undo());
            set_aside.insert(entry.thing());
        }
        let count = rows.tables().into_iter().map(|table| table.len()).sum();
        if count > rows_max {
            return Err(RebuildError::TooLarge { rows: count, limit: rows_max });
        }
    }
    Ok(rows)
}

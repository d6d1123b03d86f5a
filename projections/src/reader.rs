//! One read model at work: a page of events in, rows and checkpoint out, in one transaction.
//!
//! Rows are loaded before the transaction and written in it. That they are those of the checkpoint
//! is certain all the same: if anybody else changed them meanwhile, they moved the checkpoint, and
//! then the compare-and-set fails and nothing is written.

use crate::bulk;
use crate::control::{self, Standing};
use crate::page::{Entry, Page, chain};
use crate::parking::{self, Parked};
use crate::projection::{ApplyError, Definition, Store};
use crate::rows_sql::{self, RowsError, Written};
use crate::table::Mode;
use event_log::Position;
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;

/// Begins the transaction of a page. It need not wait for the disk: after a crash rows and
/// checkpoint are those of an earlier moment together, and the log is read again from there.
pub(crate) const BEGIN: &str = "begin; set local synchronous_commit = off; \
                     set local idle_in_transaction_session_timeout = '10s'";

/// Why an event is set aside that might be applied, out of its order.
const WAITS: &str = "an earlier event of the same thing is set aside";

/// A read model that this process keeps up to date.
pub(crate) struct Reader {
    pub(crate) definition: Definition,
    pub(crate) standing: Standing,
    /// Its place in the decoder's list.
    number: usize,
    store: Box<dyn Store>,
    parked: BTreeSet<String>,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken in.
    Advanced,
    /// The read model stopped before one of its events.
    Stopped,
    /// Another owner was faster, or something about the generation changed: look again.
    Lost,
}

/// What applying a page led to, before it is written.
pub(crate) struct Applied {
    /// Up to here.
    pub(crate) to: Position,
    /// Events that were set aside.
    pub(crate) parked: Vec<Parked>,
    /// The event it stopped before, and why.
    pub(crate) stopped: Option<(Position, String)>,
}

impl Reader {
    pub(crate) async fn open(
        connection: &mut PgConnection,
        definition: Definition,
        standing: Standing,
        number: usize,
    ) -> Result<Self, sqlx::Error> {
        let parked = parking::parked_things(connection, &standing).await?;
        Ok(Self { store: definition.open(), definition, standing, number, parked })
    }

    /// Whether a page begins where it stands and has nothing for it.
    pub(crate) fn may_pass(&self, page: &Page) -> bool {
        let from = self.standing.position;
        page.after == from && page.of(self.number, from, page.last).next().is_none()
    }

    /// Takes a page in, as far as it is new.
    pub(crate) async fn take(&mut self, pool: &PgPool, page: &Page) -> Result<Outcome, RowsError> {
        let from = self.standing.position;
        if page.after > from {
            return Ok(Outcome::Lost);
        }
        if page.last <= from {
            return Ok(Outcome::Advanced);
        }
        let applied = {
            let mut connection = pool.acquire().await?;
            self.apply(&mut connection, page, page.last).await?
        };
        let mut transaction = pool.begin_with(BEGIN).await?;
        if !control::advance(&mut transaction, &self.standing, applied.to).await? {
            return Ok(Outcome::Lost);
        }
        self.write(&mut transaction, &applied.parked).await?;
        if let Some((at, error)) = &applied.stopped {
            control::stop(&mut transaction, &self.standing, error, Some(*at)).await?;
            tracing::error!(projection = self.definition.name, position = at.0, error, "stopped");
        }
        transaction.commit().await?;
        self.standing.position = applied.to;
        Ok(if applied.stopped.is_some() { Outcome::Stopped } else { Outcome::Advanced })
    }

    /// Applies the new events of a page in memory, up to a position.
    pub(crate) async fn apply(
        &mut self,
        connection: &mut PgConnection,
        page: &Page,
        to: Position,
    ) -> Result<Applied, RowsError> {
        let (from, to) = (self.standing.position, to.min(page.last));
        let entries = page.of(self.number, from, to);
        self.store.reset(Mode::Loaded);
        self.store.look(&mut entries.clone().filter_map(|entry| entry.occurrence().ok()));
        rows_sql::load_wanted(connection, &mut *self.store, self.standing.generation).await?;
        let mut applied = Applied { to, parked: Vec::new(), stopped: None };
        for entry in entries {
            let Err(error) = self.apply_one(connection, entry).await? else {
                continue;
            };
            if self.set_aside(entry, error, &mut applied) {
                break;
            }
        }
        Ok(applied)
    }

    /// Applies the events of a page to rows that are all in memory: for a rebuild from zero.
    pub(crate) fn fold(&mut self, page: &Page, to: Position) -> Applied {
        let to = to.min(page.last);
        let mut applied = Applied { to, parked: Vec::new(), stopped: None };
        for entry in page.of(self.number, self.standing.position, to) {
            let Err(error) = self.fold_one(entry) else {
                continue;
            };
            if self.set_aside(entry, error, &mut applied) {
                break;
            }
        }
        self.standing.position = applied.to;
        applied
    }

    fn fold_one(&mut self, entry: &Entry) -> Result<(), String> {
        // Undoing costs a copy of every changed row: where a failure ends the rebuild, none is
        // made.
        if !self.definition.parks {
            let applied = entry.occurrence().and_then(|it| self.store.apply(it));
            return applied.map_err(|error| chain(&error));
        }
        if self.parked.contains(&entry.thing()) {
            return Err(WAITS.to_owned());
        }
        self.store.begin();
        let applied = entry.occurrence().and_then(|it| self.store.apply(it));
        applied.map_err(|error| {
            self.store.undo();
            chain(&error)
        })
    }

    /// Sets an event aside, or says that the read model has to stop before it.
    fn set_aside(&mut self, entry: &Entry, error: String, applied: &mut Applied) -> bool {
        if !self.definition.parks {
            applied.to = Position(entry.position.0 - 1);
            applied.stopped = Some((entry.position, error));
            return true;
        }
        let thing = entry.thing();
        self.parked.insert(thing.clone());
        applied.parked.push(Parked { position: entry.position, thing, error });
        false
    }

    /// Applies one event, or says why that cannot be; then nothing of it is left.
    async fn apply_one(
        &mut self,
        connection: &mut PgConnection,
        entry: &Entry,
    ) -> Result<Result<(), String>, RowsError> {
        if !self.parked.is_empty() && self.parked.contains(&entry.thing()) {
            return Ok(Err(WAITS.to_owned()));
        }
        loop {
            self.store.begin();
            let error = match entry.occurrence().and_then(|it| self.store.apply(it)) {
                Ok(()) => return Ok(Ok(())),
                Err(error) => error,
            };
            self.store.undo();
            if !matches!(error, ApplyError::NotLoaded) {
                return Ok(Err(chain(&error)));
            }
            let generation = self.standing.generation;
            rows_sql::load_wanted(connection, &mut *self.store, generation).await?;
        }
    }

    /// Writes what applying led to, and answers what changed.
    pub(crate) async fn write(
        &mut self,
        connection: &mut PgConnection,
        parked: &[Parked],
    ) -> Result<Written, RowsError> {
        let (name, generation) = (self.definition.name, self.standing.generation);
        parking::park(connection, name, generation, parked).await?;
        rows_sql::write_changes(connection, &mut *self.store, generation).await
    }

    /// Writes every row that is in memory into tables that are empty; answers how many.
    pub(crate) async fn write_all(
        &mut self,
        connection: &mut PgConnection,
        parked: &[Parked],
    ) -> Result<usize, RowsError> {
        let (name, generation) = (self.definition.name, self.standing.generation);
        parking::park(connection, name, generation, parked).await?;
        bulk::copy_all(connection, &mut *self.store, generation).await
    }

    /// Takes a thing's events again that were set aside.
    pub(crate) fn forgive(&mut self, thing: &str) {
        self.parked.remove(thing);
    }

    /// How many rows are in memory.
    pub(crate) fn rows_in_memory(&mut self) -> usize {
        self.store.len()
    }
}

//! Read models as they were: a copy in memory, folded from the beginning of the log and thrown
//! away.

use super::RebuildError;
use super::pages::pages;
use crate::page::{Entry, chain};
use crate::projection::{Definition, Opened, Projection, Store};
use event_log::{EventLog, Position};
use serde_json::Value;
use std::collections::BTreeSet;

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
    let mut past = Past::<P>::begin();
    past.go_to(log, to, rows_max).await?;
    Ok(past.copy.store.rows)
}

/// A copy of a read model that goes through the past, from position to position.
pub struct Past<P: Projection> {
    copy: Copy<Opened<P>>,
}

impl<P: Projection> Past<P> {
    /// Before the first event.
    #[must_use]
    pub fn begin() -> Self {
        Self { copy: Copy::begin(Definition::of::<P>(), Box::new(Opened::of_now())) }
    }

    /// Goes on to a position; stays where it is when that lies behind.
    ///
    /// # Errors
    /// As [`build_to`].
    pub async fn go_to(
        &mut self,
        log: &EventLog,
        to: Position,
        rows_max: usize,
    ) -> Result<(), RebuildError> {
        self.copy.go_to(log, to, rows_max, &mut |_, _| ()).await
    }

    /// The rows there.
    #[must_use]
    pub const fn rows(&self) -> &P::Rows {
        &self.copy.store.rows
    }
}

/// The rows of each table of a read model as they were at a position, in the order of the keys.
/// `watch` is told how far the fold is and where it goes.
///
/// # Errors
/// As [`build_to`].
pub async fn rows_at(
    log: &EventLog,
    definition: &Definition,
    to: Position,
    rows_max: usize,
    watch: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Vec<(&'static str, Vec<Value>)>, RebuildError> {
    let mut copy = Copy::begin(*definition, definition.open_now());
    copy.go_to(log, to, rows_max, watch).await?;
    let mut tables = Vec::new();
    for table in copy.store.tables() {
        let name = table.spec().name;
        let rows: Result<Vec<Value>, serde_json::Error> = table.ordered().collect();
        let rows = rows.map_err(|source| crate::RowsError::Shape { table: name, source })?;
        tables.push((name, rows));
    }
    Ok(tables)
}

struct Copy<S: Store + ?Sized> {
    definition: Definition,
    store: Box<S>,
    position: Position,
    set_aside: BTreeSet<String>,
}

impl<S: Store + ?Sized> Copy<S> {
    fn begin(definition: Definition, store: Box<S>) -> Self {
        Self { definition, store, position: Position::START, set_aside: BTreeSet::new() }
    }

    async fn go_to(
        &mut self,
        log: &EventLog,
        to: Position,
        rows_max: usize,
        watch: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), RebuildError> {
        let to = to.min(log.head().await?);
        let mut pages = pages(log, self.definition, self.position, to);
        while let Some(page) = pages.recv().await {
            let page = page?;
            for entry in page.of(0, self.position, to) {
                self.take(entry)?;
            }
            self.position = page.last.min(to);
            watch(self.position, to);
            let rows = self.store.len();
            if rows > rows_max {
                return Err(RebuildError::TooLarge { rows, limit: rows_max });
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> Result<(), RebuildError> {
        let parks = self.definition.parks;
        if parks && self.set_aside.contains(&entry.thing()) {
            return Ok(());
        }
        if parks {
            self.store.begin();
        }
        let Err(error) = entry.occurrence().and_then(|it| self.store.apply(it)) else {
            return Ok(());
        };
        if !parks {
            let (position, error) = (entry.position, chain(&error));
            return Err(RebuildError::Handler { position, error });
        }
        self.store.undo();
        self.set_aside.insert(entry.thing());
        Ok(())
    }
}

//! What a read model would have said at one moment and at a later one, and where the two differ: a
//! copy in memory that is folded once and thrown away.
//!
//! Handlers are pure, so the copy is what readers saw then, had these handlers been live. Rows are
//! compared whole, as they would be written.

use crate::page::{Decoder, Page, chain};
use crate::projection::{Definition, Store};
use crate::rebuild::RebuildError;
use crate::rows_sql::RowsError;
use crate::table::{Changes, TableSpec};
use event_log::{EventLog, Position};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};

/// How many events are read at once.
const PAGE_EVENTS: usize = 2_000;

/// A row of which the two moments say different things.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// In which table.
    pub table: &'static str,
    /// The columns of its key with their values, in their order.
    pub key: Vec<(&'static str, Value)>,
    /// Its columns at the earlier moment; none when it was not there.
    pub before: Option<Map<String, Value>>,
    /// Its columns at the later moment; none when it was gone.
    pub after: Option<Map<String, Value>>,
}

/// What lies between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Between {
    /// Rows that differ, table by table in the order of the read model.
    pub changes: Vec<RowChange>,
    /// Events up to the later moment that the handlers could not take in, and later ones of the
    /// same things.
    pub set_aside: u64,
}

/// Which rows are of interest.
pub type Wanted<'a> = &'a (dyn Fn(&Map<String, Value>) -> bool + Send + Sync);

type Rows = HashMap<String, Map<String, Value>>;

/// Folds a read model up to the earlier moment, remembers the rows that are wanted, folds on to the
/// later one, and says which of them differ. `watch` is told how far it is.
///
/// # Errors
/// [`RebuildError::TooLarge`] beyond `rows_max` rows; see [`RebuildError`] for the rest.
pub async fn between(
    log: &EventLog,
    definition: Definition,
    (from, to): (Position, Position),
    rows_max: usize,
    wanted: Wanted<'_>,
    watch: &mut (dyn FnMut(Position) + Send),
) -> Result<Between, RebuildError> {
    let mut copy = Copy {
        definition,
        store: definition.open(),
        parked: BTreeSet::new(),
        set_aside: 0,
        rows_max,
    };
    copy.fold(log, (Position::START, from), watch).await?;
    let mut earlier = Vec::new();
    for (spec, changes) in copy.changes()? {
        earlier.push(read(spec, &changes, wanted)?.0);
    }
    copy.fold(log, (from, to), watch).await?;
    let mut changes = Vec::new();
    for ((spec, changed), mut before) in copy.changes()?.into_iter().zip(earlier) {
        let (written, removed) = read(spec, &changed, wanted)?;
        let mut rows: Vec<RowChange> = Vec::new();
        for (key, row) in written {
            let old = before.remove(&key);
            if old.as_ref() != Some(&row) {
                rows.push(change_of(spec, old, Some(row)));
            }
        }
        let gone = removed.iter().filter_map(|key| before.remove(key));
        rows.extend(gone.map(|row| change_of(spec, Some(row), None)));
        rows.sort_by(|one, other| in_order(&one.key, &other.key));
        changes.extend(rows);
    }
    Ok(Between { changes, set_aside: copy.set_aside })
}

/// A read model in memory.
struct Copy {
    definition: Definition,
    store: Box<dyn Store>,
    parked: BTreeSet<String>,
    set_aside: u64,
    rows_max: usize,
}

impl Copy {
    async fn fold(
        &mut self,
        log: &EventLog,
        (after, to): (Position, Position),
        watch: &mut (dyn FnMut(Position) + Send),
    ) -> Result<(), RebuildError> {
        if after >= to {
            return Ok(());
        }
        let decoder = Decoder::new(&[self.definition]);
        let types = self.definition.takes.names();
        let mut stretches = log.read_ahead(after, to, types.as_deref(), PAGE_EVENTS);
        while let Some(stretch) = stretches.recv().await {
            let page = decoder.stretch(stretch?);
            self.take(&page, to)?;
            watch(page.last.min(to));
            let rows = self.store.len();
            if rows > self.rows_max {
                return Err(RebuildError::TooLarge { rows, limit: self.rows_max });
            }
        }
        Ok(())
    }

    fn take(&mut self, page: &Page, to: Position) -> Result<(), RebuildError> {
        let parks = self.definition.parks;
        for entry in page.of(0, Position::START, to) {
            if parks {
                if self.parked.contains(&entry.thing()) {
                    self.set_aside += 1;
                    continue;
                }
                self.store.begin();
            }
            let applied = entry.occurrence().and_then(|it| self.store.apply(it));
            let Err(error) = applied else { continue };
            if !parks {
                let error = chain(&error);
                return Err(RebuildError::Handler { position: entry.position, error });
            }
            self.store.undo();
            self.parked.insert(entry.thing());
            self.set_aside += 1;
        }
        Ok(())
    }

    /// What changed in each table since this was asked last.
    fn changes(&mut self) -> Result<Vec<(TableSpec, Changes)>, RebuildError> {
        let tables = self.store.tables().into_iter();
        let changes = tables.map(|table| {
            let spec = table.spec();
            table.take_changes().map(|changes| (spec, changes)).map_err(shape_of(spec))
        });
        changes.collect()
    }
}

fn shape_of(spec: TableSpec) -> impl Fn(serde_json::Error) -> RebuildError {
    move |source| RebuildError::Rows(RowsError::Shape { table: spec.name, source })
}

/// The rows that are wanted of those that were written, by key, and the keys of those removed.
fn read(
    spec: TableSpec,
    changes: &Changes,
    wanted: Wanted<'_>,
) -> Result<(Rows, Vec<String>), RebuildError> {
    let mut rows = Rows::new();
    for text in &changes.written {
        let row: Map<String, Value> = serde_json::from_str(text).map_err(shape_of(spec))?;
        if wanted(&row) {
            rows.insert(key_text(spec, &row), row);
        }
    }
    let mut removed = Vec::with_capacity(changes.removed.len());
    for text in &changes.removed {
        let key: Map<String, Value> = serde_json::from_str(text).map_err(shape_of(spec))?;
        removed.push(key_text(spec, &key));
    }
    Ok((rows, removed))
}

fn key_of(spec: TableSpec, row: &Map<String, Value>) -> Vec<(&'static str, Value)> {
    let value = |column: &&'static str| (*column, row.get(*column).cloned().unwrap_or_default());
    spec.key.iter().map(value).collect()
}

fn key_text(spec: TableSpec, row: &Map<String, Value>) -> String {
    let values = key_of(spec, row).into_iter().map(|(_, value)| value);
    Value::Array(values.collect()).to_string()
}

fn change_of(
    spec: TableSpec,
    before: Option<Map<String, Value>>,
    after: Option<Map<String, Value>>,
) -> RowChange {
    let key = after.as_ref().or(before.as_ref()).map(|row| key_of(spec, row)).unwrap_or_default();
    RowChange { table: spec.name, key, before, after }
}

/// Whole numbers by their size, everything else by its text.
fn in_order(one: &[(&'static str, Value)], other: &[(&'static str, Value)]) -> std::cmp::Ordering {
    let by = |value: &Value| (value.as_i64(), value.to_string());
    let mine = one.iter().map(|(_, value)| by(value));
    mine.cmp(other.iter().map(|(_, value)| by(value)))
}

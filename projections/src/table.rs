//! Tables of read models: how a row is declared, and the rows a handler works on in memory.
//!
//! A handler never talks to the database. It is given a [`Table`] for each of its tables, which
//! holds either every row (a rebuild from zero) or just those that the events at hand touch (a page
//! of the live log). Which those are is found by applying the events once for show: nothing is
//! written then, and every row that is asked for is noted and loaded. A row that was not foreseen
//! is loaded when the handler meets it, and the event is applied again from its beginning.

use crate::projection::ApplyError;
use event_log::Position;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

mod declare;

pub(crate) use declare::{row_set, table};

/// A table as the database sees it.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Its name, without the generation; also the name of the view that readers use.
    pub name: &'static str,
    /// The columns of its primary key.
    pub key: &'static [&'static str],
    /// Every column with its SQL type.
    pub columns: &'static [(&'static str, &'static str)],
    /// What is indexed for whoever writes rows: column lists, without parentheses.
    pub writing: &'static [&'static str],
    /// What is indexed for readers, likewise; or, after `using`, any index.
    pub indexes: &'static [&'static str],
    /// Where every version of its rows is kept, with the positions between which it was valid: then
    /// it can be asked as of any position (`validity.rs`).
    pub history: Option<&'static TableSpec>,
}

/// One row of a read model. Declared with the `table!` macro, which keeps struct and columns equal.
pub trait Row:
    Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static
{
    /// What tells it from other rows.
    type Key: Clone + Debug + Ord + Hash + Send + Sync + 'static;
    /// The table it lives in.
    const SPEC: TableSpec;

    /// Its key.
    fn key(&self) -> Self::Key;

    /// A key as an object of its columns.
    fn key_json(key: &Self::Key) -> serde_json::Value;
}

/// A row of which every version is kept.
pub trait Temporal: Row {}

/// The tables of one read model, in memory.
pub trait RowSet: Default + Send + Sync + 'static {
    /// Its tables as the database sees them.
    fn specs() -> Vec<TableSpec>;

    /// Its tables, in the same order.
    fn tables(&mut self) -> Vec<&mut dyn AnyTable>;
}

/// A row in memory; `None` when there is none.
#[derive(Clone, Debug)]
struct Slot<R> {
    row: Option<R>,
    is_changed: bool,
}

/// Keys with what they had before, in the order of the changes.
type Journal<R> = Vec<(<R as Row>::Key, Option<Slot<R>>)>;

/// How a table answers about a row it does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It holds every row there is: what it does not hold does not exist.
    #[default]
    Whole,
    /// It holds what was loaded: what it does not hold has to be loaded first.
    Loaded,
    /// Nothing is changed; what is asked for is noted.
    Looking,
}

/// Rows of one table, in memory.
#[derive(Debug)]
pub struct Table<R: Row> {
    rows: HashMap<R::Key, Slot<R>>,
    wanted: HashSet<R::Key>,
    mode: Mode,
    /// What the rows were before the event at hand; kept only when an event may have to be undone.
    journal: Option<Journal<R>>,
    /// What the event at hand has touched; kept only where versions are.
    touched: HashSet<R::Key>,
    /// What every event made of the rows that it touched, in the order of the events.
    versions: Vec<Version<R>>,
}

/// What an event made of a row.
#[derive(Debug)]
struct Version<R: Row> {
    key: R::Key,
    from: Position,
    /// None when it took the row away.
    row: Option<R>,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            wanted: HashSet::new(),
            mode: Mode::Whole,
            journal: None,
            touched: HashSet::new(),
            versions: Vec::new(),
        }
    }
}

impl<R: Row> Table<R> {
    /// The row of a key, if there is one.
    ///
    /// # Errors
    /// [`ApplyError::NotLoaded`] when it has to be loaded first: the runtime sees to that.
    pub fn get(&mut self, key: &R::Key) -> Result<Option<&R>, ApplyError> {
        self.note(key)?;
        Ok(self.rows.get(key).and_then(|slot| slot.row.as_ref()))
    }

    /// Puts a row in place of whatever has its key.
    pub fn put(&mut self, row: R) {
        if self.mode == Mode::Looking {
            return;
        }
        let key = row.key();
        self.remember(&key);
        let slot = Slot { row: Some(row), is_changed: true };
        self.rows.insert(key, slot);
    }

    /// Takes a row away.
    pub fn remove(&mut self, key: &R::Key) {
        if self.mode == Mode::Looking {
            return;
        }
        self.remember(key);
        let slot = Slot { row: None, is_changed: true };
        self.rows.insert(key.clone(), slot);
    }

    /// Changes a row that must be there.
    ///
    /// # Errors
    /// [`ApplyError::Missing`] when it is not, and what `change` says.
    pub fn change(
        &mut self,
        key: &R::Key,
        change: impl FnOnce(&mut R) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        self.note(key)?;
        if self.mode == Mode::Looking {
            return Ok(());
        }
        self.remember(key);
        let slot = self.rows.get_mut(key);
        let Some((row, is_changed)) = slot.and_then(Slot::parts) else {
            return Err(ApplyError::Missing {
                table: R::SPEC.name,
                key: R::key_json(key).to_string(),
            });
        };
        *is_changed = true;
        change(row)
    }

    /// Changes a row, which begins as `first` when there is none yet.
    ///
    /// # Errors
    /// What `change` says.
    pub fn merge(
        &mut self,
        key: &R::Key,
        first: impl FnOnce() -> R,
        change: impl FnOnce(&mut R) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        self.note(key)?;
        if self.mode == Mode::Looking {
            return Ok(());
        }
        self.remember(key);
        // Looked up before it is inserted: most rows exist, and their key need not be copied.
        if let Some(slot) = self.rows.get_mut(key) {
            slot.is_changed = true;
            return change(slot.row.get_or_insert_with(first));
        }
        let slot = self.rows.entry(key.clone()).or_insert(Slot { row: None, is_changed: true });
        change(slot.row.insert(first()))
    }

    /// Every row, in the order of the keys.
    #[must_use]
    pub fn rows(&self) -> Vec<&R> {
        let mut rows: Vec<&R> = self.rows.values().filter_map(|s| s.row.as_ref()).collect();
        rows.sort_by_cached_key(|row| row.key());
        rows
    }

    fn note(&mut self, key: &R::Key) -> Result<(), ApplyError> {
        if self.mode == Mode::Whole || self.rows.contains_key(key) {
            return Ok(());
        }
        self.wanted.insert(key.clone());
        if self.mode == Mode::Looking {
            return Ok(());
        }
        Err(ApplyError::NotLoaded)
    }

    fn remember(&mut self, key: &R::Key) {
        if R::SPEC.history.is_some() {
            self.touched.insert(key.clone());
        }
        if let Some(journal) = &mut self.journal {
            journal.push((key.clone(), self.rows.get(key).cloned()));
        }
    }
}

impl<R> Slot<R> {
    fn parts(&mut self) -> Option<(&mut R, &mut bool)> {
        let row = self.row.as_mut()?;
        Some((row, &mut self.is_changed))
    }
}

/// What changed in a table, as JSON arrays for the database.
#[derive(Debug, Default)]
pub struct Changes {
    /// Rows that are new or different, each an object; empty when there are none.
    pub written: Vec<String>,
    /// Keys of rows that are gone, each an object.
    pub removed: Vec<String>,
}

/// Rows, each as an object of its columns.
pub type Values<'a> = Box<dyn Iterator<Item = Result<Value, serde_json::Error>> + Send + 'a>;

/// A version of a row: the row as an object, and the positions between which it was valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// The key as an object of its columns.
    pub key: Value,
    /// The event that made it so.
    pub from: Position,
    /// The event that ended it; none while it is valid.
    pub to: Option<Position>,
    /// The row; none where the event took it away.
    pub row: Option<Value>,
}

/// A table whose row type does not matter: what the runtime sees of it.
pub trait AnyTable: Send + Sync {
    /// As the database sees it.
    fn spec(&self) -> TableSpec;
    /// Empties it and says how it answers from now on.
    fn reset(&mut self, mode: Mode);
    /// Says how it answers from now on; the rows stay.
    fn set_mode(&mut self, mode: Mode);
    /// Keys that were asked for and are not here, as JSON objects.
    fn wanted(&self) -> Vec<String>;
    /// Takes in rows; whatever was wanted and is not among them does not exist.
    fn load(&mut self, rows: &[String]) -> Result<(), serde_json::Error>;
    /// Begins an event that may have to be undone.
    fn begin(&mut self);
    /// Undoes the event that was begun.
    fn undo(&mut self);
    /// Ends an event: what it touched has a new version from there.
    fn settle(&mut self, position: Position);
    /// The versions made since it was emptied or asked last, each ended by the next of its row.
    fn take_versions(&mut self) -> Result<Vec<Valid>, serde_json::Error>;
    /// Every row, each as an object of its columns.
    fn values(&self) -> Values<'_>;
    /// The same in the order of the keys.
    fn ordered(&self) -> Values<'_>;
    /// What changed since it was emptied or asked last.
    fn take_changes(&mut self) -> Result<Changes, serde_json::Error>;
    /// How many rows it holds, versions included.
    fn len(&self) -> usize;
    /// Whether it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R: Row> AnyTable for Table<R> {
    fn spec(&self) -> TableSpec {
        R::SPEC
    }

    fn reset(&mut self, mode: Mode) {
        self.rows.clear();
        self.wanted.clear();
        self.journal = None;
        self.touched.clear();
        self.versions.clear();
        self.mode = mode;
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn wanted(&self) -> Vec<String> {
        let text = |key| R::key_json(key).to_string();
        self.wanted.iter().map(text).collect()
    }

    fn load(&mut self, rows: &[String]) -> Result<(), serde_json::Error> {
        for text in rows {
            let row: R = serde_json::from_str(text)?;
            let key = row.key();
            self.wanted.remove(&key);
            let slot = Slot { row: Some(row), is_changed: false };
            self.rows.insert(key, slot);
        }
        for key in self.wanted.drain() {
            let slot = Slot { row: None, is_changed: false };
            self.rows.insert(key, slot);
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.touched.clear();
        self.journal.get_or_insert_default().clear();
    }

    fn undo(&mut self) {
        self.touched.clear();
        let Some(journal) = &mut self.journal else { return };
        for (key, before) in journal.drain(..).rev() {
            match before {
                Some(slot) => self.rows.insert(key, slot),
                None => self.rows.remove(&key),
            };
        }
    }

    fn settle(&mut self, position: Position) {
        for key in self.touched.drain() {
            let row = self.rows.get(&key).and_then(|slot| slot.row.clone());
            self.versions.push(Version { key, from: position, row });
        }
    }

    fn take_versions(&mut self) -> Result<Vec<Valid>, serde_json::Error> {
        let mut ends: HashMap<R::Key, Position> = HashMap::new();
        let mut versions = Vec::with_capacity(self.versions.len());
        // From the last to the first: each knows what came after it.
        for Version { key, from, row } in self.versions.drain(..).rev() {
            let row = row.as_ref().map(serde_json::to_value).transpose()?;
            let (name, to) = (R::key_json(&key), ends.insert(key, from));
            versions.push(Valid { key: name, from, to, row });
        }
        versions.reverse();
        Ok(versions)
    }

    fn values(&self) -> Values<'_> {
        Box::new(self.rows.values().filter_map(|slot| slot.row.as_ref()).map(serde_json::to_value))
    }

    fn ordered(&self) -> Values<'_> {
        Box::new(self.rows().into_iter().map(serde_json::to_value))
    }

    fn take_changes(&mut self) -> Result<Changes, serde_json::Error> {
        let mut changes = Changes::default();
        for (key, slot) in &mut self.rows {
            if !std::mem::take(&mut slot.is_changed) {
                continue;
            }
            match &slot.row {
                Some(row) => changes.written.push(serde_json::to_string(row)?),
                None => changes.removed.push(R::key_json(key).to_string()),
            }
        }
        Ok(changes)
    }

    fn len(&self) -> usize {
        self.rows.len() + self.versions.len()
    }
}

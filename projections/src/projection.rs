//! What a read model declares, and what the runtime sees of it.

use crate::occurrence::Occurrence;
use crate::table::{AnyTable, Mode, RowSet, TableSpec};

/// The events of some contexts, as `Event::NAMES` lists them.
pub type Names = &'static [(&'static str, i16)];

/// Which events a read model takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// Every event there is. One that this program does not know stops it.
    Everything,
    /// The events of these aggregates.
    Of(&'static [Names]),
}

impl Takes {
    /// Whether an event of this name is among them.
    #[must_use]
    pub fn includes(self, type_name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Of(lists) => lists.iter().any(|names| has(names, type_name)),
        }
    }

    /// The names of these events; none when there is no end to them.
    #[must_use]
    pub fn names(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Everything => None,
            Self::Of(lists) => {
                let names = lists.iter().flat_map(|names| names.iter());
                Some(names.map(|(name, _)| *name).collect())
            }
        }
    }
}

fn has(names: Names, type_name: &str) -> bool {
    names.iter().any(|(name, _)| *name == type_name)
}

/// Why a handler could not take an event in. History is never wrong: it is the read model that does
/// not understand it, and it stops there, or sets the thing in question aside.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A row that an earlier event must have made is not there.
    #[error("{table} has no row {key}, which an earlier event should have made")]
    Missing {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
    },
    /// A figure does not fit.
    #[error("{what} does not fit into its column")]
    Overflow {
        /// Which figure.
        what: &'static str,
    },
    /// The event does not say what it should.
    #[error("{0}")]
    Senseless(String),
    /// The event cannot be read by this program.
    #[error("{0}")]
    Unreadable(String),
    /// A row has to be loaded first. Seen by the runtime only.
    #[error("a row has not been loaded yet")]
    NotLoaded,
}

/// A read model: which events it takes and what each does to its rows.
pub trait Projection: Send + Sync + 'static {
    /// Its name, for people and for checkpoints.
    const NAME: &'static str;
    /// Raised with every change of what an event does to the rows, or of their tables: a new
    /// generation is built then, and a program of the version before leaves it alone.
    const VERSION: i32;
    /// Which events it takes.
    const TAKES: Takes;
    /// Whether a thing whose event cannot be applied is set aside with all its later events, while
    /// the others go on. Where it is not, the whole read model stops before such an event.
    const PARKS: bool = false;
    /// Its tables.
    type Rows: RowSet;

    /// Takes one event into the rows. Depends on nothing else: no clock, no chance, no database.
    ///
    /// # Errors
    /// When the event makes no sense of the rows as they are.
    fn apply(occurrence: &Occurrence, rows: &mut Self::Rows) -> Result<(), ApplyError>;
}

/// What the runtime knows of a read model.
#[derive(Clone, Copy)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// The version of its handlers.
    pub version: i32,
    /// Which events it takes.
    pub takes: Takes,
    /// Whether it sets single things aside.
    pub parks: bool,
    specs: fn() -> Vec<TableSpec>,
    open: fn() -> Box<dyn Store>,
    open_now: fn() -> Box<dyn Store>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// The definition of a read model.
    #[must_use]
    pub fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            takes: P::TAKES,
            parks: P::PARKS,
            specs: P::Rows::specs,
            open_now: || Box::new(Opened::<P>::of_now()),
            open: || {
                let is_temporal = P::Rows::specs().iter().any(|spec| spec.history.is_some());
                Box::new(Opened::<P> { rows: P::Rows::default(), is_temporal })
            },
        }
    }

    /// Its tables, each followed by the one with the versions of its rows, if they are kept.
    #[must_use]
    pub fn tables(&self) -> Vec<TableSpec> {
        let with_history = |spec: TableSpec| [Some(spec), spec.history.copied()];
        (self.specs)().into_iter().flat_map(with_history).flatten().collect()
    }

    /// Its rows in memory, none yet, and without their versions.
    pub(crate) fn open_now(&self) -> Box<dyn Store> {
        (self.open_now)()
    }

    /// Its rows in memory, none yet.
    pub(crate) fn open(&self) -> Box<dyn Store> {
        (self.open)()
    }

    /// What its tables look like, as one text: a change of it makes a new generation, too.
    #[must_use]
    pub fn layout(&self) -> String {
        let table = |spec: TableSpec| {
            let TableSpec { name, key, columns, writing, indexes, history: _ } = spec;
            let indexes: Vec<&str> = writing.iter().chain(indexes).copied().collect();
            format!("{name} {key:?} {columns:?} {indexes:?}")
        };
        let tables: Vec<String> = self.tables().into_iter().map(table).collect();
        tables.join("\n")
    }
}

/// The rows of one read model in memory, whatever their types.
pub(crate) trait Store: Send + Sync {
    /// Takes one event in.
    fn apply(&mut self, occurrence: &Occurrence) -> Result<(), ApplyError>;
    /// Its tables.
    fn tables(&mut self) -> Vec<&mut dyn AnyTable>;

    /// Empties every table.
    fn reset(&mut self, mode: Mode) {
        for table in self.tables() {
            table.reset(mode);
        }
    }

    /// Begins an event that may have to be undone.
    fn begin(&mut self) {
        for table in self.tables() {
            table.begin();
        }
    }

    /// Undoes the event that was begun.
    fn undo(&mut self) {
        for table in self.tables() {
            table.undo();
        }
    }

    /// Notes which rows events touch, without changing any.
    fn look(&mut self, occurrences: &mut dyn Iterator<Item = &Occurrence>) {
        for table in self.tables() {
            table.set_mode(Mode::Looking);
        }
        for occurrence in occurrences {
            // What fails for show fails again in earnest, and is dealt with there.
            let _shown = self.apply(occurrence);
        }
        for table in self.tables() {
            table.set_mode(Mode::Loaded);
        }
    }

    /// How many rows it holds.
    fn len(&mut self) -> usize {
        self.tables().into_iter().map(|table| table.len()).sum()
    }
}

/// The rows of one read model in memory, of their types.
pub(crate) struct Opened<P: Projection> {
    pub(crate) rows: P::Rows,
    /// Whether the versions of rows are gathered.
    is_temporal: bool,
}

impl<P: Projection> Opened<P> {
    /// None yet, and without their versions.
    pub(crate) fn of_now() -> Self {
        Self { rows: P::Rows::default(), is_temporal: false }
    }
}

impl<P: Projection> Store for Opened<P> {
    fn apply(&mut self, occurrence: &Occurrence) -> Result<(), ApplyError> {
        P::apply(occurrence, &mut self.rows)?;
        if self.is_temporal {
            for table in self.rows.tables() {
                table.settle(occurrence.position);
            }
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn AnyTable> {
        self.rows.tables()
    }
}

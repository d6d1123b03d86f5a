//! A read model of the tests' own: it counts events, and can be told to fail.

use domain::Event;
use domain::values::OrganizationId;
use projections::table::{AnyTable, Row, RowSet, Table, TableSpec};
use projections::{ApplyError, Definition, Occurrence, Projection, Takes};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// How many events of a stream there were, and the last of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) stream: String,
    pub(crate) events: i64,
    pub(crate) last: i64,
}

impl Row for Count {
    type Key = (String,);
    const SPEC: TableSpec = TableSpec {
        name: "tally",
        key: &["stream"],
        columns: &[
            ("stream", "text collate \"C\" not null"),
            ("events", "bigint not null"),
            ("last", "bigint not null"),
        ],
        writing: &[],
        indexes: &[],
        history: None,
    };

    fn key(&self) -> Self::Key {
        (self.stream.clone(),)
    }

    fn key_json(key: &Self::Key) -> serde_json::Value {
        serde_json::json!({ "stream": key.0 })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) counts: Table<Count>,
}

impl RowSet for Counts {
    fn specs() -> Vec<TableSpec> {
        vec![Count::SPEC]
    }

    fn tables(&mut self) -> Vec<&mut dyn AnyTable> {
        vec![&mut self.counts]
    }
}

/// The position at which handlers fail, half-way through their work. One test at a time.
pub(crate) static POISON: Mutex<Option<i64>> = Mutex::new(None);
/// Held by the test that uses it.
pub(crate) static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) struct Tally<const PARKS: bool>;

impl<const PARKS: bool> Projection for Tally<PARKS> {
    const NAME: &'static str = "tally";
    const VERSION: i32 = 1;
    const TAKES: Takes = Takes::Of(&[domain::credits::Event::NAMES]);
    const PARKS: bool = PARKS;
    type Rows = Counts;

    fn apply(occurrence: &Occurrence, rows: &mut Counts) -> Result<(), ApplyError> {
        let Event::CreditAccount(_) = &occurrence.event else {
            return Ok(());
        };
        let stream = format!("{}", OrganizationId::new(occurrence.tenant));
        let first = || Count { stream: stream.clone(), events: 0, last: 0 };
        rows.counts.merge(&(stream.clone(),), first, |row| {
            row.events += 1;
            if *POISON.lock().unwrap() == Some(occurrence.position.0) {
                return Err(ApplyError::Senseless("poison".to_owned()));
            }
            row.last = occurrence.position.0;
            Ok(())
        })
    }
}

pub(crate) fn strict() -> Definition {
    Definition::of::<Tally<false>>()
}

pub(crate) fn keyed() -> Definition {
    Definition::of::<Tally<true>>()
}

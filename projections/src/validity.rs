//! Between which positions a row was valid: what makes a table answer for the past.
//!
//! A table that is declared `temporal` has a second one beside it, with every version of its rows.
//! A version is valid from the event that made it, that position included, to the event that ended
//! it, that position excluded; a row that is valid now has the largest number there is for an end.
//! Handlers know nothing of it: whatever an event leaves of the rows that it touched is their
//! version from there. So the history is a fold of the log like any other row, is rebuilt and
//! compared with them, and says for every position what a rebuild up to it would.

use crate::rows_sql::{RowsError, array, table_of};
use crate::table::{Changes, TableSpec, Valid};
use event_log::Position;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::HashSet;

/// The end of what is valid now.
pub(crate) const OPEN: Position = Position(i64::MAX);

/// The versions as rows of their table.
pub(crate) fn rows(
    history: TableSpec,
    versions: Result<Vec<Valid>, serde_json::Error>,
) -> Result<Vec<Value>, RowsError> {
    let shape = |source| RowsError::Shape { table: history.name, source };
    let row = |version: Valid| {
        let mut row = version.row?;
        row["valid_from"] = version.from.0.into();
        row["valid_to"] = version.to.unwrap_or(OPEN).0.into();
        Some(row)
    };
    Ok(versions.map_err(shape)?.into_iter().filter_map(row).collect())
}

/// Ends the versions that were valid, and adds the new ones; answers what was written.
pub(crate) async fn write(
    connection: &mut PgConnection,
    spec: TableSpec,
    history: TableSpec,
    versions: Vec<Valid>,
    generation: i32,
) -> Result<Changes, RowsError> {
    let mut changes = Changes::default();
    if versions.is_empty() {
        return Ok(changes);
    }
    let (mut known, mut ends) = (HashSet::new(), Vec::new());
    for version in &versions {
        if known.insert(version.key.to_string()) {
            let mut end = version.key.clone();
            end["valid_from"] = version.from.0.into();
            ends.push(end.to_string());
        }
    }
    let (name, key) = (table_of(history, generation), spec.key);
    let same: Vec<String> = key.iter().map(|column| format!("h.{column} = e.{column}")).collect();
    let end = format!(
        "update {name} h set valid_to = e.valid_from
           from json_populate_recordset(null::{name}, $1::text::json) e
          where {} and h.valid_to = {OPEN} returning row_to_json(h)::text",
        same.join(" and ")
    );
    let ended: Vec<String> = sqlx::query_scalar(AssertSqlSafe(end))
        .bind(array(&ends))
        .fetch_all(&mut *connection)
        .await?;
    changes.written.extend(ended);
    let added: Vec<String> =
        rows(history, Ok(versions))?.into_iter().map(|row| row.to_string()).collect();
    let insert = format!(
        "insert into {name} select * from json_populate_recordset(null::{name}, $1::text::json)"
    );
    sqlx::query(AssertSqlSafe(insert)).bind(array(&added)).execute(connection).await?;
    changes.written.extend(added);
    Ok(changes)
}

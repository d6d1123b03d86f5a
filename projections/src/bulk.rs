//! Rows written in bulk, by `copy`, into tables that are empty.
//!
//! The text of a value is what the database reads also when rows travel as JSON, so that a row is
//! the same byte for byte whichever way it came.

use crate::projection::Store;
use crate::rows_sql::{RowsError, table_of};
use crate::table::{AnyTable, TableSpec, Values};
use crate::validity;
use serde_json::Value;
use sqlx::PgConnection;

/// About how much is sent at once, in bytes.
const SEND_BYTES: usize = 256 * 1024;

/// Writes every row that is in memory; answers how many.
pub(crate) async fn copy_all(
    connection: &mut PgConnection,
    store: &mut dyn Store,
    generation: i32,
) -> Result<usize, RowsError> {
    let mut count = 0;
    for table in store.tables() {
        count += copy_table(&mut *connection, table, generation).await?;
        if let Some(history) = table.spec().history {
            let versions = validity::rows(*history, table.take_versions())?;
            let versions = Box::new(versions.into_iter().map(Ok));
            count += copy_rows(&mut *connection, *history, versions, generation).await?;
        }
    }
    Ok(count)
}

async fn copy_table(
    connection: &mut PgConnection,
    table: &dyn AnyTable,
    generation: i32,
) -> Result<usize, RowsError> {
    copy_rows(connection, table.spec(), table.values(), generation).await
}

async fn copy_rows(
    connection: &mut PgConnection,
    spec: TableSpec,
    rows: Values<'_>,
    generation: i32,
) -> Result<usize, RowsError> {
    let columns: Vec<&str> = spec.columns.iter().map(|(name, _)| *name).collect();
    let (name, columns) = (table_of(spec, generation), columns.join(", "));
    let mut copy = connection.copy_in_raw(&format!("copy {name} ({columns}) from stdin")).await?;
    let (mut count, mut buffer) = (0, String::with_capacity(SEND_BYTES * 5 / 4));
    for row in rows {
        let row = row.map_err(|source| RowsError::Shape { table: spec.name, source })?;
        line(spec, &row, &mut buffer);
        count += 1;
        if buffer.len() >= SEND_BYTES {
            copy.send(buffer.as_bytes()).await?;
            buffer.clear();
        }
    }
    copy.send(buffer.as_bytes()).await?;
    copy.finish().await?;
    Ok(count)
}

/// A row as a line of the text form of `copy`.
fn line(spec: TableSpec, row: &Value, to: &mut String) {
    for (number, (column, sql)) in spec.columns.iter().enumerate() {
        if number > 0 {
            to.push('\t');
        }
        match &row[*column] {
            Value::Null => to.push_str("\\N"),
            json if sql.starts_with("json") => escape(&json.to_string(), to),
            Value::String(text) => escape(text, to),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                escape(&other.to_string(), to);
            }
        }
    }
    to.push('\n');
}

fn escape(text: &str, to: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            other => to.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_keeps_what_would_end_it_and_tells_nothing_from_an_empty_text() {
        let columns = &[("a", "text"), ("b", "jsonb"), ("c", "text"), ("d", "text")];
        let spec = TableSpec {
            name: "it",
            key: &["a"],
            columns,
            writing: &[],
            indexes: &[],
            history: None,
        };
        let mut text = String::new();
        let row = json!({"a": "one\ttwo\\\n\r", "b": "it\"s", "c": null, "d": ""});
        line(spec, &row, &mut text);
        assert_eq!(text, "one\\ttwo\\\\\\n\\r\t\"it\\\\\"s\"\t\\N\t\n");
    }
}

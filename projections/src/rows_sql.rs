//! The SQL of rows: made from what a read model declares, so that no model writes any.
//!
//! Rows travel as JSON objects of their columns. Every table of a generation has its number in its
//! name; readers go through a view without one.

use crate::projection::{Definition, Store};
use crate::table::{Changes, TableSpec};
use crate::validity;
use sqlx::{AssertSqlSafe, PgConnection};

/// The most rows that travel in one statement.
const ROWS_AT_ONCE: usize = 5_000;

/// Why rows could not be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The database did not answer, or did not like what it was told.
    #[error("the rows of a read model cannot be reached just now; try again")]
    Database(#[from] sqlx::Error),
    /// A row is not of the shape this program knows.
    #[error("a row of {table} has another shape than this program knows; rebuild the read model")]
    Shape {
        /// Which table.
        table: &'static str,
        /// What the reader said.
        source: serde_json::Error,
    },
}

/// The name of a table of a generation.
pub(crate) fn table_of(spec: TableSpec, generation: i32) -> String {
    format!("read_model.{}_g{generation}", spec.name)
}

/// Runs a statement that was put together from declarations of this crate.
pub(crate) async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Makes the tables of a generation, without keys and indexes: rows go in faster.
pub(crate) async fn create_tables(
    connection: &mut PgConnection,
    definition: &Definition,
    generation: i32,
) -> Result<(), sqlx::Error> {
    for spec in definition.tables() {
        let columns: Vec<String> =
            spec.columns.iter().map(|(c, sql)| format!("{c} {sql}")).collect();
        let (table, columns) = (table_of(spec, generation), columns.join(", "));
        run(connection, format!("create table {table} ({columns})")).await?;
    }
    Ok(())
}

/// Adds the keys and indexes that writing needs, and lets the planner know what is in the tables.
pub(crate) async fn create_keys(
    connection: &mut PgConnection,
    definition: &Definition,
    generation: i32,
) -> Result<(), sqlx::Error> {
    for spec in definition.tables() {
        let (table, key) = (table_of(spec, generation), spec.key.join(", "));
        run(connection, format!("alter table {table} add primary key ({key})")).await?;
        for index in spec.writing {
            run(connection, format!("create index on {table} ({index})")).await?;
        }
        run(connection, format!("analyze {table}")).await?;
    }
    Ok(())
}

/// Adds the indexes that readers need, and lets the planner know what is in the tables by then.
pub(crate) async fn create_indexes(
    connection: &mut PgConnection,
    definition: &Definition,
    generation: i32,
) -> Result<(), sqlx::Error> {
    for spec in definition.tables() {
        let table = table_of(spec, generation);
        for index in spec.indexes {
            let index = match index.strip_prefix("using ") {
                Some(index) => format!("create index on {table} using {index}"),
                None => format!("create index on {table} ({index})"),
            };
            run(connection, index).await?;
        }
        run(connection, format!("analyze {table}")).await?;
    }
    Ok(())
}

/// Lets readers see a generation, from the commit on.
pub(crate) async fn show(
    connection: &mut PgConnection,
    definition: &Definition,
    generation: i32,
) -> Result<(), sqlx::Error> {
    for spec in definition.tables() {
        let (view, table) = (spec.name, table_of(spec, generation));
        // Dropped and made again, because another generation may have other columns.
        let drop = format!("drop view if exists read_model.{view}");
        let create = format!(
            "create view read_model.{view} with (security_invoker = true) as select * from {table}"
        );
        run(connection, format!("{drop}; {create}")).await?;
    }
    Ok(())
}

/// Loads every row that was asked for and is not in memory.
pub(crate) async fn load_wanted(
    connection: &mut PgConnection,
    store: &mut dyn Store,
    generation: i32,
) -> Result<(), RowsError> {
    for table in store.tables() {
        let wanted = table.wanted();
        if wanted.is_empty() {
            continue;
        }
        let rows = load(&mut *connection, table.spec(), generation, &wanted).await?;
        let name = table.spec().name;
        table.load(&rows).map_err(|source| RowsError::Shape { table: name, source })?;
    }
    Ok(())
}

async fn load(
    connection: &mut PgConnection,
    spec: TableSpec,
    generation: i32,
    keys: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    let (table, key) = (table_of(spec, generation), spec.key.join(", "));
    let sql = format!(
        "select row_to_json(t)::text
           from json_populate_recordset(null::{table}, $1::text::json) k
           join {table} t using ({key})"
    );
    // The join's columns are those of both sides; the row is that of the table alone.
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(array(keys)).fetch_all(connection).await
}

/// What was written of each table.
pub(crate) type Written = Vec<(TableSpec, Changes)>;

/// How many rows that is.
pub(crate) fn count(written: &Written) -> usize {
    written.iter().map(|(_, changes)| changes.written.len() + changes.removed.len()).sum()
}

/// Writes what changed in place of what may be there, and answers what it was.
pub(crate) async fn write_changes(
    connection: &mut PgConnection,
    store: &mut dyn Store,
    generation: i32,
) -> Result<Written, RowsError> {
    let mut written = Vec::new();
    for table in store.tables() {
        let spec = table.spec();
        let shape = |source| RowsError::Shape { table: spec.name, source };
        let changes = table.take_changes().map_err(shape)?;
        write_table(&mut *connection, spec, &changes, generation).await?;
        written.push((spec, changes));
        if let Some(history) = spec.history {
            let versions = table.take_versions().map_err(shape)?;
            let changes =
                validity::write(&mut *connection, spec, *history, versions, generation).await?;
            written.push((*history, changes));
        }
    }
    Ok(written)
}

async fn write_table(
    connection: &mut PgConnection,
    spec: TableSpec,
    changes: &Changes,
    generation: i32,
) -> Result<(), sqlx::Error> {
    let name = table_of(spec, generation);
    let upsert = upsert(spec, &name);
    for rows in changes.written.chunks(ROWS_AT_ONCE) {
        sqlx::query(AssertSqlSafe(upsert.clone()))
            .bind(array(rows))
            .execute(&mut *connection)
            .await?;
    }
    if !changes.removed.is_empty() {
        let key = spec.key.join(", ");
        let delete = format!(
            "delete from {name} where ({key}) in
                (select {key} from json_populate_recordset(null::{name}, $1::text::json))"
        );
        let keys = array(&changes.removed);
        sqlx::query(AssertSqlSafe(delete)).bind(keys).execute(&mut *connection).await?;
    }
    Ok(())
}

fn insert(name: &str) -> String {
    format!(
        "insert into {name} select * from json_populate_recordset(null::{name}, $1::text::json)"
    )
}

fn upsert(spec: TableSpec, name: &str) -> String {
    let (insert, key) = (insert(name), spec.key.join(", "));
    let is_key = |column: &str| spec.key.contains(&column);
    let columns = spec.columns.iter().map(|(column, _)| *column);
    let others: Vec<&str> = columns.filter(|column| !is_key(column)).collect();
    if others.is_empty() {
        return format!("{insert} on conflict ({key}) do nothing");
    }
    let sets: Vec<String> = others.iter().map(|c| format!("{c} = excluded.{c}")).collect();
    format!("{insert} on conflict ({key}) do update set {}", sets.join(", "))
}

/// JSON texts as one JSON array.
pub(crate) fn array(texts: &[String]) -> String {
    format!("[{}]", texts.join(","))
}

//! Two generations of a read model, compared byte for byte.

use crate::control::{Standing, State};
use crate::projection::Definition;
use crate::rows_sql::{Written, array, table_of};
use crate::table::TableSpec;
use event_log::Position;
use sqlx::{AssertSqlSafe, PgConnection};

/// How a new generation compares with the live one at the same position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every row is the same, byte for byte.
    Equal,
    /// Some row is not.
    Different(Difference),
    /// There is nothing to compare it with.
    Impossible(String),
}

/// The first row, in the order of the keys, that two generations do not have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which table.
    pub table: String,
    /// The row of the live generation; none when only the new one has it.
    pub live: Option<String>,
    /// The row of the new generation; none when only the live one has it.
    pub rebuilt: Option<String>,
}

/// Why a live generation cannot be compared with one that these handlers make.
pub(super) fn obstacle(definition: &Definition, live: &Standing) -> Option<String> {
    if live.code_version != definition.version {
        let (old, new) = (live.code_version, definition.version);
        return Some(format!("the live rows are of version {old} of the handlers, these of {new}"));
    }
    if live.layout != definition.layout() {
        return Some("the live rows have other columns".to_owned());
    }
    if live.state == State::Stopped {
        return Some(format!("the live rows stopped at position {}", live.position));
    }
    (live.position == Position::START).then(|| "the live rows have only begun".to_owned())
}

/// Compares two generations.
pub(super) async fn compare(
    connection: &mut PgConnection,
    definition: &Definition,
    (live, rebuilt): (i32, i32),
) -> Result<Comparison, sqlx::Error> {
    for spec in definition.tables() {
        let one = digest(&mut *connection, spec, live).await?;
        let other = digest(&mut *connection, spec, rebuilt).await?;
        if one != other {
            let difference = first_difference(connection, spec, (live, rebuilt)).await?;
            return Ok(Comparison::Different(difference));
        }
    }
    Ok(Comparison::Equal)
}

/// The rows of a table as one hash, and how many they are.
async fn digest(
    connection: &mut PgConnection,
    spec: TableSpec,
    generation: i32,
) -> Result<(i64, Option<String>), sqlx::Error> {
    let (table, key) = (table_of(spec, generation), spec.key.join(", "));
    let sql =
        format!("select count(*), md5(string_agg(md5(t::text), '' order by {key})) from {table} t");
    sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await
}

async fn first_difference(
    connection: &mut PgConnection,
    spec: TableSpec,
    (live, rebuilt): (i32, i32),
) -> Result<Difference, sqlx::Error> {
    let (one, other) = (table_of(spec, live), table_of(spec, rebuilt));
    let key = spec.key.join(", ");
    let sql = format!(
        "select one, other
           from (select {key}, t::text as one from {one} t) a
           full join (select {key}, t::text as other from {other} t) b using ({key})
          where one is distinct from other order by {key} limit 1"
    );
    let (live, rebuilt) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await?;
    let table = spec.name.to_owned();
    Ok(Difference { table, live, rebuilt })
}

/// Compares the rows of two generations that were written to one of them.
pub(super) async fn touched(
    connection: &mut PgConnection,
    written: &Written,
    (live, rebuilt): (i32, i32),
) -> Result<Comparison, sqlx::Error> {
    for (spec, changes) in written {
        let (one, other) = (table_of(*spec, live), table_of(*spec, rebuilt));
        let key = spec.key.join(", ");
        let sql = format!(
            "with touched as (
                 select distinct {key} from json_populate_recordset(null::{other}, $1::text::json))
             select one, other
               from (select {key}, t::text as one from {one} t join touched using ({key})) a
               full join (select {key}, t::text as other
                            from {other} t join touched using ({key})) b using ({key})
              where one is distinct from other order by {key} limit 1"
        );
        for rows in [&changes.written, &changes.removed] {
            if rows.is_empty() {
                continue;
            }
            let query = sqlx::query_as(AssertSqlSafe(sql.clone())).bind(array(rows));
            let found: Option<(Option<String>, Option<String>)> =
                query.fetch_optional(&mut *connection).await?;
            if let Some((live, rebuilt)) = found {
                let table = spec.name.to_owned();
                return Ok(Comparison::Different(Difference { table, live, rebuilt }));
            }
        }
    }
    Ok(Comparison::Equal)
}

//! Events that a read model set aside: the list of them, in the order of the log.

use crate::control::Standing;
use event_log::Position;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};
use std::collections::BTreeSet;

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Which event.
    pub position: Position,
    /// Of which thing: its stream.
    pub thing: String,
    /// Why.
    pub error: String,
}

impl FromRow<'_, PgRow> for Parked {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get("position")?,
            thing: row.try_get("thing")?,
            error: row.try_get("error")?,
        })
    }
}

/// What a read model set aside, in the order of the log.
///
/// # Errors
/// When the database does not answer.
pub async fn parked<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    name: &str,
) -> Result<Vec<Parked>, sqlx::Error> {
    let sql = "select a.position, a.thing, a.error
                 from read_model.parked a
                 join read_model.projection p using (name, generation)
                where name = $1 and p.state <> 'retired' order by a.position";
    sqlx::query_as(sql).bind(name).fetch_all(executor).await
}

/// The things of a generation of which events are set aside.
pub(crate) async fn parked_things(
    connection: &mut PgConnection,
    standing: &Standing,
) -> Result<BTreeSet<String>, sqlx::Error> {
    let sql = "select distinct thing from read_model.parked where name = $1 and generation = $2";
    let query = sqlx::query_scalar(sql).bind(&standing.name).bind(standing.generation);
    Ok(query.fetch_all(connection).await?.into_iter().collect())
}

/// Sets events aside.
pub(crate) async fn park(
    connection: &mut PgConnection,
    name: &str,
    generation: i32,
    parked: &[Parked],
) -> Result<(), sqlx::Error> {
    for event in parked {
        sqlx::query("insert into read_model.parked values ($1, $2, $3, $4, $5)")
            .bind(name)
            .bind(generation)
            .bind(event.position)
            .bind(&event.thing)
            .bind(&event.error)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Takes an event off the list of those set aside.
pub(crate) async fn unpark(
    connection: &mut PgConnection,
    standing: &Standing,
    position: Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from read_model.parked where name = $1 and generation = $2 and position = $3",
    )
    .bind(&standing.name)
    .bind(standing.generation)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

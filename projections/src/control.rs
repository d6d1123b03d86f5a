//! Generations, their states and their checkpoints: what is written down about read models.
//!
//! `read_model.projection` has a row for each generation. The checkpoint moves by compare-and-set
//! in the transaction that writes the rows, so that of two owners one does the work and the other
//! finds out. A generation is `live`, `stopped` before an event that it could not take in, or
//! `retired`: kept for going back. Exactly one of a name is live or stopped, and readers see it.
//! Those in the making are written down apart from them, in [`crate::builds`].

use crate::builds;
use crate::projection::Definition;
use crate::rows_sql;
use event_log::Position;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, PgPool, Row};
use std::collections::BTreeSet;

mod state;

pub use state::State;

/// Numbers our advisory locks, apart from those of the log.
pub(crate) const LOCKS: i32 = 1_869_640_548;

const TABLES: &str = "
create table if not exists read_model.projection (
    name           text collate \"C\" not null,
    generation     integer     not null,
    code_version   integer     not null,
    layout         text        not null,
    state          text        not null check (state in ('live', 'stopped', 'retired')),
    position       bigint      not null,
    revision       bigint      not null default 0,
    error          text,
    error_position bigint,
    tables         text[]      not null,
    made_at        timestamptz not null default clock_timestamp(),
    primary key (name, generation)
) with (fillfactor = 50);
create unique index if not exists projection_shown
    on read_model.projection (name) where state <> 'retired';
create table if not exists read_model.parked (
    name       text collate \"C\" not null,
    generation integer not null,
    position   bigint  not null,
    thing      text collate \"C\" not null,
    error      text    not null,
    primary key (name, generation, position)
);
comment on table read_model.projection is
    'Every generation of every read model: how far it is, and whether readers see it.';
comment on table read_model.parked is
    'Events that a read model set aside, with all later ones of the same thing, until retried.';";

/// How a generation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which read model.
    pub name: String,
    /// 1, 2, 3, …
    pub generation: i32,
    /// The version of the handlers that made it.
    pub code_version: i32,
    /// Whether it moves.
    pub state: State,
    /// It has taken in every event up to here.
    pub position: Position,
    /// Why it stopped.
    pub error: Option<String>,
    /// The event it could not take in.
    pub error_position: Option<Position>,
    /// How many events are set aside.
    pub parked: i64,
    pub(crate) layout: String,
    pub(crate) revision: i64,
}

impl FromRow<'_, PgRow> for Standing {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            generation: row.try_get("generation")?,
            code_version: row.try_get("code_version")?,
            state: State::read(row.try_get("state")?)?,
            position: row.try_get("position")?,
            error: row.try_get("error")?,
            error_position: row.try_get("error_position")?,
            parked: row.try_get("parked")?,
            layout: row.try_get("layout")?,
            revision: row.try_get("revision")?,
        })
    }
}

const STANDING: &str = "
select p.*, (select count(*) from read_model.parked a
              where a.name = p.name and a.generation = p.generation) as parked
  from read_model.projection p";

/// The generations that readers see, one for each read model.
///
/// # Errors
/// When the database does not answer, or no read model was ever made.
pub async fn standings<'e>(
    executor: impl sqlx::PgExecutor<'e>,
) -> Result<Vec<Standing>, sqlx::Error> {
    let mut query = sqlx::QueryBuilder::new(STANDING);
    query.push(" where p.state <> 'retired' order by p.name");
    query.build_query_as().fetch_all(executor).await
}

/// The generation of one read model that readers see.
pub(crate) async fn shown(
    connection: &mut PgConnection,
    name: &str,
    lock: bool,
) -> Result<Option<Standing>, sqlx::Error> {
    let mut query = sqlx::QueryBuilder::new(STANDING);
    query.push(" where p.state <> 'retired' and p.name = ").push_bind(name);
    if lock {
        query.push(" for update");
    }
    query.build_query_as().fetch_optional(connection).await
}

/// Makes what is missing: the tables of this file, and an empty first generation of each read model
/// that has none. Safe to run at any time, also by several processes at once.
///
/// # Errors
/// When the database does not answer.
pub async fn install(pool: &PgPool, definitions: &[Definition]) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1, 0)")
        .bind(LOCKS)
        .execute(&mut *transaction)
        .await?;
    rows_sql::run(&mut transaction, format!("{TABLES}{}", builds::TABLES)).await?;
    for definition in definitions {
        if shown(&mut transaction, definition.name, false).await?.is_none() {
            let generation = next_generation(&mut transaction, definition.name).await?;
            rows_sql::create_tables(&mut transaction, definition, generation).await?;
            rows_sql::create_keys(&mut transaction, definition, generation).await?;
            rows_sql::create_indexes(&mut transaction, definition, generation).await?;
            rows_sql::show(&mut transaction, definition, generation).await?;
            insert(&mut transaction, definition, generation, Position::START).await?;
        }
    }
    transaction.commit().await
}

pub(crate) async fn next_generation(
    connection: &mut PgConnection,
    name: &str,
) -> Result<i32, sqlx::Error> {
    let sql = "select coalesce(max(generation), 0) + 1 from read_model.projection where name = $1";
    sqlx::query_scalar(sql).bind(name).fetch_one(connection).await
}

/// The tables of a generation, without the schema.
pub(crate) fn tables_of(definition: &Definition, generation: i32) -> Vec<String> {
    let tables = definition.tables().into_iter();
    tables.map(|spec| format!("{}_g{generation}", spec.name)).collect()
}

/// Drops what a generation consisted of, beside its row.
pub(crate) async fn drop_tables(
    connection: &mut PgConnection,
    name: &str,
    generation: i32,
    tables: Vec<String>,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from read_model.parked where name = $1 and generation = $2")
        .bind(name)
        .bind(generation)
        .execute(&mut *connection)
        .await?;
    for table in tables {
        let drop = format!("drop table if exists read_model.{table} cascade");
        rows_sql::run(&mut *connection, drop).await?;
    }
    Ok(())
}

/// Writes a new generation down as the live one.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    definition: &Definition,
    generation: i32,
    position: Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into read_model.projection
                (name, generation, code_version, layout, state, position, tables)
         values ($1, $2, $3, $4, 'live', $5, $6)",
    )
    .bind(definition.name)
    .bind(generation)
    .bind(definition.version)
    .bind(definition.layout())
    .bind(position)
    .bind(tables_of(definition, generation))
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the checkpoint of a live generation from where its owner saw it. False when another owner
/// moved it, or it was stopped, retried or replaced meanwhile.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    from: &Standing,
    to: Position,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update read_model.projection set position = $5
          where name = $1 and generation = $2 and position = $3 and revision = $4
            and state = 'live'",
    )
    .bind(&from.name)
    .bind(from.generation)
    .bind(from.position)
    .bind(from.revision)
    .bind(to)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Moves the checkpoints of several generations at once, each as [`advance`] does; answers the
/// names of those that were moved.
pub(crate) async fn advance_all(
    connection: &mut PgConnection,
    from: &[&Standing],
    to: Position,
) -> Result<BTreeSet<String>, sqlx::Error> {
    let names: Vec<&str> = from.iter().map(|it| it.name.as_str()).collect();
    let generations: Vec<i32> = from.iter().map(|it| it.generation).collect();
    let positions: Vec<i64> = from.iter().map(|it| it.position.0).collect();
    let revisions: Vec<i64> = from.iter().map(|it| it.revision).collect();
    // Locked in one order, so that two owners never wait for each other.
    let moved: Vec<String> = sqlx::query_scalar(
        "with mine as (
             select p.name, p.generation
               from read_model.projection p
               join unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
                 as m (name, generation, position, revision)
              using (name, generation, position, revision)
              where p.state = 'live' order by p.name for update of p)
         update read_model.projection p set position = $5
           from mine where p.name = mine.name and p.generation = mine.generation
         returning p.name",
    )
    .bind(names)
    .bind(generations)
    .bind(positions)
    .bind(revisions)
    .bind(to)
    .fetch_all(connection)
    .await?;
    Ok(moved.into_iter().collect())
}

/// Stops a generation before an event, visibly. Its checkpoint was moved there in the same
/// transaction.
pub(crate) async fn stop(
    connection: &mut PgConnection,
    standing: &Standing,
    error: &str,
    at: Option<Position>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update read_model.projection
            set state = 'stopped', error = $3, error_position = $4, revision = revision + 1
          where name = $1 and generation = $2",
    )
    .bind(&standing.name)
    .bind(standing.generation)
    .bind(error)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets a stopped read model try again where it stands; true when there was one.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(pool: &PgPool, name: &str) -> Result<bool, sqlx::Error> {
    let resumed = sqlx::query(
        "update read_model.projection
            set state = 'live', error = null, error_position = null, revision = revision + 1
          where name = $1 and state = 'stopped'",
    )
    .bind(name)
    .execute(pool)
    .await?;
    Ok(resumed.rows_affected() == 1)
}

/// Puts the generation that readers see out of use, and drops what was kept before it.
pub(crate) async fn retire_shown(
    connection: &mut PgConnection,
    name: &str,
) -> Result<(), sqlx::Error> {
    let dropped: Vec<(i32, Vec<String>)> = sqlx::query_as(
        "delete from read_model.projection where name = $1 and state = 'retired'
         returning generation, tables",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await?;
    for (generation, tables) in dropped {
        drop_tables(&mut *connection, name, generation, tables).await?;
    }
    let retire = "update read_model.projection set state = 'retired', revision = revision + 1
                   where name = $1 and state <> 'retired'";
    sqlx::query(retire).bind(name).execute(connection).await?;
    Ok(())
}

/// The generation that is kept for going back, if there is one.
pub(crate) async fn kept(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    let mut query = sqlx::QueryBuilder::new(STANDING);
    query.push(" where p.state = 'retired' and p.name = ").push_bind(name);
    query.push(" order by p.generation desc limit 1");
    query.build_query_as().fetch_optional(connection).await
}

/// Lets the one generation take the other's place.
pub(crate) async fn swap(
    connection: &mut PgConnection,
    out: &Standing,
    back: &Standing,
) -> Result<(), sqlx::Error> {
    for (standing, state) in [(out, "retired"), (back, "live")] {
        sqlx::query(
            "update read_model.projection
                set state = $3, position = $4, error = null, error_position = null,
                    revision = revision + 1
              where name = $1 and generation = $2",
        )
        .bind(&standing.name)
        .bind(standing.generation)
        .bind(state)
        .bind(standing.position)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Lets whoever keeps a generation up to date look again at what is set aside.
pub(crate) async fn revise(
    connection: &mut PgConnection,
    standing: &Standing,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update read_model.projection set revision = revision + 1
          where name = $1 and generation = $2",
    )
    .bind(&standing.name)
    .bind(standing.generation)
    .execute(connection)
    .await?;
    Ok(())
}

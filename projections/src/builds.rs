//! Generations in the making: who is at work on one, how far it is, what is left of those whose
//! maker died.
//!
//! `read_model.build` has a row for the one generation of a read model that somebody works on. Its
//! maker holds an advisory lock of the same session that writes the rows: whoever lost the lock
//! cannot write either, and a row whose lock nobody holds was left behind by somebody who died.
//! Readers and whoever keeps read models up to date never look at it. The view
//! `read_model.generation` shows every generation there is, in the making, live or kept.

use crate::control::{self, LOCKS, Standing, State};
use crate::projection::Definition;
use crate::rows_sql;
use domain::Instant;
use event_log::Position;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, FromRow, PgPool, Row};
use std::time::Duration;

/// How often it is written down how far a build is that works in memory.
const NOTED_EVERY: Duration = Duration::from_millis(250);

pub(crate) const TABLES: &str = "
create table if not exists read_model.build (
    name         text collate \"C\" primary key,
    generation   integer     not null,
    code_version integer     not null,
    state        text        not null check (state in ('building', 'catching_up', 'ready')),
    position     bigint      not null,
    target       bigint      not null,
    rate         bigint      not null default 0,
    tables       text[]      not null,
    begun_at     timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table read_model.build is
    'The generation of a read model that somebody works on, and how far it is.';
comment on column read_model.build.rate is 'Events per second since the state was entered.';
create or replace view read_model.generation with (security_invoker = true) as
select name, generation,
       coalesce(b.code_version, p.code_version) as code_version,
       coalesce(b.state, p.state) as state,
       coalesce(b.position, p.position) as position,
       b.target, b.rate,
       coalesce(b.begun_at, p.made_at) as begun_at,
       p.error,
       b.name is not null and not exists (
           select from pg_locks l
            where l.locktype = 'advisory' and l.objsubid = 2 and l.granted
              and l.database = (select oid from pg_database where datname = current_database())
              and l.classid = 1869640548
              and l.objid = (hashtext(b.name)::bigint & 4294967295)::oid) as is_abandoned
  from read_model.projection p
  full join read_model.build b using (name, generation);
comment on view read_model.generation is
    'Every generation of every read model: in the making, live, or kept for going back.';";

/// A generation of a read model, as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Of which read model.
    pub name: String,
    /// 1, 2, 3, …
    pub generation: i32,
    /// The version of the handlers that make it.
    pub code_version: i32,
    /// What is happening to it.
    pub state: State,
    /// It has taken in every event up to here.
    pub position: Position,
    /// Where it goes, while somebody works on it.
    pub target: Option<Position>,
    /// How many events a second it takes in, while somebody works on it.
    pub events_per_second: Option<i64>,
    /// When it was begun.
    pub begun_at: Instant,
    /// Why it stopped.
    pub error: Option<String>,
    /// Whoever made it died: the next rebuild cleans up after them.
    pub is_abandoned: bool,
}

impl FromRow<'_, PgRow> for Generation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            generation: row.try_get("generation")?,
            code_version: row.try_get("code_version")?,
            state: State::read(row.try_get("state")?)?,
            position: row.try_get("position")?,
            target: row.try_get("target")?,
            events_per_second: row.try_get("rate")?,
            begun_at: row.try_get("begun_at")?,
            error: row.try_get("error")?,
            is_abandoned: row.try_get("is_abandoned")?,
        })
    }
}

/// Every generation there is: in the making, live, and kept for going back.
///
/// # Errors
/// When the database does not answer, or no read model was ever made.
pub async fn generations(pool: &PgPool) -> Result<Vec<Generation>, sqlx::Error> {
    let sql = "select * from read_model.generation order by name, generation";
    sqlx::query_as(sql).fetch_all(pool).await
}

/// Opens a session that owns the making of a read model until it ends; none while another does.
pub(crate) async fn own(pool: &PgPool, name: &str) -> Result<Option<PgConnection>, sqlx::Error> {
    // Not given back to the pool, where the lock would live on.
    let mut connection = pool.acquire().await?.detach();
    // Pages need not wait for the disk: what a crash leaves is made anew.
    let settings = "set statement_timeout = 0; set idle_session_timeout = 0; \
                    set synchronous_commit = off";
    sqlx::raw_sql(settings).execute(&mut connection).await?;
    // Where the platform can tell, a statement of somebody who died ends within a second.
    let _unsupported =
        sqlx::raw_sql("set client_connection_check_interval = '1s'").execute(&mut connection).await;
    let sql = "select pg_try_advisory_lock($1, hashtext($2))";
    let is_ours: bool =
        sqlx::query_scalar(sql).bind(LOCKS).bind(name).fetch_one(&mut connection).await?;
    if is_ours {
        return Ok(Some(connection));
    }
    connection.close().await?;
    Ok(None)
}

/// Lets others make generations of the read model again.
pub(crate) async fn release(owner: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let sql = "select pg_advisory_unlock($1, hashtext($2))";
    sqlx::query(sql).bind(LOCKS).bind(name).execute(owner).await?;
    Ok(())
}

/// Begins a new generation: its number, its row and its empty tables. What is left of an earlier
/// one that was never finished goes.
pub(crate) async fn begin(
    owner: &mut PgConnection,
    definition: &Definition,
    target: Position,
) -> Result<i32, sqlx::Error> {
    let mut transaction = owner.begin().await?;
    discard(&mut transaction, definition.name).await?;
    let generation = control::next_generation(&mut transaction, definition.name).await?;
    rows_sql::create_tables(&mut transaction, definition, generation).await?;
    let standing = (generation, definition.version, State::Building);
    insert(&mut transaction, definition, standing, (Position::START, target)).await?;
    transaction.commit().await?;
    Ok(generation)
}

/// Writes down that somebody works on a generation.
pub(crate) async fn insert(
    owner: &mut PgConnection,
    definition: &Definition,
    (generation, code_version, state): (i32, i32, State),
    (position, target): (Position, Position),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into read_model.build
                (name, generation, code_version, state, position, target, tables)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(definition.name)
    .bind(generation)
    .bind(code_version)
    .bind(state.as_str())
    .bind(position)
    .bind(target)
    .bind(control::tables_of(definition, generation))
    .execute(owner)
    .await?;
    Ok(())
}

/// Strikes the generation in the making off the list: it was promoted, or went back to be kept.
pub(crate) async fn strike(owner: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let sql = "delete from read_model.build where name = $1";
    sqlx::query(sql).bind(name).execute(owner).await?;
    Ok(())
}

/// Throws an unfinished generation away. One that is kept for going back only goes off the list.
/// To be called by who owns the making of it.
pub(crate) async fn discard(owner: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    let left: Option<(i32, Vec<String>)> = sqlx::query_as(
        "delete from read_model.build b where name = $1
         returning generation, case when exists (
             select from read_model.projection p
              where p.name = b.name and p.generation = b.generation) then '{}' else tables end",
    )
    .bind(name)
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some((generation, tables)) = left
        && !tables.is_empty()
    {
        control::drop_tables(&mut transaction, name, generation, tables).await?;
    }
    transaction.commit().await
}

/// How far a generation in the making is, written down for whoever looks.
#[derive(Debug)]
pub(crate) struct Stage {
    name: &'static str,
    state: State,
    since: std::time::Instant,
    from: Position,
    noted: std::time::Instant,
}

impl Stage {
    /// At the beginning of a state.
    pub(crate) fn new(name: &'static str, state: State, from: Position) -> Self {
        let now = std::time::Instant::now();
        Self { name, state, since: now, from, noted: now }
    }

    /// Enters another state.
    pub(crate) async fn enter(
        &mut self,
        owner: &mut PgConnection,
        state: State,
        (position, target): (Position, Position),
    ) -> Result<(), sqlx::Error> {
        *self = Self::new(self.name, state, position);
        self.write(owner, position, target).await
    }

    /// Writes down how far it is, unless that was done a moment ago.
    pub(crate) async fn note(
        &mut self,
        owner: &mut PgConnection,
        position: Position,
        target: Position,
    ) -> Result<(), sqlx::Error> {
        if self.noted.elapsed() < NOTED_EVERY {
            return Ok(());
        }
        self.noted = std::time::Instant::now();
        self.write(owner, position, target).await
    }

    /// Moves on with the rows of a page, in their transaction. The checkpoint of a generation that
    /// was kept moves too.
    pub(crate) async fn moved(
        &mut self,
        owner: &mut PgConnection,
        standing: &Standing,
        (position, target): (Position, Position),
    ) -> Result<(), sqlx::Error> {
        let sql = "update read_model.projection set position = $3
                    where name = $1 and generation = $2 and state = 'retired'";
        sqlx::query(sql)
            .bind(&standing.name)
            .bind(standing.generation)
            .bind(position)
            .execute(&mut *owner)
            .await?;
        self.write(owner, position, target).await
    }

    async fn write(
        &self,
        owner: &mut PgConnection,
        position: Position,
        target: Position,
    ) -> Result<(), sqlx::Error> {
        let written = sqlx::query(
            "update read_model.build set state = $2, position = $3, target = $4, rate = $5
              where name = $1",
        )
        .bind(self.name)
        .bind(self.state.as_str())
        .bind(position)
        .bind(target)
        .bind(rate(position.0 - self.from.0, self.since.elapsed()))
        .execute(owner)
        .await?;
        // Somebody struck it off by hand: it is nobody's any more.
        if written.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }
}

/// Events a second.
fn rate(events: i64, time: Duration) -> i64 {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX).max(1);
    events.saturating_mul(1_000_000) / micros
}

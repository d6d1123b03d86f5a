//! Checkpoints and timers: the bookkeeping of whoever reads the log.
//!
//! Everything here runs inside the caller's transaction, so that a checkpoint commits together
//! with what was written because of it. Progress is made by compare-and-set: two owners cannot
//! both move a checkpoint from the same place, whatever their leases say.

use crate::Position;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};
use std::time::Duration;
use uuid::Uuid;

/// Where a consumer stands; zero when it has never moved.
pub async fn consumer_position(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Position, sqlx::Error> {
    let position: Option<Position> =
        sqlx::query_scalar("select position from event_log.consumer where name = $1")
            .bind(name)
            .fetch_optional(connection)
            .await?;
    Ok(position.unwrap_or_default())
}

/// Moves a consumer from where the caller saw it. False when somebody else moved it meanwhile:
/// the caller rolls back, because its work was done by another.
pub async fn advance(
    connection: &mut PgConnection,
    name: &str,
    from: Position,
    to: Position,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "insert into event_log.consumer as c (name, position)
         select $1, $3 where $2::bigint = 0
            or exists (select from event_log.consumer where name = $1)
         on conflict (name) do update set position = excluded.position where c.position = $2",
    )
    .bind(name)
    .bind(from)
    .bind(to)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Puts a consumer at a position, wherever it was: for a copy that was built apart.
pub async fn consumer_set(
    connection: &mut PgConnection,
    name: &str,
    position: Position,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into event_log.consumer (name, position) values ($1, $2)
         on conflict (name) do update set position = excluded.position",
    )
    .bind(name)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a consumer. True when there was one.
pub async fn consumer_remove(
    connection: &mut PgConnection,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query("delete from event_log.consumer where name = $1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(removed.rows_affected() == 1)
}

/// Takes or renews the lease on a consumer; false while somebody else's has not run out. A lease
/// only saves double work: what is right is decided by [`advance`].
pub async fn lease_take(
    connection: &mut PgConnection,
    name: &str,
    owner: &str,
    length: Duration,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "insert into event_log.consumer as c (name, position, owner, lease_until)
         values ($1, 0, $2, clock_timestamp() + make_interval(secs => $3::bigint * 0.001))
         on conflict (name) do update
            set owner = excluded.owner, lease_until = excluded.lease_until
          where c.owner is null or c.owner = $2 or c.lease_until < clock_timestamp()",
    )
    .bind(name)
    .bind(owner)
    .bind(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives a lease back, if it is still the owner's, so that another need not wait for its end.
pub async fn lease_give_back(
    connection: &mut PgConnection,
    name: &str,
    owner: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update event_log.consumer set owner = null where name = $1 and owner = $2")
        .bind(name)
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

/// Something that has to be appended once its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name; setting it again replaces it.
    pub name: String,
    /// Whose it is.
    pub tenant: Uuid,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// What to do then, as its owner writes it.
    pub content: Vec<u8>,
}

impl FromRow<'_, PgRow> for Timer {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            tenant: row.try_get("tenant")?,
            due_at: row.try_get("due_at")?,
            content: row.try_get("content")?,
        })
    }
}

/// Sets a timer, or moves it.
pub async fn timer_set(connection: &mut PgConnection, timer: &Timer) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into event_log.timer (name, tenant, due_at, content) values ($1, $2, $3, $4)
         on conflict (name) do update set tenant = excluded.tenant, due_at = excluded.due_at,
                                          content = excluded.content",
    )
    .bind(&timer.name)
    .bind(timer.tenant)
    .bind(timer.due_at)
    .bind(&timer.content)
    .execute(connection)
    .await?;
    Ok(())
}

/// Timers that are due, the longest overdue first. Firing one is an append whose command id is
/// derived from the timer's name and due time, so that two holders fire it once.
pub async fn timers_due(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Timer>, sqlx::Error> {
    sqlx::query_as(
        "select name, tenant, due_at, content from event_log.timer
          where due_at <= $1 order by due_at, name limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Clears a timer that has not been moved since it was read. True when it was there.
pub async fn timer_clear(
    connection: &mut PgConnection,
    name: &str,
    due_at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let cleared = sqlx::query("delete from event_log.timer where name = $1 and due_at = $2")
        .bind(name)
        .bind(due_at)
        .execute(connection)
        .await?;
    Ok(cleared.rows_affected() == 1)
}

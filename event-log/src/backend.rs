//! The database's process behind a connection, known well enough to end it: when a connection
//! breaks, what was asked on it may still be at work.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::time::Instant;

/// A server process, named so that a later one with the same number is told apart.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    pid: i32,
    started: DateTime<Utc>,
}

impl Backend {
    /// The one behind a connection.
    pub(crate) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let role = take_role(connection, "none").await?;
        let (pid, started) = sqlx::query_as(
            "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()",
        )
        .fetch_one(&mut *connection)
        .await?;
        take_role(connection, &role).await?;
        Ok(Self { pid, started })
    }

    /// Ends it through another connection and waits until it is gone.
    pub(crate) async fn end(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let role = take_role(connection, "none").await?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let alive: Option<bool> = sqlx::query_scalar(
                "select pg_terminate_backend(pid) from pg_stat_activity
                  where pid = $1 and backend_start = $2",
            )
            .bind(self.pid)
            .bind(self.started)
            .fetch_optional(&mut *connection)
            .await?;
            if alive.is_none() {
                take_role(connection, &role).await?;
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(sqlx::Error::PoolTimedOut);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Takes on a role and says which one was taken on before; "none" is the one that logged in, which
/// statistics and signals of backends ask for.
async fn take_role(connection: &mut PgConnection, role: &str) -> Result<String, sqlx::Error> {
    let before =
        sqlx::query_scalar("select current_setting('role')").fetch_one(&mut *connection).await?;
    sqlx::query("select set_config('role', $1, false)").bind(role).execute(connection).await?;
    Ok(before)
}

//! `archive`: seals full partitions of the log, lets their bodies go to bundles outside the
//! database, and brings them back.
//!
//! A partition's bodies leave the table only after the bundle that holds them was written, verified
//! from its first byte to its last, and every body was read out of it again and compared with what
//! the table commits to. The exchange is one transaction: killed at any moment, the partition has
//! its bodies in the table or in the bundle, and often in both.

mod exchange;
mod list;
mod strays;
mod write;

use crate::Failure;
use crate::output::Out;
use clap::{Args, Subcommand};
use installation::{Access, Installation, Place};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};

/// Seal full partitions and move their bodies into bundles outside the database, or back
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  opscenter-replay archive list
  opscenter-replay archive write --all
  opscenter-replay archive write 0 --keep
  opscenter-replay archive restore 0
  opscenter-replay archive prune --dry-run

The bundles lie in `archive` in the data folder, or where --archive or OPS_ARCHIVE says; every tool
and the server read through them. Back them up as you do the database: they hold bodies that are
nowhere else. Nobody has to stop for any of this.")]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List every partition: from where to where, and where its bodies are
    List(list::Options),
    /// Seal full partitions, write their bundles, and let their bodies go
    Write(write::Options),
    /// Bring the bodies of a partition back into the table
    Restore(exchange::Restore),
    /// Remove bundles of this log that no partition names any more, and drafts of what broke off
    Prune(strays::Prune),
}

/// Does it.
///
/// # Errors
/// What stood in the way; the partition is as it was then.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    match &options.what {
        What::List(options) => list::run(options, place, out).await,
        What::Write(options) => {
            let installation = Installation::open(place, Access::Derive).await?;
            let result = write::run(options, &installation, out).await;
            installation.close().await;
            result
        }
        What::Restore(options) => {
            let installation = Installation::open(place, Access::Derive).await?;
            let result = exchange::restore(options, &installation, out).await;
            installation.close().await;
            result
        }
        What::Prune(options) => strays::run(options, place, out).await,
    }
}

/// A partition of the log, and what is known of its archive.
#[derive(Clone, Debug)]
struct Partition {
    number: i32,
    first: i64,
    last: i64,
    /// Whether it is full and signed to its end.
    is_full: bool,
    sealed: bool,
    file: Option<String>,
    bytes: Option<i64>,
    /// Whether the bodies are in the bundle only.
    is_archived: bool,
    /// Whether the bundle has bodies that were purged since.
    is_stale: bool,
}

impl FromRow<'_, PgRow> for Partition {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            first: row.try_get("first")?,
            last: row.try_get("last")?,
            is_full: row.try_get("is_full")?,
            sealed: row.try_get("sealed")?,
            file: row.try_get("file")?,
            bytes: row.try_get("bytes")?,
            is_archived: row.try_get("is_archived")?,
            is_stale: row.try_get("is_stale")?,
        })
    }
}

const PARTITIONS: &str = "
select p.number, p.first, p.last,
       p.last <= coalesce((select max(size) from event_log.checkpoint), 0) as is_full,
       a.number is not null as sealed, a.file, a.bytes,
       a.archived_at is not null as is_archived,
       a.file is not null and exists (
           select from event_log.log l
            where l.stream >= 'retention/' and l.stream < 'retention0'
              and l.type = 'bodies_purged' and l.position > a.proved_by) as is_stale
  from event_log.log_partition p left join event_log.archive a using (number) order by p.number";

async fn partitions(installation: &Installation) -> Result<Vec<Partition>, Failure> {
    Ok(sqlx::query_as(PARTITIONS).fetch_all(installation.pool()).await?)
}

/// Makes sure that nobody else archives at the same time; ends with the connection.
async fn alone(owner: &mut PgConnection) -> Result<(), Failure> {
    let sql = "select pg_try_advisory_lock(1869640547, 4)";
    let is_ours: bool = sqlx::query_scalar(sql).fetch_one(owner).await?;
    if is_ours {
        return Ok(());
    }
    Err(Failure::Usage("somebody else is archiving; try again when they are done".to_owned()))
}

/// What the database says on purpose is for whoever asked; all else is the database's trouble.
fn refused(error: sqlx::Error) -> Failure {
    let said = error.as_database_error().map(|said| (said.code(), said.message().to_owned()));
    match said {
        Some((Some(code), message)) => match code.as_ref() {
            // object_not_in_prerequisite_state, no_data_found, serialization_failure
            "55000" | "P0002" | "40001" => Failure::Usage(message),
            // data_corrupted
            "XX001" => Failure::Problem(format!("{message}; run `opscenter-replay verify`")),
            _ => error.into(),
        },
        _ => error.into(),
    }
}

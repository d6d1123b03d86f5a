//! Exchanging the two forms of a partition: with its bodies in the table, or without; and
//! `archive restore`.

use super::strays::{drop_tables, sweep};
use super::{alone, partitions, refused};
use crate::Failure;
use crate::output::{Out, progress, thousands};
use clap::Args;
use event_log::Position;
use installation::Installation;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::{Duration, Instant};

/// How long those who append or read may have to wait for an exchange that does not come through.
const LOCK_TIMEOUT: &str = "set lock_timeout = '250ms'";
/// How long it is tried.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two tries, so that readers get on.
const PAUSE: Duration = Duration::from_millis(500);

const PAGE: usize = 2_000;

/// Which partition.
#[derive(Args, Clone, Debug)]
pub(super) struct Restore {
    /// The partition by number, as `archive list` shows it
    #[arg(value_name = "NUMBER")]
    number: i32,
}

/// Makes the other form and puts it in the place of the one that is there. Where that cannot be
/// done, the draft goes: bodies in it would outlive a purge.
pub(super) async fn exchange(
    owner: &mut PgConnection,
    number: i32,
    is_slim: bool,
) -> Result<(), Failure> {
    let exchanged = try_exchange(owner, number, is_slim).await;
    if exchanged.is_err()
        && let Err(error) = drop_tables(owner).await
    {
        tracing::warn!(%error, "a draft stays until somebody archives again");
    }
    exchanged
}

async fn try_exchange(owner: &mut PgConnection, number: i32, is_slim: bool) -> Result<(), Failure> {
    let expected: i64 =
        sqlx::query_scalar("select event_log.retention_version()").fetch_one(&mut *owner).await?;
    sqlx::query("select event_log.draft_partition($1, $2)")
        .bind(number)
        .bind(is_slim)
        .execute(&mut *owner)
        .await
        .map_err(refused)?;
    sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut *owner).await?;
    let began = Instant::now();
    loop {
        let mut transaction = owner.begin().await?;
        let tried = sqlx::query("select event_log.exchange_partition($1, $2, $3)")
            .bind(number)
            .bind(is_slim)
            .bind(expected)
            .execute(&mut *transaction)
            .await;
        match tried {
            Ok(_) => {
                transaction.commit().await?;
                break;
            }
            Err(error) if is_lock(&error) && began.elapsed() < PATIENCE => {
                transaction.rollback().await?;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if is_lock(&error) => {
                return Err(Failure::Usage(
                    "somebody has read from the log in one transaction all the while; nothing was \
                     exchanged, try again when they are done"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(refused(error)),
        }
    }
    sqlx::raw_sql("reset lock_timeout").execute(&mut *owner).await?;
    Ok(())
}

/// lock_not_available, deadlock_detected
fn is_lock(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|said| said.code());
    code.is_some_and(|code| code == "55P03" || code == "40P01")
}

/// Brings the bodies back, each compared with what the table commits to.
pub(super) async fn restore(
    options: &Restore,
    installation: &Installation,
    out: Out<'_>,
) -> Result<(), Failure> {
    let number = options.number;
    let partition = partitions(installation).await?.into_iter().find(|it| it.number == number);
    let Some(partition) = partition.filter(|it| it.is_archived) else {
        return Err(Failure::Usage(format!(
            "partition {number} is not archived; see `archive list`"
        )));
    };
    let mut owner = installation.owner().await?;
    alone(&mut owner).await?;
    sweep(installation, &mut owner).await?;
    let brought = bring(installation, &mut owner, (partition.first, partition.last)).await?;
    exchange(&mut owner, number, false).await?;
    let brought = thousands(brought);
    writeln!(out, "partition  {number}")?;
    writeln!(out, "{brought} bodies are in the table again; the bundle stays where it is.")?;
    Ok(out.flush()?)
}

/// Reads bodies through the archive into a table of this connection's own.
async fn bring(
    installation: &Installation,
    owner: &mut PgConnection,
    (first, last): (i64, i64),
) -> Result<u64, Failure> {
    sqlx::raw_sql(
        "create temporary table archived_body (position bigint primary key, meta bytea not null,
             payload bytea not null, meta_salt bytea not null, payload_salt bytea not null)",
    )
    .execute(&mut *owner)
    .await?;
    let bar = progress(last - first + 1, "events brought back");
    let (mut after, mut brought) = (first - 1, 0);
    while after < last {
        let limit = PAGE.min(usize::try_from(last - after).unwrap_or(PAGE));
        let rows = installation.log().raw_rows(Position(after), limit).await?;
        let Some(end) = rows.last().map(|row| row.position) else { break };
        after = end;
        // What was purged has no body to bring back.
        let rows: Vec<_> = rows.iter().filter(|row| !row.is_purged()).collect();
        let column = |of: fn(&event_log::verify::RawRow) -> &[u8]| -> Vec<&[u8]> {
            rows.iter().map(|row| of(row)).collect()
        };
        sqlx::query(
            "insert into pg_temp.archived_body
             select * from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[],
                                  $5::bytea[])",
        )
        .bind(rows.iter().map(|row| row.position).collect::<Vec<_>>())
        .bind(column(|row| &row.meta))
        .bind(column(|row| &row.payload))
        .bind(column(|row| &row.meta_salt))
        .bind(column(|row| &row.payload_salt))
        .execute(&mut *owner)
        .await?;
        brought += u64::try_from(rows.len()).unwrap_or_default();
        bar.set_position((after - first + 1).unsigned_abs());
    }
    bar.finish_and_clear();
    Ok(brought)
}

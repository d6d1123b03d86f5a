//! What an export reads: rows with their batches, page by page, and the notes of checkpoints. Rows
//! are read in one snapshot; batches and checkpoints are never changed.

use crate::Failure;
use crate::history::PageSize;
use crate::snapshot::Snapshot;
use event_log::verify::{RawRow, micros};
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{AssertSqlSafe, FromRow, Row};
use uuid::Uuid;

/// How many positions one query looks at.
const WINDOW: i64 = 50_000;

/// The stored name of the record of a purge.
const PURGE: &str = "bodies_purged";

const PLACED: &str = "
select l.*, b.first as batch_first, (b.last - b.first + 1)::integer as batch_count
  from event_log.log l,
       lateral (select first, last from event_log.log_batch
                 where first <= l.position order by first desc limit 1) b
 where ";

const OF_TENANT: &str =
    "l.tenant = $1 and l.position > $2 and l.position <= $3 order by l.position ";

/// A row, and the batch that it says it is in.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) row: RawRow,
    pub(super) batch_first: i64,
    pub(super) batch_count: i32,
}

impl Placed {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            row: RawRow::from_row(row)?,
            batch_first: row.try_get("batch_first")?,
            batch_count: row.try_get("batch_count")?,
        })
    }

    /// When it was recorded, in microseconds since 1970.
    pub(super) fn recorded_at_micros(&self) -> i64 {
        micros(self.row.recorded_at)
    }
}

/// The rows of an organization from after a position up to another.
pub(super) struct Rows {
    pub(super) tenant: Uuid,
    pub(super) after: i64,
    pub(super) to: i64,
    pub(super) size: PageSize,
}

impl Rows {
    /// The next page; none at the end.
    pub(super) async fn next(
        &mut self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<Vec<Placed>>, Failure> {
        if self.after >= self.to {
            return Ok(None);
        }
        let (end, limit) = (self.to.min(self.after + WINDOW), self.size.events());
        let page = ask(snapshot, "limit $4", self.tenant, (self.after, end), limit).await?;
        let is_full = i64::try_from(page.len()).is_ok_and(|count| count == limit);
        self.size.learn(page.iter().map(|placed| placed.row.payload.len() + 500));
        self.after = match page.last() {
            Some(last) if is_full => last.row.position,
            Some(_) | None => end,
        };
        Ok(Some(page))
    }
}

/// The organization's last event before a position, or its first behind one.
pub(super) async fn neighbour(
    snapshot: &mut Snapshot,
    tenant: Uuid,
    after: i64,
    to: i64,
    is_last: bool,
) -> Result<Option<Placed>, Failure> {
    let order = if is_last { "desc limit $4" } else { "limit $4" };
    Ok(ask(snapshot, order, tenant, (after, to), 1).await?.pop())
}

async fn ask(
    snapshot: &mut Snapshot,
    order: &str,
    tenant: Uuid,
    (after, to): (i64, i64),
    limit: i64,
) -> Result<Vec<Placed>, Failure> {
    let rows = sqlx::query(AssertSqlSafe(format!("{PLACED}{OF_TENANT}{order}")))
        .bind(tenant)
        .bind(after)
        .bind(to)
        .bind(limit)
        .fetch_all(snapshot.connection())
        .await?;
    placed(snapshot, &rows).await
}

/// Recorded purges within a span: of one organization, or of all.
pub(super) async fn purges(
    snapshot: &mut Snapshot,
    of: Option<Uuid>,
    after: i64,
    to: i64,
) -> Result<Vec<Placed>, Failure> {
    let purges = "($1::uuid is null or l.tenant = $1) and l.position > $2 and l.position <= $3
        and l.type = $4 order by l.position";
    let rows = sqlx::query(AssertSqlSafe(format!("{PLACED}{purges}")))
        .bind(of)
        .bind(after)
        .bind(to)
        .bind(PURGE)
        .fetch_all(snapshot.connection())
        .await?;
    placed(snapshot, &rows).await
}

/// The first purge, of one organization or of anybody, that a checkpoint does not cover. Bodies are
/// gone by it, and a bundle that the checkpoint proves could not account for them.
pub(super) async fn purge_behind(
    snapshot: &mut Snapshot,
    of: Option<Uuid>,
    size: i64,
) -> Result<Option<i64>, Failure> {
    let first = sqlx::query_scalar(
        "select min(l.position) from event_log.log l
          where ($1::uuid is null or l.tenant = $1) and l.position > $2 and l.type = $3
            and l.stream >= 'retention/' and l.stream < 'retention0'",
    )
    .bind(of)
    .bind(size)
    .bind(PURGE);
    Ok(first.fetch_one(snapshot.connection()).await?)
}

/// Rows with the bodies that lie in archives.
async fn placed(snapshot: &Snapshot, rows: &[PgRow]) -> Result<Vec<Placed>, Failure> {
    let mut read = rows.iter().map(Placed::read).collect::<Result<Vec<_>, _>>()?;
    snapshot.log().complete_rows(read.iter_mut().map(|placed| &mut placed.row)).await?;
    Ok(read)
}

pub(super) fn is_purge(placed: &Placed) -> bool {
    placed.row.type_name == PURGE
}

/// The chain before a position at which a batch begins.
pub(super) async fn chain_before(pool: &PgPool, first: i64) -> Result<Vec<u8>, Failure> {
    let chain: Option<Vec<u8>> = sqlx::query_scalar(
        "select chain from event_log.log_batch where first < $1 order by first desc limit 1",
    )
    .bind(first)
    .fetch_optional(pool)
    .await?;
    Ok(chain.unwrap_or_else(|| vec![0; 32]))
}

/// Widens a span of positions to the batches that it touches.
pub(super) async fn whole_batches(
    pool: &PgPool,
    from: i64,
    to: i64,
) -> Result<(i64, i64), Failure> {
    let batch = "from event_log.log_batch where first <= $1 order by first desc limit 1";
    let of = |column: &str, position: i64| {
        sqlx::query_scalar(AssertSqlSafe(format!("select {column} {batch}"))).bind(position)
    };
    let first: Option<i64> = of("first", from.max(1)).fetch_optional(pool).await?;
    let last: Option<i64> = of("last", to).fetch_optional(pool).await?;
    Ok((first.unwrap_or(from), last.unwrap_or(to)))
}

/// Sizes of signed checkpoints within a span, at most so many, evenly chosen.
pub(super) async fn checkpoints(
    pool: &PgPool,
    from: i64,
    to: i64,
    at_most: i32,
) -> Result<Vec<i64>, Failure> {
    let sizes = sqlx::query_scalar(
        "select max(size) from (select size, ntile($3) over (order by size) as part
           from event_log.checkpoint where size >= $1 and size <= $2) c group by part order by 1",
    )
    .bind(from)
    .bind(to)
    .bind(at_most);
    Ok(sizes.fetch_all(pool).await?)
}

/// The note of a checkpoint, with what witnesses signed.
pub(super) async fn note(pool: &PgPool, size: i64) -> Result<String, Failure> {
    let note = sqlx::query_scalar(
        "select c.note || coalesce((select string_agg(rtrim(s.line, chr(10)) || chr(10), ''
                                                      order by s.witness)
                                      from event_log.cosignature s where s.size = c.size), '')
           from event_log.checkpoint c where c.size = $1",
    )
    .bind(size);
    Ok(note.fetch_one(pool).await?)
}

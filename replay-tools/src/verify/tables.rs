//! The log as it lies in the database, handed over in groups of a batch and its rows.
//!
//! Read with distrust: times that no program can hold are read as another time (and then do not
//! hash to what was recorded), and a row that cannot be read at all is a finding. Everything is
//! read in one [`Snapshot`].

use super::walk::is_possible;
use super::{Finding, Group, Page};
use crate::Failure;
use crate::history::{PAGE_BYTES, PageSize};
use crate::snapshot::Snapshot;
use event_log::archive::ArchiveError;
use event_log::verify::{RawBatch, RawRow};
use event_log::{EventLog, ReadError};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use std::collections::VecDeque;
use tokio::sync::mpsc;

const BATCHES_PAGE: i64 = 2_000;

/// A superuser can write times beyond what other programs hold; they become the year 1970.
macro_rules! bounded {
    ($column:literal) => {
        concat!(
            "case when ",
            $column,
            " between '4000-01-01 bc' and '200000-01-01' then ",
            $column,
            " else 'epoch' end as ",
            $column
        )
    };
}

const BATCHES: &str = concat!(
    "select first, last, ",
    bounded!("recorded_at"),
    ", chain from event_log.log_batch where first > $1 and first <= $2 order by first limit $3"
);

// A range and no limit: where somebody gave two rows one position, both are seen.
const ROWS: &str = concat!(
    "select position, tenant, stream, stream_version, type, schema_version, event_id, ",
    bounded!("recorded_at"),
    ", ",
    bounded!("occurred_at"),
    ", actor, causation, correlation, meta, payload, meta_salt, payload_salt, subjects, event_hash,
       payload_commit, meta_commit
       from event_log.log where position > $1 and position <= $2 order by position"
);

/// Where the log began and ended when verifying began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The last position of the last batch.
    pub(crate) head: i64,
    last_row: i64,
    first_row: i64,
    first_batch: i64,
}

impl Bounds {
    pub(crate) async fn look(snapshot: &mut Snapshot) -> Result<Self, Failure> {
        let (head, last_row, first_row, first_batch) = sqlx::query_as(
            "select coalesce((select last from event_log.log_batch
                               order by first desc limit 1), 0),
                    coalesce((select max(position) from event_log.log), 0),
                    coalesce((select min(position) from event_log.log), 1),
                    coalesce((select min(first) from event_log.log_batch), 1)",
        )
        .fetch_one(snapshot.connection())
        .await?;
        Ok(Self { head, last_row, first_row, first_batch })
    }

    /// What is wrong at first sight.
    fn before_the_first(self) -> Option<Finding> {
        let first = self.first_row.min(self.first_batch);
        let what = "the log begins at 1, and something stands before it";
        (first < 1).then(|| Finding::changed(first, what))
    }

    fn after_the_last(self) -> Option<Finding> {
        let what = format!(
            "events up to {} belong to no batch; they were added, or their batch was removed",
            self.last_row
        );
        (self.last_row > self.head).then(|| Finding::changed(self.head + 1, what))
    }
}

/// Hands the log over from after a position, up to where it ended when it was looked at.
pub(crate) async fn read(
    snapshot: &mut Snapshot,
    bounds: Bounds,
    after: i64,
    pages: &mpsc::Sender<Page>,
) -> Result<(), Failure> {
    if let Some(finding) = bounds.before_the_first() {
        send(pages, Page::Finding(finding)).await;
        return Ok(());
    }
    let mut rows = Rows {
        log: snapshot.log().clone(),
        read: VecDeque::new(),
        size: PageSize::new(),
        after,
        head: bounds.head,
    };
    let mut after = after;
    loop {
        let batches: Vec<RawBatch> = sqlx::query_as(BATCHES)
            .bind(after)
            .bind(bounds.head)
            .bind(BATCHES_PAGE)
            .fetch_all(snapshot.connection())
            .await?;
        let Some(last) = batches.last() else { break };
        after = last.first;
        if !hand_over(snapshot, batches, &mut rows, pages).await? {
            return Ok(());
        }
    }
    if let Some(finding) = bounds.after_the_last() {
        send(pages, Page::Finding(finding)).await;
    }
    Ok(())
}

/// Joins batches with their rows and hands them over page by page. False when nobody listens.
async fn hand_over(
    snapshot: &mut Snapshot,
    batches: Vec<RawBatch>,
    rows: &mut Rows,
    pages: &mpsc::Sender<Page>,
) -> Result<bool, Failure> {
    let (mut groups, mut held): (Vec<Group>, usize) = (Vec::new(), 0);
    for batch in batches {
        let joined = match rows.of(snapshot, &batch).await? {
            Ok(joined) => joined,
            Err(finding) => {
                // What comes before it is checked first.
                send(pages, Page::Groups(groups)).await;
                send(pages, Page::Finding(finding)).await;
                return Ok(false);
            }
        };
        held += joined.iter().map(weight).sum::<usize>();
        groups.push((batch, joined));
        if held >= PAGE_BYTES {
            held = 0;
            if !send(pages, Page::Groups(std::mem::take(&mut groups))).await {
                return Ok(false);
            }
        }
    }
    Ok(send(pages, Page::Groups(groups)).await)
}

async fn send(pages: &mpsc::Sender<Page>, page: Page) -> bool {
    pages.send(page).await.is_ok()
}

/// The rows of the log, read ahead by a page.
struct Rows {
    log: EventLog,
    read: VecDeque<Result<RawRow, Finding>>,
    size: PageSize,
    after: i64,
    head: i64,
}

impl Rows {
    /// What stands up to the end of a batch.
    async fn of(
        &mut self,
        snapshot: &mut Snapshot,
        batch: &RawBatch,
    ) -> Result<Result<Vec<RawRow>, Finding>, Failure> {
        // Such a batch is a finding by itself, and its rows need not be held.
        if !is_possible(batch) {
            return Ok(Ok(Vec::new()));
        }
        let mut rows = Vec::new();
        loop {
            match self.read.front() {
                Some(Ok(row)) if row.position > batch.last => return Ok(Ok(rows)),
                Some(_) => match self.read.pop_front() {
                    Some(Ok(row)) => rows.push(row),
                    Some(Err(finding)) => return Ok(Err(finding)),
                    None => {}
                },
                None if self.after >= self.head.min(batch.last) => return Ok(Ok(rows)),
                None => self.read_on(snapshot).await?,
            }
        }
    }

    async fn read_on(&mut self, snapshot: &mut Snapshot) -> Result<(), Failure> {
        let to = self.head.min(self.after + self.size.events());
        let rows =
            sqlx::query(ROWS).bind(self.after).bind(to).fetch_all(snapshot.connection()).await?;
        self.after = to;
        let mut read: Vec<_> = rows.iter().map(readable).collect::<Result<_, Failure>>()?;
        self.complete(&mut read).await?;
        self.size.learn(read.iter().map(|row| row.as_ref().map_or(0, weight)));
        self.read.extend(read);
        Ok(())
    }
}

impl Rows {
    /// Brings in the bodies that lie in archives. What an archive does not have as it was recorded
    /// is a finding, like any other row that was changed.
    async fn complete(&self, read: &mut [Result<RawRow, Finding>]) -> Result<(), Failure> {
        match self.log.complete_rows(read.iter_mut().flatten()).await {
            Ok(()) => return Ok(()),
            Err(ReadError::Archive(ArchiveError::Damaged { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        // One by one, so that all before the damaged one are looked at first.
        for row in read {
            let completed = self.log.complete_rows(row.iter_mut()).await;
            match completed {
                Ok(()) => {}
                Err(ReadError::Archive(error @ ArchiveError::Damaged { .. })) => {
                    let position = error.position();
                    *row = Err(Finding::changed(position, error.to_string()));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Roughly what a row takes in memory.
fn weight(row: &RawRow) -> usize {
    row.payload.len() + row.meta.len() + 500
}

fn readable(row: &PgRow) -> Result<Result<RawRow, Finding>, Failure> {
    let position: i64 = row.try_get("position")?;
    Ok(RawRow::from_row(row).map_err(|error| {
        Finding::changed(position, format!("the row cannot be read ({error}); it was edited"))
    }))
}

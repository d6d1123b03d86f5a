//! One call of `event_log.append_usage`: a batch laid out as the lists it takes, and its answer.

use crate::Position;
use crate::append::AppendError;
use crate::call::bind_events;
use crate::evidence::Prepared;
use crate::queue::UsageJob;
use crate::usage::{Place, UsageOutcome, UsageReceipt};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use std::ops::RangeInclusive;
use uuid::Uuid;

const CALL: &str = "call event_log.append_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
    $13, $14, $15, $16, $17, $18, $19, $20, null, null, null, null, null, null, null)";

/// What the database says became of the rows.
pub(crate) struct UsageAnswer {
    outcome: i16,
    positions: Vec<i64>,
    standing: Vec<Uuid>,
    first: Option<i64>,
    last: Option<i64>,
    recorded_at: DateTime<Utc>,
    /// The last position that has a place to go.
    pub(crate) room: i64,
}

/// Calls the log with one usage batch and drains the answer to its end.
pub(crate) async fn append_usage(
    connection: &mut PgConnection,
    barrier: &str,
    job: &UsageJob,
) -> Result<UsageAnswer, sqlx::Error> {
    let events: Vec<&Prepared> = job.events.iter().collect();
    let call = sqlx::query(CALL)
        .bind(barrier)
        .bind(job.batch.tenant)
        .bind(&job.batch.source)
        .bind(job.batch.command.map(|key| key.id))
        .bind(job.batch.command.map(|key| key.content_hash.to_vec()))
        .bind(&job.usage_ids)
        .bind(&job.contents);
    let rows = bind_events(call, &events).fetch_all(connection).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(UsageAnswer {
        outcome: row.try_get("outcome")?,
        positions: row.try_get::<Option<_>, _>("positions")?.unwrap_or_default(),
        standing: row.try_get::<Option<_>, _>("standing")?.unwrap_or_default(),
        first: row.try_get("first")?,
        last: row.try_get("last")?,
        recorded_at: row.try_get("recorded_at")?,
        room: row.try_get("room")?,
    })
}

impl UsageAnswer {
    /// The highest position of what was recorded now.
    pub(crate) fn last_recorded(&self) -> Option<i64> {
        self.last.filter(|_| self.outcome == 0)
    }

    /// Whether the next partition is missing.
    pub(crate) fn has_no_room(&self) -> bool {
        self.outcome == 6
    }

    /// What to tell whoever waits.
    pub(crate) fn receipt(&self, job: &UsageJob) -> Result<UsageReceipt, AppendError> {
        if let (5, Some(key)) = (self.outcome, job.batch.command) {
            return Err(AppendError::CommandReused { command_id: key.id });
        }
        // What this batch recorded, now or when it came first, is one run of positions.
        let own = self.first.zip(self.last).map(|(first, last)| first..=last);
        let outcomes: Vec<UsageOutcome> =
            job.places.iter().map(|place| self.outcome_of(place, own.as_ref())).collect();
        Ok(UsageReceipt {
            first_position: self.first.map(Position),
            last_position: self.last.map(Position),
            recorded_at: self.recorded_at,
            was_replayed: self.outcome == 1,
            outcomes,
        })
    }

    fn outcome_of(&self, place: &Place, own: Option<&RangeInclusive<i64>>) -> UsageOutcome {
        let value = self.positions.get(place.row).copied().unwrap_or_default();
        let position = Position(value);
        if self.standing.get(place.row) != Some(&place.content) {
            return UsageOutcome::Different { position };
        }
        if place.is_first && own.is_some_and(|own| own.contains(&value)) {
            return UsageOutcome::Recorded(position);
        }
        UsageOutcome::Repeated(position)
    }
}

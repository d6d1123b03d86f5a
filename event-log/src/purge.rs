//! Purge: bodies whose time is over are destroyed, and the proofs stay.
//!
//! The database does it in one transaction with the event that records it, and checks for itself
//! that it may (`migrations/0008_personal_data.sql`). Here is what may be purged, the call, and
//! what a verifier needs to tell a recorded purge from tampering.

use crate::append::{Append, AppendError, Condition, Receipt};
use crate::evidence::{Hash, Prepared, prepare};
use crate::{EventLog, Position, ReadError, StreamId};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The first bytes of what the digest of a purge covers: what it is and in which form.
const DIGEST_MAGIC: &[u8; 8] = b"OPSPURG1";

const CALL: &str = "select * from event_log.purge_bodies($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
    $11, $12, $13, $14, $15, $16, $17, $18, $19)";

/// An event whose body may be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// Where it stands.
    pub position: i64,
    /// Its id.
    pub event_id: Uuid,
    /// Its hash, which stays.
    pub event_hash: Vec<u8>,
}

/// What is to be purged.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Whose events.
    pub tenant: Uuid,
    /// The kind of record, as the policy and the database name it.
    pub kind: String,
    /// Where they stand, in order.
    pub positions: Vec<i64>,
    /// See [`digest`].
    pub digest: Hash,
}

/// SHA-256 over position, id and hash of each event, in order of position.
pub fn digest<'a>(events: impl IntoIterator<Item = (i64, Uuid, &'a [u8])>) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(DIGEST_MAGIC);
    for (position, event_id, event_hash) in events {
        hasher.update(position.to_be_bytes());
        hasher.update(event_id.as_bytes());
        hasher.update(event_hash);
    }
    hasher.finalize().into()
}

/// Events without bodies that a verifier has met and no recorded purge covers yet.
#[derive(Clone, Debug, Default)]
pub struct PurgedRows {
    uncovered: BTreeMap<i64, (Uuid, Hash)>,
    covered: u64,
}

impl PurgedRows {
    pub(crate) fn note(&mut self, position: i64, event_id: Uuid, hash: Hash) {
        self.uncovered.insert(position, (event_id, hash));
    }

    /// How many are covered by a recorded purge.
    #[must_use]
    pub const fn covered(&self) -> u64 {
        self.covered
    }

    /// The first that no recorded purge covers.
    #[must_use]
    pub fn first_uncovered(&self) -> Option<Position> {
        self.uncovered.first_key_value().map(|(position, _)| Position(*position))
    }

    /// Takes away what a purge covers; the first position where it is wrong, if it is.
    pub(crate) fn cover(&mut self, runs: &[(i64, i64)], expected: &Hash) -> Result<(), Position> {
        let mut events = Vec::new();
        for (first, last) in runs.iter().filter(|(first, last)| first <= last) {
            let inside = self.uncovered.range(*first..=*last);
            events.extend(inside.map(|(position, (id, hash))| (*position, *id, *hash)));
        }
        let found = digest(events.iter().map(|(position, id, hash)| (*position, *id, &hash[..])));
        if found != *expected {
            return Err(Position(runs.first().map_or(0, |(first, _)| *first)));
        }
        for (position, _, _) in &events {
            self.uncovered.remove(position);
            self.covered += 1;
        }
        Ok(())
    }
}

impl EventLog {
    /// The first events of a stream and a tenant that were recorded before a moment and still have
    /// their bodies, without those of anybody who is under a legal hold.
    pub async fn purgeable(
        &self,
        stream: &StreamId,
        tenant: Uuid,
        before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Purgeable>, ReadError> {
        let rows = sqlx::query(
            "select l.position, l.event_id, l.event_hash from event_log.log l
              where l.stream = $1 and l.tenant = $2 and l.recorded_at < $3
                and l.payload_commit is null and l.subjects = '{}'
                and not exists (select from event_log.standing_holds() h
                                 where strpos(l.actor, h.target) > 0)
              order by l.stream_version limit $4",
        )
        .bind(stream.as_str())
        .bind(tenant)
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.pool())
        .await?;
        let read = |row: &PgRow| {
            Ok(Purgeable {
                position: row.try_get(0)?,
                event_id: row.try_get(1)?,
                event_hash: row.try_get(2)?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<Vec<_>, sqlx::Error>>()?)
    }

    /// The legal holds that stand: on whom or what, and whose history they belong to.
    pub async fn standing_holds(&self) -> Result<Vec<(String, Uuid)>, ReadError> {
        let sql = "select target, tenant from event_log.standing_holds() order by target";
        Ok(sqlx::query_as(sql).fetch_all(self.pool()).await?)
    }

    /// Whom or what the legal holds are on that keep the records of a tenant: its own, and all of
    /// them where no tenant is named, because what belongs to nobody may tell of everybody.
    pub async fn holds_over(&self, tenant: Uuid) -> Result<Vec<String>, ReadError> {
        let mut connection = self.pool().acquire().await?;
        Ok(holds_over(&mut connection, tenant).await?)
    }

    /// Destroys bodies and appends the one event of `append` that records it, both or neither.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when a hold stands over them or they may not go for another reason,
    /// which it names.
    pub async fn purge(&self, purge: Purge, append: Append) -> Result<Receipt, AppendError> {
        self.check_halt()?;
        append.check()?;
        let unavailable = |error| AppendError::Unavailable(Arc::new(error));
        let refused = |what: &str| AppendError::Refused(what.to_owned());
        let (command, tenant) = (append.command, append.tenant);
        let mut streams: Vec<(StreamId, i64)> = Vec::new();
        for condition in append.conditions {
            match condition {
                Condition::StreamVersion { stream, version } => streams.push((stream, version)),
                Condition::NoneSince { .. } => {
                    return Err(refused("a purge relies on versions only"));
                }
            }
        }
        let prepared = prepare(append.events).map_err(|error| refused(&error.to_string()))?;
        let [event] = &prepared[..] else {
            return Err(refused("a purge is recorded by exactly one event"));
        };
        streams.sort_by_key(|(stream, _)| event.event.stream.as_ref() != Some(stream));
        let mut connection = self.pool().acquire().await.map_err(unavailable)?;
        let mut transaction = connection.begin().await.map_err(unavailable)?;
        let call = bind(sqlx::query(CALL), &purge, (command, &streams), event);
        let row = call.fetch_one(&mut *transaction).await.map_err(of_call)?;
        let answer = Answer::of(&row).map_err(unavailable)?;
        if answer.outcome == 0 {
            // The database looks for holds of the tenant. Those of others that stand over it are
            // looked for here: the turn to append is ours, so that none is placed meanwhile.
            let holds = holds_over(&mut transaction, purge.tenant).await.map_err(unavailable)?;
            if let Some(target) = holds.first() {
                transaction.rollback().await.map_err(unavailable)?;
                return Err(refused(&format!("a legal hold on {target} stands")));
            }
        }
        transaction.commit().await.map_err(unavailable)?;
        if let Some(last) = answer.last {
            self.on_disk().reaches(Position(last));
        }
        answer.receipt(command.id, tenant, event.event.event_id)
    }
}

async fn holds_over(
    connection: &mut PgConnection,
    tenant: Uuid,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = "select target from event_log.standing_holds()
                where tenant = $1 or $1 = $2 order by target";
    sqlx::query_scalar(sql).bind(tenant).bind(Uuid::nil()).fetch_all(connection).await
}

type Call<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind<'q>(
    call: Call<'q>,
    purge: &'q Purge,
    (command, streams): (crate::CommandKey, &'q [(StreamId, i64)]),
    event: &'q Prepared,
) -> Call<'q> {
    call.bind(purge.tenant)
        .bind(&purge.kind)
        .bind(&purge.positions)
        .bind(purge.digest.as_slice())
        .bind(command.id)
        .bind(command.content_hash.to_vec())
        .bind(streams.iter().map(|(stream, _)| stream.as_str()).collect::<Vec<_>>())
        .bind(streams.iter().map(|(_, version)| *version).collect::<Vec<_>>())
        .bind(event.event.schema_version)
        .bind(event.event.event_id)
        .bind(event.event.occurred_at)
        .bind(&event.event.actor)
        .bind(event.event.causation)
        .bind(event.event.correlation)
        .bind(&event.event.meta)
        .bind(&event.event.payload)
        .bind(event.meta_salt.as_slice())
        .bind(event.payload_salt.as_slice())
        .bind(event.hash.as_slice())
}

/// What the database refuses on purpose says so; everything else leaves the outcome unknown.
fn of_call(error: sqlx::Error) -> AppendError {
    // object_not_in_prerequisite_state
    let message = error
        .as_database_error()
        .filter(|error| error.code().as_deref() == Some("55000"))
        .map(|error| error.message().to_owned());
    message.map_or_else(|| AppendError::Unavailable(Arc::new(error)), AppendError::Refused)
}

struct Answer {
    outcome: i16,
    first: Option<i64>,
    last: Option<i64>,
    time: Option<DateTime<Utc>>,
    detail: Option<String>,
    number: Option<i64>,
}

impl Answer {
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            outcome: only(row, "outcomes")?.ok_or(sqlx::Error::RowNotFound)?,
            first: only(row, "firsts")?,
            last: only(row, "lasts")?,
            time: only(row, "times")?,
            detail: only(row, "details")?,
            number: only(row, "numbers")?,
        })
    }

    fn receipt(
        self,
        command_id: Uuid,
        tenant: Uuid,
        event_id: Uuid,
    ) -> Result<Receipt, AppendError> {
        let detail = self.detail.unwrap_or_default();
        let number = self.number.unwrap_or_default();
        let refused = |what: String| AppendError::Refused(what);
        match self.outcome {
            0 | 1 => {
                let was_replayed = self.outcome == 1;
                let stored = || detail.trim_matches(['{', '}']).parse().map(|id| vec![id]);
                let event_ids = match was_replayed {
                    true => stored().unwrap_or_default(),
                    false => vec![event_id],
                };
                let missing = || refused("a receipt without positions".to_owned());
                Ok(Receipt {
                    command_id,
                    tenant,
                    first_position: Position(self.first.ok_or_else(missing)?),
                    last_position: Position(self.last.ok_or_else(missing)?),
                    recorded_at: self.time.ok_or_else(missing)?,
                    event_ids,
                    was_replayed,
                })
            }
            2 => Err(AppendError::Conflict {
                stream: StreamId::parse(&detail).map_err(|error| refused(error.to_string()))?,
                expected: self.first.unwrap_or_default(),
                actual: number,
            }),
            5 => Err(AppendError::CommandReused { command_id }),
            // The next partition is made ahead of time; until it is there, come back.
            6 => Err(AppendError::Busy),
            other => Err(refused(format!("unknown outcome {other}"))),
        }
    }
}

/// The one entry of a list that answers for one command.
fn only<'r, T>(row: &'r PgRow, name: &str) -> Result<Option<T>, sqlx::Error>
where
    Vec<Option<T>>: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let list: Option<Vec<Option<T>>> = row.try_get(name)?;
    Ok(list.and_then(|list| list.into_iter().next()).flatten())
}

//! One call of `event_log.append`: commands laid out as the lists it takes, and its answer.

use crate::append::{AppendError, ClaimChange, Condition, Receipt, SEPARATOR};
use crate::evidence::Prepared;
use crate::queue::CommandJob;
use crate::{Position, StreamId};
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use std::collections::HashMap;
use uuid::Uuid;

const CALL: &str = "call event_log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
    $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, \
    null, null, null, null, null, null, null)";

pub(crate) type Call<'q> = Query<'q, Postgres, PgArguments>;

/// What the database says became of the commands.
pub(crate) struct Answer {
    outcomes: Vec<i16>,
    firsts: Vec<Option<i64>>,
    lasts: Vec<Option<i64>>,
    times: Vec<Option<DateTime<Utc>>>,
    details: Vec<Option<String>>,
    numbers: Vec<Option<i64>>,
    /// The last position that has a place to go.
    pub(crate) room: i64,
}

/// Conditions and claims of a group. Streams are named once and referred to by number; conditions
/// on tags and claims are those of the first command, which alone may have any.
#[derive(Default)]
struct Demands<'a> {
    numbers: HashMap<&'a str, i32>,
    stream_names: Vec<&'a str>,
    version_of: Vec<i32>,
    version_streams: Vec<i32>,
    versions: Vec<i64>,
    absence_types: Vec<Option<String>>,
    absence_tags: Vec<String>,
    absence_after: Vec<i64>,
    claim_takes: Vec<bool>,
    claim_scopes: Vec<&'a str>,
    claim_values: Vec<&'a [u8]>,
    claim_holders: Vec<&'a str>,
}

impl<'a> Demands<'a> {
    fn of(jobs: &'a [CommandJob]) -> Self {
        let mut demands = Self::default();
        for (number, job) in (1..).zip(jobs) {
            for condition in &job.append.conditions {
                demands.condition(number, condition);
            }
            for claim in &job.append.claims {
                let (scope, value, holder) = claim.parts();
                demands.claim_takes.push(matches!(claim, ClaimChange::Take { .. }));
                demands.claim_scopes.push(scope);
                demands.claim_values.push(value);
                demands.claim_holders.push(holder);
            }
        }
        demands
    }

    /// The number that stands for a stream in this call.
    fn stream(&mut self, stream: &'a StreamId) -> i32 {
        let name = stream.as_str();
        let next = i32::try_from(self.stream_names.len() + 1).unwrap_or(i32::MAX);
        *self.numbers.entry(name).or_insert_with(|| {
            self.stream_names.push(name);
            next
        })
    }

    fn condition(&mut self, number: i32, condition: &'a Condition) {
        match condition {
            Condition::StreamVersion { stream, version } => {
                let stream = self.stream(stream);
                self.version_of.push(number);
                self.version_streams.push(stream);
                self.versions.push(*version);
            }
            Condition::NoneSince { types, tags, after } => {
                self.absence_types.push((!types.is_empty()).then(|| types.join(SEPARATOR)));
                self.absence_tags.push(tags.join(SEPARATOR));
                self.absence_after.push(after.0);
            }
        }
    }

    fn bind<'q>(self, call: Call<'q>) -> Call<'q>
    where
        'a: 'q,
    {
        call.bind(self.stream_names)
            .bind(self.version_of)
            .bind(self.version_streams)
            .bind(self.versions)
            .bind(self.absence_types)
            .bind(self.absence_tags)
            .bind(self.absence_after)
            .bind(self.claim_takes)
            .bind(self.claim_scopes)
            .bind(self.claim_values)
            .bind(self.claim_holders)
    }
}

/// Calls the log with a group of commands. The answer is drained to its end: its row may come
/// before the last commit.
pub(crate) async fn append(
    connection: &mut PgConnection,
    barrier: &str,
    jobs: &[CommandJob],
) -> Result<Answer, sqlx::Error> {
    let events: Vec<&Prepared> = jobs.iter().flat_map(|job| &job.events).collect();
    let count = |job: &CommandJob| i32::try_from(job.events.len()).unwrap_or(i32::MAX);
    let mut demands = Demands::of(jobs);
    let streams: Vec<Option<i32>> = events
        .iter()
        .map(|e| e.event.stream.as_ref().map(|stream| demands.stream(stream)))
        .collect();
    // Most groups carry no tags at all, and then the list is empty.
    let tags: Vec<Option<String>> = match events.iter().any(|e| !e.event.tags.is_empty()) {
        true => events.iter().map(|e| joined_tags(e)).collect(),
        false => Vec::new(),
    };
    let keys = jobs.iter().map(|job| &job.append.command);
    let call = sqlx::query(CALL)
        .bind(barrier)
        .bind(keys.clone().map(|key| key.id).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.append.tenant).collect::<Vec<_>>())
        .bind(keys.map(|key| key.content_hash.as_slice()).collect::<Vec<_>>())
        .bind(jobs.iter().map(count).collect::<Vec<_>>());
    let call = demands
        .bind(call)
        .bind(events.iter().map(|e| e.event.tenant).collect::<Vec<_>>())
        .bind(streams);
    let rows = bind_events(call, &events).bind(tags).fetch_all(connection).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    answer(row)
}

fn joined_tags(prepared: &Prepared) -> Option<String> {
    let tags = &prepared.event.tags;
    (!tags.is_empty()).then(|| tags.join(SEPARATOR))
}

/// Binds the columns that commands and usage share, in the order both procedures take them.
pub(crate) fn bind_events<'q>(call: Call<'q>, events: &[&'q Prepared]) -> Call<'q> {
    fn column<'q, T>(events: &[&'q Prepared], value: impl Fn(&'q Prepared) -> T) -> Vec<T> {
        events.iter().map(|event| value(event)).collect()
    }
    call.bind(column(events, |e| &*e.event.type_name))
        .bind(column(events, |e| e.event.schema_version))
        .bind(column(events, |e| e.event.event_id))
        .bind(column(events, |e| e.event.occurred_at))
        .bind(column(events, |e| &*e.event.actor))
        .bind(column(events, |e| e.event.causation))
        .bind(column(events, |e| e.event.correlation))
        .bind(column(events, |e| &*e.event.meta))
        .bind(column(events, |e| &*e.event.payload))
        .bind(column(events, |e| e.meta_salt.as_slice()))
        .bind(column(events, |e| e.payload_salt.as_slice()))
        .bind(column(events, |e| subject_list(&e.event.subjects)))
        .bind(column(events, |e| e.hash.as_slice()))
}

/// Key references as the text of an array: a list of lists of uneven length has no other form.
fn subject_list(subjects: &[Uuid]) -> Option<String> {
    let names: Vec<String> = subjects.iter().map(Uuid::to_string).collect();
    (!names.is_empty()).then(|| format!("{{{}}}", names.join(",")))
}

fn answer(row: &PgRow) -> Result<Answer, sqlx::Error> {
    fn list<'r, T>(row: &'r PgRow, name: &str) -> Result<Vec<T>, sqlx::Error>
    where
        Vec<T>: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        Ok(row.try_get::<Option<Vec<T>>, _>(name)?.unwrap_or_default())
    }
    Ok(Answer {
        outcomes: list(row, "outcomes")?,
        firsts: list(row, "firsts")?,
        lasts: list(row, "lasts")?,
        times: list(row, "times")?,
        details: list(row, "details")?,
        numbers: list(row, "numbers")?,
        room: row.try_get("room")?,
    })
}

/// What an answer means for one command, before it is told to whoever waits.
pub(crate) enum Verdict {
    Known(Result<Receipt, AppendError>),
    /// The next partition is missing.
    NoRoom {
        capacity: i64,
    },
}

impl Answer {
    /// The highest position of what was recorded now.
    pub(crate) fn last_recorded(&self) -> Option<i64> {
        let recorded = self.outcomes.iter().zip(&self.lasts).filter(|(code, _)| **code == 0);
        recorded.filter_map(|(_, last)| *last).max()
    }

    /// Reads what became of the command at `index`.
    pub(crate) fn verdict(&self, index: usize, job: &CommandJob) -> Result<Verdict, sqlx::Error> {
        let number = |list: &[Option<i64>]| list.get(index).copied().flatten().unwrap_or_default();
        let detail = self.details.get(index).and_then(Option::as_deref).unwrap_or_default();
        let outcome = match self.outcomes.get(index).copied() {
            Some(0) => Ok(self.receipt(index, job, false, event_ids_of(job))?),
            Some(1) => Ok(self.receipt(index, job, true, parse_ids(detail)?)?),
            Some(2) => Err(AppendError::Conflict {
                stream: StreamId::parse(detail).map_err(decode)?,
                expected: number(&self.firsts),
                actual: number(&self.numbers),
            }),
            Some(3) => {
                Err(AppendError::ConditionFailed { position: Position(number(&self.numbers)) })
            }
            Some(4) => {
                let (scope, holder) = detail.split_once(SEPARATOR).unwrap_or((detail, ""));
                let (scope, holder) = (scope.to_owned(), holder.to_owned());
                Err(AppendError::ClaimTaken { scope, holder })
            }
            Some(5) => Err(AppendError::CommandReused { command_id: job.append.command.id }),
            Some(6) => {
                return Ok(Verdict::NoRoom { capacity: number(&self.numbers) });
            }
            other => return Err(decode(format!("unknown outcome {other:?}"))),
        };
        Ok(Verdict::Known(outcome))
    }

    fn receipt(
        &self,
        index: usize,
        job: &CommandJob,
        was_replayed: bool,
        event_ids: Vec<Uuid>,
    ) -> Result<Receipt, sqlx::Error> {
        let missing = || decode("a receipt without positions");
        Ok(Receipt {
            command_id: job.append.command.id,
            tenant: job.append.tenant,
            first_position: Position(
                self.firsts.get(index).copied().flatten().ok_or_else(missing)?,
            ),
            last_position: Position(self.lasts.get(index).copied().flatten().ok_or_else(missing)?),
            recorded_at: self.times.get(index).copied().flatten().ok_or_else(missing)?,
            event_ids,
            was_replayed,
        })
    }
}

fn event_ids_of(job: &CommandJob) -> Vec<Uuid> {
    job.events.iter().map(|prepared| prepared.event.event_id).collect()
}

/// Reads the text form of an array of ids.
fn parse_ids(text: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let inner = text.trim_matches(['{', '}']);
    inner.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().map_err(decode)).collect()
}

fn decode(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

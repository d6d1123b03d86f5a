//! What the tests say to a log: short words for events, commands and usage.

use chrono::{DateTime, Utc};
use event_log::{
    Append, AppendError, ClaimChange, CommandKey, CommitMode, Condition, EventLog, NewEvent,
    Position, Receipt, StreamId, UsageBatch, UsageRecord, verify::Verifier,
};
use uuid::Uuid;

/// The ways to commit; every promise holds in each.
pub(crate) const MODES: [CommitMode; 3] =
    [CommitMode::Barrier, CommitMode::Synchronous, CommitMode::Adaptive];

pub(crate) const TENANT: Uuid = Uuid::from_u128(7);

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::new("thing", name).unwrap()
}

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00.123456789Z".parse().unwrap()
}

/// An event without a stream.
pub(crate) fn loose(payload: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent {
        tenant: TENANT,
        stream: None,
        type_name: "happened".into(),
        schema_version: 1,
        event_id: Uuid::now_v7(),
        occurred_at: noon(),
        actor: "user/ada".to_owned(),
        causation: None,
        correlation: None,
        meta: Vec::new(),
        payload: payload.into(),
        tags: Vec::new(),
        subjects: Vec::new(),
    }
}

/// An event of a stream.
pub(crate) fn on(name: &str, payload: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent { stream: Some(stream(name)), ..loose(payload) }
}

pub(crate) fn tagged(event: NewEvent, tags: &[&str]) -> NewEvent {
    NewEvent { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..event }
}

/// A command with a fresh id and no conditions.
pub(crate) fn command(events: Vec<NewEvent>) -> Append {
    Append {
        command: CommandKey { id: Uuid::now_v7(), content_hash: [1; 32] },
        tenant: TENANT,
        conditions: Vec::new(),
        claims: Vec::new(),
        events,
    }
}

pub(crate) fn expecting(name: &str, version: i64, mut append: Append) -> Append {
    append.conditions.push(Condition::StreamVersion { stream: stream(name), version });
    append
}

pub(crate) fn unless(types: &[&str], tags: &[&str], after: Position, mut append: Append) -> Append {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let condition = Condition::NoneSince { types: owned(types), tags: owned(tags), after };
    append.conditions.push(condition);
    append
}

pub(crate) fn taking(value: u8, holder: &str, mut append: Append) -> Append {
    append.claims.push(ClaimChange::Take {
        scope: "email".to_owned(),
        value_hash: [value; 32],
        holder: holder.to_owned(),
    });
    append
}

pub(crate) fn releasing(value: u8, holder: &str, mut append: Append) -> Append {
    append.claims.push(ClaimChange::Release {
        scope: "email".to_owned(),
        value_hash: [value; 32],
        holder: holder.to_owned(),
    });
    append
}

/// Usage records of one source, from (id, payload) pairs.
pub(crate) fn usage(source: &str, records: &[(&str, &str)]) -> UsageBatch {
    let record = |(id, payload): &(&str, &str)| {
        let mut content_hash = [0; 32];
        for (slot, byte) in content_hash.iter_mut().zip(payload.bytes()) {
            *slot = byte;
        }
        UsageRecord { usage_id: (*id).to_owned(), content_hash, event: loose(*payload) }
    };
    UsageBatch {
        tenant: TENANT,
        source: source.to_owned(),
        records: records.iter().map(record).collect(),
        command: None,
    }
}

pub(crate) async fn accepted(log: &EventLog, append: Append) -> Receipt {
    log.append(append).await.unwrap()
}

pub(crate) async fn refused(log: &EventLog, append: Append) -> AppendError {
    log.append(append).await.unwrap_err()
}

/// Recomputes every hash and the chain; answers the position up to which all of it holds, which
/// must be the head.
pub(crate) async fn verified(log: &EventLog) -> Position {
    let mut verifier = Verifier::new();
    loop {
        let batches = log.batches(verifier.position(), 500).await.unwrap();
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            let rows = log.raw_rows_of(&batch).await.unwrap();
            verifier.batch(&batch, &rows).unwrap();
        }
    }
    let beyond = log.raw_rows(verifier.position(), 1).await.unwrap();
    assert!(beyond.is_empty(), "rows that no batch covers");
    assert_eq!(verifier.position(), log.head().await.unwrap());
    let astray: i64 = sqlx::query_scalar(
        "select count(*) from event_log.stream_head h
           full join (select stream, max(stream_version) as version, max(position) as position
                        from event_log.log where stream is not null group by stream) l
             on l.stream = h.stream and l.version = h.version and l.position = h.position
          where h.stream is null or l.stream is null",
    )
    .fetch_one(log.pool())
    .await
    .unwrap();
    assert_eq!(astray, 0, "heads that are not those of their streams");
    verifier.position()
}

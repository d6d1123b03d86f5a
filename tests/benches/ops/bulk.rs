//! Bulk usage through the log, against COPY into a table with only a primary key.
//!
//! Both send 1,000 rows at a time and wait for each to be on disk. The log also gives every record
//! its position, keeps its identity unique for ever, hashes it and extends the chain.

use crate::append::new_event;
use crate::cluster::Cluster;
use crate::report::{Report, Target};
use domain::Event;
use domain::metering::{Event as UsageEvent, UsageRecorded};
use event_log::{EventLog, UsageBatch, UsageRecord};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;
use std::fmt::Write as _;
use std::time::Instant;
use uuid::Uuid;

const ROUNDS: usize = 5;
const BATCHES: usize = 60;
const BATCH: usize = 1_000;

/// A table with the columns of the log and only a primary key.
const ONLY_A_KEY: &str = "
    drop table if exists bulk;
    create table bulk (
        position bigint primary key, tenant uuid not null, stream text, stream_version bigint,
        type text not null, schema_version smallint not null, event_id uuid not null,
        recorded_at timestamptz not null, occurred_at timestamptz not null, actor text not null,
        causation uuid, correlation uuid, meta bytea not null, payload bytea not null,
        meta_salt bytea not null, payload_salt bytea not null, subjects uuid[] not null,
        event_hash bytea not null);";

/// A record of one call.
pub(crate) fn usage(number: usize) -> Event {
    let tokens = u64::try_from(number % 4_000).unwrap_or(0);
    let recorded = UsageRecorded {
        source: "bench".parse().expect("a text"),
        usage_id: format!("{number:012}").parse().expect("a text"),
        model: Some("gpt-4o".parse().expect("a model name")),
        power: Default::default(),
        quantities: [
            ("llm_tokens_input".parse().expect("a code"), tokens + 1),
            ("llm_tokens_output".parse().expect("a code"), tokens / 4 + 1),
        ]
        .into(),
    };
    UsageEvent::from(recorded).into()
}

fn batch(tenant: Uuid, first: usize) -> UsageBatch {
    let now = "2026-11-21T08:00:00Z".parse().expect("a moment");
    let records = (first..first + BATCH)
        .map(|number| {
            let event = new_event(tenant, None, &usage(number), now);
            UsageRecord {
                usage_id: format!("{number:012}"),
                content_hash: Sha256::digest(&event.payload).into(),
                event,
            }
        })
        .collect();
    UsageBatch { tenant, source: "bench".to_owned(), records, command: None }
}

/// What one round appends.
pub(crate) fn batches(tenant: Uuid) -> Vec<UsageBatch> {
    (0..BATCHES).map(|n| batch(tenant, n * BATCH)).collect()
}

async fn through_log(log: &EventLog, tenant: Uuid) -> f64 {
    let batches = batches(tenant);
    let begun = Instant::now();
    for batch in batches {
        log.append_usage(batch).await.expect("a batch");
    }
    per_second(begun)
}

/// Rows a second of a round.
pub(crate) fn per_second(begun: Instant) -> f64 {
    let rows = u32::try_from(BATCHES * BATCH).map(f64::from).unwrap_or_default();
    rows / begun.elapsed().as_secs_f64()
}

pub(crate) async fn copy_rate(connection: &mut PgConnection, round: usize) -> f64 {
    let texts: Vec<String> = (0..BATCHES).map(|n| copy_text(round, n)).collect();
    let begun = Instant::now();
    for text in texts {
        let mut copy = connection.copy_in_raw("copy bulk from stdin").await.expect("to copy");
        copy.send(text.into_bytes()).await.expect("to send");
        copy.finish().await.expect("to finish");
    }
    per_second(begun)
}

fn copy_text(round: usize, number: usize) -> String {
    let mut text = String::new();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    for row in 0..BATCH {
        let position = (round * BATCHES + number) * BATCH + row + 1;
        let payload = hex(&usage(position).encode().expect("a payload"));
        let (id, salt, hash) = (Uuid::now_v7(), hex(&[7; 16]), hex(&[7; 32]));
        let _ = writeln!(
            text,
            "{position}\t{id}\t\\N\t\\N\tusage_recorded\t1\t{id}\t2026-11-21T08:00:00Z\t\
             2026-11-21T08:00:00Z\tsystem/bench\t{id}\t\\N\t\\\\x\t\\\\x{payload}\t\\\\x{salt}\t\
             \\\\x{salt}\t{{}}\t\\\\x{hash}"
        );
    }
    text
}

/// An empty table to copy into, and a connection.
pub(crate) async fn prepare_copy(cluster: &Cluster) -> PgConnection {
    cluster.run(ONLY_A_KEY).await;
    cluster.connect().await
}

pub(crate) async fn through_the_log(cluster: &Cluster, report: &mut Report) {
    let mut connection = prepare_copy(cluster).await;
    let log = cluster.log().await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let copy = copy_rate(&mut connection, round).await;
        cluster.settle().await;
        rounds.push((copy, through_log(&log, Uuid::now_v7()).await));
        cluster.settle().await;
    }
    report.ratio("bulk usage through the log", "rows/s", &rounds, Target::AtLeast(0.6));
    log.close().await;
}

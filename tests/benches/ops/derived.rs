//! Read models: how fast each is rebuilt, and how far they lag behind a busy log.

use crate::append::{new_event, organization, spend};
use crate::bulk::usage;
use crate::cluster::Cluster;
use crate::report::{Report, Target, percentile};
use commands::Executor;
use domain::Event;
use domain::metering::Event as UsageEvent;
use event_log::{EventLog, NewEvent, UsageBatch, UsageRecord};
use futures_util::StreamExt;
use futures_util::future::join_all;
use projections::rebuild::{Promote, rebuild};
use projections::{Runtime, Takes, definitions};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many usage events the log of the rebuilds holds.
const EVENTS: usize = 1_000_000;
/// Over how many organizations and models they are spread: 5,000 wide keys.
const ORGANIZATIONS: usize = 50;
const MODELS: usize = 100;
/// How many spends are among them.
const SPENDS: usize = 100_000;

/// A batch of calls of many models, within one hour.
fn batch(tenant: Uuid, source: &str, first: usize, size: usize) -> UsageBatch {
    let (cause, at) = (Uuid::now_v7(), "2026-11-21T08:00:00Z".parse().expect("a moment"));
    let records = (first..first + size)
        .map(|number| {
            let mut event = usage(number);
            if let Event::Usage(UsageEvent::UsageRecorded(recorded)) = &mut event {
                let model = format!("model-{}", number % MODELS);
                recorded.model = Some(model.parse().expect("a model name"));
            }
            // The records of a batch have one cause, as they do behind the real doors.
            let event = NewEvent { causation: Some(cause), ..new_event(tenant, None, &event, at) };
            let usage_id = format!("{number:012}");
            let content_hash = Sha256::digest(&event.payload).into();
            UsageRecord { usage_id, content_hash, event }
        })
        .collect();
    UsageBatch { tenant, source: source.to_owned(), records, command: None }
}

/// Fills a log with usage of many organizations.
async fn fill(log: &EventLog) {
    let tenants: Vec<Uuid> = (0..ORGANIZATIONS).map(|_| Uuid::now_v7()).collect();
    for number in 0..EVENTS / 1_000 {
        let tenant = tenants[number % ORGANIZATIONS];
        let batch = batch(tenant, "fill", number * 1_000, 1_000);
        log.append_usage(batch).await.expect("a batch");
    }
}

fn per_second(events: usize, time: Duration) -> f64 {
    u32::try_from(events).map(f64::from).unwrap_or_default() / time.as_secs_f64()
}

/// The events of a log that a read model takes: their names, and how many there are.
async fn taken(log: &EventLog, takes: Takes) -> (Vec<String>, usize) {
    let sql = "select type, count(*) from event_log.log group by type order by type";
    let all: Vec<(String, i64)> =
        sqlx::query_as(sql).fetch_all(log.pool()).await.expect("the names of events");
    let taken: Vec<_> = all.into_iter().filter(|(name, _)| takes.includes(name)).collect();
    let count = taken.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(0)).sum();
    (taken.into_iter().map(|(name, _)| name).collect(), count)
}

/// How fast the server hands out the same rows.
async fn copy_out_rate(log: &EventLog, names: &[String], events: usize) -> f64 {
    // Names of events are words of our own.
    let names = names.join("', '");
    let sql = format!(
        "copy (select * from event_log.log where type in ('{names}') order by position) to stdout"
    );
    let mut connection = log.pool().acquire().await.expect("a connection");
    let begun = Instant::now();
    let mut rows = connection.copy_out_raw(&sql).await.expect("to copy out");
    let mut bytes = 0_usize;
    while let Some(chunk) = rows.next().await {
        bytes += chunk.expect("a chunk").len();
    }
    assert!(bytes > events, "the rows were copied out");
    per_second(events, begun.elapsed())
}

/// A log of usage of many organizations, and spends of as many.
pub(crate) async fn rebuilds_of_usage(report: &mut Report) {
    let cluster = Cluster::start("rebuild").await;
    let executor = cluster.executor().await;
    let log = executor.log().clone();
    fill(&log).await;
    spend_much(&executor).await;
    cluster.run("vacuum analyze event_log.log").await;
    rebuilds(report, &log).await;
    log.close().await;
    cluster.stop();
}

/// A hundred thousand spends, of 50 organizations at once.
async fn spend_much(executor: &Executor) {
    let spenders = (0..ORGANIZATIONS).map(|_| async {
        let organization = organization(executor).await;
        for _ in 0..SPENDS / ORGANIZATIONS {
            executor.execute(spend(organization)).await.expect("a spend");
        }
    });
    join_all(spenders).await;
}

/// Rebuilds every read model that takes enough of a log's events to tell.
pub(crate) async fn rebuilds(report: &mut Report, log: &EventLog) {
    let runtime = Runtime::start(log).await.expect("the projections");
    let head = log.head().await.expect("the head");
    let all: Vec<&str> = definitions().iter().map(|definition| definition.name).collect();
    let patience = Duration::from_secs(600);
    runtime.progress().wait(&all, head, patience).await.expect("to catch up");
    runtime.stop().await;
    for definition in definitions() {
        let (names, events) = taken(log, definition.takes).await;
        if events < 1_000 {
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let copied = copy_out_rate(log, &names, events).await;
            let begun = Instant::now();
            let rebuilt = rebuild(log, &definition, Promote::IfEqual, &mut |_, _| {}).await;
            assert!(rebuilt.expect("a rebuild").promoted, "{} differs", definition.name);
            rounds.push((copied, per_second(events, begun.elapsed())));
        }
        let name = format!("rebuild {}: {events} events, of COPY TO STDOUT", definition.name);
        report.ratio(&name, "events/s", &rounds, Target::AtLeast(0.25));
    }
}

/// How long after its acknowledgement an event is in every read model, at 5,000 events a second.
pub(crate) async fn lag(report: &mut Report) {
    let cluster = Cluster::start("lag").await;
    let log = cluster.log().await;
    let runtime = Runtime::start(&log).await.expect("the projections");
    let all: Vec<&'static str> = definitions().iter().map(|definition| definition.name).collect();
    let tenant = Uuid::now_v7();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut waits = Vec::new();
    for number in 0..500 {
        ticks.tick().await;
        let batch = batch(tenant, "lag", number * 100, 100);
        let receipt = log.append_usage(batch).await.expect("a batch");
        if number % 5 == 0 {
            let (progress, all) = (runtime.progress(), all.clone());
            let position = receipt.last_position.expect("new events");
            waits.push(tokio::spawn(async move {
                let begun = Instant::now();
                let patience = Duration::from_secs(60);
                progress.wait(&all, position, patience).await.expect("to be taken in");
                begun.elapsed()
            }));
        }
    }
    let mut lags = Vec::new();
    for wait in waits {
        lags.push(wait.await.expect("a wait"));
    }
    lags.sort();
    let millis = |share| percentile(&lags, share).as_micros();
    report.figure(
        "lag of all read models at 5,000 events/s, p50 and p99",
        &format!("{} µs and {} µs", millis(50), millis(99)),
    );
    runtime.stop().await;
    log.close().await;
    cluster.stop();
}

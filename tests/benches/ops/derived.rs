//! Read models: how fast each is rebuilt, and how far they lag behind a busy log.

use crate::append::new_event;
use crate::bulk::usage;
use crate::cluster::Cluster;
use crate::report::{Report, Target, percentile};
use domain::Event;
use domain::metering::Event as UsageEvent;
use event_log::{EventLog, UsageBatch, UsageRecord};
use futures_util::StreamExt;
use projections::rebuild::{Promote, rebuild};
use projections::{Runtime, definitions};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many usage events the log of the rebuilds holds.
const EVENTS: usize = 1_000_000;
/// Over how many organizations and models they are spread: 5,000 wide keys.
const ORGANIZATIONS: usize = 50;
const MODELS: usize = 100;

/// A batch of calls of many models, within one hour.
fn batch(tenant: Uuid, source: &str, first: usize, size: usize) -> UsageBatch {
    let at = "2026-11-21T08:00:00Z".parse().expect("a moment");
    let records = (first..first + size)
        .map(|number| {
            let mut event = usage(number);
            if let Event::Usage(UsageEvent::UsageRecorded(recorded)) = &mut event {
                let model = format!("model-{}", number % MODELS);
                recorded.model = Some(model.parse().expect("a model name"));
            }
            let event = new_event(tenant, None, &event, at);
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

/// How fast the server hands out the same rows.
async fn copy_out_rate(cluster: &Cluster, events: usize) -> f64 {
    let mut connection = cluster.connect().await;
    let begun = Instant::now();
    let mut rows = connection
        .copy_out_raw("copy (select * from event_log.log order by position) to stdout")
        .await
        .expect("to copy out");
    let mut bytes = 0_usize;
    while let Some(chunk) = rows.next().await {
        bytes += chunk.expect("a chunk").len();
    }
    assert!(bytes > events, "the log was copied out");
    per_second(events, begun.elapsed())
}

pub(crate) async fn rebuilds(report: &mut Report) {
    let cluster = Cluster::start("rebuild").await;
    let log = cluster.log().await;
    fill(&log).await;
    cluster.run("vacuum analyze event_log.log").await;
    let runtime = Runtime::start(&log).await.expect("the projections");
    let head = log.head().await.expect("the head");
    let all: Vec<&str> = definitions().iter().map(|definition| definition.name).collect();
    let patience = Duration::from_secs(600);
    runtime.progress().wait(&all, head, patience).await.expect("to catch up");
    runtime.stop().await;
    let events = usize::try_from(head.0).unwrap_or(EVENTS);
    for definition in definitions() {
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let copied = copy_out_rate(&cluster, events).await;
            let begun = Instant::now();
            let rebuilt = rebuild(&log, &definition, Promote::IfEqual, &mut |_, _| {}).await;
            assert!(rebuilt.expect("a rebuild").promoted, "{} differs", definition.name);
            rounds.push((copied, per_second(events, begun.elapsed())));
        }
        let name = format!("rebuild {}, of COPY TO STDOUT", definition.name);
        report.ratio(&name, "events/s", &rounds, Target::AtLeast(0.25));
    }
    log.close().await;
    cluster.stop();
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

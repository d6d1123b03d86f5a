//! How long a proof takes in a log of many events: in the library, and through GraphQL as a portal
//! asks for it.

use crate::append::new_event;
use crate::evidence::caught_up;
use crate::report::{Report, percentile};
use crate::served::{Served, memory_of_rebuild};
use commands::{Clock, Executor, SystemClock, flows};
use domain::Event;
use domain::access::security::{CommandDenied, Event as SecurityEvent};
use event_log::tree::keeper::Keeper;
use event_log::{Append, CommandKey, EventLog, Position, StreamId};
use installation::{Access, Installation, Place};
use projections::{Runtime, Stale, definitions};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many events the log has, unless `OPS_BENCH_EVENTS` says.
const EVENTS: i64 = 1_000_000;
const PROOFS: u64 = 2_000;
const BATCH: u64 = 1_000;
/// How many batches one organization has.
const BATCHES: usize = 50;
const PROOF: &str = "query ($position: LogPosition!) {
    eventProof(position: $position) { entry path treeSize checkpoint { note } } }";

/// Appends of a thousand refusals each: events that nothing but the audit trail is derived from.
async fn fill(log: &EventLog, wanted: i64) -> Vec<Uuid> {
    let (stream, mut number) = (StreamId::new("security", "bench").expect("a stream"), 0);
    let mut tenants = Vec::new();
    while log.head().await.expect("a head").0 < wanted {
        let tenant = Uuid::now_v7();
        for _ in 0..BATCHES {
            let events = (0..BATCH).map(|_| {
                number += 1;
                new_event(tenant, Some(stream.clone()), &denied(number), SystemClock.now())
            });
            let command = CommandKey { id: Uuid::now_v7(), content_hash: [0; 32] };
            let (events, conditions, claims) = (events.collect(), vec![], vec![]);
            let append = Append { command, tenant, conditions, claims, events };
            log.append(append).await.expect("a batch");
        }
        tenants.push(tenant);
    }
    tenants
}

fn denied(number: u64) -> Event {
    let denied = CommandDenied {
        command: "credit_spend".to_owned(),
        target: format!("organization/{number:032}"),
        permission: "credits:rwd".to_owned(),
        reason: "the caller has no right to it".to_owned(),
        repeated: 0,
    };
    Event::from(SecurityEvent::from(denied))
}

/// A place in the log: spread over all of it, in no order.
fn place(number: u64, size: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size
}

fn position(place: u64) -> Position {
    Position(i64::try_from(place).unwrap_or_default() + 1)
}

/// Fills a demonstration's log, lets everything take it in, and asks for proofs.
pub(crate) async fn of_many_events(report: &mut Report) {
    let wanted = std::env::var("OPS_BENCH_EVENTS").ok().and_then(|text| text.parse().ok());
    let furnished = Served::furnish().await;
    let place = Place::folder(&furnished.0);
    let opened = Installation::open(&place, Access::Write).await.expect("it opens");
    let log = opened.log().clone();
    let tenants = fill(&log, wanted.unwrap_or(EVENTS)).await;
    let begun = Instant::now();
    let before = log.tree_size().await.expect("a size");
    let keeper = Keeper::start(&log, opened.evidence().expect("keys"));
    caught_up(&log).await;
    let grown = begun.elapsed();
    keeper.stop().await;
    let size = log.tree_size().await.expect("a size");
    let rate = u128::from(size - before) * 1_000 / grown.as_millis().max(1);
    report.figure("the tree over what is there", &format!("{size} events, {rate} events/s"));
    settled(&opened).await;
    in_the_library(report, &log, size, &tenants).await;
    opened.close().await;
    let served = Served::start(furnished).await;
    through_graphql(report, &served, size).await;
    let data = served.data.clone();
    served.end().await;
    // Every one of these events is a row of the audit trail.
    memory_of_rebuild("audit_trail", &data, report).await;
    let _gone = std::fs::remove_dir_all(data);
}

/// Flows and read models are where the log is, so that the server has nothing to catch up with.
async fn settled(opened: &Installation) {
    let log = opened.log();
    let keys = opened.keys().expect("keys").clone();
    let executor = Executor::new(log.clone(), keys, Arc::new(SystemClock));
    let head = flows::settle(&executor).await.expect("to settle");
    let runtime = Runtime::start(log).await.expect("the projections");
    let all: Vec<&str> = definitions().iter().map(|definition| definition.name).collect();
    let patience = Duration::from_secs(1_200);
    // A read model is known once its tables are made.
    while let Err(stale) = runtime.progress().wait(&all, head, patience).await {
        assert!(matches!(stale, Stale::Unknown { .. }), "{stale}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    runtime.stop().await;
    let mut owner = opened.owner().await.expect("an owner");
    let vacuum = "vacuum analyze event_log.log, event_log.tile";
    sqlx::raw_sql(vacuum).execute(&mut owner).await.expect("a vacuum");
    // What was written is on the disk before anything is timed.
    for statement in ["reset role", "checkpoint"] {
        sqlx::raw_sql(statement).execute(&mut owner).await.expect("a statement");
    }
}

async fn in_the_library(report: &mut Report, log: &EventLog, size: u64, tenants: &[Uuid]) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..PROOFS {
        let place = place(number, size);
        let begun = Instant::now();
        log.inclusion(position(place), size).await.expect("a proof");
        times[0].push(begun.elapsed());
        let begun = Instant::now();
        log.consistency(place + 1, size).await.expect("a proof");
        times[1].push(begun.elapsed());
        let which = usize::try_from(number).unwrap_or_default() % tenants.len();
        let begun = Instant::now();
        log.count_proof(tenants[which], size).await.expect("a proof");
        times[2].push(begun.elapsed());
    }
    let names = ["inclusion", "consistency", "the count of an organization"];
    for (name, times) in names.iter().zip(&mut times) {
        say(report, &format!("a proof of {name}, p50 / p99"), times);
    }
}

async fn through_graphql(report: &mut Report, served: &Served, size: u64) {
    let mut times = Vec::new();
    let head = served.post("/graphql", &json!({ "query": "{ installation { head } }" })).await;
    let head = head["data"]["installation"]["head"].as_str().expect("a position").to_owned();
    // A position begins with which log it is of.
    let (log, _) = head.split_once('-').expect("a position of a log");
    for number in 0..PROOFS {
        let position = format!("{log}-{}", position(place(number, size)));
        let body = json!({ "query": PROOF, "variables": { "position": position } });
        let begun = Instant::now();
        served.post("/graphql", &body).await;
        times.push(begun.elapsed());
    }
    let name = format!("a proof by GraphQL among {size} events, p50 / p99, target 5 ms");
    say(report, &name, &mut times);
}

fn say(report: &mut Report, name: &str, times: &mut [Duration]) {
    times.sort();
    let [half, most] = [50, 99].map(|share| percentile(times, share).as_micros());
    report.figure(name, &format!("{half} / {most} µs"));
}

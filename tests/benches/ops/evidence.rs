//! What evidence costs: appends with a keeper beside them against appends without one, how far the
//! tree is behind meanwhile, and how long a proof takes in a log of many events.

use crate::append::{organization, spend};
use crate::bulk::{batches, per_second};
use crate::cluster::{Cluster, folder};
use crate::report::{Report, Target, percentile};
use commands::Executor;
use domain::values::OrganizationId;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::{Evidence, Keeper};
use event_log::{EventLog, Position, SigningKeys};
use futures_util::future::join_all;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

const ROUNDS: usize = 5;
const CLIENTS: usize = 32;
const PER_CLIENT: usize = 60;
/// How many events the log has in which proofs are asked for, unless `OPS_BENCH_EVENTS` says.
const EVENTS: usize = 1_000_000;
const PROOFS: usize = 2_000;

/// Keys and a guard in a folder of their own.
fn evidence() -> (Evidence, PathBuf) {
    let folder = folder().join(format!("evidence-{}", Uuid::now_v7().simple()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let keys = SigningKeys::load_or_create(&folder.join("log-keys.json")).expect("keys");
    (Evidence { keys, guard: Guard::at(folder.join(GUARD_FILE)) }, folder)
}

/// Commands a second of many clients, each with an account of its own.
async fn commands(executor: &Executor, accounts: &[OrganizationId]) -> f64 {
    let begun = Instant::now();
    let client = async |account: &OrganizationId| {
        for _ in 0..PER_CLIENT {
            executor.execute(spend(*account)).await.expect("a spend");
        }
    };
    join_all(accounts.iter().map(client)).await;
    let count = u32::try_from(accounts.len() * PER_CLIENT).unwrap_or_default();
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// Usage records a second.
async fn usage(log: &EventLog) -> f64 {
    let batches = batches(Uuid::now_v7());
    let begun = Instant::now();
    for batch in batches {
        log.append_usage(batch).await.expect("a batch");
    }
    per_second(begun)
}

/// How many events the tree is behind.
async fn behind(log: &EventLog) -> u64 {
    let head = log.head().await.expect("a head").0.unsigned_abs();
    head.saturating_sub(log.tree_size().await.expect("a size"))
}

async fn caught_up(log: &EventLog) {
    while behind(log).await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Both kinds of append, with and without a keeper in turns.
pub(crate) async fn beside_appends(report: &mut Report) {
    let cluster = Cluster::start("evidence").await;
    let executor = cluster.executor().await;
    let log = executor.log().clone();
    let mut accounts = Vec::new();
    for _ in 0..CLIENTS {
        accounts.push(organization(&executor).await);
    }
    let (evidence, folder) = evidence();
    let (mut by_command, mut by_usage, mut lags) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let plain = (commands(&executor, &accounts).await, usage(&log).await);
        // What was appended without a keeper is taken in before the keeper is measured.
        let keeper = Keeper::start(&log, evidence.clone());
        caught_up(&log).await;
        cluster.settle().await;
        let own = (commands(&executor, &accounts).await, usage(&log).await);
        let begun = Instant::now();
        let left = behind(&log).await;
        caught_up(&log).await;
        keeper.stop().await;
        cluster.settle().await;
        if round > 0 {
            by_command.push((plain.0, own.0));
            by_usage.push((plain.1, own.1));
            lags.push((begun.elapsed(), left));
        }
    }
    let at_least = Target::AtLeast(0.9);
    report.ratio("32 clients, with a keeper of without", "commands/s", &by_command, at_least);
    report.ratio("bulk usage, with a keeper of without", "rows/s", &by_usage, at_least);
    lags.sort();
    let (time, left) = lags[lags.len() / 2];
    let text = format!("{left} events, caught up in {} ms", time.as_millis());
    report.figure("the tree behind the head at the end of full load", &text);
    log.close().await;
    cluster.stop();
    let _gone = std::fs::remove_dir_all(folder);
}

/// Proofs of inclusion, of consistency and of a count in a long log.
pub(crate) async fn proofs(report: &mut Report) {
    let cluster = Cluster::start("proofs").await;
    let log = cluster.log().await;
    let wanted = std::env::var("OPS_BENCH_EVENTS").ok().and_then(|text| text.parse().ok());
    let wanted = i64::try_from(wanted.unwrap_or(EVENTS)).unwrap_or(i64::MAX);
    let mut tenants = Vec::new();
    while log.head().await.expect("a head").0 < wanted {
        let tenant = Uuid::now_v7();
        for batch in batches(tenant) {
            log.append_usage(batch).await.expect("a batch");
        }
        tenants.push(tenant);
    }
    let (evidence, folder) = evidence();
    let begun = Instant::now();
    let keeper = Keeper::start(&log, evidence);
    caught_up(&log).await;
    let grown = begun.elapsed();
    keeper.stop().await;
    let size = log.tree_size().await.expect("a size");
    let rate = u64::try_from(u128::from(size) * 1_000 / grown.as_millis().max(1)).unwrap_or(0);
    report.figure("the tree over what is there", &format!("{size} events, {rate} events/s"));
    cluster.run("vacuum analyze event_log.log, event_log.tile").await;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..PROOFS {
        // Spread over the whole log, in no order.
        let step = u64::try_from(number).unwrap_or_default();
        let place = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size;
        let position = Position(i64::try_from(place).unwrap_or_default() + 1);
        let begun = Instant::now();
        log.inclusion(position, size).await.expect("a proof");
        times[0].push(begun.elapsed());
        let begun = Instant::now();
        log.consistency(place + 1, size).await.expect("a proof");
        times[1].push(begun.elapsed());
        let tenant = tenants[number % tenants.len()];
        let begun = Instant::now();
        log.count_proof(tenant, size).await.expect("a proof");
        times[2].push(begun.elapsed());
    }
    let names = ["inclusion", "consistency", "the count of an organization"];
    for (name, times) in names.iter().zip(&mut times) {
        times.sort();
        let [half, most] = [50, 99].map(|share| percentile(times, share).as_micros());
        let name = format!("a proof of {name}, p50 / p99");
        report.figure(&name, &format!("{half} / {most} µs"));
    }
    log.close().await;
    cluster.stop();
    let _gone = std::fs::remove_dir_all(folder);
}

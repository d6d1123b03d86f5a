//! What evidence costs: appends with a keeper beside them against appends without one, and how far
//! the tree is behind meanwhile.

use crate::append::{organization, spend};
use crate::bulk::{batches, per_second};
use crate::cluster::{Cluster, folder};
use crate::report::{Report, Target};
use commands::Executor;
use domain::values::OrganizationId;
use event_log::tree::guard::{GUARD_FILE, Guard};
use event_log::tree::keeper::{Evidence, Keeper};
use event_log::{EventLog, SigningKeys};
use futures_util::future::join_all;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

const ROUNDS: usize = 5;
const CLIENTS: usize = 32;
const PER_CLIENT: usize = 60;

/// Keys and a guard in a folder of their own.
pub(crate) fn evidence() -> (Evidence, PathBuf) {
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

/// Waits until the tree is over everything.
pub(crate) async fn caught_up(log: &EventLog) {
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

//! What sealing and archiving a full partition costs those who append meanwhile.
//!
//! The load is paced, as that of a platform is that has room left: whether the same commands take
//! longer is asked, and not how the cores are shared when there is no room.

use crate::append::{organization, spend};
use crate::bulk::batches;
use crate::cluster::{Cluster, executor};
use crate::evidence::{caught_up, evidence};
use crate::report::{Report, Target, percentile};
use crate::served::{program, watched};
use commands::Executor;
use domain::values::OrganizationId;
use event_log::Layout;
use event_log::tree::keeper::Keeper;
use futures_util::future::join_all;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::watch;
use uuid::Uuid;

/// How many events the partition has, unless `OPS_BENCH_PARTITION` says.
const EVENTS: i64 = 1 << 20;
const ROUNDS: usize = 3;
const CLIENTS: usize = 8;
/// Between two commands of one client: 400 a second of all.
const PACE: Duration = Duration::from_millis(20);
const ALONE: Duration = Duration::from_secs(15);

/// Commands with and without an archiving program beside them, in turns.
pub(crate) async fn beside_appends(report: &mut Report) {
    let wanted = std::env::var("OPS_BENCH_PARTITION").ok().and_then(|text| text.parse().ok());
    let events = wanted.unwrap_or(EVENTS);
    let cluster = Cluster::with_layout("sealing", Layout { partition_rows: events }).await;
    let executor = executor(&cluster.url("opscenter_service")).await;
    let log = executor.log().clone();
    while log.head().await.expect("a head").0 <= events {
        for batch in batches(Uuid::now_v7()) {
            log.append_usage(batch).await.expect("a batch");
        }
    }
    let mut accounts = Vec::new();
    for _ in 0..CLIENTS {
        accounts.push(organization(&executor).await);
    }
    let (evidence, folder) = evidence();
    let keeper = Keeper::start(&log, evidence);
    caught_up(&log).await;
    let (mut writing, mut restoring) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = alone(&executor, &accounts).await;
        writing.push((alone, beside(&executor, &accounts, "write", &cluster, &folder).await));
        restoring.push((alone, beside(&executor, &accounts, "restore", &cluster, &folder).await));
    }
    keeper.stop().await;
    let name = format!("append p99 while {events} events are sealed and archived, of without");
    report.ratio(&name, "µs", &writing, Target::AtMost(2.0));
    let name = format!("append p99 while {events} events are brought back, of without");
    report.ratio(&name, "µs", &restoring, Target::None);
    log.close().await;
    cluster.stop();
    let _gone = std::fs::remove_dir_all(folder);
}

async fn alone(executor: &Executor, accounts: &[OrganizationId]) -> f64 {
    let (end, ended) = watch::channel(false);
    let waits = async {
        tokio::time::sleep(ALONE).await;
        let _nobody = end.send(true);
    };
    tokio::join!(load(executor, accounts, ended), waits).0
}

async fn beside(
    executor: &Executor,
    accounts: &[OrganizationId],
    task: &str,
    cluster: &Cluster,
    folder: &Path,
) -> f64 {
    let (end, ended) = watch::channel(false);
    let archives = async {
        let mut command = Command::new(program("opscenter-replay"));
        command.args(["archive", task, "0", "--data"]).arg(folder);
        command.env("DATABASE_URL", cluster.owner_url());
        watched(&mut command).await;
        let _nobody = end.send(true);
    };
    tokio::join!(load(executor, accounts, ended), archives).0
}

/// The p99 of commands in microseconds, until it is said that it ends.
async fn load(
    executor: &Executor,
    accounts: &[OrganizationId],
    ended: watch::Receiver<bool>,
) -> f64 {
    let client = async |account: &OrganizationId| {
        let (mut times, mut ticks) = (Vec::new(), tokio::time::interval(PACE));
        while !*ended.borrow() {
            ticks.tick().await;
            let begun = Instant::now();
            executor.execute(spend(*account)).await.expect("a spend");
            times.push(begun.elapsed());
        }
        times
    };
    let mut times: Vec<Duration> =
        join_all(accounts.iter().map(client)).await.into_iter().flatten().collect();
    times.sort();
    percentile(&times, 99).as_secs_f64() * 1e6
}

//! As of: one thing as it was, folded from a long history, with its snapshots and without any.

use crate::append::{organization, spend};
use crate::cluster::Cluster;
use crate::report::{Report, Target};
use commands::Executor;
use domain::credits::Account;
use event_log::{Position, StreamId};
use std::time::{Duration, Instant};

/// How many events the account has.
const EVENTS: i64 = 10_000;
const ROUNDS: usize = 5;
/// At how many moments of its history it is asked for in a round.
const MOMENTS: i64 = 16;

/// An account of ten thousand events at moments all over its history.
pub(crate) async fn of_a_long_stream(report: &mut Report) {
    let cluster = Cluster::start("as-of").await;
    let executor = cluster.executor().await;
    let organization = organization(&executor).await;
    while grown(&executor, &organization.to_string()).await < EVENTS {
        executor.execute(spend(organization)).await.expect("a spend");
    }
    let id = organization.to_string();
    let moments = moments(&executor, &id).await;
    all_left(&executor).await;
    cluster.run("create table kept as select * from event_log.snapshot").await;
    cluster.run("vacuum analyze event_log.log").await;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let with = asked(&executor, &id, &moments).await;
        cluster.run("truncate event_log.snapshot").await;
        let without = asked(&executor, &id, &moments).await;
        cluster.run("insert into event_log.snapshot select * from kept").await;
        if round > 0 {
            rounds.push((without, with));
        }
    }
    let name = format!("as of, one account of {EVENTS} events, with snapshots of without");
    report.ratio(&name, "µs", &rounds, Target::AtMost(0.2));
    let bytes = "select max(length(state)) from event_log.snapshot";
    let bytes: Option<i32> =
        sqlx::query_scalar(bytes).fetch_one(executor.log().pool()).await.expect("a size");
    report.figure("the largest of its snapshots", &format!("{} bytes", bytes.unwrap_or(0)));
    executor.log().close().await;
    cluster.stop();
}

fn stream(id: &str) -> StreamId {
    StreamId::new("credit_account", id).expect("a stream")
}

async fn grown(executor: &Executor, id: &str) -> i64 {
    let head = executor.log().stream_head(&stream(id)).await.expect("an answer");
    head.map_or(0, |(version, _)| version)
}

/// The positions of events that stand evenly in the history.
async fn moments(executor: &Executor, id: &str) -> Vec<Position> {
    let sql = "select position from event_log.log
                where stream = $1 and stream_version % $2 = $2 - 1 order by position";
    let query = sqlx::query_scalar(sql).bind(stream(id).as_str().to_owned());
    query.bind(EVENTS / MOMENTS).fetch_all(executor.log().pool()).await.expect("positions")
}

/// Waits until the newest snapshot there can be is there.
async fn all_left(executor: &Executor) {
    let sql = "select coalesce(max(version), 0) from event_log.snapshot";
    let begun = Instant::now();
    loop {
        let newest: i64 =
            sqlx::query_scalar(sql).fetch_one(executor.log().pool()).await.expect("a version");
        if newest + 500 > EVENTS {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "snapshots end at {newest}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Microseconds for one answer, the mean over the moments.
async fn asked(executor: &Executor, id: &str, moments: &[Position]) -> f64 {
    let begun = Instant::now();
    for at in moments {
        let (_, version) = executor.as_of::<Account>(id, *at).await.expect("an account");
        assert!(version > 0, "it existed then");
    }
    let count = u32::try_from(moments.len()).map_or(1.0, f64::from);
    begun.elapsed().as_secs_f64() * 1e6 / count
}

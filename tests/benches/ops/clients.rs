//! Many clients: 64 in one process, and four processes of 16, against as many connections that
//! insert one row a transaction into a table with the same indexes.

use crate::append::{insert_plain, organization, spend};
use crate::cluster::{Cluster, LIKE_THE_LOG, executor};
use crate::report::{Report, Target};
use commands::Executor;
use futures_util::future::join_all;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// The first argument of a process that is one of the four.
pub(crate) const CHILD: &str = "child-of-clients";
const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(3);

/// How many plain rows 64 connections insert a second.
async fn plain_rate(cluster: &Cluster, round: usize) -> f64 {
    let connections = join_all((0..CLIENTS).map(|_| cluster.connect())).await;
    let begun = Instant::now();
    let tasks = connections.into_iter().enumerate().map(|(client, mut connection)| {
        tokio::spawn(async move {
            let stream = format!("plain/{round}/{client}");
            let mut count = 0_i64;
            while begun.elapsed() < SPAN {
                count += 1;
                insert_plain(&mut connection, &stream, count).await;
            }
            count
        })
    });
    rate(join_all(tasks).await, begun)
}

fn rate(counts: Vec<Result<i64, tokio::task::JoinError>>, begun: Instant) -> f64 {
    let count: i64 = counts.into_iter().map(|count| count.expect("a client")).sum();
    i32::try_from(count).map(f64::from).unwrap_or(f64::MAX) / begun.elapsed().as_secs_f64()
}

/// How many commands so many clients of one executor get through a second.
async fn command_rate(executor: &Executor, clients: usize) -> f64 {
    let organizations = join_all((0..clients).map(|_| organization(executor))).await;
    let begun = Instant::now();
    let tasks = organizations.into_iter().map(|organization| {
        let executor = executor.clone();
        tokio::spawn(async move {
            let mut count = 0_i64;
            while begun.elapsed() < SPAN {
                executor.execute(spend(organization)).await.expect("a spend");
                count += 1;
            }
            count
        })
    });
    rate(join_all(tasks).await, begun)
}

pub(crate) async fn in_one_process(cluster: &Cluster, report: &mut Report) {
    cluster.run(LIKE_THE_LOG).await;
    let executor = cluster.executor().await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let plain = plain_rate(cluster, round).await;
        cluster.settle().await;
        rounds.push((plain, command_rate(&executor, CLIENTS).await));
        cluster.settle().await;
    }
    report.ratio("64 clients in one process", "commands/s", &rounds, Target::AtLeast(1.5));
    executor.log().close().await;
}

pub(crate) async fn in_four_processes(cluster: &Cluster, report: &mut Report) {
    cluster.run(LIKE_THE_LOG).await;
    let mut rounds = Vec::new();
    for round in 0..3 {
        let plain = plain_rate(cluster, round).await;
        cluster.settle().await;
        rounds.push((plain, four_processes(&cluster.url("opscenter_service")).await));
        cluster.settle().await;
    }
    report.ratio("four processes of 16 clients", "commands/s", &rounds, Target::None);
}

/// Starts four of ourselves, lets them begin together, and adds up what they did.
async fn four_processes(url: &str) -> f64 {
    let program = std::env::current_exe().expect("our own program");
    let children = join_all((0..4).map(|_| {
        let (program, url) = (program.clone(), url.to_owned());
        async move {
            let mut child = tokio::process::Command::new(program)
                .args([CHILD, &url])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let output = child.stdout.take().expect("its output");
            let mut lines = BufReader::new(output).lines();
            let ready = lines.next_line().await.expect("a line");
            assert_eq!(ready.as_deref(), Some("ready"));
            (child, lines)
        }
    }))
    .await;
    let rates = children.into_iter().map(|(mut child, mut lines)| async move {
        child.stdin.take().expect("its input").write_all(b"go\n").await.expect("to begin");
        let line = lines.next_line().await.expect("a line").expect("a rate");
        child.wait().await.expect("an end");
        line.parse::<f64>().expect("a number")
    });
    join_all(rates).await.iter().sum()
}

/// One of the four: says that it is ready, waits for the word, prints its rate.
pub(crate) async fn child(arguments: &[String]) {
    let executor = executor(&arguments[0]).await;
    println!("ready");
    let mut line = String::new();
    // Blocks this process, which has nothing else to do until the word comes.
    std::io::stdin().read_line(&mut line).expect("the word to begin");
    println!("{:.1}", command_rate(&executor, 16).await);
    executor.log().close().await;
}

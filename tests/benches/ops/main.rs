//! The benchmarks: every figure is a ratio to a reference measured in the same run.
//!
//! `./ops bench` runs all of them; `./ops bench NAME…` only those whose name begins like that. The
//! database is durable (fsync on) and lies on the disk of `target/`; client and server share the
//! machine's cores. Baseline and candidate take turns; what is stated is the median over the
//! rounds and the best. Nothing here fails because a machine is slow: a missed target is printed.

#![expect(clippy::expect_used, reason = "a benchmark whose set-up fails has nothing to say")]

mod append;
mod as_of;
mod bulk;
mod bundle;
mod clients;
mod cluster;
mod derived;
mod doors;
mod evidence;
mod proofs;
mod report;
mod sealing;
mod served;

use cluster::Cluster;
use report::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if arguments.first().is_some_and(|first| first == clients::CHILD) {
        runtime.block_on(clients::child(&arguments[1..]));
        return;
    }
    if arguments.first().is_some_and(|first| first == bundle::CHILD) {
        bundle::child(&arguments[1..]);
        return;
    }
    runtime.block_on(all(&arguments));
}

async fn all(names: &[String]) {
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|n| name.starts_with(n.as_str()));
    let cluster = Cluster::start("shared").await;
    let mut report = Report::begin(&cluster).await;
    if wanted("append") {
        append::one_client(&cluster, &mut report).await;
    }
    if wanted("clients") {
        clients::in_one_process(&cluster, &mut report).await;
        clients::in_four_processes(&cluster, &mut report).await;
    }
    if wanted("bulk") {
        bulk::through_the_log(&cluster, &mut report).await;
    }
    cluster.stop();
    if wanted("bundle") {
        bundle::verified(&mut report);
    }
    if wanted("evidence") {
        evidence::beside_appends(&mut report).await;
    }
    if wanted("proofs") {
        proofs::of_many_events(&mut report).await;
    }
    if wanted("sealing") {
        sealing::beside_appends(&mut report).await;
    }
    if wanted("rebuild") {
        derived::rebuilds_of_usage(&mut report).await;
    }
    if wanted("as_of") {
        as_of::of_a_long_stream(&mut report).await;
    }
    if wanted("lag") {
        derived::lag(&mut report).await;
    }
    if wanted("doors") {
        doors::all(&mut report).await;
    }
    report.end();
}

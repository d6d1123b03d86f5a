//! Several processes keep the same read models up to date: each event is taken in once.

use crate::dump;
use crate::process::Process;
use crate::rebuilt::{PATIENCE, all_equal};
use crate::town::Town;
use event_log::CommitMode;
use event_log::Position;
use projections::{Options, Runtime, definitions, standings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use test_postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_owners_never_apply_an_event_twice_and_neither_gets_stuck() {
    let server = Server::start().await;
    let (log, other) =
        (server.open(CommitMode::default()).await, server.open(CommitMode::default()).await);
    let mut town = Town::found(&log).await;
    let options = |page_events| Options { page_events, ..Options::default() };
    let first = Process::start(server.settings(CommitMode::default()), options(3)).await;
    let second = Runtime::start_with(&other, definitions(), options(5)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(never_backwards(log.clone(), Arc::clone(&over)));
    for number in 0..150_u16 {
        let [low, high] = number.to_le_bytes();
        town.step(&log, (low.wrapping_mul(5), low ^ high, number.wrapping_mul(401))).await;
    }
    second.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    // One of them is killed; the other has it all.
    drop(first);
    for number in 0..30_u8 {
        town.step(&log, (number, number, u16::from(number) * 111)).await;
    }
    second.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    over.store(true, Ordering::Relaxed);
    assert!(watch.await.unwrap() > 0);
    second.stop().await;
    crate::models::agree(log.pool(), &town).await;
    all_equal(&log).await;
}

/// Looks at the positions until it is over, and makes sure that none ever goes back.
async fn never_backwards(log: event_log::EventLog, over: Arc<AtomicBool>) -> usize {
    let mut before: Vec<Position> = Vec::new();
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        let now: Vec<Position> =
            standings(log.pool()).await.unwrap().iter().map(|it| it.position).collect();
        assert!(before.iter().zip(&now).all(|(before, now)| before <= now));
        (before, looks) = (now, looks + 1);
        tokio::task::yield_now().await;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_owner_that_hangs_in_its_transaction_does_not_hold_the_others_up_for_ever() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let town = Town::found(&log).await;
    projections::install(log.pool(), &definitions()).await.unwrap();
    // As an owner does, and then is stopped in its tracks.
    let mut hung = log
        .pool()
        .begin_with("begin; set local idle_in_transaction_session_timeout = '500ms'")
        .await
        .unwrap();
    sqlx::query("update read_model.projection set position = 1").execute(&mut *hung).await.unwrap();
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    // When it wakes, it finds that it has lost.
    assert!(hung.commit().await.is_err());
    all_equal(&log).await;
}

//! A new generation takes the place of the live one without readers ever going back.

use crate::dump;
use crate::rebuilt::{PATIENCE, all_equal};
use crate::town::Town;
use event_log::CommitMode;
use event_log::{EventLog, Position};
use projections::rebuild::{Comparison, Promote, RebuildError, rebuild, roll_back};
use projections::{
    Definition, Options, Runtime, State, Walk, definitions, directory, generations, standings,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use test_postgres::Server;

fn newer() -> Vec<Definition> {
    let newer = |mut it: Definition| {
        it.version += 1;
        it
    };
    definitions().into_iter().map(newer).collect()
}

async fn positions(log: &EventLog) -> Vec<Position> {
    standings(log.pool()).await.unwrap().iter().map(|it| it.position).collect()
}

/// Reads as long as it is not over: positions and rows never become fewer.
async fn read_on(log: EventLog, over: Arc<AtomicBool>) -> usize {
    let (mut before, mut users, mut looks) = (positions(&log).await, 0, 0);
    while !over.load(Ordering::Relaxed) {
        let now = positions(&log).await;
        assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "{before:?} {now:?}");
        let seen = directory::users(log.pool(), None, &Walk::ascending(1_000)).await.unwrap().len();
        assert!(users <= seen, "{users} users became {seen}");
        (before, users, looks) = (now, seen, looks + 1);
    }
    looks
}

/// Returns once readers see this generation of every read model.
async fn all_of_generation(log: &EventLog, generation: i32) {
    let is_there = |it: &projections::Standing| it.generation == generation;
    while !standings(log.pool()).await.unwrap().iter().all(is_there) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changed_handlers_make_a_new_generation_and_readers_never_go_back() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    let older = Runtime::start(&log).await.unwrap();
    for number in 0..60_u8 {
        town.step(&log, (number, number, u16::from(number).wrapping_mul(977))).await;
    }
    older.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_on(server.open(CommitMode::default()).await, Arc::clone(&over)));
    let before = dump::everything(log.pool()).await;
    // Both programs run while the new one takes over, and events keep coming.
    let newer = Runtime::start_with(&log, newer(), Options::default()).await.unwrap();
    for number in 0..40_u8 {
        town.step(&log, (number, number, u16::from(number) * 313)).await;
    }
    let taken_over = tokio::time::timeout(PATIENCE, all_of_generation(&log, 2)).await;
    taken_over.unwrap();
    newer.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    over.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
    for standing in standings(log.pool()).await.unwrap() {
        let made = self::newer().into_iter().find(|it| it.name == standing.name).unwrap();
        let found = (standing.generation, standing.code_version);
        assert_eq!(found, (2, made.version), "{}", standing.name);
    }
    // The one before is kept for going back, and the older program leaves the new one alone.
    let all = generations(log.pool()).await.unwrap();
    let kept: Vec<i32> =
        all.iter().filter(|it| it.state == State::Retired).map(|it| it.generation).collect();
    assert_eq!(kept, vec![1; definitions().len()]);
    older.stop().await;
    newer.stop().await;
    crate::models::agree(log.pool(), &town).await;
    assert_ne!(dump::everything(log.pool()).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_beside_a_running_server_is_compared_and_promoted_under_load() {
    let server = Server::start().await;
    let (log, other) =
        (server.open(CommitMode::default()).await, server.open(CommitMode::default()).await);
    let mut town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_on(server.open(CommitMode::default()).await, Arc::clone(&over)));
    for number in 0..40_u8 {
        town.step(&log, (number, number, u16::from(number).wrapping_mul(977))).await;
    }
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let rebuilding = tokio::spawn(async move {
        let mut done = Vec::new();
        for definition in definitions() {
            let promote = Promote::IfEqual;
            done.push(rebuild(&other, &definition, promote, &mut |_, _| ()).await.unwrap());
        }
        done
    });
    for number in 0..40_u8 {
        town.step(&log, (number, number, u16::from(number) * 313)).await;
    }
    for rebuilt in rebuilding.await.unwrap() {
        assert_eq!(rebuilt.comparison, Comparison::Equal, "{}", rebuilt.name);
        assert!(rebuilt.promoted);
    }
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    over.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
    runtime.stop().await;
    all_equal(&log).await;
}

#[tokio::test]
async fn a_difference_is_found_named_and_not_promoted_unless_asked_for() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    town.step(&log, (0, 0, 0)).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    server.execute("update read_model.directory_user_g1 set status = 'active'").await;
    let directory = definitions().into_iter().find(|it| it.name == "directory").unwrap();
    for (promote, promoted) in [(Promote::IfEqual, false), (Promote::Always, true)] {
        let rebuilt = rebuild(&log, &directory, promote, &mut |_, _| ()).await.unwrap();
        let Comparison::Different(difference) = rebuilt.comparison else { panic!("{rebuilt:?}") };
        assert_eq!(difference.table, "directory_user");
        assert!(difference.live.unwrap().contains(",active,"));
        assert!(difference.rebuilt.unwrap().contains(",invited,"));
        assert_eq!(rebuilt.promoted, promoted);
    }
    let status =
        directory::users(log.pool(), None, &Walk::ascending(1)).await.unwrap()[0].status.clone();
    assert_eq!(status, "invited");
}

#[tokio::test]
async fn going_back_shows_the_generation_before_at_the_position_of_the_live_one() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    for definition in definitions() {
        rebuild(&log, &definition, Promote::IfEqual, &mut |_, _| ()).await.unwrap();
    }
    for number in 0..40_u8 {
        town.step(&log, (number, number, u16::from(number) * 313)).await;
    }
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    let (before, rows) = (positions(&log).await, dump::everything(log.pool()).await);
    for definition in definitions() {
        assert_eq!(roll_back(&log, &definition).await.unwrap(), 1);
    }
    assert!(positions(&log).await.iter().zip(&before).all(|(now, before)| now >= before));
    assert_eq!(dump::everything(log.pool()).await, rows);
    // The runtime goes on with what readers see now.
    town.step(&log, (0, 0, 0)).await;
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    all_equal(&log).await;
    // Only the handlers that made a generation can bring it up to date.
    let newer = newer()[0];
    let error = roll_back(&log, &newer).await.unwrap_err();
    let RebuildError::NothingKept { version, .. } = &error else { panic!("{error}") };
    assert_eq!(*version, newer.version);
}

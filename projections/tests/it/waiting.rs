//! Reading one's own writes: the effect is seen, or the caller is told that it is not there yet.

use crate::dump;
use crate::rebuilt::{PATIENCE, all_equal};
use crate::town::Town;
use event_log::CommitMode;
use event_log::Position;
use projections::{Progress, Runtime, Stale, directory, install};
use std::time::Duration;
use test_postgres::Server;

#[tokio::test]
async fn a_caller_sees_its_own_write_after_waiting_for_it_also_from_another_process() {
    let server = Server::start().await;
    let (log, other) =
        (server.open(CommitMode::default()).await, server.open(CommitMode::default()).await);
    let mut town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    let elsewhere = Progress::of(other.pool().clone());
    for progress in [runtime.progress(), elsewhere] {
        for _ in 0..20 {
            town.step(&log, (0, 0, 0)).await;
            progress.wait(&["directory"], town.last, PATIENCE).await.unwrap();
            let newest = *town.users.keys().last().unwrap();
            assert!(directory::user(other.pool(), newest).await.unwrap().is_some());
        }
    }
    runtime.stop().await;
}

#[tokio::test]
async fn a_caller_that_cannot_see_its_write_in_time_is_told_so_and_never_shown_less() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    // Nobody keeps them up to date.
    install(log.pool(), &projections::definitions()).await.unwrap();
    let town = Town::found(&log).await;
    let progress = Progress::of(log.pool().clone());
    let short = Duration::from_millis(50);
    let stale = progress.wait(&["usage", "bill"], town.last, short).await.unwrap_err();
    let Stale::Behind { name, position, wanted } = stale else { panic!("{stale}") };
    assert_eq!((name.as_str(), position, wanted), ("usage", Position::START, town.last));
    let unknown = progress.wait(&["no_such"], Position(1), PATIENCE).await.unwrap_err();
    assert!(matches!(unknown, Stale::Unknown { .. }), "{unknown}");
    progress.wait(&["usage"], Position::START, short).await.unwrap();
}

#[tokio::test]
async fn without_any_notification_everything_still_converges() {
    let server = Server::start().await;
    let log = server.open(CommitMode::default()).await;
    let mut town = Town::found(&log).await;
    let runtime = Runtime::start(&log).await.unwrap();
    // Every listener is cut off, again and again, before it can hear anything.
    let deaf = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where query ilike 'listen %' and pid <> pg_backend_pid()";
    let mut cut = 0;
    for number in 0..30_u8 {
        let mut connection = server.superuser().await;
        let count: i64 = sqlx::query_scalar(deaf).fetch_one(&mut connection).await.unwrap();
        cut += count;
        town.step(&log, (number, number, u16::from(number).wrapping_mul(771))).await;
    }
    assert!(cut > 0, "there was no listener to cut off");
    runtime.progress().wait(&dump::names(), town.last, PATIENCE).await.unwrap();
    runtime.stop().await;
    all_equal(&log).await;
}

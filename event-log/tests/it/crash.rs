//! Crashes (I4): whatever was acknowledged is there afterwards, nothing is doubled, and the log is
//! whole, at whichever step the server or the backend dies.

use crate::order::until_true;
use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Position, Receipt, advance, consumer_position};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_postgres::Server;
use tokio::task::JoinSet;

/// Where an append can be stopped: a statement that makes it wait there for the test's lock.
const STEPS: [(&str, &str); 5] = [
    (
        "locked",
        "create or replace function event_log.clock() returns timestamptz language plpgsql as
         'begin perform pg_advisory_xact_lock(77); return clock_timestamp(); end'",
    ),
    (
        "inserted",
        "create function public.hold() returns trigger language plpgsql security definer as
         'begin perform pg_advisory_xact_lock(77); return null; end';
         create trigger hold after insert on event_log.log_batch execute function public.hold()",
    ),
    (
        "committed",
        "alter function event_log.flush rename to flush_really;
         create function event_log.flush(barrier text) returns void language plpgsql as
         'begin perform pg_advisory_xact_lock(77); perform event_log.flush_really(barrier); end';
         grant execute on function event_log.flush, event_log.flush_really to opscenter_service",
    ),
    (
        "flushing",
        "alter function event_log.flush rename to flush_really;
         create function event_log.flush(barrier text) returns void language plpgsql as
         'begin perform event_log.flush_really(barrier); perform pg_advisory_xact_lock(77); end';
         grant execute on function event_log.flush, event_log.flush_really to opscenter_service",
    ),
    ("queued", "select 1"),
];

const HELD: &str = "select exists (select from pg_locks where locktype = 'advisory'
                     and not granted and objid in (77, 1))";

/// Stops an append at a step, does something terrible, and says what came of it.
async fn struck_at(
    server: &mut Server,
    mode: CommitMode,
    step: (&str, &str),
    terrible: impl AsyncFnOnce(&mut Server),
) {
    let log = server.open(mode).await;
    let before = accepted(&log, command(vec![on("before", "x")])).await;
    let mut holder = server.superuser().await;
    holder.execute(AssertSqlSafe(format!("begin; {}; commit; begin", step.1))).await.unwrap();
    let lock = if step.0 == "queued" { "1869640547, 1" } else { "77" };
    holder.execute(AssertSqlSafe(format!("select pg_advisory_xact_lock({lock})"))).await.unwrap();
    let asked = expecting("struck", 0, command(vec![on("struck", "x"), loose("y")]));
    let pending = tokio::spawn({
        let (log, asked) = (log.clone(), asked.clone());
        async move { log.append(asked).await }
    });
    until_true(server, HELD).await;
    terrible(server).await;
    // The lock the test held went with the server, or is given back now.
    let _closed = holder.close().await;
    let receipt = pending.await.unwrap().unwrap();
    assert_eq!(receipt.first_position, before.last_position.next(), "{}", step.0);
    assert_eq!(verified(&log).await, receipt.last_position, "{}", step.0);
    let again = accepted(&log, asked).await;
    assert!(again.was_replayed);
    assert_eq!(again.event_ids, receipt.event_ids);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_an_immediate_stop_at_any_step_loses_nothing_and_doubles_nothing() {
    for step in STEPS {
        let mut server = Server::start().await;
        struck_at(&mut server, CommitMode::Barrier, step, async |server| {
            server.crash_and_restart();
            release(server, step.0).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_killed_backend_at_any_step_loses_nothing_and_doubles_nothing() {
    for (index, step) in STEPS.into_iter().enumerate() {
        let mut server = Server::start().await;
        // Only one of the two ways to commit has a flush of its own to be killed in.
        let flushes = matches!(step.0, "committed" | "flushing");
        let mode = if flushes { CommitMode::Barrier } else { MODES[index % 2] };
        struck_at(&mut server, mode, step, async |server| {
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity \
                        where application_name = 'opscenter append' and wait_event_type = 'Lock'";
            server.execute(kill).await;
            release(server, step.0).await;
        })
        .await;
    }
}

/// Takes away what made the append wait, so that the retry goes through.
async fn release(server: &Server, step: &str) {
    server
        .execute(match step {
            "locked" => {
                "create or replace function event_log.clock() returns timestamptz
                 language sql volatile as 'select clock_timestamp()'"
            }
            "inserted" => "drop trigger if exists hold on event_log.log_batch",
            "queued" => "select 1",
            _ => {
                "create or replace function event_log.flush(barrier text) returns void
                 language plpgsql as 'begin perform event_log.flush_really(barrier); end'"
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_whatever_was_acknowledged_under_load_survives_crashes() {
    let mut server = Server::start().await;
    for round in 0..6 {
        let mode = MODES[round % 2];
        let log = server.open(mode).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..6 {
            let (log, stop) = (log.clone(), Arc::clone(&stop));
            clients.spawn(async move { client_until(log, stop, round * 100 + client).await });
        }
        let goal = log.head().await.unwrap().0 + 60;
        let mut follower = log.follow(Position(goal - 1));
        let reached = follower.next_page(1).await.unwrap();
        assert_eq!(reached[0].position, Position(goal));
        if round % 3 == 2 {
            server.kill_and_restart();
        } else {
            server.crash_and_restart();
        }
        stop.store(true, Ordering::Release);
        let mut acknowledged: Vec<Receipt> = Vec::new();
        while let Some(ended) = clients.join_next().await {
            acknowledged.extend(ended.unwrap());
        }
        assert!(acknowledged.len() > 5);
        log.close().await;
        let log = server.open(mode).await;
        let head = verified(&log).await;
        for receipt in acknowledged {
            let kept = log.receipt(receipt.command_id).await.unwrap().unwrap();
            assert_eq!(kept.event_ids, receipt.event_ids);
            let event = log.event(receipt.first_position).await.unwrap().unwrap();
            assert_eq!(event.event_id, receipt.event_ids[0]);
        }
        // What readers had written down is not ahead of what they read.
        let mut connection = log.pool().acquire().await.unwrap();
        for client in 0..6 {
            let name = format!("reader-{}", round * 100 + client);
            assert!(consumer_position(&mut connection, &name).await.unwrap() <= head);
        }
        drop(connection);
        log.close().await;
    }
}

/// Appends, and keeps a checkpoint of what it saw, until told to stop.
async fn client_until(log: EventLog, stop: Arc<AtomicBool>, number: usize) -> Vec<Receipt> {
    let mut acknowledged = Vec::new();
    let name = format!("reader-{number}");
    let mut at = Position::START;
    while !stop.load(Ordering::Acquire) {
        match log.append(command(vec![on(&name, "x"), loose("y")])).await {
            Ok(receipt) => acknowledged.push(receipt),
            Err(AppendError::Unavailable(_) | AppendError::Busy) => continue,
            Err(other) => panic!("{other}"),
        }
        let Ok(mut transaction) = log.pool().begin().await else { continue };
        let Ok(head) = log.head().await else { continue };
        if let Ok(true) = advance(&mut transaction, &name, at, head).await
            && transaction.commit().await.is_ok()
        {
            at = head;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stays_away_is_said_to_be_away_and_the_command_counts_once_later() {
    let server = Server::start().await;
    let mut settings = server.settings(CommitMode::Barrier);
    settings.recovery = Duration::from_millis(300);
    let log = EventLog::connect(settings).await.unwrap();
    accepted(&log, command(vec![loose("before")])).await;
    server.execute("alter role opscenter_service nologin").await;
    server
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where usename = 'opscenter_service'",
        )
        .await;
    let asked = command(vec![loose("while away")]);
    let error = refused(&log, asked.clone()).await;
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    server.execute("alter role opscenter_service login").await;
    assert_eq!(accepted(&log, asked.clone()).await.first_position, Position(2));
    assert!(accepted(&log, asked).await.was_replayed);
    log.close().await;
}

#[tokio::test]
async fn who_reads_notices_nothing_of_a_database_that_was_killed_and_is_back() {
    let mut server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    for _ in 0..5 {
        let mut used = Vec::new();
        while used.len() < 4 {
            used.push(log.pool().acquire().await.unwrap());
        }
        drop(used);
        // Connections go back by a task of their own.
        while log.pool().num_idle() < 4 {
            tokio::task::yield_now().await;
        }
        server.kill_and_restart();
        for _ in 0..10 {
            assert_eq!(log.head().await.unwrap(), Position::START);
        }
    }
    log.close().await;
}

#[tokio::test]
async fn closing_carries_out_what_was_accepted_and_takes_nothing_more() {
    let server = Server::start().await;
    for (round, mode) in (1..).zip(MODES) {
        let log = server.open(mode).await;
        let mut waiting = JoinSet::new();
        for _ in 0..40 {
            let log = log.clone();
            waiting.spawn(async move { log.append(command(vec![loose("x")])).await });
        }
        tokio::task::yield_now().await;
        log.close().await;
        let error = refused(&log, command(vec![loose("late")])).await;
        assert!(matches!(error, AppendError::Refused(_)));
        let mut recorded = 0;
        while let Some(ended) = waiting.join_next().await {
            recorded += usize::from(ended.unwrap().is_ok());
        }
        let log = server.open(mode).await;
        let rows: i64 = sqlx::query_scalar("select count(*) from event_log.log")
            .fetch_one(log.pool())
            .await
            .unwrap();
        assert_eq!((recorded, rows), (40, 40 * round));
        log.close().await;
    }
}

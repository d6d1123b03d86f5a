//! A command that is alone is recorded by one statement, and as any other would be.

use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Position};
use sqlx::{ConnectOptions, Executor};
use std::time::Duration;
use test_postgres::Server;

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

/// How often each way of appending was gone until now.
async fn calls(server: &Server) -> (i64, i64) {
    let mut connection = server.superuser().await;
    sqlx::query_as(
        "select coalesce(sum(calls) filter (where funcname = 'append_alone'), 0)::bigint,
                coalesce(sum(calls) filter (where funcname = 'append'), 0)::bigint
           from pg_stat_user_functions",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

async fn counting() -> Server {
    let server = Server::start().await;
    server.execute("alter system set track_functions = 'all'").await;
    server.execute("select pg_reload_conf()").await;
    server
}

#[tokio::test]
async fn a_command_that_is_alone_takes_one_statement_and_the_log_verifies() {
    let server = counting().await;
    let log = server.open(CommitMode::Adaptive).await;
    // Where the log is empty there is no batch to go on from: the first goes the long way.
    accepted(&log, expecting("a", 0, command(vec![on("a", "1")]))).await;
    for version in 1..=5 {
        let receipt = accepted(&log, expecting("a", version, command(vec![on("a", "x")]))).await;
        assert_eq!(receipt.last_position, Position(version + 1));
    }
    let many = vec![on("a", "7"), loose("8"), on("b", "9"), on("a", "10")];
    let several = accepted(&log, expecting("a", 6, expecting("b", 0, command(many)))).await;
    assert_eq!((several.first_position, several.last_position), (Position(7), Position(10)));
    let versions: Vec<(String, i64, i64)> =
        sqlx::query_as("select stream, version, position from event_log.stream_head order by 1")
            .fetch_all(log.pool())
            .await
            .unwrap();
    let head = |name: &str, version, position| (format!("thing/{name}"), version, position);
    assert_eq!(versions, [head("a", 8, 10), head("b", 1, 9)]);
    assert_eq!(verified(&log).await, Position(10));
    log.close().await;
    assert_eq!(calls(&server).await, (7, 1));
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_lone_command_is_told_as_to_any_other() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    let first = expecting("a", 0, command(vec![on("a", "1")]));
    let receipt = accepted(&log, first.clone()).await;
    let again = accepted(&log, first.clone()).await;
    assert_eq!((again.first_position, again.was_replayed), (receipt.first_position, true));
    let mut other = first;
    other.command.content_hash = [9; 32];
    assert!(matches!(refused(&log, other).await, AppendError::CommandReused { .. }));
    let late = expecting("a", 0, command(vec![on("a", "2")]));
    let conflict = refused(&log, late).await;
    assert!(matches!(conflict, AppendError::Conflict { expected: 0, actual: 1, .. }));
    // Relied on without an event of its own.
    let relying = |version| expecting("a", version, expecting("c", 0, command(vec![on("c", "1")])));
    assert!(matches!(refused(&log, relying(2)).await, AppendError::Conflict { actual: 1, .. }));
    accepted(&log, relying(1)).await;
    assert_eq!(verified(&log).await, Position(2));
    log.close().await;
}

#[tokio::test]
async fn lone_commands_of_two_processes_follow_each_other_without_a_gap() {
    let server = counting().await;
    let logs = [server.open(CommitMode::Adaptive).await, server.open(CommitMode::Adaptive).await];
    accepted(&logs[0], command(vec![loose("0")])).await;
    for round in 0..20 {
        let log: &EventLog = &logs[round % 2];
        let version = i64::try_from(round).unwrap();
        accepted(log, expecting("a", version, command(vec![on("a", "x")]))).await;
    }
    assert_eq!(verified(&logs[0]).await, Position(21));
    for log in logs {
        log.close().await;
    }
    // What the other one appended in between was looked up, not taken for an obstacle.
    assert_eq!(calls(&server).await, (21, 1));
}

/// The backends that wait for their turn to append, once they are as a test needs them.
async fn waiting(server: &Server, is_so: impl Fn(&[i32]) -> bool) -> Vec<i32> {
    let mut connection = server.superuser().await;
    let sql = "select pid from pg_locks where locktype = 'advisory' and not granted";
    let give_up = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let pids: Vec<i32> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
        if is_so(&pids) {
            return pids;
        }
        assert!(tokio::time::Instant::now() < give_up, "{pids:?} wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_lone_command_that_was_given_up_on_is_ended_before_anything_else_is_recorded() {
    let server = Server::start().await;
    let mut settings = server.settings(CommitMode::Adaptive);
    // So that what was given up on does not end by itself.
    (settings.lock_timeout, settings.statement_timeout) = (LONG, LONG);
    let log = EventLog::connect(settings).await.unwrap();
    accepted(&log, expecting("a", 0, command(vec![on("a", "first")]))).await;
    let mut holder = server.superuser().await;
    holder.execute("select pg_advisory_lock(1869640547, 1)").await.unwrap();
    let send = |payload: &'static str| {
        let log = log.clone();
        let append = expecting("a", 1, command(vec![on("a", payload)]));
        tokio::spawn(async move { log.append(append).await })
    };
    let abandoned = send("abandoned");
    let left = waiting(&server, |pids| pids.len() == 1).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    let next = send("next");
    waiting(&server, |pids| pids.len() == 1 && pids != left).await;
    holder.execute("select pg_advisory_unlock(1869640547, 1)").await.unwrap();
    assert_eq!(next.await.unwrap().unwrap().first_position, Position(2));
    let recorded = log.read(Position::START, 10).await.unwrap();
    let payloads: Vec<&[u8]> = recorded.iter().map(|event| &*event.payload).collect();
    assert_eq!(payloads, [&b"first"[..], b"next"]);
    assert_eq!(verified(&log).await, Position(2));
    log.close().await;
}

#[tokio::test]
async fn the_function_of_lone_commands_refuses_a_session_with_names_of_its_own() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Adaptive).await;
    accepted(&log, command(vec![loose("1")])).await;
    let mut service = server.role("opscenter_service").connect().await.unwrap();
    let by_hand = "select event_log.append_alone(1, gen_random_uuid(), gen_random_uuid(), '\\x01',
        '{}', '{}', '{}', array[gen_random_uuid()], array[null::integer], array['x'],
        array[1::smallint], array[gen_random_uuid()], array[now()], array['me'],
        array[null::uuid], array[null::uuid], array[''::bytea], array[''::bytea],
        array['\\x01'::bytea], array['\\x01'::bytea], array[null::text], array['\\x01'::bytea])";
    for path in ["public", "pg_temp,pg_catalog", "\"$user\", public"] {
        let set = format!("set search_path = {path}");
        service.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        let answer: Option<Vec<i64>> =
            sqlx::query_scalar(by_hand).fetch_one(&mut service).await.unwrap();
        assert_eq!(answer, None, "{path}");
    }
    assert_eq!(log.head().await.unwrap(), Position(1));
    service.execute("select set_config('search_path', 'pg_catalog,pg_temp', false)").await.unwrap();
    let answer: Option<Vec<i64>> =
        sqlx::query_scalar(by_hand).fetch_one(&mut service).await.unwrap();
    assert_eq!(answer.map(|positions| positions[..2].to_vec()), Some(vec![2, 2]));
    log.close().await;
}

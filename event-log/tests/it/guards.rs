//! Guards: foreign work does not hold the log up (I8, I10), it cannot be used wrongly (I9), and
//! nobody changes history (I11).

use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Position};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::time::Duration;
use test_postgres::Server;

#[tokio::test]
async fn i8_a_foreign_transaction_left_open_with_a_write_delays_nobody() {
    let server = Server::start().await;
    server.execute("create database elsewhere").await;
    server.execute("create table foreign_work (x integer)").await;
    let mut here = server.superuser().await;
    let mut elsewhere = server.admin().database("elsewhere").connect().await.unwrap();
    for connection in [&mut here, &mut elsewhere] {
        connection
            .execute("begin; create temp table w (x integer); insert into w values (1)")
            .await
            .unwrap();
    }
    here.execute("insert into foreign_work values (1); select count(*) from event_log.log")
        .await
        .unwrap();
    for mode in MODES {
        let mut settings = server.settings(mode);
        settings.lock_timeout = Duration::from_secs(2);
        let log = EventLog::connect(settings).await.unwrap();
        let mut follower = log.follow(log.head().await.unwrap());
        // They stay open for all of it: whoever waited for them would time out here.
        for _ in 0..20 {
            let receipt = accepted(&log, command(vec![on("busy", "x")])).await;
            let page = follower.next_page(10).await.unwrap();
            assert_eq!(page[0].position, receipt.first_position);
        }
        log.append_usage(usage("meter", &[(&format!("{mode:?}"), "1")])).await.unwrap();
        log.close().await;
    }
    // Not even a new partition waits for a reader that has seen the old ones.
    server.execute("set role opscenter_owner; select event_log.create_partition()").await;
    here.execute("rollback").await.unwrap();
    elsewhere.execute("rollback").await.unwrap();
}

/// The append as a service could write it by hand, with one event.
const BY_HAND: &str = "call event_log.append('message', array[gen_random_uuid()],
    array[gen_random_uuid()], array['\\x01'::bytea], array[1], array['a/b'], '{}', '{}', '{}', '{}',
    '{}', '{}', '{}', '{}', '{}', '{}', array[gen_random_uuid()], array[1], array['x'],
    array[1::smallint], array[gen_random_uuid()], array[now()], array['me'], array[null::uuid],
    array[null::uuid], array[''::bytea], array[''::bytea], array['\\x01'::bytea],
    array['\\x01'::bytea], array[null::text], array['\\x01'::bytea], '{}',
    null, null, null, null, null, null, null)";

#[tokio::test]
async fn i9_another_isolation_level_or_an_open_transaction_is_refused() {
    let server = Server::start().await;
    let service = server.role("opscenter_service");
    let try_it = |before: &'static str| {
        let service = service.clone();
        async move {
            let mut connection = service.connect().await.unwrap();
            connection.execute(before).await.unwrap();
            let result = connection.execute(sqlx::query(BY_HAND)).await;
            result.map(|_| ()).map_err(|error| match error {
                sqlx::Error::Database(error) => error.code().unwrap().into_owned(),
                other => panic!("{other}"),
            })
        }
    };
    let isolation = "set default_transaction_isolation to";
    for level in ["'repeatable read'", "serializable"] {
        let set: &'static str = format!("{isolation} {level}").leak();
        assert_eq!(try_it(set).await.unwrap_err(), "25000");
    }
    assert_eq!(try_it("begin").await.unwrap_err(), "2D000");
    assert_eq!(try_it("begin; select pg_current_xact_id()").await.unwrap_err(), "2D000");
    let log = server.open(CommitMode::Barrier).await;
    assert_eq!(log.head().await.unwrap(), Position::START);
    // The same call is fine on its own.
    try_it("select 1").await.unwrap();
    assert_eq!(log.head().await.unwrap(), Position(1));
    log.close().await;
}

#[tokio::test]
async fn i10_the_locks_of_other_features_do_not_meet_that_of_the_append() {
    let server = Server::start().await;
    let mut other = server.superuser().await;
    // The big number made of the same two halves, and every neighbour of the pair.
    other
        .execute(
            "begin;
             select pg_advisory_xact_lock((1869640547::bigint << 32) | 1);
             select pg_advisory_xact_lock(n) from generate_series(1, 50) n;
             select pg_advisory_xact_lock(1869640547, 4), pg_advisory_xact_lock(1, 1869640547)",
        )
        .await
        .unwrap();
    for mode in MODES {
        let mut settings = server.settings(mode);
        settings.lock_timeout = Duration::from_millis(500);
        let log = EventLog::connect(settings).await.unwrap();
        accepted(&log, command(vec![loose("x")])).await;
        log.close().await;
    }
    // And the other way round: while an append holds its lock, theirs is free.
    let mut appending = server.superuser().await;
    appending.execute("begin; select pg_advisory_xact_lock(1869640547, 1)").await.unwrap();
    other.execute("rollback").await.unwrap();
    let free: bool =
        sqlx::query_scalar("select pg_try_advisory_lock((1869640547::bigint << 32) | 1)")
            .fetch_one(&mut other)
            .await
            .unwrap();
    assert!(free);
    // Whoever cannot have the lock in time is told to try again, and nothing was recorded.
    let mut settings = server.settings(CommitMode::Barrier);
    settings.lock_timeout = Duration::from_millis(50);
    let log = EventLog::connect(settings).await.unwrap();
    let head = log.head().await.unwrap();
    assert!(matches!(refused(&log, command(vec![loose("x")])).await, AppendError::Busy));
    appending.execute("rollback").await.unwrap();
    assert_eq!(accepted(&log, command(vec![loose("y")])).await.first_position, head.next());
    log.close().await;
}

#[tokio::test]
async fn i11_nobody_changes_history_and_the_service_is_not_the_owner() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    accepted(&log, command(vec![tagged(on("kept", "x"), &["t"])])).await;
    log.append_usage(usage("meter", &[("a", "1")])).await.unwrap();
    let tables = [
        "log",
        "log_p00000",
        "log_batch",
        "tag",
        "command_receipt",
        "usage_identity",
        "usage_source",
        "tile",
        "checkpoint",
    ];
    let mut service = server.role("opscenter_service").connect().await.unwrap();
    let mut owner = server.superuser().await;
    owner.execute("set role opscenter_owner").await.unwrap();
    for table in tables {
        let column: String = sqlx::query_scalar(
            "select attname::text from pg_attribute
              where attrelid = $1::regclass and attnum > 0 order by attnum desc limit 1",
        )
        .bind(format!("event_log.{table}"))
        .fetch_one(&mut owner)
        .await
        .unwrap();
        for change in [
            format!("update event_log.{table} set {column} = {column}"),
            format!("delete from event_log.{table}"),
            format!("truncate event_log.{table} cascade"),
        ] {
            for connection in [&mut service, &mut owner] {
                let error = connection.execute(AssertSqlSafe(change.as_str())).await.unwrap_err();
                let code = error.as_database_error().unwrap().code().unwrap().into_owned();
                assert_eq!(code, "42501", "{change}: {error}");
            }
        }
    }
    for forbidden in [
        "set role opscenter_owner",
        "insert into event_log.log_batch values (9, 9, now(), '\\x')",
        "insert into event_log.stream_head values ('a/b', 1, 1)",
        "insert into event_log.claim select gen_random_uuid(), 's', '\\x', 'h', gen_random_uuid()",
        "alter table event_log.log disable trigger all",
        "drop schema event_log cascade",
        "create table event_log.mine (x integer)",
        "set session_replication_role = replica",
        "select event_log.create_partition()",
    ] {
        let error = service.execute(forbidden).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{forbidden}: {error}");
    }
    verified(&log).await;
    log.close().await;
}

//! What the log promises whoever asks: idempotency (I7), that foreign work does not hold it up (I8,
//! I10), that it cannot be used wrongly (I9, I11), that clocks (I12), partitions (I13), failures
//! (I14), bytes (I15) and lost wake-up calls (I24) do not matter.

use crate::server::Server;
use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Layout, NewEvent, Position, UsageOutcome};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test]
async fn i7_a_command_id_takes_effect_once_and_is_answered_alike_for_ever() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let name = format!("{mode:?}");
        let asked = expecting(&name, 0, command(vec![on(&name, "1"), on(&name, "2")]));
        let first = accepted(&log, asked.clone()).await;
        assert!(!first.was_replayed);
        // Same id and content, although its expectation no longer holds.
        let again = accepted(&log, asked.clone()).await;
        assert!(again.was_replayed);
        assert_eq!(event_log::Receipt { was_replayed: false, ..again }, first);
        // Same id, other content; and as another tenant's.
        let mut other = asked.clone();
        other.command.content_hash = [2; 32];
        let mut foreign = asked.clone();
        foreign.tenant = uuid::Uuid::nil();
        for reuse in [other, foreign] {
            let AppendError::CommandReused { command_id } = refused(&log, reuse).await else {
                panic!("a reused id was not noticed");
            };
            assert_eq!(command_id, first.command_id);
        }
        // Another id at the same version.
        let late = expecting(&name, 0, command(vec![on(&name, "3")]));
        assert!(matches!(refused(&log, late.clone()).await, AppendError::Conflict { .. }));
        // What was refused left no receipt: the same id may be asked again and then counts.
        assert_eq!(log.receipt(late.command.id).await.unwrap(), None);
        let mut retried = late;
        retried.conditions.clear();
        assert!(!accepted(&log, retried).await.was_replayed);
        // An empty append.
        let empty = command(vec![]);
        let receipt = accepted(&log, empty.clone()).await;
        let head = log.head().await.unwrap();
        assert_eq!((receipt.first_position, receipt.last_position), (head, head));
        accepted(&log, command(vec![loose("later")])).await;
        let again = accepted(&log, empty).await;
        assert_eq!((again.last_position, again.event_ids.len()), (head, 0));
        assert_eq!(
            log.receipt(first.command_id).await.unwrap().unwrap().event_ids,
            first.event_ids
        );
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_fifty_retries_at_once_have_one_effect_and_equal_receipts() {
    let server = Server::start().await;
    for mode in MODES {
        let logs = [server.open(mode).await, server.open(mode).await];
        let head = logs[0].head().await.unwrap();
        let asked = command(vec![loose("once")]);
        let mut retries = JoinSet::new();
        for retry in 0..50 {
            let (log, asked) = (logs[retry % 2].clone(), asked.clone());
            retries.spawn(async move { accepted(&log, asked).await });
        }
        let mut fresh = 0;
        while let Some(ended) = retries.join_next().await {
            let receipt = ended.unwrap();
            assert_eq!(receipt.first_position, head.next());
            assert_eq!(receipt.event_ids, [asked.events[0].event_id]);
            fresh += usize::from(!receipt.was_replayed);
        }
        assert_eq!(fresh, 1);
        assert_eq!(logs[0].head().await.unwrap(), head.next());
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test]
async fn i7_a_usage_batch_that_is_a_command_is_answered_alike() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let source = format!("{mode:?}");
        log.append_usage(usage(&source, &[("known", "0")])).await.unwrap();
        let mut batch = usage(&source, &[("a", "1"), ("known", "0"), ("a", "1"), ("b", "2")]);
        batch.command = Some(command(vec![]).command);
        let first = log.append_usage(batch.clone()).await.unwrap();
        let again = log.append_usage(batch.clone()).await.unwrap();
        assert!(again.was_replayed && !first.was_replayed);
        assert_eq!(event_log::UsageReceipt { was_replayed: false, ..again }, first);
        let kept = log.receipt(batch.command.unwrap().id).await.unwrap().unwrap();
        assert_eq!((Some(kept.first_position), kept.event_ids.len()), (first.first_position, 2));
        // A batch in which nothing is new replays as such, too.
        let mut stale = usage(&source, &[("a", "1")]);
        stale.command = Some(command(vec![]).command);
        let first = log.append_usage(stale.clone()).await.unwrap();
        assert!(matches!(first.outcomes[..], [UsageOutcome::Repeated(_)]));
        log.append_usage(usage(&source, &[("c", "3")])).await.unwrap();
        assert_eq!(log.append_usage(stale).await.unwrap().outcomes, first.outcomes);
        verified(&log).await;
        log.close().await;
    }
}

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
        "insert into event_log.claim values (gen_random_uuid(), 's', '\\x', 'h', gen_random_uuid())",
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

#[tokio::test]
async fn i12_a_clock_that_jumps_leaves_order_and_time_going_forward() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let mut receipts = vec![accepted(&log, command(vec![loose("now")])).await];
        for jump in ["- interval '1 hour'", "+ interval '1 year'", "- interval '1 hour'", ""] {
            server
                .execute(&format!(
                    "create or replace function event_log.clock() returns timestamptz
                     language sql volatile as 'select clock_timestamp() {}'",
                    jump.replace('\'', "''")
                ))
                .await;
            for _ in 0..2 {
                receipts.push(accepted(&log, command(vec![loose("x"), loose("y")])).await);
            }
        }
        for pair in receipts.windows(2) {
            assert!(pair[0].recorded_at < pair[1].recorded_at);
            assert_eq!(pair[1].first_position, pair[0].last_position.next());
        }
        for receipt in &receipts {
            let tick = chrono::TimeDelta::microseconds(1);
            let at = log.position_at(receipt.recorded_at).await.unwrap();
            assert_eq!(at, receipt.last_position);
            let before = log.position_at(receipt.recorded_at - tick).await.unwrap();
            assert_eq!(before.next(), receipt.first_position);
            let read = log.recorded_at(receipt.first_position).await.unwrap();
            assert_eq!(read, Some(receipt.recorded_at));
        }
        verified(&log).await;
        log.close().await;
    }
}

#[tokio::test]
async fn i13_a_group_goes_over_the_edge_of_a_partition_and_the_next_is_made_ahead() {
    let server = Server::with_layout(Layout { partition_rows: 16 }).await;
    for mode in MODES {
        let log = server.open(mode).await;
        for turn in 0..12 {
            let mut events: Vec<NewEvent> = (0..3).map(|_| on("edge", "x")).collect();
            events.push(loose("loose"));
            accepted(&log, command(events)).await;
            let ids = [format!("{mode:?}{turn}a"), format!("{mode:?}{turn}b")];
            log.append_usage(usage("meter", &[(&ids[0], "1"), (&ids[1], "2")])).await.unwrap();
        }
        let head = verified(&log).await;
        let partitions: i64 = sqlx::query_scalar("select count(*) from event_log.log_partition")
            .fetch_one(log.pool())
            .await
            .unwrap();
        assert!(partitions * 16 > head.0 && partitions >= 5);
        let edge = log.read_stream(&stream("edge"), 0, None).await.unwrap();
        let found = log.event_by_id(edge.last().unwrap().event_id).await.unwrap();
        assert_eq!(found.as_ref(), edge.last());
        let usage_event = log.event(head).await.unwrap().unwrap();
        assert_eq!(log.event_by_id(usage_event.event_id).await.unwrap(), Some(usage_event));
        log.close().await;
    }
}

#[tokio::test]
async fn i13_without_a_next_partition_an_append_is_refused_and_leaves_nothing() {
    let server = Server::with_layout(Layout { partition_rows: 8 }).await;
    let log = server.open(CommitMode::Barrier).await;
    accepted(&log, command(vec![loose("1"), loose("2")])).await;
    // Nobody can make another one.
    server
        .execute(
            "create or replace function event_log.keep_partitions_ahead() returns bigint
             language sql as 'select 0::bigint'",
        )
        .await;
    let room: i64 = sqlx::query_scalar("select max(last) from event_log.log_partition")
        .fetch_one(log.pool())
        .await
        .unwrap();
    let mut head = log.head().await.unwrap().0;
    while head + 3 <= room {
        head = accepted(&log, command(vec![on("s", "1"), on("s", "2"), on("s", "3")]))
            .await
            .last_position
            .0;
    }
    let before = five_tables(&log).await;
    let events = vec![tagged(on("s", "4"), &["t"]), on("s", "5"), on("s", "6")];
    let error = refused(&log, taking(1, "ada", command(events))).await;
    assert!(matches!(&error, AppendError::Refused(why) if why.contains("partition")), "{error}");
    let records = [("a", "1"), ("b", "2"), ("c", "3")];
    let error = log.append_usage(usage("meter", &records)).await.unwrap_err();
    assert!(matches!(&error, AppendError::Refused(why) if why.contains("partition")), "{error}");
    assert_eq!(five_tables(&log).await, before);
    assert_eq!(log.usage_position(TENANT, "meter", "a").await.unwrap(), None);
    // What fits still goes in.
    for position in head + 1..=room {
        let receipt = accepted(&log, command(vec![loose("x")])).await;
        assert_eq!(receipt.first_position.0, position);
    }
    verified(&log).await;
    log.close().await;
}

/// Everything a failed command could have left behind, as text.
async fn five_tables(log: &EventLog) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["log", "log_batch", "stream_head", "tag", "claim", "command_receipt"] {
        let rows: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select string_agg(t::text, chr(10) order by t::text) from event_log.{table} t"
        )))
        .fetch_one(log.pool())
        .await
        .unwrap();
        all.push(format!("{table}: {}", rows.unwrap_or_default()));
    }
    all
}

#[tokio::test]
async fn i14_a_failed_command_leaves_nothing_in_any_table() {
    let server = Server::start().await;
    for mode in MODES {
        let log = server.open(mode).await;
        let name = format!("{mode:?}");
        let events = vec![tagged(on(&name, "1"), &["kept"]), on("other", "2")];
        accepted(&log, taking(5, "ada", command(events))).await;
        let before = five_tables(&log).await;
        let fresh = format!("new-{name}");
        let many = || {
            let three = tagged(on(&name, "3"), &["kept", "more"]);
            taking(6, "bob", command(vec![three, on(&fresh, "4"), loose("5")]))
        };
        refused(&log, expecting(&name, 7, many())).await;
        refused(&log, expecting(&fresh, 1, many())).await;
        refused(&log, unless(&[], &["kept"], Position::START, many())).await;
        refused(&log, taking(5, "bob", many())).await;
        refused(&log, releasing(5, "bob", many())).await;
        // The database itself fails in the middle: the last table of all cannot be written.
        server
            .execute(
                "create function public.fail() returns trigger language plpgsql as
                 'begin raise exception ''no'' using errcode = ''23514''; end';
                 create trigger fail before insert on event_log.log_batch
                 execute function public.fail()",
            )
            .await;
        assert!(matches!(refused(&log, many()).await, AppendError::Refused(_)));
        server.execute("drop trigger fail on event_log.log_batch; drop function public.fail").await;
        assert_eq!(five_tables(&log).await, before);
        // And the very same demands are met once nothing stands in the way.
        accepted(&log, many()).await;
        accepted(&log, releasing(5, "ada", releasing(6, "bob", command(vec![])))).await;
        verified(&log).await;
        log.close().await;
    }
}

#[tokio::test]
async fn i15_any_bytes_come_back_as_they_were_and_too_many_are_refused_before_the_lock() {
    let server = Server::start().await;
    // Held by somebody else: what is refused all the same never asked for it.
    let mut holder = server.superuser().await;
    for mode in MODES {
        let mut settings = server.settings(mode);
        settings.lock_timeout = Duration::from_millis(100);
        let log = EventLog::connect(settings).await.unwrap();
        let bodies: [Vec<u8>; 6] = [
            vec![],
            vec![0],
            vec![0xff, 0xfe, 0, 0x80],
            (0..=255).collect(),
            "\\x00 \\\\ ' \" , {} NULL".into(),
            vec![0xa5; 1 << 20],
        ];
        for body in &bodies {
            let event = NewEvent { meta: body.clone(), ..on("bytes", body.clone()) };
            let receipt = accepted(&log, command(vec![event])).await;
            let read = log.event(receipt.first_position).await.unwrap().unwrap();
            assert!(read.payload == *body && read.meta == *body);
            let raw = log.raw_rows(Position(receipt.first_position.0 - 1), 1).await.unwrap();
            assert_eq!(raw[0].hash()[..], raw[0].event_hash[..]);
        }
        verified(&log).await;
        holder.execute("begin; select pg_advisory_xact_lock(1869640547, 1)").await.unwrap();
        let begun = Instant::now();
        let over = refused(&log, command(vec![loose(vec![0; (1 << 20) + 1])])).await;
        assert!(matches!(over, AppendError::TooLarge { bytes: 1_048_577, limit: 1_048_576 }));
        let many = refused(&log, command((0..9).map(|_| loose(vec![0; 1 << 20])).collect())).await;
        assert!(matches!(many, AppendError::TooLarge { limit: 8_388_608, .. }));
        for odd in ["", "nul\0", "line\n"] {
            let event = NewEvent { actor: odd.to_owned(), ..loose("x") };
            assert!(matches!(refused(&log, command(vec![event])).await, AppendError::Refused(_)));
        }
        assert!(begun.elapsed() < Duration::from_millis(100));
        holder.execute("rollback").await.unwrap();
        log.close().await;
    }
}

#[tokio::test]
async fn i24_followers_converge_when_no_notification_arrives_and_listeners_die() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    server
        .execute(
            "create or replace function pg_temp.nothing() returns void language sql as '';
             alter function event_log.close_batch rename to close_batch_loudly;
             do $$ begin execute replace(replace(
                 pg_get_functiondef('event_log.close_batch_loudly'::regproc),
                 'close_batch_loudly', 'close_batch'), 'perform pg_notify', '-- '); end $$",
        )
        .await;
    let mut follower = log.follow(Position::START);
    for number in 1..=5 {
        let waiting = tokio::spawn(async move {
            let page = follower.next_page(10).await.unwrap();
            (page, follower)
        });
        accepted(&log, command(vec![loose("quiet")])).await;
        let told = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
        assert_eq!(told.0[0].position, Position(number));
        follower = told.1;
        server
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                  where query ilike 'listen%' and pid <> pg_backend_pid()",
            )
            .await;
    }
    log.close().await;
}

#[tokio::test]
async fn a_notification_wakes_a_follower_long_before_it_would_look_by_itself() {
    let server = Server::start().await;
    let mut settings = server.settings(CommitMode::Barrier);
    settings.poll_floor = Duration::from_secs(60);
    let log = EventLog::connect(settings).await.unwrap();
    let listening = "select exists (select from pg_stat_activity where query ilike 'listen%')";
    crate::order::until_true(&server, listening).await;
    let mut follower = log.follow(Position::START);
    let waiting = tokio::spawn(async move { follower.next_page(10).await.unwrap().len() });
    accepted(&log, command(vec![loose("loud")])).await;
    let count = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!(count, 1);
    log.close().await;
}

//! Clocks that jump (I12), partitions that end (I13), commands that fail (I14), bytes of any kind
//! (I15) and wake-up calls that never come (I24): the log stays as it should be.

use crate::world::*;
use event_log::{AppendError, CommitMode, EventLog, Layout, NewEvent, Position};
use sqlx::{AssertSqlSafe, Executor};
use std::time::{Duration, Instant};
use test_postgres::Server;

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
                 'close_batch_loudly', 'close_batch'), 'ignored := pg_notify', '-- '); end $$",
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

//! Setting up: migrations that can be repeated, databases that do not fit, and the bookkeeping of
//! whoever reads the log (checkpoints, leases, timers, snapshots).

use crate::world::*;
use event_log::{
    CommitMode, EventLog, MigrateError, NewEvent, OpenError, Position, SCHEMA_VERSION, Settings,
    Snapshot, StreamId, Timer, advance, consumer_position, consumer_remove, consumer_set,
    lease_take, migrate, timer_clear, timer_set, timers_due,
};
use sqlx::Connection;
use std::time::Duration;
use test_postgres::Server;

#[tokio::test]
async fn a_log_is_made_once_however_many_make_it_at_once() {
    let server = Server::unmigrated();
    let owner = server.admin();
    let (one, two, three) = tokio::join!(migrate(&owner), migrate(&owner), migrate(&owner));
    let mut from: Vec<i32> = [one, two, three].map(|done| done.unwrap().from).into();
    from.sort_unstable();
    assert_eq!(from, [0, SCHEMA_VERSION, SCHEMA_VERSION]);
    let log = server.open(CommitMode::Barrier).await;
    accepted(&log, command(vec![loose("x")])).await;
    log.close().await;
    let undescribed: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
          where relnamespace = 'event_log'::regnamespace and relkind in ('r', 'p', 'v')
            and not relispartition and obj_description(oid) is null",
    )
    .fetch_all(&mut server.superuser().await)
    .await
    .unwrap();
    assert_eq!(undescribed, ["log_partition"; 0]);
}

#[tokio::test]
async fn a_database_without_a_log_or_with_one_of_another_age_is_not_opened() {
    let server = Server::unmigrated();
    server.execute("create role opscenter_service login").await;
    let open = || EventLog::connect(server.settings(CommitMode::Barrier));
    assert!(matches!(open().await, Err(OpenError::NotMigrated)));
    migrate(&server.admin()).await.unwrap();
    server.execute("insert into event_log.schema_migration values (99, '0099_later', '')").await;
    assert!(matches!(open().await, Err(OpenError::SchemaNewer { found: 99, .. })));
    let newer = migrate(&server.admin()).await.unwrap_err();
    assert!(matches!(newer, MigrateError::Newer { found: 99, .. }));
    server.execute("delete from event_log.schema_migration where version >= 5").await;
    assert!(matches!(open().await, Err(OpenError::SchemaTooOld { found: 4, .. })));
    server.execute("update event_log.schema_migration set checksum = '' where version = 2").await;
    let changed = migrate(&server.admin()).await.unwrap_err();
    assert!(changed.to_string().contains("0002_guards_and_partitions"), "{changed}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_says_what_to_do() {
    let server = Server::unmigrated();
    server.execute("create database latin encoding 'SQL_ASCII' template template0").await;
    let latin = migrate(&server.admin().database("latin")).await.unwrap_err();
    assert!(latin.to_string().contains("SQL_ASCII"), "{latin}");
    assert!(matches!(Settings::from_url("no url"), Err(OpenError::Url)));
    let nowhere = server.admin().socket("/nonexistent");
    let gone = EventLog::connect(Settings::new(nowhere)).await.unwrap_err();
    assert!(matches!(gone, OpenError::Unreachable(_)), "{gone}");
}

#[tokio::test]
async fn a_checkpoint_moves_once_from_each_place_and_with_the_transaction() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let mut connection = log.pool().acquire().await.unwrap();
    let p = Position;
    assert_eq!(consumer_position(&mut connection, "c").await.unwrap(), p(0));
    assert!(!advance(&mut connection, "c", p(3), p(4)).await.unwrap());
    assert!(advance(&mut connection, "c", p(0), p(5)).await.unwrap());
    assert!(!advance(&mut connection, "c", p(0), p(9)).await.unwrap());
    let mut transaction = connection.begin().await.unwrap();
    assert!(advance(&mut transaction, "c", p(5), p(6)).await.unwrap());
    transaction.rollback().await.unwrap();
    assert_eq!(consumer_position(&mut connection, "c").await.unwrap(), p(5));
    consumer_set(&mut connection, "c", p(2)).await.unwrap();
    assert!(advance(&mut connection, "c", p(2), p(3)).await.unwrap());
    // A lease keeps others out until it runs out, and decides nothing about the position.
    let hour = Duration::from_secs(3_600);
    assert!(lease_take(&mut connection, "c", "one", hour).await.unwrap());
    assert!(!lease_take(&mut connection, "c", "two", hour).await.unwrap());
    assert!(lease_take(&mut connection, "c", "one", Duration::ZERO).await.unwrap());
    assert!(lease_take(&mut connection, "c", "two", hour).await.unwrap());
    assert!(lease_take(&mut connection, "new", "two", hour).await.unwrap());
    assert!(advance(&mut connection, "new", p(0), p(1)).await.unwrap());
    assert!(consumer_remove(&mut connection, "c").await.unwrap());
    assert!(!consumer_remove(&mut connection, "c").await.unwrap());
    drop(connection);
    log.close().await;
}

#[tokio::test]
async fn a_timer_is_due_when_its_time_has_come_and_cleared_only_as_it_was_read() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let mut connection = log.pool().acquire().await.unwrap();
    let at = |minutes: i64| {
        "2026-03-01T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
            + chrono::TimeDelta::minutes(minutes)
    };
    let timer = |name: &str, minutes| Timer {
        name: name.to_owned(),
        tenant: TENANT,
        due_at: at(minutes),
        content: vec![0, 1],
    };
    for timer in [timer("late", 2), timer("early", 1), timer("far", 60)] {
        timer_set(&mut connection, &timer).await.unwrap();
    }
    let due = timers_due(&mut connection, at(2), 10).await.unwrap();
    assert_eq!(due, [timer("early", 1), timer("late", 2)]);
    assert_eq!(timers_due(&mut connection, at(2), 1).await.unwrap().len(), 1);
    // Moved after it was read: what was read no longer stands and clears nothing.
    timer_set(&mut connection, &timer("early", 30)).await.unwrap();
    assert!(!timer_clear(&mut connection, "early", at(1)).await.unwrap());
    assert!(timer_clear(&mut connection, "late", at(2)).await.unwrap());
    assert_eq!(timers_due(&mut connection, at(2), 10).await.unwrap(), []);
    drop(connection);
    log.close().await;
}

/// Appends an event to a stream and says where it stands.
async fn append_one(log: &EventLog, name: &StreamId) -> Position {
    let event = NewEvent { stream: Some(name.clone()), ..loose("x") };
    log.append(command(vec![event])).await.unwrap().last_position
}

#[tokio::test]
async fn a_snapshot_is_found_by_what_folded_it_where_the_log_holds_its_event() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    let name = stream("long");
    let mut positions = vec![Position(0)];
    for _ in 0..4 {
        positions.push(append_one(&log, &name).await);
    }
    let snapshot = |version: usize| Snapshot {
        version: i64::try_from(version).unwrap(),
        position: positions[version],
        state: vec![u8::try_from(version).unwrap()],
    };
    let (mine, another) = ([1; 32], [2; 32]);
    let end = Position(i64::MAX);
    for version in 1..=4 {
        log.leave_snapshot(&name, &mine, &snapshot(version), 1).await.unwrap();
    }
    for (at, version) in [(end, 4), (positions[4], 4), (positions[3], 3), (positions[1], 1)] {
        let found = log.snapshot(&name, &mine, at).await.unwrap().unwrap();
        assert_eq!(found.snapshot, snapshot(version));
        let hash = log.event_hash(positions[version]).await.unwrap().unwrap();
        assert_eq!(found.event_hash, hash);
    }
    let before = Position(positions[1].0 - 1);
    assert_eq!(log.snapshot(&name, &mine, before).await.unwrap(), None);
    assert_eq!(log.snapshot(&name, &another, end).await.unwrap(), None);

    // Ahead of the log, or of another event than it says: as good as none.
    let ahead = Snapshot { version: 5, position: Position(999), state: vec![9] };
    let elsewhere = Snapshot { version: 6, position: positions[2], state: vec![9] };
    for wrong in [ahead, elsewhere] {
        log.leave_snapshot(&name, &mine, &wrong, 1).await.unwrap();
        let found = log.snapshot(&name, &mine, end).await.unwrap().unwrap();
        assert_eq!(found.snapshot, snapshot(4));
    }
    // Thinned to every second, and another reducer's are gone.
    log.leave_snapshot(&name, &another, &snapshot(3), 1).await.unwrap();
    assert_eq!(log.snapshot(&name, &mine, end).await.unwrap(), None);
    for version in 1..=3 {
        log.leave_snapshot(&name, &mine, &snapshot(version), 2).await.unwrap();
    }
    let sql = "select array_agg(version order by version) from event_log.snapshot";
    let kept: Vec<i64> = sqlx::query_scalar(sql).fetch_one(log.pool()).await.unwrap();
    assert_eq!(kept, [2, 3]);
    log.close().await;
}

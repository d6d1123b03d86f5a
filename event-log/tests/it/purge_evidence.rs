//! Purge and evidence: whatever is proved stays proved, at whichever step a purge is killed, and
//! beside processes that know nothing of it.

use crate::order::until_true;
use crate::purge::{count, everything_due, old_refusals, purged};
use crate::tree::from_rows;
use crate::world::*;
use event_log::tree::proof::{verify_consistency, verify_inclusion};
use event_log::{AppendError, CommitMode, Position, migrate};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use test_postgres::Server;

#[tokio::test]
async fn i30_what_the_tree_proved_before_a_purge_it_proves_after_it() {
    let server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 150).await;
    let before = log.grow_tree().await.unwrap();
    let root = log.tree_root(before).await.unwrap();
    let (purge, append) = everything_due(&log, 100).await;
    let gone = purge.positions.clone();
    let _receipt = log.purge(purge, append).await.unwrap();
    // Some are purged before the tree has taken them in.
    let young = log.grow_tree().await.unwrap();
    let (rest, append) = everything_due(&log, 100).await;
    let _receipt = log.purge(rest, append).await.unwrap();
    let size = log.grow_tree().await.unwrap();
    assert!(before < young && young < size);
    assert_eq!(purged(&log).await, Ok(150));
    // Made again from what is left of the rows, the tree is the same at every size.
    let made = from_rows(&log).await;
    let at = |size: u64| usize::try_from(size).unwrap();
    assert_eq!(made.roots[at(before)], root);
    let now = log.tree_root(size).await.unwrap();
    assert_eq!(made.roots[at(size)], now);
    let consistency = log.consistency(before, size).await.unwrap();
    verify_consistency(before, size, &root, &now, &consistency).unwrap();
    for position in gone {
        let inclusion = log.inclusion(Position(position), size).await.unwrap();
        let leaf = inclusion.entry.leaf();
        assert_eq!(inclusion.entry, made.entries[usize::try_from(position).unwrap() - 1]);
        verify_inclusion(position.unsigned_abs() - 1, size, &leaf, &now, &inclusion.path).unwrap();
    }
    log.close().await;
}

/// Where a purge can be stopped: a statement that makes it wait there for the test's lock, and one
/// that takes that away.
const STEPS: [(&str, &str, &str); 3] = [
    (
        "locked",
        "create or replace function event_log.clock() returns timestamptz language plpgsql as
         'begin perform pg_advisory_xact_lock(77); return clock_timestamp(); end'",
        "create or replace function event_log.clock() returns timestamptz language sql volatile as
         'select clock_timestamp()'",
    ),
    (
        "recorded",
        "create function public.hold() returns trigger language plpgsql security definer as
         'begin perform pg_advisory_xact_lock(77); return null; end';
         create trigger hold after insert on event_log.log_batch execute function public.hold()",
        "drop function public.hold cascade",
    ),
    (
        "purged",
        "create function public.hold() returns trigger language plpgsql security definer as
         'begin perform pg_advisory_xact_lock(77); return null; end';
         create trigger hold after update on event_log.log execute function public.hold()",
        "drop function public.hold cascade",
    ),
];

const HELD: &str = "select exists (select from pg_locks where locktype = 'advisory'
                     and not granted and objid = 77)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i30_a_database_killed_in_the_middle_of_a_purge_has_purged_all_of_it_or_nothing() {
    let mut server = Server::start().await;
    let log = server.open(CommitMode::Barrier).await;
    old_refusals(&log, &server, 12).await;
    let mut done = 0;
    for (step, hold, release) in STEPS {
        let (purge, append) = everything_due(&log, 4).await;
        let mut holder = server.superuser().await;
        let sql = format!("begin; {hold}; commit; begin; select pg_advisory_xact_lock(77)");
        holder.execute(AssertSqlSafe(sql)).await.unwrap();
        let purging = tokio::spawn({
            let (log, purge, append) = (log.clone(), purge.clone(), append.clone());
            async move { log.purge(purge, append).await }
        });
        until_true(&server, HELD).await;
        server.kill_and_restart();
        let _closed = holder.close().await;
        let error = purging.await.unwrap().unwrap_err();
        assert!(matches!(error, AppendError::Unavailable(_)), "{step}: {error}");
        server.execute(release).await;
        assert_eq!(purged(&log).await, Ok(done), "{step}");
        assert_eq!(count(&log, "payload like '%secret%'").await, 12 - i64::try_from(done).unwrap());
        // Asked again with the same id it happens, and what was answered survives the next kill.
        let receipt = log.purge(purge.clone(), append.clone()).await.unwrap();
        assert!(!receipt.was_replayed, "{step}");
        server.kill_and_restart();
        done += 4;
        assert_eq!(purged(&log).await, Ok(done), "{step}");
        assert!(log.purge(purge, append).await.unwrap().was_replayed, "{step}");
        verified(&log).await;
    }
    log.close().await;
}

/// Takes 0008 and what follows back, as a database of the version before is.
const VERSION_BEFORE: &str = "
    drop trigger only_bodies_go on event_log.log;
    drop function event_log.only_bodies_go, event_log.purge_bodies, event_log.retention_days,
        event_log.standing_holds, event_log.keep_in_vault, event_log.stays,
        event_log.retention_version, event_log.seal_partition, event_log.partition_table,
        event_log.draft_partition, event_log.exchange_partition;
    drop table event_log.archive, event_log.purgeable, event_log.subject_vault;
    alter table event_log.log drop column payload_commit, drop column meta_commit;
    alter table event_log.snapshot drop constraint snapshot_pkey,
        add primary key (stream, reducer);
    delete from event_log.schema_migration where version >= 8";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i32_a_process_of_the_version_before_appends_and_reads_while_purging_comes() {
    let server = Server::start().await;
    let old = server.open(CommitMode::Adaptive).await;
    server.execute(VERSION_BEFORE).await;
    old_refusals(&old, &server, 20).await;
    let (stop, appended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let appending = tokio::spawn({
        let (old, stop, appended) = (old.clone(), Arc::clone(&stop), Arc::clone(&appended));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let event = on("beside", "goes on");
                let receipt = accepted(&old, command(vec![event, loose("too")])).await;
                let read = old.read(Position(receipt.first_position.0 - 1), 2).await.unwrap();
                assert_eq!(read.len(), 2);
                appended.fetch_add(2, Ordering::Relaxed);
            }
        }
    });
    let more = async |than: usize| {
        while appended.load(Ordering::Relaxed) <= than {
            assert!(!appending.is_finished(), "the old process stopped");
            tokio::task::yield_now().await;
        }
    };
    more(10).await;
    migrate(&server.admin()).await.unwrap();
    let new = server.open(CommitMode::Adaptive).await;
    for _ in 0..2 {
        let (purge, append) = everything_due(&new, 10).await;
        let _receipt = new.purge(purge, append).await.unwrap();
        more(appended.load(Ordering::Relaxed) + 10).await;
    }
    stop.store(true, Ordering::Relaxed);
    appending.await.unwrap();
    let events = i64::try_from(appended.load(Ordering::Relaxed)).unwrap();
    assert_eq!(count(&new, "type = 'happened' and payload in ('goes on', 'too')").await, events);
    assert_eq!(purged(&new).await, Ok(20));
    verified(&old).await;
    // What the old process remembers of the batches is what the new one recorded.
    let size = old.grow_tree().await.unwrap();
    assert_eq!(new.tree_root(size).await.unwrap(), *from_rows(&new).await.roots.last().unwrap());
    old.close().await;
    new.close().await;
}

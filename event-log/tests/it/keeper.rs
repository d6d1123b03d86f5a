//! The keeper of the evidence: what it signs is right, follows from what it signed before, and is
//! compared with a database that was set back, forked or changed.

use crate::world::{MODES, accepted, command, loose, refused, verified};
use event_log::note::{Checkpoint, Note};
use event_log::tree::guard::{GUARD_FILE, Guard, Guarded, Halt};
use event_log::tree::keeper::{Evidence, Keeper};
use event_log::tree::proof::verify_consistency;
use event_log::{AppendError, CommitMode, EventLog, Position, SigningKeys};
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_postgres::Server;

/// A folder for keys and guard.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("evidence-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn evidence(&self) -> Evidence {
        let keys = SigningKeys::load_or_create(&self.0.join("log-keys.json")).unwrap();
        Evidence { keys, guard: Guard::at(self.0.join(GUARD_FILE)) }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// Every checkpoint there is, after checking all that can be checked about it: the signature, that
/// its root is the tree's, and that it follows from the one before.
async fn checkpoints(log: &EventLog, keys: &SigningKeys) -> Vec<Checkpoint> {
    let kept: Vec<(i64, Vec<u8>, String)> =
        sqlx::query_as("select size, root, note from event_log.checkpoint order by size")
            .fetch_all(log.pool())
            .await
            .unwrap();
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    for (size, root, note) in kept {
        let note: Note = note.parse().unwrap();
        assert_eq!(note.verify(&keys.verifier_keys()).unwrap().len(), 1);
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        assert_eq!(checkpoint.size(), size.unsigned_abs());
        assert_eq!(checkpoint.root()[..], root);
        assert_eq!(log.tree_root(checkpoint.size()).await.unwrap()[..], root);
        let tenants = log.organizations(checkpoint.size()).await.unwrap().root();
        assert_eq!(checkpoint.tenants(), Some(tenants));
        let (last, chain): (i64, Vec<u8>) = sqlx::query_as(
            "select last, chain from event_log.log_batch where first <= $1
              order by first desc limit 1",
        )
        .bind(size)
        .fetch_one(log.pool())
        .await
        .unwrap();
        assert_eq!((last, checkpoint.chain().unwrap().to_vec()), (size, chain));
        if let Some(before) = checkpoints.last() {
            let (old, new) = (before.size(), checkpoint.size());
            let proof = log.consistency(old, new).await.unwrap();
            verify_consistency(old, new, before.root(), checkpoint.root(), &proof).unwrap();
        }
        checkpoints.push(checkpoint);
    }
    checkpoints
}

/// Waits until the keeper has said what is expected of it.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

async fn is_signed(log: &EventLog, position: Position) -> bool {
    let sql = "select exists (select from event_log.checkpoint where size >= $1)";
    sqlx::query_scalar(sql).bind(position).fetch_one(log.pool()).await.unwrap()
}

/// Lets a keeper work until everything is signed or it has halted.
async fn keep(log: &EventLog, evidence: Evidence) {
    let head = log.head().await.unwrap();
    log.resume();
    let keeper = Keeper::start(log, evidence);
    until("signed or halted", async || {
        log.halted().is_some() || head == Position::START || is_signed(log, head).await
    })
    .await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_is_signed_while_it_goes_on_and_at_the_end() {
    let server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    for mode in MODES {
        let log = server.open(mode).await;
        let keeper = Keeper::start(&log, evidence.clone());
        let first = accepted(&log, command(vec![loose("a"), loose("b")])).await.last_position;
        until("a first checkpoint", async || is_signed(&log, first).await).await;
        let next = accepted(&log, command(vec![loose("c")])).await.last_position;
        until("a second checkpoint", async || is_signed(&log, next).await).await;
        let last = accepted(&log, command(vec![loose("d")])).await.last_position;
        keeper.stop().await;
        let signed = checkpoints(&log, &evidence.keys).await;
        assert_eq!(signed.last().map(Checkpoint::size), Some(last.0.unsigned_abs()));
        let guarded = evidence.guard.read().unwrap().unwrap();
        assert_eq!((guarded.epoch, guarded.position), (1, last));
        assert_eq!(guarded.checkpoint().as_ref(), signed.last());
        log.close().await;
    }
}

/// I19.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i19_two_signers_at_once_publish_one_root_for_each_size() {
    let server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    let log = server.open(CommitMode::Adaptive).await;
    let other = server.open(CommitMode::Adaptive).await;
    let keepers = [Keeper::start(&log, evidence.clone()), Keeper::start(&other, folder.evidence())];
    let mut last = Position::START;
    for _ in 0..4 {
        // Both believe, again and again, that the lease is theirs.
        sqlx::query("update event_log.consumer set owner = null where name = 'tree'")
            .execute(log.pool())
            .await
            .unwrap();
        for _ in 0..40 {
            last = accepted(&log, command(vec![loose("x")])).await.last_position;
        }
        until("signed", async || is_signed(&log, last).await).await;
    }
    for keeper in keepers {
        keeper.stop().await;
    }
    let signed = checkpoints(&log, &evidence.keys).await;
    assert!(signed.len() >= 4);
    assert_eq!(signed.last().map(Checkpoint::size), Some(last.0.unsigned_abs()));
    assert_eq!((log.halted(), other.halted()), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i17_a_database_that_was_set_back_takes_nothing_and_signs_nothing() {
    let mut server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    let log = server.open(CommitMode::Adaptive).await;
    let keeper = Keeper::start(&log, evidence.clone());
    let kept = accepted(&log, command(vec![loose("kept")])).await.last_position;
    until("signed", async || is_signed(&log, kept).await).await;
    keeper.stop().await;
    log.close().await;
    let backup = server.backup();
    let log = server.open(CommitMode::Adaptive).await;
    let keeper = Keeper::start(&log, evidence.clone());
    let lost = accepted(&log, command(vec![loose("lost")])).await.last_position;
    until("signed", async || is_signed(&log, lost).await).await;
    keeper.stop().await;
    log.close().await;

    // An older copy.
    server.restore(&backup);
    let log = server.open(CommitMode::Adaptive).await;
    let older = Halt::SetBack { head: kept, signed: lost };
    assert_eq!(log.disagreement(&evidence.guard).await.unwrap(), Some(older.clone()));
    let keeper = Keeper::start(&log, evidence.clone());
    until("halted", async || log.halted().is_some()).await;
    let error = refused(&log, command(vec![loose("more")])).await;
    assert!(matches!(error, AppendError::Halted(halt) if halt == older));
    keeper.stop().await;
    assert!(!is_signed(&log, lost).await);
    log.close().await;

    // The same copy, gone on with by somebody who looked away: another tail.
    let log = server.open(CommitMode::Adaptive).await;
    let forked = accepted(&log, command(vec![loose("another"), loose("tail")])).await;
    assert!(forked.last_position > lost);
    let other = Halt::Forked { signed: lost };
    assert_eq!(log.disagreement(&evidence.guard).await.unwrap(), Some(other));
    let keeper = Keeper::start(&log, evidence.clone());
    until("halted", async || log.halted().is_some()).await;
    keeper.stop().await;
    assert!(!is_signed(&log, lost).await);
    assert_eq!(evidence.guard.read().unwrap().unwrap().position, lost);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_set_back_below_a_running_server_is_noticed_and_forgiven_once_mended() {
    let mut server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    let log = server.open(CommitMode::Adaptive).await;
    accepted(&log, command(vec![loose("a")])).await;
    let keeper = Keeper::start(&log, evidence.clone());
    until("signed", async || is_signed(&log, Position(1)).await).await;
    let older = server.backup();
    until("going on", async || log.append(command(vec![loose("b")])).await.is_ok()).await;
    let last = log.head().await.unwrap();
    until("signed", async || is_signed(&log, last).await).await;
    let newer = server.backup();
    server.restore(&older);
    until("noticed", async || log.halted().is_some()).await;
    server.restore(&newer);
    until("forgiven", async || log.halted().is_none()).await;
    until("going on", async || log.append(command(vec![loose("c")])).await.is_ok()).await;
    keeper.stop().await;
    verified(&log).await;
    checkpoints(&log, &evidence.keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ran_when_an_epoch_was_opened_stays_stopped_until_it_is_started_again() {
    let server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    let log = server.open(CommitMode::Adaptive).await;
    let last = accepted(&log, command(vec![loose("a")])).await.last_position;
    let keeper = Keeper::start(&log, evidence.clone());
    until("signed", async || is_signed(&log, last).await).await;
    let held = evidence.guard.read().unwrap().unwrap();
    let next = Guarded::new(held.epoch + 1, held.position, &held.chain().unwrap(), None);
    assert!(evidence.guard.advance(Some(&held), &next).unwrap());
    until("noticed", async || log.halted() == Some(Halt::EpochOpened { epoch: 2 })).await;
    let refused = log.append(command(vec![loose("b")])).await.unwrap_err();
    assert!(refused.to_string().contains("start it again"), "{refused}");
    keeper.stop().await;
    let again = server.open(CommitMode::Adaptive).await;
    let last = accepted(&again, command(vec![loose("c")])).await.last_position;
    keep(&again, evidence.clone()).await;
    assert_eq!(again.halted(), None);
    assert!(is_signed(&again, last).await);
    let newest = again.newest_checkpoint().await.unwrap().unwrap();
    assert!(newest.note.starts_with(&evidence.keys.origin(2)), "{}", newest.note);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_guard_or_with_another_logs_keys_nothing_is_signed() {
    let server = Server::start().await;
    let folder = Folder::new();
    let log = server.open(CommitMode::Adaptive).await;
    let first = accepted(&log, command(vec![loose("a")])).await.last_position;
    keep(&log, folder.evidence()).await;
    assert!(is_signed(&log, first).await);

    let guard = folder.path().join(GUARD_FILE);
    let held = std::fs::read_to_string(&guard).unwrap();
    std::fs::remove_file(&guard).unwrap();
    let next = accepted(&log, command(vec![loose("b")])).await.last_position;
    keep(&log, folder.evidence()).await;
    assert_eq!(log.halted(), Some(Halt::GuardMissing { path: guard.clone() }));
    std::fs::write(&guard, "{").unwrap();
    keep(&log, folder.evidence()).await;
    assert!(matches!(log.halted(), Some(Halt::Guard(_))), "{:?}", log.halted());

    let other = Folder::new();
    keep(&log, other.evidence()).await;
    assert_eq!(log.halted(), Some(Halt::OtherLog));
    assert!(!is_signed(&log, next).await);

    std::fs::remove_file(&guard).unwrap();
    std::fs::copy(folder.path().join("log-keys.json"), other.path().join("log-keys.json")).unwrap();
    write_private(&guard, &held);
    keep(&log, folder.evidence()).await;
    assert_eq!(log.halted(), None);
    assert!(is_signed(&log, next).await);
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_before_it_was_signed_is_never_signed() {
    let server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    let log = server.open(CommitMode::Adaptive).await;
    let first = accepted(&log, command(vec![loose("a")])).await.last_position;
    keep(&log, evidence.clone()).await;
    let changed = accepted(&log, command(vec![loose("b")])).await.last_position;
    server
        .execute(
            "set session_replication_role = replica;
             update event_log.log set event_hash = sha256('c') where position = 2",
        )
        .await;
    keep(&log, evidence.clone()).await;
    assert_eq!(log.halted(), Some(Halt::Changed { position: changed }));
    assert_eq!(evidence.guard.read().unwrap().unwrap().position, first);

    // A tile or the edge that was changed leads to no signature, either.
    server
        .execute(
            "set session_replication_role = replica;
             delete from event_log.log where position = 2;
             delete from event_log.log_batch where first = 2;
             update event_log.tree set edge = set_byte(edge, 7, get_byte(edge, 7) # 1)",
        )
        .await;
    accepted(&log_again(&server).await, command(vec![loose("d")])).await;
    keep(&log, evidence.clone()).await;
    assert_eq!(log.halted(), Some(Halt::Forked { signed: first }));
    assert_eq!(evidence.guard.read().unwrap().unwrap().position, first);
}

async fn log_again(server: &Server) -> EventLog {
    server.open(CommitMode::Adaptive).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_a_crash_kept_from_the_database_is_kept_by_the_next_start() {
    let mut server = Server::start().await;
    let folder = Folder::new();
    let evidence = folder.evidence();
    for round in 0..6 {
        let log = server.open(CommitMode::Adaptive).await;
        let keeper = Keeper::start(&log, evidence.clone());
        for _ in 0..(round * 7) {
            accepted(&log, command(vec![loose("x"), loose("y")])).await;
        }
        server.crash_and_restart();
        keeper.stop().await;
        log.close().await;
        let log = server.open(CommitMode::Adaptive).await;
        let head = verified(&log).await;
        let guarded = evidence.guard.read().unwrap();
        assert!(guarded.is_none_or(|guarded| guarded.position <= head));
        assert_eq!(log.disagreement(&evidence.guard).await.unwrap(), None);
        keep(&log, evidence.clone()).await;
        let signed = checkpoints(&log, &evidence.keys).await;
        assert_eq!(signed.last().map_or(0, Checkpoint::size), head.0.unsigned_abs());
        let guarded = evidence.guard.read().unwrap();
        let guarded = guarded.as_ref().and_then(|guarded| guarded.checkpoint());
        assert_eq!(guarded.as_ref(), signed.last());
        log.close().await;
    }
}

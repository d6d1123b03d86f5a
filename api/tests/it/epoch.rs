//! A database that was set back: nothing is appended until somebody decides, and what they decide
//! is recorded. Done with a real database folder that is copied and put back.

use crate::world::{PATIENCE, World};
use commands::{AccessCommand, Caller, Executor, Request, SystemClock, new_command_id};
use event_log::note::{Checkpoint, Note};
use event_log::tree::keeper::Keeper;
use installation::{Access, Installation, Place};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn place(world: &World) -> Place {
    Place::folder(world.folder().join("data"))
}

/// Invites somebody, and signs the history up to there; the checkpoint.
async fn invite_and_sign(world: &World, email: &str) -> Checkpoint {
    let installation = Installation::open(&place(world), Access::Write).await.expect("it opens");
    let keys = installation.keys().expect("keys").clone();
    let executor = Executor::new(installation.log().clone(), keys, Arc::new(SystemClock));
    let (email, name) = (email.to_owned(), "Somebody".to_owned());
    let request = Request {
        command_id: new_command_id(),
        caller: Caller::system("test"),
        expected_version: None,
        command: AccessCommand::UserInvite { email, name }.into(),
    };
    executor.execute(request).await.expect("it is recorded");
    let evidence = installation.evidence().expect("what signs");
    let keeper = Keeper::start(installation.log(), evidence);
    let head = installation.log().head().await.expect("a head");
    let signed = async {
        loop {
            let newest = installation.log().newest_checkpoint().await.expect("checkpoints");
            match newest.filter(|it| it.size >= head.0.unsigned_abs()) {
                Some(newest) => return newest.note,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let note = tokio::time::timeout(PATIENCE, signed).await.expect("it is signed");
    keeper.stop().await;
    installation.close().await;
    note.parse::<Note>().expect("a note").text().parse().expect("a checkpoint")
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    assert!(copy.arg("-a").arg(from).arg(to).status().expect("cp").success());
}

/// Starts the server, and stops it once it listens; what it printed.
async fn serve_for_a_moment(world: &World) -> String {
    let mut program = world.program(&["serve", "--address", "127.0.0.1:0"]);
    let mut server = program.spawn().expect("the server");
    let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it listens");
    let mut said = first.expect("text").expect("a line");
    let number = server.id().expect("a process").to_string();
    assert!(Command::new("kill").arg(number).status().expect("kill").success());
    while let Some(line) = lines.next_line().await.expect("text") {
        said = format!("{said}\n{line}");
    }
    assert!(server.wait().await.expect("it ends").success());
    said
}

#[tokio::test]
async fn after_a_restore_an_operator_opens_an_epoch_and_the_history_says_so() {
    let world = World::furnished().await;
    let first = invite_and_sign(&world, "one@example.org").await;
    assert!(first.origin().ends_with("/epoch/1"), "{}", first.origin());
    let refused = world.run(&["log", "new-epoch", "--reason", "for nothing"]).await.ended(1);
    assert!(refused.err.contains("nothing to be given up"), "{}", refused.err);

    let (data, backup) = (world.folder().join("data/postgres"), world.folder().join("backup"));
    copy(&data, &backup);
    let lost = invite_and_sign(&world, "two@example.org").await;
    assert!(lost.size() > first.size());
    std::fs::remove_dir_all(&data).expect("it can be removed");
    copy(&backup, &data);

    // A server that starts on it appends nothing, not even the link for a first administrator.
    let head = world.head().await;
    let said = serve_for_a_moment(&world).await;
    assert!(said.contains("listens at") && !said.contains("/setup/"), "{said}");
    assert_eq!(world.head().await, head);
    let create = ["key", "create", "--user", "nobody@example.org"];
    let refused = world.run(&create).await.ended(1);
    assert!(refused.err.contains("set back to an older state"), "{}", refused.err);
    let missing = world.run(&["log", "new-epoch"]).await.ended(2);
    assert!(missing.err.contains("--reason"), "{}", missing.err);
    let reason = ["log", "new-epoch", "--reason", "restored from the backup of 03:00"];
    let said = world.run(&reason).await.ended(0);
    assert!(said.out.contains("epoch     2, from position"), "{}", said.out);
    assert!(said.out.contains(&format!("signed up to {}", lost.size())), "{}", said.out);
    let again = world.run(&reason).await.ended(1);
    assert!(again.err.contains("nothing to be given up"), "{}", again.err);
    // What stands in the way now is only that there is no such person.
    let refused = world.run(&create).await.ended(1);
    assert!(refused.err.contains("there is no user"), "{}", refused.err);

    let second = invite_and_sign(&world, "three@example.org").await;
    assert!(second.origin().ends_with("/epoch/2"), "{}", second.origin());
    let installation = Installation::open(&place(&world), Access::Read).await.expect("it opens");
    let stream = event_log::StreamId::parse("installation").expect("a stream");
    let history = installation.log().read_stream(&stream, 0, None).await.expect("history");
    let opened = history.last().expect("an event");
    assert_eq!(opened.type_name, "log_epoch_opened");
    let body: serde_json::Value = serde_json::from_slice(&opened.payload).expect("JSON");
    assert_eq!(body["reason"], "restored from the backup of 03:00");
    assert_eq!(body["signed_position"], lost.size());
    assert!(body["signed_note"].as_str().expect("a note").contains(lost.origin()));
    installation.close().await;
}

#[tokio::test]
async fn a_lost_guard_is_taken_from_the_database_only_when_somebody_says_so() {
    let world = World::furnished().await;
    let empty = world.run(&["log", "adopt", "--yes"]).await.ended(1);
    assert!(empty.err.contains("no checkpoint was ever signed"), "{}", empty.err);
    let signed = invite_and_sign(&world, "one@example.org").await;
    let there = world.run(&["log", "adopt", "--yes"]).await.ended(1);
    assert!(there.err.contains("only a lost one can be replaced"), "{}", there.err);
    let guard = world.folder().join("data/log-guard.json");
    std::fs::remove_file(&guard).expect("it can be lost");
    let create = ["key", "create", "--user", "nobody@example.org"];
    let refused = world.run(&create).await.ended(1);
    assert!(refused.err.contains("opscenter log adopt"), "{}", refused.err);
    let epoch = world.run(&["log", "new-epoch", "--reason", "it is lost"]).await.ended(1);
    assert!(epoch.err.contains("opscenter log adopt"), "{}", epoch.err);
    let asked = world.run(&["log", "adopt"]).await.ended(1);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    assert!(!guard.exists());
    let said = world.run(&["log", "adopt", "--yes"]).await.ended(0);
    assert!(said.out.contains(&format!("\n{}\n", signed.size())), "{}", said.out);
    assert!(guard.exists());
    let refused = world.run(&create).await.ended(1);
    assert!(refused.err.contains("there is no user"), "{}", refused.err);
    // Keys of another log sign nothing here, and vouch for nothing.
    std::fs::remove_file(&guard).expect("it can be lost");
    let keys = world.folder().join("data/log-keys.json");
    std::fs::remove_file(&keys).expect("they can be lost");
    let other = world.run(&["log", "adopt", "--yes"]).await.ended(1);
    assert!(other.err.contains("the keys here did not sign it"), "{}", other.err);
}

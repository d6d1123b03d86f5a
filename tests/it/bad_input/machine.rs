//! What stands in the way of a program, and is named: with the value, and with what to do next.

use crate::programs::door::{CREDIT_GRANT, Door, Lost, place};
use crate::programs::furnished::{Furnished, furnish};
use crate::programs::{Ended, Folder, Server, command, eventually, printed, run, serve, text};
use event_log::SCHEMA_VERSION;
use installation::Place;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use uuid::Uuid;

/// A server that must not start; what it said.
async fn refused(command: tokio::process::Command) -> String {
    match Server::try_start(command).await {
        Ok(server) => panic!("it started at {}", server.address),
        Err(Ended { status, said }) => {
            assert_eq!(status.code(), Some(1), "{said}");
            said
        }
    }
}

/// The message has each of the words and shows no inside.
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let folder = Folder::new();
    let url = "postgres://ada:s3cret@127.0.0.1:1/ops";
    for arguments in [["opscenter", "serve"], ["opscenter-replay", "verify"]] {
        let [name, argument] = arguments;
        let mut program = command(name);
        program.arg(argument).arg("--data").arg(&folder.0).env("DATABASE_URL", url);
        let output = run(&mut program).await;
        assert!(!output.status.success());
        let said = text(&output.stderr);
        says(&said, &["127.0.0.1:1", "cannot be reached", "DATABASE_URL"]);
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_left_alone_and_an_older_one_is_only_read_when_it_fits() {
    let (folder, server) = (Folder::new(), test_postgres::Server::start().await);
    let url = server.role("opscenter_service").to_url_lossy().to_string();
    server
        .execute(
            "insert into event_log.schema_migration
             select (jsonb_populate_record(m, jsonb_build_object('version', m.version + 1))).*
               from event_log.schema_migration m order by version desc limit 1",
        )
        .await;
    let mut newer = serve(&folder.0, "127.0.0.1:0");
    newer.env("DATABASE_URL", &url);
    let (found, known) = ((SCHEMA_VERSION + 1).to_string(), SCHEMA_VERSION.to_string());
    says(&refused(newer).await, &["schema version", &found, &known, "newer", "update"]);

    let older = format!("delete from event_log.schema_migration where version >= {SCHEMA_VERSION}");
    server.execute(&older).await;
    let mut verify = command("opscenter-replay");
    verify.arg("verify").arg("--data").arg(&folder.0).env("DATABASE_URL", &url);
    let output = run(&mut verify).await;
    assert_eq!(output.status.code(), Some(2));
    says(&text(&output.stderr), &["schema version", &known, "opscenter serve", "migrate"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_nothing_is_left_running() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let port = taken.local_addr().expect("an address").port().to_string();
    says(&refused(serve(&folder.0, &address)).await, &[&port, "in use", "--address"]);
    assert_eq!(folder.postmaster(), None);
}

#[tokio::test]
async fn a_second_server_on_a_folder_is_refused_and_the_first_goes_on() {
    let folder = Folder::new();
    let furnished = furnish(&Place::folder(&folder.0)).await;
    let first = Server::start(serve(&folder.0, "127.0.0.1:0")).await;
    let path = folder.0.display().to_string();
    says(&refused(serve(&folder.0, "127.0.0.1:0")).await, &[&path, "in use", "--data"]);
    let door = Door::new(first.address, &furnished.admin);
    door.done(&CREDIT_GRANT, grant(&furnished)).await;
    assert!(first.stop().await.success());
}

fn grant(furnished: &Furnished) -> Value {
    json!({ "commandId": Uuid::now_v7(), "organizationId": furnished.counted.to_string(),
            "credits": "1", "reason": "one more" })
}

/// A small file system, unmounted with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed; that is said aloud.
    fn mounted(folder: &Folder, megabytes: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=755"), "tmpfs"]);
        if mount.arg(&folder.0).status().is_ok_and(|status| status.success()) {
            return Some(Self(folder.0.clone()));
        }
        let line = "NOT TESTED, a full disk: mounting a small file system is not allowed here";
        let required = std::env::var_os("OPS_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "{line}");
        eprintln!("{line}");
        if let Some(path) = std::env::var_os("OPS_SKIPPED") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            writeln!(file.expect("the list of what was skipped"), "{line}").expect("a line");
        }
        None
    }

    /// Writes until nothing fits any more; what to remove to make room.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("an empty file fits");
        let mut size = 1_024 * 1_024;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while the database still ends: what it has open goes with it.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_disk_too_small_to_begin_on_is_named() {
    let folder = Folder::new();
    let Some(_disk) = SmallDisk::mounted(&folder, 20) else { return };
    says(&refused(serve(&folder.0, "127.0.0.1:0")).await, &["free some space"]);
}

/// Sends until something is not acknowledged any more; what was, and what is not known.
async fn grant_until_it_is_full(
    door: &Door,
    furnished: &Furnished,
) -> (Vec<(Value, i64)>, Value, Lost) {
    let mut acknowledged = Vec::new();
    loop {
        // Large enough to fill what the database has set aside beforehand.
        let mut input = grant(furnished);
        input["reason"] = json!("x".repeat(150));
        match door.command(&CREDIT_GRANT, input.clone()).await {
            Ok(done) => acknowledged.push((input, place(&done["receipt"]["position"]))),
            Err(lost) => return (acknowledged, input, lost),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_loses_nothing_and_needs_nothing_but_room() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mounted(&folder, 160) else { return };
    let furnished = furnish(&Place::folder(&folder.0)).await;
    let mut server = Server::start(serve(&folder.0, "127.0.0.1:0")).await;
    let door = Door::new(server.address, &furnished.admin);
    let filler = disk.fill();
    let (acknowledged, unknown, lost) = grant_until_it_is_full(&door, &furnished).await;
    eprintln!("{} acknowledged, then {lost:?}", acknowledged.len());
    says(&lost.0, &["repeat"]);

    std::fs::remove_file(filler).expect("room again");
    // Either it has come back by itself, or it has ended and said why to whoever starts it again.
    let door = eventually("an answer", async || {
        if server.ended().is_some() {
            says(&server.said(), &["space"]);
            server = Server::start(serve(&folder.0, "127.0.0.1:0")).await;
        }
        let door = door.at(server.address);
        door.command(&CREDIT_GRANT, unknown.clone()).await.ok().map(|_| door)
    })
    .await;
    for (input, position) in &acknowledged {
        let repeated = door.done(&CREDIT_GRANT, input.clone()).await;
        assert_eq!(place(&repeated["receipt"]["position"]), *position);
        assert_eq!(repeated["receipt"]["wasReplayed"], true);
    }
    assert!(server.stop().await.success());
    let mut verify = command("opscenter-replay");
    printed(verify.arg("verify").arg("--data").arg(&folder.0)).await;
    let mut totals = command("opscenter-replay");
    totals.args(["totals", "--json", "--organization", "counted", "--data"]).arg(&folder.0);
    let totals: Value = serde_json::from_str(&printed(&mut totals).await).expect("JSON");
    let expected = format!("{}.000000", acknowledged.len() + 1);
    assert_eq!(totals["balance_credits"], expected, "{totals:#}");
}

//! Killing the server, its owner, and both.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use private_postgres::{Mode, PrivatePostgres};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

use crate::{Folder, connected, eventually, exists, log_of, note, notes, started};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_of_the_server() {
    let folder = Folder::new();
    let mut server = started(&folder.options());
    note(&mut connected(&server).await, "acknowledged").await;
    server.kill_immediately();
    assert!(!server.is_running());
    drop(server);

    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["acknowledged"]);
    assert!(log_of(server.log_file()).contains("automatic recovery"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_an_immediate_stop() {
    let folder = Folder::new();
    let server = started(&folder.options());
    note(&mut connected(&server).await, "acknowledged").await;
    server.stop(Mode::Immediate);
    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["acknowledged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ended_by_itself_is_started_again_by_its_owner() {
    let folder = Folder::new();
    let mut server = started(&folder.options());
    assert!(!server.ensure_running().expect("it runs"), "nothing was to do");
    note(&mut connected(&server).await, "before").await;
    server.kill_immediately();
    assert!(server.ensure_running().expect("it starts again"));
    assert_eq!(notes(&mut connected(&server).await).await, ["before"]);
}

/// Another process that owns a server, as `opscenter serve` would.
struct Owner {
    process: Child,
    server: u32,
    url: String,
}

impl Owner {
    fn of(folder: &Folder) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_private-postgres"))
            .arg(&folder.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the holder");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map(|line| line.expect("text"));
        let server = lines.next().expect("a number").parse().expect("a number");
        let url = lines.next().expect("a URL");
        Self { process, server, url }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it was alive");
        self.process.wait().expect("it is collected");
    }

    /// The shell that waits beside the server.
    fn watch(&self, folder: &Folder) -> Option<u32> {
        let cluster = folder.cluster().to_string_lossy().into_owned();
        let entries = fs::read_dir("/proc").expect("processes").flatten();
        let mut numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.find(|number: &u32| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("opscenter-watch") && line.contains(&cluster)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_no_server_behind() {
    let folder = Folder::new();
    let mut owner = Owner::of(&folder);
    let mut connection = PgConnection::connect(&owner.url).await.expect("its server");
    note(&mut connection, "acknowledged").await;
    owner.kill();
    eventually("the end of the server", || !exists(owner.server));

    let server = started(&folder.options());
    assert_eq!(notes(&mut connected(&server).await).await, ["acknowledged"]);
    assert!(!log_of(server.log_file()).contains("automatic recovery"), "it was stopped in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_owner_and_watch_were_killed_is_taken_over() {
    let folder = Folder::new();
    let mut owner = Owner::of(&folder);
    let mut connection = PgConnection::connect(&owner.url).await.expect("its server");
    note(&mut connection, "acknowledged").await;
    let watch = owner.watch(&folder).expect("the watch beside the server");
    let watch = Pid::from_raw(i32::try_from(watch).expect("a process number")).expect("not zero");
    kill_process(watch, Signal::KILL).expect("the watch to be killed");
    owner.kill();
    assert!(exists(owner.server), "nobody has stopped it");

    let server = started(&folder.options());
    assert!(!exists(owner.server), "two servers on one folder");
    assert_eq!(notes(&mut connected(&server).await).await, ["acknowledged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_owner_and_server_together_loses_nothing() {
    let folder = Folder::new();
    for round in 0..3 {
        let mut owner = Owner::of(&folder);
        let mut connection = PgConnection::connect(&owner.url).await.expect("its server");
        note(&mut connection, &format!("round {round}")).await;
        let server = Pid::from_raw(i32::try_from(owner.server).expect("a number")).expect("one");
        kill_process(server, Signal::KILL).expect("the server to be killed");
        owner.kill();
    }
    let server = started(&folder.options());
    let found = notes(&mut connected(&server).await).await;
    assert_eq!(found, ["round 0", "round 1", "round 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_to_come_waits_for_nobody_and_starts_when_the_first_is_killed() {
    let folder = Folder::new();
    let mut owner = Owner::of(&folder);
    let beside = PrivatePostgres::connect_or_start(&folder.options()).expect("its server");
    assert!(!beside.is_owner());
    owner.kill();
    let server = PrivatePostgres::connect_or_start(&folder.options()).expect("one of our own");
    assert!(server.is_owner());
    connected(&server).await;
}

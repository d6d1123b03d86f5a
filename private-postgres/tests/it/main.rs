//! Private Postgres against the real server binaries of this machine.
//!
//! Each test has a data folder of its own; the folders and servers are gone when it ends.
//! `OPS_POSTGRES_BIN` runs the same tests with other binaries.

#![cfg(test)]

mod crashes;
mod disk;
mod folders;
mod lifecycle;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use private_postgres::{Options, PrivatePostgres};
use sqlx::{Connection, PgConnection};

/// A data folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self::named("data")
    }

    fn named(name: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("private-postgres-{}-{number}", std::process::id());
        let parent = std::env::temp_dir().join(unique);
        let folder = parent.join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    fn options(&self) -> Options {
        Options::throwaway(&self.0)
    }

    fn cluster(&self) -> PathBuf {
        self.0.join("postgres")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let made_by_new = self.0.parent().expect("the folder that `named` made");
        if let Some(home) = fs::read_link(self.cluster()).iter().find_map(|link| link.parent()) {
            let _ = fs::remove_dir_all(home);
        }
        let _ = fs::remove_dir_all(made_by_new);
    }
}

fn started(options: &Options) -> PrivatePostgres {
    PrivatePostgres::start(options).expect("the server to start")
}

/// A connection as the superuser.
async fn connected(server: &PrivatePostgres) -> PgConnection {
    let url = server.connection_url(server.superuser());
    PgConnection::connect(&url).await.expect("the socket to answer")
}

async fn shown(connection: &mut PgConnection, setting: &str) -> String {
    sqlx::query_scalar("select current_setting($1)")
        .bind(setting)
        .fetch_one(connection)
        .await
        .expect("a setting that exists")
}

/// Writes one row and returns when it is acknowledged.
async fn note(connection: &mut PgConnection, text: &str) {
    sqlx::query("create table if not exists note (text text)")
        .execute(&mut *connection)
        .await
        .expect("the table");
    sqlx::query("insert into note values ($1)")
        .bind(text)
        .execute(connection)
        .await
        .expect("the row to be acknowledged");
}

async fn notes(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select text from note order by text")
        .fetch_all(connection)
        .await
        .expect("the rows")
}

/// Waits until `condition` holds; fails the test if it does not within a minute.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within a minute");
        std::thread::yield_now();
    }
}

fn exists(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat"));
    // A process that has ended and waits for somebody to collect it is in state Z.
    status.is_ok_and(|status| !status.contains(") Z "))
}

/// Notes that a test could not be made here, for `./ops test` to report at its end. Where
/// everything is required, that is a failure.
fn skip(test: &str, reason: &str) {
    let required = std::env::var_os("OPS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{test}: {reason}");
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("OPS_SKIPPED") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        writeln!(file.expect("the list of what was skipped"), "{test}: {reason}").expect("a line");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn log_of(server_log: &Path) -> String {
    fs::read_to_string(server_log).expect("the server's log")
}

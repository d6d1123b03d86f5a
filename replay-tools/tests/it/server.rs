//! A Postgres server of its own for every test, with the furnished history of `world.rs`.
//!
//! The first test of all makes a data folder with it; the others copy that folder. What is changed
//! behind the log's back is changed in copies of the database.

use crate::world;
use event_log::migrate;
use installation::{Access, Installation, Place};
use private_postgres::{Mode, Options, PrivatePostgres};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A running server whose database holds the furnished history.
pub(crate) struct Server {
    folder: PathBuf,
    postgres: Option<PrivatePostgres>,
}

/// What a tool said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer's lines as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}\n{}", self.code, self.out, self.err)
    }
}

impl Server {
    /// A server with the furnished history.
    pub(crate) async fn start() -> Self {
        let template = template().await;
        let folder = new_folder();
        copy(&template, &folder);
        Self::launch(folder)
    }

    fn launch(folder: PathBuf) -> Self {
        let postgres = Some(PrivatePostgres::start(&options(&folder)).unwrap());
        Self { folder, postgres }
    }

    fn running(&self) -> &PrivatePostgres {
        self.postgres.as_ref().unwrap()
    }

    /// The data folder, with the master key in it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it; the folder stays.
    pub(crate) fn stop(&mut self) {
        self.postgres.take().unwrap().stop(Mode::Fast);
    }

    /// The address of a database as superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        self.running().connection_url_to(self.running().superuser(), database)
    }

    /// Where the installation lies.
    pub(crate) fn place(&self) -> Place {
        Place { database_url: Some(self.url("opscenter")), ..Place::folder(&self.folder) }
    }

    /// An open installation that may append.
    pub(crate) async fn open(&self) -> Installation {
        Installation::open(&self.place(), Access::Write).await.unwrap()
    }

    /// Runs statements as superuser.
    pub(crate) async fn execute(&self, database: &str, sql: &str) {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// One value, asked as superuser.
    pub(crate) async fn ask<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.url("opscenter")).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    }

    /// Runs `opscenter-replay` on the database.
    pub(crate) fn replay(&self, arguments: &[&str]) -> Said {
        self.replay_on("opscenter", arguments)
    }

    /// Runs `opscenter-replay` on another database of the server.
    pub(crate) fn replay_on(&self, database: &str, arguments: &[&str]) -> Said {
        let mut command = self.tool(database);
        said(command.args(arguments).output().unwrap())
    }

    /// `opscenter-replay` on a database, ready to be told what to do.
    pub(crate) fn tool(&self, database: &str) -> Command {
        let mut command = bare_tool();
        command.env("DATABASE_URL", self.url(database)).env("OPS_DATA", &self.folder);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(postgres) = self.postgres.take() {
            postgres.stop(Mode::Immediate);
        }
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// `opscenter-replay` without any database.
pub(crate) fn bare_tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opscenter-replay"));
    command.env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder of the test's own, below which files may be written.
pub(crate) fn new_folder() -> PathBuf {
    let folder = root().join(uuid::Uuid::now_v7().simple().to_string());
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The machine does not fail in these tests, so that nothing need be written through to the disk.
fn options(folder: &Path) -> Options {
    Options::throwaway(folder).with("fsync", "off")
}

/// A stopped data folder with the furnished history, made once.
async fn template() -> PathBuf {
    let lock = File::create(root().join("lock")).unwrap();
    lock.lock().unwrap();
    let ready = root().join(format!("template-{:016x}", stamp()));
    if !ready.exists() {
        remove_old_templates();
        let mut server = Server::launch(new_folder());
        migrate(&server.url("opscenter").parse().unwrap()).await.unwrap();
        let installation = server.open().await;
        world::furnish(&installation).await;
        installation.close().await;
        server.postgres.take().unwrap().stop(Mode::Fast);
        fs::rename(&server.folder, &ready).unwrap();
    }
    ready
}

/// Tells one build of these tests, and of what they furnish with, from another.
fn stamp() -> u64 {
    let mut hasher = DefaultHasher::new();
    let program = std::env::current_exe().and_then(fs::metadata).unwrap();
    (program.len(), program.modified().unwrap()).hash(&mut hasher);
    std::env::var_os("OPS_POSTGRES_BIN").hash(&mut hasher);
    hasher.finish()
}

/// Removes what earlier builds left; another build may be using a younger one at this moment.
fn remove_old_templates() {
    for entry in fs::read_dir(root()).unwrap().flatten() {
        let age = entry.metadata().and_then(|found| found.modified()).map(|made| made.elapsed());
        if age.is_ok_and(|age| age.is_ok_and(|age| age > Duration::from_secs(3_600))) {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

fn root() -> PathBuf {
    let folder = std::env::temp_dir().join("replay-tools-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    let from = from.join(".");
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

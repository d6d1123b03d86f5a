//! A Postgres server of its own for every test: a real one, with a migrated log.
//!
//! The first test of all makes a data folder with a migrated log; the others copy it, which takes
//! a few hundredths of a second. A server ends with its test, also when the test is killed. Only
//! tests and benchmarks depend on this member.

#![expect(clippy::unwrap_used, reason = "a test that cannot have its server has failed")]

use event_log::{CommitMode, EventLog, Layout, Settings, migrate_with};
use private_postgres::{Mode, Options, PrivatePostgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server whose database holds a migrated log.
pub struct Server {
    folder: PathBuf,
    postgres: Option<PrivatePostgres>,
}

impl Server {
    /// A server with an empty log of the usual layout.
    pub async fn start() -> Self {
        let template = template().await;
        let folder = new_folder();
        copy(&template, &folder);
        Self::launch(folder)
    }

    /// A server with an empty log of another layout.
    pub async fn with_layout(layout: Layout) -> Self {
        let server = Self::unmigrated();
        migrate_with(&server.admin(), layout).await.unwrap();
        server
    }

    /// A server with an empty database.
    pub fn unmigrated() -> Self {
        Self::launch(new_folder())
    }

    fn launch(folder: PathBuf) -> Self {
        let postgres = Some(PrivatePostgres::start(&options(&folder)).unwrap());
        Self { folder, postgres }
    }

    fn running(&self) -> &PrivatePostgres {
        self.postgres.as_ref().unwrap()
    }

    /// Connects as superuser.
    pub fn admin(&self) -> PgConnectOptions {
        self.role(self.running().superuser())
    }

    /// Connects as a role.
    pub fn role(&self, name: &str) -> PgConnectOptions {
        self.running().connection_url(name).parse().unwrap()
    }

    /// An open connection as superuser.
    pub async fn superuser(&self) -> PgConnection {
        self.admin().connect().await.unwrap()
    }

    /// Runs statements as superuser.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.superuser().await;
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// Settings for the service's role.
    pub fn settings(&self, mode: CommitMode) -> Settings {
        let mut settings = Settings::new(self.role("opscenter_service"));
        settings.commit_mode = mode;
        settings
    }

    /// Opens the log as the service does.
    pub async fn open(&self, mode: CommitMode) -> EventLog {
        EventLog::connect(self.settings(mode)).await.unwrap()
    }

    /// Stops as a crash would, and starts again: what was not written out is lost.
    pub fn crash_and_restart(&mut self) {
        self.postgres.take().unwrap().stop(Mode::Immediate);
        self.postgres = Some(PrivatePostgres::start(&options(&self.folder)).unwrap());
    }

    /// A copy of everything the database holds, as a backup would keep it.
    pub fn backup(&mut self) -> Backup {
        self.postgres.take().unwrap().stop(Mode::Fast);
        let folder = new_folder();
        copy(&self.folder, &folder);
        self.postgres = Some(PrivatePostgres::start(&options(&self.folder)).unwrap());
        Backup { folder }
    }

    /// Sets the database back to what a backup holds.
    pub fn restore(&mut self, backup: &Backup) {
        self.postgres.take().unwrap().stop(Mode::Immediate);
        fs::remove_dir_all(&self.folder).unwrap();
        fs::create_dir_all(&self.folder).unwrap();
        copy(&backup.folder, &self.folder);
        self.postgres = Some(PrivatePostgres::start(&options(&self.folder)).unwrap());
    }

    /// Kills the server's main process, and starts again.
    pub fn kill_and_restart(&mut self) {
        let postgres = self.postgres.as_mut().unwrap();
        postgres.kill_immediately();
        assert!(postgres.ensure_running().unwrap());
    }
}

/// What a database held at a moment.
pub struct Backup {
    folder: PathBuf,
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.folder);
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

/// The machine does not fail in these tests, only the programs on it: what was handed to the
/// operating system survives, and what a server held in its own memory does not.
fn options(folder: &Path) -> Options {
    Options::throwaway(folder).with("fsync", "off").with("max_connections", "100")
}

fn new_folder() -> PathBuf {
    let folder = root().join(uuid::Uuid::now_v7().simple().to_string());
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A stopped data folder with a migrated log, made once per set of migrations.
async fn template() -> PathBuf {
    let lock = File::create(root().join("lock")).unwrap();
    lock.lock().unwrap();
    let ready = root().join(format!("template-{:016x}", migrations_stamp()));
    if !ready.exists() {
        let mut server = Server::unmigrated();
        migrate_with(&server.admin(), Layout::default()).await.unwrap();
        server.postgres.take().unwrap().stop(Mode::Fast);
        fs::rename(&server.folder, &ready).unwrap();
    }
    ready
}

/// Tells one set of migrations from another.
fn migrations_stamp() -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    std::env::var_os("OPS_POSTGRES_BIN").hash(&mut hasher);
    for file in files {
        fs::read(file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

fn root() -> PathBuf {
    let folder = std::env::temp_dir().join("opscenter-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    let from = from.join(".");
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

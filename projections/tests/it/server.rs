//! A Postgres server with an empty log, for each test its own.
//!
//! The first test makes a data folder with a migrated log and the others copy it. A server ends with
//! its test.

use event_log::{EventLog, Settings, migrate};
use private_postgres::{Mode, Options, PrivatePostgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server whose database holds a migrated, empty log.
pub(crate) struct Server {
    folder: PathBuf,
    postgres: Option<PrivatePostgres>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let template = template().await;
        let folder = new_folder();
        let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(&folder).status();
        assert!(copied.unwrap().success());
        Self::launch(folder)
    }

    fn launch(folder: PathBuf) -> Self {
        let postgres = Some(PrivatePostgres::start(&options(&folder)).unwrap());
        Self { folder, postgres }
    }

    fn role(&self, name: &str) -> PgConnectOptions {
        self.postgres.as_ref().unwrap().connection_url(name).parse().unwrap()
    }

    fn admin(&self) -> PgConnectOptions {
        self.role(self.postgres.as_ref().unwrap().superuser())
    }

    /// An open connection as superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        self.admin().connect().await.unwrap()
    }

    /// Runs statements as superuser.
    pub(crate) async fn execute(&self, sql: &str) {
        self.superuser().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// How the service connects.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.role("opscenter_service"))
    }

    /// Opens the log as the service does.
    pub(crate) async fn open(&self) -> EventLog {
        EventLog::connect(self.settings()).await.unwrap()
    }

    /// Stops as a crash would, and starts again: what was not written out is lost.
    pub(crate) fn crash_and_restart(&mut self) {
        self.postgres.take().unwrap().stop(Mode::Immediate);
        self.postgres = Some(PrivatePostgres::start(&options(&self.folder)).unwrap());
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

/// The machine does not fail in these tests, only the programs on it.
fn options(folder: &Path) -> Options {
    Options::throwaway(folder).with("fsync", "off").with("max_connections", "60")
}

fn root() -> PathBuf {
    let folder = std::env::temp_dir().join("projections-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn new_folder() -> PathBuf {
    let folder = root().join(uuid::Uuid::now_v7().simple().to_string());
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A stopped data folder with a migrated log, made once for a set of migrations.
async fn template() -> PathBuf {
    let lock = File::create(root().join("lock")).unwrap();
    lock.lock().unwrap();
    let ready = root().join(format!("template-{:016x}", stamp()));
    if !ready.exists() {
        let mut server = Server::launch(new_folder());
        migrate(&server.admin()).await.unwrap();
        server.postgres.take().unwrap().stop(Mode::Fast);
        fs::rename(&server.folder, &ready).unwrap();
    }
    ready
}

/// Tells one set of migrations and server binaries from another.
fn stamp() -> u64 {
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

//! A Postgres server of its own for every test, on a socket in a folder of its own.
//!
//! The first test of all makes a migrated data folder; the others copy it, which takes a few
//! hundredths of a second. The server ends with the test, also when the test is killed.

use event_log::{CommitMode, EventLog, Layout, Settings, migrate_with};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server whose database holds a migrated log.
pub(crate) struct Server {
    folder: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// A server with an empty log of the usual layout.
    pub(crate) async fn start() -> Self {
        let template = template().await;
        let server = Self::prepare(Some(&template));
        server.begin().await
    }

    /// A server with an empty log of another layout.
    pub(crate) async fn with_layout(layout: Layout) -> Self {
        let server = Self::unmigrated().await;
        migrate_with(&server.admin(), layout).await.unwrap();
        server
    }

    /// A server with an empty database.
    pub(crate) async fn unmigrated() -> Self {
        Self::prepare(None).begin().await
    }

    fn prepare(template: Option<&Path>) -> Self {
        let folder = root().join(uuid::Uuid::now_v7().simple().to_string());
        fs::create_dir_all(&folder).unwrap();
        give_away(&folder);
        match template {
            Some(template) => {
                run(as_server("cp")
                    .arg("-r")
                    .arg(template)
                    .arg(folder.join("data")));
            }
            None => run(as_server(bin("initdb"))
                .args([
                    "--username=admin",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                ])
                .args(["--no-sync", "--wal-segsize=1", "-D"])
                .arg(folder.join("data"))),
        }
        Self {
            folder,
            process: None,
        }
    }

    async fn begin(mut self) -> Self {
        self.launch();
        self.answers().await;
        self
    }

    fn launch(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let errors = log.try_clone().unwrap();
        let child = as_server(bin("postgres"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            // The machine does not fail in these tests, only the programs on it: what was handed
            // to the operating system survives.
            .args(["-c", "fsync=off", "-c", "listen_addresses=", "-c", "shared_buffers=32MB"])
            .args(["-c", "max_connections=60", "-c", "autovacuum_naptime=5s"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    async fn answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.admin().connect().await {
            assert!(
                Instant::now() < deadline,
                "no answer: {error}\n{}",
                self.log_text()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the server had to say.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Connects as superuser.
    pub(crate) fn admin(&self) -> PgConnectOptions {
        self.role("admin")
    }

    /// Connects as a role.
    pub(crate) fn role(&self, name: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.folder)
            .username(name)
            .database("postgres")
    }

    /// An open connection as superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        self.admin().connect().await.unwrap()
    }

    /// Runs statements as superuser.
    pub(crate) async fn execute(&self, sql: &str) {
        self.superuser()
            .await
            .execute(AssertSqlSafe(sql))
            .await
            .unwrap();
    }

    /// Settings for the service's role, with limits short enough for a test.
    pub(crate) fn settings(&self, mode: CommitMode) -> Settings {
        let mut settings = Settings::new(self.role("opscenter_service"));
        settings.commit_mode = mode;
        settings
    }

    /// Opens the log as the service does.
    pub(crate) async fn open(&self, mode: CommitMode) -> EventLog {
        EventLog::connect(self.settings(mode)).await.unwrap()
    }

    /// Stops at once, as a crash would: nothing is flushed that was not.
    pub(crate) fn crash(&mut self) {
        self.control(&["stop", "-m", "immediate"]);
        self.process.take().unwrap().wait().unwrap();
    }

    /// Crashes and starts again.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.crash();
        self.launch();
        self.answers().await;
    }

    fn control(&self, arguments: &[&str]) {
        run(as_server(bin("pg_ctl"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(arguments));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let mut stop = as_server(bin("pg_ctl"));
            stop.arg("-D")
                .arg(self.folder.join("data"))
                .args(["stop", "-m", "immediate"]);
            let _output = stop.output();
            let _status = process.wait();
        }
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// A stopped data folder with a migrated log, made once per set of migrations.
async fn template() -> PathBuf {
    let name = format!("template-{:016x}", migrations_stamp());
    let lock = File::create(root().join("lock")).unwrap();
    lock.lock().unwrap();
    let ready = root().join(name);
    if !ready.exists() {
        let mut server = Server::unmigrated().await;
        migrate_with(&server.admin(), Layout::default())
            .await
            .unwrap();
        server.control(&["stop", "-m", "fast"]);
        server.process.take().unwrap().wait().unwrap();
        fs::rename(server.folder.join("data"), &ready).unwrap();
    }
    ready
}

/// Tells one set of migrations from another.
fn migrations_stamp() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    bin("postgres").hash(&mut hasher);
    for file in files {
        fs::read(file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

/// Where servers live: short, for the path of a socket may not be long.
fn root() -> PathBuf {
    let user = if is_root() {
        "root".to_owned()
    } else {
        std::env::var("USER").unwrap_or_default()
    };
    let folder = std::env::temp_dir().join(format!("event-log-tests-{user}"));
    fs::create_dir_all(&folder).unwrap();
    give_away(&folder);
    folder
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Postgres refuses to run as root: then the folder belongs to an account that may do nothing.
fn give_away(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg("nobody").arg(folder));
    }
}

/// A command that runs as the server's account and ends with this process.
fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command
        .args(["--pdeathsig=INT", "--"])
        .arg(program)
        .current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
}

/// A server binary: named by the environment, in the path, or where Debian puts them.
fn bin(name: &str) -> PathBuf {
    let named = std::env::var_os("OPS_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort();
    named
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(debian.into_iter().rev())
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("no {name} found; install postgresql or set OPS_POSTGRES_BIN"))
}

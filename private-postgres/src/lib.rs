//! A Postgres of our own: a real server under a data folder, for whoever gives us no database.
//!
//! It is found on the machine, initialised once, started on a Unix socket in a private folder as
//! an unprivileged account (also when we are root), stopped cleanly, and recovered after any
//! kind of crash. What holds:
//!
//! * a data folder has one owner at a time, by a lock the kernel releases when the owner dies;
//! * commits are durable (`fsync` and full pages on) unless the caller names that very setting;
//! * nothing listens on the network unless asked, and then on 127.0.0.1 with passwords only;
//! * an owner that is killed does not leave a server behind for ever.
//!
//! Everything here **blocks**, for seconds at a first start. Async code calls it from
//! `spawn_blocking`:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use private_postgres::{Mode, Options, PrivatePostgres};
//!
//! let options = Options::new(".opscenter");
//! let server = tokio::task::spawn_blocking(move || PrivatePostgres::start(&options)).await??;
//! println!("{}", server.connection_url("opscenter_service"));
//! tokio::task::spawn_blocking(move || server.stop(Mode::Fast)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Which roles and tables are inside is no concern of this crate; see `event-log`.

mod account;
mod binaries;
mod cluster;
mod error;
mod home;
mod lock;
mod process;
mod server;
mod settings;
mod socket;
mod survey;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use binaries::VERSION_MIN;
pub use error::Error;
pub use lock::lock_path;
pub use survey::{Programs, Running, programs, running};

use account::Account;
use binaries::Binaries;
use cluster::Cluster;
use lock::Lock;
use process::wait_for;
use server::Server;

/// The role that owns the server. Programs connect as it only to create other roles.
const SUPERUSER: &str = "opscenter_admin";
/// The database made together with the cluster.
const DATABASE: &str = "opscenter";
/// How long to wait for another owner's server that is still starting.
const OTHER_OWNER_LIMIT: Duration = Duration::from_secs(300);

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; made if it does not exist.
    pub data_dir: PathBuf,
    /// A folder with `postgres` and `initdb`; by default they are looked for.
    pub bin_dir: Option<PathBuf>,
    /// Whether to listen on a free port of 127.0.0.1 as well, for roles that have a password.
    pub tcp: bool,
    /// Further settings of the server, which come last and win.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A durable server on a socket under `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), bin_dir: None, tcp: false, settings: Vec::new() }
    }

    /// A small server for a test. It keeps `fsync` on: a test that wants to trade durability for
    /// speed adds that setting itself, where its reader sees it.
    #[must_use]
    pub fn throwaway(data_dir: impl Into<PathBuf>) -> Self {
        let small =
            [("shared_buffers", "32MB"), ("max_wal_size", "256MB"), ("min_wal_size", "64MB")];
        let settings = small.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { settings, ..Self::new(data_dir) }
    }

    /// Adds one setting of the server.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn asks_for(&self, name: &str, value: &str) -> bool {
        let last = self.settings.iter().rfind(|(given, _)| given == name);
        last.is_some_and(|(_, given)| given == value)
    }
}

/// How a server is stopped.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sessions are ended, everything is written out; the next start has nothing to recover.
    Fast,
    /// As in a crash: the next start recovers. For tests.
    Immediate,
}

/// A running server: ours, or one that another process owns.
///
/// Dropping an owned one stops it with [`Mode::Fast`], which blocks until it has ended.
#[derive(Debug)]
pub struct PrivatePostgres {
    cluster: Cluster,
    socket_folder: PathBuf,
    port: u16,
    number: u32,
    owned: Option<Owned>,
}

/// What only the owner has. The server is ended before the lock is let go.
#[derive(Debug)]
struct Owned {
    server: Server,
    binaries: Binaries,
    account: Account,
    options: Options,
    _lock: Lock,
}

impl PrivatePostgres {
    /// Starts the server of a data folder, initialising it the first time.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process owns the folder; otherwise see [`Error`].
    pub fn start(options: &Options) -> Result<Self, Error> {
        let cluster = Cluster::open(&options.data_dir)?;
        // Before the lock, which a foreign account could not even open.
        Account::choose(&cluster.folder)?;
        let lock = Lock::try_take(&cluster.data)?;
        Self::start_locked(cluster, lock, options)
    }

    /// Uses the server that another process runs on this data folder, or starts one.
    ///
    /// What comes back tells by [`is_owner`](Self::is_owner) which it was. A server that is not
    /// ours goes on when this value is dropped, and ends when its owner says so.
    ///
    /// # Errors
    /// As [`start`](Self::start), except that another owner is no error.
    pub fn connect_or_start(options: &Options) -> Result<Self, Error> {
        let cluster = Cluster::open(&options.data_dir)?;
        Account::choose(&cluster.folder)?;
        let mut in_use = None;
        let found = wait_for(OTHER_OWNER_LIMIT, || match Lock::try_take(&cluster.data) {
            Ok(lock) => Some(Self::start_locked(cluster.clone(), lock, options)),
            Err(error @ Error::InUse { .. }) => {
                in_use = Some(error);
                Self::of_other_owner(&cluster).map(Ok)
            }
            Err(error) => Some(Err(error)),
        });
        match (found, in_use) {
            (Some(result), _) => result,
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::NotACluster { folder: cluster.folder }),
        }
    }

    fn of_other_owner(cluster: &Cluster) -> Option<Self> {
        let running = cluster.postmaster().filter(|postmaster| postmaster.is_ready)?;
        Some(Self {
            cluster: cluster.clone(),
            socket_folder: running.socket_folder,
            port: running.port,
            number: running.number,
            owned: None,
        })
    }

    fn start_locked(mut cluster: Cluster, lock: Lock, options: &Options) -> Result<Self, Error> {
        let account = Account::choose(&cluster.folder)?;
        cluster.settle(&account)?;
        let made_by = cluster.made_by()?;
        let binaries = Binaries::find(options.bin_dir.as_deref(), &cluster.folder, made_by)?;
        account.reaches(&binaries.folder)?;
        match made_by {
            Some(_) => cluster.take_over()?,
            None => cluster.init(&binaries, &account, options)?,
        }
        let server = Server::start(&cluster, &binaries, &account, options)?;
        tracing::info!(
            process = server.postmaster.id(),
            version = binaries.major,
            socket = %server.socket_folder.display(),
            "private postgres is ready"
        );
        Ok(Self {
            cluster,
            socket_folder: server.socket_folder.clone(),
            port: server.port,
            number: server.postmaster.id(),
            owned: Some(Owned { server, binaries, account, options: options.clone(), _lock: lock }),
        })
    }

    /// The folder the socket lies in; it is what clients call the host.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_folder
    }

    /// The port: part of the socket's name, and what is listened on if TCP was asked for.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's role.
    #[must_use]
    pub fn superuser(&self) -> &str {
        SUPERUSER
    }

    /// The database that was made with the cluster.
    #[must_use]
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// The postmaster's process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.number
    }

    /// Where the server's own log is.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.cluster.log_file
    }

    /// Whether this process started the server and will stop it.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.owned.is_some()
    }

    /// A URL for our database over the socket.
    #[must_use]
    pub fn connection_url(&self, role: &str) -> String {
        self.connection_url_to(role, DATABASE)
    }

    /// A URL for another database of this server over the socket.
    #[must_use]
    pub fn connection_url_to(&self, role: &str, database: &str) -> String {
        socket_url(&self.socket_folder, self.port, role, database)
    }

    /// Whether the server runs. Of another owner's server only that owner's word is known.
    pub fn is_running(&mut self) -> bool {
        match &mut self.owned {
            Some(owned) => owned.server.is_running(),
            None => self.cluster.postmaster().is_some_and(|found| found.number == self.number),
        }
    }

    /// Starts an owned server again if it has ended by itself, and says whether it had to.
    ///
    /// # Errors
    /// As [`start`](Self::start). The value stays usable and may be asked again.
    pub fn ensure_running(&mut self) -> Result<bool, Error> {
        let Some(owned) = &mut self.owned else {
            return Ok(false);
        };
        if owned.server.is_running() {
            return Ok(false);
        }
        owned.server.end(Mode::Immediate);
        self.cluster.take_over()?;
        owned.server =
            Server::start(&self.cluster, &owned.binaries, &owned.account, &owned.options)?;
        self.number = owned.server.postmaster.id();
        self.port = owned.server.port;
        Ok(true)
    }

    /// Stops an owned server and waits until it has ended; leaves another owner's alone.
    pub fn stop(mut self, mode: Mode) {
        self.end(mode);
    }

    /// Kills an owned postmaster with `kill -9`, for tests of what survives that. The lock stays
    /// held; [`ensure_running`](Self::ensure_running) recovers.
    pub fn kill_immediately(&mut self) {
        if let Some(owned) = &mut self.owned {
            owned.server.kill();
        }
    }

    fn end(&mut self, mode: Mode) {
        if let Some(mut owned) = self.owned.take() {
            owned.server.end(mode);
            // Left behind it would do no harm; the next start uses it again.
            let _ = fs::remove_dir_all(&self.socket_folder);
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.end(Mode::Fast);
    }
}

/// A URL for a database of the server whose socket lies in this folder.
fn socket_url(folder: &Path, port: u16, role: &str, database: &str) -> String {
    let (role, database) = (percent_encoded(role), percent_encoded(database));
    let folder = percent_encoded(&folder.to_string_lossy());
    format!("postgres://{role}@localhost/{database}?host={folder}&port={port}")
}

/// Leaves what never needs encoding and encodes every other byte.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_a_path_fits_into_a_url() {
        assert_eq!(percent_encoded("/tmp/a b&c=é"), "%2Ftmp%2Fa%20b%26c%3D%C3%A9");
    }

    #[test]
    fn the_last_value_of_a_setting_is_the_one_that_counts() {
        let options = Options::new("data").with("fsync", "off").with("fsync", "on");
        assert!(!options.asks_for("fsync", "off"));
        assert!(options.with("fsync", "off").asks_for("fsync", "off"));
    }
}

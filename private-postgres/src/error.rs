//! What can go wrong between a data folder and a running server.
//!
//! Every message names the value that stands in the way and what to do next; the cause, where
//! there is one, is the `source` and is left out of the message.

use std::io;
use std::path::PathBuf;

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable server binaries on this machine.
    #[error(
        "no PostgreSQL server binaries of version {minimum} or later were found (looked in: \
         {looked_in}); run `./ops setup`, or install a package such as postgresql-15, or set \
         OPS_POSTGRES_BIN to a folder with `postgres` and `initdb`, or set DATABASE_URL to use a \
         server of your own"
    )]
    NoBinaries {
        /// The oldest version that would do.
        minimum: u32,
        /// Where was looked, and what was wrong there.
        looked_in: String,
    },
    /// The folder was made by a major version that is not here.
    #[error(
        "{folder} was made by PostgreSQL {made_by}, and this machine has {found}; install the \
         server binaries of version {made_by}, or dump and restore the database"
    )]
    OtherVersion {
        /// The cluster's folder.
        folder: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The major versions that were found.
        found: String,
    },
    /// Another process owns this data folder.
    #[error(
        "the data folder {folder} is in use by process {owner}; stop that process, or give this \
         one another folder with --data"
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds the lock, as far as it is known.
        owner: String,
    },
    /// A server or its remains would not go away.
    #[error(
        "processes {processes} of an earlier server still use {folder} and did not end; end them \
         with `kill -QUIT` and start again"
    )]
    StillRunning {
        /// The cluster's folder.
        folder: PathBuf,
        /// The processes that are left.
        processes: String,
    },
    /// The account the server runs under cannot get where it must.
    #[error(
        "the server runs as account `{account}`, which cannot enter {folder}; choose a place it \
         can enter with --data (or OPS_POSTGRES_BIN for the binaries), or start the program as an \
         ordinary user instead of root"
    )]
    Unreachable {
        /// The unprivileged account.
        account: String,
        /// The first folder on the way that it cannot enter.
        folder: PathBuf,
    },
    /// Root has no unprivileged account to give the server.
    #[error(
        "PostgreSQL does not run as root and this machine has neither an account `postgres` nor \
         `nobody`; create one, or start the program as an ordinary user"
    )]
    NoAccount,
    /// The folder belongs to somebody else.
    #[error(
        "{folder} belongs to account {owner}; start the program as that account or as root, or \
         choose another folder with --data"
    )]
    ForeignFolder {
        /// The cluster's folder.
        folder: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// There is something in the way that is no cluster.
    #[error(
        "{folder} exists and holds no PostgreSQL cluster; move it away, or choose another folder \
         with --data"
    )]
    NotACluster {
        /// The folder in the way.
        folder: PathBuf,
    },
    /// The folder for the socket is not ours.
    #[error(
        "the folder {folder} for the server's socket exists and is not a private folder of \
         account {account}; remove it, or choose a shorter path with --data so that it is not \
         needed"
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
        /// The account that must own it.
        account: String,
    },
    /// The disk is full.
    #[error("the disk that holds {folder} is full; free some space there and start again")]
    DiskFull {
        /// The data folder.
        folder: PathBuf,
    },
    /// Every port that was tried is taken.
    #[error("no free TCP port was found on 127.0.0.1 (last tried: {port}); free one and try again")]
    PortBusy {
        /// The port tried last.
        port: u16,
    },
    /// `initdb` failed.
    #[error("a new cluster could not be made in {folder}: {log}")]
    Init {
        /// The folder.
        folder: PathBuf,
        /// The last lines that were printed.
        log: String,
    },
    /// The server ended while starting.
    #[error("the server in {folder} ended while starting: {log}; see {log_file}")]
    Start {
        /// The cluster's folder.
        folder: PathBuf,
        /// The last lines of its log.
        log: String,
        /// Where the rest is.
        log_file: PathBuf,
    },
    /// The server runs and does not become ready.
    #[error(
        "the server in {folder} was not ready after {seconds} s: {log}; if it is recovering from \
         a crash, wait and start again"
    )]
    NotReady {
        /// The cluster's folder.
        folder: PathBuf,
        /// How long was waited.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// A setting whose name could not be one.
    #[error("`{name}` is not the name of a PostgreSQL setting; use letters, digits, `_` and `.`")]
    Setting {
        /// The name as it was given.
        name: String,
    },
    /// A file or process operation failed.
    #[error("{what} ({path}) failed")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Names what was attempted; a full disk is told apart because its remedy is another.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull { folder: path },
            _ => Self::Io { what, path, source },
        }
    }
}

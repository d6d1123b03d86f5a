//! Why an installation cannot be opened. Every message names what stands in the way and says what
//! to do next; the cause, where there is one, is the `source` and is left out of the message.

use event_log::{KeyError, MigrateError, OpenError, SigningKeyError};
use std::path::PathBuf;

/// Why an installation cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no installation at this place, and reading makes none.
    #[error("nothing here yet: {place}; run `opscenter demo` or `opscenter serve` first")]
    NothingHere {
        /// What was looked at.
        place: String,
    },
    /// The address cannot be read; it is not shown, for it may hold a password.
    #[error("{variable} cannot be read; it looks like postgres://user@host:5432/name")]
    Url {
        /// Which one.
        variable: &'static str,
    },
    /// Nobody answers there.
    #[error(
        "the database at {address} cannot be reached; check that it runs and that {variable} is \
         right, or unset it to use a private one"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// Which variable named it.
        variable: &'static str,
        /// What happened.
        source: sqlx::Error,
    },
    /// The server does not know us.
    #[error(
        "the database at {address} does not let role {role:?} in; check user name and password \
         in {variable}"
    )]
    Denied {
        /// Host and port.
        address: String,
        /// Who asked.
        role: String,
        /// Which variable named it.
        variable: &'static str,
        /// What the server said.
        source: sqlx::Error,
    },
    /// No such database.
    #[error("there is no database {name:?} at {address}; create it with `createdb {name}`")]
    NoDatabase {
        /// Host and port.
        address: String,
        /// Its name.
        name: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// All connections are taken.
    #[error(
        "the database at {address} takes no more connections; end some, or raise max_connections"
    )]
    Crowded {
        /// Host and port.
        address: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The role cannot do what is needed.
    #[error("role {role:?} may not {what}; {advice}")]
    NoRight {
        /// Who.
        role: String,
        /// What it may not do.
        what: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// A server of an older version holds the folder.
    #[error(
        "the server that runs on {folder} is older than this program (schema version {found}, \
         needed {needed}); stop it and start it again with this version"
    )]
    OlderServer {
        /// The data folder.
        folder: PathBuf,
        /// What is there.
        found: i32,
        /// What this program needs.
        needed: i32,
    },
    /// The tables are older than the program, and reading does not migrate.
    #[error(
        "the log has schema version {found} and this program needs {needed}; run \
         `opscenter serve` of this version once to migrate it"
    )]
    NotMigrated {
        /// What is there.
        found: i32,
        /// What this program needs.
        needed: i32,
    },
    /// The database's disk is full.
    #[error("the disk of the database is full; free some space there and try again")]
    DiskFull {
        /// What the database said.
        source: sqlx::Error,
    },
    /// The data folder cannot be made.
    #[error("the data folder {folder} cannot be made; check its path, or name another with --data")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The data folder, or the one it would be made in, is closed to us.
    #[error(
        "the folder {folder} cannot be written to; give this account the right to, or name \
         another with --data"
    )]
    ClosedFolder {
        /// Which.
        folder: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// What is in the way of the data folder is no folder.
    #[error("{path} is no folder; move it away, or name another folder with --data")]
    NoFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// The disk of the data folder is as good as full.
    #[error(
        "the disk of {folder} has {free_mebibytes} MiB left and {needed_mebibytes} are needed; \
         free some space there, or name another folder with --data"
    )]
    NoRoom {
        /// The data folder.
        folder: PathBuf,
        /// What is left.
        free_mebibytes: u64,
        /// What a database needs to begin with.
        needed_mebibytes: u64,
    },
    /// There is no key to open personal data with.
    #[error(
        "there is no master key at {path} and OPS_MASTER_KEY is not set; bring the key of this \
         installation there, for what is sealed opens with no other"
    )]
    NoMasterKey {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The private Postgres did not start.
    #[error(transparent)]
    Postgres(#[from] private_postgres::Error),
    /// The database cannot hold the log, or holds another version of it.
    #[error(transparent)]
    Log(OpenError),
    /// The migration stopped.
    #[error(transparent)]
    Migrate(MigrateError),
    /// The keys do not open.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There is no key to sign checkpoints with, or to verify them.
    #[error(
        "there are no signing keys of the log at {path} and OPS_LOG_KEYS is not set; \
         `opscenter serve` makes them, and those of an installation in use are in its backup"
    )]
    NoLogKeys {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// The keys that sign checkpoints cannot be used.
    #[error(transparent)]
    LogKeys(#[from] SigningKeyError),
    /// A task of ours was ended from outside.
    #[error("opening was interrupted; try again")]
    Interrupted,
}

/// Which database is meant, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) address: String,
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) variable: &'static str,
}

impl Address {
    /// Says what a failure to connect or to ask means to whoever runs the program.
    pub(crate) fn explain(&self, source: sqlx::Error) -> Error {
        let address = self.address.clone();
        let code = match &source {
            sqlx::Error::Database(said) => said.code().map(|code| code.into_owned()),
            _ => None,
        };
        match code.as_deref() {
            Some("28000" | "28P01") => {
                Error::Denied { address, role: self.role.clone(), variable: self.variable, source }
            }
            Some("3D000") => Error::NoDatabase { address, name: self.name.clone(), source },
            Some("53300") => Error::Crowded { address, source },
            Some("53100") => Error::DiskFull { source },
            Some("42501") => Error::NoRight {
                role: self.role.clone(),
                what: "use the log",
                advice: "use the role that migrated it, or grant it opscenter_service",
            },
            _ => Error::Unreachable { address, variable: self.variable, source },
        }
    }

    /// The same for a failure to open the log.
    pub(crate) fn explain_open(&self, error: OpenError) -> Error {
        match error {
            OpenError::Unreachable(source) => self.explain(source),
            other @ (OpenError::Url
            | OpenError::ServerTooOld { .. }
            | OpenError::Encoding { .. }
            | OpenError::NotMigrated
            | OpenError::SchemaTooOld { .. }
            | OpenError::SchemaNewer { .. }) => Error::Log(other),
        }
    }

    /// The same for a migration that stopped.
    pub(crate) fn explain_migration(&self, error: MigrateError) -> Error {
        match error {
            MigrateError::Database(error) => self.explain_open(error),
            MigrateError::Step { source, step } => match self.explain(source) {
                full @ Error::DiskFull { .. } => full,
                Error::NoRight { role, .. } => Error::NoRight {
                    role,
                    what: "make the tables of the log",
                    advice: "set DATABASE_OWNER_URL to a role that may create roles and schemas",
                },
                Error::Unreachable { source, .. } => {
                    Error::Migrate(MigrateError::Step { step, source })
                }
                other => other,
            },
            other @ (MigrateError::Newer { .. } | MigrateError::Changed { .. }) => {
                Error::Migrate(other)
            }
        }
    }
}

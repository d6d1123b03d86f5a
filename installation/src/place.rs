//! Where an installation lies, and what is wanted of it.

use clap::Args;
use std::path::PathBuf;

/// The data folder when none is named.
pub const DATA_DEFAULT: &str = ".opscenter";

/// Where an installation lies. Doubles as the options of a command line: flatten it.
#[derive(Args, Clone, PartialEq, Eq)]
#[command(next_help_heading = "Installation")]
pub struct Place {
    /// The data folder: the keys, and the private Postgres when no database is named
    #[arg(
        long = "data",
        value_name = "DIR",
        env = "OPS_DATA",
        default_value = DATA_DEFAULT,
        global = true
    )]
    pub data_dir: PathBuf,
    /// A database of your own, postgres://user@host:5432/name; better given by the environment,
    /// which no other user of the machine sees
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// The same database as a role that may create roles and schemas; used to migrate only
    #[arg(
        long = "database-owner-url",
        value_name = "URL",
        env = "DATABASE_OWNER_URL",
        hide_env_values = true,
        global = true
    )]
    pub owner_url: Option<String>,
    /// The folder of the bundles that archived partitions are in; `archive` in the data folder by
    /// default
    #[arg(long = "archive", value_name = "DIR", env = "OPS_ARCHIVE", global = true)]
    pub archive_dir: Option<PathBuf>,
}

impl Place {
    /// A data folder with a private Postgres.
    #[must_use]
    pub fn folder(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), database_url: None, owner_url: None, archive_dir: None }
    }

    /// The folder of the bundles that archived partitions are in.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        let named = self.archive_dir.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        named.cloned().unwrap_or_else(|| self.data_dir.join("archive"))
    }

    /// The database that was named; an empty text, as scripts leave it behind, names none.
    pub(crate) fn database(&self) -> Option<&str> {
        named(self.database_url.as_deref())
    }

    pub(crate) fn owner(&self) -> Option<&str> {
        named(self.owner_url.as_deref())
    }
}

fn named(url: Option<&str>) -> Option<&str> {
    url.map(str::trim).filter(|url| !url.is_empty())
}

/// Addresses may hold passwords, and whatever prints a place must not print them.
impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |url: Option<&str>| url.map(|_| "hidden");
        formatter
            .debug_struct("Place")
            .field("data_dir", &self.data_dir)
            .field("database_url", &hidden(self.database()))
            .field("owner_url", &hidden(self.owner()))
            .field("archive_dir", &self.archive_dir)
            .finish()
    }
}

/// What is wanted of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be its server: owns the private Postgres, or refuses when another process does.
    Serve,
    /// To append, beside a server or without one.
    Write,
    /// To write what is derived from history: makes and migrates nothing, appends nothing.
    Derive,
    /// To look: makes nothing, migrates nothing, and every transaction is read-only.
    Read,
}

impl Access {
    /// Whether it may make what is missing: the folder, the key, the tables.
    pub(crate) const fn makes(self) -> bool {
        match self {
            Self::Serve | Self::Write => true,
            Self::Derive | Self::Read => false,
        }
    }
}

//! What is at a place, found out without making, starting or changing anything: for a look before
//! a start, and for whoever wants to know why a start failed.
//!
//! Where something stands in the way of a start, the answer is the [`Error`] that the start would
//! end with, or one that says it sooner.

use crate::{Error, Place, SERVICE_ROLE, database, keys, signing};
use private_postgres::{Options, Running};
use rustix::fs::{Access as Right, access, statvfs};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MEBIBYTE: u64 = 1024 * 1024;
/// A new cluster and its first write-ahead log fit into this.
const FREE_BYTES_MIN: u64 = 128 * MEBIBYTE;

/// A data folder that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFound {
    /// Its full path.
    pub path: PathBuf,
    /// Whether it is there; if not, it can be made.
    pub exists: bool,
    /// What is free on its disk.
    pub free_bytes: u64,
    /// The private Postgres that runs on it.
    pub running: Option<Running>,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFound {
    /// In the environment.
    Environment,
    /// In a file that only its owner can read.
    File {
        /// Which.
        path: PathBuf,
    },
    /// Nowhere yet: the first start makes it.
    NotYet {
        /// Where.
        path: PathBuf,
    },
}

/// A database that answers and can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFound {
    /// Host and port, or the folder of its socket.
    pub address: String,
    /// The database's name.
    pub name: String,
    /// Who we are there.
    pub role: String,
    /// The server's version.
    pub version: String,
    /// How it writes text.
    pub encoding: String,
    /// The schema version of the log; `None` while there is no log, which a start makes.
    pub schema_version: Option<i32>,
    /// The schema version that this program needs, and brings an older log to.
    pub schema_version_needed: i32,
}

/// Which PostgreSQL a start would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresFound {
    /// The one that was named, and answers.
    Named(DatabaseFound),
    /// A private one that runs.
    Running {
        /// Its process, and who started it.
        server: Running,
        /// What is in it; `None` while it starts.
        database: Option<DatabaseFound>,
    },
    /// A private one that does not run; a start uses these programs.
    Stopped(private_postgres::Programs),
}

/// Looks at the data folder.
///
/// # Errors
/// What keeps it from being used.
pub async fn data_folder(place: &Place) -> Result<FolderFound, Error> {
    let folder = place.data_dir.clone();
    // A database elsewhere has a disk of its own.
    let needed = if place.database().is_none() { FREE_BYTES_MIN } else { 0 };
    let looked = tokio::task::spawn_blocking(move || look_at_folder(&folder, needed));
    looked.await.map_err(|_| Error::Interrupted)?
}

fn look_at_folder(folder: &Path, needed: u64) -> Result<FolderFound, Error> {
    let unusable = |source| Error::Folder { folder: folder.to_owned(), source };
    let path = std::path::absolute(folder).map_err(unusable)?;
    // What is not there would be made in the nearest folder above it.
    let nearest = path.ancestors().find(|above| above.symlink_metadata().is_ok());
    let nearest = nearest.unwrap_or(&path);
    if !nearest.is_dir() {
        return Err(Error::NoFolder { path: nearest.to_owned() });
    }
    access(nearest, Right::WRITE_OK | Right::EXEC_OK).map_err(|error| Error::ClosedFolder {
        folder: nearest.to_owned(),
        source: error.into(),
    })?;
    let disk = statvfs(nearest).map_err(|error| unusable(error.into()))?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    let running = private_postgres::running(&path)?;
    if free_bytes < needed {
        return Err(Error::NoRoom {
            folder: path,
            free_mebibytes: free_bytes / MEBIBYTE,
            needed_mebibytes: needed / MEBIBYTE,
        });
    }
    Ok(FolderFound { exists: nearest == path, path, free_bytes, running })
}

/// Looks for the master key.
///
/// # Errors
/// When there is one that cannot be used.
pub async fn master_key(place: &Place) -> Result<KeyFound, Error> {
    let folder = place.data_dir.clone();
    let looked = tokio::task::spawn_blocking(move || keys::survey(&folder));
    looked.await.map_err(|_| Error::Interrupted)?
}

/// Looks for the keys that sign checkpoints.
///
/// # Errors
/// When there are some that cannot be used.
pub async fn log_keys(place: &Place) -> Result<KeyFound, Error> {
    let folder = place.data_dir.clone();
    let looked = tokio::task::spawn_blocking(move || signing::survey(&folder));
    looked.await.map_err(|_| Error::Interrupted)?
}

/// Looks for the database that a start would use: the one that was named, else a private one.
/// A server may take `limit` to answer.
///
/// # Errors
/// What keeps a start from using it.
pub async fn postgres(place: &Place, limit: Duration) -> Result<PostgresFound, Error> {
    if let Some(url) = place.database() {
        let owner_migrates = place.owner().is_some();
        let found = database::survey(url, "DATABASE_URL", owner_migrates, limit).await?;
        return Ok(PostgresFound::Named(found));
    }
    let folder = place.data_dir.clone();
    let looked = tokio::task::spawn_blocking(move || match private_postgres::running(&folder)? {
        Some(server) => Ok(Err(server)),
        None => private_postgres::programs(&Options::new(folder)).map(Ok),
    });
    match looked.await.map_err(|_| Error::Interrupted)?? {
        Ok(programs) => Ok(PostgresFound::Stopped(programs)),
        Err(server) => running(place, server, limit).await,
    }
}

async fn running(place: &Place, server: Running, limit: Duration) -> Result<PostgresFound, Error> {
    if !server.is_ready() {
        return Ok(PostgresFound::Running { server, database: None });
    }
    // Whoever started it makes the tables.
    let url = server.connection_url(SERVICE_ROLE);
    match database::survey(&url, "--data", true, limit).await {
        Ok(DatabaseFound {
            schema_version: Some(found), schema_version_needed: needed, ..
        }) if found < needed => {
            Err(Error::OlderServer { folder: place.data_dir.clone(), found, needed })
        }
        Ok(found) => Ok(PostgresFound::Running { server, database: Some(found) }),
        // The role comes with the tables: a first start is about to make them.
        Err(Error::Denied { .. }) => Ok(PostgresFound::Running { server, database: None }),
        Err(error) => Err(error),
    }
}

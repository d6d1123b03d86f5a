//! What is there, without starting, making or changing anything: for a look before a start, and
//! for whoever wants to know why a start failed.

use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::binaries::Binaries;
use crate::cluster::{Cluster, Postmaster};
use crate::process::is_server_of;
use crate::{DATABASE, Error, Options, lock, socket_url};

/// The server programs that a start would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The folder with `postgres` and `initdb`.
    pub folder: PathBuf,
    /// Their version, as they print it.
    pub version: String,
    /// The major version that made the cluster; `None` where there is no cluster yet.
    pub made_by: Option<u32>,
}

/// A server that runs on a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The process that started it, as far as it is known.
    pub owner: Option<u32>,
    found: Postmaster,
}

impl Running {
    /// The postmaster's process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.found.number
    }

    /// Whether it takes connections; one that starts or recovers does not yet.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.found.is_ready
    }

    /// The folder its socket lies in.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.found.socket_folder
    }

    /// The database that was made with the cluster.
    #[must_use]
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// A URL for our database over the socket.
    #[must_use]
    pub fn connection_url(&self, role: &str) -> String {
        socket_url(&self.found.socket_folder, self.found.port, role, DATABASE)
    }
}

/// The server that runs on a data folder, whoever started it.
///
/// # Errors
/// When the folder exists and cannot be looked into.
pub fn running(data_dir: &Path) -> Result<Option<Running>, Error> {
    if !data_dir.is_dir() {
        return Ok(None);
    }
    let cluster = Cluster::found(data_dir)?;
    // What a server that was killed left lying names a process that is gone, or is another's.
    let runs = |found: &Postmaster| is_server_of(found.number, &cluster.folder);
    let found = cluster.postmaster().filter(runs);
    Ok(found.map(|found| Running { owner: lock::last_owner(&cluster.data), found }))
}

/// The programs that a start on this data folder would use.
///
/// # Errors
/// As [`PrivatePostgres::start`](crate::PrivatePostgres::start) would find none.
pub fn programs(options: &Options) -> Result<Programs, Error> {
    let (folder, made_by) = match options.data_dir.is_dir() {
        true => {
            let cluster = Cluster::found(&options.data_dir)?;
            let made_by = cluster.made_by()?;
            (cluster.folder, made_by)
        }
        false => (options.data_dir.join("postgres"), None),
    };
    let account = Account::choose(&folder)?;
    let found = Binaries::find(options.bin_dir.as_deref(), &folder, made_by)?;
    account.reaches(&found.folder)?;
    Ok(Programs { folder: found.folder, version: found.version, made_by })
}

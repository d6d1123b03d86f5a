//! Where a cluster lies when its data folder will not do.
//!
//! Normally that is the data folder itself. But root's server runs as another account, and what
//! lies in root's own home (a fresh clone, say) no other account can enter. Rather than open that
//! home to everybody, the cluster and its socket get a folder under `/var/lib/opscenter`, and a
//! link `<data>/postgres` leads there. The link is the only record: a data folder that is moved
//! takes it along, and one that is removed starts afresh, with the old cluster left in its place
//! for whoever misses it.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;
use crate::account::Account;

const SHELTER: &str = "/var/lib/opscenter";

/// The folder that holds `postgres` and `run`, as the link says; the data folder without one.
pub(crate) fn found(data: &Path) -> Result<PathBuf, Error> {
    match fs::read_link(data.join("postgres")) {
        Ok(target) => {
            let home = target.parent().map(Path::to_path_buf).unwrap_or_default();
            fs::canonicalize(&home).map_err(Error::io("following the link to the cluster", home))
        }
        Err(_) => Ok(data.to_path_buf()),
    }
}

/// As [`found`], and for a cluster still to be made: a folder that `account` can enter.
pub(crate) fn settled(data: &Path, account: &Account) -> Result<PathBuf, Error> {
    let home = found(data)?;
    if home != data || data.join("postgres").exists() || account.reaches(data).is_ok() {
        return Ok(home);
    }
    let home = Path::new(SHELTER).join(unique(data));
    // To pass through is enough; the cluster inside is closed to everybody else.
    for (folder, mode) in [(Path::new(SHELTER), 0o755), (&home, 0o711)] {
        if !folder.is_dir() {
            DirBuilder::new()
                .mode(mode)
                .create(folder)
                .map_err(Error::io("making a folder for the cluster", folder))?;
        }
    }
    symlink(home.join("postgres"), data.join("postgres"))
        .map_err(Error::io("linking the data folder to its cluster", data))?;
    tracing::info!(
        cluster = %home.display(),
        account = account.name,
        "the data folder lies where the server's account cannot enter"
    );
    Ok(home)
}

fn unique(data: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    (data, std::process::id(), SystemTime::now()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

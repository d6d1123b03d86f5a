//! Where the server's socket lies.
//!
//! A socket's path may have 107 bytes (103 on some systems), and the server reads the folder
//! from a list, in which a comma or a quote would end it. A data folder whose path does not
//! qualify gets a folder under `/tmp` instead, whose name follows from the path. Anybody may
//! write in `/tmp`, so that folder is used only if it is a real folder, owned by the server's
//! account, that nobody else can enter.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::account::Account;
use crate::cluster::{Cluster, private_folder};

/// The shortest limit of the systems we run on, less the longest name of a socket and its lock.
const FOLDER_BYTES_MAX: usize = 103 - "/.s.PGSQL.65535.lock".len();

/// The folder for the socket of this cluster, made if need be.
pub(crate) fn folder(cluster: &Cluster, account: &Account) -> Result<PathBuf, Error> {
    let beside = cluster.home.join("run");
    let folder = if qualifies(&beside) { beside } else { elsewhere(&cluster.data, account.uid) };
    let found = match fs::symlink_metadata(&folder) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            private_folder(&folder, account)?;
            return Ok(folder);
        }
        Err(error) => return Err(Error::io("looking at the socket's folder", folder)(error)),
    };
    if !found.is_dir() || found.uid() != account.uid {
        return Err(Error::SocketFolder { folder, account: account.name.clone() });
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))
            .map_err(Error::io("making the socket's folder private", &folder))?;
    }
    clear(&folder)?;
    Ok(folder)
}

/// Removes what a killed server left. Its lock file names a process, and the server would take
/// any process that now has this number for the old server; what guards the cluster itself is
/// `postmaster.pid`, and that was looked at before.
fn clear(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("reading the socket's folder", folder))?;
    for entry in entries.flatten() {
        if entry.file_name().as_bytes().starts_with(b".s.PGSQL.") {
            fs::remove_file(entry.path())
                .map_err(Error::io("removing the socket of a server that is gone", entry.path()))?;
        }
    }
    Ok(())
}

fn qualifies(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_bytes();
    bytes.len() <= FOLDER_BYTES_MAX && !bytes.iter().any(|byte| b",\"'\n".contains(byte))
}

fn elsewhere(data: &Path, uid: u32) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    PathBuf::from(format!("/tmp/opscenter-{uid}-{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_or_one_that_would_break_the_list_does_not_qualify() {
        assert!(qualifies(Path::new("/home/ada/.opscenter/run")));
        assert!(!qualifies(Path::new(&format!("/{}", "x".repeat(FOLDER_BYTES_MAX)))));
        assert!(!qualifies(Path::new("/home/ada, bob/run")));
    }

    #[test]
    fn two_data_folders_never_share_a_fallback() {
        assert_ne!(elsewhere(Path::new("/a"), 1), elsewhere(Path::new("/b"), 1));
        assert_eq!(elsewhere(Path::new("/a"), 1), elsewhere(Path::new("/a"), 1));
    }
}

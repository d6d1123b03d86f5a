//! One owner per data folder.
//!
//! The owner holds an exclusive `flock` on `postgres.lock` for as long as it lives; the kernel
//! lets go of it however the owner ends. The number inside is for messages only: it never
//! decides anything.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Error;

const FILE_NAME: &str = "postgres.lock";

/// Held for as long as this process owns the data folder.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells who holds it.
    pub(crate) fn try_take(data_folder: &Path) -> Result<Self, Error> {
        let path = data_folder.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("opening the lock file", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let folder = data_folder.to_path_buf();
                return Err(Error::InUse { folder, owner: owner(&mut file) });
            }
            Err(error) => return Err(Error::io("locking the lock file", path)(error.into())),
        }
        write_owner(&mut file).map_err(Error::io("writing the lock file", path))?;
        Ok(Self { _file: file })
    }
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// The number in the file; another owner may be about to write it.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), number) if !number.is_empty() => number.to_owned(),
        _ => "of unknown number".to_owned(),
    }
}

/// The process that took the lock last, as far as it is known. Takes nothing: whoever starts at
/// this moment must not be told that the folder is in use.
pub(crate) fn last_owner(data_folder: &Path) -> Option<u32> {
    std::fs::read_to_string(lock_path(data_folder)).ok()?.trim().parse().ok()
}

/// Where the lock of a data folder is, for messages and tests.
#[must_use]
pub fn lock_path(data_folder: &Path) -> PathBuf {
    data_folder.join(FILE_NAME)
}

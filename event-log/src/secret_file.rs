//! Files that hold secrets: only their owner can read them, they are on disk before anything is
//! done with what is in them, and nobody ever reads half of one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What can go wrong with a file that holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read or made.
    #[error("{path} cannot be used; check the folder and its rights")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Others could read it.
    #[error("{path} can be read by others; run chmod 600 on it")]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a file that only its owner can read; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or others could read it.
pub fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SecretFileError> {
    let failed = |source| SecretFileError::File { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let about = file.metadata().map_err(failed)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned() });
    }
    // Made large enough at once: growing would leave copies behind.
    let bytes = usize::try_from(about.len()).unwrap_or_default().saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Makes a file that was not there; false when somebody was faster, whose file then counts.
///
/// # Errors
/// When it cannot be made.
pub fn create(path: &Path, text: &str) -> Result<bool, SecretFileError> {
    let failed = |source| SecretFileError::File { path: path.to_owned(), source };
    let draft = write_draft(path, text).map_err(failed)?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft).map_err(failed)?;
    folder(path).and_then(|folder| folder.sync_all()).map_err(failed)?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Puts a new file into the place of the old one. Whoever reads first and then writes takes
/// [`lock`] before.
///
/// # Errors
/// When it cannot be written; the old one is then still there.
pub fn replace(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let failed = |source| SecretFileError::File { path: path.to_owned(), source };
    let draft = write_draft(path, text).map_err(failed)?;
    if let Err(error) = std::fs::rename(&draft, path) {
        let _left_behind = std::fs::remove_file(&draft);
        return Err(failed(error));
    }
    folder(path).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Waits until no other process changes a file of the same folder; held until it is dropped.
///
/// # Errors
/// When the folder cannot be opened or locked.
pub fn lock(path: &Path) -> Result<File, SecretFileError> {
    let failed = |source| SecretFileError::File { path: path.to_owned(), source };
    let folder = folder(path).map_err(failed)?;
    folder.lock().map_err(failed)?;
    Ok(folder)
}

fn write_draft(path: &Path, text: &str) -> io::Result<PathBuf> {
    let draft = path.with_extension(format!("draft-{}", Uuid::now_v7()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _left_behind = std::fs::remove_file(&draft);
        return Err(error);
    }
    Ok(draft)
}

fn folder(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
}

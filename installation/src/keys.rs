//! The master key: from `OPS_MASTER_KEY`, or from `master.key` in the data folder.
//!
//! It is made once, by whoever may write, and never lies in the database. Reading makes none:
//! without the key everything works except that personal data stays sealed.

use crate::survey::KeyFound;
use crate::{Access, Error};
use event_log::{EventLog, KeyError, KeyRing, MasterKey};
use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const VARIABLE: &str = "OPS_MASTER_KEY";
const FILE: &str = "master.key";

/// Opens the keys of a log. None where reading found no master key.
pub(crate) async fn open(
    log: &EventLog,
    data_dir: &Path,
    access: Access,
) -> Result<Option<KeyRing>, Error> {
    let Some(master) = master_key(data_dir, access)? else {
        return Ok(None);
    };
    match KeyRing::open(log, &master).await {
        Ok(keys) => Ok(Some(keys)),
        // What is sealed stays sealed; everything else can be looked at.
        Err(error @ KeyError::WrongMaster) if !access.makes() => {
            tracing::warn!(%error, "personal data stays sealed");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the master key is, and that it can be used. Makes none.
pub(crate) fn survey(data_dir: &Path) -> Result<KeyFound, Error> {
    if let Some(text) = given() {
        MasterKey::from_base64(&text)?;
        return Ok(KeyFound::Environment);
    }
    let path = path(data_dir);
    match path.try_exists() {
        Ok(true) => {
            MasterKey::load_or_create(&path)?;
            Ok(KeyFound::File { path })
        }
        Ok(false) => Ok(KeyFound::NotYet { path }),
        Err(source) => Err(KeyError::File { path, source }.into()),
    }
}

/// The key that the environment holds; an empty text, as scripts leave it behind, is none.
pub(crate) fn given() -> Option<String> {
    env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty())
}

/// Where the key is kept when the environment does not hold it.
pub(crate) fn path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(FILE)
}

fn master_key(data_dir: &Path, access: Access) -> Result<Option<MasterKey>, Error> {
    if let Some(text) = given() {
        return Ok(Some(MasterKey::from_base64(&text)?));
    }
    let path = path(data_dir);
    if access.makes() {
        make_folder(data_dir)?;
    } else if !path.exists() {
        return Ok(None);
    }
    Ok(Some(MasterKey::load_or_create(&path)?))
}

/// Makes the data folder for its owner only, where it is not there yet.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| Error::Folder { folder: folder.to_owned(), source })
}

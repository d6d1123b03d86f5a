//! The keys that checkpoints are signed with: from `OPS_LOG_KEYS`, or from `log-keys.json` in the
//! data folder; and the guard, which lies in the data folder wherever the keys are.
//!
//! They are made once, by whoever may write, and never lie in the database. Who only looks uses
//! them where they are, and does without where they are not.

use crate::survey::KeyFound;
use crate::{Access, Error, Place, keys};
use event_log::SigningKeys;
use event_log::signing_keys::SIGNING_KEYS_FILE;
use event_log::tree::guard::{GUARD_FILE, Guard};
use std::path::{Path, PathBuf};

const VARIABLE: &str = "OPS_LOG_KEYS";

/// Opens the keys of an installation. `None` where reading found none that it can use.
pub(crate) fn open(data_dir: &Path, access: Access) -> Result<Option<SigningKeys>, Error> {
    if access.makes() {
        // The guard lies there, also where the keys do not.
        keys::make_folder(data_dir)?;
        if let Some(text) = given() {
            return Ok(Some(SigningKeys::from_text(&text)?));
        }
        return Ok(Some(SigningKeys::load_or_create(&path(data_dir))?));
    }
    // Who looks may be somebody from whom they are rightly kept.
    Ok(load(data_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "the signing keys of the log are not used");
        None
    }))
}

/// Where the keys are, and that they can be used. Makes none.
pub(crate) fn survey(data_dir: &Path) -> Result<KeyFound, Error> {
    let path = path(data_dir);
    match (load(data_dir)?, given()) {
        (Some(_), Some(_)) => Ok(KeyFound::Environment),
        (Some(_), None) => Ok(KeyFound::File { path }),
        (None, _) => Ok(KeyFound::NotYet { path }),
    }
}

/// The keys that checkpoints of an installation are signed with, without its database. Makes none.
///
/// # Errors
/// [`Error::NoLogKeys`] where there are none yet, and [`Error::LogKeys`] where they cannot be used.
pub fn log_keys(place: &Place) -> Result<SigningKeys, Error> {
    load(&place.data_dir)?.ok_or_else(|| Error::NoLogKeys { path: path(&place.data_dir) })
}

/// What remembers the checkpoint of an installation that was signed last, without its database.
#[must_use]
pub fn log_guard(place: &Place) -> Guard {
    guard(&place.data_dir)
}

pub(crate) fn guard(data_dir: &Path) -> Guard {
    Guard::at(data_dir.join(GUARD_FILE))
}

fn load(data_dir: &Path) -> Result<Option<SigningKeys>, Error> {
    match given() {
        Some(text) => Ok(Some(SigningKeys::from_text(&text)?)),
        None => Ok(SigningKeys::load(&path(data_dir))?),
    }
}

/// The keys that the environment holds; an empty text, as scripts leave it behind, is none.
pub(crate) fn given() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty())
}

/// Where the keys are kept when the environment does not hold them.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SIGNING_KEYS_FILE)
}

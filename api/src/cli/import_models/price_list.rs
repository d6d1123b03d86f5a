//! A price list file: a JSON object from model names to entries, in the manner of LiteLLM.
//!
//! Nothing in it is read as a binary number: values stay the text they are in the file until they
//! are read as exact decimals.

use crate::cli::json_members::Members;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};

/// The largest file that is read: far more than every price list there is.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The entry that documents the fields of the list.
const DOCUMENTATION: &str = "sample_spec";

/// Why a file is no price list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PriceListError {
    #[error("the price list {path} cannot be read; check its name and that you may read it")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the price list {path} has {bytes} bytes; at most {BYTES_MAX} are read")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("the price list {path} is not UTF-8 text; save it as UTF-8")]
    Encoding { path: PathBuf },
    #[error(
        "the price list {path} is no JSON object of model names and entries; if it was cut off, \
         fetch it again"
    )]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("the price list {path} has no entries")]
    Empty { path: PathBuf },
}

/// Reads the text of a price list.
pub(crate) fn read(path: &Path) -> Result<String, PriceListError> {
    let failed = |source| PriceListError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > BYTES_MAX {
        return Err(PriceListError::TooLarge { path: path.to_owned(), bytes });
    }
    let content = std::fs::read(path).map_err(failed)?;
    let content = match content.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => rest.to_vec(),
        None => content,
    };
    String::from_utf8(content).map_err(|_| PriceListError::Encoding { path: path.to_owned() })
}

/// The entries of a price list in the order of the file, without the one that documents it.
pub(crate) fn entries<'a>(
    path: &Path,
    text: &'a str,
) -> Result<Vec<(String, &'a RawValue)>, PriceListError> {
    let members = serde_json::from_str::<Members<'a>>(text)
        .map_err(|source| PriceListError::Json { path: path.to_owned(), source })?;
    let mut entries = members.0;
    entries.retain(|(name, _)| name != DOCUMENTATION);
    if entries.is_empty() {
        return Err(PriceListError::Empty { path: path.to_owned() });
    }
    Ok(entries)
}

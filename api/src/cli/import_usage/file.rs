//! The file of an import: opened as often as it is read, known by what is in it.
//!
//! It is read once to be hashed and, where nothing may be recorded of a file with faults, to be
//! checked; then once more to be recorded. Standard input can be read only once.

use super::rows::Format;
use data_encoding::HEXLOWER;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, stdin};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{path} cannot be opened; check its name and that you may read it")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{path} is a folder; name a file in it")]
    Folder { path: PathBuf },
    #[error("{path} was changed while it was read; import it again when nobody writes to it")]
    Changed { path: PathBuf },
    #[error(
        "{path} is compressed; unpack it first, for example with `gzip -dc {path} | opscenter \
         import usage - …`"
    )]
    Compressed { path: PathBuf },
}

/// What tells that nobody wrote to a file in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
}

/// Where the rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    pub(super) fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// As it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// By the file's name: JSON Lines where it says so, else CSV.
    pub(super) fn format(&self) -> Format {
        let extension = match self {
            Self::File(path) => path.extension().and_then(|extension| extension.to_str()),
            Self::Stdin => None,
        };
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson" | "json") => Format::Jsonl,
            Some(_) | None => Format::Csv,
        }
    }

    pub(super) fn stamp(&self) -> Result<Option<Stamp>, FileError> {
        let Self::File(path) = self else { return Ok(None) };
        let open = |source| FileError::Open { path: path.clone(), source };
        let metadata = std::fs::metadata(path).map_err(open)?;
        if metadata.is_dir() {
            return Err(FileError::Folder { path: path.clone() });
        }
        // A pipe or a device has no length and cannot be read twice in the same way.
        let bytes = metadata.len();
        Ok(metadata.is_file().then(|| Stamp { bytes, modified: metadata.modified().ok() }))
    }

    /// What may be missing at the end of a file.
    pub(super) fn cut_off(&self) -> Result<Option<String>, FileError> {
        let Self::File(path) = self else { return Ok(None) };
        let open = |source| FileError::Open { path: path.clone(), source };
        let Some(Stamp { bytes: 1.., .. }) = self.stamp()? else { return Ok(None) };
        let mut file = File::open(path).map_err(open)?;
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(open)?;
        Ok((last != *b"\n").then(|| {
            "the last row does not end with a line break; if the file was cut off there, its last \
             figure may be too"
                .to_owned()
        }))
    }

    /// That the file is still as it was.
    pub(super) fn check_unchanged(&self, before: Option<Stamp>) -> Result<(), FileError> {
        match self {
            Self::File(path) if self.stamp()? != before => {
                Err(FileError::Changed { path: path.clone() })
            }
            Self::File(_) | Self::Stdin => Ok(()),
        }
    }

    /// Refuses what is packed: the error is clearer than that a column is missing.
    pub(super) fn check_plain(&self) -> Result<(), FileError> {
        let Self::File(path) = self else { return Ok(()) };
        let mut start = Vec::new();
        let open = |source| FileError::Open { path: path.clone(), source };
        let file = File::open(path).map_err(open)?;
        file.take(4).read_to_end(&mut start).map_err(open)?;
        match start[..] {
            [0x1f, 0x8b, ..] | [b'P', b'K', 3, 4] | [0x28, 0xb5, 0x2f, 0xfd] => {
                Err(FileError::Compressed { path: path.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open(&self, shown: ProgressBar) -> Result<Watched, FileError> {
        let source: Box<dyn Read> = match self {
            Self::File(path) => Box::new(
                File::open(path)
                    .map_err(|source| FileError::Open { path: path.clone(), source })?,
            ),
            Self::Stdin => Box::new(stdin()),
        };
        Ok(Watched { source, shown })
    }
}

/// Bytes of the input, counted by a progress bar as they go by.
pub(super) struct Watched {
    source: Box<dyn Read>,
    shown: ProgressBar,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.shown.inc(u64::try_from(read).unwrap_or_default());
        Ok(read)
    }
}

/// Hashes what goes by.
pub(super) struct Hashed<R> {
    source: R,
    hasher: Sha256,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, hasher: Sha256::new() }
    }

    /// Reads the rest and names the whole: the first 16 hexadecimal digits of its SHA-256.
    pub(super) fn finish(mut self) -> std::io::Result<String> {
        let mut buffer = vec![0; 256 * 1024];
        while self.read(&mut buffer)? > 0 {}
        let digest: [u8; 32] = self.hasher.finalize().into();
        Ok(HEXLOWER.encode(&digest[..8]))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

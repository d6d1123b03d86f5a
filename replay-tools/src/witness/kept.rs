//! The files in which a witness keeps what it has cosigned.
//!
//! Of every log there is one with its last checkpoint, or with that of an empty tree before the
//! first, and a list names every log that was ever begun. So a file that is gone is told from a log
//! that is new: to begin again at zero would let a log forget what was cosigned.

use crate::Failure;
use data_encoding::HEXLOWER;
use event_log::evidence::Hash;
use event_log::note::{Checkpoint, Note};
use event_log::secret_file::{self, SecretFileError};
use event_log::tree::hash::{empty_root, leaf_hash};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The list of the logs that were begun, one origin on a line.
const BEGUN_FILE: &str = "begun.txt";

/// The logs that were ever begun in a folder.
pub(super) struct Begun {
    path: PathBuf,
    origins: BTreeSet<String>,
}

impl Begun {
    /// Reads the list of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(BEGUN_FILE);
        let text = secret_file::read(&path).map_err(|error| unusable(&error))?;
        let origins = text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        Ok(Self { path, origins })
    }

    /// Keeps the list, once the file of every log in it is there.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let text: String = self.origins.iter().map(|origin| format!("{origin}\n")).collect();
        secret_file::replace(&self.path, &text).map_err(|error| unusable(&error))
    }
}

/// The file of one log.
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    /// Opens the file of a log, or makes one for a log that is new, and answers the size and the
    /// root of its last checkpoint.
    pub(super) fn open(
        folder: &Path,
        origin: &str,
        begun: &mut Begun,
    ) -> Result<(Self, (u64, Hash)), Failure> {
        let kept = Self { path: folder.join(file_name(origin)) };
        let is_new = begun.origins.insert(origin.to_owned());
        let read = secret_file::read(&kept.path).map_err(|error| unusable(&error))?;
        let last = match read {
            Some(text) => kept.parse(&text, origin)?,
            None if is_new => kept.begin(origin)?,
            None => {
                return Err(Failure::Usage(format!(
                    "{} is missing, which says what was cosigned of {origin}; restore the newest \
                     copy of it, and let nobody ask before",
                    kept.path.display()
                )));
            }
        };
        Ok((kept, last))
    }

    fn begin(&self, origin: &str) -> Result<(u64, Hash), Failure> {
        let empty = Checkpoint::new(origin, 0, empty_root(), Vec::new())
            .map_err(|error| Failure::Usage(format!("{origin:?} is no origin ({error})")))?;
        secret_file::replace(&self.path, &empty.to_string()).map_err(|error| unusable(&error))?;
        Ok((0, empty_root()))
    }

    fn parse(&self, text: &str, origin: &str) -> Result<(u64, Hash), Failure> {
        let signed = text.parse::<Note>().and_then(|note| note.text().parse::<Checkpoint>());
        // Nobody signs the checkpoint that a log begins with.
        let checkpoint = signed.or_else(|error| text.parse().ok().filter(is_empty).ok_or(error));
        match checkpoint {
            Ok(checkpoint) if checkpoint.origin() == origin => {
                Ok((checkpoint.size(), *checkpoint.root()))
            }
            Ok(_) | Err(_) => Err(Failure::Usage(format!(
                "{} is damaged; restore the newest copy of it, and let nobody ask before",
                self.path.display()
            ))),
        }
    }

    /// Puts the next checkpoint in the place of the last, on disk when this returns.
    pub(super) fn replace(&self, note: &Note) -> Result<(), SecretFileError> {
        secret_file::replace(&self.path, &note.to_string())
    }

    /// Two signed checkpoints of one size are proof against their log: both are kept, of the first
    /// time that it happened.
    pub(super) fn keep_fork(&self, contradicting: &Note) {
        let path = self.path.with_extension("fork");
        tracing::error!(path = %path.display(), "a log has signed two histories of one size");
        let both = secret_file::read(&self.path).and_then(|last| {
            let last = last.as_deref().map_or("", String::as_str);
            secret_file::create(&path, &format!("{last}\n{contradicting}"))
        });
        if let Err(error) = both {
            tracing::error!(%error, "the two histories could not be kept");
        }
    }
}

fn is_empty(checkpoint: &Checkpoint) -> bool {
    checkpoint.size() == 0 && *checkpoint.root() == empty_root()
}

/// A name that any folder takes, whatever is in the origin.
fn file_name(origin: &str) -> String {
    format!("{}.checkpoint", HEXLOWER.encode(&leaf_hash(origin.as_bytes())))
}

fn unusable(error: &SecretFileError) -> Failure {
    Failure::Usage(error.to_string())
}

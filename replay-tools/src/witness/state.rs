//! What a witness knows of its logs: of each, the keys it was given and the last checkpoint it has
//! cosigned. That one lies in a file of its own, and is replaced only by one that follows from it.

use crate::Failure;
use data_encoding::HEXLOWER;
use event_log::evidence::Hash;
use event_log::note::{Algorithm, Checkpoint, Cosigner, Note, VerifierKey};
use event_log::secret_file::{self, SecretFileError};
use event_log::tree::hash::{empty_root, leaf_hash};
use event_log::tree::proof::{ProofError, verify_consistency};
use event_log::witness::{AddCheckpoint, RequestError};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which logs are witnessed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    logs: Vec<ListedLog>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedLog {
    origin: String,
    keys: Vec<VerifierKey>,
}

/// Every log, and what cosigns.
pub(super) struct Logs {
    cosigner: Cosigner,
    logs: HashMap<String, Log>,
    /// Held for as long as this witness runs on its folder.
    _locked: File,
}

/// One log.
struct Log {
    keys: Vec<VerifierKey>,
    path: PathBuf,
    /// The size and the root of the last checkpoint. Held while a request is looked at, so that
    /// comparing and replacing are one.
    last: Mutex<(u64, Hash)>,
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] RequestError),
    #[error("this witness does not know the log {0}")]
    UnknownLog(String),
    #[error("no key that this witness knows for the log has signed the checkpoint")]
    NotSigned,
    /// The last size that was cosigned.
    #[error("{0}")]
    OtherSize(u64),
    #[error("another checkpoint of this size was cosigned: the log has forked")]
    Forked,
    #[error("the proof does not hold: {0}")]
    Proof(#[from] ProofError),
    #[error("the checkpoint cannot be kept; try again")]
    Disk(#[from] SecretFileError),
}

impl Logs {
    /// Reads the list of logs, and what was cosigned of each.
    pub(super) fn open(folder: &Path, list: &Path, cosigner: Cosigner) -> Result<Self, Failure> {
        let locked = lock(folder)?;
        let unreadable = |source| Failure::File { path: list.display().to_string(), source };
        let text = std::fs::read_to_string(list).map_err(unreadable)?;
        let listed: Listed = serde_json::from_str(&text).map_err(|error| {
            Failure::Usage(format!("{} is no list of logs: {error}", list.display()))
        })?;
        let mut logs = HashMap::new();
        for ListedLog { origin, keys } in listed.logs {
            if keys.is_empty() || keys.iter().any(|key| key.algorithm() != Algorithm::Ed25519) {
                return Err(Failure::Usage(format!("{origin} is listed without a key of a log")));
            }
            let path = folder.join(file_name(&origin));
            let last = Mutex::new(last(&path, &origin)?);
            if logs.insert(origin.clone(), Log { keys, path, last }).is_some() {
                return Err(Failure::Usage(format!("{origin} is listed twice")));
            }
        }
        Ok(Self { cosigner, logs, _locked: locked })
    }

    /// What cosignatures are verified with.
    pub(super) fn verifier(&self) -> &VerifierKey {
        self.cosigner.verifier()
    }

    /// Looks at a request, keeps its checkpoint, and cosigns it: one signature line. Writes to the
    /// disk, and waits for others that ask for the same log.
    pub(super) fn add(&self, body: &str) -> Result<String, Refusal> {
        let request: AddCheckpoint = body.parse()?;
        let checkpoint = request.checkpoint()?;
        let known = self.logs.get(checkpoint.origin());
        let log = known.ok_or_else(|| Refusal::UnknownLog(checkpoint.origin().to_owned()))?;
        request.note.verify(&log.keys).map_err(|_| Refusal::NotSigned)?;
        if request.old > checkpoint.size() {
            return Err(RequestError::Shrinks.into());
        }
        log.take(&request, &checkpoint)?;
        Ok(self.cosigner.cosign(request.note.text(), now()).to_string())
    }
}

impl Log {
    fn take(&self, request: &AddCheckpoint, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = *last;
        if request.old != size {
            return Err(Refusal::OtherSize(size));
        }
        if checkpoint.size() == size && *checkpoint.root() != root {
            self.keep_fork(request);
            return Err(Refusal::Forked);
        }
        verify_consistency(size, checkpoint.size(), &root, checkpoint.root(), &request.proof)?;
        secret_file::replace(&self.path, &request.note.to_string())?;
        *last = (checkpoint.size(), *checkpoint.root());
        Ok(())
    }

    /// Two signed checkpoints of one size are proof against their log: the first of them that
    /// contradicts is kept.
    fn keep_fork(&self, request: &AddCheckpoint) {
        let path = self.path.with_extension("fork");
        tracing::error!(path = %path.display(), "a log has signed two histories of one size");
        if let Err(error) = secret_file::create(&path, &request.note.to_string()) {
            tracing::error!(%error, "the second history could not be kept");
        }
    }
}

/// The size and the root of the last checkpoint; those of an empty tree where there is none.
fn last(path: &Path, origin: &str) -> Result<(u64, Hash), Failure> {
    let read = secret_file::read(path).map_err(|error| Failure::Usage(error.to_string()))?;
    let Some(text) = read else { return Ok((0, empty_root())) };
    let checkpoint = text.parse::<Note>().and_then(|note| note.text().parse::<Checkpoint>());
    match checkpoint {
        Ok(checkpoint) if checkpoint.origin() == origin => {
            Ok((checkpoint.size(), *checkpoint.root()))
        }
        // To begin again at zero would let a log forget what was cosigned.
        _ => Err(Failure::Usage(format!(
            "{} is damaged; restore the newest copy of it, and let nobody ask before",
            path.display()
        ))),
    }
}

/// A name that any folder takes, whatever is in the origin.
fn file_name(origin: &str) -> String {
    format!("{}.checkpoint", HEXLOWER.encode(&leaf_hash(origin.as_bytes())))
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let unusable = |source| Failure::File { path: folder.display().to_string(), source };
    let file = File::open(folder).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Usage(format!(
            "another witness runs on {}; stop it, or name another --folder",
            folder.display()
        ))),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

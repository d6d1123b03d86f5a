//! What a witness knows of its logs: of each, the keys it was given and the last checkpoint it has
//! cosigned. That one lies in a file of its own, and is replaced only by one that follows from it.

use super::kept::{Begun, Kept};
use crate::Failure;
use event_log::evidence::Hash;
use event_log::note::{Algorithm, Checkpoint, Cosigner, VerifierKey};
use event_log::secret_file::SecretFileError;
use event_log::tree::proof::{ProofError, verify_consistency};
use event_log::witness::{AddCheckpoint, RequestError};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;
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
    kept: Kept,
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
        let mut begun = Begun::read(folder)?;
        for ListedLog { origin, keys } in listed.logs {
            if keys.is_empty() || keys.iter().any(|key| key.algorithm() != Algorithm::Ed25519) {
                return Err(Failure::Usage(format!("{origin} is listed without a key of a log")));
            }
            let (kept, last) = Kept::open(folder, &origin, &mut begun)?;
            let last = Mutex::new(last);
            if logs.insert(origin.clone(), Log { keys, kept, last }).is_some() {
                return Err(Failure::Usage(format!("{origin} is listed twice")));
            }
        }
        begun.keep()?;
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
            self.kept.keep_fork(&request.note);
            return Err(Refusal::Forked);
        }
        verify_consistency(size, checkpoint.size(), &root, checkpoint.root(), &request.proof)?;
        self.kept.replace(&request.note)?;
        *last = (checkpoint.size(), *checkpoint.root());
        Ok(())
    }
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

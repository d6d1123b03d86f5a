//! What is known of what was signed, outside the database: keys, the guard, checkpoints that were
//! kept elsewhere.

use super::Options;
use crate::Failure;
use event_log::note::{Algorithm, Checkpoint, Note, Signature, VerifierKey};
use event_log::signing_keys::SIGNING_KEYS_FILE;
use event_log::tree::guard::{GUARD_FILE, Guard, GuardError, Guarded};
use event_log::{SigningKeyError, SigningKeys};
use std::fs;
use std::path::Path;

/// Where the signing keys are when they are in no file.
const KEYS_VARIABLE: &str = "OPS_LOG_KEYS";

/// What is known.
#[derive(Debug)]
pub(in crate::verify) struct Known {
    log_keys: Vec<VerifierKey>,
    pub(super) witness_keys: Vec<VerifierKey>,
    /// Whether the log's keys are all that ever signed.
    is_complete: bool,
    pub(super) guard: Remembered,
    /// Where each was kept, and what it says.
    pub(super) elsewhere: Vec<(String, Note, Checkpoint)>,
}

/// What the guard remembers.
#[derive(Debug)]
pub(super) enum Remembered {
    Nothing,
    Damaged(String),
    Signed(Guarded),
}

impl Known {
    /// What the data folder, the environment and the command line say.
    ///
    /// # Errors
    /// When a file that was named cannot be read, or is no checkpoint; when one of the data folder
    /// is there and cannot be read.
    pub(in crate::verify) fn gather(data_dir: &Path, options: &Options) -> Result<Self, Failure> {
        // Who looks may be somebody from whom they are rightly kept, and has to say so.
        let go_on = options.accept_unreadable;
        let own = match own_keys(data_dir) {
            Ok(own) => own,
            Err(error) if go_on => {
                tracing::warn!(%error, "the signing keys of the log are not used");
                None
            }
            Err(error) => return Err(unreadable("the signing keys", &error)),
        };
        let is_complete = own.is_some();
        let own = own.map(|keys| keys.verifier_keys()).unwrap_or_default();
        let (log_keys, witness_keys) = own
            .into_iter()
            .chain(options.keys.iter().cloned())
            .partition(|key| key.algorithm() == Algorithm::Ed25519);
        let guard = match Guard::at(data_dir.join(GUARD_FILE)).read() {
            Ok(Some(guarded)) => Remembered::Signed(guarded),
            Ok(None) => Remembered::Nothing,
            Err(error @ GuardError::Damaged { .. }) => Remembered::Damaged(error.to_string()),
            Err(error @ GuardError::File(_)) if !go_on => {
                return Err(unreadable("what was signed last", &error));
            }
            Err(error @ GuardError::File(_)) => {
                tracing::warn!(%error, "what was signed last is not compared");
                Remembered::Nothing
            }
        };
        let elsewhere = options.checkpoints.iter().map(|path| kept_at(path));
        let elsewhere = elsewhere.collect::<Result<_, _>>()?;
        Ok(Self { log_keys, witness_keys, is_complete, guard, elsewhere })
    }

    /// Whether a note is signed by the log it is about: true when it is, false when no key of it is
    /// known. Of a note that only the log itself writes, every signature counts.
    ///
    /// # Errors
    /// What is wrong with its signatures.
    pub(super) fn verify(
        &self,
        note: &Note,
        checkpoint: &Checkpoint,
        is_ours: bool,
    ) -> Result<bool, String> {
        if self.log_keys.is_empty() {
            return Ok(false);
        }
        let signers = note.verify(&self.log_keys).map_err(|error| error.to_string())?;
        let speaks = |key: &&VerifierKey| epoch(checkpoint, key.name().as_str()).is_some();
        if !signers.iter().any(speaks) {
            return Err("it is signed by the key of another log".to_owned());
        }
        let is_known =
            |signature| self.log_keys.iter().any(|key| key.verifies(note.text(), signature));
        if is_ours && self.is_complete && !note.signatures().iter().all(is_known) {
            return Err("it has a signature that no key of the log made".to_owned());
        }
        let is_twice = |(at, one): (usize, &Signature)| note.signatures()[..at].contains(one);
        if is_ours && note.signatures().iter().enumerate().any(is_twice) {
            return Err("it has a signature twice".to_owned());
        }
        Ok(true)
    }
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!(
        "{what} cannot be read ({error}); run this as the account that serves the log, or go on \
         without it by --accept-unreadable"
    ))
}

/// The epoch of a checkpoint of the log with this name; none when it is about another one.
pub(super) fn epoch(checkpoint: &Checkpoint, log: &str) -> Option<u64> {
    let text = checkpoint.origin().strip_prefix(log)?.strip_prefix("/epoch/")?;
    text.parse().ok().filter(|epoch: &u64| epoch.to_string() == text)
}

fn own_keys(data_dir: &Path) -> Result<Option<SigningKeys>, SigningKeyError> {
    let given = std::env::var(KEYS_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    match given {
        Some(text) => SigningKeys::from_text(&text).map(Some),
        None => SigningKeys::load(&data_dir.join(SIGNING_KEYS_FILE)),
    }
}

fn kept_at(path: &Path) -> Result<(String, Note, Checkpoint), Failure> {
    let name = path.display().to_string();
    let text =
        fs::read_to_string(path).map_err(|source| Failure::File { path: name.clone(), source })?;
    let no_checkpoint =
        |error| Failure::Usage(format!("{name} is no signed checkpoint ({error}); name another"));
    let note: Note = text.parse().map_err(no_checkpoint)?;
    let checkpoint = note.text().parse().map_err(no_checkpoint)?;
    Ok((name, note, checkpoint))
}

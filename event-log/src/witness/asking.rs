//! Asking one witness for one checkpoint, from whichever size it is at, and keeping what it signed.

use super::kept::KeepError;
use super::{Witness, WitnessError};
use crate::EventLog;
use crate::note::{Note, VerifierKey};
use crate::tree::read::TreeError;
use std::time::Duration;

/// How often a witness may say that it is at another size: once because we did not know, and once
/// more because somebody else asked meanwhile.
const ASKS_MAX: u32 = 3;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What came of it.
pub(super) struct Asked {
    /// The size of the last checkpoint that the witness has cosigned, as far as is known now.
    pub(super) at: u64,
    pub(super) result: Result<(), AskError>,
}

/// Why a checkpoint has no cosignature of a witness.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Another process asks beside this one, or the log was set back.
    #[error(
        "the witness has cosigned {at} events of this log, and {size} are signed here; if that \
         stays so, the log was set back to an older state"
    )]
    Ahead { at: u64, size: u64 },
    #[error("the witness did not answer in time")]
    Late,
    #[error("the witness is at another size each time it is asked")]
    Restless,
}

/// Asks a witness, which is thought to be at a size, and keeps its answer.
pub(super) async fn ask<W: Witness>(
    log: &EventLog,
    witness: &W,
    keys: &[VerifierKey],
    at: u64,
    size: u64,
    note: &Note,
) -> Asked {
    let mut known = at;
    let asked = tokio::time::timeout(LIMIT, attempt(log, witness, keys, &mut known, size, note));
    let result = asked.await.unwrap_or(Err(AskError::Late));
    Asked { at: known, result }
}

async fn attempt<W: Witness>(
    log: &EventLog,
    witness: &W,
    keys: &[VerifierKey],
    at: &mut u64,
    size: u64,
    note: &Note,
) -> Result<(), AskError> {
    let text = note.to_string();
    for _ in 0..ASKS_MAX {
        // What was heard before may be of another epoch: the witness itself has to say so.
        let old = (*at).min(size);
        let proof = log.consistency(old, size).await?;
        match witness.add_checkpoint(old, &proof, &text).await {
            Ok(cosigned) => {
                *at = size;
                log.keep_cosignature(size, keys, note, &cosigned.lines).await?;
                return Ok(());
            }
            Err(WitnessError::Conflict { size: said, .. }) => {
                *at = said;
                if said > size {
                    return Err(AskError::Ahead { at: said, size });
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(AskError::Restless)
}

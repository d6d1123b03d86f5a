//! Cosignatures as they are kept, and which checkpoint is sealed by them.

use super::WitnessPolicy;
use crate::EventLog;
use crate::note::{KeyName, Note, NoteError, Signature, VerifierKey};
use crate::tree::read::TreeError;
use crate::tree::signed::SignedCheckpoint;
use chrono::{DateTime, Utc};

/// How many checkpoints with enough cosignatures are looked at. More than one is needed only while
/// a witness replaces its key.
const CANDIDATES: i64 = 16;

/// The year 10000, in seconds since 1970: later times are none to a database.
const TIME_END: i64 = 253_402_300_800;

/// Why a cosignature is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// The database did not answer.
    #[error("the cosignature cannot be kept just now; try again")]
    Unavailable(#[from] sqlx::Error),
    /// The lines are none of the witness's.
    #[error("what was answered is no cosignature of this checkpoint")]
    Note(#[from] NoteError),
    /// The clock of the witness is beyond everything.
    #[error("the cosignature names a time that cannot be; check the clock of the witness")]
    Time,
}

/// Who signed lines that a witness answered, and when; they have to be right.
fn signed(
    text: &str,
    lines: &str,
    keys: &[VerifierKey],
) -> Result<(KeyName, DateTime<Utc>), KeepError> {
    let note = Note::new(text, Signature::parse_lines(lines)?)?;
    let cosigned = note.cosignatures(keys).into_iter().next().ok_or(NoteError::NotSigned)?;
    let seconds = i64::try_from(cosigned.timestamp).ok().filter(|seconds| *seconds < TIME_END);
    let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    Ok((cosigned.name, at.ok_or(KeepError::Time)?))
}

impl EventLog {
    /// Keeps what a witness signed of the checkpoint of a size. Its first answer counts.
    pub(super) async fn keep_cosignature(
        &self,
        size: u64,
        keys: &[VerifierKey],
        note: &Note,
        lines: &str,
    ) -> Result<(), KeepError> {
        let (witness, signed_at) = signed(note.text(), lines, keys)?;
        sqlx::query("select event_log.keep_cosignature($1, $2, $3, $4)")
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(witness.as_str())
            .bind(lines.trim_end_matches('\n'))
            .bind(signed_at)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The newest checkpoint that enough witnesses have cosigned, by keys they have now.
    ///
    /// # Errors
    /// When the database does not answer, or what is kept is no note.
    pub async fn sealed_checkpoint(
        &self,
        policy: &WitnessPolicy,
    ) -> Result<Option<SignedCheckpoint>, TreeError> {
        let names: Vec<&str> = policy.names().map(KeyName::as_str).collect();
        let sizes: Vec<i64> = sqlx::query_scalar(
            "select size from event_log.cosignature where witness = any($1)
              group by size having count(*) >= $2 order by size desc limit $3",
        )
        .bind(&names)
        .bind(i64::try_from(policy.quorum()).unwrap_or(i64::MAX))
        .bind(CANDIDATES)
        .fetch_all(self.pool())
        .await?;
        for size in sizes {
            let size = u64::try_from(size).map_err(|_| TreeError::Damaged)?;
            let found = self.checkpoint_of(size).await?.ok_or(TreeError::Damaged)?;
            if policy.sealed(&found.note).map_err(|_| TreeError::Damaged)?.is_some() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

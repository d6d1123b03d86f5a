//! The guard: what was signed last, kept outside the database.
//!
//! A database can be set back to an older state, by accident or on purpose, and nothing inside it
//! shows that. So the last signed checkpoint also lies in a file beside the keys, written before
//! the checkpoint is published. Whoever appends or signs compares the log with it: the log must
//! reach as far, and the chain there must be the one that was signed. If it is not, nothing is
//! appended and nothing is signed until the right database is back, or an operator opens a new
//! epoch.
//!
//! The file is replaced as a whole, by comparing what it held before, under a lock.

use crate::evidence::Hash;
use crate::note::{Checkpoint, Note};
use crate::secret_file::{self, SecretFileError};
use crate::{EventLog, Position, ReadError};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name of the guard's file in the data folder.
pub const GUARD_FILE: &str = "log-guard.json";

/// What was signed last, or where an epoch began in which nothing was signed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarded {
    /// 1 until an operator opens another one.
    pub epoch: u64,
    /// Up to which position.
    pub position: Position,
    /// The chain of the batch that ends there, in base64.
    chain: String,
    /// The signed checkpoint; none while nothing was signed in this epoch.
    pub note: Option<String>,
}

impl Guarded {
    /// What a guard remembers.
    #[must_use]
    pub fn new(epoch: u64, position: Position, chain: &Hash, note: Option<String>) -> Self {
        Self { epoch, position, chain: BASE64.encode(chain), note }
    }

    /// The chain of the batch that ends at the position.
    #[must_use]
    pub fn chain(&self) -> Option<Hash> {
        BASE64.decode(self.chain.as_bytes()).ok()?.try_into().ok()
    }

    /// The checkpoint that was signed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.note.as_ref()?.parse::<Note>().ok()?.text().parse().ok()
    }
}

/// Why the guard cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// It is no guard's file.
    #[error("{path} is damaged; restore it from your backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// The file.
#[derive(Clone, Debug)]
pub struct Guard {
    path: PathBuf,
}

impl Guard {
    /// The guard at a path; the file need not be there yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was signed last; none before anything was.
    ///
    /// # Errors
    /// [`GuardError`] when the file cannot be read or is damaged: nothing may be signed then.
    pub fn read(&self) -> Result<Option<Guarded>, GuardError> {
        let damaged = || GuardError::Damaged { path: self.path.clone() };
        let Some(text) = secret_file::read(&self.path)? else { return Ok(None) };
        let guarded: Guarded = serde_json::from_str(&text).map_err(|_| damaged())?;
        let is_whole =
            guarded.chain().is_some() && (guarded.note.is_none() || guarded.checkpoint().is_some());
        if is_whole { Ok(Some(guarded)) } else { Err(damaged()) }
    }

    /// Remembers something new, if it still holds what the caller saw; false when it does not.
    /// What it remembers is on disk when this returns.
    ///
    /// # Errors
    /// As [`read`](Self::read); the file is as it was then.
    pub fn advance(&self, from: Option<&Guarded>, to: &Guarded) -> Result<bool, GuardError> {
        let _turn = secret_file::lock(&self.path)?;
        if self.read()?.as_ref() != from {
            return Ok(false);
        }
        let text = serde_json::to_string_pretty(to)
            .map_err(|_| GuardError::Damaged { path: self.path.clone() })?;
        secret_file::replace(&self.path, &text)?;
        Ok(true)
    }
}

/// Why nothing is appended and nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The log is shorter than what was signed.
    #[error(
        "the log ends at {head}, but a checkpoint was signed at {signed}: the database was set \
         back to an older state; bring the newer one back, or go on from here with \
         `opscenter log new-epoch`"
    )]
    SetBack {
        /// Where it ends.
        head: Position,
        /// Up to where it was signed.
        signed: Position,
    },
    /// The log has another history than what was signed.
    #[error(
        "the history up to {signed} is not the one that was signed: the database is another one or \
         was changed; bring the right one back, or go on from here with `opscenter log new-epoch`"
    )]
    Forked {
        /// Up to where it was signed.
        signed: Position,
    },
    /// What is recorded does not follow from what is before it.
    #[error(
        "the log is not as it was recorded at position {position}; find out more with \
         `opscenter-replay verify`, and bring the right database back"
    )]
    Changed {
        /// The first position in question.
        position: Position,
    },
    /// Something was signed, and the guard is gone.
    #[error(
        "checkpoints of this log were signed, but log-guard.json is not there to compare them \
         with; copy it from where they were signed, or take the database's word with \
         `opscenter log adopt`"
    )]
    GuardMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The guard cannot be read; whoever reads this server's log sees why.
    #[error("log-guard.json cannot be used; `opscenter doctor` and this server's log say why")]
    Guard(String),
    /// An operator opened another epoch while this process ran. It remembers states of the history
    /// that was given up then, and must not decide on them.
    #[error(
        "epoch {epoch} of the log was opened while this server ran; start it again, for it still \
         remembers the history that was given up"
    )]
    EpochOpened {
        /// Which.
        epoch: u64,
    },
    /// The keys are those of another log.
    #[error(
        "the signing keys here are of another log; copy log-keys.json and log-guard.json from the \
         machine that signed this one"
    )]
    OtherLog,
}

impl EventLog {
    /// The batch that a position is in: its last position, and the chain up to there. None behind
    /// the end.
    pub async fn chain_at(
        &self,
        position: Position,
    ) -> Result<Option<(Position, Hash)>, ReadError> {
        let batch: Option<(Position, Vec<u8>)> = sqlx::query_as(
            "select last, chain from event_log.log_batch
              where first <= $1 and last >= $1 order by first desc limit 1",
        )
        .bind(position)
        .fetch_optional(self.pool())
        .await?;
        Ok(batch.and_then(|(last, chain)| Some((last, chain.try_into().ok()?))))
    }

    /// Compares the log with what was signed last; none when it is the one.
    pub async fn disagreement(&self, guard: &Guard) -> Result<Option<Halt>, ReadError> {
        let guarded = match guard.read() {
            Ok(guarded) => guarded,
            Err(error) => return Ok(Some(Halt::Guard(error.to_string()))),
        };
        let Some(guarded) = guarded else {
            let was_signed: bool =
                sqlx::query_scalar("select exists (select from event_log.checkpoint)")
                    .fetch_one(self.pool())
                    .await?;
            let path = guard.path().to_owned();
            return Ok(was_signed.then_some(Halt::GuardMissing { path }));
        };
        let signed = guarded.position;
        let batch: Option<(Position, Position, Vec<u8>)> = sqlx::query_as(
            "select h.last, b.last, b.chain
               from (select last from event_log.log_batch order by first desc limit 1) h,
                    (select last, chain from event_log.log_batch where first <= $1
                      order by first desc limit 1) b",
        )
        .bind(signed)
        .fetch_optional(self.pool())
        .await?;
        Ok(match batch {
            None => Some(Halt::SetBack { head: Position::START, signed }),
            Some((head, ..)) if head < signed => Some(Halt::SetBack { head, signed }),
            Some((_, last, chain)) => {
                let is_same =
                    last == signed && guarded.chain().is_some_and(|it| it[..] == chain[..]);
                (!is_same).then_some(Halt::Forked { signed })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, Guarded};
    use crate::Position;

    #[test]
    fn of_two_who_saw_the_same_one_remembers_and_the_other_is_told() {
        let folder = std::env::temp_dir().join(format!("guard-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let guard = Guard::at(folder.join("log-guard.json"));
        assert_eq!(guard.read().unwrap(), None);
        let one = Guarded::new(1, Position(3), &[1; 32], None);
        let two = Guarded::new(1, Position(4), &[2; 32], None);
        assert!(guard.advance(None, &one).unwrap());
        assert!(!guard.advance(None, &two).unwrap());
        assert_eq!(guard.read().unwrap(), Some(one.clone()));
        assert!(guard.advance(Some(&one), &two).unwrap());
        assert_eq!(guard.read().unwrap(), Some(two));
        std::fs::write(guard.path(), "{}").unwrap();
        assert!(guard.read().is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

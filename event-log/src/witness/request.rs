//! What a witness is asked: an old size, a proof, and a signed checkpoint.

use crate::evidence::Hash;
use crate::note::{Checkpoint, Note, NoteError};
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// The most lines a proof may have.
pub const PROOF_LINES_MAX: usize = 63;

/// One request, as it stands in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the last checkpoint that the witness cosigned; zero for none.
    pub old: u64,
    /// That the new tree begins with the one of that size.
    pub proof: Vec<Hash>,
    /// The checkpoint as it was signed.
    pub note: Note,
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first line.
    #[error("the first line is not `old ` and a size")]
    Old,
    /// One of the lines after it.
    #[error("a line of the proof is not 32 bytes in base64")]
    Proof,
    /// Too many of them.
    #[error("the proof has more than {PROOF_LINES_MAX} lines")]
    ProofLength,
    /// There is no empty line before the checkpoint.
    #[error("there is no empty line before the checkpoint")]
    Cut,
    /// What follows is no signed checkpoint.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It is older than what it should follow from.
    #[error("the old size is larger than that of the checkpoint")]
    Shrinks,
}

impl AddCheckpoint {
    /// The checkpoint that is to be cosigned; nothing says yet that it is right.
    ///
    /// # Errors
    /// [`RequestError::Note`] when the text of the note is none.
    pub fn checkpoint(&self) -> Result<Checkpoint, RequestError> {
        Ok(self.note.text().parse()?)
    }
}

/// Strictly.
impl FromStr for AddCheckpoint {
    type Err = RequestError;

    fn from_str(body: &str) -> Result<Self, RequestError> {
        let (head, note) = body.split_once("\n\n").ok_or(RequestError::Cut)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.ok_or(RequestError::Old)?;
        let size: u64 = old.parse().map_err(|_| RequestError::Old)?;
        if size.to_string() != old {
            return Err(RequestError::Old);
        }
        let proof = lines.map(hash).collect::<Result<Vec<Hash>, _>>()?;
        if proof.len() > PROOF_LINES_MAX {
            return Err(RequestError::ProofLength);
        }
        Ok(Self { old: size, proof, note: note.parse()? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(formatter, "{}", BASE64.encode(hash)))?;
        write!(formatter, "\n{}", self.note)
    }
}

fn hash(line: &str) -> Result<Hash, RequestError> {
    let bytes = BASE64.decode(line.as_bytes()).map_err(|_| RequestError::Proof)?;
    bytes.try_into().map_err(|_| RequestError::Proof)
}

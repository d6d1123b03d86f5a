//! Witnesses: somebody else's program that keeps the last checkpoint of a log, and cosigns the next
//! one only if it follows from that (C2SP `tlog-witness`).
//!
//! Here is what a log needs of them, without the network: what is asked ([`AddCheckpoint`]), what
//! comes back ([`Witness`]), when enough of them have cosigned ([`WitnessPolicy`]), and who asks
//! them while a server runs ([`Sealer`]). A checkpoint
//! with a quorum of cosignatures is **sealed**: from then on even whoever holds the database, the
//! keys and the machine cannot put another history in its place unseen.

mod asking;
mod kept;
mod policy;
mod request;
mod sealer;

pub use policy::{PolicyError, WitnessAddress, WitnessPolicy};
pub use request::{AddCheckpoint, PROOF_LINES_MAX, RequestError};
pub use sealer::{Sealer, Sealing, WitnessStanding};

use crate::evidence::Hash;
use crate::note::NoteError;

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Signature lines that are right and come from a key of that witness, at least one; for
    /// [`merge_signatures`](crate::note::merge_signatures).
    pub lines: String,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The witness knows another size: ask again, with a proof from there.
    #[error("the witness at {url} is at size {size}; ask again from there")]
    Conflict {
        /// Which witness.
        url: String,
        /// The size of the last checkpoint it cosigned.
        size: u64,
    },
    /// The witness says no. A 409 means that it has cosigned another history of this size.
    #[error("the witness at {url} refuses with {status}: {message}")]
    Refused {
        /// Which witness.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// What it said, cut short.
        message: String,
    },
    /// It does not answer. Asking again is harmless.
    #[error("the witness at {url} cannot be reached; check that it runs")]
    Unreachable {
        /// Which witness.
        url: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What it answered is no cosignature of this checkpoint.
    #[error("the witness at {url} answers with what is no cosignature of its own; check its keys")]
    Answer {
        /// Which witness.
        url: String,
        /// What is wrong with it.
        source: NoteError,
    },
    /// The address cannot be used.
    #[error("{url} is no address of a witness; it looks like http://host:7380")]
    Address {
        /// What was given.
        url: String,
    },
}

/// A witness that can be asked.
pub trait Witness: Send + Sync {
    /// Asks for a cosignature of a signed checkpoint. `old` is the size this witness cosigned last
    /// (zero for never), `proof` shows that the checkpoint's tree begins with the tree of that
    /// size. Asking again is harmless.
    ///
    /// # Errors
    /// [`WitnessError::Conflict`] says from which size to ask again.
    fn add_checkpoint(
        &self,
        old: u64,
        proof: &[Hash],
        note: &str,
    ) -> impl Future<Output = Result<Cosigned, WitnessError>> + Send;
}

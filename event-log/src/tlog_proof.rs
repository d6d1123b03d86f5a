//! The proof of one event as a text that stands by itself (C2SP `tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra T1BTTEVBRjEAAAAAAAAQHwAAAAAAAAd4…
//! index 4126
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! …
//!
//! opscenter/log/01997f6e-…/epoch/1
//! …
//! ```
//!
//! `extra` is the entry, `index` its leaf counted from 0, then come the hashes beside the path from
//! the leaf to the root, and behind an empty line the signed checkpoint. Reading is strict: what is
//! read is written again byte for byte, or it is not read.

use crate::bundle::Fault;
use crate::evidence::Hash;
use crate::note::{Checkpoint, Cosignature, NOTE_BYTES_MAX, Note, NoteError, Policy, VerifierKey};
use crate::tree::entry::Entry;
use crate::tree::proof::verify_inclusion;
use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// What such a text begins with, of any version.
pub const BEGINNING: &str = "c2sp.org/tlog-proof@";

/// The first line of this version.
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The most bytes a proof may have: a note, and as many hashes as a tree has levels.
pub const TLOG_PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + (8 << 10);

/// That an event is in the tree of a signed checkpoint; nothing says yet that it is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// What the leaf is the hash of.
    pub entry: Entry,
    /// The hashes beside the path, from the leaf to the root.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub note: Note,
}

/// Why a text is no proof of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// It ends too early.
    #[error("the proof was cut off: {0} is missing")]
    CutOff(&'static str),
    /// It is in another form.
    #[error("{0}")]
    Form(&'static str),
    /// The checkpoint is no signed note.
    #[error("the checkpoint of the proof cannot be read: {0}")]
    Note(#[from] NoteError),
}

/// Whom a proof was signed by.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The checkpoint that the event is in.
    pub checkpoint: Checkpoint,
    /// Which keys of the log signed it.
    pub signers: Vec<VerifierKey>,
    /// Which witnesses of the policy cosigned it.
    pub cosignatures: Vec<Cosignature>,
}

impl TlogProof {
    /// The leaf's number, counted from 0; none for an entry whose position cannot be.
    fn index(&self) -> Option<u64> {
        u64::try_from(self.entry.position.0.checked_sub(1)?).ok()
    }

    /// Checks that the event is in the log that was signed as a policy asks.
    ///
    /// # Errors
    /// A fault of content where the path does not lead to the root, and of signature where the
    /// checkpoint is not signed.
    pub fn verify(&self, policy: &Policy) -> Result<Proved, Fault> {
        let position = self.entry.position.0;
        let unsigned = |problem: String| Fault::signature(position, problem);
        let unreadable = |error| unsigned(format!("the checkpoint cannot be read: {error}"));
        let checkpoint: Checkpoint = self.note.text().parse().map_err(unreadable)?;
        let signers = policy
            .signers(&self.note, checkpoint.origin())
            .map_err(|error| unsigned(format!("the checkpoint is not signed: {error}")))?;
        let cosignatures = policy.cosignatures(&self.note);
        if let Some(problem) = policy.unmet(&cosignatures) {
            return Err(unsigned(problem));
        }
        let index = self.index().unwrap_or(u64::MAX);
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(index, size, &self.entry.leaf(), root, &self.path).map_err(|error| {
            Fault::content(position, format!("the event is not in the log: {error}"))
        })?;
        let signers = signers.into_iter().cloned().collect();
        Ok(Proved { checkpoint, signers, cosignatures })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}", BASE64.encode(&self.entry.to_bytes()))?;
        writeln!(f, "index {}", self.index().unwrap_or(u64::MAX))?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let missing = TlogProofError::CutOff;
        let rest = text.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.ok_or(TlogProofError::Form("this is no tlog-proof of version 1"))?;
        let (steps, note) = rest.split_once("\n\n").ok_or(missing("the checkpoint"))?;
        let mut lines = steps.split('\n');
        let extra = lines.next().ok_or(missing("the entry of the event"))?;
        let entry =
            extra.strip_prefix("extra ").and_then(bytes).as_deref().and_then(Entry::from_bytes);
        let entry = entry.ok_or(TlogProofError::Form("what it proves is no entry of an event"))?;
        let index = lines.next().ok_or(missing("the place of the event"))?;
        let hash = |line| bytes(line).and_then(|bytes| bytes.try_into().ok());
        let path = lines.map(hash).collect::<Option<Vec<Hash>>>();
        let path = path.ok_or(TlogProofError::Form("a line of its path is no hash"))?;
        let proof = Self { entry, path, note: note.parse()? };
        let place = proof.index().map(|place| format!("index {place}"));
        if place.as_deref() == Some(index) {
            Ok(proof)
        } else {
            Err(TlogProofError::Form("its place in the tree is not that of the event's position"))
        }
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

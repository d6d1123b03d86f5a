//! Cosignatures: a witness says that it has seen a checkpoint at a time, and that it follows from
//! every one it saw before (C2SP `tlog-cosignature`, version 1, Ed25519).
//!
//! What is signed is a heading, the time, and the whole text of the checkpoint. What the extension
//! lines mean, a witness does not judge.

use super::key::{cosigning, signature};
use super::{Algorithm, KeyName, Note, NoteError, Signature, VerifierKey};
use ed25519_dalek::SigningKey;
use ed25519_dalek::ed25519::signature::Signer as _;
use std::fmt;

/// The latest time a cosignature can name, in seconds since 1970.
pub const TIMESTAMP_MAX: u64 = (1 << 63) - 1;

/// That a witness has seen a checkpoint; made only by verifying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The name of the witness.
    pub name: KeyName,
    /// When it signed, by its own clock, in seconds since 1970.
    pub timestamp: u64,
}

/// Signs checkpoints as a witness does. The secret is wiped when this is dropped.
pub struct Cosigner {
    verifier: VerifierKey,
    secret: SigningKey,
}

impl Cosigner {
    /// A cosigner with the 32 bytes that its secret follows from. The name is not in what is
    /// signed, so a secret must have one name only.
    #[must_use]
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
        let secret = SigningKey::from_bytes(seed);
        Self { verifier: cosigning(name, &secret), secret }
    }

    /// What others verify its cosignatures with.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a checkpoint, as seen at a time in seconds since 1970. A time that is
    /// beyond [`TIMESTAMP_MAX`] is taken for that one.
    #[must_use]
    pub fn cosign(&self, text: &str, timestamp: u64) -> Signature {
        let timestamp = timestamp.min(TIMESTAMP_MAX);
        let signed = self.secret.sign(&message(text, timestamp)).to_bytes();
        signature(&self.verifier, [timestamp.to_be_bytes().as_slice(), &signed].concat())
    }
}

/// The secret is nobody's to see.
impl fmt::Debug for Cosigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cosigner({})", self.verifier)
    }
}

impl Note {
    /// Which of the witnesses have cosigned it: each name once, with its latest time, in the order
    /// of the keys. Wrong cosignatures and keys that do not cosign count for nothing, so that
    /// nobody takes a right one away by adding a wrong one.
    #[must_use]
    pub fn cosignatures(&self, witnesses: &[VerifierKey]) -> Vec<Cosignature> {
        let mut found: Vec<Cosignature> = Vec::new();
        for key in witnesses {
            let times = self.signatures.iter().filter_map(|sig| timestamp(key, &self.text, sig));
            let Some(timestamp) = times.max() else { continue };
            match found.iter_mut().find(|cosigned| cosigned.name == *key.name()) {
                // A witness with two keys is one witness.
                Some(cosigned) => cosigned.timestamp = cosigned.timestamp.max(timestamp),
                None => found.push(Cosignature { name: key.name().clone(), timestamp }),
            }
        }
        found
    }

    /// Takes in those of the signature lines that are right and come from a known key; how many
    /// were new. A cosignature takes the place of an older one of the same key.
    ///
    /// # Errors
    /// [`NoteError::Note`] when a line is none or there are too many, and
    /// [`NoteError::WrongSignature`] when one of a known key is wrong; the note is then unchanged.
    pub fn merge(&mut self, lines: &str, keys: &[VerifierKey]) -> Result<usize, NoteError> {
        let mut signatures = self.signatures.clone();
        let mut taken = 0;
        for offered in Signature::parse_lines(lines)? {
            let Some(key) = keys.iter().find(|key| key.is_named(&offered)) else { continue };
            if !key.verifies(&self.text, &offered) {
                return Err(offered.wrong());
            }
            taken += usize::from(take_in(&mut signatures, key, &self.text, offered));
        }
        *self = Self::new(&self.text, signatures)?;
        Ok(taken)
    }
}

/// Adds a right signature, or puts it into the place of an older or a wrong one of its key.
fn take_in(held: &mut Vec<Signature>, key: &VerifierKey, text: &str, offered: Signature) -> bool {
    let Some(place) = held.iter_mut().find(|held| key.is_named(held)) else {
        held.push(offered);
        return true;
    };
    let is_better = match key.algorithm() {
        Algorithm::Ed25519 => !key.verifies(text, place),
        Algorithm::CosignatureV1 => timestamp(key, text, place) < timestamp(key, text, &offered),
    };
    if is_better {
        *place = offered;
    }
    is_better
}

/// [`Note::cosignatures`] of a note as text.
///
/// # Errors
/// [`NoteError::Note`] when it is none.
pub fn cosignatures_valid(
    note: &str,
    witnesses: &[VerifierKey],
) -> Result<Vec<Cosignature>, NoteError> {
    Ok(note.parse::<Note>()?.cosignatures(witnesses))
}

/// [`Note::merge`] of a note as text: the note with the lines that are right in it.
///
/// # Errors
/// As [`Note::merge`], and when the note is none.
pub fn merge_signatures(
    note: &str,
    lines: &str,
    keys: &[VerifierKey],
) -> Result<String, NoteError> {
    let mut note: Note = note.parse()?;
    note.merge(lines, keys)?;
    Ok(note.to_string())
}

/// When a witness signed a text, if it did.
pub(super) fn timestamp(key: &VerifierKey, text: &str, signature: &Signature) -> Option<u64> {
    if key.algorithm() != Algorithm::CosignatureV1 || !key.is_named(signature) {
        return None;
    }
    let (timestamp, signed) = signature.bytes.split_first_chunk::<8>()?;
    let timestamp = u64::from_be_bytes(*timestamp);
    let is_right = timestamp <= TIMESTAMP_MAX && key.is_over(&message(text, timestamp), signed);
    is_right.then_some(timestamp)
}

/// What a cosignature signs.
fn message(text: &str, timestamp: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {timestamp}\n{text}").into_bytes()
}

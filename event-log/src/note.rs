//! Signed notes: a text with the signatures of those who stand for it, in the form that other
//! programs read too (C2SP `signed-note`, and on top of it `tlog-checkpoint` and
//! `tlog-cosignature`).
//!
//! ```text
//! opscenter/log/01997f6e-…/epoch/1
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — opscenter/log/01997f6e-… Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q…
//! ```
//!
//! Reading is strict: what is read is written again byte for byte, or it is not read. Three rules
//! hold for whoever verifies:
//!
//! * signatures of keys that are not known are ignored, also where the name or the id is known;
//! * one wrong signature of a known key condemns the whole note;
//! * a note without any signature of a known key says nothing.

mod checkpoint;
mod cosignature;
mod key;
mod policy;

pub use checkpoint::Checkpoint;
pub use cosignature::{Cosignature, Cosigner, TIMESTAMP_MAX, cosignatures_valid, merge_signatures};
pub use key::{Algorithm, KeyId, KeyName, Signer, VerifierKey};
pub use policy::{Policy, PolicyError};

use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;

/// The most bytes a note may have: 1 MiB.
pub const NOTE_BYTES_MAX: usize = 1024 * 1024;

/// The most signatures a note may have.
pub const SIGNATURES_MAX: usize = 100;

/// What a signature line begins with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// The id of the key and at least one byte.
const SIGNATURE_BYTES_MIN: usize = 5;

/// What is wrong with a note, a key or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It is no signed note.
    #[error("this is no signed note: {0}")]
    Note(&'static str),
    /// It is no verifier key.
    #[error("this is no verifier key: {0}; it looks like name+0123abcd+AbCd…=")]
    Key(&'static str),
    /// It is a note and no checkpoint.
    #[error("this is no checkpoint: {0}")]
    Checkpoint(&'static str),
    /// None of the keys that were given has signed it.
    #[error("no key that is known here has signed the note")]
    NotSigned,
    /// A key that was given seems to have signed it, and has not: it was changed.
    #[error("the signature of {name}+{key_id} is wrong; the note was changed")]
    WrongSignature {
        /// The name of the key.
        name: KeyName,
        /// Its id.
        key_id: KeyId,
    },
}

/// A text and its signatures, both well-formed; nothing says yet that they are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature of a note, as one line of it. Whether it is right, only its key can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    key_id: KeyId,
    bytes: Vec<u8>,
}

impl Note {
    /// A note of a text and at least one signature.
    ///
    /// # Errors
    /// [`NoteError::Note`] where it could not be read again.
    pub fn new(text: &str, signatures: Vec<Signature>) -> Result<Self, NoteError> {
        check_text(text)?;
        check_count(&signatures)?;
        let note = Self { text: text.to_owned(), signatures };
        if note.to_string().len() > NOTE_BYTES_MAX {
            return Err(NoteError::Note("it has more than 1 MiB"));
        }
        Ok(note)
    }

    /// The text that is signed, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Which of the keys have signed it, each once, in the order of the keys. A cosignature counts
    /// here as any other signature does.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`] as soon as one of a known key is wrong, and
    /// [`NoteError::NotSigned`] where there is none.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        for signature in &self.signatures {
            // Two keys may share name and id by accident; then one of them must have signed.
            let mut known = keys.iter().filter(|key| key.is_named(signature)).peekable();
            if known.peek().is_some() && !known.any(|key| key.verifies(&self.text, signature)) {
                return Err(signature.wrong());
            }
        }
        let signed = |key: &&VerifierKey| {
            self.signatures.iter().any(|signature| key.verifies(&self.text, signature))
        };
        let signed: Vec<&VerifierKey> = keys.iter().filter(signed).collect();
        if signed.is_empty() { Err(NoteError::NotSigned) } else { Ok(signed) }
    }
}

/// Strictly: what is read is written again byte for byte.
impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Note("it has more than 1 MiB"));
        }
        // The text may have empty lines of its own: the last one counts.
        let Some(empty) = note.rfind("\n\n") else {
            return Err(NoteError::Note("there is no empty line before the signatures"));
        };
        let (text, lines) = (&note[..=empty], &note[empty + 2..]);
        check_text(text)?;
        let signatures = Signature::parse_lines(lines)?;
        check_count(&signatures)?;
        Ok(Self { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| write!(formatter, "{signature}"))
    }
}

impl Signature {
    /// The name of the key that is said to have made it.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of that key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Reads signature lines, each with its newline, as a witness answers them.
    ///
    /// # Errors
    /// [`NoteError::Note`] when one line is none.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let Some(lines) = lines.strip_suffix('\n') else {
            return Err(NoteError::Note("the last line has no end"));
        };
        // Not `lines()`, which would take a carriage return for a part of the line's end.
        lines.split('\n').map(Self::parse).collect()
    }

    fn parse(line: &str) -> Result<Self, NoteError> {
        let fault = |what| Err(NoteError::Note(what));
        let Some((name, encoded)) = line.strip_prefix(LINE_START).and_then(|l| l.split_once(' '))
        else {
            return fault("a signature line is `— name signature`");
        };
        let name = name.parse().map_err(|_| NoteError::Note("a signature has no proper name"))?;
        let Some(bytes) = from_base64(encoded) else {
            return fault("a signature is not base64");
        };
        let Some((key_id, rest)) = bytes.split_first_chunk::<4>() else {
            return fault("a signature is too short");
        };
        if bytes.len() < SIGNATURE_BYTES_MIN {
            return fault("a signature is too short");
        }
        Ok(Self { name, key_id: KeyId::from_bytes(*key_id), bytes: rest.to_vec() })
    }

    fn wrong(&self) -> NoteError {
        NoteError::WrongSignature { name: self.name.clone(), key_id: self.key_id }
    }
}

/// One line of a note, with its newline.
impl fmt::Display for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes().as_slice(), &self.bytes].concat();
        writeln!(formatter, "{LINE_START}{} {}", self.name, BASE64.encode(&bytes))
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Note("the text does not end with a newline"));
    }
    if has_control(text) {
        return Err(NoteError::Note("it has control characters"));
    }
    Ok(())
}

fn check_count(signatures: &[Signature]) -> Result<(), NoteError> {
    match signatures.len() {
        0 => Err(NoteError::Note("there is no signature")),
        1..=SIGNATURES_MAX => Ok(()),
        _ => Err(NoteError::Note("there are more than 100 signatures")),
    }
}

/// Bytes of the only text that stands for them. The decoder alone would also take several encoded
/// pieces in a row.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

/// Control characters of ASCII other than the newline.
fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 && byte != b'\n')
}

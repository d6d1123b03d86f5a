//! Which witnesses a log asks, and how many of them must have cosigned.
//!
//! ```json
//! {
//!   "quorum": 2,
//!   "witnesses": [
//!     { "url": "http://10.0.0.7:7380", "keys": ["witness.example.org/a+0123abcd+BAbc…="] }
//!   ]
//! }
//! ```

use crate::note::{Algorithm, Cosignature, KeyName, Note, NoteError, VerifierKey};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The witnesses of a log. It was checked that the quorum can be reached, and that no witness is
/// two.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessPolicy {
    quorum: usize,
    witnesses: Vec<WitnessAddress>,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessAddress {
    /// Where it is asked, without `/add-checkpoint`.
    pub url: String,
    /// What its cosignatures are verified with; more than one while its key is replaced.
    pub keys: Vec<VerifierKey>,
}

/// Why a list of witnesses cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("the witnesses at {path} cannot be read; check OPS_WITNESSES and the file's rights")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It is not of the form.
    #[error("the list of witnesses cannot be read; docs/witness.md shows its form")]
    Form(#[from] serde_json::Error),
    /// It contradicts itself.
    #[error("the list of witnesses cannot be used: {0}")]
    Contradiction(&'static str),
}

impl WitnessPolicy {
    /// Reads it from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is not of the form, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path);
        text.map_err(|source| PolicyError::File { path: path.to_owned(), source })?.parse()
    }

    /// How many witnesses must have cosigned.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// Every witness.
    #[must_use]
    pub fn witnesses(&self) -> &[WitnessAddress] {
        &self.witnesses
    }

    /// The name of each witness, in their order.
    pub fn names(&self) -> impl Iterator<Item = &KeyName> {
        self.witnesses.iter().filter_map(|witness| witness.keys.first()).map(VerifierKey::name)
    }

    /// Every key of every witness.
    #[must_use]
    pub fn keys(&self) -> Vec<VerifierKey> {
        self.witnesses.iter().flat_map(|witness| witness.keys.clone()).collect()
    }

    /// The cosignatures that count, if they are enough; `None` while the checkpoint is not sealed.
    ///
    /// # Errors
    /// [`NoteError::Note`] when it is no note.
    pub fn sealed(&self, note: &str) -> Result<Option<Vec<Cosignature>>, NoteError> {
        let cosigned = note.parse::<Note>()?.cosignatures(&self.keys());
        Ok((cosigned.len() >= self.quorum).then_some(cosigned))
    }

    fn check(self) -> Result<Self, PolicyError> {
        let fault = |what| Err(PolicyError::Contradiction(what));
        let mut names = Vec::new();
        for witness in &self.witnesses {
            let Some(first) = witness.keys.first() else {
                return fault("a witness has no key");
            };
            if witness.keys.iter().any(|key| key.algorithm() != Algorithm::CosignatureV1) {
                return fault("a key is none of a witness; those begin with B after the second +");
            }
            if witness.keys.iter().any(|key| key.name() != first.name()) {
                return fault("the keys of one witness have different names");
            }
            names.push(first.name());
        }
        let count = names.len();
        names.sort();
        names.dedup();
        if names.len() != count {
            return fault("a witness is listed twice");
        }
        if self.quorum == 0 || self.quorum > count {
            return fault("the quorum is zero, or more than there are witnesses");
        }
        Ok(self)
    }
}

impl FromStr for WitnessPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        serde_json::from_str::<Self>(text)?.check()
    }
}

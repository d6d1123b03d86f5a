//! On which ground a person is erased.

use serde::{Deserialize, Serialize};

/// Why somebody is erased. A list and no text: the reason is kept for ever and must not tell
/// anything of the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureGround {
    /// The person asked for it.
    Requested,
    /// The person took back their consent.
    ConsentWithdrawn,
    /// The data is not needed any more.
    NoLongerNeeded,
    /// There was no right to have the data.
    UnlawfullyProcessed,
    /// A law demands it.
    LegalObligation,
}

impl ErasureGround {
    /// As it is written for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::NoLongerNeeded => "no_longer_needed",
            Self::UnlawfullyProcessed => "unlawfully_processed",
            Self::LegalObligation => "legal_obligation",
        }
    }
}

//! Personal data inside events.
//!
//! A [`Personal`] text is in the clear only in memory. It cannot be written in the clear: writing
//! fails unless it was sealed with its subject's key, so that destroying the key erases it from
//! every copy of the log without changing a byte of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A text that says something about a person: an e-mail address, a name.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal {
    /// Readable, in memory only.
    Clear(String),
    /// Encrypted with the subject's key, as it is stored.
    Sealed(Vec<u8>),
    /// The subject's key is gone, and the text with it.
    Erased,
}

impl Personal {
    /// The text when it can be read.
    #[must_use]
    pub fn clear(&self) -> Option<&str> {
        match self {
            Self::Clear(text) => Some(text),
            Self::Sealed(_) | Self::Erased => None,
        }
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A log line or a panic message must not become a second copy of it.
        formatter.write_str(match self {
            Self::Clear(_) => "Personal(…)",
            Self::Sealed(_) => "Personal(sealed)",
            Self::Erased => "Personal(erased)",
        })
    }
}

impl Serialize for Personal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Clear(_) => {
                Err(serde::ser::Error::custom("personal data is written only when sealed"))
            }
            Self::Sealed(bytes) => serializer.serialize_str(&data_encoding::BASE64.encode(bytes)),
            Self::Erased => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self::Erased);
        };
        let bytes = data_encoding::BASE64
            .decode(text.as_bytes())
            .map_err(|_| serde::de::Error::custom("sealed personal data is written in base64"))?;
        Ok(Self::Sealed(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_cannot_be_written_in_the_clear() {
        assert!(serde_json::to_string(&Personal::Clear("ada@example.org".into())).is_err());
        let sealed = Personal::Sealed(vec![1, 2, 3]);
        let text = serde_json::to_string(&sealed).expect("sealed data to be written");
        assert_eq!(serde_json::from_str::<Personal>(&text).ok(), Some(sealed));
    }

    #[test]
    fn personal_data_is_not_shown_by_debug() {
        let shown = format!("{:?}", Personal::Clear("ada@example.org".into()));
        assert!(!shown.contains("ada"));
    }
}

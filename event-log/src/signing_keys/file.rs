//! The form of the key file: JSON, read and written strictly.
//!
//! ```json
//! {
//!   "log_id": "01997f6e-6f3c-7c43-a3a1-0d8c7b9d2f10",
//!   "keys": [
//!     { "name": "opscenter/log/01997f6e-…", "created_at": "2026-11-21T14:00:00Z",
//!       "state": "active", "public": "<base64>", "secret": "<base64>" }
//!   ]
//! }
//! ```

use super::{KeyState, SigningKey, SigningKeyError, key_name};
use crate::note::{Algorithm, Signer, VerifierKey};
use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What one key takes in the file, amply.
const KEY_BYTES_MAX: usize = 1024;

/// The whole file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile<'a> {
    pub(super) log_id: Uuid,
    #[serde(borrow)]
    pub(super) keys: Vec<KeyLine<'a>>,
}

/// One key of it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLine<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    created_at: DateTime<Utc>,
    pub(super) state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_at: Option<DateTime<Utc>>,
    #[serde(with = "base64")]
    pub(super) public: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Secret>,
}

/// The 32 bytes that a key follows from; wiped when dropped.
struct Secret(Zeroizing<[u8; 32]>);

impl KeyLine<'_> {
    /// A key that was made just now.
    pub(super) fn active(name: &str, created_at: DateTime<Utc>, secret: &[u8; 32]) -> Self {
        let public = ed25519_dalek::SigningKey::from_bytes(secret).verifying_key().to_bytes();
        Self {
            name: Cow::Owned(name.to_owned()),
            created_at,
            state: KeyState::Active,
            retired_at: None,
            public: public.to_vec(),
            secret: Some(Secret(Zeroizing::new(*secret))),
        }
    }

    /// Destroys the secret.
    pub(super) fn retire(&mut self, at: DateTime<Utc>) {
        self.state = KeyState::Retired;
        self.retired_at = Some(at);
        self.secret = None;
    }

    /// The public half, and what signs, if it does.
    fn open(&self) -> Result<(SigningKey, Option<Signer>), SigningKeyError> {
        let damaged = SigningKeyError::Damaged;
        let public = self.public.as_slice().try_into();
        let public = public.map_err(|_| damaged("a public key has not 32 bytes"))?;
        let verifier_key = VerifierKey::new(key_name(&self.name)?, Algorithm::Ed25519, public)?;
        let signs = self.state != KeyState::Retired;
        if signs != self.secret.is_some() || signs == self.retired_at.is_some() {
            return Err(damaged("a key signs without a secret, or is retired and has one"));
        }
        let signer = self
            .secret
            .as_ref()
            .map(|secret| Ok::<_, SigningKeyError>(Signer::new(key_name(&self.name)?, &secret.0)));
        let signer = signer.transpose()?;
        if signer.as_ref().is_some_and(|signer| *signer.verifier() != verifier_key) {
            return Err(damaged("a secret does not belong to its public key"));
        }
        let (state, created_at, retired_at) = (self.state, self.created_at, self.retired_at);
        Ok((SigningKey { verifier_key, state, created_at, retired_at }, signer))
    }
}

impl<'a> KeyFile<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, SigningKeyError> {
        // What serde says of the text may quote it.
        serde_json::from_str(text)
            .map_err(|_| SigningKeyError::Damaged("it is not the JSON of a key file"))
    }

    /// The file as text, in memory that is wiped.
    pub(super) fn write(&self) -> Result<Zeroizing<String>, SigningKeyError> {
        let bytes = KEY_BYTES_MAX.saturating_mul(self.keys.len().saturating_add(1));
        // Made large enough at once: growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(bytes));
        let unwritable = |_| SigningKeyError::Damaged("it cannot be written as JSON");
        serde_json::to_writer_pretty(&mut *text, self).map_err(unwritable)?;
        text.push(b'\n');
        let text = String::from_utf8(std::mem::take(&mut *text));
        text.map(Zeroizing::new).map_err(|_| SigningKeyError::Damaged("it is not UTF-8"))
    }

    /// Every public half in order, and what signs, the active one first.
    pub(super) fn open(&self) -> Result<(Vec<SigningKey>, Vec<Signer>), SigningKeyError> {
        let mut keys = Vec::new();
        let (mut active, mut overlapping) = (Vec::new(), Vec::new());
        for line in &self.keys {
            let (key, signer) = line.open()?;
            if keys.iter().any(|other: &SigningKey| other.verifier_key == key.verifier_key) {
                return Err(SigningKeyError::Damaged("a key is in it twice"));
            }
            match key.state {
                KeyState::Active => active.extend(signer),
                KeyState::Overlapping => overlapping.extend(signer),
                KeyState::Retired => {}
            }
            keys.push(key);
        }
        if active.len() != 1 {
            return Err(SigningKeyError::Damaged("not exactly one key is active"));
        }
        active.append(&mut overlapping);
        Ok((keys, active))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, so that no copy of the text is left in memory.
        let text = <&str>::deserialize(deserializer)?;
        let malformed = || de::Error::custom("a secret is not 32 bytes in base64");
        // Three bytes for every four letters, before the padding is taken off.
        let mut bytes = Zeroizing::new([0; 33]);
        if text.len() != 44 {
            return Err(malformed());
        }
        let length = BASE64.decode_mut(text.as_bytes(), bytes.as_mut_slice());
        if length.ok() != Some(32) {
            return Err(malformed());
        }
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(&bytes[..32]);
        Ok(Self(secret))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(self.0.as_slice())))
    }
}

/// Bytes as text.
mod base64 {
    use super::{BASE64, Cow, Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = <Cow<'de, str>>::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

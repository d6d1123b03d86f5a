//! An API key: how a program says who it is.
//!
//! Printed once as `opc_<env>_<12 public>_<43 secret><6 checksum>`; only the SHA-256 of the secret
//! is kept, which is enough because the secret has 256 random bits. A key is found by its public
//! part and compared in constant time. Lifecycle: active → revoked, rotated or expired.

use crate::Instant;
use crate::access::Permission;
use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{ApiKeyId, Code, OrganizationId, Text, UserId};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq;

events! {
    /// What can have happened to an API key.
    pub enum Event {
        /// The key was made and shown once.
        ApiKeyCreated = "api_key_created" 1 "apikey.create" {
            /// Which key.
            api_key_id: ApiKeyId,
            /// What it is for, in its owner's words.
            name: Text,
            /// The part it is found by.
            public_part: String,
            /// SHA-256 of the secret, in hexadecimal.
            secret_hash: String,
            /// Whom it acts for.
            user_id: UserId,
            /// The one organization it is limited to, if it is.
            organization_id: Option<OrganizationId>,
            /// What it may do at most; without any, what its user may.
            scopes: BTreeSet<Permission>,
            /// When it stops working, if it does.
            expires_at: Option<Instant>,
        }
        /// The key stopped working.
        ApiKeyRevoked = "api_key_revoked" 1 "apikey.revoke" {
            /// Which key.
            api_key_id: ApiKeyId,
            /// Why.
            reason: Text,
        }
        /// Another key takes over; this one works a little longer.
        ApiKeyRotated = "api_key_rotated" 1 "apikey.rotate" {
            /// Which key.
            api_key_id: ApiKeyId,
            /// The one that takes over.
            replaced_by: ApiKeyId,
            /// Until when both work.
            valid_until: Instant,
        }
    }
}

/// What can be asked of an API key's history.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Create(Box<ApiKeyCreated>),
    /// Stop it.
    Revoke {
        /// Why.
        reason: Text,
    },
    /// Let another take over.
    Rotate {
        /// The one that takes over.
        replaced_by: ApiKeyId,
        /// Until when both work.
        valid_until: Instant,
    },
}

/// Why an API key's history says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such key.
    #[error("there is no such API key")]
    NotFound,
    /// The id is taken.
    #[error("an API key with this id exists already")]
    Exists,
    /// A revoked key cannot be rotated.
    #[error("the API key was revoked")]
    Revoked,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "API_KEY_NOT_FOUND",
            Self::Exists => "API_KEY_EXISTS",
            Self::Revoked => "API_KEY_REVOKED",
        }
    }
}

/// An API key as far as rules need to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// How it was made; `None` when it was not.
    pub created: Option<ApiKeyCreated>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Until when it works after a rotation.
    pub valid_until: Option<Instant>,
}

impl ApiKey {
    /// Whether the key works at a moment.
    #[must_use]
    pub fn works_at(&self, at: Instant) -> bool {
        let expires = self.created.as_ref().and_then(|created| created.expires_at);
        let over = |end: Option<Instant>| end.is_some_and(|end| at >= end);
        self.created.is_some() && !self.revoked && !over(expires) && !over(self.valid_until)
    }

    /// Whether `secret` is this key's, compared in constant time.
    #[must_use]
    pub fn has_secret(&self, secret: &str) -> bool {
        let hash = hash_secret(secret);
        self.created
            .as_ref()
            .is_some_and(|created| created.secret_hash.as_bytes().ct_eq(hash.as_bytes()).into())
    }
}

impl Aggregate for ApiKey {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "api_key";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match (&self.created, command) {
            (None, Command::Create(created)) => Ok(vec![Event::ApiKeyCreated(*created)]),
            (Some(_), Command::Create(_)) => Err(Refusal::Exists),
            (None, Command::Revoke { .. } | Command::Rotate { .. }) => Err(Refusal::NotFound),
            (Some(_), Command::Revoke { .. }) if self.revoked => Ok(vec![]),
            (Some(created), Command::Revoke { reason }) => {
                Ok(vec![ApiKeyRevoked { api_key_id: created.api_key_id, reason }.into()])
            }
            (Some(_), Command::Rotate { .. }) if self.revoked => Err(Refusal::Revoked),
            (Some(created), Command::Rotate { replaced_by, valid_until }) => {
                let api_key_id = created.api_key_id;
                Ok(vec![ApiKeyRotated { api_key_id, replaced_by, valid_until }.into()])
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::ApiKeyCreated(created) => self.created = Some(created.clone()),
            Event::ApiKeyRevoked(_) => self.revoked = true,
            Event::ApiKeyRotated(rotated) => self.valid_until = Some(rotated.valid_until),
        }
        self
    }
}

/// The parts of a printed key.
#[derive(Clone, PartialEq, Eq)]
pub struct PrintedKey {
    /// Which environment it was made for.
    pub environment: Code,
    /// The 12 characters it is found by.
    pub public_part: String,
    /// The 43 characters nobody else knows.
    pub secret: String,
}

const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl PrintedKey {
    /// From random bytes: 12 for the public part, 32 for the secret.
    #[must_use]
    pub fn new(environment: Code, public: [u8; 12], secret: &[u8; 32]) -> Self {
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
        let public_part = public.into_iter().map(letter).collect();
        Self { environment, public_part, secret: BASE64URL_NOPAD.encode(secret) }
    }

    /// Reads a key as it was printed; `None` when it is none, or mistyped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("opc_")?;
        let (environment, rest) = rest.split_once('_')?;
        let (public_part, rest) = rest.split_at_checked(12)?;
        let (secret, checksum) = rest.strip_prefix('_')?.split_at_checked(43)?;
        let plain =
            |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !plain(public_part) || !plain(secret) || checksum != checksum_of(public_part, secret) {
            return None;
        }
        let (public_part, secret) = (public_part.to_owned(), secret.to_owned());
        Some(Self { environment: environment.parse().ok()?, public_part, secret })
    }

    /// The key as it is shown once.
    #[must_use]
    pub fn print(&self) -> String {
        let Self { environment, public_part, secret } = self;
        let checksum = checksum_of(public_part, secret);
        format!("opc_{environment}_{public_part}_{secret}{checksum}")
    }
}

/// SHA-256 of a secret in hexadecimal: what is kept of it.
#[must_use]
pub fn hash_secret(secret: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}

/// Six characters that find a mistyped key before anything is looked up.
fn checksum_of(public_part: &str, secret: &str) -> String {
    let digest = Sha256::digest(format!("{public_part}_{secret}").as_bytes());
    digest.iter().take(6).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_key_is_read_back_and_a_mistyped_one_is_not() {
        let key = PrintedKey::new("live".parse().expect("a code"), [7; 12], &[9; 32]);
        let text = key.print();
        assert!(PrintedKey::parse(&text) == Some(key));
        for at in 5..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).expect("ascii");
            assert!(PrintedKey::parse(&wrong).is_none() || at < 9, "a typo at {at} went unseen");
        }
    }
}

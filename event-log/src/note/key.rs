//! Keys of signed notes: who signs, and how a signature is known again.
//!
//! A key is known by its name and its id, which is a short hash of name, algorithm and public key.
//! The id only finds a key; what counts is the public key that a verifier was given. Its text form
//! is `name+id+base64(algorithm ‖ public key)`.

use super::{NoteError, Signature, cosignature, from_base64};
use data_encoding::BASE64;
use ed25519_dalek::ed25519::signature::Signer as _;
use ed25519_dalek::{Signature as Ed25519Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The name of a key: no spaces, no plus, no control characters, and not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The first four bytes of SHA-256 of name, newline, algorithm and public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

/// How a key signs. The numbers are those of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text, as logs sign: 1.
    Ed25519,
    /// Ed25519 over a time and the text, as witnesses sign: 4.
    CosignatureV1,
}

/// What is needed to verify: public, and safe to hand to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    key_id: KeyId,
    algorithm: Algorithm,
    public: VerifyingKey,
}

/// Signs texts as a log does. The secret is wiped when this is dropped.
pub struct Signer {
    verifier: VerifierKey,
    secret: SigningKey,
}

impl KeyName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NoteError;

    fn from_str(name: &str) -> Result<Self, NoteError> {
        let is_forbidden = |c: char| c.is_whitespace() || c == '+' || c < ' ';
        if name.is_empty() || name.contains(is_forbidden) {
            return Err(NoteError::Key("its name is empty, or has a space or a plus"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl KeyId {
    /// As it stands in a signature.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::CosignatureV1 => 4,
        }
    }
}

impl VerifierKey {
    /// A key of its parts.
    ///
    /// # Errors
    /// [`NoteError::Key`] where the bytes are no public key, or one that verifies anything.
    pub fn new(name: KeyName, algorithm: Algorithm, public: &[u8; 32]) -> Result<Self, NoteError> {
        let public = VerifyingKey::from_bytes(public)
            .map_err(|_| NoteError::Key("its bytes are no Ed25519 public key"))?;
        if public.is_weak() {
            return Err(NoteError::Key("its bytes are a weak Ed25519 public key"));
        }
        Ok(Self::of(name, algorithm, public))
    }

    fn of(name: KeyName, algorithm: Algorithm, public: VerifyingKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(name.as_str());
        hash.update([b'\n', algorithm.byte()]);
        hash.update(public.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = hash;
        Self { name, key_id: KeyId([a, b, c, d]), algorithm, public }
    }

    /// The name, as it stands in signatures.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id, as it stands in signatures.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key itself.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Whether a signature says that this key made it. That is no proof.
    #[must_use]
    pub fn is_named(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.key_id == signature.key_id
    }

    /// Whether this key made the signature over this text.
    #[must_use]
    pub fn verifies(&self, text: &str, signature: &Signature) -> bool {
        if !self.is_named(signature) {
            return false;
        }
        match self.algorithm {
            Algorithm::Ed25519 => self.is_over(text.as_bytes(), &signature.bytes),
            Algorithm::CosignatureV1 => cosignature::timestamp(self, text, signature).is_some(),
        }
    }

    /// Whether the bare Ed25519 signature is one over these bytes. Strictly: no second form of a
    /// right signature is taken for one.
    pub(super) fn is_over(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Ed25519Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.public.verify_strict(message, &signature).is_ok())
    }
}

/// Strictly: what is read is written again byte for byte.
impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(key_id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NoteError::Key("it has not three parts"));
        };
        let bytes = from_base64(encoded).ok_or(NoteError::Key("its last part is not base64"))?;
        let algorithm = match bytes.first() {
            Some(1) => Algorithm::Ed25519,
            Some(4) => Algorithm::CosignatureV1,
            _ => return Err(NoteError::Key("its algorithm is not known here")),
        };
        let public = bytes.get(1..).and_then(|bytes| bytes.try_into().ok());
        let public = public.ok_or(NoteError::Key("its public key has not 32 bytes"))?;
        let key = Self::new(name.parse()?, algorithm, public)?;
        if key.key_id.to_string() != key_id {
            return Err(NoteError::Key("its id is not that of its parts"));
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.algorithm.byte()], self.public.as_bytes().as_slice()].concat();
        write!(formatter, "{}+{}+{}", self.name, self.key_id, BASE64.encode(&bytes))
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Signer {
    /// A signer with the 32 bytes that its secret follows from.
    #[must_use]
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
        let secret = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::of(name, Algorithm::Ed25519, secret.verifying_key());
        Self { verifier, secret }
    }

    /// What others verify its signatures with.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        signature(&self.verifier, self.secret.sign(text.as_bytes()).to_bytes().to_vec())
    }
}

/// The secret is nobody's to see.
impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signer({})", self.verifier)
    }
}

/// Puts a signature under the name and id of its key.
pub(super) fn signature(key: &VerifierKey, bytes: Vec<u8>) -> Signature {
    Signature { name: key.name.clone(), key_id: key.key_id, bytes }
}

/// The key of a secret that cosigns.
pub(super) fn cosigning(name: KeyName, secret: &SigningKey) -> VerifierKey {
    VerifierKey::of(name, Algorithm::CosignatureV1, secret.verifying_key())
}
